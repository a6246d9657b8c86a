"""What became of the inputs of an evaluation, and of the models of a run, since it was begun."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import write_labels, write_photo, write_yolo
from tests.support.evaluating import SIZE, VALID, Listening, evaluate, lines
from tests.support.results import begun, result
from tests.support.stand_ins import stand_in

from toeline.core.run_folder import RunFolder
from toeline.errors import OutputError
from toeline.judge.judge import fingerprint
from toeline.pipelines.changes import FILES, model_files, require_same_models
from toeline.weights import hashes

PHOTOS = Path("data/valid/images")


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Listening:
    monkeypatch.chdir(tmp_path)
    write_yolo(Path("data"), {"valid": {**VALID, "empty.jpg": []}}, size_wh=SIZE)
    one = Listening()
    stand_in(monkeypatch, one)
    return one


def run(*words: str) -> int:
    return evaluate("data", "--split", "valid", "--out", "out", *words)


def test_of_an_evaluation_only_what_changed_is_asked_again(judge: Listening) -> None:
    assert run() == 0
    asked = {r["photo"]: r["cases"] for r in lines(Path("out/spatial.jsonl"))}
    judge.asked.clear()
    write_photo(PHOTOS / "a_1.jpg", SIZE, seed=7)
    assert run() == 0
    assert set(judge.asked) == {"a_1.jpg"}
    assert len(judge.asked) > 1 or "a_1.jpg" not in asked  # where things lie on it, too
    assert sorted(r["photo"] for r in lines(Path("out/progress.jsonl"))) == sorted([*VALID, "empty.jpg"])
    judge.asked.clear()
    assert run() == 0
    assert judge.asked == []


def test_other_questions_about_where_things_lie_are_asked_and_not_mixed(judge: Listening) -> None:
    assert run("--spatial", "150") == 0
    many = [c for r in lines(Path("out/spatial.jsonl")) for c in r["cases"]]
    assert run("--spatial", "1") == 0
    whole = {r["photo"]: r["cases"] for r in lines(Path("out/spatial.jsonl"))}
    assert len([c for cases in whole.values() for c in cases]) <= len(many)
    shutil.rmtree("out")
    assert run("--spatial", "1") == 0
    fresh = {r["photo"]: r["cases"] for r in lines(Path("out/spatial.jsonl"))}
    assert {name: whole[name] for name in fresh} == fresh


def test_a_photograph_without_objects_that_is_gone_leaves_an_evaluation(
    judge: Listening, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--boxes", "detector") == 0
    assert "empty.jpg" in Path("out/findings.jsonl").read_text()
    (PHOTOS / "empty.jpg").unlink()
    Path("data/valid/labels/empty.txt").unlink()
    assert run("--boxes", "detector") == 0
    assert "empty.jpg" not in Path("out/findings.jsonl").read_text()
    assert "empty.jpg: was inspected before and is not there any more" in capsys.readouterr().out


def test_another_ground_truth_is_another_evaluation(judge: Listening, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    write_labels(Path("data/valid/labels/b_1.txt"), ["1 0.5 0.5 0.8 0.1"])
    assert run() == 2
    assert "labels_sha256 was" in capsys.readouterr().err


def test_label_files_of_boxes_are_read_anew(judge: Listening) -> None:
    shutil.copytree("data/valid/labels", "found")
    shutil.copy("data/data.yaml", "found/data.yaml")
    assert run("--boxes", "found") == 0
    judge.asked.clear()
    write_labels(Path("found/b_1.txt"), ["2 0.5 0.4 0.8 0.1"])
    assert run("--boxes", "found") == 0
    assert set(judge.asked) == {"b_1.jpg"}


def judged_by(folder: Path, **models: Any) -> RunFolder:
    """A run on one photograph, judged by the model in judge/ with the adapter in adapter/."""
    one = begun(folder, result("a.jpg"))
    one.save_run(models={"judge": models}, **{FILES: model_files("judge", "adapter")})
    return one


@pytest.mark.parametrize(
    "change", ["judge/config.json", "adapter/adapter_config.json", "adapter/a.safetensors", "gone"]
)
def test_other_models_are_refused_though_nothing_is_left_to_do(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("judge/config.json", "judge/a.safetensors", "adapter/adapter_config.json", "adapter/a.safetensors"):
        write_labels(Path(name), b"{}")
    known = {"weights": hashes(Path("judge")), "adapter": hashes(Path("adapter"))}
    assert fingerprint(known) == known
    one = judged_by(tmp_path / "out", **known)
    require_same_models(one, "judge", "adapter")
    os.utime("judge/a.safetensors", (1, 1))  # a copy
    require_same_models(one, "judge", "adapter")
    if change == "gone":
        shutil.rmtree("adapter")
    else:
        write_labels(Path(change), b"[]")
    with pytest.raises(OutputError, match="is not what it was when photographs here were judged"):
        require_same_models(one, "judge", "adapter")


def test_a_file_that_an_ensemble_names_is_one_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_labels(Path("both.json"), b'{"judges": ["embedded", "baseline:base.safetensors"]}')
    write_labels(Path("base.safetensors"), b"1")
    assert sorted(model_files("ensemble:both.json", None)) == ["base.safetensors", "both.json"]
    one = begun(tmp_path / "out", result("a.jpg"))
    one.save_run(**{FILES: model_files("ensemble:both.json", None)})
    require_same_models(one, "ensemble:both.json", None)
    write_labels(Path("base.safetensors"), b"2")
    with pytest.raises(OutputError, match=r"base\.safetensors is not what it was"):
        require_same_models(one, "ensemble:both.json", None)
