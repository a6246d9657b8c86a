"""Detected boxes against true ones: what was found, what went wrong in which stage, recall and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toeline.core.finding import Finding
from toeline.core.ground_truth import TrueInstance
from toeline.core.scene import Instance
from toeline.evaluate.matching import IOU, Matched, pair_up
from toeline.evaluate.metric import DRAWS, Array, ClusterBootstrap, Metric, divided, ratio

LOOSE = 0.1  # least overlap of a finding that is on an object but badly placed, as in TIDE (Bolya et al. 2020)

Pair = tuple[Finding, TrueInstance]


@dataclass(frozen=True)
class Sorted:
    """One photograph: each true object and each finding under exactly one name.

    Pairs: `right`; `wrong_condition`, the type is right and the class is not; `wrong_type`, the place is right and the
    class is of another type; `misplaced`, the type is right and the overlap is from LOOSE to IOU. Then true objects
    that were `missed`, a `double` finding of an object that another one has, and a `false` finding of nothing.
    """

    photo: str
    right: tuple[Pair, ...]
    wrong_condition: tuple[Pair, ...]
    wrong_type: tuple[Pair, ...]
    misplaced: tuple[Pair, ...]
    missed: tuple[TrueInstance, ...]
    double: tuple[Finding, ...]
    false: tuple[Finding, ...]


@dataclass(frozen=True)
class Breakdown:
    """Counts of all photographs, by the names of Sorted. They add up: no object and no finding is counted twice."""

    right: int
    wrong_condition: int
    wrong_type: int
    misplaced: int
    missed: int
    double: int
    false: int

    @property
    def objects(self) -> int:
        """True objects."""
        return self.right + self.wrong_condition + self.wrong_type + self.misplaced + self.missed

    @property
    def findings(self) -> int:
        """Findings."""
        return self.right + self.wrong_condition + self.wrong_type + self.misplaced + self.double + self.false

    @property
    def lost_by_detector(self) -> int:
        """True objects that are wrong because of their box: missed, misplaced, or taken for another type."""
        return self.missed + self.misplaced + self.wrong_type

    @property
    def lost_by_judge(self) -> int:
        """True objects that were found and whose condition is wrong."""
        return self.wrong_condition

    def record(self) -> dict[str, Any]:
        """As JSON, with the sums."""
        sums = ("objects", "findings", "lost_by_detector", "lost_by_judge")
        return {**asdict(self), **{name: getattr(self, name) for name in sums}}


def sort_out(matched: Matched) -> Sorted:
    """Put every object and finding of a photograph under its name.

    A finding whose judge overruled the detector's type is right when its class and its place are. Objects are paired by
    type first; `Matched.right` pairs by class, so where two objects overlap it can be larger than `right` here.
    """
    swapped, found, true = _pairs(matched.extra, matched.missed, iou=IOU)
    loose, found, true = _pairs(found, true, iou=LOOSE, by_kind=True)
    placed = (*matched.pairs, *swapped)
    wrong = [p for p in placed if p[0].verdict.class_name != p[1].ground_truth.class_name]
    taken = [t for _, t in placed]
    doubles = tuple(
        f
        for f in found
        if any(t.ground_truth.type_name == f.type_name and t.instance.box.iou(f.box) >= IOU for t in taken)
    )
    return Sorted(
        photo=matched.photo,
        right=tuple(p for p in placed if p not in wrong),
        wrong_condition=tuple(p for p in wrong if p[0].type_name == p[1].ground_truth.type_name),
        wrong_type=tuple(p for p in wrong if p[0].type_name != p[1].ground_truth.type_name),
        misplaced=loose,
        missed=true,
        double=doubles,
        false=tuple(f for f in found if f not in doubles),
    )


def _pairs(
    found: Sequence[Finding], true: Sequence[TrueInstance], *, iou: float, by_kind: bool = False
) -> tuple[tuple[Pair, ...], tuple[Finding, ...], tuple[TrueInstance, ...]]:
    """Pairs by overlap, within one type or across all, then the findings and the objects that are left."""
    pairs = pair_up(
        [(f.type_name if by_kind else "", f.box) for f in found],
        [(t.ground_truth.type_name if by_kind else "", t.instance.box) for t in true],
        iou=iou,
    )
    return (
        tuple((found[i], true[j]) for i, j in pairs.items()),
        tuple(f for i, f in enumerate(found) if i not in pairs),
        tuple(t for j, t in enumerate(true) if j not in pairs.values()),
    )


def breakdown(photos: Sequence[Sorted]) -> Breakdown:
    """The counts of all photographs."""
    names = Breakdown.__dataclass_fields__
    return Breakdown(**{name: sum(len(getattr(p, name)) for p in photos) for name in names})


def detection_metrics(
    matched: Sequence[Matched], *, groups: Mapping[str, str] | None = None, draws: int = DRAWS, seed: int = 0
) -> tuple[Metric, ...]:
    """Detector alone (`objects_found`, `findings_real`: type and place), then both stages together (class and place).

    One row for each photograph; `groups` maps photographs to flight lines, to resample those instead. A finding counts
    if its overlap is what `match` was given.
    """
    labels = [(groups or {}).get(m.photo) or m.photo for m in matched]
    bootstrap = ClusterBootstrap.of(labels, draws=draws, seed=seed)
    found, right = [len(m.pairs) for m in matched], [m.right for m in matched]
    true = [len(m.pairs) + len(m.missed) for m in matched]
    said = [len(m.pairs) + len(m.extra) for m in matched]
    return (
        ratio("objects_found", "objects found", found, true, bootstrap),
        ratio("findings_real", "findings that are real", found, said, bootstrap),
        _f1(np.column_stack([right, said, true]), bootstrap),
        ratio("end_to_end", "objects found with the right class", right, true, bootstrap),
        ratio("end_to_end_precision", "findings with the right class", right, said, bootstrap),
    )


def _f1(columns: Array, bootstrap: ClusterBootstrap) -> Metric:
    """F1 of class and place; 0 when nothing was found and nothing was there. `n` is the number of true objects."""
    right, said, true = columns.sum(axis=0) if len(columns) else (0, 0, 0)
    interval = bootstrap.interval(columns, _f1_draws)
    return Metric(
        key="end_to_end_f1",
        label="class and place (F1)",
        value=float(2 * right / (said + true)) if said + true else 0.0,
        n=int(true),
        count=None,
        interval=interval,
        clustered=interval,
    )


def _f1_draws(sums: Array) -> Array:
    return divided(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


TypePairs = tuple[Instance, Instance]
ALL = "all types"


@dataclass(frozen=True)
class DetectedPhoto:
    """One photograph. `right` are pairs (found, true) of one type, `swapped` of two; each thing stands in one place."""

    right: tuple[TypePairs, ...]
    swapped: tuple[TypePairs, ...]
    missed: tuple[Instance, ...]
    false: tuple[Instance, ...]

    @property
    def faults(self) -> int:
        """Objects not found as what they are, and boxes of nothing; a swap is one of each."""
        return 2 * len(self.swapped) + len(self.missed) + len(self.false)


def seen(found: Sequence[Instance], true: Sequence[Instance], *, iou: float = IOU) -> DetectedPhoto:
    """Pair by type first, then what is left by place alone; the most confident choose first."""
    order = sorted(found, key=lambda t: -t.score)
    right = pair_up([(t.type_name, t.box) for t in order], [(t.type_name, t.box) for t in true], iou=iou)
    said = [t for i, t in enumerate(order) if i not in right]
    open_ = [t for j, t in enumerate(true) if j not in right.values()]
    swapped = pair_up([("", t.box) for t in said], [("", t.box) for t in open_], iou=iou)
    return DetectedPhoto(
        right=tuple((order[i], true[j]) for i, j in right.items()),
        swapped=tuple((said[i], open_[j]) for i, j in swapped.items()),
        missed=tuple(t for j, t in enumerate(open_) if j not in swapped.values()),
        false=tuple(t for i, t in enumerate(said) if i not in swapped),
    )


def confusion(photos: Sequence[DetectedPhoto], kinds: Sequence[str]) -> npt.NDArray[np.int64]:
    """(types + 1, types + 1) counts: rows are true, columns said; last row: nothing is there, last column: missed.

    >>> from toeline.core.box import Box
    >>> drain = Instance("1", "drain", Box(0, 0, 9, 9))
    >>> confusion([seen([], [drain])], ["drain"]).tolist()
    [[0, 1], [0, 0]]
    """
    place, none = {kind: k for k, kind in enumerate(kinds)}, len(kinds)
    counts = np.zeros((none + 1, none + 1), np.int64)
    for photo in photos:
        for said, true in (*photo.right, *photo.swapped):
            counts[place[true.type_name], place[said.type_name]] += 1
        for true in photo.missed:
            counts[place[true.type_name], none] += 1
        for said in photo.false:
            counts[none, place[said.type_name]] += 1
    return counts


def threshold_metrics(
    photos: Sequence[DetectedPhoto], kinds: Sequence[str], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> tuple[Metric, ...]:
    """Recall and precision of all types and of each; `groups` are what the bootstrap draws whole."""
    bootstrap = ClusterBootstrap.of(groups, draws=draws, seed=seed)
    figures = []
    for kind in (ALL, *kinds):
        rows = [_counts(photo, kind) for photo in photos]
        right, true, said = (np.array([row[i] for row in rows], np.int64) for i in range(3))
        name = kind.replace("_", " ")
        figures += [
            ratio(f"recall/{kind}", f"{name}, objects found", right, true, bootstrap),
            ratio(f"precision/{kind}", f"{name}, boxes that are one", right, said, bootstrap),
        ]
    return tuple(figures)


def _counts(photo: DetectedPhoto, kind: str) -> tuple[int, int, int]:
    """How many are right, there, and said, of one type or of all."""

    def of(instances: Sequence[Instance]) -> int:
        return sum(kind in (ALL, t.type_name) for t in instances)

    right = of([t for _, t in photo.right])
    true = right + of([t for _, t in photo.swapped]) + of(photo.missed)
    said = right + of([f for f, _ in photo.swapped]) + of(photo.false)
    return right, true, said


def worst(photos: Sequence[DetectedPhoto], most: int) -> list[int]:
    """Numbers of the photographs with most faults, those with none left out; equals in their order."""
    order = sorted(range(len(photos)), key=lambda i: -photos[i].faults)
    return [i for i in order if photos[i].faults][:most]
