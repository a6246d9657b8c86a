"""Figures against numbers worked by hand, by scikit-learn and by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.evaluate.test_match import LEFT, RIGHT, said, true

from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.match import match
from toeline.evaluate.tally import (
    Case,
    Interval,
    bootstrap,
    both,
    by_class,
    cases_of,
    condition_given_type,
    figure,
    floor,
    nine_class,
    precision,
    ratio,
    recall,
    undecided,
    wilson,
)

TAXONOMY = Taxonomy.load()


def some_cases(count: int = 60, seed: int = 3) -> list[Case]:
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        found = TAXONOMY.classes[rng.integers(len(TAXONOMY.classes))]
        wrong = TAXONOMY.answers(found.type)[0]
        cases.append(Case(f"{i // 5}.jpg", found.type, found.name, found.name if rng.random() < 0.8 else wrong))
    return cases


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (115, 128), (1, 3), (90, 200)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    want = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((want.low, want.high))


def test_accuracy_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    cases = some_cases()
    want = metrics.accuracy_score([c.true_class for c in cases], [c.said_class for c in cases])
    assert nine_class(cases).value == pytest.approx(want)
    left = [c for c in cases if c.kind != "vegetation"]
    want = metrics.accuracy_score([c.true_class for c in left], [c.said_class for c in left])
    assert condition_given_type(cases, TAXONOMY).value == pytest.approx(want)


def test_the_floor_is_scikit_learns_dummy_for_each_type() -> None:
    dummy = pytest.importorskip("sklearn.dummy")
    cases = some_cases()
    right = 0
    for kind in {c.kind for c in cases}:
        true_names = [c.true_class for c in cases if c.kind == kind]
        model = dummy.DummyClassifier(strategy="most_frequent").fit([[0]] * len(true_names), true_names)
        right += sum(model.predict([[0]] * len(true_names)) == true_names)
    assert floor(cases) == pytest.approx(right / len(cases))


def test_a_figure_worked_by_hand() -> None:
    cases = [
        Case("a", "rock_toe", "rock toe", "rock toe"),
        Case("a", "rock_toe", "rock toe damaged", "rock toe"),
        Case("b", "rock_toe", "rock toe damaged", "rock toe damaged"),
        Case("b", "vegetation", "vegetation", "vegetation"),
    ]
    every, given = nine_class(cases), condition_given_type(cases, TAXONOMY)
    assert (every.right, every.n, every.floor) == (3, 4, 0.75)
    assert (given.right, given.n, given.floor) == (2, 3, pytest.approx(2 / 3))
    assert [c.kind for c in undecided(cases, TAXONOMY)] == ["rock_toe"] * 3
    assert by_class(cases, TAXONOMY)["rock toe damaged"] == (1, 2)
    assert str(every).startswith("all classes: 3 of 4 (75.0 %")


def test_the_cluster_bootstrap_sees_that_photographs_are_right_or_wrong_as_a_whole() -> None:
    whole = [Case(str(i), "rock_toe", "x", "x" if i % 2 else "y") for i in range(20) for _ in range(10)]
    alone = [c._replace(photo=f"{n}") for n, c in enumerate(whole)]
    clustered, independent = figure("", whole).clustered, figure("", alone).clustered
    assert clustered.high - clustered.low > 2.5 * (independent.high - independent.low)
    spread = math.sqrt(0.25 / 20)  # of a mean of 20 clusters that are 0 or 1
    assert clustered.low == pytest.approx(0.5 - 1.96 * spread, abs=0.06)


def test_independent_clusters_agree_with_wilson() -> None:
    made = figure("", [Case(str(i), "k", "x", "x" if i < 160 else "y") for i in range(200)])
    assert made.clustered == pytest.approx(made.wilson, abs=0.015)


def test_the_bootstrap_is_repeatable_and_says_nothing_from_one_photograph() -> None:
    rows = np.array([[1.0, 2], [3, 4], [0, 2]])

    def share(sums: np.ndarray) -> np.ndarray:
        return np.asarray(sums[:, 0] / sums[:, 1])

    assert bootstrap(rows, share) == bootstrap(rows, share)
    assert bootstrap(rows[:1], share) == Interval(0.0, 1.0)


def test_no_objects_are_no_accuracy_and_no_crash() -> None:
    empty = nine_class([])
    assert math.isnan(empty.value)
    assert (empty.n, empty.wilson, empty.clustered) == (0, Interval(0, 1), Interval(0, 1))
    assert ratio("", [(0, 0), (0, 0)]).clustered == Interval(0.0, 1.0)


def test_detector_and_both_together_worked_by_hand() -> None:
    matched = [
        match("a.jpg", [said(1, "rock toe", LEFT)], [true(1, "rock toe", LEFT), true(2, "vegetation", RIGHT)]),
        match("b.jpg", [said(1, "slope drain", LEFT)], [true(1, "slope drain blocked", LEFT)]),
        match("c.jpg", [said(1, "vegetation", LEFT)], []),
    ]
    assert (recall(matched).right, recall(matched).n) == (2, 3)
    assert (precision(matched).right, precision(matched).n) == (2, 3)
    together = both(matched)
    assert (together.f1, together.precision, together.recall) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert [c.said_class for c in cases_of(matched)] == ["rock toe", "slope drain"]
    assert both([]).f1 == 0.0


def test_all_right_is_not_certain() -> None:
    perfect = ratio("", [(4, 4)] * 12)
    assert perfect.clustered == Interval(1.0, 1.0)
    assert perfect.interval == Interval(perfect.wilson.low, 1.0)
    assert 0.9 < perfect.interval.low < 0.95
