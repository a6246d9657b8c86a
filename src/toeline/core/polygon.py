"""Which boxes touch, what polygons cover and share, where a border crosses itself: by shapely, in bounded time.

shapely loads when it is asked: most detectors give boxes, and those need none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box

EXACT = 100_000  # corners of one polygon times those of the other, up to which their overlap is worked out
GRID = 256  # else cells are counted, so many along each side of the box around both
BLOCK = 16  # edges of which all meetings are looked at before more are looked for
ENOUGH, LOOKS = 100, 500_000  # crossings of a border with itself, and pairs of edges; more are not looked for

TOUCH = 1e-4  # pixels: a border this near to the frame touches it, which a clip of the very frame would leave out

Points = Sequence[tuple[float, float]] | NDArray[np.floating]


def touching(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Positions i < j of boxes that overlap or touch, in order.

    >>> touching([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(2, 0, 3, 1)])
    [(0, 2)]
    """
    import shapely

    shapes = shapely.box(*np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4).T)
    i, j = shapely.STRtree(shapes).query(shapes)
    return sorted(zip(i[i < j].tolist(), j[i < j].tolist(), strict=True))


def polygon_iou(a: Points, b: Points) -> float:
    """Intersection over union of two polygons, 0 to 1; right to some hundredths if one crosses itself or is very long.

    >>> polygon_iou([(0, 0), (2, 0), (2, 2), (0, 2)], [(1, 0), (3, 0), (3, 2), (1, 2)])
    0.3333333333333333
    """
    import shapely

    one, two = shapely.Polygon(a), shapely.Polygon(b)
    if len(a) * len(b) <= EXACT and one.is_valid and two.is_valid:
        both = one.intersection(two).area
        return float(both / (one.area + two.area - both))
    x1, y1, x2, y2 = shapely.total_bounds([one, two])
    grid = np.linspace((x1, y1), (x2, y2), 2 * GRID + 1)[1::2].T  # the middles of columns and of rows
    first, second = _filled(a, *grid), _filled(b, *grid)
    return float((first & second).sum() / max((first | second).sum(), 1))


def _filled(points: Points, columns: Any, rows: Any) -> Any:
    """(rows, columns): the middles of cells that lie within a border, counted by how often it is crossed on the way."""
    p, q = np.array(points, dtype=np.float64), np.roll(points, -1, axis=0)
    row, edge = np.nonzero((p[:, 1] <= rows[:, None]) != (q[:, 1] <= rows[:, None]))
    x = p[edge, 0] + (rows[row] - p[edge, 1]) * ((q - p)[edge, 0] / (q - p)[edge, 1])
    at = row * (len(columns) + 1) + np.searchsorted(columns, x)
    turns = np.bincount(at, minlength=len(rows) * (len(columns) + 1)).reshape(len(rows), -1)
    return turns.cumsum(axis=1)[:, :-1] % 2 == 1


def part_inside(points: Points, size: float) -> tuple[float, float, float, float] | None:
    """The box around what a polygon covers of a square from (0, 0) to (size, size); None where that is nothing.

    A slanting drain keeps a tight box where the frame cuts it.

    >>> [round(v, 3) for v in part_inside([(-10, 0), (10, 20), (10, 24), (-10, 4)], 100)]
    [0.0, 10.0, 10.0, 24.0]
    """
    import shapely

    p = np.asarray(points)
    (x1, y1), (x2, y2) = p.min(axis=0).tolist(), p.max(axis=0).tolist()
    if min(x1, y1) < 0 or max(x2, y2) > size:
        corners = np.array([(0, 0), (0, size), (size, 0), (size, size)])
        covered = corners[shapely.contains_xy(shapely.Polygon(p), corners)]
        border = shapely.clip_by_rect(shapely.LinearRing(p), -TOUCH, -TOUCH, size + TOUCH, size + TOUCH)
        x1, y1, x2, y2 = np.clip(shapely.total_bounds([border, *shapely.points(covered)]), 0, size).tolist()
    return None if np.isnan(x1) else (x1, y1, x2, y2)


def _crossings(points: Points) -> Any:
    """Numbers i < j of edges that cross, (M, 2); the first of them. Edge i begins at corner i."""
    import shapely

    p = np.array(points, dtype=np.float64)
    q = np.roll(p, -1, axis=0)
    edges = shapely.linestrings(np.stack([p, q], axis=1))
    tree, found, looks = shapely.STRtree(edges), np.zeros((0, 2), dtype=np.int64), 0
    for start in range(0, len(edges), BLOCK):
        i, j = tree.query(edges[start : start + BLOCK])
        i += start
        beside = _cross((q - p)[i], p[j] - p[i]) * _cross((q - p)[i], q[j] - p[i]) < 0  # on both sides of the other
        across = _cross((q - p)[j], p[i] - p[j]) * _cross((q - p)[j], q[i] - p[j]) < 0
        found = np.concatenate([found, np.stack([i, j], axis=1)[beside & across & (i < j)]])
        looks += len(i)
        if len(found) >= ENOUGH or looks >= LOOKS:
            break
    return found


def crossing(points: Points) -> float | None:
    """How badly a polygon's border crosses itself: the smaller of both loops as a share of their areas, 0 to 0.5.

    The worst crossing counts; None without one. Borders that only touch do not cross.

    >>> crossing([(0, 0), (2, 2), (2, 0), (0, 2)]), crossing([(0, 0), (2, 0), (2, 2), (0, 2)])
    (0.5, None)
    """
    import shapely

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
