"""Saved scores in the place of a model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.support.tiny_judges import make_sheet

from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.records import finding_record, join_lines
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError
from toeline.judge.decide import decide
from toeline.judge.load import load_judge

SCORES = {"slope drain": -0.2, "slope drain blocked": -2.0, "slope drain damaged": -3.0}


def test_a_run_is_replayed_from_its_findings(tmp_path: Path) -> None:
    verdict = decide(SCORES, Taxonomy.load())
    finding = Finding("photo.jpg", "t0", "slope_drain", Box(0, 0, 9, 9), 1.0, verdict)
    file = tmp_path / "findings.jsonl"
    file.write_text(join_lines([finding_record(finding)]))
    judge = load_judge(f"replay:{file}")
    (scores,) = judge.score(make_sheet(1))
    assert list(scores) == list(SCORES)
    assert {name: math.exp(score) for name, score in scores.items()} == pytest.approx(verdict.probabilities, abs=1e-6)
    assert judge.info["back_end"] == "replay"
    assert len(judge.info["sha256"]) == 64


def test_scores_are_replayed_from_json(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text(json.dumps({"photo.jpg": {"t0": SCORES}}))
    assert list(load_judge(f"replay:{file}").score(make_sheet(1))) == [SCORES]


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({}, "photo.jpg: no score is saved for t0"),
        ({"photo.jpg": {"t1": SCORES}}, "photo.jpg: no score is saved for t0"),
        ({"photo.jpg": {"t0": {"slope drain": -1}}}, "lack slope drain blocked, slope drain damaged"),
    ],
)
def test_what_was_not_saved_is_not_invented(tmp_path: Path, saved: object, said: str) -> None:
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(saved))
    with pytest.raises(ModelError, match=said):
        load_judge(f"replay:{file}").score(make_sheet(1))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "nope"), ("a.json", "[1]"), ("a.json", '{"p": {"t": {"x": "y"}}}'), ("a.jsonl", '{"photo": 1}\n')],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ModelError, match=rf"{name}: .*findings\.jsonl"):
        load_judge(f"replay:{file}")
