"""Settings of `toeline finetune`, written once: the command line makes its options of the fields and their remarks.

The defaults are those that the owner of the nine classes set. The loop that uses them is train/finetune.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from toeline.errors import SetupError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")  # of the language model; the vision tower's layers are called qkv
CHANGE_NOTHING = ("checkpointing", "max_tokens", "workers", "threads")  # in the result: a run may go on with others
Balance = Literal["none", "weights", "oversample"]
Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class LoraRun:
    """Settings of one fine-tuning; equal settings on the same data are the same run."""

    judge: Annotated[str, "Where to begin: embedded, or a directory or hub id of the Qwen2-VL family."] = "embedded"
    split: Annotated[str, "The split to train on."] = "train"
    valid: Annotated[str, "The split that chooses the best epoch and says what training was worth."] = "valid"
    epochs: Annotated[int, "How often each photograph is seen."] = 4
    lr: Annotated[float, "Peak learning rate of AdamW, after a warm-up; then half a cosine down to 0."] = 2e-4
    rank: Annotated[int, "Rank of the LoRA matrices."] = 16
    alpha: Annotated[int, "LoRA's scale: updates are multiplied by alpha / rank."] = 32
    dropout: Annotated[float, "Share of LoRA's inputs that are left out while training."] = 0.1
    accumulate: Annotated[int, "Photographs per step: one at a time, gradients added up."] = 4
    dtype: Annotated[str, "auto (float32 on a CPU), float32, bfloat16 or float16."] = "auto"
    device: Annotated[str, "auto, cpu, cuda or mps."] = "auto"
    qlora: Annotated[bool, "Frozen weights in 4 bits (NF4): a third of the memory, slower, less exact."] = False
    full: Annotated[bool, "Train all weights instead of LoRA: for small models such as the embedded judge."] = False
    from_scratch: Annotated[bool, "Random weights of the judge's shape instead of its own; trains all of them."] = False
    checkpointing: Annotated[Switch, "Compute activations twice instead of keeping them; auto: if large."] = "auto"
    max_tokens: Annotated[int, "Longest packed sequence; a longer photograph is split by its questions."] = 4096
    scene_tokens: Annotated[int | None, "Tokens of the photograph, in place of the judge's own number."] = None
    crop_tokens: Annotated[int | None, "Tokens of a crop, in place of the judge's own number."] = None
    prompt: Annotated[str | None, "Another prompt than the judge's own."] = None
    cache_features: Annotated[Path | None, "Keep image features here, and train without the vision tower."] = None
    variants: Annotated[int, "With --cache-features: how many augmented pictures of each photograph are kept."] = 4
    balance: Annotated[Balance, "Rare classes get nothing, a larger weight, or more turns."] = "weights"
    mix_drawn: Annotated[int, "Drawn scenes that are seen besides in every epoch."] = 0
    dense: Annotated[float, "With --full: weight of a loss of what covers each token of a crop, from polygons."] = 0.0
    patience: Annotated[int, "Stop after this many epochs without a better validation; 0: never."] = 2
    seed: Annotated[int, "Where chance begins."] = 0
    workers: Annotated[int | None, "Processes that prepare photographs (default: 2 with a GPU, else none)."] = None
    threads: Annotated[int, "CPU threads; 0 leaves torch's own choice."] = 0
    taxonomy: Annotated[Path | None, "Types and conditions of another owner."] = None

    def __post_init__(self) -> None:
        """Raises SetupError for settings that contradict each other or the world."""
        positive = ("epochs", "lr", "rank", "alpha", "accumulate", "max_tokens", "variants")
        if wrong := [n for n in positive if not getattr(self, n) > 0]:
            raise SetupError(f"--{wrong[0].replace('_', '-')} must be above 0, not {getattr(self, wrong[0])}.")
        if not 0 <= self.dropout < 1:
            raise SetupError(f"--dropout is a share from 0 to below 1, not {self.dropout}.")
        if self.all_weights and self.qlora:
            raise SetupError("--qlora freezes the weights that --full and --from-scratch train. Choose one.")
        if self.dense < 0:
            raise SetupError(f"--dense is a weight of 0 or more, not {self.dense}.")
        if self.dense and not self.all_weights:
            raise SetupError(
                "--dense teaches the vision tower, which LoRA leaves as it is. Add --full or --from-scratch, or leave "
                "--dense out."
            )
        if self.all_weights and self.cache_features:
            raise SetupError(
                "--cache-features keeps what the frozen vision tower sees, but --full and --from-scratch train it. "
                "Leave one of them out."
            )

    @property
    def all_weights(self) -> bool:
        """Whether all weights are trained, and a whole model is written instead of an adapter."""
        return self.full or self.from_scratch

    def record(self) -> dict[str, Any]:
        """As run.json holds it: paths as they were typed."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
