"""What the tests of the commands share: `toeline evaluate` on a small data set with a judge that listens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.datasets import write_photo, write_yolo
from tests.support.evaluating import SIZE, TRAIN, VALID, Listening, Toeline, evaluate
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.core.question import PromptBudget


@pytest.fixture
def judge() -> Listening:
    return Listening()


@pytest.fixture
def toeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge: Listening) -> Toeline:
    """toeline("valid", "--out", "out", ...) evaluates a split of a small data set; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data", {"valid": VALID, "train": TRAIN}, size_wh=SIZE)
    for seed, name in enumerate(TRAIN, start=100):  # other pixels than those of valid
        write_photo(tmp_path / "data" / "train" / "images" / name, SIZE, seed=seed)
    stand_in(monkeypatch, judge)
    return lambda split, *words: evaluate("data", "--split", split, *words)


@pytest.fixture
def fake_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJudge:
    """What commands load, whatever judge they name; it sees small pictures. The test is in a folder of its own."""
    fake = FakeJudge(view=PromptBudget(scene_tokens=0, crop_tokens=0))
    monkeypatch.chdir(tmp_path)
    stand_in(monkeypatch, fake)
    return fake
