"""From scores to verdicts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toeline.core.calibration import Calibration
from toeline.core.taxonomy import Taxonomy
from toeline.errors import TaxonomyError
from toeline.judge.decide import decide, sure

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
    ("review_below", "reason"), [(0.39, ""), (0.41, "best is slope drain at 0.40, under the floor of 0.41")]
)
def test_an_unsure_answer_is_for_review(review_below: float, reason: str) -> None:
    assert decide(logs(0.4, 0.35, 0.25), TAXONOMY, review_below=review_below).review == reason


def test_an_answer_of_another_type_is_for_review() -> None:
    scores = {"rock toe": -0.1, "slope drain": -2.4}
    assert decide(scores, TAXONOMY, kind="slope_drain").review == "detected as slope drain, judged as rock toe"
    assert decide(scores, TAXONOMY, kind="rock_toe").review == ""
    both = decide(scores, TAXONOMY, kind="slope_drain", review_below=0.99).review
    assert both == "best is rock toe at 0.91, under the floor of 0.99; detected as slope drain, judged as rock toe"


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
    assert "under the floor of 0.50" in decide(scores, TAXONOMY, calibration=Calibration(20.0), review_below=0.5).review
