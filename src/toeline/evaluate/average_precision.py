"""COCO average precision of a detector, by pycocotools, with intervals from a bootstrap over photographs.

pycocotools pairs boxes and gives the values. Its pairs do not depend on which photographs are drawn, so a draw only
counts each photograph as often as it was drawn; that sum is done here for all draws at once.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.scene import Instance
from toeline.core.statistics import Interval
from toeline.errors import need
from toeline.evaluate.metric import Array, ClusterBootstrap, Metric, tail_share

EXTRA = "train-detector"
IOUS = np.linspace(0.5, 0.95, 10)
MOST = 100  # boxes of a photograph that count
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
DRAWS = 1000
Photos = Sequence[Sequence[Instance]]


@dataclass(frozen=True)
class ScoredPairs:
    """The boxes of one type over all photographs, most confident first: photograph (n,), hit at each IoU (10, n).

    `counted` (10, n) is False for boxes that neither help nor hurt. `objects` (photographs,) is how many are there.
    """

    photo: npt.NDArray[np.intp]
    hit: npt.NDArray[np.bool_]
    counted: npt.NDArray[np.bool_]
    objects: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Precisions:
    """Average precision per type, (types,), NaN for a type that does not occur; and of each draw, (draws, types).

    `curves` (types, 101) is the precision at IoU 0.5 over RECALLS, NaN likewise.
    """

    kinds: tuple[str, ...]
    at_50: Array
    at_50_95: Array
    draws_50: Array
    draws_50_95: Array
    curves: Array
    objects: tuple[int, ...]
    clusters: int

    @property
    def map_50(self) -> float:
        """The mean over the types that occur, at IoU 0.5."""
        return _mean(self.at_50)

    @property
    def map_50_95(self) -> float:
        """The same over IoU 0.5 to 0.95."""
        return _mean(self.at_50_95)

    def __str__(self) -> str:
        each = " ".join("-" if math.isnan(ap) else f"{ap:.3f}" for ap in self.at_50)
        return f"mAP@0.5 {self.map_50:.4f} ({each}), mAP@0.5:0.95 {self.map_50_95:.4f}"

    def figures(self) -> tuple[Metric, ...]:
        """Both means, then each type at IoU 0.5 and over all; keys such as `map_50` and `ap_50/rock_toe`."""
        total = sum(self.objects)
        both = (("50", "0.5", self.at_50, self.draws_50), ("50_95", "0.5:0.95", self.at_50_95, self.draws_50_95))
        means = [self._figure(f"map_{key}", f"mAP@{said}", _mean(v), _means(d), total) for key, said, v, d in both]
        each = [
            self._figure(f"ap_{key}/{kind}", f"{kind.replace('_', ' ')}, AP@{said}", float(v[k]), d[:, k], n)
            for key, said, v, d in both
            for k, (kind, n) in enumerate(zip(self.kinds, self.objects, strict=True))
        ]
        return (*means, *each)

    def _figure(self, key: str, label: str, value: float, draws: Array, n: int) -> Metric:
        ends = _ends(draws, self.clusters, Interval(0.0, 1.0))
        return Metric(key, label, value, n, None, ends, ends)

    def gained_over(self, other: Precisions) -> tuple[float, Interval]:
        """How much higher mAP@0.5 is than another detector's on the same photographs and draws, with its interval."""
        draws = _means(self.draws_50) - _means(other.draws_50)
        return self.map_50 - other.map_50, _ends(draws, self.clusters, Interval(-1.0, 1.0))


def precisions(
    found: Photos, true: Photos, kinds: Sequence[str], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Precisions:
    """Of detections (with scores) against true objects, photograph by photograph; `groups` are what is drawn whole.

    With 0 `draws` there are no intervals, and the values cost what pycocotools costs. Raises SetupError without it.
    """
    evaluator = _evaluated(found, true, kinds)
    table = evaluator.eval["precision"][:, :, :, 0, 0]  # (IoUs, recalls, types), -1 where there is no object
    table = np.where(table < 0, np.nan, table)
    bootstrap = ClusterBootstrap.of(groups, draws=draws, seed=seed)
    weights = bootstrap.weights[:, bootstrap.cluster_of]
    each = [_draws(_pairs(evaluator, k, len(true)), weights) for k in range(len(kinds))]
    return Precisions(
        kinds=tuple(kinds),
        at_50=table[0].mean(axis=0),
        at_50_95=table.mean(axis=(0, 1)),
        draws_50=np.stack([one[0] for one in each], axis=1),
        draws_50_95=np.stack([one.mean(axis=0) for one in each], axis=1),
        curves=table[0].T,
        objects=tuple(sum(t.type_name == kind for photo in true for t in photo) for kind in kinds),
        clusters=bootstrap.clusters,
    )


def _evaluated(found: Photos, true: Photos, kinds: Sequence[str]) -> Any:
    """pycocotools on objects of any size, after its `evaluate` and `accumulate`."""
    coco = need("pycocotools.coco", extra=EXTRA).COCO
    evaluation = need("pycocotools.cocoeval", extra=EXTRA).COCOeval
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        gold, said = coco(), coco()
        for one, photos in ((gold, true), (said, found)):
            one.dataset = _coco(photos, kinds)
            one.createIndex()
        evaluator = evaluation(gold, said, "bbox")
        evaluator.params.iouThrs, evaluator.params.recThrs = IOUS, RECALLS
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.params.maxDets = [MOST]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _coco(photos: Photos, kinds: Sequence[str]) -> dict[str, Any]:
    rows = [(i, t) for i, photo in enumerate(photos) for t in photo]
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(photos))],
        "categories": [{"id": k} for k in range(len(kinds))],
        "annotations": [
            {
                "id": n, "image_id": i, "category_id": kinds.index(t.type_name), "area": t.box.area, "iscrowd": 0,
                "bbox": [t.box.x1, t.box.y1, t.box.width, t.box.height], "score": t.score,
            }
            for n, (i, t) in enumerate(rows, start=1)
        ],
    }  # fmt: skip


def _pairs(evaluator: Any, kind: int, photographs: int) -> ScoredPairs:
    """What pycocotools paired for one type, in the order in which it accumulates: equal scores by photograph."""
    rows = evaluator.evalImgs[kind * photographs : (kind + 1) * photographs]
    there = [(i, row) for i, row in enumerate(rows) if row is not None]
    objects = np.zeros(photographs, np.int64)
    for i, row in there:
        objects[i] = int((np.asarray(row["gtIgnore"]) == 0).sum())
    scores = np.concatenate([np.asarray(row["dtScores"], float) for _, row in there] or [np.zeros(0)])
    order = np.argsort(-scores, kind="mergesort")
    empty = np.zeros((len(IOUS), 0), bool)
    return ScoredPairs(
        photo=np.concatenate([np.full(len(r["dtScores"]), i) for i, r in there] or [np.zeros(0)])[order].astype(
            np.intp
        ),
        hit=np.concatenate([r["dtMatches"] > 0 for _, r in there] or [empty], axis=1)[:, order],
        counted=np.concatenate([~r["dtIgnore"].astype(bool) for _, r in there] or [empty], axis=1)[:, order],
        objects=objects,
    )


def _draws(pairs: ScoredPairs, weights: Array) -> Array:
    """(10, draws) average precision when photographs count `weights` (draws, photographs) times; NaN without object.

    Boxes of equal score on several photographs keep one order in all draws; pycocotools' depends on the draw.
    """
    total = weights @ pairs.objects
    often = weights[:, pairs.photo]  # (draws, n)
    out = np.full((len(IOUS), len(weights)), math.nan)
    for t in range(len(IOUS)):
        right = np.cumsum(often * (pairs.hit[t] & pairs.counted[t]), axis=1)
        said = np.cumsum(often * pairs.counted[t], axis=1)
        precision = right / np.maximum(said, np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for d in np.flatnonzero(total > 0):
            # the same comparison as pycocotools', in units of objects: rounding must not move a recall over its mark
            at = np.searchsorted(right[d] / total[d], RECALLS, side="left")
            out[t, d] = np.where(
                at < len(pairs.photo), np.append(envelope[d], 0.0)[np.minimum(at, len(pairs.photo))], 0
            ).mean()
    return out


def _mean(values: Array) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def _means(draws: Array) -> Array:
    """(draws,) the mean over the types that occur in each draw; NaN where none does."""
    known = ~np.isnan(draws)
    out = np.full(len(draws), math.nan)
    np.divide(np.where(known, draws, 0).sum(axis=1), known.sum(axis=1), out=out, where=known.any(axis=1))
    return out


def _ends(draws: Array, clusters: int, limits: Interval) -> Interval:
    if clusters < 2 or np.isnan(draws).all():
        return limits
    tail = tail_share(clusters)
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high))


Floats = NDArray[np.float32]


class Found(NamedTuple):
    """Detections of one picture: rows (x1, y1, x2, y2) in input pixels, scores 0 to 1, kind indices."""

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]


class Threshold(NamedTuple):
    """The score that gives a type its best F measure, and precision and recall there at IoU 0.5."""

    score: float
    precision: float
    recall: float


def average_precision(found: Sequence[Found], ground_truth: Sequence[Floats], kinds: Sequence[str]) -> Precisions:
    """As evaluate gives it for the same boxes, without intervals: a type that does not occur is left out of the mean.

    `ground_truth` holds rows (kind, x1, y1, x2, y2), one array per picture, like `found`.
    """
    said = [_instances(one.boxes, one.kinds, one.scores, kinds) for one in found]
    true = [_instances(rows[:, 1:], rows[:, 0], np.ones(len(rows), np.float32), kinds) for rows in ground_truth]
    return precisions(said, true, kinds, [""] * len(true), draws=0)


def found_of(instances: Sequence[Instance], kinds: Sequence[str]) -> Found:
    """Detections of one picture as `average_precision` and `best_thresholds` take them."""
    boxes = np.asarray([t.box.xyxy for t in instances], np.float32).reshape(-1, 4)
    scores = np.asarray([t.score for t in instances], np.float32)
    return Found(boxes, scores, np.asarray([kinds.index(t.type_name) for t in instances], np.int64))


def true_rows(instances: Sequence[Instance], kinds: Sequence[str]) -> Floats:
    """The true objects of one picture, likewise."""
    rows = [(kinds.index(t.type_name), *t.box.xyxy) for t in instances]
    return np.asarray(rows, np.float32).reshape(-1, 5)


def _instances(boxes: Floats, indices: NDArray[Any], scores: Floats, kinds: Sequence[str]) -> list[Instance]:
    rows = zip(boxes.tolist(), indices.tolist(), scores.tolist(), strict=True)
    return [Instance("", kinds[int(k)], Box(*corners), score) for corners, k, score in rows]


def precision_record(precision: Precisions) -> dict[str, Any]:
    """Average precision as JSON holds it; null for a type that does not occur."""
    return {
        "map_50": round(precision.map_50, 4),
        "map_50_95": round(precision.map_50_95, 4),
        "ap_50": {
            kind: None if np.isnan(ap) else round(ap, 4)
            for kind, ap in zip(precision.kinds, precision.at_50.tolist(), strict=True)
        },
    }


def best_thresholds(
    found: Sequence[Found], ground_truth: Sequence[Floats], kinds: Sequence[str], *, beta: float = 1.0
) -> Mapping[str, Threshold]:
    """Per type, the score of highest F measure at IoU 0.5, matched greedily from the most confident detection.

    `beta` is how many times as much recall counts as precision (van Rijsbergen 1979).
    """
    return {name: _best(*_hits(found, ground_truth, k), beta) for k, name in enumerate(kinds)}


def _hits(found: Sequence[Found], ground_truth: Sequence[Floats], kind: int) -> tuple[Floats, NDArray[np.bool_], int]:
    """Scores, whether each hit a box not yet taken, and how many boxes there were, for one type over all pictures."""
    scores, hits, total = [], [], 0
    for one, boxes in zip(found, ground_truth, strict=True):
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


def _best(scores: Floats, hits: NDArray[np.bool_], total: int, beta: float) -> Threshold:
    if not len(scores) or not total:
        return Threshold(0.5, 0.0, 0.0)
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    said = np.arange(1, len(right) + 1)
    best = int(np.argmax((1 + beta**2) * right / (said + beta**2 * total)))
    return Threshold(float(scores[order][best]), float(right[best] / said[best]), float(right[best] / total))


def iou_with(box: Floats, others: Floats) -> Floats:
    """IoU of one box (4,) with others (N, 4), all x1, y1, x2, y2."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    overlap: Floats = shared / np.maximum((box[2:] - box[:2]).prod() + areas - shared, 1e-9)
    return overlap
