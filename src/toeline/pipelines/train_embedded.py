"""`toeline train-embedded`: what Toeline ships, with the settings and the function that train it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from toeline.core.run_folder import claimed, read_run, require_same, write_whole, writing

NOTE = "train-embedded.json"  # marks a folder of this command
CHANGE_NOTHING = ("out", "resume", "workers", "threads")  # in the result


def shipped() -> Mapping[str, tuple[type[Any], Callable[[Any], Any]]]:
    """Name -> settings record and what trains with it. Read late: these files load torch."""
    from toeline.train.config import DetectorRun
    from toeline.train.detector import train_detector
    from toeline.train.embedded_judge import JudgeRun, train_judge

    return {"judge": (JudgeRun, _alone(train_judge)), "detector": (DetectorRun, _alone(train_detector))}


def _alone(train: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, while no other process writes into `out`, which holds a training or nothing."""

    def act(run: Any) -> Any:
        with claimed(run.out, note=NOTE) as begun, writing(run.out):
            settings = {k: v for k, v in asdict(run).items() if k not in CHANGE_NOTHING}
            settings = json.loads(json.dumps(settings, default=str))
            if begun:
                require_same(run.out, read_run(run.out, NOTE), settings)
            write_whole(run.out / NOTE, json.dumps(settings, indent=2) + "\n")
            return train(run)

    return act
