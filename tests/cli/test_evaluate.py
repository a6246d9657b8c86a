"""`toeline evaluate` from end to end, with a judge and a detector that need no model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import write_labels, write_photo, write_yolo
from tests.support.evaluating import SIZE, VALID, Listening, Toeline, card, evaluate, lines
from tests.support.stand_ins import FakeDetector

from toeline.cli import main
from toeline.detect.detector import DetectorOptions

ROOT = Path(__file__).parent.parent.parent


def killed(folder: Path) -> None:
    """Leave a finished folder as a kill would have: one photograph done, the next one written but for its last line."""
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "finished": None}))
    (folder / "progress.jsonl").write_text((folder / "progress.jsonl").read_text().splitlines()[0] + "\n")
    found = (folder / "findings.jsonl").read_text().splitlines()
    (folder / "findings.jsonl").write_text("\n".join(found[:5])[:-40])
    for name in ("scorecard.json", "report.html", "cases.jsonl"):
        (folder / name).unlink()


def test_everything_is_written_and_the_numbers_are_those_of_a_count_by_hand(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--out", "out", "--targets", "condition_given_type=0.9") == 0
    out = tmp_path / "out"
    said = card(out)
    headline, every = said["by_key"]["condition_given_type"], said["by_key"]["accuracy"]
    assert (headline["count"], headline["n"], headline["verdict"]) == (3, 5, "not provable with this n")
    assert (every["count"], every["n"], said["asked"], said["objects"]) == (4, 6, 5, 6)
    assert said["by_key"]["missed_defects"]["count"] == 0
    assert said["by_key"]["false_alarms"]["count"] == 1
    assert [(c["photo"], c["id"], c["true_class"], c["said_class"]) for c in lines(out / "cases.jsonl")][:2] == [
        ("a_1.jpg", "1", "slope drain blocked", "slope drain blocked"),
        ("a_1.jpg", "2", "slope drain", "slope drain blocked"),
    ]
    assert {c["group"] for c in lines(out / "cases.jsonl")} == {"a", "b"}
    html, text = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for page in (html, text):
        assert "right condition of 3 of 5 objects on 3 photographs of valid: 60.0%" in page
        assert "66.7%" in page
    assert html.count("data:image/jpeg;base64,") == 2
    assert "| slope drain | slope drain blocked | 1 |" in text
    assert (out / "errors.jsonl").read_bytes() == b""


def test_the_judge_hears_types_and_places_and_no_true_condition(
    toeline: Toeline, judge: Listening, tmp_path: Path
) -> None:
    assert toeline("valid", "--out", "out") == 0
    first = list(judge.heard)
    for name, old, new in (("a_1", "6 0.2", "7 0.2"), ("b_1", "2 0.5", "0 0.5"), ("a_2", "4 0.5 0.8", "3 0.5 0.8")):
        file = tmp_path / "data" / "valid" / "labels" / f"{name}.txt"
        file.write_text(file.read_text().replace(old, new))
    judge.heard.clear()
    assert toeline("valid", "--out", "other") == 0
    assert judge.heard == first
    assert card(tmp_path / "other")["by_key"]["condition_given_type"]["count"] == 1


def test_what_needs_no_person_is_one_json_object(toeline: Toeline, capsys: pytest.CaptureFixture[str]) -> None:
    assert toeline("valid", "--out", "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["headline"].startswith("Given the type, the judge named the right condition of 3 of 5 objects")
    assert said["fine"] is True
    assert said["files"]["report.html"] == "out/report.html"


def test_a_bad_line_and_a_bad_photograph_are_told_each_time_and_once(toeline: Toeline, tmp_path: Path) -> None:
    valid = tmp_path / "data" / "valid"
    write_labels(valid / "labels" / "a_2.txt", [*VALID["a_2.jpg"], "1 0.5 7 0.1 0.1"])
    (valid / "images" / "b_1.jpg").write_bytes(b"not a picture")
    for _ in range(2):
        assert toeline("valid", "--out", "out") == 1
        errors = lines(tmp_path / "out" / "errors.jsonl")
        assert [(Path(e["file"]).name, e["line"]) for e in errors] == [("a_2.txt", 3), ("b_1.jpg", None)]
    assert card(tmp_path / "out")["objects"] == 5
    assert "a_2.txt, line 3" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data", "--split", "test"], "has no split 'test'. Choose one of: train, valid."),
        (["nowhere", "--split", "valid"], "nowhere: there is no such data set"),
        (["data", "--split", "valid", "--calibrate", "val"], "fitted on the split it is measured on"),
        (["data", "--split", "valid", "--prompt", "poem"], "there is no prompt 'poem'. Choose one of: "),
        (
            ["data", "--split", "valid", "--targets", "accurcy=0.9"],
            "Choose one of: none, zero-shot, fine-tuned, cond",
        ),
        (["data", "--split", "valid", "--targets", "accuracy=90"], "with a share between 0 and 1"),
        (["data", "--split", "valid", "--boxes", "gone"], "neither truth nor detector"),
        (["data", "--split", "valid", "--findings", "gone.jsonl"], "there is no such file of findings"),
        (["data", "--split", "valid", "--findings", "strange.jsonl", "--prompt", "crop"], "scored as they are"),
        (["data", "--split", "valid", "--findings", "strange.jsonl"], "none of its 0 findings is on a photograph"),
    ],
)
def test_what_cannot_be_measured_is_told(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    (tmp_path / "strange.jsonl").write_text("")
    assert evaluate(*words, "--out", "out") == 2
    assert told in capsys.readouterr().err


def test_labels_of_types_only_are_refused(toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_yolo(tmp_path / "types", {"valid": {"a.jpg": ["0 0.5 0.5 0.2 0.2"]}}, names=["toe_drain", "rock_toe"])
    assert evaluate("types", "--split", "valid", "--out", "out") == 2
    assert "names types and no conditions" in capsys.readouterr().err


def test_a_temperature_is_fitted_on_the_other_split_and_both_figures_are_shown(
    toeline: Toeline, tmp_path: Path
) -> None:
    assert toeline("valid", "--calibrate", "train", "--out", "out") == 0
    made = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert (made["fitted_on"]["split"], made["fitted_on"]["objects"]) == ("train", 4)
    measured = card(tmp_path / "out")["probabilities"]
    assert measured["before"]["n"] == measured["after"]["n"] == 5
    assert measured["before"]["log_loss"] != measured["after"]["log_loss"]
    assert "| measured | as scored | after temperature |" in (tmp_path / "out" / "report.md").read_text()
    assert len(lines(tmp_path / "out" / "calibration" / "cases.jsonl")) == 4


def test_one_photograph_in_both_splits_is_told(toeline: Toeline, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "train" / "images" / "c_1.jpg").write_bytes((data / "valid" / "images" / "b_1.jpg").read_bytes())
    assert toeline("valid", "--calibrate", "train", "--out", "out") == 1
    assert "also in the split train" in (tmp_path / "out" / "report.md").read_text()


def test_detected_boxes_are_measured_beside_true_ones(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--boxes", "detector", "--out", "out") == 0
    found = card(tmp_path / "out")
    assert found["detected"]["objects"] == 6
    assert found["detected"]["findings"] == 9
    assert found["objects"] == found["detected"]["right"] + found["detected"]["wrong_condition"]
    assert card(tmp_path / "out" / "true-boxes")["objects"] == 6
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Both stages together gave the right class in the right place to 1 of 6 true objects" in text
    assert "Beside true boxes" in text
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.count("data:image/jpeg;base64,") == 11  # 3 not found, 2 badly placed, 6 of nothing
    assert "The detector embedded and the judge embedded" in html


def test_the_detector_is_loaded_with_what_was_typed_of_it(toeline: Toeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DetectorOptions] = []

    def load(*_: Any, options: DetectorOptions, **__: Any) -> FakeDetector:
        asked.append(options)
        return FakeDetector()

    monkeypatch.setattr("toeline.detect.load.load_detector", load)
    typed = ("--threshold", "0.3", "--threshold", "rock toe=0.4", "--trust", "--device", "cpu")
    assert toeline("valid", "--boxes", "detector", "--spatial", "0", "--out", "out", *typed) in (0, 1)
    assert asked[0] == DetectorOptions({"rock toe": 0.4}, general=0.3, trust=True, device="cpu")


def test_both_stages_are_one_record_that_can_be_compared(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--boxes", "detector", "--spatial", "0", "--out", "out") == 0
    said = json.loads((tmp_path / "out" / "integration.json").read_text())
    counts = {name: said["counts"][name] for name in ("right", "missed", "misplaced", "false", "lost_by_detector")}
    assert counts == {"right": 1, "missed": 3, "misplaced": 2, "false": 6, "lost_by_detector": 5}
    whole = {f["key"]: f for f in said["both_stages"]["figures"]}
    assert (whole["accuracy"]["count"], whole["accuracy"]["n"]) == (1, 6)
    assert whole["accuracy"]["floor"] == pytest.approx(1 / 6)
    cost = {d["key"]: d for d in said["cost_of_detected_boxes"]["differences"]}
    assert (cost["accuracy"]["first"], cost["accuracy"]["second"]) == (pytest.approx(4 / 6), pytest.approx(1 / 6))
    assert [w["is"] for w in said["worst"]["missed"]] == ["Toe drain- Blocked", "Toe drain- Damaged", "slope drain"]
    assert {w["said"] for w in said["worst"]["missed"]} == {""}
    assert len(lines(tmp_path / "out" / "both-stages" / "cases.jsonl")) == 6
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "out/true-boxes", "out/both-stages"])
    assert stopped.value.code == 0


def test_a_detector_that_finds_nothing_is_wrong_everywhere(
    toeline: Toeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeDetector, "instances", lambda *_: [])
    assert toeline("valid", "--boxes", "detector", "--out", "out") == 0
    said = json.loads((tmp_path / "out" / "integration.json").read_text())
    assert (said["counts"]["missed"], said["counts"]["findings"]) == (6, 0)
    assert said["both_stages"]["figures"][1]["value"] == 0
    assert "There are no mistakes" not in (tmp_path / "out" / "report.md").read_text().split("## Mistakes")[0]


@pytest.mark.parametrize("boxes", ["first/findings.jsonl", "data/valid/labels"])
def test_boxes_of_a_file_or_a_folder(toeline: Toeline, tmp_path: Path, boxes: str) -> None:
    assert toeline("valid", "--out", "first") == 0
    assert toeline("valid", "--boxes", boxes, "--out", "out") == 0
    assert card(tmp_path / "out")["by_key"]["condition_given_type"]["count"] == 3
    assert card(tmp_path / "out")["detected"]["missed"] == 0


def test_a_stopped_run_goes_on_and_a_finished_one_asks_nothing_again(
    toeline: Toeline, judge: Listening, tmp_path: Path
) -> None:
    assert toeline("valid", "--out", "whole") == 0
    judge.asked.clear()
    judge.most = 2
    assert toeline("valid", "--spatial", "0", "--out", "out") == 130
    judge.most = 100
    assert toeline("valid", "--spatial", "0", "--out", "out") == 0
    assert judge.asked == ["a_1.jpg", "a_2.jpg", "b_1.jpg"]
    killed(tmp_path / "out")
    assert toeline("valid", "--spatial", "0", "--out", "out") == 0
    assert judge.asked[3:] == ["a_2.jpg", "b_1.jpg"]
    assert (tmp_path / "out" / "cases.jsonl").read_bytes() == (tmp_path / "whole" / "cases.jsonl").read_bytes()
    assert toeline("valid", "--spatial", "0", "--out", "out", "--cluster", "flight", "--targets", "fine-tuned") == 0
    assert len(judge.asked) == 5
    assert card(tmp_path / "out")["clusters"] == 2
    assert card(tmp_path / "out")["by_key"]["accuracy"]["target"] == 0.9


def test_other_settings_and_mended_labels_are_another_run(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("valid", "--out", "out") == 0
    assert toeline("valid", "--answers", "all", "--out", "out") == 2
    assert "answers was 'type', now 'all'" in capsys.readouterr().err
    write_labels(tmp_path / "data" / "valid" / "labels" / "b_1.txt", ["1 0.5 0.5 0.8 0.1"])
    assert toeline("valid", "--out", "out") == 2
    assert "labels_sha256 was" in capsys.readouterr().err


def test_a_prompt_is_asked_and_written_down(toeline: Toeline, judge: Listening, tmp_path: Path) -> None:
    assert toeline("valid", "--prompt", "crop", "--out", "out") == 0
    assert any(text.startswith("One object, enlarged: slope drain.") for text in judge.heard)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["models"]["judge"]["view"]["prompt"], run["settings"]["prompt"]) == ("crop", "crop")
    assert run["memory"]["process"] > 10_000_000
    assert str(tmp_path) not in json.dumps(run)


def test_saved_findings_of_a_folder_above_are_matched_by_the_end_of_their_names(
    toeline: Toeline, tmp_path: Path
) -> None:
    assert toeline("valid", "--out", "first") == 0
    saved = (tmp_path / "first" / "findings.jsonl").read_text().replace('"photo": "', '"photo": "valid/images/')
    (tmp_path / "saved.jsonl").write_text("".join(row + "\n" for row in saved.splitlines() if "b_1" not in row))
    assert toeline("valid", "--findings", "saved.jsonl", "--out", "out") == 1
    assert card(tmp_path / "out")["objects"] == 5
    assert "holds nothing of b_1.jpg" in (tmp_path / "out" / "errors.jsonl").read_text()


def test_saved_findings_need_no_model_library(toeline: Toeline, tmp_path: Path) -> None:
    assert toeline("valid", "--out", "first") == 0
    program = (
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'onnxruntime', 'peft', 'accelerate'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        "from toeline.cli import main\n"
        "main('evaluate data --split valid --findings first/findings.jsonl --out out'.split())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert card(tmp_path / "out")["figures"] == card(tmp_path / "first")["figures"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_photographs_without_objects_leave_nothing_to_measure(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(tmp_path / "empty" / "valid" / "images" / "a.jpg", SIZE)
    write_labels(tmp_path / "empty" / "valid" / "labels" / "a.txt", [])
    assert evaluate("empty", "--split", "valid", "--out", "out") == 2
    assert "no object of valid was judged" in capsys.readouterr().err
