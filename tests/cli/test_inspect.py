"""`toeline inspect` from end to end, with a detector and a judge that need no model."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import NAMES, exit_code, write_labels, write_photo
from tests.support.stand_ins import FakeJudge, fake_inspector, single_parts
from tests.support.tiny_judges import save_model

from toeline.cli import main
from toeline.detect.detector import DetectorOptions
from toeline.pipelines.inspector import Inspector

Toeline = Callable[..., int]


@pytest.fixture
def judge() -> FakeJudge:
    return FakeJudge()


@pytest.fixture
def toeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, judge: FakeJudge) -> Toeline:
    """toeline("inspect", ...) in a folder that holds nothing but the names of the classes; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    single_parts(monkeypatch)
    write_labels(tmp_path / "classes.txt", NAMES)
    made = lambda *_, **given: fake_inspector(judge, boxes=given["boxes"], answers=given["answers"])  # noqa: E731
    monkeypatch.setattr(Inspector, "load", made)

    return exit_code


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(4):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (200, 100), seed=i)
    return tmp_path / "photos"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_what_is_asked_of_the_detector_reaches_it(
    toeline: Toeline, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Inspector, "load", lambda *_, **given: (asked.append(given), fake_inspector())[1])
    words = ("inspect", "photos", "--out", "out", "--trust", "--device", "cpu")
    assert toeline(*words, "--threshold", "rock toe=0.4", "--threshold", "0.3") == 0
    assert asked[0]["detector_options"] == DetectorOptions({"rock toe": 0.4}, general=0.3, trust=True, device="cpu")
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert (settings["thresholds"], settings["trust"]) == (["rock toe=0.4", "0.3"], True)
    assert toeline(*words, "--threshold", "0.5") == 2


def test_everything_is_written_and_all_done_is_0(toeline: Toeline, photos: Path, tmp_path: Path) -> None:
    assert toeline("inspect", "photos", "--out", "out") == 0
    out = tmp_path / "out"
    found = lines(out / "findings.jsonl")
    assert [(f["photo"], f["id"]) for f in found] == [(f"{i}.jpg", n) for i in range(4) for n in "123"]
    assert found[0]["class"] == "slope drain blocked"
    assert found[0]["box"] == [40.0, 0.0, 60.0, 70.0]
    assert found[0]["second"]["probability"] == pytest.approx(0.15)
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1.0)
    assert sorted(p.name for p in (out / "marked").iterdir()) == [f"{i}.jpg" for i in range(4)]
    assert (out / "errors.jsonl").read_bytes() == b""
    assert len((out / "findings.csv").read_text(encoding="utf-8-sig").splitlines()) == 13
    assert "12" in (out / "report.html").read_text(encoding="utf-8")
    assert not list(out.rglob("*.part"))


def test_the_record_says_how_it_was_made_and_names_no_place_that_was_not_typed(
    toeline: Toeline, photos: Path, tmp_path: Path
) -> None:
    write_photo(photos / "bad.jpg").write_bytes(b"")
    assert toeline("inspect", "photos", "--out", "out") == 1
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["photos"] == ["photos"]
    assert run["counts"]["findings"] == 12
    assert run["models"]["judge"] == {"back_end": "fake", "model": "embedded", "prompt": "relations"}
    assert len(run["data_sha256"]) == len(run["settings"]["taxonomy_sha256"]) == 64
    assert {"toeline", "python", "torch", "transformers"} <= run["versions"].keys()
    for name in ("run.json", "report.html", "errors.jsonl", "findings.jsonl", "findings.csv", "progress.jsonl"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text(encoding="utf-8"), name


def test_one_bad_photograph_is_told_and_the_rest_is_done(
    toeline: Toeline, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "1.jpg").write_bytes(b"not a picture")
    (photos / "2.jpg").write_bytes((photos / "2.jpg").read_bytes()[:-2000])
    assert toeline("inspect", "photos", "--out", "out") == 1
    assert {f["photo"] for f in lines(tmp_path / "out" / "findings.jsonl")} == {"0.jpg", "3.jpg"}
    errors = lines(tmp_path / "out" / "errors.jsonl")
    assert [e["file"] for e in errors] == ["photos/1.jpg", "photos/2.jpg"]
    assert all(e["what"] for e in errors)
    told = capsys.readouterr()
    assert "2 problems" in told.out
    assert "photos/1.jpg" in told.err


def test_the_summary_for_programs_is_one_json_object(
    toeline: Toeline, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("inspect", "photos", "--out", "out", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["photographs"], summary["findings"], summary["fine"]) == (4, 12, True)
    assert summary["by_condition"] == {"normal": 4, "blocked": 4, "damaged": 4}
    assert summary["files"]["report.html"] == "out/report.html"


def test_boxes_of_people_keep_their_types_and_bad_lines_are_named(
    toeline: Toeline, photos: Path, tmp_path: Path
) -> None:
    write_labels(tmp_path / "labels" / "0.txt", ["7 0.5 0.5 0.2 0.4", "99 0.5 0.5 0.1 0.1"])
    write_labels(tmp_path / "labels" / "1.txt", [])
    write_labels(tmp_path / "labels" / "2.txt", ["8 0.5 0.5 0.2 0.4"])
    assert toeline("inspect", "photos", "--boxes", "labels", "--out", "out") == 1
    found = lines(tmp_path / "out" / "findings.jsonl")
    assert [(f["photo"], f["type"], f["class"]) for f in found] == [
        ("0.jpg", "slope_drain", "slope drain blocked"),  # the label says damaged; nobody was told
        ("2.jpg", "vegetation", "vegetation"),
    ]
    bad_class, missing = lines(tmp_path / "out" / "errors.jsonl")
    assert (bad_class["file"], bad_class["line"]) == ("labels/0.txt", 2)
    assert (missing["file"], missing["photo"]) == ("labels/3.txt", "3.jpg")


def test_photographs_in_subfolders_find_their_labels(toeline: Toeline, tmp_path: Path) -> None:
    for part in ("one", "two"):
        write_photo(tmp_path / "photos" / part / "a.jpg", (200, 100))
    write_labels(tmp_path / "labels" / "one" / "a.txt", ["7 0.5 0.5 0.2 0.4"])
    write_labels(tmp_path / "labels" / "two" / "a.txt", ["8 0.5 0.5 0.2 0.4"])
    assert toeline("inspect", "photos", "--boxes", "labels", "--out", "out") == 0
    assert [(f["photo"], f["type"]) for f in lines(tmp_path / "out" / "findings.jsonl")] == [
        ("one/a.jpg", "slope_drain"),
        ("two/a.jpg", "vegetation"),
    ]
    assert (tmp_path / "out" / "marked" / "two" / "a.jpg").exists()


def test_two_photographs_that_share_a_label_file_are_told(toeline: Toeline, tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.jpg", (200, 100))
    write_photo(tmp_path / "photos" / "a.png", (200, 100))
    write_labels(tmp_path / "labels" / "a.txt", ["7 0.5 0.5 0.2 0.4"])
    assert toeline("inspect", "photos", "--boxes", "labels", "--out", "out") == 2  # nothing was inspected
    shared, *without = lines(tmp_path / "out" / "errors.jsonl")
    assert (shared["file"], "used for none of them" in shared["what"]) == ("labels/a.txt", True)
    assert {problem["photo"] for problem in without} == {"a.jpg", "a.png"}
    assert [r["failed"] for r in lines(tmp_path / "out" / "progress.jsonl")] == [True, True]  # not: nothing is there


def test_all_answers_are_passed_on(toeline: Toeline, photos: Path, tmp_path: Path) -> None:
    assert toeline("inspect", "photos/0.jpg", "--answers", "all", "--out", "out") == 0
    assert len(lines(tmp_path / "out" / "findings.jsonl")[2]["probabilities"]) == 9


def test_stopped_in_the_middle_it_goes_on_where_it_was(
    toeline: Toeline, photos: Path, tmp_path: Path, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toeline("inspect", "photos", "--out", "whole") == 0
    judge.asked.clear()
    judge.most = 2
    assert toeline("inspect", "photos", "--out", "out") == 130
    assert "same command again" in capsys.readouterr().err
    assert len(lines(tmp_path / "out" / "progress.jsonl")) == 2
    torn = tmp_path / "out" / "findings.jsonl"
    torn.write_bytes(torn.read_bytes() + b'{"photo": "2.jpg", "id": ')
    judge.most = 100
    assert toeline("inspect", "photos", "--out", "out") == 0
    assert judge.asked == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert torn.read_bytes() == (tmp_path / "whole" / "findings.jsonl").read_bytes()
    assert "2 photographs had been done before" in capsys.readouterr().out


def test_a_finished_run_says_so_makes_its_reports_again_and_asks_nobody(
    toeline: Toeline, photos: Path, tmp_path: Path, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    toeline("inspect", "photos", "--out", "out")
    (tmp_path / "out" / "report.html").unlink()
    judge.asked.clear()
    assert toeline("inspect", "photos", "--out", "out") == 0
    assert judge.asked == []
    assert "finished already" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").exists()


def test_a_mended_photograph_is_tried_again_and_a_new_one_is_added(
    toeline: Toeline, photos: Path, tmp_path: Path, judge: FakeJudge
) -> None:
    good = (photos / "1.jpg").read_bytes()
    (photos / "1.jpg").write_bytes(b"")
    assert toeline("inspect", "photos", "--out", "out") == 1
    (photos / "1.jpg").write_bytes(good)
    write_photo(photos / "9.jpg", (200, 100))
    judge.asked.clear()
    assert toeline("inspect", "photos", "--out", "out") == 0
    assert judge.asked == ["1.jpg", "9.jpg"]
    assert len(lines(tmp_path / "out" / "findings.jsonl")) == 15
    assert lines(tmp_path / "out" / "errors.jsonl") == []


def test_another_run_in_the_same_folder_is_refused_with_2(
    toeline: Toeline, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toeline("inspect", "photos", "--out", "out")
    assert toeline("inspect", "photos", "--answers", "all", "--out", "out") == 2
    told = capsys.readouterr().err
    assert "answers was 'type', now 'all'" in told
    assert "Traceback" not in told


def test_other_weights_in_the_same_folder_are_refused(
    toeline: Toeline, photos: Path, judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    judge.most = 2
    toeline("inspect", "photos", "--out", "out")
    judge.most, judge.info = 100, {"back_end": "fake", "weights": "new"}
    assert toeline("inspect", "photos", "--out", "out") == 2
    assert "other model weights" in capsys.readouterr().err


def test_a_finished_run_of_an_older_detector_is_not_taken_for_one_of_the_newer(
    toeline: Toeline, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.onnx").write_bytes(b"old")
    assert toeline("inspect", "photos", "--detector", "own.onnx", "--out", "out") == 0
    (tmp_path / "own.onnx").write_bytes(b"new")
    assert toeline("inspect", "photos", "--detector", "own.onnx", "--out", "out") == 2
    assert "weights are others" in capsys.readouterr().err


def test_an_output_folder_among_the_photographs_is_refused(toeline: Toeline, photos: Path) -> None:
    assert toeline("inspect", "photos", "--out", "photos/out") == 2
    assert not (photos / "out").exists()


def test_threads_and_batches_change_no_file_but_times(toeline: Toeline, tmp_path: Path) -> None:
    for i in range(9):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (60 + i, 50), seed=i)
    (tmp_path / "photos" / "5.jpg").write_bytes(b"")
    for name, words in {"a": ("0", "1"), "b": ("1", "4"), "c": ("5", "3")}.items():
        assert toeline("inspect", "photos", "--out", name, "--workers", words[0], "--batch", words[1]) == 1
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    timed = {Path("progress.jsonl"), Path("run.json"), Path("report.html")}
    assert len(files - timed) == 8 + 5  # marked pictures; findings in two forms, a work list, errors and a lock
    for file in files - timed:
        assert len({(tmp_path / name / file).read_bytes() for name in "abc"}) == 1, file


def test_a_run_is_taken_up_at_another_pace(toeline: Toeline, photos: Path, tmp_path: Path, judge: FakeJudge) -> None:
    judge.most = 2
    assert toeline("inspect", "photos", "--out", "out", "--workers", "0") == 130
    judge.most = 100
    assert toeline("inspect", "photos", "--out", "out", "--workers", "3", "--batch", "2") == 0
    assert judge.asked == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_masks_and_labels_of_a_data_set_are_no_photographs(
    toeline: Toeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images/a.jpg", "masks/a_object.png", "labels/a.png"):
        write_photo(tmp_path / "drawn" / "train" / name, (200, 100))
    assert toeline("inspect", "drawn", "--out", "out") == 0
    assert {f["photo"] for f in lines(tmp_path / "out" / "progress.jsonl")} == {"train/images/a.jpg"}
    assert "left out 2 pictures in folders called masks or labels" in " ".join(capsys.readouterr().err.split())
    assert toeline("inspect", "drawn/train/masks", "--out", "named") == 0  # whoever names the folder means it
    assert toeline("inspect", "drawn/train/labels", "drawn", "--out", "both") == 0
    assert len(lines(tmp_path / "both" / "progress.jsonl")) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("inspect", "nowhere", "--out", "out"), "nowhere: there is no such file or folder"),
        (("inspect", "photos", "--out", "photos"), "among the photographs"),
        (("inspect", "photos", "--out", "."), "not empty"),
        (("inspect", "photos", "--boxes", "nowhere", "--out", "out"), "no such folder of label files"),
        (("inspect", "photos", "--taxonomy", "nowhere.toml", "--out", "out"), "nowhere.toml: cannot be read"),
        (("inspect", "photos", "--workers", "100", "--out", "out"), "--workers"),
        (("inspect", "photos", "--out", "out", "--answers", "some"), "--answers"),
        (("inspekt",), "inspekt"),
    ],
)
def test_faults_before_the_first_photograph_are_2_without_a_trace(
    toeline: Toeline, photos: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert toeline(*words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert "Traceback" not in said


def test_a_run_that_failed_to_start_does_not_block_its_folder(toeline: Toeline, photos: Path) -> None:
    assert toeline("inspect", "photos", "--boxes", "nowhere", "--out", "out") == 2
    assert toeline("inspect", "photos", "--out", "out") == 0


def bad_files(folder: Path) -> None:
    """Every kind of file that flights and phones leave behind, beside one good photograph."""
    write_photo(folder / "good.jpg", (200, 100))
    photo = (folder / "good.jpg").read_bytes()
    noise = Image.effect_noise((60, 60), 80)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "text.jpg").write_bytes(b"this is no photograph")
    (folder / "a_png_by_mistake.jpg").write_bytes(write_photo(folder / "x.png", (60, 60)).read_bytes())
    noise.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.arange(3600, dtype=np.uint16).reshape(60, 60) * 18).save(folder / "sixteen.png")
    noise.convert("RGB").convert("RGBA").save(folder / "alpha.png")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    header = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    (folder / "gigapixel.png").write_bytes(header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0" * 64)


def test_bad_files_of_every_kind_stop_nothing(toeline: Toeline, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    bad_files(tmp_path / "photos")
    assert toeline("inspect", "photos", "--out", "out") == 1
    failed = {p["photo"] for p in lines(tmp_path / "out" / "progress.jsonl") if p["failed"]}
    assert failed == {"empty.jpg", "truncated.jpg", "text.jpg", "gigapixel.png"}
    assert {e["photo"] for e in lines(tmp_path / "out" / "errors.jsonl")} == failed
    marked = {p.name for p in (tmp_path / "out" / "marked").iterdir()}
    assert {"good.jpg", "a_png_by_mistake.jpg", "cmyk.jpg", "sixteen.png.jpg", "alpha.png.jpg", "one.png.jpg"} <= marked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--judge", "photos"), "photos is not a model directory"),
        (("--judge", "no/such-model"), "no/such-model"),
        (("--judge", "replay:photos/0.jpg"), "photos/0.jpg"),
        (("--judge", "photos", "--device", "cuda"), "cuda|not a model directory"),
    ],
)
def test_models_that_cannot_be_loaded_are_2_and_leave_the_folder_free(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(photos.parent)
    write_labels(photos.parent / "labels" / "0.txt", [])
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "photos", "--boxes", "labels", "--out", "out", *words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert re.search(told, said)
    assert "Traceback" not in said


def test_the_whole_way_with_a_real_model_of_the_architecture(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights, true code: sheets, packing, scores, verdicts."""
    save_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    write_labels(tmp_path / "classes.txt", NAMES)
    for i in range(4):
        write_labels(tmp_path / "labels" / f"{i}.txt", ["7 0.5 0.5 0.2 0.4", "3 0.5 0.8 1 0.2", "8 0.1 0.1 0.1 0.1"])
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "photos", "--boxes", "labels", "--judge", "model", "--device", "cpu", "--out", "out"])
    assert stopped.value.code == 0
    found = lines(tmp_path / "out" / "findings.jsonl")
    assert [len(f["probabilities"]) for f in found[:3]] == [3, 2, 1]
    assert all(sum(f["probabilities"].values()) == pytest.approx(1, abs=1e-5) for f in found)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["models"]["judge"]["model"], run["models"]["judge"]["dtype"]) == ("model", "float32")
    assert run["models"]["judge"]["attention"] == "toeline_branches"
    with pytest.raises(SystemExit):
        main(["inspect", "photos", "--boxes", "labels", "--judge", "replay:out/findings.jsonl", "--out", "again"])
    again = lines(tmp_path / "again" / "findings.jsonl")
    assert [f["class"] for f in again] == [f["class"] for f in found]
