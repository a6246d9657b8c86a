"""`toeline suggest` of an inspection and of a data set: files, problems, exit codes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_photo, write_yolo

from toeline.core.box import Box
from toeline.core.finding import Finding, Problem, Result
from toeline.core.records import finding_record, join_lines, problem_record
from toeline.core.run_folder import progress_record
from toeline.core.scene import Alternative
from toeline.core.taxonomy import Taxonomy
from toeline.judge.decide import decide, unreadable

TAXONOMY = Taxonomy.load()
DRAINS = TAXONOMY.answers("slope_drain")


def finding(photo: str, share: float, *, score: float = 0.95, number: int = 1, **more: Any) -> Finding:
    """A slope drain that is normal with this probability, else blocked."""
    probabilities = dict(zip(DRAINS, (share, 1 - share - 1e-6, 1e-6), strict=True))
    logs = {name: math.log(p) for name, p in probabilities.items()}
    return Finding(photo, str(number), "slope_drain", Box(1, 1, 9, 9), score, decide(logs, TAXONOMY), **more)


def write_run(folder: Path, results: Sequence[Result], **settings: Any) -> Path:
    """What `toeline inspect` writes, for photographs that lie in `photos`."""
    folder.mkdir()
    run = {
        "command": "inspect",
        "finished": "now",
        "settings": {"photos": ["photos"], "detector": "embedded", "thresholds": [], **settings},
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "findings.jsonl").write_text(join_lines(finding_record(f) for r in results for f in r.findings))
    (folder / "errors.jsonl").write_text(join_lines(problem_record(p) for r in results for p in r.problems))
    (folder / "progress.jsonl").write_text(join_lines(map(progress_record, results)))
    return folder


def inspected(found: Mapping[str, Sequence[Finding]], **settings: Any) -> Path:
    """A run of photographs that are drawn here."""
    for i, name in enumerate(found):
        write_photo(Path("photos", name), seed=i)
    return write_run(Path("run"), [Result(name, (40, 30), tuple(its)) for name, its in found.items()], **settings)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def suggest(*words: str) -> int:
    return exit_code("suggest", *words)


def test_a_run_gives_list_table_and_page(capsys: pytest.CaptureFixture[str]) -> None:
    run = inspected(
        {
            "B0_1.jpg": [finding("B0_1.jpg", 0.97)],
            "B0_40.jpg": [finding("B0_40.jpg", 0.55), finding("B0_40.jpg", 0.6, number=2)],
            "R6_7.jpg": [],
        }
    )
    write_photo(run / "marked" / "B0_40.jpg")
    assert suggest(str(run), "--n", "2", "--out", "out") == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "2 photographs to label, of 2 flight lines, out of 3." in told
    photos = Path("photos").absolute()
    assert Path("out/suggest.txt").read_text() == f"{photos / 'B0_40.jpg'}\n{photos / 'R6_7.jpg'}\n"
    rows = list(csv.DictReader(Path("out/suggest.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [(r["n"], r["photo"], r["flight_line"]) for r in rows] == [("1", "B0_40.jpg", "B0"), ("2", "R6_7.jpg", "R6")]
    assert rows[0]["why"] == "2 close answers: slope drain 1 is slope drain 0.55 or slope drain blocked 0.45"
    page = Path("out/suggest.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "nothing was found" in page


def test_the_same_again_is_the_same_list_and_replaces_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = inspected({f"B{i % 3}_{i}.jpg": [finding(f"B{i % 3}_{i}.jpg", 0.5 + i / 40)] for i in range(12)})
    said = []
    for _ in range(2):
        assert suggest(str(run), "--n", "5", "--out", "out", "--json") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert [s["path"] for s in said[0]["suggested"]] == Path("out/suggest.txt").read_text().splitlines()
    assert all(s["worth"] == s["uncertainty"] for s in said[0]["suggested"])  # the name that it had before
    assert [need["name"] for need in said[0]["flight_lines"]] == ["B0", "B1", "B2"]
    assert suggest(str(run), "--out", str(run)) == 2  # the inspection is not written over
    assert (run / "findings.jsonl").exists()


def test_weak_tied_and_unreadable_ones_are_told_by_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    others = (Alternative("slope_drain", 0.94), Alternative("toe_drain", 0.93))
    answer = Finding("c_1.jpg", "1", "slope_drain", Box(1, 1, 9, 9), 0.95, unreadable())
    run = inspected(
        {
            "a_1.jpg": [finding("a_1.jpg", 0.99, score=0.62)],
            "b_1.jpg": [finding("b_1.jpg", 0.99, detector_others=others)],
            "c_1.jpg": [answer],
        },
        thresholds=["slope drain=0.6"],
    )
    assert suggest(str(run), "--out", "out", "--json") == 0
    why = {s["photo"]: s["why"] for s in json.loads(capsys.readouterr().out)["suggested"]}
    assert why == {
        "a_1.jpg": ["1 weak detection: slope drain 1 at 0.62 (threshold 0.60)"],
        "b_1.jpg": ["1 close type: slope drain 1 at 0.95, toe drain at 0.93"],
        "c_1.jpg": ["1 unreadable answer: slope drain 1"],
    }


def test_boxes_that_people_drew_are_not_weak(capsys: pytest.CaptureFixture[str]) -> None:
    run = inspected({"a_1.jpg": [finding("a_1.jpg", 0.99, score=1.0)]}, boxes="labels")
    assert suggest(str(run), "--out", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["suggested"][0]["why"] == ["nothing on it is in doubt"]


def test_what_was_not_read_and_what_is_gone_are_problems(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("broken.jpg", "photos/broken.jpg", "is cut off", "Copy it again.")
    results = [
        Result("a_1.jpg", (40, 30), sha256="1"),
        Result("a_2.jpg", (40, 30), sha256="1"),  # the same bytes
        Result("gone.jpg", (40, 30), sha256="2"),
        Result("broken.jpg", problems=(problem,), failed=True),
    ]
    for name in ("a_1.jpg", "a_2.jpg", "broken.jpg"):
        write_photo(Path("photos", name))
    run = write_run(Path("run"), results)
    assert suggest(str(run), "--out", "out", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert [(s["photo"], Path(s["path"]).is_absolute()) for s in said["suggested"]] == [
        ("a_1.jpg", True),
        ("gone.jpg", False),
    ]
    assert said["counts"] == {"problems": 2, "notes": 1}
    errors = [json.loads(line)["what"] for line in Path("out/errors.jsonl").read_text().splitlines()]
    assert "is cut off" in errors
    assert any("not there any more" in what for what in errors)
    assert any("same file as a_1.jpg" in what for what in errors)


def test_a_list_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run = inspected({"a_1.jpg": [finding("a_1.jpg", 0.6)], "b_1.jpg": [finding("b_1.jpg", 0.5)]})
    Path("notes.txt").write_text("bring the ladder\n")
    assert suggest(str(run), "--out", "notes.txt") == 2
    assert Path("notes.txt").read_text() == "bring the ladder\n"
    for n, names in ((1, ["b_1.jpg"]), (2, ["b_1.jpg", "a_1.jpg"])):  # an earlier list is replaced
        assert suggest(str(run), "--n", str(n), "--out", "todo.txt") == 0
        assert [Path(line).name for line in Path("todo.txt").read_text().splitlines()] == names
    assert not list(Path().glob("*.lock"))
    assert "todo.txt" in capsys.readouterr().out


def test_a_data_set_says_what_is_thin_and_lists_what_has_no_label(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {f"B0_{i}.jpg": ["3 0.5 0.5 0.2 0.2"] for i in range(0, 60, 20)}
    root = write_yolo(Path("data"), {"train": rows, "valid": {"B1_1.jpg": ["5 0.5 0.5 0.1 0.8"]}})
    for i, name in enumerate(("B0_1.jpg", "B0_50.jpg", "B2_1.jpg", "B1_9.jpg")):
        write_photo(root / "train" / "images" / name, seed=90 + i)
    assert suggest("data", "--n", "4", "--out", "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["photographs"], said["labeled"]) == (8, 4)
    assert [Path(s["photo"]).name for s in said["suggested"]] == ["B2_1.jpg", "B1_9.jpg", "B0_50.jpg", "B0_1.jpg"]
    assert "near train/images/B0_0.jpg, labeled already" in said["suggested"][3]["why"]
    classes = {need["name"]: need for need in said["classes"]}
    assert (classes["rock toe"]["n"], classes["rock toe"]["spread"]) == (3, 1)
    assert "on one flight line" in classes["rock toe"]["words"]
    assert "none at all" in classes["vegetation"]["words"]
    assert said["flight_lines"][0] == {
        "name": "B2", "n": 0, "photos": 0, "spread": 0, "words": "1 of 1 are not labeled",
    }  # fmt: skip


def test_a_data_set_with_all_labels_and_one_with_a_broken_photograph(capsys: pytest.CaptureFixture[str]) -> None:
    root = write_yolo(Path("data"), {"train": {f"B0_{i}.jpg": ["3 0.5 0.5 0.2 0.2"] for i in range(3)}})
    assert suggest("data", "--out", "out") == 0
    assert "All 3 photographs have labels." in capsys.readouterr().out
    assert Path("out/suggest.txt").read_text() == ""
    (root / "train" / "images" / "B0_1.jpg").write_bytes(b"not a picture")
    assert suggest("data", "--out", "out") == 1
    assert "B0_1.jpg" in Path("out/errors.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "--out", "out"), "there is no such data set"),
        (("run", "--n", "0", "--out", "out"), "Invalid value for '--n'"),
        (("run", "--flight", "(", "--out", "out"), "--flight"),
        (("run", "--out", "photos/out"), "among the photographs"),
        (("evaluated", "--out", "out"), "was not written by `toeline inspect`"),
        (("begun", "--out", "out"), "no photograph was inspected yet"),
    ],
)
def test_what_cannot_be_done_says_why(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    inspected({"a_1.jpg": [finding("a_1.jpg", 0.6)]})
    evaluated, _ = write_run(Path("evaluated"), []), write_run(Path("begun"), [])
    (evaluated / "run.json").write_text('{"command": "evaluate", "settings": {"data": "x"}}')
    assert suggest(*words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("out").exists()
