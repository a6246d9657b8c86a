"""The one pass over a data set."""

from __future__ import annotations

from pathlib import Path

from tests.support.datasets import write_labels, write_photo, write_yolo

from toeline.analysis.table import Flag, survey
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo

WORDS = Taxonomy.load()


def test_rows_name_photographs_below_the_root_and_lines_of_the_label_file(tmp_path: Path) -> None:
    labels = ["9 0.5 0.5 0.1 0.1", "5 0.5 0.5 0.1 0.8", "", "8 0.2 0.2 0.1 0.1"]
    write_yolo(tmp_path, {"train": {"L1_B0_1.jpg": labels}, "valid": {"L2_B0_7.jpg": []}})
    first, second = survey(open_yolo(tmp_path, WORDS), WORDS)
    assert (first.name, first.split, first.flight_line) == ("train/images/L1_B0_1.jpg", "train", "L1_B0")
    assert (second.name, second.split, second.size_wh) == ("valid/images/L2_B0_7.jpg", "valid", (40, 30))
    assert dict(first.lines) == {"1": 2, "2": 4}
    assert first.ground_truths["1"].class_name == "slope drain"
    assert [p.line for p in first.problems] == [1]
    assert first.scene.instances == first.instances


def test_a_photograph_that_cannot_be_opened_is_told_and_the_pass_goes_on(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a_1.jpg": ["5 0.5 0.5 0.1 0.8"], "a_2.jpg": []}})
    (tmp_path / "train/images/a_1.jpg").write_bytes(b"no picture")
    unread: list[Flag] = []
    assert [row.name for row in survey(open_yolo(tmp_path, WORDS), WORDS, unread=unread.append)] == [
        "train/images/a_2.jpg"
    ]
    assert [(f.file, f.line) for f in unread] == [("train/images/a_1.jpg", None)]
    assert "not a photograph" in unread[0].what
    assert "JPEG" in unread[0].todo


def test_groups_can_be_given(tmp_path: Path) -> None:
    write_photo(tmp_path / "x7.png")
    write_labels(tmp_path / "labels/x7.txt", [])
    (row,) = survey(open_yolo(tmp_path, WORDS), WORDS, group_of=lambda photo: photo.stem[:1])
    assert (row.flight_line, row.split, row.name) == ("x", "all", "x7.png")
