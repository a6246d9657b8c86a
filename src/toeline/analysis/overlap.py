"""Which boxes of a photograph overlap, and how much two objects share. Boxes and points in pixels; no labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from toeline.core.box import Box
from toeline.core.polygon import polygon_iou
from toeline.core.scene import Instance


def close_pairs(boxes: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Positions i < j of boxes whose IoU is `least` or more, which is above 0.

    >>> close_pairs([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(0, 0, 2, 1)], 0.5)
    [(0, 2)]
    """
    shapes = shapely.box(*np.array([box.xyxy for box in boxes]).reshape(-1, 4).T)
    i, j = shapely.STRtree(shapes).query(shapes)  # boxes that touch at least
    pairs = sorted(zip(i[i < j].tolist(), j[i < j].tolist(), strict=True))
    return [(a, b) for a, b in pairs if boxes[a].iou(boxes[b]) >= least]


def shared(a: Instance, b: Instance) -> float:
    """Intersection over union, 0 to 1: of the polygons when both have one, else of the boxes."""
    return polygon_iou(a.polygon, b.polygon) if a.polygon and b.polygon else a.box.iou(b.box)
