"""Intervals hold what they say: simulated, beside Wilson's, and where there is too little to say anything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toeline.core.statistics import Interval, wilson
from toeline.evaluate.metric import ClusterBootstrap, divided, ratio, share_of, tail_share


def clusters_of(
    rng: np.random.Generator, *, clusters: int, mean: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Right and total per photograph: 1 to 8 objects each, whose chance to be right differs from photo to photo."""
    totals = rng.integers(1, 9, clusters)
    chances = rng.beta(mean / spread, (1 - mean) / spread, clusters)
    return rng.binomial(totals, chances), totals


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "mean", "spread"), [(25, 0.8, 0.3), (40, 0.9, 0.3), (34, 0.95, 0.2)])
def test_the_quoted_interval_covers_the_truth_where_photographs_hang_together(
    clusters: int, mean: float, spread: float
) -> None:
    rng, sets, covered = np.random.default_rng(5), 250, 0
    names = [str(i) for i in range(clusters)]
    for seed in range(sets):
        right, totals = clusters_of(rng, clusters=clusters, mean=mean, spread=spread)
        quoted = ratio("", "", right, totals, ClusterBootstrap.of(names, draws=400, seed=seed)).interval
        covered += quoted.low <= mean <= quoted.high
    assert covered / sets >= 0.93


def test_taking_objects_as_independent_would_not_cover_there() -> None:
    rng, sets, covered = np.random.default_rng(5), 300, 0
    for _ in range(sets):
        right, totals = clusters_of(rng, clusters=40, mean=0.6, spread=0.5)
        plain = wilson(right.sum(), totals.sum())
        covered += plain.low <= 0.6 <= plain.high
    assert covered / sets < 0.88


def test_photographs_that_are_right_or_wrong_as_a_whole_make_it_wider() -> None:
    right = np.repeat(np.arange(20) % 2, 10)
    photos = np.repeat(np.arange(20), 10).astype(str)
    together = ratio("", "", right, np.ones(200), ClusterBootstrap.of(list(photos))).clustered
    alone = ratio("", "", right, np.ones(200), ClusterBootstrap.of([str(i) for i in range(200)])).clustered
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert together.low == pytest.approx(0.5 - 2.09 * math.sqrt(0.25 / 19), abs=0.06)  # 2.09: Student's t, 19 degrees


def test_independent_objects_agree_with_wilson() -> None:
    made = ratio("", "", np.arange(200) < 160, np.ones(200), ClusterBootstrap.of([str(i) for i in range(200)]))
    assert made.clustered == pytest.approx(made.wilson, abs=0.015)
    assert made.wilson == pytest.approx(wilson(160, 200), abs=0.002)  # Student's t with 199 degrees, not the normal


def test_all_right_is_not_certain() -> None:
    perfect = ratio("", "", [4] * 12, [4] * 12, ClusterBootstrap.of([str(i) for i in range(12)]))
    assert perfect.wilson is not None
    assert perfect.clustered == Interval(1.0, 1.0)
    assert perfect.interval == Interval(perfect.wilson.low, 1.0)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a"]])
def test_fewer_than_two_clusters_say_nothing(labels: list[str]) -> None:
    made = ratio("", "", np.ones(len(labels)), np.ones(len(labels)), ClusterBootstrap.of(labels))
    assert made.clustered == Interval(0.0, 1.0)


def test_only_clusters_that_hold_an_object_count() -> None:
    """One photograph shows rock toes, ninety-nine do not: one photograph says nothing, two say little."""
    photos = ClusterBootstrap.of([str(i) for i in range(100)])
    assert ratio("", "", [2] + [0] * 99, [3] + [0] * 99, photos).clustered == Interval(0.0, 1.0)
    two = ratio("", "", [2, 3] + [0] * 98, [3, 3] + [0] * 98, photos).clustered
    assert two == pytest.approx((2 / 3, 1.0))  # every draw holds one of them or both


def test_the_draws_are_repeatable_and_do_not_depend_on_the_order_of_rows() -> None:
    one, same = ClusterBootstrap.of(["b", "a", "b"], seed=4), ClusterBootstrap.of(["a", "b", "b"], seed=4)
    assert (one.weights == same.weights).all()
    assert (one.sums([[1], [2], [3]]) == same.sums([[2], [1], [3]])).all()
    assert one.sums([[1, 0], [1, 0], [1, 0]]).shape == (2000, 2)


def test_a_share_of_nothing_is_unknown() -> None:
    assert np.isnan(share_of(np.array([[0.0, 0.0]]))[0])
    assert divided(np.array([1.0]), np.array([2.0])) == [0.5]
    assert 0.015 < tail_share(20) < tail_share(200) < 0.025
