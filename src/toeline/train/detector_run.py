"""Settings of `toeline train-detector`, written once: the command line makes its options of the fields.

The loop that uses them is train/detector_fit.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from toeline.errors import SetupError
from toeline.weights import is_hub_id

CHANGE_NOTHING = ("threads",)  # in the result
SCRATCH, EMBEDDED = "scratch", "embedded"


@dataclass(frozen=True, kw_only=True)
class DetectorFit:
    """Settings of one training; equal settings on the same data are the same run."""

    begin: Annotated[str, "Weights to begin with: embedded, the folder of an earlier run, a hub id, or scratch."] = (
        EMBEDDED
    )
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
    patience: Annotated[int, "Stop after this many epochs without a better validation; 0: never."] = 15
    seed: Annotated[int, "Where chance begins."] = 0
    device: Annotated[str, "auto, cpu, cuda or mps."] = "auto"
    threads: Annotated[int, "CPU threads; 0 leaves torch's own choice."] = 0
    taxonomy: Annotated[Path | None, "Types of another owner."] = None

    def __post_init__(self) -> None:
        """Raises SetupError for settings that make no sense."""
        for name in ("epochs", "batch", "lr", "size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SetupError(f"--{name} must be above 0, not {value}.")
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
