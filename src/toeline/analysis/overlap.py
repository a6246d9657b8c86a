"""Which boxes of a photograph overlap, and how much two objects share. Boxes and points in pixels; no labels."""

from __future__ import annotations

from collections.abc import Sequence

from toeline.core.box import Box
from toeline.core.polygon import polygon_iou, touching
from toeline.core.scene import Instance


def close_pairs(boxes: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Positions i < j of boxes whose IoU is `least` or more, which is above 0.

    >>> close_pairs([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(0, 0, 2, 1)], 0.5)
    [(0, 2)]
    """
    return [(i, j) for i, j in touching(boxes) if boxes[i].iou(boxes[j]) >= least]


def shared(a: Instance, b: Instance) -> float:
    """Intersection over union, 0 to 1: of the polygons when both have one, else of the boxes."""
    return polygon_iou(a.polygon, b.polygon) if a.polygon and b.polygon else a.box.iou(b.box)
