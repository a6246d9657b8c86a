"""One annotation of a COCO file becomes a box and a polygon in pixels, or the reason why it cannot.

A box may be turned (CVAT's `attributes.rotation`), an outline may be polygons or a run-length mask. Values come from
files of others: each is checked for type and range before it is used, and costs stay in proportion to the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.core.box import FAR, Box
from toeline.core.words import cut
from toeline.data.labels import MOST_CORNERS, ROUNDING, Points, has_area, over

Shape = tuple[Box, Points]
MOST_MASK = 1 << 26  # pixels of the rows and columns that a mask touches: 67 MB, and four times that for its outline
MOST_WORK = 10_000_000  # corners moved while the parts of one polygon are joined: about a second
MOST_PARTS = 1000  # of one polygon
MOST_COMPARED = 1000  # corners of each of two parts, for the shortest line between them
OFF = 0.5  # IoU of a polygon with its own bbox; below it one of the two is wrong

CROWD = "marks a crowd (iscrowd 1), as CVAT writes for every mask; it is read as one object."
TOP_ROTATION = (
    "its `rotation` stands outside `attributes` and is taken as CVAT's: degrees clockwise about its bbox's center. "
    "Look at the turned box on the photograph, or export polygons."
)
FIVE = (
    "its bbox has five numbers, and nothing says whether they are x, y, width, height or center x and y, width, height "
    "with an angle, nor which way it turns. Export polygons, or CVAT's attributes.rotation"
)


class Remark(NamedTuple):
    """What was left out, changed or assumed, in words; a note lost nothing."""

    text: str
    note: bool = False


def as_number(value: object) -> float | None:
    """A finite number that a place may have, also one in quotes; None for anything else.

    >>> as_number("12.5"), as_number(3), as_number(True), as_number("nan"), as_number(1e308), as_number("1_0")
    (12.5, 3.0, None, None, None, None)
    """
    if isinstance(value, str) and len(value) < 40 and "_" not in value:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -FAR <= value <= FAR:
        return None
    return float(value)


def read_shape(a: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[Shape | None, list[Remark]]:
    """Box and polygon (empty for a box) inside the photograph, or None; and what was left out, changed or assumed."""
    said = [Remark(CROWD, note=True)] if as_number(a.get("iscrowd")) == 1 or a.get("iscrowd") is True else []
    fault = ""
    try:
        parts, more = _outlines(a.get("segmentation"), size_wh)
        if many := over(MOST_CORNERS, sum(map(len, parts)), "corners"):
            raise ValueError(f"its polygon has {many}")
        if parts and not _is_unturned(parts, a):
            shape, changed = _polygon(parts, size_wh)
            return shape, [*said, *more, *changed, *_contradiction(shape[0], a, size_wh)]
    except ValueError as why:
        fault = f"{why}; "
    try:
        shape, more = _from_box(a, size_wh)
    except ValueError as why:
        return None, [*said, Remark(f"{fault}{why}; left out.")]
    return shape, [*said, *([Remark(f"{fault}its box is kept.")] if fault else []), *more]


def _outlines(found: Any, size_wh: tuple[int, int]) -> tuple[list[Points], list[Remark]]:
    """Polygons of at least three corners; none for a box, which has no segmentation or an empty one.

    Raises ValueError for a segmentation of which nothing can be used.
    """
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], Mapping):
        found = found[0]
    if isinstance(found, Mapping):
        return _mask_outlines(found, size_wh)
    if not found:
        return [], []
    good = [_points(ring) for ring in _rings(found)]
    parts = [points for points in good if points]
    bad = len(good) - len(parts)
    text = f"{bad} of its {len(good)} polygons have no three corners of two numbers"
    if not parts:
        raise ValueError(text)
    return parts, [Remark(f"{text}; the others are kept.")] if bad else []


def _rings(found: Any) -> list[Any]:
    """A list of rings, whether it is written as COCO has it, as one ring, or as one ring of pairs."""
    if not isinstance(found, list) or not all(isinstance(ring, list) for ring in found):
        return [found]
    return [found] if len(found) > 2 and all(map(_is_pair, found)) else found


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and None not in map(as_number, value)


def _points(ring: Any) -> Points:
    if not isinstance(ring, list):
        return ()
    flat = [v for pair in ring for v in pair] if ring and all(map(_is_pair, ring)) else ring
    values = [as_number(v) for v in flat]
    if len(values) < 6 or len(values) % 2 or None in values:
        return ()
    return tuple(zip(values[::2], values[1::2], strict=True))  # type: ignore[arg-type]  # none of them is None


def _mask_outlines(found: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[list[Points], list[Remark]]:
    """The outer contours of a run-length mask along the edges of its pixels. Raises ValueError."""
    mask, x, y = _mask(found, size_wh)
    doubled = mask.repeat(2, 0).repeat(2, 1)
    rings, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # cv2 goes through the middle of pixels; of doubled ones, each middle belongs to one corner of the pixel.
    parts = [_simple((ring[:, 0] + 1) // 2 + (x, y)) for ring in rings]
    filled = sum(map(area, parts)) / int(mask.sum()) - 1
    return parts, [Remark(f"its holes, {filled:.1%} of its area, are filled.", note=filled < 0.05)] if filled else []


def _simple(corners: NDArray[np.int64]) -> Points:
    """Without corners that stand there twice or lie on a straight line."""
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    kept = corners[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return tuple((float(px), float(py)) for px, py in kept)


def _mask(found: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[NDArray[np.uint8], int, int]:
    """The pixels that a run-length mask touches, cut to them, and where they begin. Raises ValueError."""
    wide, high = size_wh
    size = found.get("size")
    if not isinstance(size, list) or [as_number(v) for v in size] != [high, wide]:
        given = cut(repr(size))
        raise ValueError(f"its run-length mask has the size {given}, and the photograph [{high}, {wide}]")
    try:
        runs = _runs(found.get("counts"))
    except (ValueError, IndexError):
        raise ValueError("the counts of its run-length mask cannot be read") from None
    if sum(runs) != wide * high or min(runs) < 0:
        raise ValueError(f"its run-length mask covers {sum(runs)} pixels of the photograph's {wide * high}")
    ends = np.cumsum(runs, dtype=np.int64)
    ends = ends[: len(ends) // 2 * 2].reshape(-1, 2)  # begin and end of each run that is set, column by column
    ends = ends[ends[:, 0] < ends[:, 1]]
    if not len(ends):
        raise ValueError("its run-length mask is empty")
    left, right = int(ends[0, 0]) // high, (int(ends[-1, 1]) - 1) // high + 1
    if (right - left) * high > MOST_MASK:
        raise ValueError(f"its run-length mask is larger than {MOST_MASK:,} pixels")
    steps = np.diff(ends.ravel() - left * high, prepend=0, append=(right - left) * high)
    columns = np.repeat(np.arange(len(steps)) % 2, steps).astype(np.uint8).reshape(right - left, high)
    rows = np.flatnonzero(columns.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return np.ascontiguousarray(columns[:, top:bottom].T), left, top


def _runs(counts: Any) -> list[int]:
    """Lengths of runs, of unset pixels first: a list, or pycocotools' text. Raises ValueError, IndexError.

    The text has five bits a letter, and from the third run on the difference to the run before the last. It is decoded
    here, since pycocotools gives memory as it is for what a text that was cut off leaves open.
    """
    if isinstance(counts, list):
        numbers = [as_number(v) for v in counts]
        if not numbers or not all(n is not None and n.is_integer() for n in numbers):
            raise ValueError("no counts")
        return [int(n) for n in numbers if n is not None]
    runs: list[int] = []
    value = shift = 0
    for letter in counts if isinstance(counts, str) else "\0":
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(letter)
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits >> 4 & 1) << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift or not runs:
        raise ValueError("cut off")
    return runs


def _polygon(parts: Sequence[Points], size_wh: tuple[int, int]) -> tuple[Shape, list[Remark]]:
    """The parts as one polygon inside the photograph. Raises ValueError."""
    joined = f"its {len(parts)} parts are joined to one polygon by lines of no width."
    if len(parts) > MOST_PARTS or (len(parts) - 1) * sum(map(len, parts)) > MOST_WORK:
        raise ValueError(f"its {len(parts):,} parts are too many to be joined to one polygon")
    points, beyond = _inside(join(parts), size_wh)
    if not has_area(points, size_wh):
        raise ValueError("its polygon has no area")
    return (Box.around(points), points), [*([Remark(joined)] if len(parts) > 1 else []), *_beyond(beyond)]


def join(parts: Sequence[Points]) -> Points:
    """One polygon that goes round every part, to and fro along the shortest line between corners: the area is the same.

    Of more than MOST_COMPARED corners every so-many-th is looked at, so that the time grows with their number alone.

    >>> join([((0, 0), (2, 0), (2, 2)), ((3, 0), (5, 0), (5, 2))])
    ((0.0, 0.0), (2.0, 0.0), (3.0, 0.0), (5.0, 0.0), (5.0, 2.0), (3.0, 0.0), (2.0, 0.0), (2.0, 2.0))
    """
    if len(parts) == 1:
        return parts[0]
    from scipy.spatial.distance import cdist  # half a second to import, in every command and worker that reads labels

    path = np.array(parts[0], dtype=np.float64)
    for part in map(np.array, parts[1:]):
        every = [-(-len(corners) // MOST_COMPARED) for corners in (path, part)]
        off = cdist(path[:: every[0]], part[:: every[1]])
        i, j = (int(at) * step for at, step in zip(np.unravel_index(off.argmin(), off.shape), every, strict=True))
        path = np.concatenate([path[: i + 1], part[j:], part[: j + 1], path[i : i + 1], path[i + 1 :]])
    return tuple(map(tuple, path.tolist()))


def _from_box(a: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[Shape, list[Remark]]:
    """The bbox, turned where it is said so. Raises ValueError."""
    box = _box(a.get("bbox"))
    degrees, said = _rotation(a)
    _require_sides(box, a.get("area"))
    if degrees % 180:
        corners = turned(box, degrees)
        points = clipped(corners, size_wh)
        if len(points) < 3 or not has_area(points, size_wh):
            raise ValueError("its turned box lies outside the photograph")
        return (Box.around(points), points), [*said, *_beyond(_inside(corners, size_wh)[1])]
    cut_off = box.clipped(size_wh)
    if cut_off.area <= 0:
        raise ValueError("its box lies outside the photograph")
    off = max(abs(u - v) / size_wh[i % 2] for i, (u, v) in enumerate(zip(box.xyxy, cut_off.xyxy, strict=True)))
    return (cut_off, ()), [*said, *_beyond(off)]


def _box(given: Any) -> Box:
    """`x, y, width, height` in pixels. Raises ValueError."""
    values = [as_number(v) for v in given] if isinstance(given, list) and len(given) < 9 else []
    if len(values) == 5 and None not in values:
        raise ValueError(FIVE)
    if len(values) != 4 or None in values:
        raise ValueError(f"its bbox {cut(repr(given))} is not four numbers")
    x, y, wide, high = (v or 0.0 for v in values)
    if min(wide, high) <= 0:
        raise ValueError(f"its box has no area (width {wide:g}, height {high:g})")
    if max(x + wide, y + high) > FAR:
        raise ValueError(f"its bbox {cut(repr(given))} is larger than any photograph")
    return Box(x, y, x + wide, y + high)


def _require_sides(box: Box, area: object) -> None:
    """Raise ValueError for a bbox whose area, as it is told, is that of two corners, not that of corner and sides."""
    told, (x, y), (wide, high) = as_number(area), box.xyxy[:2], (box.width, box.height)
    if told and min(wide - x, high - y) > 0 and not _near(told, wide * high) and _near(told, (wide - x) * (high - y)):
        raise ValueError(
            f"its area of {told:g} is that of corners {x:g}, {y:g} and {wide:g}, {high:g}, and a bbox has a corner, a "
            f"width and a height. Export it as COCO"
        )


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 0.01 * abs(other)


def _rotation(a: Mapping[str, Any]) -> tuple[float, list[Remark]]:
    """Degrees clockwise about the center of the bbox; 0 where none are given. Raises ValueError."""
    attributes = a.get("attributes")
    own = _degrees(attributes.get("rotation") if isinstance(attributes, Mapping) else None)
    top = _degrees(a.get("rotation"))
    if own and top and own != top:
        raise ValueError(f"its attributes.rotation is {own:g} and its rotation {top:g}")
    known = [id(place) for place in (a, attributes) if isinstance(place, Mapping)]
    for place, key, value in ((p, *pair) for p in (a, attributes, a.get("extra")) for pair in _said(p)):
        read = key == "rotation" and id(place) in known
        if re.sub("[^a-z]", "", key.lower()) in ANGLES and not read and _turns(value):
            raise ValueError(
                f"it has the {cut(key)} {cut(repr(value))}, and nothing says whether these are degrees or radians, and "
                f"which way it turns. Export polygons, or CVAT's attributes.rotation"
            )
    return own or top, [Remark(TOP_ROTATION)] if top and not own else []


# Words for the angle of a box, or for a box with one, that other tools write; spelled without what is no letter.
ANGLES = {
    *("rotation", "angle", "theta", "rotationangle", "rotationdegrees", "rotationdeg", "rotate", "rbox"),
    *("rotatedbox", "rotatedbbox", "bboxrotated", "rotbox", "obb", "orientedbbox", "orientedbox"),
}


def _said(found: object) -> list[tuple[str, object]]:
    """Names with their values, of a mapping or of a list of `name` and `value`."""
    if isinstance(found, list):
        return [(str(one.get("name")), one.get("value")) for one in found if isinstance(one, Mapping)]
    return [(str(key), value) for key, value in found.items()] if isinstance(found, Mapping) else []


def _turns(value: object) -> bool:
    return any(as_number(v) for v in value) if isinstance(value, list) else bool(as_number(value))


def _degrees(value: object) -> float:
    degrees = 0.0 if value is None else as_number(value)
    if degrees is None:
        raise ValueError(f"its rotation {cut(repr(value))} is no number of degrees")
    return degrees


def turned(box: Box, degrees: float, about: tuple[float, float] | None = None) -> Points:
    """The corners of a box that is turned clockwise about a point, without one about its center.

    >>> [(round(x, 6), round(y, 6)) for x, y in turned(Box(0, 0, 4, 2), 90)]
    [(3.0, -1.0), (3.0, 3.0), (1.0, 3.0), (1.0, -1.0)]
    """
    (cx, cy), sine, cosine = about or box.center, math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    sides = [(x - cx, y - cy) for x, y in box.corners]
    return tuple((cx + dx * cosine - dy * sine, cy + dx * sine + dy * cosine) for dx, dy in sides)


def clipped(points: Points, size_wh: tuple[int, int]) -> Points:
    """The part of a convex polygon that is inside the photograph, cut along its four borders (Sutherland-Hodgman)."""
    for axis, border, sign in ((0, 0, 1), (1, 0, 1), (0, size_wh[0], -1), (1, size_wh[1], -1)):
        kept: list[tuple[float, float]] = []
        for p, q in pairwise((*points, *points[:1])):
            here, there = sign * (p[axis] - border), sign * (q[axis] - border)
            kept += [p] if here >= 0 else []
            if here * there < 0:
                share = here / (here - there)
                crossing = [a + share * (b - a) for a, b in zip(p, q, strict=True)]
                crossing[axis] = float(border)
                kept.append((crossing[0], crossing[1]))
        points = tuple(kept)
    return points


def _is_unturned(parts: Sequence[Points], a: Mapping[str, Any]) -> bool:
    """Whether the polygon is only the corners of a bbox that is still to be turned."""
    try:
        if not _rotation(a)[0] % 180 or len(parts) > 1:
            return False
        corners = _box(a.get("bbox")).corners
    except ValueError:
        return False
    return all(any(math.dist(p, c) < 0.01 for c in corners) for p in parts[0])


def _contradiction(box: Box, a: Mapping[str, Any], size_wh: tuple[int, int]) -> list[Remark]:
    """A remark when the bbox is at another place than the polygon or the mask."""
    try:
        given, turn = _box(a.get("bbox")).clipped(size_wh), _rotation(a)[0]
    except ValueError:
        return []
    told = "its bbox is at another place than its polygon, which is used. Look at both on the photograph."
    return [Remark(told)] if not turn and box.iou(given) < OFF else []


def _inside(points: Points, size_wh: tuple[int, int]) -> tuple[Points, float]:
    """Corners moved into the photograph, and how far one was moved, as a share of the side."""
    wide, high = size_wh
    moved = tuple((min(max(x, 0.0), float(wide)), min(max(y, 0.0), float(high))) for x, y in points)
    off = max(max(abs(x - u) / wide, abs(y - v) / high) for (x, y), (u, v) in zip(points, moved, strict=True))
    return moved, off


def _beyond(off: float) -> list[Remark]:
    told = f"reaches {off:.2%} of the photograph's side beyond its border; cut off there."
    return [Remark(told)] if off > ROUNDING else []


def area(polygon: Points) -> float:
    """Pixels squared, by the shoelace formula."""
    return abs(sum(ax * by - ay * bx for (ax, ay), (bx, by) in pairwise((*polygon, polygon[0])))) / 2
