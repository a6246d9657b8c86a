"""From scores to verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toeline.core.box import Box
from toeline.core.calibration import Calibration, ReviewStep
from toeline.core.scene import Alternative, Detection, Instance
from toeline.core.taxonomy import Taxonomy
from toeline.errors import TaxonomyError
from toeline.judge.decide import Floor, decide, doubtful, sure

TAXONOMY = Taxonomy.load()
SLOPE = TAXONOMY.answers("slope_drain")


def logs(*shares: float) -> dict[str, float]:
    return {name: math.log(share) for name, share in zip(SLOPE, shares, strict=False)}


def test_the_most_probable_answer_is_the_verdict() -> None:
    verdict = decide(logs(0.1, 0.7, 0.2), TAXONOMY, review_below=0.5)
    assert (verdict.class_name, verdict.condition, verdict.asked, verdict.review) == (SLOPE[1], "blocked", True, "")
    assert verdict.probability == pytest.approx(0.7)
    assert verdict.second == (SLOPE[2], pytest.approx(0.2))


@pytest.mark.parametrize(
    ("review_below", "reason"), [(0.39, ""), (0.41, "best is slope drain at 0.40, under the review threshold of 0.41")]
)
def test_an_unsure_answer_is_for_review(review_below: float, reason: str) -> None:
    assert decide(logs(0.4, 0.35, 0.25), TAXONOMY, review_below=review_below).review == reason


def test_an_answer_of_another_type_is_for_review() -> None:
    scores = {"rock toe": -0.1, "slope drain": -2.4}
    assert decide(scores, TAXONOMY, kind="slope_drain").review == "detected as slope drain, judged as rock toe"
    assert decide(scores, TAXONOMY, kind="rock_toe").review == ""
    both = decide(scores, TAXONOMY, kind="slope_drain", review_below=0.99).review
    unsure, disputed = both.split("; ")
    assert unsure == "best is rock toe at 0.91, under the review threshold of 0.99"
    assert disputed == "detected as slope drain, judged as rock toe"


def test_equal_scores_decide_for_the_first() -> None:
    assert decide(dict.fromkeys(SLOPE, -1.0), TAXONOMY).class_name == SLOPE[0]
    assert decide(dict.fromkeys(reversed(SLOPE), -1.0), TAXONOMY).class_name == SLOPE[-1]


@given(st.lists(st.floats(-800, 50), min_size=3, max_size=3))
def test_probabilities_sum_to_one(scores: list[float]) -> None:
    verdict = decide(dict(zip(SLOPE, scores, strict=True)), TAXONOMY)
    assert sum(verdict.probabilities.values()) == pytest.approx(1)
    assert verdict.probability == max(verdict.probabilities.values())


def test_an_impossible_answer_has_no_share() -> None:
    assert decide({SLOPE[0]: -0.5, SLOPE[1]: -math.inf}, TAXONOMY).probabilities[SLOPE[1]] == 0


@pytest.mark.parametrize("bad", [{}, {"slope drain": math.nan}, {"slope drain": math.inf}, {"slope drain": -math.inf}])
def test_what_are_no_scores_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"log-probabilities|impossible"):
        decide(bad, TAXONOMY)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="unknown class 'gabion'"):
        decide({"gabion": 0.0}, TAXONOMY)


def test_a_type_with_one_answer_is_not_asked() -> None:
    verdict = sure("vegetation", TAXONOMY)
    assert (verdict.condition, verdict.probability, verdict.asked, verdict.second) == ("normal", 1.0, False, None)


def test_a_calibration_changes_how_sure_and_never_what() -> None:
    scores = logs(0.1, 0.7, 0.2)
    plain = decide(scores, TAXONOMY, kind="slope_drain")
    for temperature in (0.001, 0.05, 2.0, 20.0):
        made = Calibration(1.0, {"slope_drain": temperature})
        warm = decide(scores, TAXONOMY, kind="slope_drain", calibration=made)
        assert warm.class_name == plain.class_name
        assert warm.probability == made.temper(plain.probabilities, "slope_drain")[plain.class_name]
        assert (warm.probability > plain.probability) == (temperature < 1)
        assert math.isclose(sum(warm.probabilities.values()), 1)
    unsure = decide(scores, TAXONOMY, calibration=Calibration(20.0), review_below=0.5)
    assert "under the review threshold of 0.50" in unsure.review


ROCK = TAXONOMY.answers("rock_toe")
STEPS = (ReviewStep(0.0, 0.3, 0.0, 0.25), ReviewStep(0.6, 0.1, 0.4, 0.05))
KNOWN = Calibration(review_below=0.6, risk=0.1, steps=STEPS)
UNDER, ALL = "under the review threshold of 0.60 for at most 10 % wrong", "and no answer is sure enough"


@pytest.mark.parametrize(
    ("shares", "more", "reason"),
    [
        ((0.59, 0.41), {}, "best is rock toe at 0.59, with rock toe damaged close behind at 0.41"),
        ((0.61, 0.39), {}, ""),
        ((0.59, 0.41), {"review_below": 0.5}, ""),
        ((0.59, 0.41), {"calibration": KNOWN}, f"best is rock toe at 0.59, {UNDER}"),
        ((0.59, 0.41), {"calibration": KNOWN, "risk": 0.35}, ""),
        ((0.99, 0.01), {"calibration": KNOWN, "risk": 0.01}, f"best is rock toe at 0.99, {ALL} for at most 1 % wrong"),
        ((0.99, 0.01), {"review_below": 1.0}, f"best is rock toe at 0.99, {ALL}"),
        ((0.55, 0.45), {"calibration": Calibration(review_below=0.5)}, ""),
    ],
)  # fmt: skip
def test_a_type_of_two_answers_is_for_review_too(shares: tuple[float, ...], more: dict[str, Any], reason: str) -> None:
    scores = {name: math.log(share) for name, share in zip(ROCK, shares, strict=True)}
    assert decide(scores, TAXONOMY, kind="rock_toe", **more).review == reason


def test_of_three_answers_the_lead_counts_as_well() -> None:
    assert decide(logs(0.51, 0.32, 0.17), TAXONOMY).review == (
        "best is slope drain at 0.51, with slope drain blocked close behind at 0.32"
    )
    assert decide(logs(0.51, 0.30, 0.19), TAXONOMY).review == ""


def test_a_risk_without_thresholds_is_refused() -> None:
    for made in (None, Calibration(review_below=0.6)):
        with pytest.raises(ValueError, match="needs a calibration"):
            Floor.chosen(calibration=made, risk=0.1)


def seen(score: float, *others: Alternative) -> Detection:
    return Detection(Instance("1", "rock_toe", Box(0, 0, 9, 9), score), others=others)


@pytest.mark.parametrize(
    ("detection", "limits", "reason"),
    [
        (seen(0.51), {"rock_toe": 0.4}, "weakly detected: at 0.51, little over the threshold of 0.40"),
        (seen(0.53), {"rock_toe": 0.4}, ""),
        (seen(0.51), {}, ""),
        (seen(1.0), {"rock_toe": 1.0}, ""),
        (seen(0.6, Alternative("toe_drain", 0.5)), {}, "detected as rock toe at 0.60, and as toe drain at 0.50"),
        (seen(0.6, Alternative("toe_drain", 0.4)), {}, ""),
        (seen(0.6, Alternative("rock_toe", 0.6, "rock toe damaged")), {}, ""),
    ],
)
def test_a_weak_detection_and_a_near_tie_of_types_are_for_review(
    detection: Detection, limits: dict[str, float], reason: str
) -> None:
    fine = decide({"rock toe": -0.1, "rock toe damaged": -2.35}, TAXONOMY, kind="rock_toe")
    assert doubtful(fine, detection, limits, TAXONOMY).review == reason
    doubted = doubtful(replace(fine, review="unsure"), detection, limits, TAXONOMY).review
    assert doubted == "; ".join(filter(None, ["unsure", reason]))
    assert doubtful(sure("vegetation", TAXONOMY), detection, limits, TAXONOMY).review == reason
