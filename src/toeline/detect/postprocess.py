"""Rows of numbers that any network gives become detections: above their type's threshold, clipped, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.box import Box
from toeline.core.polygon import polygon_iou
from toeline.core.scene import Alternative, Detection, Instance
from toeline.detect.detector import Label
from toeline.errors import ModelError

if TYPE_CHECKING:
    from toeline.detect.detector import Detector


MOST_INSTANCES = 100  # per photograph; the fullest real one has 18
DAMAGED = "Its weights are damaged, or its output means something else; export it again."
LEAST_SIDE = 1.0  # pixels of the photograph: a box thinner than one pixel, after clipping, holds nothing


def detections(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    ids: NDArray[np.integer],
    *,
    labels: Mapping[int, Label],
    limits: Mapping[str, float],
    size_wh: tuple[int, int],
    outlines: Sequence[tuple[tuple[float, float], ...]] = (),
) -> list[Detection]:
    """`boxes` (N, 4) as x1, y1, x2, y2 in pixels of the photograph, `scores` (N,) from 0 to 1, `ids` (N,) of classes.

    Rows stay whose score is at least the limit of their type (`limits`: type name -> 0 to 1); rows of a class that is
    not in `labels` are left out, and so are boxes thinner than a pixel or with corners in the wrong order. Equal scores
    keep their order. `outlines` are polygons in pixels of the photograph, one for each row, or none at all. Raises
    ModelError for a score or a place that is no number.

    >>> found = detections(
    ...     np.array([[-5, 2, 8, 9], [0, 0, 4, 4]]), np.array([0.5, 0.9]), np.array([0, 1]),
    ...     labels={0: Label("toe_drain"), 1: Label("vegetation")}, limits={"toe_drain": 0.5, "vegetation": 0.95},
    ...     size_wh=(20, 20),
    ... )
    >>> [(s.instance.id, s.instance.type_name, s.instance.box.xyxy) for s in found]
    [('1', 'toe_drain', (0.0, 2.0, 8.0, 9.0))]
    """
    if np.isnan(scores).any():
        raise ModelError(f"the detector gave {np.isnan(scores).sum()} confidences that are no numbers. {DAMAGED}")
    corners = np.clip(boxes.astype(np.float64), 0, [*size_wh, *size_wh])
    sides = (corners[:, 2:] - corners[:, :2]).min(1)  # under zero for corners in the wrong order
    found: list[Detection] = []
    for n in np.argsort(-scores, kind="stable"):
        label = labels.get(int(ids[n]))
        if label is None or scores[n] < limits[label.kind] or sides[n] < min(LEAST_SIDE, *size_wh):
            continue
        polygon = outlines[n] if outlines else ()
        try:
            box = Box(*map(float, boxes[n])).clipped(size_wh)
        except ValueError as why:
            raise ModelError(f"of a detection the {why}. {DAMAGED}") from None
        instance = Instance(str(len(found) + 1), label.kind, box, min(float(scores[n]), 1.0), polygon)
        found.append(Detection(instance, label.class_name))
    return found[:MOST_INSTANCES]


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
            open_[rivals[overlaps(corners[n], areas[n], corners[rivals], areas[rivals]) > iou]] = False
    return order[open_]


def overlaps(
    box: NDArray[np.float64], area: float, others: NDArray[np.float64], areas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """IoU of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, 0] * sides[:, 1]
    overlap: NDArray[np.float64] = shared / np.maximum(area + areas - shared, 1e-9)
    return overlap


# Two boxes of an IoU above these are one object. True boxes of one photograph of the lagoon dykes (1,129 objects) reach
# 0.30 within a type, and 0.74 between types, where a toe drain runs along a rock toe (benchmarks/results/overlaps.md).
# The second limit is above all of them, because a lost object is worse than one that is told twice.
SAME_TYPE_IOU = 0.6
OTHER_TYPE_IOU = 0.75
OUTLINE_IOU = 0.5  # when both have outlines: the boxes of two slanted drains side by side overlap, the drains do not


def find_settled(detector: Detector, images: Sequence[Image.Image]) -> list[list[Detection]]:
    """What any detector finds, one detection per object: how everything but a detector's own score asks for it."""
    return [settle(found) for found in detector.find(images)]


def settle(
    found: Sequence[Detection], *, same: float = SAME_TYPE_IOU, other: float = OTHER_TYPE_IOU
) -> list[Detection]:
    """The detections of one photograph without duplicates, most confident first, called "1", "2", ... in that order.

    A box that overlaps a more confident one of its own type by an IoU above `same`, or one of another type by more than
    `other`, goes; what it said is added to the one that stays and overlaps it most. Equal confidences keep their order,
    so the answer is always the same. Where nothing overlaps, only ids and order can change.

    >>> from toeline.core.box import Box
    >>> from toeline.core.scene import Instance
    >>> drain = Detection(Instance("1", "toe_drain", Box(0, 0, 10, 4), 0.8))
    >>> (one,) = settle([drain, Detection(Instance("2", "slope_drain", Box(0, 0, 10, 4), 0.3))])
    >>> one.instance.type_name, one.others
    ('toe_drain', (Alternative(type_name='slope_drain', score=0.3, class_name=''),))
    """
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda s: -s.instance.score):
        rival = _rival(detection, kept, same, other)
        if rival is None:
            kept.append(detection)
        else:
            kept[rival] = _told(kept[rival], detection)
    return [replace(s, instance=replace(s.instance, id=str(n))) for n, s in enumerate(kept, start=1)]


def _rival(detection: Detection, kept: Sequence[Detection], same: float, other: float) -> int | None:
    """The position of the kept detection that this one repeats, or None."""
    instance = detection.instance
    overlaps = [(k.instance.box.iou(instance.box), -n, k.instance) for n, k in enumerate(kept)]
    close = [
        (iou, n)
        for iou, n, k in overlaps
        if iou > (same if k.type_name == instance.type_name else other)
        and (not (k.polygon and instance.polygon) or polygon_iou(k.polygon, instance.polygon) > OUTLINE_IOU)
    ]
    return -max(close)[1] if close else None


def _told(stays: Detection, goes: Detection) -> Detection:
    """The one that stays, with what the other said, unless that is no more than the same again."""
    said = (Alternative(goes.instance.type_name, goes.instance.score, goes.class_name), *goes.others)
    known = {(stays.instance.type_name, stays.class_name), *((g.type_name, g.class_name) for g in stays.others)}
    return replace(stays, others=(*stays.others, *(g for g in said if (g.type_name, g.class_name) not in known)))
