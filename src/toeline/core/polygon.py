"""Which boxes touch, what polygons cover and share, where a border crosses itself: by shapely, in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from toeline.core.box import Box

TANGLE = 100  # crossings of a border with itself; more are not looked for
BLOCK = 16  # edges whose crossings are looked for at once

Points = Sequence[tuple[float, float]] | NDArray[np.floating]


def touching(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Positions i < j of boxes that overlap or touch, in order.

    >>> touching([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(2, 0, 3, 1)])
    [(0, 2)]
    """
    shapes = shapely.box(*np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4).T)
    i, j = shapely.STRtree(shapes).query(shapes)
    return sorted(zip(i[i < j].tolist(), j[i < j].tolist(), strict=True))


def polygon_iou(a: Points, b: Points) -> float:
    """Intersection over union of what two polygons cover, 0 to 1.

    >>> polygon_iou([(0, 0), (2, 0), (2, 2), (0, 2)], [(1, 0), (3, 0), (3, 2), (1, 2)])
    0.3333333333333333
    """
    one, two = covered(a), covered(b)
    both = one.intersection(two).area
    union = one.area + two.area - both
    return float(both / union) if union > 0 else 0.0


def covered(points: Points) -> Any:
    """What a polygon covers, as a valid shape: its box where it has no area or its border is a TANGLE."""
    shape = shapely.Polygon(points)
    if shape.is_valid:
        return shape
    if len(_crossings(points)) < TANGLE:  # make_valid takes minutes for 1,000 random corners
        mended = shapely.make_valid(shape).buffer(0)  # without what is a line or a point
        if not mended.is_empty:
            return mended
    return shapely.box(*shape.bounds)


def _crossings(points: Points) -> Any:
    """Numbers i < j of edges that cross, (M, 2); the first TANGLE or some more. Edge i begins at corner i."""
    p = np.array(points, dtype=np.float64)
    edges = shapely.linestrings(np.stack([p, np.roll(p, -1, axis=0)], axis=1))
    tree, found = shapely.STRtree(edges), np.zeros((0, 2), dtype=np.int64)
    for start in range(0, len(edges), BLOCK):
        i, j = tree.query(edges[start : start + BLOCK], predicate="crosses")
        pairs = np.stack([i + start, j], axis=1)
        found = np.concatenate([found, pairs[pairs[:, 0] < pairs[:, 1]]])
        if len(found) >= TANGLE:
            break
    return found


def crossing(points: Points) -> float | None:
    """How badly a polygon's border crosses itself: the smaller of both loops as a share of their areas, 0 to 0.5.

    The worst crossing counts; None without one. Borders that only touch do not cross.

    >>> crossing([(0, 0), (2, 2), (2, 0), (0, 2)]), crossing([(0, 0), (2, 0), (2, 2), (0, 2)])
    (0.5, None)
    """
    if shapely.LinearRing(points).is_simple:  # nearly all of them
        return None
    i, j = _crossings(points).T
    if not len(i):
        return None
    p = np.array(points, dtype=np.float64) - points[0]
    d = np.roll(p, -1, axis=0) - p
    swept = np.concatenate([[0.0], np.cumsum(_cross(p, d))])  # twice the signed area from corner 0 to each corner
    with np.errstate(all="ignore"):  # edges so short that their product is 0
        at = p[i] + d[i] * np.nan_to_num(_cross(p[j] - p[i], d[j]) / _cross(d[i], d[j]))[:, None]
        one = _cross(at, (p + d)[i]) + swept[j] - swept[i + 1] + _cross(p[j], at)
        loops = np.abs([one, swept[-1] - one])
        return float(np.nan_to_num(loops.min(axis=0) / loops.sum(axis=0)).max())


def _cross(a: Any, b: Any) -> Any:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
