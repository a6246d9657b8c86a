"""Non-maximum suppression: of boxes of one type that overlap much, the most confident stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def keep_best(boxes: Floats, scores: Floats, kinds: NDArray[np.int64], *, iou: float) -> NDArray[np.int64]:
    """Row numbers that stay, most confident first; rows of different kinds never suppress one another.

    `boxes` (N, 4) as x1, y1, x2, y2, `scores` (N,), `kinds` (N,). Of two rows with an IoU above `iou`, the later goes.
    Equal scores keep their order, so the answer is always the same.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    >>> keep_best(boxes, np.array([0.5, 0.9, 0.4], np.float32), np.array([0, 0, 1]), iou=0.6).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    corners, kinds = boxes[order].astype(np.float64), kinds[order]
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    open_ = np.ones(len(order), bool)
    for n in range(len(order)):
        if open_[n]:
            after = open_.copy()
            after[: n + 1] = False
            rivals = np.flatnonzero(after & (kinds == kinds[n]))
            open_[rivals[_overlaps(corners[n], areas[n], corners[rivals], areas[rivals]) > iou]] = False
    return order[open_]


def _overlaps(
    box: NDArray[np.float64], area: float, others: NDArray[np.float64], areas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """IoU of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    overlap: NDArray[np.float64] = shared / np.maximum(area + areas - shared, 1e-9)
    return overlap
