"""A detector and a judge without models, for tests of everything around them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from toeline.core.box import Box
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.scene import Detection, Instance
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines.inspector import Inspector
from toeline.report.document import Plot


@dataclass(frozen=True)
class FakeDetector:
    """Sees a slope drain, a rock toe and a plant in every photograph wider than 20 pixels; nothing in smaller ones."""

    info: Mapping[str, Any] = field(default_factory=lambda: {"back_end": "fake"})

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        return [[Detection(instance) for instance in self.instances(image)] for image in images]

    def instances(self, image: Image.Image) -> list[Instance]:
        wide, high = image.size
        if wide <= 20:
            return []
        return [
            Instance("1", "slope_drain", Box(0.2 * wide, 0, 0.3 * wide, 0.7 * high), 0.9),
            Instance("2", "rock_toe", Box(0, 0.7 * high, wide, 0.9 * high), 0.8),
            Instance("3", "vegetation", Box(0.6 * wide, 0.2 * high, 0.9 * wide, 0.6 * high), 0.7),
        ]


@dataclass
class FakeJudge:
    """Gives the second answer 0.7 and the others the rest. Takes `seconds`; breaks down after `most` photographs."""

    seconds: float = 0.0
    most: int = 10**9
    asked: list[str] = field(default_factory=list)
    view: PromptBudget = field(default_factory=PromptBudget)
    info: Mapping[str, Any] = field(default_factory=lambda: {"back_end": "fake"})

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        self.asked.append(sheet.photo)
        return [
            {a: math.log(0.7 if i == 1 else 0.3 / (len(q.answers) - 1)) for i, a in enumerate(q.answers)}
            for q in sheet.questions
        ]


def fake_inspector(judge: FakeJudge | None = None, **more: Any) -> Inspector:
    """An Inspector of both; `more` replaces its other fields."""
    given = {"detector": FakeDetector(), "judge": judge or FakeJudge(), "taxonomy": Taxonomy.load(), **more}
    return Inspector(**given)


def single_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package held no model folder: what answers is the embedded judge, without a calibration."""
    monkeypatch.setattr("toeline.judge.load.PACKAGE", Path("no package"))


def stand_in(monkeypatch: pytest.MonkeyPatch, judge: FakeJudge) -> None:
    """Commands load `judge` and a FakeDetector whatever is typed, without what is shipped; pages have no plots."""
    single_parts(monkeypatch)
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda *_, **__: judge)
    monkeypatch.setattr("toeline.detect.load.load_detector", lambda *_, **__: FakeDetector())
    monkeypatch.setattr("toeline.pipelines.domain.SHIPPED", None)  # these were measured nowhere
    for plot in ("confusion_plot", "reliability_plot", "band_plot"):
        monkeypatch.setattr(
            f"toeline.report.judge_page.{plot}", lambda *_, **__: Plot("<svg></svg>", "not drawn in this test")
        )
