"""What a YOLO network says becomes rows: boxes in the pixels of its input, scores, classes and what else it gives.

A head without built-in suppression gives, for each of A places, a box, one score per class and perhaps more; the class
with the best score counts, as when ultralytics predicts. Knows no photographs and no types.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toeline.detect.nms import keep_best
from toeline.detect.yolo.oriented import keep_oriented

Floats = NDArray[np.float32]
IOU = 0.7  # above it, two boxes of one class are the same object: what ultralytics predicts with unless told otherwise
MOST_ROWS = 300  # in one photograph, likewise
MOST_CANDIDATES = 30_000  # that are compared with one another, likewise


class Rows(NamedTuple):
    """N predictions, most confident first.

    `boxes` (N, 4) in pixels of the input: x1, y1, x2, y2, or center, width and height where `extra` is an angle.
    `extra` (N, E): nothing, mask coefficients, or the angle in radians.
    """

    boxes: Floats
    scores: Floats
    ids: NDArray[np.int64]
    extra: Floats

    def only(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The rows of these numbers, in that order."""
        return Rows(self.boxes[which], self.scores[which], self.ids[which], self.extra[which])


def finished(said: Floats, least: float) -> Rows:
    """Rows that the graph has finished: `said` (N, 6 + E) as box, score, class, extra; padding has no score.

    >>> finished(np.array([[0, 0, 4, 4, 0.2, 1], [0, 0, 9, 9, 0.8, 2], [0] * 6], np.float32), 0.1).ids.tolist()
    [2, 1]
    """
    rows = Rows(said[:, :4], said[:, 4], said[:, 5].astype(np.int64), said[:, 6:])
    order = np.argsort(-rows.scores, kind="stable")
    order = order[(rows.scores[order] >= least) & (rows.scores[order] > 0)]
    return rows.only(order[:MOST_ROWS])


def raw(said: Floats, classes: int, least: float, *, oriented: bool) -> Rows:
    """Rows from `said` (4 + classes + E, A): center, width, height, class scores from 0 to 1, extra.

    Of rows of one class that overlap by more than `IOU` the most confident stays.
    """
    scores = said[4 : 4 + classes]
    best = scores.max(0)
    places = np.flatnonzero(best >= least)
    places = places[np.argsort(-best[places], kind="stable")[:MOST_CANDIDATES]]
    boxes = said[:4, places].T
    ids = scores[:, places].argmax(0)
    rows = Rows(boxes if oriented else _corners(boxes), best[places], ids, said[4 + classes :, places].T)
    if oriented:
        stay = keep_oriented(np.concatenate([rows.boxes, rows.extra], 1), rows.ids, limit=IOU)
    else:
        stay = keep_best(rows.boxes, rows.scores, rows.ids, iou=IOU)
    return rows.only(stay[:MOST_ROWS])


def _corners(boxes: Floats) -> Floats:
    """Center, width, height to x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
