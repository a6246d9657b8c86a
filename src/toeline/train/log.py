"""log.jsonl: what a training run measured, a line per step and per epoch; cut back to where a resumed run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.core.lines import read_lines

VALID = "valid"  # lines that have it are validations, the others are steps


@dataclass(frozen=True)
class Log:
    """The file of one run. A kill may leave half a line at its end, which is not read."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Everything so far, in order."""
        return read_lines(self.path)

    def validations(self) -> list[dict[str, Any]]:
        """The line of each epoch that was validated, the untrained model's first."""
        return [line for line in self.lines() if VALID in line]

    def steps(self) -> list[dict[str, Any]]:
        """The line of each step."""
        return [line for line in self.lines() if VALID not in line]

    def add(self, **what: Any) -> None:
        """Write one line; infinities as null, because JSON has none."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in what.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")

    def cut(self, step: int) -> None:
        """Forget what came after a step: a run that goes on from a checkpoint does it again."""
        kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.path)


def is_better(new: dict[str, Any], old: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a validation beats all earlier ones of trained weights: by accuracy, and where that is equal by loss.

    >>> worse, better = {"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.5, "loss": 0.9}
    >>> is_better(better, [{"epoch": 1, "valid": worse}]), is_better(worse, [{"epoch": 1, "valid": better}])
    (True, False)
    """
    before = [(line[VALID]["accuracy"], -line[VALID]["loss"]) for line in old if line["epoch"] > 0]
    return all((new["accuracy"], -new["loss"]) > rank for rank in before)


def best_epoch(lines: Sequence[Mapping[str, Any]]) -> int:
    """The epoch whose weights were kept; 0 when none was trained yet."""
    return max((line["epoch"] for line in lines if line.get("best")), default=0)


def is_stuck(lines: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better; never for a patience of 0.

    >>> lines = [{"epoch": 1, "best": True}, {"epoch": 2}, {"epoch": 3}]
    >>> is_stuck(lines, 2), is_stuck(lines, 3), is_stuck(lines, 0)
    (True, False, False)
    """
    last = max((line["epoch"] for line in lines), default=0)
    return patience > 0 and last - best_epoch(lines) >= patience
