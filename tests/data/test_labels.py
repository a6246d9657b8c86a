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


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "0 0.5 0.5 0.2 0.4 0.9",
            "The sixth may be a confidence, as predictions have, which are no labels, or the angle",
        ),
        (
            "0 0.5 0.5 0.2 0.4 1.57",
            "The sixth may be the angle of a turned box: export that as four corners (task: obb)",
        ),
        ("0 0.5 0.5 0.2 0.4 -30", "The sixth may be the angle"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9 0.8", "four corners with a confidence"),
        ("10 10 90 10 90 90 10 90 toe_drain 0", "is a line of DOTA"),
        ("10 10 90 10 90 90 10 90 toe-drain", "is a line of DOTA"),
        ("0,0.5,0.5,0.2,0.4", "commas"),
        ("0 0,5 0,5 0,2 0,4", "commas"),
        ("toe_drain 0.5 0.5 0.2 0.4", "number 1 is 'toe_drain', and has to be the number of a class. Export"),
        ("toe drain 0.5 0.5 0.2 0.4", "'toe drain' is probably its name"),
        ("0 120 80 60 40", "not pixels"),
        (
            "0 0.5 0.5 0.2 0.4" + " 0.5 0.5 2" * 17,
            "It may be a box and 17 key points: say so in data.yaml, kpt_shape: [17, 3]",
        ),
        ("0 0.5 0.5 0.2 0.4" + " 0.5 0.5 1" * 4, "is probably a box and 4 key points"),
        ("0 0.5 0.5 0.2 0.4" + " 0.5 0.5 2 0.4 0.4 0", "is probably a box and 2 key points"),
        ("0 0.5 0.5 0.2 0.4 0.45 0.6 0.55 0.35 0.41 0.4 0.58 0.68 0.5 0.5", "a box and 5 key points"),
        ("0 0.5 0.5 0.2 0.4 0.42 0.35 0.58 0.65 0.45 0.68", "a box and 3 key points"),
        ("0 0.5 0.5 0.2 0.4 0.45 0.6 0.9 0.55 0.35 0.8 0.41 0.4 0.7 0.58 0.68 0.98", "a box and 4 key points"),
    ],
)
def test_lines_of_other_forms_are_named(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"{row}\n")
    lines, problems = read_label_file(file, SIZE, KNOWN)
    assert not lines
    assert said in str(*problems)


def test_outlines_are_no_key_points(tmp_path: Path) -> None:
    """Whatever their place and size: a star of 24 corners never crosses itself."""
    rng, file = np.random.default_rng(3), tmp_path / "a.txt"
    rows = []
    for corners in rng.choice([6, 8, 9, 12, 24], 200):
        turn = np.arange(corners) / corners * 2 * np.pi
        reach = rng.uniform(0.02, 0.4) * rng.uniform(0.5, 1, corners)
        places = rng.uniform(0.1, 0.9, 2) + np.stack([np.cos(turn), np.sin(turn)], 1) * reach[:, None]
        rows.append(" ".join(map(str, [0, *places.clip(0, 1).ravel()])))
    file.write_text("\n".join(rows))
    lines, problems = read_label_file(file, SIZE, KNOWN)
    assert (len(lines), problems) == (200, ())


@pytest.mark.parametrize("row", ["0.0\t0.5\t0.5\t0.2\t0.4", "0  0.5 0.5  0.2 0.4 ", "+0 .5 5e-1 0.2 0.4"])
def test_lines_that_are_written_in_another_way_are_boxes(tmp_path: Path, row: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"{row}\r\n")
    lines, problems = read_label_file(file, (100, 100), KNOWN)
    assert [line.box.xyxy for line in lines] == [(40, 30, 60, 70)]
    assert not problems


def test_four_corners_are_a_turned_box_with_the_box_around_it(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n")
    ((line,), problems) = read_label_file(file, (100, 100), KNOWN)
    assert line.polygon == ((50, 10), (90, 50), (50, 90), (10, 50))
    assert line.box.xyxy == (10, 10, 90, 90)
    assert not problems


@pytest.mark.parametrize(("shape", "points"), [((2, 3), "0.5 0.5 2 0 0 0"), ((3, 2), "0.5 0.5 0.1 0.2 0 0")])
def test_key_points_are_passed_over_and_the_box_is_kept(tmp_path: Path, shape: tuple[int, int], points: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.2 0.4 {points}\n7 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4 0.1 0.2 0.3 0.4\n")
    lines, problems = read_label_file(file, (100, 100), KNOWN, keypoints=shape[0] * shape[1])
    assert [(line.class_id, line.box.xyxy, line.polygon) for line in lines] == [
        (0, (40, 30, 60, 70), ()),
        (7, (40, 30, 60, 70), ()),
    ]
    assert "kpt_shape in data.yaml makes it 5 or 11" in str(*problems)


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
