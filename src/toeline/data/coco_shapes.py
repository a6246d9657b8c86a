"""The box or polygon of one COCO annotation in pixels, and what a line of YOLO labels cannot say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from toeline.core.box import Box
from toeline.data.label_lines import ROUNDING, Points, has_area

Shape = tuple[Box, Points]


def read_shape(a: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[Shape | None, list[str]]:
    """Box and polygon (empty for a box) inside the photograph, or None; and what was left out or changed, in words."""
    if a.get("iscrowd") == 1:
        return None, ["marks a crowd and no single object; left out. Draw each object if it is to count."]
    found = a.get("segmentation")
    parts, said = _parts(found)
    if not parts:
        box, why = _box(a.get("bbox"), size_wh)
        return ((box, ()) if box else None), [*said, *why]
    if len(parts) > 1:
        said.append(f"its {len(parts)} parts are joined to one polygon by lines of no width.")
    points, beyond = _inside(join(parts), size_wh)
    if not has_area(points, size_wh):
        box, why = _box(a.get("bbox"), size_wh)
        kept = "its box is kept" if box else "left out"
        return ((box, ()) if box else None), [*said, f"its polygon has no area; {kept}.", *why]
    return (Box.around(points), points), [*said, *_beyond(beyond)]


def _parts(found: Any) -> tuple[list[Points], list[str]]:
    """Polygons of at least three corners. A box has no segmentation, or an empty one."""
    if isinstance(found, Mapping):
        return [], ["is a run-length mask, which YOLO labels cannot hold; its box is kept. Export polygons to keep it."]
    if not found:
        return [], []
    rings = found if isinstance(found, list) and all(isinstance(ring, list) for ring in found) else [found]
    good = [_points(ring) for ring in rings]
    parts = [points for points in good if points]
    bad = len(good) - len(parts)
    what = "its box is kept" if not parts else "the others are kept"
    return parts, [f"{bad} of its {len(good)} polygons have no three corners of two numbers; {what}."] if bad else []


def _points(ring: Any) -> Points:
    if not isinstance(ring, Sequence) or len(ring) < 6 or len(ring) % 2 or not all(_is_number(v) for v in ring):
        return ()
    return tuple((float(x), float(y)) for x, y in zip(ring[::2], ring[1::2], strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def join(parts: Sequence[Points]) -> Points:
    """One polygon that goes round every part, to and fro along the shortest line between corners: the area is the same.

    >>> join([((0, 0), (2, 0), (2, 2)), ((3, 0), (5, 0), (5, 2))])
    ((0, 0), (2, 0), (3, 0), (5, 0), (5, 2), (3, 0), (2, 0), (2, 2))
    """
    path = list(parts[0])
    for part in parts[1:]:
        i, j = min(
            ((i, j) for i in range(len(path)) for j in range(len(part))),
            key=lambda ij: math.dist(path[ij[0]], part[ij[1]]),
        )
        path[i + 1 : i + 1] = [*part[j:], *part[: j + 1], path[i]]
    return tuple(path)


def _box(given: Any, size_wh: tuple[int, int]) -> tuple[Box | None, list[str]]:
    """`x, y, width, height` in pixels; what lies outside the photograph is cut off."""
    if not isinstance(given, Sequence) or len(given) != 4 or not all(_is_number(v) for v in given):
        return None, [f"its bbox {given!r} is not four numbers; left out."]
    x, y, wide, high = map(float, given)
    if min(wide, high) <= 0:
        return None, [f"its box has no area (width {wide:g}, height {high:g}); left out."]
    box = Box(x, y, x + wide, y + high)
    cut = box.clipped(size_wh)
    if cut.area <= 0:
        return None, ["its box lies outside the photograph; left out."]
    off = max(abs(a - b) / size_wh[i % 2] for i, (a, b) in enumerate(zip(box.xyxy, cut.xyxy, strict=True)))
    return cut, _beyond(off)


def _inside(points: Points, size_wh: tuple[int, int]) -> tuple[Points, float]:
    """Corners moved into the photograph, and how far one was moved, as a share of the side."""
    wide, high = size_wh
    moved = tuple((min(max(x, 0.0), float(wide)), min(max(y, 0.0), float(high))) for x, y in points)
    off = max(max(abs(x - u) / wide, abs(y - v) / high) for (x, y), (u, v) in zip(points, moved, strict=True))
    return moved, off


def _beyond(off: float) -> list[str]:
    return [f"reaches {off:.2%} of the photograph's side beyond its border; cut off there."] if off > ROUNDING else []
