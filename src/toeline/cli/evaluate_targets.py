"""`--targets`: what figures are held against."""

from __future__ import annotations

from collections.abc import Mapping

from toeline.cli.evaluate_run import Workbench
from toeline.errors import ToelineError
from toeline.evaluate.figure import FINE_TUNED_TARGETS, ZERO_SHOT_TARGETS
from toeline.evaluate.scorecard import score

TARGETS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "zero-shot": ZERO_SHOT_TARGETS,
    "fine-tuned": FINE_TUNED_TARGETS,
}


def read_targets(typed: str, bench: Workbench) -> Mapping[str, float]:
    """`none`, `zero-shot`, `fine-tuned`, or KEY=SHARE with commas between. Raises ToelineError."""
    if typed in TARGETS:
        return TARGETS[typed]
    known = [*(f.key for f in score((), bench.taxonomy).figures), "spatial"]
    targets: dict[str, float] = {}
    for pair in typed.split(","):
        key, _, value = pair.partition("=")
        try:
            targets[key.strip()] = float(value)
        except ValueError:
            targets[key.strip()] = -1.0
        if key.strip() not in known or not 0 < targets[key.strip()] < 1:
            raise ToelineError(
                f"--targets {pair!r}: give {', '.join(TARGETS)}, or KEY=SHARE with a share between 0 and 1 and one of "
                f"these keys: {', '.join(known)}."
            )
    return targets
