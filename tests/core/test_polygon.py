"""Polygons that cross themselves, touch themselves, have no area or very many corners."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from toeline.core.box import Box
from toeline.core.polygon import Points, crossing, part_inside, polygon_iou, touching

SQUARE: Points = [(0, 0), (10, 0), (10, 10), (0, 10)]
BOW_TIE: Points = [(0, 0), (10, 10), (10, 0), (0, 10)]


def circle(corners: int) -> Points:
    return [(math.cos(a) * 300, math.sin(a) * 300) for a in np.linspace(0, 2 * math.pi, corners, endpoint=False)]


def comb(corners: int) -> Points:
    """Teeth as wide as the gaps between them, all over a square."""
    high = corners // 4
    return [(x, y) for n in range(high) for x, y in ((n, 0), (n, high), (n + 0.5, high), (n + 0.5, 0.001))]


def tangle(corners: int) -> Points:
    return [(float(x), float(y)) for x, y in np.random.default_rng(0).random((corners, 2)) * 10]


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        (SQUARE, BOW_TIE, 0.5),
        (SQUARE, [(0, 0), (5, 0), (10, 0), (5, 0), (5, 10), (0, 10)], 0.5),  # to and fro along a line
        (SQUARE, [(0, 0), (10, 10), (10, 10)], 0.0),  # without area
        ([(0, 0), (0, 5), (0, 9)], [(0, 0), (0, 5), (0, 9)], 0.0),
        (circle(10_000), circle(5_000), 1.0),
        (SQUARE, [(0, 0), (10, 10)] * 4_000, 0.0),
        (comb(5_000), [(y, x) for x, y in comb(5_000)], 0.33),  # 25 million corners of what they share
    ],
)
def test_what_two_polygons_share(a: Points, b: Points, iou: float) -> None:
    assert polygon_iou(a, b) == pytest.approx(iou, abs=0.01)


def test_many_corners_take_no_long() -> None:
    started = time.monotonic()
    assert crossing(circle(10_000)) is None
    assert (crossing(tangle(10_000)) or 0) > 0.4
    assert time.monotonic() - started < 5


def test_edges_too_short_to_be_told_apart_do_no_harm() -> None:
    assert crossing([(x * 1e-200, y * 1e-200) for x, y in BOW_TIE]) in (None, 0.0, 0.5)


def test_every_two_boxes_that_touch_are_found() -> None:
    chance = np.random.default_rng(1)
    low = chance.integers(0, 20, (60, 2))
    corners = np.concatenate([low, low + chance.integers(0, 6, (60, 2))], axis=1)
    boxes = [Box(*xyxy) for xyxy in corners.tolist()]
    meet = [
        (i, j)
        for j, b in enumerate(boxes)
        for i, a in enumerate(boxes[:j])
        if a.x1 <= b.x2 and b.x1 <= a.x2 and a.y1 <= b.y2 and b.y1 <= a.y2
    ]
    assert touching(boxes) == sorted(meet)
    assert touching([]) == []


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([(-90, 50), (50, -90), (190, 50), (50, 190)], (0, 0, 100, 100)),  # covers all of the frame
        ([(-10, -10), (50, 50), (50, -10), (-10, 50)], (0, 0, 50, 50)),  # crosses itself
        ([(-50, 20), (-1, 20), (-1, 60)], None),
        ([(-50, 120), (150, 120), (150, 50), (140, 50), (140, 110), (-50, 110)], None),  # passes by outside a corner
    ],
)
def test_the_box_of_what_is_in_the_frame(points: Points, box: tuple[float, ...] | None) -> None:
    assert part_inside(points, 100) == box
