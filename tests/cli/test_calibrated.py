"""From `toeline evaluate --calibrate` to `toeline inspect --calibration`: the same numbers, for the same judge only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.datasets import exit_code, write_photo, write_yolo
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.core.calibration import calibration_from, load_calibration
from toeline.core.finding import Verdict
from toeline.core.question import PromptBudget
from toeline.core.records import finding_from, read_lines
from toeline.errors import OutputError
from toeline.judge.judge import fingerprint

# The fake judge gives the second answer of a type 0.7: here it is right on half of what it is asked.
TRAIN = {"c_1.jpg": ["6 0.2 0.3 0.1 0.5", "5 0.6 0.3 0.1 0.5"], "d_1.jpg": ["4 0.5 0.8 0.8 0.2", "3 0.5 0.2 0.8 0.2"]}
VALID = {"a_1.jpg": ["6 0.2 0.3 0.1 0.5", "8 0.8 0.5 0.2 0.2"], "b_1.jpg": ["2 0.5 0.5 0.8 0.1"]}
SIZE = (200, 100)


@pytest.fixture
def judge() -> FakeJudge:
    return FakeJudge(info={"back_end": "fake", "weights": {"model.safetensors": "aa"}})


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge: FakeJudge) -> Path:
    """calibration.json of an evaluation of `judge`, with the data set beside it."""
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data", {"valid": VALID, "train": TRAIN}, size_wh=SIZE)
    for seed, name in enumerate(TRAIN, start=100):
        write_photo(tmp_path / "data" / "train" / "images" / name, SIZE, seed=seed)
    stand_in(monkeypatch, judge)
    assert exit_code("evaluate", "data", "--split", "valid", "--calibrate", "train", "--out", "eval") == 0
    return tmp_path / "eval" / "calibration.json"


def inspect(*words: str) -> int:
    return exit_code("inspect", "data/valid/images", "--boxes", "data/valid/labels", "--out", "out", *words)


def verdicts(out: Path) -> list[tuple[str, Verdict]]:
    """Type and verdict of every object that was asked about."""
    found = [finding_from(record) for record in read_lines(out / "findings.jsonl")]
    return [(f.type_name, f.verdict) for f in found if f.verdict.asked]


def test_an_inspection_says_the_probabilities_that_the_evaluation_measured(calibration: Path, tmp_path: Path) -> None:
    made = load_calibration(calibration)
    assert made.temperature > 1  # right half of the time at 0.7: too sure
    assert inspect("--calibration", "eval/calibration.json") == 0
    asked = verdicts(tmp_path / "out")
    assert len(asked) == 2
    for kind, verdict in asked:
        scored = {name: 0.3 / (len(verdict.probabilities) - 1) for name in verdict.probabilities}
        tempered = made.temper({**scored, verdict.class_name: 0.7}, kind)
        assert dict(verdict.probabilities) == pytest.approx(tempered, abs=1e-5)
        assert verdict.probability == pytest.approx(max(tempered.values()), abs=1e-5)
        assert verdict.probability < 0.7
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert calibration_from(run["models"]["review"]["calibration"]) == made
    assert run["models"]["review"]["below"] == made.review_below
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "calibrated on 4 objects of the split train" in html
    assert "the model's own" not in html


def test_the_threshold_is_the_calibrations_unless_one_is_given(calibration: Path, tmp_path: Path) -> None:
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({**record, "review_below": 0.99}))
    assert inspect("--calibration", str(calibration)) == 0
    assert all("under the floor of 0.99" in verdict.review for _, verdict in verdicts(tmp_path / "out"))
    assert inspect("--calibration", str(calibration), "--review-below", "0.1", "--out", "low") == 0
    assert not any(verdict.review for _, verdict in verdicts(tmp_path / "low"))
    assert inspect("--review-below", "0.8", "--out", "plain") == 0
    assert all("at 0.70, under the floor of 0.80" in verdict.review for _, verdict in verdicts(tmp_path / "plain"))


@pytest.mark.parametrize("on", [{}, {"n": 3}, {"objects": None, "split": []}])
def test_a_calibration_need_not_say_what_it_was_fitted_on(calibration: Path, on: dict[str, object]) -> None:
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({**record, "fitted_on": on}))
    assert inspect("--calibration", str(calibration)) == 0


def test_a_changed_calibration_is_another_run(calibration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect("--calibration", str(calibration)) == 0
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({**record, "temperature": 3.0}))
    assert inspect("--calibration", str(calibration)) == 2
    assert "calibration_sha256" in capsys.readouterr().err


def test_another_judge_and_another_prompt_are_refused(
    calibration: Path, judge: FakeJudge, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    judge.info = {**judge.info, "weights": {"model.safetensors": "bb"}, "device": "cuda"}
    assert inspect("--calibration", str(calibration)) == 2
    assert "was fitted for other weights (judge embedded)" in " ".join(capsys.readouterr().err.split())
    judge.info, judge.view = (
        {"back_end": "fake", "weights": {"model.safetensors": "aa"}},
        PromptBudget(prompt="minimal"),
    )
    assert inspect("--calibration", str(calibration)) == 2
    assert f"for the prompt {PromptBudget().prompt!r}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "report.html").exists()
    record = json.loads(calibration.read_text())
    calibration.write_text(json.dumps({k: v for k, v in record.items() if k != "fitted_for"}))
    assert inspect("--calibration", str(calibration)) == 0  # an older file does not say for whom


@pytest.mark.parametrize("content", ["nope", "[]", '{"version": 1}', None])
def test_a_file_that_is_no_calibration_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "mine.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OutputError, match=r"mine\.json.*toeline evaluate"):
        load_calibration(file)


def test_a_judges_hashes_are_its_name_wherever_it_lies() -> None:
    floor, model = {"back_end": "floor", "sha256": "f"}, {"back_end": "qwen_vl", "weights": {"a": "1"}, "device": "cpu"}
    joined = {"back_end": "fuse", "weight": 0.5, "temperatures": (1.0, 2.0), "parts": {"x": model, "y": floor}}
    assert fingerprint(model) == fingerprint({**model, "device": "cuda", "model": "elsewhere"})
    assert fingerprint(joined) == fingerprint(json.loads(json.dumps({**joined, "parts": {"p": model, "q": floor}})))
    assert fingerprint(joined) != fingerprint({**joined, "weight": 0.6})
    assert fingerprint({"back_end": "replay", "sha256": "r"}) == {}
