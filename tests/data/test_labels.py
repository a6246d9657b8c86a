"""The quick reader of label files says what the careful one says, or leaves the file to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toeline.data.labels import MOST_CORNERS, MOST_OBJECTS, apart, read_label_file, read_plain

KNOWN = {0: "a", 1: "b", 7: "c"}
SIZE = (640, 481)
shares = st.one_of(
    st.floats(0, 1).map(repr),
    st.floats(0, 1).map(lambda x: f"{x:.6f}"),
    st.sampled_from(["0.5", "1", "0", "5e-1", "1.0005", "-0.0", "1e-300", ".25", "2.5E-1", "+0.5", "1_0", "x", "nan"]),
)
inside = st.builds(
    lambda c, x, y, w, h: f"{c} {x} {y} {w} {h}",
    st.sampled_from(["0", "1", "7", "7.0"]),
    *[st.floats(0.3, 0.7)] * 2,
    *[st.one_of(st.floats(1e-6, 0.6), st.sampled_from([0.6, 0.5]))] * 2,
)
odd = st.lists(st.one_of(shares, st.sampled_from(["0", "7", "3", "1e999"])), max_size=9).map(" ".join)
lines = st.one_of(inside, inside, inside, odd, st.sampled_from(["", "  ", "1 0.5 0.5 0.2 0.2"]))
ends = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", " \n", "\x0b\n"])


@given(st.one_of(st.lists(inside, max_size=6), st.lists(lines, max_size=6)), ends, st.sampled_from(["", "\ufeff"]))
def test_both_readers_say_the_same(rows: list[str], end: str, start: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.txt"
        file.write_text(start + end.join(rows) + end, encoding="utf-8", newline="")
        plain = read_plain(file, SIZE, KNOWN)
        slow, problems = read_label_file(file, SIZE, KNOWN)
    if plain is None:
        return
    if apart(plain.boxes, 0.5):
        assert not problems
        assert plain.lines == [line.line for line in slow]
        assert plain.class_ids == [line.class_id for line in slow]
        assert plain.boxes.tolist() == [list(line.box.xyxy) for line in slow]
    assert all("the same as line" in p.what for p in problems)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_the_usual_file_is_plain(tmp_path: Path, end: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(end.join(["0 0.5 0.5 0.2 0.2", "7 0.9 0.1 0.2 0.2", ""]), newline="")
    plain = read_plain(file, (100, 50), KNOWN)
    assert plain is not None
    assert plain.class_ids == [0, 7]
    assert plain.boxes.tolist() == [[40, 20, 60, 30], [80, 0, 100, 10]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 0.5 0.5 0.2",
        "0 0.1 0.1 0.9 0.9 0.1 0.9",
        "3 0.5 0.5 0.2 0.2",
        "0.5 0.5 0.5 0.2 0.2",
        "0 0.5 0.5 0 0.2",
        "0 1.0001 0.5 0.2 0.2",
        "0 0.95 0.5 0.2 0.2",
        "0 0.5 0.5 0.2 0.2\r0 0.1 0.1 0.1 0.1",
        "0 0.5 0.5 0.2 1_0",
        "0 0.5 0.5 0.2 1-0",
        "0 0.5 0.5 0.2 \uff11",
        "0 0.1 0.1 0.1 0.1\n" * (MOST_OBJECTS + 1),
    ],
)
def test_what_is_unusual_is_left_to_the_careful_reader(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(text, encoding="utf-8", newline="")
    assert read_plain(file, (100, 50), KNOWN) is None
    assert read_plain(tmp_path / "none.txt", (100, 50), KNOWN) is None


def test_boxes_are_apart_up_to_the_limit() -> None:
    near = np.array([[0, 0, 10, 10], [0, 0, 10, 4.9]])
    assert apart(near, 0.5)
    near[1, 3] = 5
    assert not apart(near, 0.5)


def test_boxes_in_several_blocks_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toeline.data.labels.BLOCK", 10)
    corner = np.arange(7.0)[:, None] * 10
    row = np.concatenate([corner, corner, corner + 5, corner + 5], axis=1)
    assert apart(row, 0.5)
    row[6] = row[0]
    assert not apart(row, 0.5)


def test_more_objects_than_the_limit_are_refused_with_both_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n0 0.1 0.1 0.1 0.1\n" * (MOST_OBJECTS + 1))
    found, problems = read_label_file(file, SIZE, KNOWN)
    assert found == ()
    assert [p.what for p in problems] == [
        "one photograph has 1,001 objects, and the limit is 1,000, so nothing in the file was read. "
        "Cut the photograph and its labels into tiles."
    ]


def test_a_polygon_of_too_many_corners_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0" + " 0.1 0.2" * (MOST_CORNERS + 1) + "\n0 0.5 0.5 0.1 0.1\n")
    found, problems = read_label_file(file, SIZE, KNOWN)
    assert [line.line for line in found] == [2]
    assert [(p.line, p.what) for p in problems] == [
        (1, "the polygon has 10,001 corners, and the limit is 10,000. Simplify it.")
    ]
