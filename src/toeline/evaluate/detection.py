"""Detected boxes against true ones: what was found, what went wrong in which way, and so which stage is to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toeline.core.finding import Finding
from toeline.evaluate.figure import Figure, ratio
from toeline.evaluate.match import IOU, Matched, TrueThing, pair_up
from toeline.evaluate.resample import DRAWS, Array, Resampling, divided

LOOSE = 0.1  # least overlap of a finding that is on an object but badly placed, as in TIDE (Bolya et al. 2020)

Pair = tuple[Finding, TrueThing]


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
    missed: tuple[TrueThing, ...]
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
    wrong = [p for p in placed if p[0].verdict.class_name != p[1].truth.class_name]
    taken = [t for _, t in placed]
    doubles = tuple(f for f in found if any(t.truth.kind == f.kind and t.thing.box.iou(f.box) >= IOU for t in taken))
    return Sorted(
        photo=matched.photo,
        right=tuple(p for p in placed if p not in wrong),
        wrong_condition=tuple(p for p in wrong if p[0].kind == p[1].truth.kind),
        wrong_type=tuple(p for p in wrong if p[0].kind != p[1].truth.kind),
        misplaced=loose,
        missed=true,
        double=doubles,
        false=tuple(f for f in found if f not in doubles),
    )


def _pairs(
    found: Sequence[Finding], true: Sequence[TrueThing], *, iou: float, by_kind: bool = False
) -> tuple[tuple[Pair, ...], tuple[Finding, ...], tuple[TrueThing, ...]]:
    """Pairs by overlap, within one type or across all, then the findings and the objects that are left."""
    pairs = pair_up(
        [(f.kind if by_kind else "", f.box) for f in found],
        [(t.truth.kind if by_kind else "", t.thing.box) for t in true],
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


def detection_figures(
    matched: Sequence[Matched], *, groups: Mapping[str, str] | None = None, draws: int = DRAWS, seed: int = 0
) -> tuple[Figure, ...]:
    """Detector alone (`objects_found`, `findings_real`: type and place), then both stages together (class and place).

    One row for each photograph; `groups` maps photographs to flight lines, to resample those instead. A finding counts
    if its overlap is what `match` was given.
    """
    labels = [(groups or {}).get(m.photo) or m.photo for m in matched]
    resampling = Resampling.of(labels, draws=draws, seed=seed)
    found, right = [len(m.pairs) for m in matched], [m.right for m in matched]
    true = [len(m.pairs) + len(m.missed) for m in matched]
    said = [len(m.pairs) + len(m.extra) for m in matched]
    return (
        ratio("objects_found", "objects found", found, true, resampling),
        ratio("findings_real", "findings that are real", found, said, resampling),
        _f1(np.column_stack([right, said, true]), resampling),
        ratio("end_to_end", "objects found with the right class", right, true, resampling),
        ratio("end_to_end_precision", "findings with the right class", right, said, resampling),
    )


def _f1(columns: Array, resampling: Resampling) -> Figure:
    """F1 of class and place; 0 when nothing was found and nothing was there. `n` is the number of true objects."""
    right, said, true = columns.sum(axis=0) if len(columns) else (0, 0, 0)
    interval = resampling.interval(columns, _f1_draws)
    return Figure(
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
