"""Fits what looks at detections again (detect/rescore.py), and says of each photograph what it says when not in train.

What is fitted on are detections of photographs that the detectors had not seen. A box is right when it is paired with
an object of its type at an IoU of 0.5 or more, the most confident first, as average precision counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toeline.core.box import Box
from toeline.core.scene import Instance
from toeline.data.feature_maps import FeatureNetwork
from toeline.data.split import folds_of, in_turn
from toeline.detect.rescore import LinearScore, Rescorer, plain_width, standardized
from toeline.detect.views import Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

RIGHT_IOU = 0.5
FOLDS = 5
PENALTY = 0.02  # scikit-learn's C: how little large weights cost
POOLED_SHARE = 0.25  # by how much the many columns of the feature network are made smaller beside the few others
FEWEST = 8  # boxes of a type that are right, and as many that are wrong: with fewer its confidence stays


@dataclass(frozen=True, eq=False)
class SeenPhotograph:
    """One photograph: candidates of a detector that had not seen it, their columns (n, width), which are right (n,)."""

    flight_line: str
    found: Candidates
    columns: Rows
    right: NDArray[np.bool_]


def paired(found: Candidates, true: Sequence[Instance], kinds: Sequence[str]) -> NDArray[np.bool_]:
    """Which boxes are right; each object is found once, by the most confident box.

    >>> from toeline.core.box import Box
    >>> boxes = np.array([[0, 0, 9, 10], [0, 0, 10, 10]], np.float32)
    >>> both = Candidates(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 0]), np.zeros((2, 1, 2), np.float32))
    >>> paired(both, [Instance("1", "toe_drain", Box(0, 0, 10, 10))], ["toe_drain"]).tolist()
    [True, False]
    """
    right, taken = np.zeros(len(found.scores), bool), set[str]()
    for i in np.argsort(-found.scores, kind="stable"):
        box = Box(*map(float, found.boxes[i]))
        overlap = [(t.box.iou(box), t.id) for t in true if t.type_name == kinds[found.kinds[i]] and t.id not in taken]
        best, id_ = max(overlap, default=(0.0, ""))
        if best >= RIGHT_IOU:
            taken.add(id_)
            right[i] = True
    return right


def fit_rescorer(
    photos: Sequence[SeenPhotograph], kinds: Sequence[str], views: int, network: FeatureNetwork
) -> Rescorer:
    """Fit on all. The same photographs give the same model."""
    columns = np.concatenate([p.columns for p in photos])
    right = np.concatenate([p.right for p in photos])
    of = np.concatenate([p.found.kinds for p in photos])
    made: dict[int, LinearScore] = {}
    for k in range(len(kinds)):
        own = of == k
        if min(right[own].sum(), (~right[own]).sum()) >= FEWEST:
            made[k] = _fit(columns[own], right[own], plain_width(views, len(kinds)))
    return Rescorer(tuple(kinds), views, made, network)


def rescored_out_of_fold(
    photos: Sequence[SeenPhotograph], kinds: Sequence[str], views: int, network: FeatureNetwork
) -> list[Candidates]:
    """Each photograph's candidates, looked at by a model that was fitted on other flight lines."""
    fold = folds_of([p.flight_line for p in photos], FOLDS)
    said: dict[int, Candidates] = {}
    for seen, unseen in in_turn(fold):
        model = fit_rescorer([photos[i] for i in seen], kinds, views, network) if seen else None
        for i in unseen:
            said[i] = model.rescored(photos[i].found, photos[i].columns) if model else photos[i].found
    return [said[i] for i in range(len(photos))]


def _fit(columns: Rows, right: NDArray[np.bool_], plain: int) -> LinearScore:
    from sklearn.linear_model import LogisticRegression

    mean, spread = columns.mean(axis=0), columns.std(axis=0) + 1e-6
    share = np.where(np.arange(columns.shape[1]) < plain, 1.0, POOLED_SHARE)
    model = LogisticRegression(C=PENALTY, max_iter=1000).fit(standardized(columns, mean, spread) * share, right)
    return LinearScore(mean, spread, model.coef_[0] * share, float(model.intercept_[0]))
