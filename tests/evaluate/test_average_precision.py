"""Average precision and its bootstrap: known cases, and the same as pycocotools on the photographs that were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toeline.core.box import Box
from toeline.core.scene import Instance
from toeline.evaluate.average_precision import IOUS, _draws, _evaluated, _pairs, precisions

pytest.importorskip("pycocotools")
KINDS = ("toe_drain", "rock_toe")


def instance(kind: str, x: float, y: float, wide: float = 10, high: float = 10, score: float = 1.0) -> Instance:
    return Instance("1", kind, Box(x, y, x + wide, y + high), score)


TRUE = [[instance("toe_drain", 0, 0), instance("rock_toe", 20, 20)], [instance("toe_drain", 5, 5)]]
GROUPS = ["a", "b"]


def test_all_found_is_one_and_nothing_found_is_zero() -> None:
    whole = precisions(TRUE, TRUE, KINDS, GROUPS)
    assert (whole.map_50, whole.map_50_95) == pytest.approx((1.0, 1.0))
    assert precisions([[], []], TRUE, KINDS, GROUPS).map_50 == 0


def test_one_of_two_found_is_half() -> None:
    found = [[instance("rock_toe", 20, 20, score=0.8)], [instance("toe_drain", 5, 5, score=0.7)]]
    at_50 = precisions(found, TRUE, KINDS, GROUPS).at_50
    assert at_50.tolist() == pytest.approx([51 / 101, 1.0])  # COCO reads 101 recalls


def test_a_loose_box_counts_at_half_overlap_and_not_above() -> None:
    found = [[instance("toe_drain", 0, 0, wide=15)], []]  # IoU 2/3: counts at 0.5, 0.55, 0.6 and 0.65
    one = precisions(found, [TRUE[0][:1], []], KINDS, GROUPS)
    assert one.at_50[0] == pytest.approx(1.0)
    assert one.at_50_95[0] == pytest.approx(0.4)


def test_a_type_that_does_not_occur_is_left_out_of_the_mean_and_says_nothing() -> None:
    one = precisions([[instance("toe_drain", 0, 0)]], [[instance("toe_drain", 0, 0)]], KINDS, ["a"])
    assert one.map_50 == pytest.approx(1.0)
    assert math.isnan(one.at_50[1])
    rock = {f.key: f for f in one.figures()}["ap_50/rock_toe"]
    assert rock.n == 0


def test_intervals_hold_the_value_and_nothing_is_known_of_one_photograph() -> None:
    rng = np.random.default_rng(0)
    true = [[instance("toe_drain", 0, 0)] for _ in range(40)]
    found = [[instance("toe_drain", 0 if rng.random() < 0.6 else 30, 0, score=rng.random())] for _ in range(40)]
    figure = precisions(found, true, KINDS, [str(i) for i in range(40)]).figures()[0]
    assert figure.interval.low < figure.value < figure.interval.high
    assert 0.1 < figure.interval.high - figure.interval.low < 0.6
    assert precisions(found[:1], true[:1], KINDS, ["a"]).figures()[0].interval == (0.0, 1.0)


def test_a_detector_gains_nothing_over_itself() -> None:
    one = precisions(TRUE, TRUE, KINDS, GROUPS)
    gain, interval = one.gained_over(one)
    assert (gain, *interval) == (0.0, 0.0, 0.0)


def random_photo(rng: np.random.Generator, most: int) -> list[Instance]:
    return [
        instance(KINDS[rng.integers(2)], *rng.integers(0, 30, 2), *rng.integers(6, 16, 2), score=rng.random())
        for _ in range(rng.integers(0, most))
    ]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_a_draw_is_what_pycocotools_says_of_the_photographs_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, found = ([random_photo(rng, most) for _ in range(5)] for most in (5, 9))
    evaluator = _evaluated(found, true, KINDS)
    picks = rng.integers(0, 5, 5)
    weights = np.bincount(picks, minlength=5)[None].astype(float)
    drawn = _evaluated([found[i] for i in sorted(picks)], [true[i] for i in sorted(picks)], KINDS)
    for k in range(2):
        table = drawn.eval["precision"][:, :, k, 0, 0]
        ours = _draws(_pairs(evaluator, k, 5), weights)[:, 0]
        if (table < 0).all():
            assert np.isnan(ours).all()
        else:
            np.testing.assert_allclose(ours, table.mean(axis=1), atol=1e-9)
    assert len(IOUS) == 10
