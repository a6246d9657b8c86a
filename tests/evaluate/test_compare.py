"""Two runs on the same objects: by hand, against scipy, and refused where they are not the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.support.cases import TAXONOMY, better, case, some_cases

from toeline.core.box import Box
from toeline.errors import OutputError
from toeline.evaluate.classification import score
from toeline.evaluate.compare import Run, compare, compare_all, difference_intervals, mcnemar, paired_interval
from toeline.evaluate.metric import ClusterBootstrap

CASES = some_cases(300, unreadable=0.03)


FIRST, SECOND = Run("a", tuple(CASES)), Run("b", tuple(better(CASES)))


def test_every_difference_is_that_of_the_two_scorecards() -> None:
    one, two = score(CASES, TAXONOMY), score(SECOND.cases, TAXONOMY)
    told = compare(FIRST, SECOND, TAXONOMY)
    assert [d.key for d in told.differences] == [f.key for f in one.figures]
    for d in told.differences:
        assert (d.first, d.second) == pytest.approx((one[d.key].value, two[d.key].value))
        assert d.difference == pytest.approx(two[d.key].value - one[d.key].value)
        assert d.interval.low <= d.difference <= d.interval.high


def test_gains_and_losses_worked_by_hand() -> None:
    rows = [
        ("rock toe", "rock toe damaged"),
        ("rock toe damaged", "rock toe"),
        ("rock toe", "rock toe"),
        ("", "rock toe"),
    ]
    one, two = (
        [case("rock toe", pair[side], instance_id=str(i), photo=f"{i}.jpg") for i, pair in enumerate(rows)]
        for side in (0, 1)
    )
    told = compare(Run("a", tuple(one)), Run("b", tuple(two)), TAXONOMY)
    headline = told["condition_given_type"]
    assert (headline.gained, headline.lost, headline.difference) == (2, 1, 0.25)
    assert [(f.instance_id, f.gained) for f in told.flips] == [("0", False), ("1", True), ("3", True)]
    alarms = told["false_alarms"]  # fewer of them is a gain
    assert (alarms.first, alarms.second, alarms.gained, alarms.lost) == (0.25, 0.25, 1, 1)
    fewer = compare(Run("a", tuple(one[1:2])), Run("b", tuple(two[1:2])), TAXONOMY)["false_alarms"]
    assert (fewer.difference, fewer.gained, fewer.lost) == (-1.0, 1, 0)
    assert (told.objects, told.photographs, told.otherwise) == (4, 4, 0)


def test_mcnemars_test_is_scipys_binomial() -> None:
    told = compare(FIRST, SECOND, TAXONOMY)
    for d in told.differences:
        if d.gained is not None and d.lost is not None and d.gained + d.lost:
            assert d.p_value == pytest.approx(binomtest(d.gained, d.gained + d.lost, 0.5).pvalue)
    assert told["condition_given_type"].p_value == mcnemar(
        *(sum(f.gained == g for f in told.flips) for g in (True, False))
    )
    assert told["macro_f1"].p_value is None


def test_a_run_beside_itself_gains_nothing_and_pretends_no_certainty() -> None:
    told = compare(FIRST, FIRST, TAXONOMY)
    assert (told.flips, told.otherwise) == ((), 0)
    headline = told["condition_given_type"]
    assert (headline.difference, headline.p_value, headline.clustered) == (0.0, 1.0, (0.0, 0.0))
    assert headline.interval.low < 0 < headline.interval.high


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_it_where_photographs_hang_together() -> None:
    """Two judges, of which the second is right 8 points more often; whole photographs are hard or easy."""
    rng, sets, covered = np.random.default_rng(0), 250, 0
    photos, every = [str(i // 5) for i in range(150)], np.ones(150, dtype=bool)
    for seed in range(sets):
        hard = np.repeat(rng.beta(4, 2, 30), 5)  # the first judge's chance; its mean is 2/3
        first, second = rng.random(150) < hard, rng.random(150) < hard + 0.24 * (1 - hard)
        quoted, _ = difference_intervals(first, second, every, ClusterBootstrap.of(photos, draws=400, seed=seed))
        covered += quoted.low <= 0.08 <= quoted.high
    assert covered / sets >= 0.93


def test_a_difference_may_be_unknown() -> None:
    told = compare(Run("a", tuple(CASES[:1])), Run("b", tuple(CASES[:1])), TAXONOMY)
    nothing = told[next(d.key for d in told.differences if d.n == 0)]
    assert math.isnan(nothing.difference)
    assert nothing.interval == (-1, 1)
    json.dumps(told.record(), allow_nan=False)
    assert paired_interval(0, 0, 0) == (-1, 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda run: replace(run, cases=run.cases[1:]), r"1 only in a \(0\.jpg 0\)"),
        (
            lambda run: replace(run, cases=(*run.cases, case("rock toe", "rock toe", instance_id="new"))),
            r"1 only in b \(a\.jpg new\)",
        ),
        (
            lambda run: replace(run, cases=tuple(replace(c, true_class="x") for c in run.cases)),
            r"300 with another true class \(0\.jpg 0, .*, \.\.\.\)",
        ),
        (
            lambda run: replace(run, cases=(replace(run.cases[0], box=Box(5, 0, 15, 10)), *run.cases[1:])),
            "1 with another box",
        ),
        (lambda run: replace(run, data="2"), "photographs differ"),
        (lambda run: replace(run, labels="2"), "labels or class names differ"),
    ],
)
def test_runs_on_other_objects_are_refused_with_what_differs(change: Callable[[Run], Run], what: str) -> None:
    first = replace(FIRST, data="1", labels="1")
    with pytest.raises(OutputError, match=f"a and b are not on the same objects: .*{what}"):
        compare(first, change(replace(SECOND, data="1", labels="1")), TAXONOMY)


def test_all_runs_stand_beside_the_first() -> None:
    told = compare_all([FIRST, SECOND, replace(FIRST, name="c")], TAXONOMY)
    assert [(c.first, c.second) for c in told] == [("a", "b"), ("a", "c")]
    with pytest.raises(OutputError, match="One run alone"):
        compare_all([FIRST], TAXONOMY)
