"""Settings of `toeline finetune`, written once: the command line makes its options of the fields and their remarks.

The defaults are those that the owner of the nine classes set. The loop that uses them is train/finetune.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from toeline.errors import SetupError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")  # of the language model; the vision tower's layers are called qkv
CHANGE_NOTHING = ("checkpointing", "max_tokens", "workers", "threads")  # in the result: a run may go on with others
YoloData = Annotated[Path, Argument(metavar="DATA", help="YOLO data set: its folder, or its data.yaml.")]
Classes = Annotated[
    Path | None, Option(metavar="FILE", help="The file that names the class ids: data.yaml, classes.txt ...")
]
Balance = Literal["none", "weights", "oversample"]
Features = Literal["measures", "pretrained", "auto"]  # what a baseline reads
Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class LoraRun:
    """Settings of one fine-tuning; equal settings on the same data are the same run."""

    judge: Annotated[str, "Where to begin: embedded, or a directory or hub id of the Qwen-VL families."] = "embedded"
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
    taxonomy: Annotated[Path | None, "Types and conditions of your own taxonomy."] = None
    classes: Annotated[
        Path | None, "The file that names the class ids, where several might: data.yaml, classes.txt."
    ] = None

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


DETECTOR_CHANGE_NOTHING = ("threads",)  # in the result
SCRATCH, EMBEDDED = "scratch", "embedded"
DRAWN = "drawn"  # folder of the scenes that photographs are mixed with
MIXED_IN = 2_000_003  # added to the seed of these scenes: none of them is one that anything is measured on
KEPT = 0.15  # of the drawn scenes' detector in a learned one: 0.6 points of mAP less, 2 more on drawn (docs/log.md)
DRAWN_TIMES = 4  # as many scenes are drawn as an epoch shows, so that not all come again in each


@dataclass(frozen=True, kw_only=True)
class DetectorFit:
    """Settings of one training; equal settings on the same data are the same run."""

    begin: Annotated[
        str,
        Option("--from", help="Weights to begin with: embedded, the folder of an earlier run, a hub id, or scratch."),
    ] = EMBEDDED
    model: Annotated[str | None, "A detector of transformers instead (RT-DETR, D-FINE ...): directory or hub id."] = (
        None
    )
    split: Annotated[str, "The split to train on."] = "train"
    valid: Annotated[str, "The split that chooses the best epoch, and the thresholds."] = "valid"
    epochs: Annotated[int, "How often each photograph is seen, at most."] = 60
    batch: Annotated[int, "Photographs per step."] = 8
    lr: Annotated[
        float | None, "Peak learning rate of AdamW; by default 0.0005, from scratch 0.0015, --model 0.0001."
    ] = None
    size: Annotated[int | None, "Side of the input in pixels; by default that of the weights to begin with."] = None
    augment: Annotated[float, "How much views differ in zoom, place and light; 0: not at all."] = 1.0
    mix_drawn: Annotated[int, "Drawn scenes that are seen besides in every epoch."] = 0
    keep: Annotated[
        float, "Share of the weights to begin with in those at the end: what they knew besides is forgotten less."
    ] = 0.0
    patience: Annotated[int, "Stop after this many epochs without a better validation; 0: never."] = 15
    seed: Annotated[int, "Where chance begins."] = 0
    device: Annotated[str, "auto, cpu, cuda or mps."] = "auto"
    threads: Annotated[int, "CPU threads; 0 leaves torch's own choice."] = 0
    taxonomy: Annotated[Path | None, "Types of your own taxonomy."] = None
    classes: Annotated[
        Path | None, "The file that names the class ids, where several might: data.yaml, classes.txt."
    ] = None

    def __post_init__(self) -> None:
        """Raises SetupError for settings that make no sense."""
        for name in ("epochs", "batch", "lr", "size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SetupError(f"--{name} must be above 0, not {value}.")
        if self.mix_drawn < 0:
            raise SetupError(f"--mix-drawn must be 0 or more, not {self.mix_drawn}.")
        if not 0 <= self.keep < 1 or (self.keep and self.begin == SCRATCH):
            raise SetupError(
                f"--keep is a share of weights to begin with, from 0 to below 1 (scratch: 0), not {self.keep}."
            )
        if self.size is not None and self.size % 32:
            raise SetupError(f"--size must be a multiple of 32, not {self.size}.")
        if not 0 <= self.augment <= 1.5:
            raise SetupError(f"--augment is from 0 to 1.5, not {self.augment}.")
        if self.model and self.begin not in (EMBEDDED, SCRATCH):
            raise SetupError(
                "--model names the weights to begin with already; leave --from out, or say --from scratch."
            )

    @property
    def hub(self) -> str | None:
        """The detector of transformers that is trained: --model, or --from when that is one; None for our own."""
        if self.model or self.begin in (EMBEDDED, SCRATCH):
            return self.model
        place = Path(self.begin)
        if place.exists():
            return self.begin if (place / "config.json").is_file() else None
        from toeline.weights import is_hub_id

        return self.begin if is_hub_id(self.begin) else None

    @property
    def peak(self) -> float:
        """The learning rate after the warm-up."""
        if self.lr is not None:
            return self.lr
        return 1e-4 if self.hub else 1.5e-3 if self.begin == SCRATCH else 5e-4

    def record(self) -> dict[str, Any]:
        """As run.json holds it: paths as they were typed."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class DetectorRun:
    """Settings of one training run, written beside the weights. `minutes` ends it early; `start` continues weights."""

    out: Path
    scenes: int = 3000
    held_out: int = 200
    seed: int = 1
    steps: int = 4000
    minutes: float | None = None
    start: Path | None = None
    resume: bool = False
    size: int = 384  # pixels: the narrowest tenth of slope drains, 16 wide at 640, still fills a stride-8 cell
    width: float = 0.25
    activation: str = "silu"
    batch: int = 16
    learning_rate: float = 1.5e-3
    warmup: int = 200
    augment: float = 1.0
    threads: int = 2
    workers: int = 2
    measure_every: int = 500


@dataclass(frozen=True, kw_only=True)
class BaselineRun:
    """Settings of one training. `folds` is lowered to the number of flight lines where there are fewer, and cut by
    photograph where there is only one. `features` "pretrained" reads those of an ImageNet network too."""

    data: YoloData
    split: Annotated[str, "The only split that is looked at."] = "train"
    seed: Annotated[int, Option(min=0, help="Same data and seed, same file.")] = 0
    folds: Annotated[int, Option(min=2, help="Parts of the cross-validation, cut by flight line.")] = 5
    features: Annotated[
        Features, "What is read: also an ImageNet network's, with pretrained; auto: what is better out of fold."
    ] = "measures"
    mix_drawn: Annotated[int, Option(min=0, help="Drawn scenes that are learned from besides; not measured on.")] = 0
    taxonomy: Annotated[Path | None, "Types, conditions and classes of your own taxonomy."] = None
    classes: Classes = None


@dataclass(frozen=True, kw_only=True)
class EnsembleRun:
    """Settings of one fit of an ensemble."""

    data: YoloData
    judges: Annotated[
        tuple[str, ...], Option("--judge", help="A judge, twice: --judge embedded --judge baseline:FILE.")
    ]
    split: Annotated[str, "Photographs to fit on; no judge may have been trained on them."] = "valid"
    adapter: Annotated[Path | None, "Peft adapter of the judge that is a language model."] = None
    taxonomy: Annotated[Path | None, "Types, conditions and classes of your own taxonomy."] = None
    classes: Classes = None
    device: Annotated[str, "auto, cpu, cuda or mps."] = "auto"


@dataclass(frozen=True, kw_only=True)
class LearnRun:
    """Settings of one `toeline learn`; equal settings on the same data are the same run."""

    split: Annotated[str, "The split to train on."] = "train"
    valid: Annotated[
        str, "The split that is only measured on; where there is none, a fifth of the flight lines is cut off for it."
    ] = "valid"
    begin: Annotated[
        str, Option("--from", help="What detectors begin with: embedded, or the folder of one that was trained.")
    ] = EMBEDDED
    folds: Annotated[int, "Parts of train, cut by flight line: each is answered by models that never saw it."] = 3
    epochs: Annotated[int, "How often the detector sees each photograph."] = 24
    judge_epochs: Annotated[int, "How often the judge does; 0: the baseline alone."] = 2
    mix_drawn: Annotated[
        int, "Drawn scenes that the detector sees besides in every epoch, the judge half, the baseline 4 times as many."
    ] = 48
    budget: Annotated[float | None, "Minutes of training: fewer epochs, and no judge where too little is left."] = None
    risk: Annotated[float, "Percent of wrong answers that may pass unseen by a person."] = 10.0
    seed: Annotated[int, "Where chance begins."] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "Where it is trained and measured."] = "auto"
    jobs: Annotated[
        int, "Trainings side by side on a CPU, each in about 4 GB; 0: one for each core, as memory allows."
    ] = 0
    threads: Annotated[int, "CPU threads of each; 0: an equal share of the cores."] = 0
    taxonomy: Annotated[Path | None, "Types and conditions of your own taxonomy."] = None
    classes: Classes = None

    def __post_init__(self) -> None:
        """Raises SetupError for settings that make no sense."""
        if self.folds < 2:
            raise SetupError(
                f"--folds must be 2 or more, not {self.folds}: each part is answered by the others' models."
            )
        if self.epochs < 1 or self.judge_epochs < 0:
            raise SetupError("--epochs must be above 0, and --judge-epochs 0 or more.")
        if self.jobs < 0 or self.threads < 0:
            raise SetupError("--jobs and --threads must be 0 or more.")
        if self.mix_drawn < 0:
            raise SetupError(f"--mix-drawn must be 0 or more, not {self.mix_drawn}.")
        if self.budget is not None and not self.budget > 0:
            raise SetupError(f"--budget is in minutes and above 0, not {self.budget:g}.")
        if not 0 < self.risk < 100:
            raise SetupError(f"--risk is a percentage above 0 and below 100, not {self.risk:g}.")

    @property
    def drawn(self) -> int:
        """Drawn scenes of an epoch; they are of the package's classes, so models of another taxonomy see none."""
        return 0 if self.taxonomy else self.mix_drawn

    @property
    def detector(self) -> DetectorFit:
        """How each detector is trained: from the embedded one, with a fixed number of epochs."""
        return DetectorFit(
            begin=self.begin, split=self.split, valid=self.valid, epochs=self.epochs, mix_drawn=self.drawn,
            keep=KEPT if self.drawn else 0.0, patience=0,
            seed=self.seed, device=self.device, threads=self.threads, taxonomy=self.taxonomy, classes=self.classes,
        )  # fmt: skip

    @property
    def baseline(self) -> BaselineRun:
        """How the baseline is trained; the data set is added."""
        return BaselineRun(
            data=Path(), split=self.split, seed=self.seed, features="auto", mix_drawn=DRAWN_TIMES * self.drawn,
            taxonomy=self.taxonomy, classes=self.classes,
        )  # fmt: skip

    @property
    def judge(self) -> LoraRun:
        """How each judge is trained: all weights of the embedded one, with finer crops (docs/log.md, 2026-11-26)."""
        return LoraRun(
            split=self.split, valid=self.valid, epochs=max(1, self.judge_epochs), lr=1e-4, full=True, crop_tokens=100,
            mix_drawn=self.drawn // 2, patience=0, seed=self.seed, device=self.device, threads=self.threads,
            taxonomy=self.taxonomy, classes=self.classes,
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """As run.json holds it: paths as they were typed, without what only changes the time it takes."""
        changing = {k: v for k, v in asdict(self).items() if k not in ("jobs", "threads")}
        return {k: str(v) if isinstance(v, Path) else v for k, v in changing.items()}
