"""Several views of one photograph for one network: as it is, mirrored, smaller. What they find is joined.

Boxes are joined by weighted fusion (Solovyev and others 2021, arXiv:1910.13302): boxes of one type that overlap become
their mean, weighted by confidence, and a box that few views found is believed less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.reading import number
from toeline.detect.letterbox import Fit, letterbox
from toeline.detect.postprocess import overlaps

Floats = NDArray[np.float32]

FUSED_IOU = 0.55  # from which boxes of one type are one object; the default of the article's authors
LEAST = 0.01  # confidence of a box that takes part
MOST = 40  # boxes of a photograph that are left; the fullest real one has 18 objects
MOST_VIEWS = 8
LEAST_SCALE = 0.25


class View(NamedTuple):
    """A photograph as the network is shown it: `scale` times as large as it fits, and perhaps mirrored."""

    scale: float = 1.0
    mirrored: bool = False

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> View:
        """From `detector.json`. Raises ValueError, TypeError, KeyError."""
        mirrored = said.get("mirrored", False)
        if not isinstance(mirrored, bool):
            raise TypeError(f"mirrored is {mirrored!r}, not true or false")
        return cls(number(said.get("scale", 1.0), "the scale of a view", low=LEAST_SCALE, high=1.0), mirrored)

    def laid(self, image: Image.Image, side: int, fill: int) -> tuple[NDArray[np.uint8], Fit]:
        """The view as a square, (side, side, 3) RGB, and where the photograph lies in it before it is mirrored."""
        inner = round(side * self.scale)
        square, fit = letterbox(image, (inner, inner), fill=fill, smooth=True)
        if inner < side:
            sheet = np.full((side, side, 3), fill, np.uint8)
            gap = (side - inner) // 2
            sheet[gap : gap + inner, gap : gap + inner] = square
            square, fit = sheet, fit._replace(left=fit.left + gap, top=fit.top + gap)
        return self.turned(square), fit

    def turned(self, square: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A square that is not mirrored as this view shows it."""
        import cv2

        return np.asarray(cv2.flip(square, 1)) if self.mirrored else square

    def undone(self, boxes: Floats, fit: Fit, side: int) -> Floats:
        """Boxes (N, 4) of the square as boxes of the photograph, in its pixels."""
        if self.mirrored:
            boxes = np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], axis=1)
        return fit.undo(boxes)


WHOLE = (View(),)
STEADY = (View(), View(mirrored=True), View(0.8333), View(0.8333, mirrored=True))  # 384 pixels, and 320


class Rows(NamedTuple):
    """What one view shows: boxes (N, 4) in pixels of the photograph, scores (N,), numbers of types (N,)."""

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]


class Candidates(NamedTuple):
    """Boxes that may be objects, most confident first; `votes` (N, views, 2) has for each view the confidence and the
    IoU of its box that overlaps most, both 0 where none does."""

    boxes: Floats
    scores: Floats
    kinds: NDArray[np.int64]
    votes: Floats


def fused(views: Sequence[Rows]) -> Candidates:
    """What all views of a photograph found, joined; equal confidences keep their order.

    >>> one = Rows(np.array([[0, 0, 10, 10]], np.float32), np.array([0.8], np.float32), np.array([0]))
    >>> other = Rows(np.array([[2, 0, 10, 10]], np.float32), np.array([0.4], np.float32), np.array([0]))
    >>> both = fused([one, other])
    >>> [round(side, 2) for side in both.boxes[0].tolist()], round(float(both.scores[0]), 2)
    ([0.67, 0.0, 10.0, 10.0], 0.6)
    """
    boxes, scores, kinds = (np.concatenate(part) for part in zip(*views, strict=True))
    view = np.repeat(np.arange(len(views)), [len(one.scores) for one in views])
    group = _groups(boxes.astype(np.float64), scores.astype(np.float64), kinds)
    n = group.max(initial=-1) + 1
    weight = np.bincount(group, scores, n)
    middle = np.stack([np.bincount(group, scores * boxes[:, side], n) for side in range(4)], axis=1) / weight[:, None]
    found = np.bincount(group, minlength=n)
    seen = weight / found * np.minimum(found, len(views)) / len(views)
    kind = np.zeros(n, np.int64)
    kind[group] = kinds
    order = np.argsort(-seen, kind="stable")[:MOST]
    votes = _votes(middle[order], kind[order], boxes, scores, kinds, view, len(views))
    return Candidates(middle[order].astype(np.float32), seen[order].astype(np.float32), kind[order], votes)


def _groups(boxes: NDArray[np.float64], scores: NDArray[np.float64], kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the object of each box: the most confident first, each joins the group that it overlaps most."""
    group = np.zeros(len(boxes), np.int64)
    middle, weight, kind, n = np.zeros((len(boxes), 4)), np.zeros(len(boxes)), np.full(len(boxes), -1), 0
    for i in np.argsort(-scores, kind="stable"):
        overlap = np.where(kind[:n] == kinds[i], _iou(boxes[i], middle[:n]), 0.0)
        at = int(overlap.argmax()) if n else 0
        if not n or overlap[at] <= FUSED_IOU:
            at, n = n, n + 1
            kind[at] = kinds[i]
        middle[at] = (middle[at] * weight[at] + boxes[i] * scores[i]) / (weight[at] + scores[i])
        weight[at] += scores[i]
        group[i] = at
    return group


def _votes(
    middle: NDArray[np.float64], kind: NDArray[np.int64], boxes: Floats, scores: Floats, kinds: NDArray[np.int64],
    view: NDArray[np.int64], views: int,
) -> Floats:  # fmt: skip
    votes, exact = np.zeros((len(middle), views, 2), np.float32), boxes.astype(np.float64)
    for i, box in enumerate(middle):
        overlap = np.where(kinds == kind[i], _iou(box, exact), 0.0)
        for v in range(views):
            own = np.flatnonzero((view == v) & (overlap > 0))
            if len(own):
                best = own[overlap[own].argmax()]
                votes[i, v] = scores[best], overlap[best]
    return votes


def _iou(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = others[:, 2:] - others[:, :2]
    return overlaps(box, float((box[2] - box[0]) * (box[3] - box[1])), others, sides[:, 0] * sides[:, 1])
