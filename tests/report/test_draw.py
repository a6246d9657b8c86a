"""Marked pictures: inside the frame, apart from one another, readable when small and when large."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict
from toeline.core.taxonomy import Taxonomy
from toeline.report.draw import DASHES, Mark, as_jpeg, draw, draw_marks, ink_on, luminance, marks_of, place_labels

TAXONOMY = Taxonomy.load()


def finding(class_name: str, box: Box, review: str = "") -> Finding:
    found = TAXONOMY.class_of(class_name)
    return Finding("a.jpg", "1", found.type, box, 1.0, Verdict(class_name, found.condition, 1.0, {}, review=review))


def rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def count(image: Image.Image, color: str) -> int:
    return int((np.asarray(image) == rgb(color)).all(axis=2).sum())


@pytest.mark.parametrize("side", [224, 640, 4000])
def test_lines_and_letters_grow_with_the_picture(side: int) -> None:
    plain = Image.new("RGB", (side, side), "#777777")
    drawn = draw(plain, [finding("rock toe damaged", Box(0.3 * side, 0.3 * side, 0.8 * side, 0.8 * side))], TAXONOMY)
    assert drawn.size == plain.size
    middle = np.asarray(drawn)[:, side // 2]  # a column through the upper and lower edge of the box
    inked = (middle != 0x77).any(axis=1).sum()
    assert 2 * max(2, side / 300) <= inked <= 2 * max(8, side / 100) + side / 25
    above = drawn.crop((int(0.3 * side), int(0.2 * side), int(0.5 * side), int(0.295 * side)))
    rows = np.argwhere((np.asarray(above) == rgb(TAXONOMY.color("damaged"))).all(axis=2))[:, 0]
    assert rows.max() - rows.min() >= max(9, side / 60)  # a label over the box, as high as its letters


def test_the_photograph_itself_is_left_alone() -> None:
    plain = Image.new("RGB", (300, 300), "#777777")
    draw(plain, [finding("rock toe", Box(10, 10, 90, 90))], TAXONOMY)
    assert count(plain, "#777777") == 90_000


def test_condition_is_told_by_color_by_line_and_by_word() -> None:
    box = Box(100, 200, 500, 500)
    marks = marks_of([finding(n, box) for n in ("slope drain", "slope drain blocked", "slope drain damaged")], TAXONOMY)
    assert len({m.color for m in marks}) == len({m.style for m in marks}) == 3
    assert [m.text for m in marks] == ["1 slope drain normal", "1 slope drain blocked", "1 slope drain damaged"]
    assert len(set(DASHES)) == len(DASHES)
    plain = Image.new("RGB", (640, 640), "#777777")
    solid, dashed = (draw(plain, [finding(n, box)], TAXONOMY) for n in ("slope drain", "slope drain blocked"))
    edges = [(np.asarray(i)[450, 90:110] != 0x77).any() for i in (solid, dashed)]
    assert all(edges)
    column = [np.asarray(i)[230:490, 100] for i in (solid, dashed)]
    shares = [(c == rgb(m.color)).all(axis=1).mean() for c, m in zip(column, marks, strict=False)]
    assert shares[0] > 0.95
    assert 0.4 < shares[1] < 0.8


def test_a_type_with_one_condition_does_not_repeat_it_and_review_is_a_question_mark() -> None:
    marks = marks_of([finding("vegetation", Box(0, 0, 9, 9)), finding("rock toe", Box(0, 0, 9, 9), "unsure")], TAXONOMY)
    assert [m.text for m in marks] == ["1 vegetation", "1 rock toe normal?"]
    assert [m.text for m in marks_of([finding("rock toe", Box(0, 0, 9, 9))], TAXONOMY, short=True)] == ["1N"]


TRIANGLE = ((60.0, 60.0), (560.0, 60.0), (60.0, 560.0))


@pytest.mark.parametrize("style", range(len(DASHES)))
def test_a_polygon_is_drawn_along_its_corners_and_not_along_its_box(style: int) -> None:
    color = TAXONOMY.color("damaged")
    mark = Mark(Box.around(TRIANGLE), "", color, style, TRIANGLE)
    drawn = draw_marks(Image.new("RGB", (640, 640), "#777777"), [mark])
    assert count(drawn.crop((300, 330, 640, 640)), "#777777") == 340 * 310  # the half of the box that is not in it
    assert count(drawn.crop((280, 280, 340, 340)), color) > 0
    assert count(drawn, color) + count(drawn, "#777777") < 640 * 640  # the dark line beneath


def test_a_polygon_of_many_short_edges_is_dashed_like_one_of_long_ones() -> None:
    color = TAXONOMY.color("blocked")
    fine = tuple((60.0 + 2 * i, 60.0) for i in range(250)) + TRIANGLE[1:]
    inked = [
        count(draw_marks(Image.new("RGB", (640, 640)), [Mark(Box.around(p), "", color, 1, p)]), color)
        for p in (TRIANGLE, fine)
    ]
    assert inked[1] == pytest.approx(inked[0], rel=0.1)


def test_a_mark_without_text_has_no_label() -> None:
    box = Box(100, 100, 500, 500)
    bare, named = (
        draw_marks(Image.new("RGB", (640, 640)), [Mark(box, text, "#2e9e4f", 0)]) for text in ("", "1 rock toe")
    )
    assert count(named, "#2e9e4f") > count(bare, "#2e9e4f") + 500
    assert bare.crop((0, 0, 640, 90)).getbbox() is None


@st.composite
def crowds(draw_: st.DrawFn) -> tuple[list[Box], list[tuple[float, float]]]:
    boxes, sizes = [], []
    for _ in range(draw_(st.integers(1, 20))):
        x, y = draw_(st.floats(-50, 690)), draw_(st.floats(-50, 690))
        boxes.append(Box(x, y, x + draw_(st.floats(0, 400)), y + draw_(st.floats(0, 400))))
        sizes.append((draw_(st.floats(10, 150)), draw_(st.floats(8, 20))))
    return boxes, sizes


@given(crowds())
def test_labels_stay_inside_the_frame_and_keep_their_size(crowd: tuple[list[Box], list[tuple[float, float]]]) -> None:
    boxes, sizes = crowd
    for place, (wide, high) in zip(place_labels(boxes, sizes, (640, 640)), sizes, strict=True):
        assert (place.width, place.height) == pytest.approx((wide, high))
        assert min(place.x1, place.y1) >= 0
        assert max(place.x2, place.y2) <= 640.001


def test_labels_of_eighteen_neighbors_do_not_cover_each_other() -> None:
    boxes = [Box(30 + 33 * i, 200, 50 + 33 * i, 420) for i in range(18)]
    places = place_labels(boxes, [(110.0, 16.0)] * 18, (640, 640), gap=2)
    overlaps = [a.intersection(b) for a, b in combinations(places, 2)]
    assert sum(overlaps) < 0.15 * 18 * 110 * 16


def test_the_same_box_twice_has_two_readable_labels() -> None:
    one, two = place_labels([Box(100, 100, 200, 200)] * 2, [(80.0, 15.0)] * 2, (640, 640))
    assert one.intersection(two) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_odd_pictures_are_drawn_on_without_a_fault(size: tuple[int, int]) -> None:
    assert draw(Image.new("RGB", size), [finding("rock toe", Box(0, 0, *size))], TAXONOMY).size == size


def test_a_picture_too_long_for_jpeg_is_made_smaller() -> None:
    assert as_jpeg(Image.new("RGB", (70_000, 4)))[:2] == b"\xff\xd8"


@pytest.mark.parametrize("condition", [c.name for c in TAXONOMY.conditions])
def test_letters_stand_out_from_their_label(condition: str) -> None:
    color = TAXONOMY.color(condition)
    dark, light = sorted((luminance(color), luminance(ink_on(color))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # the contrast that WCAG 2 asks of small text


def test_a_large_photograph_is_marked_scaled_down_and_boxes_stay_on_their_objects():
    photo = Image.new("RGB", (8192, 2048), "#808080")
    scaled = Mark(Box(100, 200, 300, 400), "", "#ff0000", 0, ((100, 200), (300, 200), (300, 400))).scaled(0.5)
    assert (scaled.box, scaled.polygon[2]) == (Box(50, 100, 150, 200), (150, 200))
    assert draw(photo, [], Taxonomy.load()).size == (4096, 1024)
