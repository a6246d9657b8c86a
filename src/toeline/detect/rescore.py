"""Confidence looked at again: the probability that a box holds what its type says, by a linear model for each type.

A small detector that learned from drawn scenes and few photographs is often sure of the wrong box. The linear model
also sees what an ImageNet network sees in the box, which views agree on it, and what else was found around it. It is
trained on what detectors found on photographs that they had never seen (train/rescore.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.special import expit, logit

from toeline.core.box import Box
from toeline.core.reading import read_bytes
from toeline.core.scene import Instance, Scene
from toeline.data.feature_maps import FeatureNetwork, feature_network
from toeline.data.pooling import COLUMNS, pool
from toeline.detect.views import Candidates
from toeline.errors import ModelError
from toeline.weights import tables_of, write_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

KEY, VERSION = "toeline_rescore", 1  # raise it when a column changes its meaning
MOST_BYTES = 1 << 26
TABLES = ("mean", "spread", "weights")
AGAIN = "Run toeline learn again."
CLIP = 3.0  # standard deviations: beyond, a column says no more
LEAST = 1e-3  # of confidences, before their logit is taken
NEAR = 8.0  # what lies this much further away, in shares of the diagonal, counts 1/e less


@dataclass(frozen=True, eq=False)
class LinearScore:
    """One type: (columns,) mean, spread and weights, and the bias. Raises ValueError for tables that do not fit."""

    mean: Rows
    spread: Rows
    weights: Rows
    bias: float

    def __post_init__(self) -> None:
        shapes = {np.shape(self.mean), np.shape(self.spread), np.shape(self.weights)}
        tables = (self.mean, self.spread, self.weights, np.array([self.bias]))
        if len(shapes) != 1 or not all(np.isfinite(t).all() for t in tables) or not (self.spread > 0).all():
            raise ValueError("a linear model holds what is no number, or tables of different length")

    def probabilities(self, columns: Rows) -> Rows:
        """(n, columns) to (n,)."""
        return np.asarray(expit(standardized(columns, self.mean, self.spread) @ self.weights + self.bias))


@dataclass(frozen=True, eq=False)
class Rescorer:
    """Linear models by the number of a type of `kinds`; boxes of a type without one keep their confidence."""

    kinds: tuple[str, ...]
    views: int
    by_kind: Mapping[int, LinearScore]
    network: FeatureNetwork

    def __call__(self, image: Image.Image, found: Candidates) -> Candidates:
        """The same boxes, most probable first."""
        columns = columns_of(image, found, len(self.kinds), self.network)
        return self.rescored(found, columns)

    def rescored(self, found: Candidates, columns: Rows) -> Candidates:
        """The same from the columns of the boxes."""
        scores = found.scores.astype(np.float64)
        for k, model in self.by_kind.items():
            own = found.kinds == k
            scores[own] = model.probabilities(columns[own])
        order = np.argsort(-scores, kind="stable")
        sure = scores.astype(np.float32)[order]
        return Candidates(found.boxes[order], sure, found.kinds[order], found.votes[order])

    def save(self, file: Path) -> None:
        """Write it, whole or not at all. The same model gives the same bytes."""
        tables: dict[str, Any] = {}
        for k, one in self.by_kind.items():
            tables |= {f"{k}.{name}": getattr(one, name) for name in TABLES}
            tables[f"{k}.bias"] = np.array([one.bias])
        head = {"version": VERSION, "kinds": self.kinds, "views": self.views, "network": self.network.sha256}
        write_tables(file, tables, head, KEY)

    @classmethod
    def load(cls, file: Path, kinds: Sequence[str], views: int) -> Rescorer:
        """Read a file for a detector of these types and so many views. Raises ModelError."""
        raw = read_bytes(file, ModelError, advice=AGAIN, most=MOST_BYTES)
        head, tables = tables_of(raw, file, KEY, what="second look of a detector", advice=AGAIN)
        network = feature_network()
        wanted = {"version": VERSION, "kinds": list(kinds), "views": views, "network": network.sha256}
        if odd := [name for name, value in wanted.items() if head.get(name) != value]:
            raise ModelError(f"{file}: belongs to another detector or another Toeline (its {odd[0]} differs). {AGAIN}")
        try:
            by_kind = {
                k: LinearScore(
                    bias=float(tables[f"{k}.bias"].item()),
                    **{name: tables[f"{k}.{name}"].astype(np.float64) for name in TABLES},
                )
                for k in range(len(kinds))
                if f"{k}.bias" in tables
            }
            if any(len(one.mean) != width(views, len(kinds)) for one in by_kind.values()):
                raise ValueError("it has another number of columns")
        except (KeyError, ValueError, AttributeError) as why:
            raise ModelError(f"{file}: is damaged ({why}). {AGAIN}") from None
        return cls(tuple(kinds), views, by_kind, network)


def standardized(columns: Rows, mean: Rows, spread: Rows) -> Rows:
    """(n, columns) in standard deviations from the mean, at most CLIP of them."""
    return np.clip((columns - mean) / spread, -CLIP, CLIP)


def width(views: int, kinds: int) -> int:
    """How many columns a box has."""
    return plain_width(views, kinds) + COLUMNS


def plain_width(views: int, kinds: int) -> int:
    """How many of them come before those of the feature network."""
    return 10 + 2 * views + 6 * kinds


def columns_of(image: Image.Image, found: Candidates, kinds: int, network: FeatureNetwork) -> Rows:
    """(n, width) of the boxes found in a photograph: what views say, its place, what is near, what it looks like."""
    n, views = found.votes.shape[:2]
    if not n:
        return np.zeros((0, width(views, kinds)))
    said = logit(np.clip(found.scores.astype(np.float64), LEAST, 1 - LEAST))[:, None]
    boxes = found.boxes.astype(np.float64)
    limits = np.array([*image.size, *image.size])
    boxes = np.clip(boxes, 0, limits)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1e-3)
    sides = boxes[:, 2:] - boxes[:, :2]
    shape = np.log(np.column_stack([sides / limits[:2], sides[:, 0] / sides[:, 1]]))
    instances = tuple(Instance(str(i), "", Box(*map(float, box))) for i, box in enumerate(boxes))
    scene = Scene(Path("photograph"), image.size, instances)
    pooled = pool(scene, image if image.mode == "RGB" else image.convert("RGB"), network)
    place = np.hstack([said, found.votes.reshape(n, -1), shape, boxes / limits])
    return np.hstack([place, _around(boxes, found, image.size, kinds), pooled])


def _around(boxes: Rows, found: Candidates, size_wh: tuple[int, int], kinds: int) -> Rows:
    """(n, 2 + 6 kinds): how many of its type are surer, how much the nearest of them overlaps; and of each type the
    best confidence elsewhere, their sum, what covers it, what it covers, what is near above and below."""
    scores = found.scores.astype(np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]
    shared = np.clip(np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None]), 0, None).prod(2)
    np.fill_diagonal(shared, 0)
    area = (high - low).prod(1)
    iou = shared / np.maximum(area[:, None] + area[None] - shared, 1e-9)
    surer = (scores[None] > scores[:, None]) & (found.kinds[None] == found.kinds[:, None])
    apart = np.maximum(0, np.maximum(low[:, None] - high[None], low[None] - high[:, None]))
    near = np.exp(-NEAR * np.hypot(*(apart[..., i] for i in (0, 1))) / np.hypot(*size_wh)) * scores[None]
    above = (low + high)[None, :, 1] < (low + high)[:, None, 1]
    other = ~np.eye(len(scores), dtype=bool)
    columns = [np.log1p(surer.sum(1)), np.where(surer, iou, 0).max(1)]
    for k in range(kinds):
        own = (found.kinds == k)[None] & other
        said = np.where(own, scores[None], 0)
        columns += [said.max(1), said.sum(1), (said * shared / area[:, None]).max(1), (said * shared / area).max(1)]
        columns += [np.where(own & side, near, 0).max(1) for side in (above, ~above)]
    return np.stack(columns, axis=1)
