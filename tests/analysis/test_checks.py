"""Label checks: what is planted is found and named by file and line, and nothing else is called a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.datasets import write_yolo
from tests.support.surveys import ROOT, WORDS, make_row, make_table

from toeline.analysis.analyze import analyze
from toeline.analysis.checks import CHECKS, Checks, order_flags
from toeline.analysis.relations import measure_relations
from toeline.analysis.table import Weight
from toeline.core.polygon import crossing, polygon_iou
from toeline.data.yolo import open_yolo


def checked(*instances: str) -> list[tuple[str, int | None]]:
    checks = Checks(WORDS, ROOT)
    checks.add(make_row("a.jpg", *instances))
    names = {c.name: key for key, c in CHECKS.items()}
    return [(names[f.check], f.line) for f in checks.flags]


@pytest.mark.parametrize(
    ("instances", "found"),
    [
        (["rock toe: 10 10 50 30", "rock toe: 10 10 50 31"], [("duplicate", 2)]),
        (["rock toe: 10 10 50 30", "rock toe damaged: 10 10 50 30"], [("two_conditions", 2)]),
        (["rock toe: 10 10 50 30", "toe drain: 10 10 50 30"], [("two_types", 2)]),
        (["rock toe: 10 10 50 30", "vegetation: 10 10 50 30"], [("covered", 2)]),
        (["rock toe: 10 10 50 30", "toe drain: 10 10 50 25"], [("overlap", 2)]),
        (["rock toe: 10 10 50 30", "rock toe damaged: 10 10 50 25"], [("crowded", 2)]),
        (["rock toe: 10 10 50 30", "rock toe: 40 10 90 30"], []),
        (["slope drain: 10 10 50 30"], [("lying", 1)]),
        (["toe drain: 10 10 20 40"], [("lying", 1)]),
        (["vegetation: 10 10 11 40"], [("thin", 1)]),
        (["vegetation: 0 0 100 98"], [("whole", 1)]),
        ([], []),
    ],
)
def test_a_contradiction_is_found_in_its_line(instances: list[str], found: list[tuple[str, int | None]]) -> None:
    assert checked(*instances) == found


def test_one_place_a_hundred_times_is_said_a_few_times_each() -> None:
    found = checked(*[f"rock toe: {10 + n / 100} 10 50 30" for n in range(100)])
    assert len(found) == 5 * 100 - 15
    assert {line for _, line in found} == set(range(2, 101))


def test_order_is_a_remark_only_when_it_is_turned_round_and_not_cut_off() -> None:
    rows = [
        make_row("a.jpg", "toe drain: 0 50 100 60", "rock toe: 0 65 100 80"),
        make_row("b.jpg", "toe drain: 0 50 100 60", "slope drain: 50 65 55 100"),
        make_row("c.jpg", "toe drain: 0 50 100 60", "slope drain: 50 0 55 49"),
    ]
    flags = order_flags(measure_relations(make_table(rows)))
    assert [(f.file, f.line, f.weight) for f in flags] == [("train/labels/a.txt", 2, Weight.REMARK)]


def test_polygons_tell_slanting_things_apart() -> None:
    down = [(0.0, 0.0), (10.0, 0.0), (100.0, 90.0), (100.0, 100.0), (90.0, 100.0), (0.0, 10.0)]
    up = [(100 - x, y) for x, y in down]
    assert polygon_iou(down, up) < 0.1  # their boxes are the same
    assert polygon_iou(down, down) == 1


def test_crossings() -> None:
    assert crossing([(0, 0), (4, 0), (4, 4), (0, 4)]) is None
    assert crossing([(0, 0), (4, 4), (4, 0), (0, 4)]) == 0.5
    assert crossing([(0, 0), (10, 0), (10, 10), (9.9, -0.1), (0, 10)]) == pytest.approx(0.01, abs=0.001)
    assert crossing([(0, 0), (2, 0), (2, 0), (2, 2)]) is None  # a corner twice is no crossing


FAULTS = {
    "bad_1.jpg": [
        "5 0.5 0.5 0.1 0.5",
        "9 0.5 0.5 0.1 0.1",  # no such class
        "5 0.5 0.5 0.1",  # too few numbers
        "5 0.5 0.5 0.1 x",  # no number
        "5 1.5 0.5 0.1 0.1",  # outside
        "5 0.95 0.5 0.2 0.1",  # reaches outside
        "5 0.3 0.5 0 0.1",  # no area
        "5 0.5 0.5 0.1 0.5",  # twice
    ],
    "contradiction_1.jpg": ["3 0.5 0.5 0.4 0.2", "4 0.5 0.5 0.4 0.2"],
    "contradiction_2.jpg": ["6 0.5 0.4 0.1 0.5", "6 0.501 0.4 0.1 0.5"],
    "contradiction_3.jpg": ["8 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9"],
    "fine_1.jpg": ["3 0.5 0.5 0.4 0.2", "0 0.5 0.8 1 0.1", "5 0.5 0.3 0.1 0.5"],
}


def test_planted_faults_are_named_by_file_and_line_and_nothing_else_is_called_one(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": FAULTS, "valid": {"ok_2.jpg": ["8 0.5 0.5 0.2 0.2"]}}, size_wh=(200, 200))
    (tmp_path / "train/labels/stray.txt").write_text("")
    found = analyze(open_yolo(tmp_path, WORDS), WORDS)
    faults = {(f.file.removeprefix("train/labels/"), f.line): f.check for f in found.flags if f.weight is Weight.FAULT}
    assert faults == {
        ("bad_1.txt", 2): "label line that cannot be used",
        ("bad_1.txt", 3): "label line that cannot be used",
        ("bad_1.txt", 4): "label line that cannot be used",
        ("bad_1.txt", 5): "box or polygon outside the photograph",
        ("bad_1.txt", 6): "box or polygon outside the photograph",
        ("bad_1.txt", 7): "box or polygon of no size",
        ("bad_1.txt", 8): "label line that stands there twice",
        ("contradiction_1.txt", 2): "one object, two conditions",
        ("contradiction_2.txt", 2): "object drawn twice",
        ("contradiction_3.txt", 1): "polygon that crosses itself",
        ("stray.txt", None): "data set that contradicts itself",
    }
    assert found.unread == 0
    lacking = found.counts.lacking["valid"]
    assert "vegetation" not in lacking
    assert len(lacking) == 8


def test_what_cannot_be_read_is_counted_apart(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a_1.jpg": [], "a_2.jpg": [], "a_3.jpg": []}})
    (tmp_path / "train/images/a_1.jpg").write_bytes(b"")
    (tmp_path / "train/labels/a_2.txt").write_bytes(b"\xff\xfe5\x00")
    (tmp_path / "train/labels/a_3.txt").unlink()
    found = analyze(open_yolo(tmp_path, WORDS), WORDS)
    assert [(f.file, f.weight) for f in found.flags] == [
        ("train/images/a_1.jpg", Weight.FAULT),
        ("train/labels/a_2.txt", Weight.FAULT),
        ("train/images/a_3.jpg", Weight.REMARK),
    ]
    assert found.unread == 2


def test_photographs_whose_labels_cannot_be_read_are_not_counted_as_empty(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a_1.jpg": [], "a_2.jpg": ["x"], "a_3.jpg": ["8 0.5 0.5 0.2 0.2"], "a_4.jpg": []}})
    (tmp_path / "train/labels/a_4.txt").unlink()
    counts = analyze(open_yolo(tmp_path, WORDS), WORDS).counts.whole
    assert (counts.photos, counts.objects, counts.empty, counts.unknown) == (4, 1, 1, 2)
    assert counts.objects_per_photo.mean == 0.5


def test_assumed_names_and_what_lies_beside_are_told_and_are_no_faults(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a_1.jpg": ["8 0.5 0.5 0.2 0.2"]}, "valid": {"b_1.jpg": []}})
    yaml = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(yaml.replace("val: valid/images\n", ""))
    found = analyze(open_yolo(tmp_path, WORDS), WORDS)
    assert [(f.check[:6], f.weight) for f in found.flags] == [("beside", Weight.REMARK)]
    assert found.fine
    (tmp_path / "data.yaml").unlink()
    found = analyze(open_yolo(tmp_path, WORDS), WORDS)
    assert [(f.check, f.todo[-15:]) for f in found.flags] == [
        ("data set that is read in part or by a guess", "--classes FILE."),
    ]
    assert not found.fine
