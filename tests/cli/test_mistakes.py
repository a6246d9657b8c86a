"""What a command answers to a mistake: one sentence that says what was meant, before any model is loaded."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from tests.support.datasets import NAMES, exit_code, write_photo, write_yolo
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.pipelines.inspector import Inspector

MODELS = ("toeline.judge.qwen_vl", "onnxruntime")
LINE = "3 0.5 0.5 0.2 0.4"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set `data`, one of which no photograph can be read, one of other classes; no model loads."""
    monkeypatch.chdir(tmp_path)
    for name in ("data", "broken", "other", "near"):
        write_yolo(tmp_path / name, {"valid": {"a.jpg": [LINE], "b.jpg": [LINE]}})
    for photo in (tmp_path / "broken").rglob("*.jpg"):
        photo.write_text("no picture")
    for name, classes in (("other", ["cat", "dog", "cow", "hen"]), ("near", [*NAMES[:3], "rok toe", *NAMES[4:]])):
        file = tmp_path / name / "data.yaml"
        file.write_text(f"names: {classes}\nval: valid/images\n")
    (tmp_path / "empty").mkdir()
    shutil.copy(tmp_path / "data" / "data.yaml", tmp_path / "film.mp4")
    for module in MODELS:
        monkeypatch.setitem(sys.modules, module, None)  # to import it is an error from now on
    return tmp_path


def answer(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on standard error to a command that could do nothing."""
    assert exit_code(*words.split()) == 2
    return " ".join(capsys.readouterr().err.split())


INSPECT, EVALUATE = "inspect data/valid/images --out out", "evaluate data --split valid --out out"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{INSPECT} --judge embeded", "embeded: there is no such judge. Did you mean 'embedded'?"),
        (f"{INSPECT} --judge basline:embedded", "Did you mean 'baseline:embedded'?"),
        (f"{INSPECT} --judge baseline:embeded", "no such file as embeded. Did you mean 'embedded'?"),
        (f"{INSPECT} --judge ensemble:embedded,baseline:none", "baseline:none: there is no such file as none."),
        (f"{INSPECT} --detector embeded", "embeded: there is no such detector. Did you mean 'embedded'?"),
        (f"{INSPECT} --detector film.mp4", "film.mp4: a file of this kind is no detector."),
        (f"{INSPECT} --threshold toe_drian=0.4", "'toe_drian'. Did you mean 'toe_drain'?"),
        (f"{INSPECT} --threshold 1.5", "the threshold of all types is 1.5. A confidence lies between 0 and 1."),
        (f"{INSPECT} --tile tiny", "--tile tiny: give auto, off, or a size in pixels"),
        (f"{INSPECT} --head yolo8", "there is no head 'yolo8'. Did you mean 'yolov8'?"),
        (f"{INSPECT} --boxes empty", "empty: none of the 2 photographs has a label file there; of a.jpg it would be"),
        ("inspect data/data.yaml --out out", "data.yaml: describes a data set and is no photograph. Name its folder"),
        ("inspect film.mp4 --out out", "film.mp4: a video. Inspect a frame"),
        ("inspect data/valid/image --out out", "data/valid/image: there is no such file or folder."),
        (f"{EVALUATE} --judge embeded", "Did you mean 'embedded'?"),
        (f"{EVALUATE} --boxes detektor", "Did you mean 'detector'?"),
        (f"{EVALUATE} --boxes detector --detector embeded", "Did you mean 'embedded'?"),
        (f"{EVALUATE} --boxes detector --threshold rok_toe=0.4", "Did you mean 'rock_toe'?"),
        (f"{EVALUATE} --prompt relatons", "Did you mean 'relations'?"),
        (f"{EVALUATE} --calibrate tset", "data: has no split 'tset'."),
        (f"{EVALUATE} --targets acuracy=0.9", "Did you mean 'accuracy'?"),
        ("evaluate data --split vaild --out out", "Did you mean 'valid'?"),
        ("evaluate other --split valid --out out", "none of its 4 class names is in the taxonomy ('cat', 'dog', "),
        ("evaluate-detector data --detector embeded --out out", "Did you mean 'embedded'?"),
        ("evaluate-detector data --against embeded --out out", "Did you mean 'embedded'?"),
        ("evaluate-detector data --threshold rok_toe=0.4 --out out", "Did you mean 'rock_toe'?"),
        ("gate embeded --against embedded --data data --out out", "Did you mean 'embedded'?"),
        ("trim embeded --out out", "Did you mean 'embedded'?"),
        ("ensemble data --judge embeded --judge embedded --split valid --out out.json", "Did you mean 'embedded'?"),
        ("plan --device rtx490", "Did you mean 'rtx4090'?"),
        ("plan --judge embeded", "Did you mean 'embedded'?"),
        ("inspekt data --out out", "Did you mean 'inspect'?"),
    ],
)
def test_a_mistake_is_named_before_anything_is_loaded_or_written(
    words: str, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in answer(words, capsys)
    assert not (place / "out").exists()


def test_a_class_name_that_is_nearly_known_is_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code("analyze", "near", "--out", "out", "--no-pixels", "--workers", "1")
    told = " ".join("".join(capsys.readouterr()).split())
    assert (
        "class 3 'rok toe' is not in the taxonomy; its labels are left out and reported. Did you mean 'rock toe" in told
    )


@pytest.mark.parametrize(
    "words",
    [
        *("inspect broken", "analyze broken", "gallery broken", "split broken --seed 1", "convert broken --to coco"),
        *("suggest broken", "evaluate broken --split valid", "evaluate-detector broken", "baseline broken"),
        *("learn broken", "finetune broken --judge embedded", "train-detector broken"),
        "gate embedded --against embedded --data broken",
    ],
)
def test_where_no_photograph_can_be_read_nothing_could_be_done(
    words: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    assert "not one of 2 photographs can be read" in answer(f"{words} --out out", capsys)
    assert not (place / "out").exists()


def test_where_every_photograph_fails_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their headers are read before; that their pixels are torn is found when they are inspected."""
    monkeypatch.setattr(Inspector, "load", lambda *_, **__: fake_inspector(FakeJudge()))
    for name in ("torn.jpg", "torn2.jpg"):
        photo = write_photo(Path("torn") / name, (200, 200))
        photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    assert exit_code("inspect", "torn", "--out", "out") == 2
    assert "2 photographs not inspected" in capsys.readouterr().out
    write_photo(Path("torn/whole.jpg"))
    assert exit_code("inspect", "torn", "--out", "out") == 1


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("nope", "nope: there is no such folder. Name an output folder of toeline evaluate."),
        ("seen", "(`toeline inspect` wrote it). Its findings are not compared with ground truth yet. Type: toeline "
                 "evaluate DATA --split SPLIT --findings seen/findings.jsonl --out NEW"),
        ("data", "data/run.json: cannot be read as the record of a run. Name an output folder of toeline evaluate."),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told_with_what_to_type(
    second: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Inspector, "load", lambda *_, **__: fake_inspector(FakeJudge()))
    assert exit_code("inspect", "data/valid/images", "--out", "seen") == 0
    capsys.readouterr()
    assert said in answer(f"compare {second} seen", capsys)
