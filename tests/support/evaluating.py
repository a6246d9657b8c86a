"""`toeline evaluate` on a small data set, with a judge and a detector that need no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.datasets import exit_code
from tests.support.stand_ins import FakeJudge

from toeline.core.question import QuestionSheet

# The fake judge gives every object the second answer of its type: "... blocked" for drains, damaged for the rock toe.
VALID = {
    "a_1.jpg": ["6 0.2 0.3 0.1 0.5", "5 0.5 0.3 0.1 0.5", "8 0.8 0.5 0.2 0.2"],  # right, wrong, not asked
    "a_2.jpg": ["4 0.5 0.8 0.8 0.2", "1 0.5 0.3 0.8 0.1"],  # right, right
    "b_1.jpg": ["2 0.5 0.5 0.8 0.1"],  # wrong
}


TRAIN = {"c_1.jpg": ["6 0.2 0.3 0.1 0.5", "5 0.6 0.3 0.1 0.5"], "d_1.jpg": ["4 0.5 0.8 0.8 0.2", "7 0.3 0.3 0.1 0.4"]}


SIZE = (200, 100)


Toeline = Callable[..., int]


@dataclass
class Listening(FakeJudge):
    """Keeps every word that it is asked."""

    heard: list[str] = field(default_factory=list)

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        self.heard += [sheet.text, *(q.text for q in sheet.questions)]
        return super().score(sheet)


def evaluate(*words: str) -> int:
    return exit_code("evaluate", *words)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def card(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    return {**found, "by_key": {f["key"]: f for f in found["figures"]}}
