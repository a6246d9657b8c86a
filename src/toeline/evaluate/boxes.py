"""A detector at the thresholds in use: what of each type was found, missed, taken for another type, or is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toeline.core.scene import Thing
from toeline.evaluate.figure import Figure, ratio
from toeline.evaluate.match import IOU, pair_up
from toeline.evaluate.resample import DRAWS, Resampling

Pair = tuple[Thing, Thing]
ALL = "all types"


@dataclass(frozen=True)
class Seen:
    """One photograph. `right` are pairs (found, true) of one type, `swapped` of two; each thing stands in one place."""

    right: tuple[Pair, ...]
    swapped: tuple[Pair, ...]
    missed: tuple[Thing, ...]
    false: tuple[Thing, ...]

    @property
    def faults(self) -> int:
        """Objects not found as what they are, and boxes of nothing; a swap is one of each."""
        return 2 * len(self.swapped) + len(self.missed) + len(self.false)


def seen(found: Sequence[Thing], true: Sequence[Thing], *, iou: float = IOU) -> Seen:
    """Pair by type first, then what is left by place alone; the most confident choose first."""
    order = sorted(found, key=lambda t: -t.score)
    right = pair_up([(t.kind, t.box) for t in order], [(t.kind, t.box) for t in true], iou=iou)
    said = [t for i, t in enumerate(order) if i not in right]
    open_ = [t for j, t in enumerate(true) if j not in right.values()]
    swapped = pair_up([("", t.box) for t in said], [("", t.box) for t in open_], iou=iou)
    return Seen(
        right=tuple((order[i], true[j]) for i, j in right.items()),
        swapped=tuple((said[i], open_[j]) for i, j in swapped.items()),
        missed=tuple(t for j, t in enumerate(open_) if j not in swapped.values()),
        false=tuple(t for i, t in enumerate(said) if i not in swapped),
    )


def confusion(photos: Sequence[Seen], kinds: Sequence[str]) -> npt.NDArray[np.int64]:
    """(types + 1, types + 1) counts: rows are true, columns said; last row: nothing is there, last column: missed.

    >>> from toeline.core.box import Box
    >>> drain = Thing("1", "drain", Box(0, 0, 9, 9))
    >>> confusion([seen([], [drain])], ["drain"]).tolist()
    [[0, 1], [0, 0]]
    """
    place, none = {kind: k for k, kind in enumerate(kinds)}, len(kinds)
    counts = np.zeros((none + 1, none + 1), np.int64)
    for photo in photos:
        for said, true in (*photo.right, *photo.swapped):
            counts[place[true.kind], place[said.kind]] += 1
        for true in photo.missed:
            counts[place[true.kind], none] += 1
        for said in photo.false:
            counts[none, place[said.kind]] += 1
    return counts


def threshold_figures(
    photos: Sequence[Seen], kinds: Sequence[str], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> tuple[Figure, ...]:
    """Recall and precision of all types and of each; `groups` are what the bootstrap draws whole."""
    resampling = Resampling.of(groups, draws=draws, seed=seed)
    figures = []
    for kind in (ALL, *kinds):
        rows = [_counts(photo, kind) for photo in photos]
        right, true, said = (np.array([row[i] for row in rows], np.int64) for i in range(3))
        name = kind.replace("_", " ")
        figures += [
            ratio(f"recall/{kind}", f"{name}, objects found", right, true, resampling),
            ratio(f"precision/{kind}", f"{name}, boxes that are one", right, said, resampling),
        ]
    return tuple(figures)


def _counts(photo: Seen, kind: str) -> tuple[int, int, int]:
    """How many are right, there, and said, of one type or of all."""

    def of(things: Sequence[Thing]) -> int:
        return sum(kind in (ALL, t.kind) for t in things)

    right = of([t for _, t in photo.right])
    true = right + of([t for _, t in photo.swapped]) + of(photo.missed)
    said = right + of([f for f, _ in photo.swapped]) + of(photo.false)
    return right, true, said


def worst(photos: Sequence[Seen], most: int) -> list[int]:
    """Numbers of the photographs with most faults, those with none left out; equals in their order."""
    order = sorted(range(len(photos)), key=lambda i: -photos[i].faults)
    return [i for i in order if photos[i].faults][:most]
