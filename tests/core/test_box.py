"""Boxes by their properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toeline.core.box import Box

SIZE = (640, 480)
whole = st.integers(-200, 900)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    (x1, x2), (y1, y2) = sorted((draw(whole), draw(whole))), sorted((draw(whole), draw(whole)))
    return Box(x1, y1, x2, y2)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_a_share(a: Box, b: Box) -> None:
    assert a.iou(b) == b.iou(a)
    assert 0 <= a.iou(b) <= 1


@given(boxes())
def test_iou_with_itself_is_one_unless_it_has_no_area(a: Box) -> None:
    assert a.iou(a) == (1 if a.area else 0)


@given(boxes(), boxes())
def test_an_intersection_is_no_larger_than_either(a: Box, b: Box) -> None:
    assert a.intersection(b) <= min(a.area, b.area)


@given(boxes(), boxes(), st.integers(1, 2000))
def test_mirroring_twice_is_nothing_and_keeps_what_boxes_share(a: Box, b: Box, width: int) -> None:
    assert a.mirrored(width).mirrored(width) == a
    assert a.mirrored(width).intersection(b.mirrored(width)) == a.intersection(b)
    assert (a.mirrored(width).width, a.mirrored(width).height) == (a.width, a.height)


@given(boxes(), boxes(), st.sampled_from([0.25, 0.5, 2, 8]))
def test_scale_changes_areas_by_its_square_and_iou_not_at_all(a: Box, b: Box, factor: float) -> None:
    assert a.scaled(factor).area == a.area * factor**2
    assert a.scaled(factor).iou(b.scaled(factor)) == a.iou(b)


@given(boxes())
def test_a_clipped_box_lies_inside_and_clipping_again_changes_nothing(a: Box) -> None:
    clipped = a.clipped(SIZE)
    assert 0 <= clipped.x1 <= clipped.x2 <= SIZE[0]
    assert 0 <= clipped.y1 <= clipped.y2 <= SIZE[1]
    assert clipped.clipped(SIZE) == clipped
    assert clipped.area == a.intersection(Box(0, 0, *SIZE))


@given(boxes().filter(lambda b: b == b.clipped(SIZE)))
def test_yolo_shares_come_back_as_the_same_box(a: Box) -> None:
    (cx, cy), (w, h) = a.center, SIZE
    again = Box.from_yolo(cx / w, cy / h, a.width / w, a.height / h, size_wh=SIZE)
    assert again.xyxy == pytest.approx(a.xyxy, abs=1e-9)


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=9))
def test_the_box_around_points_is_the_smallest(points: list[tuple[int, int]]) -> None:
    box = Box.around(points)
    assert all(box.x1 <= x <= box.x2 and box.y1 <= y <= box.y2 for x, y in points)
    assert {box.x1, box.x2} <= {x for x, _ in points}
    assert {box.y1, box.y2} <= {y for _, y in points}


@given(boxes())
def test_the_center_is_as_far_from_both_ends(a: Box) -> None:
    x, y = a.center
    assert (x - a.x1, y - a.y1) == (a.x2 - x, a.y2 - y)


@pytest.mark.parametrize(
    "xyxy", [(1, 0, 0, 1), (0, 1, 1, 0), (math.nan, 0, 1, 1), (0, 0, math.inf, 1), (0, 0, 1e308, 1)]
)
def test_what_is_no_box_is_refused(xyxy: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="box"):
        Box(*xyxy)


@pytest.mark.parametrize(("a", "b", "iou"), [((0, 0, 2, 2), (2, 0, 4, 2), 0), ((0, 0, 4, 4), (1, 1, 3, 3), 0.25)])
def test_iou_by_hand(a: tuple[float, ...], b: tuple[float, ...], iou: float) -> None:
    assert Box(*a).iou(Box(*b)) == iou
