"""The same command again after something changed, twice at once, on odd pictures and odd names, on a failing disk."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import NAMES, exit_code, make_photo, write_labels, write_photo, write_yolo
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.core.records import read_lines
from toeline.core.run_folder import alone
from toeline.data.images import photo_size
from toeline.pipelines.inspector import Inspector
from toeline.report import draw

TOE, DRAIN, PLANT = "3 0.5 0.5 0.2 0.4", "5 0.25 0.5 0.1 0.4", "8 0.5 0.5 0.2 0.4"


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeJudge:
    """In an empty folder, with a judge that remembers of which photographs it was asked."""
    monkeypatch.chdir(tmp_path)
    one = FakeJudge()
    made = lambda *_, **given: fake_inspector(one, boxes=given["boxes"])  # noqa: E731
    monkeypatch.setattr(Inspector, "load", made)
    return one


def inspect(*words: str) -> int:
    return exit_code("inspect", "photos", "--out", "out", "--workers", "0", *words)


def photo(name: str, seed: int = 0) -> Path:
    return write_photo(Path("photos") / name, (200, 100), seed=seed)


def boxes_of(name: str) -> list[list[float]]:
    return [r["box"] for r in read_lines(Path("out/findings.jsonl")) if r["photo"] == name]


def seen() -> list[str]:
    return [r["photo"] for r in read_lines(Path("out/progress.jsonl"))]


def test_what_changed_is_inspected_anew_and_what_is_gone_goes(
    judge: FakeJudge, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(Path("labels/classes.txt"), NAMES)
    for seed, (name, line) in enumerate({"a": DRAIN, "b": TOE, "c": PLANT, "e": DRAIN}.items()):
        photo(f"{name}.jpg", seed)
        write_labels(Path(f"labels/{name}.txt"), [line])
    assert inspect("--boxes", "labels") == 0
    judge.asked.clear()
    photo("b.jpg", 9)
    photo("d.jpg", 4)
    write_labels(Path("labels/d.txt"), [DRAIN])
    write_labels(Path("labels/a.txt"), [DRAIN.replace("0.25", "0.75")])
    Path("photos/c.jpg").unlink()
    inspect("--boxes", "labels")
    assert sorted(judge.asked) == ["a.jpg", "b.jpg", "d.jpg"]
    assert sorted(seen()) == ["a.jpg", "b.jpg", "d.jpg", "e.jpg"]
    assert boxes_of("a.jpg") == [[140.0, 30.0, 160.0, 70.0]]
    assert boxes_of("c.jpg") == []
    assert sorted(p.name for p in Path("out/marked").iterdir()) == ["a.jpg", "b.jpg", "d.jpg", "e.jpg"]
    assert "c.jpg" not in Path("out/findings.csv").read_text()
    assert "c.jpg: was inspected before and is not there any more" in (said := capsys.readouterr()).out
    assert "Inspected anew, because the file changed: b.jpg." in said.err
    assert "Inspected anew, because the boxes changed: a.jpg." in said.err
    judge.asked.clear()
    assert inspect("--boxes", "labels") == 0
    assert judge.asked == []


def test_another_photograph_of_the_same_size_and_date_is_seen(judge: FakeJudge) -> None:
    file = photo("a.bmp", 1)
    photo("b.bmp", 2)
    assert inspect() == 0
    before, judge.asked[:] = file.stat(), []
    file.write_bytes(photo("other.bmp", 3).read_bytes())
    Path("photos/other.bmp").unlink()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert inspect() == 0
    assert judge.asked == ["a.bmp"]


def test_a_copy_of_the_same_bytes_is_the_same_photograph(judge: FakeJudge) -> None:
    photo("a.jpg")
    assert inspect() == 0
    shutil.copytree("photos", "copy")
    shutil.rmtree("photos")
    Path("copy").rename("photos")
    judge.asked.clear()
    assert inspect() == 0
    assert judge.asked == []


def test_the_names_of_the_classes_are_part_of_the_boxes(judge: FakeJudge) -> None:
    photo("a.jpg")
    write_labels(Path("labels/a.txt"), ["0 0.5 0.5 0.2 0.4"])
    Path("data.yaml").write_text("names: [Toe drain, rock toe]\n")
    inspect("--boxes", "labels")
    Path("data.yaml").write_text("names: [rock toe, Toe drain]\n")
    inspect("--boxes", "labels")
    assert [r["type"] for r in read_lines(Path("out/findings.jsonl"))] == ["rock_toe"]


def test_a_run_most_of_whose_photographs_are_gone_is_refused_and_left(capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        photo(f"{name}.jpg")
    assert inspect() == 0
    before = Path("out/findings.jsonl").read_bytes()
    Path("photos/a.jpg").unlink()
    Path("photos/b.jpg").unlink()
    assert inspect() == 2
    assert "2 of the 3 photographs that this run has inspected are gone, such as a.jpg" in capsys.readouterr().err
    assert Path("out/findings.jsonl").read_bytes() == before


def test_a_second_run_is_refused_before_it_loads_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.jpg")
    monkeypatch.setattr(Inspector, "load", lambda *_, **__: pytest.fail("loaded"))
    with alone(Path("out")):
        assert inspect() == 2
    assert "another run is writing here" in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] == [".lock"]


def test_a_folder_that_is_deleted_while_models_load_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.jpg")

    def load(*_: Any, **__: Any) -> Inspector:
        shutil.rmtree("out")
        return fake_inspector()

    monkeypatch.setattr(Inspector, "load", load)
    assert inspect() == 2
    assert "was deleted, moved or taken by another run" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_deleted_while_photographs_are_inspected_is_noticed(
    again: bool, judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        photo(f"{name}.jpg")
    monkeypatch.setattr("toeline.core.run_folder.COMMIT_S", 0.0)
    score = FakeJudge.score

    def scored(self: FakeJudge, sheet: Any) -> Any:
        if sheet.photo == "b.jpg":
            Path("out").rename("elsewhere")
            if again:
                Path("out").mkdir()
        return score(self, sheet)

    monkeypatch.setattr(FakeJudge, "score", scored)
    assert inspect() == 2
    assert "was deleted, moved or taken by another run" in capsys.readouterr().err


def test_a_grainy_picture_is_drawn_and_stops_nothing() -> None:
    photo("a.jpg")
    photo("c.jpg")
    make_photo((640, 640)).save("photos/b.png")
    assert inspect() == 0
    assert sorted(p.name for p in Path("out/marked").iterdir()) == ["a.jpg", "b.png.jpg", "c.jpg"]


@pytest.mark.parametrize(
    "fault",
    [OSError("encoder error -2"), OSError(errno.ENAMETOOLONG, "File name too long"), MemoryError(), ValueError()],
)
def test_a_picture_that_cannot_be_drawn_is_a_problem_of_its_photograph(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        photo(f"{name}.jpg")
    whole = iter(range(9))

    def as_jpeg(image: Any) -> bytes:
        if next(whole) == 1:
            raise fault
        return draw.as_jpeg(image)

    monkeypatch.setattr("toeline.pipelines.inspect.as_jpeg", as_jpeg)
    assert inspect() == 1
    assert len(read_lines(Path("out/findings.jsonl"))) == 9
    assert [r["photo"] for r in read_lines(Path("out/errors.jsonl"))] == ["b.jpg"]
    assert "Its marked picture could not be drawn" in Path("out/report.html").read_text()
    assert inspect() == 0  # it is tried again
    assert sorted(p.name for p in Path("out/marked").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_refuses_stops_the_run_with_what_to_do(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.jpg")

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("toeline.pipelines.inspect.write_whole", refuse)
    assert inspect() == 2
    assert os.strerror(number) in capsys.readouterr().err
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["csv_head", "render_page", "work_lines"])
def test_a_disk_that_is_full_at_the_last_stage_loses_nothing(
    name: str, judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.jpg")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"toeline.pipelines.inspect.{name}", full)
        assert inspect() == 2
    assert "No space left on device). Make room, then run the same command again" in capsys.readouterr().err
    assert inspect() == 0
    assert judge.asked == ["a.jpg"]
    assert Path("out/report.html").exists()


def test_eight_photographs_have_eight_pictures() -> None:
    names = ["x.png", "x.png.jpg", "Z.JPG", "Z.JPG.jpg", "c:d.jpg", "c_d.jpg", "A.jpg", "a.jpg", f"{'n' * 251}.png"]
    for seed, name in enumerate(names):
        photo("tmp.jpg", seed).rename(Path("photos") / name)
    assert inspect() == 0
    marked = [r["marked"] for r in read_lines(Path("out/progress.jsonl"))]
    assert len({name.casefold() for name in marked}) == len(names)
    assert all((Path("out") / name).is_file() for name in marked)
    table = Path("out/findings.csv").read_text(encoding="utf-8-sig")
    assert all(name in table for name in marked)


@pytest.mark.parametrize("vanishing", [0, 1])
def test_a_photograph_that_vanishes_in_mid_run_is_told_and_the_rest_is_done(
    vanishing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        photo(f"{name}.jpg")
    from toeline.pipelines import inspector

    reads = [inspector.read_photo, inspector.file_hash]
    step, read = ("read_photo", "file_hash")[vanishing], reads[vanishing]

    def gone(path: Path) -> Any:
        if path.name == "b.jpg":
            path.unlink()
        return read(path)

    monkeypatch.setattr(f"toeline.pipelines.inspector.{step}", gone)
    assert inspect() == 1
    assert [r["photo"] for r in read_lines(Path("out/errors.jsonl"))] == ["b.jpg"]
    assert {r["photo"] for r in read_lines(Path("out/findings.jsonl"))} == {"a.jpg", "c.jpg"}


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_place_of_the_output_folder_is_refused(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.jpg")
    Path("file").write_text("mine")
    assert exit_code("inspect", "photos", "--out", out) == 2
    assert "Choose another --out" in capsys.readouterr().err
    assert Path("file").read_text() == "mine"


def test_a_record_that_names_a_file_elsewhere_deletes_nothing() -> None:
    photo("a.jpg")
    photo("b.jpg")
    assert inspect() == 0
    victim = write_photo(Path("precious.jpg"))
    progress = Path("out/progress.jsonl")
    lines = [json.loads(line) | {"marked": "../precious.jpg"} for line in progress.read_text().splitlines()]
    progress.write_text("".join(json.dumps(line) + "\n" for line in lines))
    photo("b.jpg", 7)
    inspect()
    assert victim.exists()


@pytest.mark.parametrize("command", ["baseline", "ensemble"])
@pytest.mark.parametrize("there", ["data/data.yaml", "photo.jpg", "notes.json", "data", "empty"])
def test_a_file_of_something_else_is_not_overwritten(
    command: str, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yolo(Path("data"), {"train": {"a.jpg": [TOE]}})
    write_photo(Path("photo.jpg"))
    Path("notes.json").write_text('{"weight": 1}')
    Path("empty").touch()
    before = sorted((p, p.is_file() and p.read_bytes()) for p in Path().rglob("*"))
    judges = ("--judge", "embedded", "--judge", "embedded") if command == "ensemble" else ()
    assert exit_code(command, "data", *judges, "--out", there) == 2
    assert f"is there already and is no file of `toeline {command}`" in capsys.readouterr().err
    assert sorted((p, p.is_file() and p.read_bytes()) for p in Path().rglob("*")) == before


def test_a_folder_of_another_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.jpg")
    Path("out").mkdir()
    Path("out/run.json").write_text(json.dumps({"command": "finetune", "settings": {}, "finished": None}))
    assert inspect() == 2
    assert "holds what `toeline finetune` wrote" in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] in (["run.json"], [".lock", "run.json"], ["run.json", ".lock"])


def test_a_demonstration_draws_nothing_into_a_folder_of_others() -> None:
    Path("mine").mkdir()
    Path("mine/thesis.doc").touch()
    assert exit_code("demo", "--out", "mine") == 2
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (("evaluate", "data", "--split", "train"), "out"),
        (("evaluate-detector", "data", "--split", "train"), "out"),
        (("finetune", "data"), "out"),
        (("convert", "data", "--to", "coco"), ".out.part"),
        (("split", "data", "--seed", "1", "--parts", "train=1"), ".out.part"),
        (("analyze", "data", "--no-pixels"), ".out.part"),
        (("gallery", "data"), ".out.part"),
        (("train-embedded", "judge", "--seed", "1"), "out"),
        (("train-embedded", "detector", "--seed", "1"), "out"),
    ],
)
def test_of_two_that_write_into_one_folder_the_second_is_refused(
    words: tuple[str, ...], held: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yolo(Path("data"), {"train": {f"{n}.jpg": [TOE, DRAIN] for n in "ab"}})
    with alone(Path(held)):
        assert exit_code(*words, "--out", "out") == 2
    assert "another run is writing here" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_summary_is_told_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_labels(Path("photos/Böschung 日本.jpg"), b"no picture")
    photo("a.jpg")
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert inspect() == 1
    sys.stdout.flush()
    name = "Böschung 日本.jpg"
    assert name.encode(encoding, "backslashreplace") in raw.getvalue()


def test_a_full_standard_output_loses_nothing(
    judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    photo("a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Full())
        assert inspect() == 2
    assert "standard output: cannot be written (No space left on device)" in capsys.readouterr().err
    assert Path("out/report.html").exists()


def test_a_note_is_told_everywhere_and_is_no_fault(judge: FakeJudge, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [make_photo((200, 100), seed) for seed in range(2)]
    Path("photos").mkdir()
    frames[0].save("photos/two.tif", save_all=True, append_images=frames[1:])
    assert inspect() == 0
    told = capsys.readouterr().out.splitlines()[-2:]
    what = "photos/two.tif: the first of 2 frames was read"
    assert told == ["Left out or assumed (see out/errors.jsonl)", f"  {what}"]
    run = json.loads(Path("out/run.json").read_text())
    assert (run["counts"]["problems"], run["counts"]["notes"]) == (0, 1)
    assert [kind["what"] for kind in run["told"]] == ["the first of 2 frames was read"]
    page = Path("out/report.html").read_text()
    assert page.index(what) < page.index('id="counts"')
    judge.asked.clear()
    assert inspect() == 0
    assert judge.asked == []


def test_problems_of_a_kind_are_counted_and_the_first_few_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(5):
        write_labels(Path(f"photos/{n}.jpg"), b"no picture")
    photo("good.jpg")
    assert inspect() == 1
    head, line = capsys.readouterr().out.splitlines()[-2:]
    assert head == "5 problems, 5 photographs not inspected: see out/errors.jsonl"
    assert line.startswith("  5 times: not a photograph, whatever its name says.")
    assert line.endswith("(photos/0.jpg; photos/1.jpg; photos/2.jpg; and 2 more)")


SPLIT, CONVERT = ("split", "data", "--seed", "1", "--parts", "train=1"), ("convert", "data", "--to", "coco")


@pytest.mark.parametrize("words", [SPLIT, CONVERT])
@pytest.mark.parametrize("carry", ["--link", "--copy"])
def test_a_data_set_of_photographs_that_changed_is_not_called_written_already(
    words: tuple[str, ...], carry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yolo(Path("data"), {"train": {f"{n}.bmp": [TOE, DRAIN] for n in "ab"}})
    assert exit_code(*words, carry, "--out", "out") == 0
    assert exit_code(*words, carry, "--out", "out") == 0
    assert "written already" in capsys.readouterr().out
    file = Path("data/train/images/a.bmp")
    other = write_photo(Path("other.bmp"), photo_size(file), seed=9)
    other.replace(file)
    assert exit_code(*words, carry, "--out", "out") == 2
    assert "a.bmp changed since then" in capsys.readouterr().err
