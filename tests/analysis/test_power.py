"""Whether data can show a target: against scipy's intervals, and the counts that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from tests.support.surveys import make_row, make_table, rows

from toeline.analysis.power import Answer, Proof, design_effect, majority_baseline_is_right, prove
from toeline.analysis.table import SurveyRow
from toeline.core.statistics import least_n, least_right, wilson
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import most_common


@given(st.integers(1, 400), st.floats(0.05, 0.99))
def test_the_fewest_right_are_those_whose_interval_lies_above_the_target(n: int, target: float) -> None:
    needed = least_right(n, target)
    lows = [binomtest(k, n).proportion_ci(method="wilson").low for k in (n if needed is None else needed,)]
    assert (lows[0] > target) == (needed is not None)
    if needed:
        assert wilson(needed - 1, n).low <= target
    assert (needed is None) == (n < least_n(target))


def test_the_users_test_split_needs_122_of_128() -> None:
    assert least_right(128, 0.90) == 122


def answers(made: list[SurveyRow], target: float = 0.9) -> dict[tuple[str, str, str], Proof]:
    return {(p.split, p.scope, p.name): p for p in prove(make_table(made), target).proofs}


def test_photographs_and_objects_can_answer_differently() -> None:
    drain, stone = "slope drain: 0 0 9 9", "rock toe damaged: 0 0 9 9"
    many = [make_row(f"{i}.jpg", *[drain] * 4, split="test") for i in range(10)]
    found = answers([*many, make_row("a.jpg", stone, "vegetation: 0 0 9 9", split="test")])
    assert found["test", "class", "slope drain"].answer is Answer.ONLY_IF_INDEPENDENT
    assert found["test", "class", "slope drain"].right_needed == 40
    assert found["test", "class", "rock toe damaged"].answer is Answer.NO
    assert "34 more objects" in found["test", "class", "rock toe damaged"].words
    assert found["test", "class", "vegetation"].answer is Answer.NOTHING_TO_SHOW
    assert found["test", "class", "Toe drain"].words == "No objects."
    apart = [make_row(f"{i}.jpg", drain, split="test") for i in range(40)]
    assert answers(apart)["test", "class", "slope drain"].answer is Answer.YES


def test_a_floor_above_the_target_is_said() -> None:
    made = [make_row(f"{i}.jpg", "rock toe damaged: 0 0 9 9") for i in range(60)] + [
        make_row("x.jpg", "rock toe: 0 0 9 9")
    ]
    assert "the majority-class baseline alone gets 98.4 %" in answers(made)["train", "type", "rock_toe"].words


@settings(max_examples=40, deadline=None)
@given(rows(photos=5))
def test_the_floor_is_that_of_the_evaluation(made: list[SurveyRow]) -> None:
    table = make_table(made)
    ground_truths = [(t.type_name, t.class_name) for row in made for t in row.ground_truths.values()]
    if ground_truths:
        look_up = most_common(ground_truths, Taxonomy.load())
        share = sum(look_up[kind] == name for kind, name in ground_truths) / len(ground_truths)
        right = majority_baseline_is_right(table, np.ones(table.n_objects, dtype=bool))
        assert right.mean() == pytest.approx(share)


def test_the_design_effect_is_one_alone_and_grows_with_what_hangs_together() -> None:
    assert design_effect(np.array([1.0, 0, 1, 0]), np.array([0, 1, 2, 3])) == pytest.approx(4 / 3)  # n / (n - 1)
    assert design_effect(np.array([1.0, 0, 1, 0]), np.array([0, 0, 1, 1])) == 1  # never under 1
    four = np.repeat(np.arange(50), 4)
    together = np.repeat(np.arange(50) % 2, 4).astype(float)
    assert design_effect(together, four) == pytest.approx(4, rel=0.05)
    assert design_effect(np.ones(4), np.arange(4)) is None
    assert design_effect(np.ones(0), np.zeros(0, dtype=np.int64)) is None
