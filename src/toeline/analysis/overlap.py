"""How much two objects share, and where a polygon's border crosses itself. Boxes and points in pixels; no labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from toeline.analysis.table import Floats
from toeline.core.box import Box
from toeline.core.scene import Instance

RASTER_PX = 512  # the longer side of the grid on which polygons are compared: their IoU is then right to about 0.02
FEW = 12  # boxes that are compared one by one

Points = Sequence[tuple[float, float]]


def close_pairs(boxes: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Positions i < j of boxes whose IoU is `least` or more.

    >>> close_pairs([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(0, 0, 2, 1)], 0.5)
    [(0, 2)]
    """
    if len(boxes) <= FEW:  # numpy's overhead is worth some 30 pairs
        return [(i, j) for (i, a), (j, b) in combinations(enumerate(boxes), 2) if _meet(a, b) and a.iou(b) >= least]
    b = np.array([box.xyxy for box in boxes])
    sides = np.minimum(b[:, None, 2:], b[None, :, 2:]) - np.maximum(b[:, None, :2], b[None, :, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    areas = (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = areas[:, None] + areas[None, :] - shared
    found = np.triu((shared >= least * union) & (union > 0), k=1)
    return [(int(i), int(j)) for i, j in np.argwhere(found)]


def _meet(a: Box, b: Box) -> bool:
    return a.x1 < b.x2 and b.x1 < a.x2 and a.y1 < b.y2 and b.y1 < a.y2


def shared(a: Instance, b: Instance) -> float:
    """Intersection over union, 0 to 1: of the polygons when both have one, else of the boxes."""
    return polygon_iou(a.polygon, b.polygon) if a.polygon and b.polygon else a.box.iou(b.box)


def polygon_iou(a: Points, b: Points) -> float:
    """Intersection over union of two polygons, counted on a grid of RASTER_PX along the longer side of both.

    >>> round(polygon_iou([(0, 0), (2, 0), (2, 2), (0, 2)], [(1, 0), (3, 0), (3, 2), (1, 2)]), 1)
    0.3
    """
    both = Box.around([*a, *b])
    scale = (RASTER_PX - 1) / max(both.width, both.height)
    one, two = (_filled(points, both, scale) for points in (a, b))
    return float((one & two).sum() / max((one | two).sum(), 1))


def _filled(points: Points, frame: Box, scale: float) -> Any:
    import cv2

    grid = np.zeros((RASTER_PX, RASTER_PX), dtype=np.uint8)
    corners = np.round((np.array(points) - (frame.x1, frame.y1)) * scale).astype(np.int32)
    cv2.fillPoly(grid, [corners], 1)
    return grid


def crossing(points: Points) -> float | None:
    """How badly a polygon's border crosses itself: the smaller of both loops as a share of their areas, 0 to 0.5.

    The worst crossing counts; None without one. Borders that only touch do not cross.

    >>> crossing([(0, 0), (2, 2), (2, 0), (0, 2)]), crossing([(0, 0), (2, 0), (2, 2), (0, 2)])
    (0.5, None)
    """
    if len(points) < 4:
        return None
    p = np.array(points, dtype=np.float64)
    d = np.concatenate((p[1:], p[:1])) - p
    from_start = _cross(d[:, None], p[None] - p[:, None])  # (n, n): on which side of edge i corner j lies
    splits = from_start * np.concatenate((from_start[:, 1:], from_start[:, :1]), axis=1) < 0
    both = splits & splits.T
    if not both.any():  # nearly all of them; np.roll and np.triu would take half the time
        return None
    return max(_smaller_loop(p, d, int(i), int(j)) for i, j in np.argwhere(np.triu(both)))


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _smaller_loop(p: Floats, d: Floats, i: int, j: int) -> float:
    """Edges i and j cross: the area of the smaller loop over the areas of both."""
    at = p[i] + d[i] * (_cross(p[j] - p[i], d[j]) / _cross(d[i], d[j]))
    one, two = _area([at, *p[i + 1 : j + 1]]), _area([at, *p[j + 1 :], *p[: i + 1]])
    return min(one, two) / (one + two) if one + two else 0.0


def _area(corners: Sequence[Floats]) -> float:
    p = np.array(corners)
    return abs(float(_cross(p, np.roll(p, -1, axis=0)).sum())) / 2
