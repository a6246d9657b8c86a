"""Fits the floor's models to a table of measures, with scikit-learn, which is needed here and nowhere later.

Every number below was chosen by cross-validation inside the train split of the real photographs: docs/floor.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.judge.floor.model import Forest, TypeModel, standardized

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHRINK = 0.01  # inverse strength of the linear models' penalty (C), on standardized measures
TREES = 200
LEAF = 5  # fewest objects in a leaf
TRIED = 0.2  # share of the measures that each split chooses from
CONSTANT = 1e-9  # a measure that varies less is the same for all objects
NEVER = -30.0  # e to this is nothing; what is left of an answer that was never seen is model.LEAST


@dataclass(frozen=True, eq=False)
class Table:
    """What training knows: `rows` (n, F), and of each of the n objects its type, class, flight line, photograph, id."""

    rows: NDArray[np.float32]
    kinds: NDArray[np.str_]
    classes: NDArray[np.str_]
    groups: NDArray[np.str_]
    photos: NDArray[np.str_]  # SHA-256
    things: NDArray[np.str_]

    def only(self, which: NDArray[Any]) -> Table:
        """The objects at these places."""
        return Table(*(column[which] for column in vars(self).values()))


def fit(table: Table, taxonomy: Taxonomy, seed: int) -> dict[str, TypeModel]:
    """A model for each type of which the table shows two answers or more; sklearn is needed here and nowhere later."""
    models = {}
    for t in taxonomy.types:
        part = table.only(table.kinds == t.name)
        if len(set(part.classes)) > 1:
            models[t.name] = _fit_type(part, taxonomy.answers(t.name), seed)
    return models


def _fit_type(part: Table, answers: tuple[str, ...], seed: int) -> TypeModel:
    from sklearn.ensemble import ExtraTreesClassifier

    target = np.array([answers.index(name) for name in part.classes])
    trees = ExtraTreesClassifier(
        TREES, min_samples_leaf=LEAF, max_features=TRIED, class_weight="balanced", random_state=seed
    ).fit(part.rows, target)
    return TypeModel(answers, **_linear(part.rows, target, len(answers)), forest=_forest(trees, len(answers)))


def _linear(rows: NDArray[np.float32], target: NDArray[np.int64], n: int) -> dict[str, NDArray[np.float64]]:
    """The fields of a TypeModel's linear model; an answer that was never seen gets the bias NEVER."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    spread = np.where(spread > CONSTANT, spread, 1.0)
    model = LogisticRegression(C=SHRINK, class_weight="balanced", max_iter=2000)
    model.fit(standardized(rows, mean, spread), target)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes: that of the second against the first
        coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercept)
    weights, bias = np.zeros((rows.shape[1], n)), np.full(n, NEVER)
    weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercept
    return {"mean": mean, "spread": spread, "weights": weights, "bias": bias}


def _forest(trees: Any, n: int) -> Forest:
    """scikit-learn's trees in one table; its children come after their parents, and its leaves have child -1."""
    parts, start = [], 0
    for tree in (t.tree_ for t in trees.estimators_):
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        share = np.zeros((tree.node_count, n), np.float32)
        value = tree.value[:, 0, :]
        share[:, trees.classes_] = value / value.sum(axis=1, keepdims=True)
        left, right = (
            np.where(leaf, own, c) + start for c in (tree.children_left, np.where(leaf, own, tree.children_right))
        )
        parts.append((start, np.where(leaf, 0, tree.feature), np.where(leaf, 0.0, tree.threshold), left, right, share))
        start += tree.node_count
    roots, feature, threshold, left, right, share = zip(*parts, strict=True)
    return Forest(
        np.array(roots, np.int32),
        np.concatenate(feature).astype(np.int32),
        np.concatenate(threshold).astype(np.float64),
        np.concatenate(left).astype(np.int32),
        np.concatenate(right).astype(np.int32),
        np.concatenate(share),
    )
