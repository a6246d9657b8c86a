"""Polygons that cross themselves, touch themselves, have no area or very many corners."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from toeline.core.box import Box
from toeline.core.polygon import Points, crossing, polygon_iou, touching

SQUARE: Points = [(0, 0), (10, 0), (10, 10), (0, 10)]
BOW_TIE: Points = [(0, 0), (10, 10), (10, 0), (0, 10)]


def circle(corners: int) -> Points:
    return [(math.cos(a) * 300, math.sin(a) * 300) for a in np.linspace(0, 2 * math.pi, corners, endpoint=False)]


def tangle(corners: int) -> Points:
    return [(float(x), float(y)) for x, y in np.random.default_rng(0).random((corners, 2)) * 10]


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        (SQUARE, BOW_TIE, 0.5),
        (SQUARE, [(0, 0), (5, 0), (10, 0), (5, 0), (5, 10), (0, 10)], 0.5),  # to and fro along a line
        (SQUARE, [(0, 0), (10, 10), (10, 10)], 1.0),  # without area: its box
        ([(0, 0), (0, 5), (0, 9)], [(0, 0), (0, 5), (0, 9)], 0.0),
        (circle(10_000), circle(5_000), 1.0),
        (SQUARE, tangle(1_000), 0.99),
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
