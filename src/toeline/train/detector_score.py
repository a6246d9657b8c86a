"""How good a detector is on held-out scenes: average precision per type (pycocotools) and the threshold of best F1.

Knows boxes and scores; knows neither the network nor how scenes are drawn.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toeline.errors import need

Floats = NDArray[np.float32]


class Found(NamedTuple):
    """Detections of one picture: rows (x1, y1, x2, y2) in input pixels, scores 0 to 1, kind indices."""

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]


class Precision(NamedTuple):
    """Average precision per type, in the order of the types: at IoU 0.5, and averaged over IoU 0.5 to 0.95."""

    at_50: tuple[float, ...]
    at_50_95: tuple[float, ...]

    @property
    def map_50(self) -> float:
        return float(np.mean(self.at_50))

    def __str__(self) -> str:
        each = " ".join(f"{ap:.3f}" for ap in self.at_50)
        return f"mAP@0.5 {self.map_50:.4f} ({each}), mAP@0.5:0.95 {np.mean(self.at_50_95):.4f}"


class Threshold(NamedTuple):
    """The score that gives a type its best F1, and precision and recall there at IoU 0.5."""

    score: float
    precision: float
    recall: float


def average_precision(found: Sequence[Found], truth: Sequence[Floats], kinds: int, most: int = 100) -> Precision:
    """COCO average precision. `truth` holds rows (kind, x1, y1, x2, y2), one array per picture, like `found`."""
    coco = need("pycocotools.coco", extra="train-detector").COCO
    evaluator = need("pycocotools.cocoeval", extra="train-detector").COCOeval
    rows = _coco_rows(found)
    if not rows:
        return Precision((0.0,) * kinds, (0.0,) * kinds)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        gold = coco()
        gold.dataset = _coco_truth(truth, kinds)
        gold.createIndex()
        result = evaluator(gold, gold.loadRes(rows), "bbox")
        result.params.maxDets = [1, 10, most]
        result.evaluate()
        result.accumulate()
    table = result.eval["precision"][:, :, :, 0, -1]  # (IoU thresholds, recalls, kinds), objects of any area
    table = np.maximum(table, 0)  # -1 where a type does not occur
    return Precision(tuple(table[0].mean(0).tolist()), tuple(table.mean((0, 1)).tolist()))


def _coco_truth(truth: Sequence[Floats], kinds: int) -> dict[str, Any]:
    rows = [
        {
            "image_id": i,
            "category_id": int(k),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for i, boxes in enumerate(truth)
        for k, x1, y1, x2, y2 in boxes.tolist()
    ]
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(truth))],
        "categories": [{"id": k} for k in range(kinds)],
        "annotations": [{"id": n, **row} for n, row in enumerate(rows, start=1)],
    }


def _coco_rows(found: Sequence[Found]) -> list[dict[str, Any]]:
    return [
        {"image_id": i, "category_id": int(k), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(s)}
        for i, one in enumerate(found)
        for (x1, y1, x2, y2), s, k in zip(one.boxes.tolist(), one.scores, one.kinds, strict=True)
    ]


def best_thresholds(found: Sequence[Found], truth: Sequence[Floats], kinds: Sequence[str]) -> Mapping[str, Threshold]:
    """Per type, the score threshold of highest F1 at IoU 0.5, matched greedily from the most confident detection."""
    return {name: _best(*_hits(found, truth, k)) for k, name in enumerate(kinds)}


def _hits(found: Sequence[Found], truth: Sequence[Floats], kind: int) -> tuple[Floats, NDArray[np.bool_], int]:
    """Scores, whether each hit a box not yet taken, and how many boxes there were, for one type over all pictures."""
    scores, hits, total = [], [], 0
    for one, boxes in zip(found, truth, strict=True):
        gold = boxes[boxes[:, 0] == kind, 1:]
        total += len(gold)
        free = np.ones(len(gold), bool)
        mine = one.kinds == kind
        for n in np.argsort(-one.scores[mine], kind="stable"):
            overlaps = iou_with(one.boxes[mine][n], gold) * free
            hit = len(gold) > 0 and overlaps.max() >= 0.5
            if hit:
                free[overlaps.argmax()] = False
            scores.append(float(one.scores[mine][n]))
            hits.append(hit)
    return np.asarray(scores, np.float32), np.asarray(hits, bool), total


def _best(scores: Floats, hits: NDArray[np.bool_], total: int) -> Threshold:
    if not len(scores) or not total:
        return Threshold(0.5, 0.0, 0.0)
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    said = np.arange(1, len(right) + 1)
    best = int(np.argmax(2 * right / (said + total)))
    return Threshold(float(scores[order][best]), float(right[best] / said[best]), float(right[best] / total))


def iou_with(box: Floats, others: Floats) -> Floats:
    """IoU of one box (4,) with others (N, 4), all x1, y1, x2, y2."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    overlap: Floats = shared / np.maximum((box[2:] - box[:2]).prod() + areas - shared, 1e-9)
    return overlap
