"""Counts, accuracy and what it can be trusted to: Wilson's interval and a bootstrap over photographs. numpy only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from toeline.core.interval import Interval, wilson
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.match import Matched

DRAWS = 2000  # of the bootstrap; its own error on an interval's end is then well under a percentage point


class Case(NamedTuple):
    """One object that was found and judged: what it is and what was said. Photographs are the clusters."""

    photo: str
    kind: str
    true_class: str
    said_class: str


class Figure(NamedTuple):
    """An accuracy with what it rests on. `floor` is what a look-up without a pixel gets on the same objects.

    `wilson` takes objects as independent; `clustered` does not, because objects of one photograph share light, season
    and often their condition. Quote `interval`.
    """

    name: str
    right: int
    n: int
    wilson: Interval
    clustered: Interval
    floor: float

    @property
    def value(self) -> float:
        """Accuracy, 0 to 1; NaN when there is nothing to count."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> Interval:
        """What to quote: from the lower of both low ends to the higher of both high ends.

        The bootstrap knows that photographs hang together; where all are right, or all wrong, it knows nothing, and
        says 100 to 100 %.
        """
        return Interval(min(self.wilson.low, self.clustered.low), max(self.wilson.high, self.clustered.high))

    def __str__(self) -> str:
        return f"{self.name}: {self.right} of {self.n} ({100 * self.value:.1f} %, 95 % {self.interval})"


class Both(NamedTuple):
    """Detector and judge together: a finding counts if its class is right and its box overlaps by half or more."""

    f1: float
    precision: float
    recall: float
    clustered: Interval


Counts = npt.NDArray[np.float64]


def bootstrap(
    per_cluster: Counts, statistic: Callable[[Counts], Counts], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile interval of a statistic of summed counts, resampling whole clusters with replacement (Efron 1979).

    `per_cluster` is (clusters, k); `statistic` maps (draws, k) sums to (draws,) values, NaN where it is undefined. With
    fewer than two clusters nothing can be said: 0 to 1.
    """
    clusters = len(per_cluster)
    if clusters < 2:
        return Interval(0.0, 1.0)
    picks = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)
    values = statistic(picks @ per_cluster)
    if np.isnan(values).all():
        return Interval(0.0, 1.0)
    low, high = np.nanquantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def _share(sums: Counts) -> Counts:
    with np.errstate(invalid="ignore"):  # a draw of photographs without objects has no share
        return np.asarray(sums[:, 0] / sums[:, 1], dtype=np.float64)


def ratio(
    name: str, rows: Iterable[tuple[int, int]], *, floor: float = math.nan, draws: int = DRAWS, seed: int = 0
) -> Figure:
    """A share of counts: one row (right, n) per photograph.

    >>> ratio("found", [(3, 4), (1, 4)]).value
    0.5
    """
    counts = np.array(list(rows), dtype=np.float64).reshape(-1, 2)
    right, n = (int(v) for v in counts.sum(axis=0))
    return Figure(name, right, n, wilson(right, n), bootstrap(counts, _share, draws=draws, seed=seed), floor)


def figure(name: str, cases: Sequence[Case], *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Accuracy over `cases`, with both intervals and the floor."""
    rows: dict[str, tuple[int, int]] = {}
    for case in cases:
        right, n = rows.get(case.photo, (0, 0))
        rows[case.photo] = (right + (case.said_class == case.true_class), n + 1)
    return ratio(name, rows.values(), floor=floor(cases), draws=draws, seed=seed)


def floor(cases: Iterable[Case]) -> float:
    """Accuracy of answering each type's most common class, counted on these same cases: the least worth beating.

    >>> floor([Case("a", "rock_toe", "rock toe", ""), Case("b", "rock_toe", "x", ""), Case("c", "rock_toe", "x", "")])
    0.66...
    """
    by_kind: dict[str, Counter[str]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, Counter())[case.true_class] += 1
    total = sum(c.total() for c in by_kind.values())
    return sum(max(c.values()) for c in by_kind.values()) / total if total else math.nan


def cases_of(matched: Iterable[Matched]) -> list[Case]:
    """Every found object as a case; the type is the true one."""
    return [
        Case(m.photo, true.truth.kind, true.truth.class_name, finding.verdict.class_name)
        for m in matched
        for finding, true in m.pairs
    ]


def undecided(cases: Iterable[Case], taxonomy: Taxonomy) -> list[Case]:
    """The cases whose type leaves a choice: vegetation, with its one legal class, is always right and is left out."""
    return [c for c in cases if len(taxonomy.answers(c.kind)) > 1]


def nine_class(cases: Sequence[Case], *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Every class of the taxonomy counts (nine in the default one): flatters, because some types leave no choice."""
    return figure("all classes", cases, draws=draws, seed=seed)


def condition_given_type(cases: Sequence[Case], taxonomy: Taxonomy, *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """The headline: was the condition right, over the types that have more than one."""
    return figure("condition given type", undecided(cases, taxonomy), draws=draws, seed=seed)


def by_class(cases: Sequence[Case], taxonomy: Taxonomy) -> dict[str, tuple[int, int]]:
    """For each class in the taxonomy's order: how many were said rightly, of how many there were."""
    return {
        name: (
            sum(c.said_class == name for c in cases if c.true_class == name),
            sum(c.true_class == name for c in cases),
        )
        for name in taxonomy.answers()
    }


def recall(matched: Iterable[Matched], *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Of the true objects, how many were found, at the overlap that `match` was given."""
    rows = [(len(m.pairs), len(m.pairs) + len(m.missed)) for m in matched]
    return ratio("objects found", rows, draws=draws, seed=seed)


def precision(matched: Iterable[Matched], *, draws: int = DRAWS, seed: int = 0) -> Figure:
    """Of the findings, how many are an object of that type, at the overlap that `match` was given."""
    rows = [(len(m.pairs), len(m.pairs) + len(m.extra)) for m in matched]
    return ratio("findings that are something", rows, draws=draws, seed=seed)


def both(matched: Iterable[Matched], *, draws: int = DRAWS, seed: int = 0) -> Both:
    """F1 of class and place together; 0 when nothing was found and nothing was there."""
    rows = [
        (m.right, len(m.pairs) + len(m.extra), len(m.pairs) + len(m.missed)) for m in matched
    ]  # right, findings, true objects
    counts = np.array(rows, dtype=np.float64).reshape(-1, 3)
    right, said, true = counts.sum(axis=0)
    return Both(
        f1=float(2 * right / (said + true)) if said + true else 0.0,
        precision=float(right / said) if said else 0.0,
        recall=float(right / true) if true else 0.0,
        clustered=bootstrap(counts, _f1, draws=draws, seed=seed),
    )


def _f1(sums: Counts) -> Counts:
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]), dtype=np.float64)
