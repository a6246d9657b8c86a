"""What a YOLO network says becomes rows: boxes in the pixels of its input, scores, classes and what else it gives.

A head without built-in suppression gives, for each of A places, a box, one score per class and perhaps more; the class
with the best score counts, as when ultralytics predicts. Knows no photographs and no types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toeline.detect.letterbox import Fit
from toeline.detect.postprocess import keep_best

Floats = NDArray[np.float32]
IOU = 0.7  # above it, two boxes of one class are the same object: what ultralytics predicts with unless told otherwise
MOST_ROWS = 300  # in one photograph, likewise
MOST_CANDIDATES = 30_000  # that are compared with one another, likewise


class DecodedRows(NamedTuple):
    """N predictions, most confident first.

    `boxes` (N, 4) in pixels of the input: x1, y1, x2, y2, or center, width and height where `extra` is an angle.
    `extra` (N, E): nothing, mask coefficients, or the angle in radians.
    """

    boxes: Floats
    scores: Floats
    ids: NDArray[np.int64]
    extra: Floats

    def only(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> DecodedRows:
        """The rows of these numbers, in that order."""
        return DecodedRows(self.boxes[which], self.scores[which], self.ids[which], self.extra[which])


def finished(said: Floats, least: float) -> DecodedRows:
    """Rows that the graph has finished: `said` (N, 6 + E) as box, score, class, extra; padding has no score.

    >>> finished(np.array([[0, 0, 4, 4, 0.2, 1], [0, 0, 9, 9, 0.8, 2], [0] * 6], np.float32), 0.1).ids.tolist()
    [2, 1]
    """
    rows = DecodedRows(said[:, :4], said[:, 4], said[:, 5].astype(np.int64), said[:, 6:])
    order = np.argsort(-rows.scores, kind="stable")
    order = order[(rows.scores[order] >= least) & (rows.scores[order] > 0)]
    return rows.only(order[:MOST_ROWS])


def raw(said: Floats, classes: int, least: float, *, oriented: bool) -> DecodedRows:
    """Rows from `said` (4 + classes + E, A): center, width, height, class scores from 0 to 1, extra.

    Of rows of one class that overlap by more than `IOU` the most confident stays.
    """
    scores = said[4 : 4 + classes]
    best = scores.max(0)
    places = np.flatnonzero(best >= least)
    places = places[np.argsort(-best[places], kind="stable")[:MOST_CANDIDATES]]
    boxes = said[:4, places].T
    ids = scores[:, places].argmax(0)
    rows = DecodedRows(boxes if oriented else _corners(boxes), best[places], ids, said[4 + classes :, places].T)
    if oriented:
        stay = keep_oriented(np.concatenate([rows.boxes, rows.extra], 1), rows.ids, limit=IOU)
    else:
        stay = keep_best(rows.boxes, rows.scores, rows.ids, iou=IOU)
    return rows.only(stay[:MOST_ROWS])


def shares(said: Floats, least: float, input_hw: tuple[int, int]) -> DecodedRows:
    """Rows of RT-DETR: `said` (N, 4 + classes) as center and sides in shares of the input, and class scores.

    Nothing is suppressed: the network itself gives each object once.
    """
    scores = said[:, 4:]
    best = scores.max(1)
    order = np.argsort(-best, kind="stable")
    order = order[(best[order] >= least) & (best[order] > 0)][:MOST_ROWS]
    high, wide = input_hw
    boxes = _corners(said[order, :4] * np.array([wide, high, wide, high], np.float32))
    return DecodedRows(boxes, best[order], scores[order].argmax(1), np.zeros((len(order), 0), np.float32))


def _corners(boxes: Floats) -> Floats:
    """Center, width, height to x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)


Doubles = NDArray[np.float64]


def corners(boxes: NDArray[np.floating], angles: NDArray[np.floating]) -> Doubles:
    """(N, 4, 2) corners of `boxes` (N, 4: center, width, height), turned by `angles` (N,) in radians.

    >>> corners(np.array([[10, 10, 4, 2]]), np.array([0.0]))[0].tolist()
    [[12.0, 11.0], [12.0, 9.0], [8.0, 9.0], [8.0, 11.0]]
    """
    boxes, angles = np.asarray(boxes, np.float64), np.asarray(angles, np.float64)
    along = np.stack([np.cos(angles), np.sin(angles)], 1) * boxes[:, 2:3] / 2
    aside = np.stack([-np.sin(angles), np.cos(angles)], 1) * boxes[:, 3:4] / 2
    turned = np.stack([along + aside, along - aside, -along - aside, -along + aside], 1)
    return np.asarray(boxes[:, None, :2] + turned, np.float64)


def keep_oriented(boxes: NDArray[np.floating], ids: NDArray[np.int64], *, limit: float) -> NDArray[np.int64]:
    """Row numbers that stay of `boxes` (N, 5: center, width, height, angle), which stand most confident first.

    Rows of different classes (`ids`) never suppress one another.

    >>> rows = np.array([[9, 9, 8, 4, 0.5], [9, 9, 8, 4, 0.6], [9, 9, 8, 4, 0.5], [40, 9, 8, 4, 0.5]])
    >>> keep_oriented(rows, np.array([0, 0, 1, 0]), limit=0.7).tolist()
    [0, 2, 3]
    """
    rows: Doubles = boxes.astype(np.float64)
    spread = _spread(rows)
    stay = np.ones(len(rows), bool)
    for n in range(1, len(rows)):
        before = np.flatnonzero(ids[:n] == ids[n])
        alike = prob_iou(rows[n], spread[n], rows[before], spread[before])
        stay[n] = not (alike > limit).any()
    return np.flatnonzero(stay)


def _spread(boxes: Doubles) -> Doubles:
    """(N, 3): the covariance matrix [[a, c], [c, b]] of each box, filled evenly, as a, b, c."""
    along, aside = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    a, b = along * cos**2 + aside * sin**2, along * sin**2 + aside * cos**2
    return np.stack([a, b, (along - aside) * cos * sin], 1)


def prob_iou(box: Doubles, spread: Doubles, others: Doubles, spreads: Doubles) -> Doubles:
    """One minus the Hellinger distance of one box to each of `others`: 1 for the same box, near 0 far away.

    From the Bhattacharyya distance of two normal distributions; the small number keeps flat boxes from dividing by
    zero.
    """
    tiny = 1e-7
    a, b, c = (spread + spreads).T
    dx, dy = others[:, 0] - box[0], others[:, 1] - box[1]
    both = a * b - c**2
    apart = (a * dy**2 + b * dx**2 - 2 * c * dx * dy) / (4 * (both + tiny))
    own, theirs = (np.maximum(s[..., 0] * s[..., 1] - s[..., 2] ** 2, 0) for s in (spread, spreads))
    unlike = np.log(both / (4 * np.sqrt(own * theirs) + tiny) + tiny) / 2
    distance = np.clip(apart + unlike, tiny, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + tiny), np.float64)


Polygon = tuple[tuple[float, float], ...]
SLACK = 0.75  # pixels of the network's input that an outline may be off for the sake of fewer corners


def masks(
    prototypes: Floats, coefficients: Floats, boxes: Floats, input_hw: tuple[int, int]
) -> list[NDArray[np.uint8]]:
    """For each row a mask (H, W) of the input, 1 on the object: mixed prototypes above zero, inside the row's box.

    `prototypes` (E, h, w), `coefficients` (N, E), `boxes` (N, 4) as x1, y1, x2, y2 in pixels of the input.
    """
    import cv2

    mixed = np.tensordot(coefficients, prototypes, 1)
    across, down = np.arange(input_hw[1]), np.arange(input_hw[0])
    found = []
    for one, (x1, y1, x2, y2) in zip(mixed, boxes, strict=True):
        grown = cv2.resize(one, input_hw[::-1], interpolation=cv2.INTER_LINEAR) > 0
        inside = ((down >= y1) & (down < y2))[:, None] & ((across >= x1) & (across < x2))[None]
        found.append((grown & inside).astype(np.uint8))
    return found


def outline(mask: NDArray[np.uint8], fit: Fit, size_wh: tuple[int, int]) -> Polygon:
    """The outline of the largest piece of `mask` (H, W) of the input, in the photograph; empty for an empty mask.

    The corners lie in the middle of the mask's outer pixels, hence the half.
    """
    import cv2

    pieces: Sequence[NDArray[np.int32]] = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not pieces:
        return ()
    largest = max(pieces, key=lambda piece: (cv2.contourArea(piece), len(piece)))
    points = cv2.approxPolyDP(largest, SLACK, True).reshape(-1, 2).astype(np.float32) + 0.5
    if len(points) < 3:
        return ()
    there = fit.undo(np.concatenate([points, points], 1))[:, :2]
    return tuple(map(tuple, np.clip(there, 0, size_wh).astype(float).tolist()))
