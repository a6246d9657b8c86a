"""Photographs that the models were not measured on: what is said of them, and what becomes of their findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.stand_ins import FakeDetector, FakeJudge, stand_in

from toeline.core.box import Box
from toeline.core.finding import UNLIKE_PHOTO, UNLIKE_RUN
from toeline.core.question import QuestionSheet
from toeline.core.records import finding_from
from toeline.core.scene import Instance
from toeline.data.domain import DomainCard, Score, fit, save_domain
from toeline.data.photo_measures import FEATURES, PICTURE
from toeline.pipelines.domain import SHIPPED, domain_facts, domain_file
from toeline.pipelines.inspect import InspectRun, Output, Summary, _as_measured, inspect_into, tell

CARD = DomainCard("pale pictures", "other pale ones", (Score("right classes", 0.8, 0.7, 0.9, 50),))
NEAR, FAR = 0, 255  # of red: what the measure of these tests takes for the distance


class Broken(FakeJudge):
    """Calls everything damaged that may be."""

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        said = super().score(sheet)
        return [{name: 0.0 if "damaged" in name else -3.0 for name in one} for one in said]


class Overlapping(FakeDetector):
    """The slope drain ends in the rock toe, so that both, damaged, are a matter of now."""

    def instances(self, image: Image.Image) -> list[Instance]:
        first, *others = super().instances(image)
        return [replace(first, box=Box(40, 0, 60, 85)), *others]


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """Inspects photographs that are near or far in one folder, with stand-ins that stop after `most`."""
    rng = np.random.default_rng(0)
    near = [{FEATURES: rng.normal(0, 1, 8), PICTURE: rng.normal(0, 1, 3)} for _ in range(60)]
    save_domain(fit(near, [str(i) for i in range(60)], CARD), tmp_path / "domain")
    far = {NEAR: near[0], FAR: {**near[0], FEATURES: near[0][FEATURES] + 40}}

    def measures(image: Any, _: object) -> dict[str, Any]:
        return far[FAR if image.getpixel((0, 0))[0] > 128 else NEAR]

    def run(reds: list[int], *, most: int = 10**9, out: str = "out") -> Summary:
        stand_in(monkeypatch, Broken(most=most))
        monkeypatch.setattr("toeline.detect.load.load_detector", lambda *_, **__: Overlapping())
        monkeypatch.setattr("toeline.pipelines.inspector.measures_of", measures)
        monkeypatch.setattr("toeline.pipelines.inspector.feature_network", lambda: None)
        for i, red in enumerate(reds):
            if not (photo := tmp_path / "photos" / f"{i:02}.png").exists():
                photo.parent.mkdir(exist_ok=True)
                Image.new("RGB", (200, 100), (red, 0, 0)).save(photo)
        given = InspectRun(photos=(tmp_path / "photos",), domain=str(tmp_path / "domain"))
        return inspect_into(given, Output(out=tmp_path / out, command="inspect"))

    return run


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "findings.jsonl").read_text(encoding="utf-8").splitlines()]


def test_photographs_like_those_of_training_are_left_alone(run_on, tmp_path: Path, capsys) -> None:
    summary = run_on([NEAR] * 3)
    said = summary.domain["said"]
    assert said.startswith("Measured on photographs like these: 80% right classes (95 % interval 70% to 90%, n = 50)")
    assert said in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not any(line["review_reason"].startswith("not measured") for line in lines(tmp_path / "out"))
    tell(summary)
    assert capsys.readouterr().out.startswith(said)


def test_one_photograph_among_others_is_held_back_alone(run_on, tmp_path: Path) -> None:
    summary = run_on([NEAR] * 9 + [FAR])
    assert (summary.domain["beyond"], summary.domain["unlike"]) == (1, False)
    assert "1 of 10 photographs is not like them: findings there need a person." in summary.domain["said"]
    found = lines(tmp_path / "out")
    assert {line["photo"] for line in found if line["review_reason"].startswith(UNLIKE_PHOTO)} == {"09.png"}
    assert summary.domain == json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["domain"]


def test_a_run_of_other_photographs_needs_a_person_everywhere_and_nothing_is_done_at_once(run_on, tmp_path) -> None:
    summary = run_on([FAR] * 9 + [NEAR])
    assert summary.domain["unlike"]
    assert summary.domain["said"].startswith("Not measured on photographs like these: every finding needs a person.")
    assert (summary.review, summary.immediate) == (summary.findings, 0)
    found = [finding_from(line) for line in lines(tmp_path / "out")]
    reasons = {f.photo: f.verdict.review.split(";")[0] for f in found}
    assert reasons == {**{f"{i:02}.png": UNLIKE_PHOTO for i in range(9)}, "09.png": UNLIKE_RUN}
    assert any(f.grade.withheld for f in found if f.photo == "00.png")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index(summary.domain["said"][:60]) < page.index('id="counts"')


def test_a_verdict_on_fewer_photographs_is_taken_back(run_on, tmp_path: Path) -> None:
    plain = run_on([NEAR] * 12, out="plain")
    assert plain.immediate
    for photo in (tmp_path / "photos").iterdir():
        photo.unlink()
    assert run_on([FAR] * 4 + [NEAR]).domain["unlike"]
    last = [line for line in lines(tmp_path / "out") if line["photo"] == "04.png"]
    assert all(line["review"] and not line["immediate"] for line in last)
    assert not run_on([FAR] * 4 + [NEAR] * 40).domain["unlike"]
    again = [line for line in lines(tmp_path / "out") if line["photo"] == "04.png"]
    assert again == [line for line in lines(tmp_path / "plain") if line["photo"] == "04.png"]


def test_a_killed_run_that_is_taken_up_gives_the_same_bytes(run_on, tmp_path: Path) -> None:
    reds = [FAR, FAR, NEAR, FAR, FAR]
    with pytest.raises(KeyboardInterrupt):
        run_on(reds, most=2)
    run_on(reds)
    run_on(reds, out="whole")
    for name in ("findings.jsonl", "findings.csv", "worklist.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    run_on(reds)
    assert (tmp_path / "out" / "findings.jsonl").read_bytes() == (tmp_path / "whole" / "findings.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("detector", "judge", "boxes", "shipped"),
    [
        ("embedded", "embedded", False, True),
        ("mine.onnx", "embedded", False, True),
        ("embedded", "baseline:x", True, False),
        ("embedded", "baseline:x", False, True),
        ("mine.onnx", "ensemble:embedded,baseline:x", False, True),
        ("mine.onnx", "baseline:x", False, False),
    ],
)
def test_the_shipped_domain_goes_with_the_shipped_models(detector, judge, boxes, shipped) -> None:
    more = {"detector": detector, "judge": judge, "boxes": boxes}
    assert domain_file("auto", **more) == (SHIPPED if shipped else None)
    assert domain_file("off", **more) is None
    assert domain_file("mine", **more) == Path("mine")


@pytest.mark.parametrize(
    ("more", "scores"),
    [
        ({}, 1),
        ({"review_below": 0.9}, 1),
        ({"part": "2/3"}, 1),
        ({"every": 2.0}, 1),
        ({"judge": "baseline:x"}, 0),
        ({"boxes": "labels"}, 0),
        ({"answers": "all"}, 0),
    ],
)
def test_what_both_shipped_models_scored_together_is_said_of_both_together_only(tmp_path: Path, more, scores) -> None:
    rng = np.random.default_rng(0)
    domain = fit([{FEATURES: rng.normal(0, 1, 8), PICTURE: rng.normal(0, 1, 3)} for _ in range(30)], range(30), CARD)
    run = InspectRun(photos=(Path("x"),), **more)
    save_domain(domain, file := tmp_path / "mine")
    assert len(domain_facts(domain, file, as_measured=_as_measured(run))["card"]["scores"]) == 1
    assert SHIPPED
    assert len(domain_facts(domain, SHIPPED, as_measured=_as_measured(run))["card"]["scores"]) == scores
