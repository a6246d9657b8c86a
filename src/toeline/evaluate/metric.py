"""One measured value with what it rests on: n, intervals, majority-class baselines, and whether a target is shown.

The bootstrap over whole photographs or flight lines, and Wilson's interval for clustered objects, are here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from toeline.core.statistics import Interval, wilson

SHOWN, NOT_SHOWN, MISSED = "shown", "not shown", "missed"
NOT_PROVABLE = "not provable with this n"
FINE_TUNED_TARGETS: Mapping[str, float] = {
    "accuracy": 0.90,
    "condition/normal": 0.90,
    "condition_given_type/normal": 0.90,
    "condition/damaged": 0.85,
    "condition/blocked": 0.85,
    "type/slope_drain": 0.90,
    "type/toe_drain": 0.85,
    "type/rock_toe": 0.85,
    "spatial": 0.85,
}
"""The shares to be exceeded that the owner of the nine classes set for a trained judge, by the key of a figure."""
ZERO_SHOT_TARGETS: Mapping[str, float] = {"accuracy": 0.80, "spatial": 0.85}
"""The same for an untrained judge."""


@dataclass(frozen=True)
class Metric:
    """A share or a mean of shares, 0 to 1, over `n` objects; `value` is NaN when there is nothing to count.

    `key` names it for programs, as `accuracy` or `class/rock toe`; `label` for people. `count` is the numerator of a
    share, None for balanced accuracy and macro F1. `interval` is what to quote: `clustered` and `wilson` together.
    `clustered` resamples whole photographs (or flight lines); `wilson` is Wilson's, on the effective number of
    independent objects, and None where there is no numerator. `majority_baseline` is what the most common answer of
    each type gets on the same objects, `train_majority_baseline` what the most common answer of each type in the train
    split gets: majority-class baselines. `verdict` says whether `target` is shown.
    """

    key: str
    label: str
    value: float
    n: int
    count: int | None
    interval: Interval
    clustered: Interval
    wilson: Interval | None = None
    majority_baseline: float | None = None
    train_majority_baseline: float | None = None
    target: float | None = None
    verdict: str = ""
    lower_is_better: bool = False

    @property
    def caption(self) -> str:
        """The label as tables show it."""
        return caption(self.label, lower_is_better=self.lower_is_better)

    def __str__(self) -> str:
        if not self.n:
            return f"{self.label}: nothing to count"
        counted = f"{self.count} of {self.n}" if self.count is not None else f"n = {self.n}"
        return f"{self.label}: {100 * self.value:.1f} % ({counted}, 95 % {self.interval})"


def caption(label: str, *, lower_is_better: bool) -> str:
    """What a table calls a value: the label, and which way is better where that is not plain."""
    return f"{label} (lower is better)" if lower_is_better else label


def ratio(
    key: str,
    label: str,
    counts: npt.ArrayLike,
    totals: npt.ArrayLike,
    bootstrap: ClusterBootstrap,
    *,
    lower_is_better: bool = False,
) -> Metric:
    """A share of counts, one count and one total for each row of `bootstrap` (an object, or a photograph).

    >>> ratio("found", "found", [3, 1], [4, 4], ClusterBootstrap.of(["a.jpg", "b.jpg"])).value
    0.5
    """
    columns = np.column_stack([np.asarray(counts, dtype=np.int64), np.asarray(totals, dtype=np.int64)])
    count, n = (int(v) for v in columns.sum(axis=0))
    clustered = bootstrap.interval(columns, share_of, among=columns[:, 1] > 0)
    formula = clustered_wilson(bootstrap.tables(columns))
    return Metric(
        key=key,
        label=label,
        value=count / n if n else math.nan,
        n=n,
        count=count,
        interval=hull(clustered, formula),
        clustered=clustered,
        wilson=formula,
        lower_is_better=lower_is_better,
    )


def with_target(figure: Metric, target: float | None) -> Metric:
    """The figure with what its interval says of a target."""
    if target is None:
        return figure
    verdict = judge_target(figure.interval, figure.n, target, lower_is_better=figure.lower_is_better)
    return replace(figure, target=target, verdict=verdict)


def judge_target(value: Interval, n: int, target: float, *, lower_is_better: bool = False) -> str:
    """What an interval says of a target: shown, missed, not provable with this n, or not shown.

    Shown: the whole interval is beyond the target; missed: the whole interval falls short of it. Not provable: even if
    every one of the n objects were right, Wilson's interval would not lie beyond it.

    >>> judge_target(Interval(0.91, 0.97), 200, 0.90), judge_target(Interval(0.85, 0.95), 200, 0.90)
    ('shown', 'not shown')
    >>> judge_target(Interval(0.70, 0.89), 200, 0.90), judge_target(Interval(0.88, 1.0), 30, 0.90)
    ('missed', 'not provable with this n')
    """
    if lower_is_better:
        return judge_target(Interval(1 - value.high, 1 - value.low), n, 1 - target)
    if n and value.low > target:
        return SHOWN
    if n and value.high < target:
        return MISSED
    return NOT_PROVABLE if wilson(n, n).low <= target else NOT_SHOWN


def n_to_show(figure: Metric, target: float) -> int | None:
    """About how many objects would show `target` if further ones are right, and hang together, as those so far.

    Where the interval that is quoted would begin above the target: its width falls with the root of n, Wilson's and the
    bootstrap's. None where the share is not above the target, or too few photographs say how objects hang together.

    >>> bootstrap = ClusterBootstrap.of([str(i) for i in range(100)])
    >>> figure = ratio("accuracy", "", [1] * 90 + [0] * 10, [1] * 100, bootstrap)
    >>> 195 <= n_to_show(figure, 0.85) <= 220, n_to_show(figure, 0.9)
    (True, None)
    """
    formula, p = figure.wilson, figure.value
    if not figure.n or formula is None or not p > target or figure.clustered == Interval(0.0, 1.0):
        return None
    held, wanted = (end * (1 - end) / (p - end) ** 2 for end in (formula.low, target))  # n / z², by Wilson's formula
    drawn = ((p - figure.clustered.low) / (p - target)) ** 2
    return math.floor(figure.n * max(wanted / held, drawn)) + 1


def hull(*intervals: Interval | None) -> Interval:
    """From the lowest low end to the highest high end: what to quote where two methods disagree.

    The bootstrap makes no assumption; near 0 and 1 it is too narrow, and where all are right it says 100 to 100 %.
    Wilson's knows better there. Simulated, both together cover 94 to 97 % (docs/scorecard.md).
    """
    known = [i for i in intervals if i is not None]
    return Interval(min(i.low for i in known), max(i.high for i in known))


def metric_record(figure: Metric) -> dict[str, Any]:
    """A figure as JSON; what is not known is null."""
    return {
        "key": figure.key,
        "label": figure.label,
        "value": _or_null(figure.value),
        "n": figure.n,
        "count": figure.count,
        "interval": list(figure.interval),
        "clustered": list(figure.clustered),
        "wilson": list(figure.wilson) if figure.wilson else None,
        "floor": figure.majority_baseline,
        "train_floor": figure.train_majority_baseline,
        "target": figure.target,
        "verdict": figure.verdict,
        "lower_is_better": figure.lower_is_better,
    }


def metric_from(record: Mapping[str, Any]) -> Metric:
    """The figure of a record. Raises KeyError, TypeError and ValueError."""
    ends = {name: Interval(*record[name]) if record[name] else None for name in ("interval", "clustered", "wilson")}
    value = math.nan if record["value"] is None else float(record["value"])
    names = {"floor": "majority_baseline", "train_floor": "train_majority_baseline"}  # as files call them
    known = {names.get(key, key): at for key, at in record.items()}
    return Metric(**{**known, **ends, "value": value})


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


DRAWS = 2000  # an interval's end is then itself sure to well under a percentage point
Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClusterBootstrap:
    """Whole clusters drawn with replacement, as many as there are (Efron 1979; Davison and Hinkley 1997, 3.8).

    `cluster_of` (n,) is the cluster of each row; `weights` (draws, clusters) how often each cluster is in each draw.
    All statistics of one ClusterBootstrap see the same draws.
    """

    cluster_of: npt.NDArray[np.intp]
    weights: Array

    @classmethod
    def of(cls, labels: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> ClusterBootstrap:
        """From the cluster label of each row. The order of the rows does not change the draws."""
        names, cluster_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
        count = len(names)
        shares = np.full(count, 1 / count) if count else np.ones(1)  # of no clusters none is drawn
        picks = np.random.default_rng(seed).multinomial(count, shares, size=draws)[:, :count]
        return cls(cluster_of.astype(np.intp), picks.astype(np.float64))

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return int(self.weights.shape[1])

    def tables(self, columns: npt.ArrayLike) -> Array:
        """(clusters, k) sums of the rows' columns (n, k) in each cluster."""
        values = np.asarray(columns, dtype=np.float64)
        tables = np.zeros((self.clusters, values.shape[1]))
        np.add.at(tables, self.cluster_of, values)
        return tables

    def sums(self, columns: npt.ArrayLike) -> Array:
        """(draws, k) sums of the rows' columns (n, k) in each draw."""
        return np.asarray(self.weights @ self.tables(columns), dtype=np.float64)

    def interval(
        self,
        columns: npt.ArrayLike,
        statistic: Callable[[Array], Array],
        *,
        among: Flags | None = None,
        limits: Interval = Interval(0.0, 1.0),  # noqa: B008  (a NamedTuple does not change)
    ) -> Interval:
        """95 % interval of a statistic of summed columns; `statistic` maps (draws, k) to (draws,), NaN if undefined.

        Only clusters with a row in `among` (n,) count for the width. With fewer than two nothing can be said: `limits`.
        """
        held = self.cluster_of if among is None else self.cluster_of[among]
        clusters = len(np.unique(held))
        if clusters < 2:
            return limits
        values = statistic(self.sums(columns))
        if np.isnan(values).all():
            return limits
        tail = tail_share(clusters)
        low, high = np.nanquantile(values, [tail, 1 - tail])
        return Interval(float(low), float(high))


@cache
def tail_share(clusters: int) -> float:
    """How much of the draws lies beyond each end of a 95 % interval: less than 2.5 % where clusters are few.

    The expanded percentile interval (Hesterberg 2015, The American Statistician 69:371, 5.3): as wide as Student's t
    and the unbiased variance would make it. The plain percentile interval is too narrow by about (1 - 1/clusters).

    >>> round(tail_share(30), 4), round(tail_share(1000), 4)
    (0.0188, 0.0248)
    """
    from scipy.stats import norm, t

    return float(norm.cdf(math.sqrt(clusters / (clusters - 1)) * t.ppf(0.025, clusters - 1)))


def clustered_wilson(tables: Array) -> Interval:
    """Wilson's interval of a share, on the effective number of independent objects; `tables` is (clusters, 2).

    Where objects of one photograph are right or wrong together, n of them say no more than n / design effect, by the
    linearized variance of a ratio of cluster sums; never more than n. Student's t for few clusters. (Korn and Graubard
    1998, Survey Methodology 24:193; Dean and Pagano 2015, J. Survey Statistics and Methodology 3:484.)
    """
    from scipy.stats import t

    held = tables[tables[:, 1] > 0]
    count, n = (float(v) for v in held.sum(axis=0))
    clusters = len(held)
    if clusters < 2 or count in (0, n):
        return wilson(count, n)
    share = count / n
    variance = clusters / (clusters - 1) * float(((held[:, 0] - share * held[:, 1]) ** 2).sum()) / n**2
    effective = min(n, share * (1 - share) / variance) if variance else n
    return wilson(share * effective, effective, z=float(t.ppf(0.975, clusters - 1)))


def share_of(sums: Array) -> Array:
    """(draws,) first column as a share of the second; NaN in a draw that has none."""
    return divided(sums[:, 0], sums[:, 1])


def divided(above: Array, below: Array) -> Array:
    """Element by element, NaN where `below` is 0."""
    out = np.full(np.shape(above), math.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
