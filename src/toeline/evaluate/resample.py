"""The bootstrap over photographs or flight lines, all draws at once: clusters weighted by how often they were drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from toeline.core.interval import Interval, wilson

DRAWS = 2000  # an interval's end is then itself sure to well under a percentage point
Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Resampling:
    """Whole clusters drawn with replacement, as many as there are (Efron 1979; Davison and Hinkley 1997, 3.8).

    `cluster_of` (n,) is the cluster of each row; `weights` (draws, clusters) how often each cluster is in each draw.
    All statistics of one Resampling see the same draws.
    """

    cluster_of: npt.NDArray[np.intp]
    weights: Array

    @classmethod
    def of(cls, labels: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> Resampling:
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
