"""`toeline train-embedded`: what Toeline ships, with the settings and the function that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def shipped() -> Mapping[str, tuple[type[Any], Callable[[Any], Any]]]:
    """Name -> settings record and what trains with it. Read late: these files load torch."""
    from toeline.train.config import DetectorRun
    from toeline.train.detector import train_detector
    from toeline.train.embedded_judge import JudgeRun, train_judge

    return {"judge": (JudgeRun, train_judge), "detector": (DetectorRun, train_detector)}
