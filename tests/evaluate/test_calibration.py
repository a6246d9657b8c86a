"""Calibration against scikit-learn, and on judges whose temperature is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from tests.support.cases import TAXONOMY, case, some_cases

from toeline.core.calibration import Calibration, calibration_from
from toeline.errors import OutputError
from toeline.evaluate.calibration import (
    answered,
    calibrated,
    fit,
    mean_loss,
    reliability,
    review_at,
    review_curve,
    review_steps,
    temperature_of,
)
from toeline.evaluate.matching import Case

CASES = some_cases(300, unreadable=0.05)


def honest(
    count: int, *, temperature: float = 1.0, kinds: tuple[str, ...] = ("rock toe", "slope drain"), seed: int = 0
) -> list[Case]:
    """Objects whose truth is drawn from probabilities; what is said of them is those, sharpened by `temperature`."""
    rng, made = np.random.default_rng(seed), []
    for i in range(count):
        names = TAXONOMY.answers(TAXONOMY.class_of(kinds[i % len(kinds)]).type)
        chances = rng.dirichlet(np.ones(len(names)))
        true = names[rng.choice(len(names), p=chances)]
        said = chances**temperature / (chances**temperature).sum()
        best = int(said.argmax())
        one = case(true, names[best], photo=f"{i // 4}.jpg", instance_id=str(i), group=str(i // 40))
        made.append(
            replace(one, probability=float(said[best]), probabilities=dict(zip(names, map(float, said), strict=True)))
        )
    return made


def test_brier_and_log_loss_are_scikit_learns() -> None:
    held = answered(CASES)
    names = sorted(TAXONOMY.answers())
    chances = np.array([[c.probabilities.get(name, 0.0) for name in names] for c in held])
    true = [c.true_class for c in held]
    measured = reliability(CASES)
    assert measured.n == len(held) < len(CASES)
    assert measured.brier == pytest.approx(metrics.brier_score_loss(true, chances, labels=names))
    assert measured.log_loss == pytest.approx(metrics.log_loss(true, chances, labels=names))


def test_the_reliability_table_is_scikit_learns() -> None:
    held = answered(CASES)
    right, sure = calibration_curve(
        [c.right for c in held], [c.probability for c in held], n_bins=10, strategy="quantile"
    )
    measured = reliability(CASES)
    assert [b.accuracy for b in measured.bins] == pytest.approx(list(right))
    assert [b.confidence for b in measured.bins] == pytest.approx(list(sure))
    assert sum(b.n for b in measured.bins) == len(held)
    assert measured.ece == pytest.approx(sum(b.n * abs(b.accuracy - b.confidence) for b in measured.bins) / len(held))


def test_equal_probabilities_stay_in_one_bin() -> None:
    measured = reliability(
        [
            case("rock toe", "rock toe" if i % 2 else "rock toe damaged", instance_id=str(i), probability=0.5)
            for i in range(20)
        ]
    )
    assert [tuple(b) for b in measured.bins] == [(0.5, 0.5, 20)]
    assert measured.ece == 0.0


def test_an_honest_judge_has_the_error_that_chance_gives_and_a_boasting_one_more() -> None:
    modest, boasting = reliability(honest(600)), reliability(honest(600, temperature=4))
    assert modest.ece == pytest.approx(modest.ece_by_chance, abs=0.03)
    assert boasting.ece > boasting.ece_by_chance + 0.1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_hidden_is_found(temperature: float) -> None:
    assert temperature_of(honest(1500, temperature=temperature)) == pytest.approx(temperature, rel=0.15)


def test_calibration_lowers_the_loss_and_changes_no_answer() -> None:
    made = fit(honest(400, temperature=3, seed=1), split="train")
    other = honest(400, temperature=3, seed=2)
    mended = calibrated(other, made)
    assert reliability(mended).log_loss < reliability(other).log_loss - 0.1
    assert [c.said_class for c in mended] == [c.said_class for c in other]
    assert reliability(mended).log_loss == pytest.approx(mean_loss(other, made), abs=1e-6)
    assert made.fitted_on["log_loss_after"] < made.fitted_on["log_loss_before"]
    assert (made.fitted_on["split"], made.fitted_on["objects"], made.fitted_on["flight_lines"]) == ("train", 400, 10)


def test_types_get_their_own_temperature_only_where_held_out_flights_agree() -> None:
    two = honest(300, temperature=5, kinds=("rock toe",)) + [
        replace(c, instance_id=f"s{c.instance_id}")
        for c in honest(300, temperature=0.7, kinds=("slope drain",), seed=3)
    ]
    own = fit(two, split="train")
    assert own.of("rock_toe") > 3 > 1 > own.of("slope_drain")
    assert reliability(calibrated(two, own)).log_loss == pytest.approx(mean_loss(two, own), abs=1e-6)
    assert fit(honest(400, temperature=2), split="train").by_kind == {}
    assert fit([replace(c, flight_line="one") for c in two], split="train").by_kind == {}  # nothing to hold out


def test_unreadable_answers_and_decided_objects_are_left_out_of_probabilities() -> None:
    cases = [case("rock toe", ""), case("vegetation", "vegetation", instance_id="2")]
    assert reliability(cases).n == 0
    assert reliability(cases).record()["ece"] is None
    assert fit(cases, split="train").temperature == 1.0
    assert calibrated(cases, Calibration(temperature=3.0)) == cases


def test_a_review_curve_worked_by_hand() -> None:
    rows = [
        ("rock toe", 0.9),
        ("rock toe damaged", 0.8),
        ("rock toe", 0.7),
        ("rock toe damaged", 0.6),
    ]  # true is rock toe
    cases = [case("rock toe", said, instance_id=str(i), probability=p) for i, (said, p) in enumerate(rows)]
    cases += [case("rock toe", "", instance_id="x"), case("vegetation", "vegetation", instance_id="v")]
    curve = review_curve(cases)
    assert [(p.review, p.kept, p.wrong) for p in curve] == [
        pytest.approx(row) for row in [(0.2, 4, 2), (0.4, 3, 1), (0.6, 2, 1), (0.8, 1, 0), (1.0, 0, 0)]
    ]
    assert review_at(cases, 0.85) == pytest.approx((0.85, 0.8, 0.0, 1, 0))
    assert review_at(cases, 1.0) == pytest.approx((1.0, 1.0, 0.0, 0, 0))
    assert len(review_curve(some_cases(500), points=50)) == 50
    assert review_curve([]) == (review_at([], 0.0),)


def test_the_least_work_for_each_risk_worked_by_hand() -> None:
    """60 right answers, a wrong one that is less sure than 40 of them, and an unreadable one; scipy's binomial."""
    sure = [0.9] * 40 + [0.8] + [0.7] * 20
    said = ["rock toe"] * 40 + ["rock toe damaged"] + ["rock toe"] * 20
    rows = enumerate(zip(said, sure, strict=True))
    cases = [case("rock toe", name, instance_id=str(i), probability=p) for i, (name, p) in rows]
    nobody, best = review_steps([*cases, case("rock toe", "", instance_id="x")])
    assert (nobody.below, nobody.sent, nobody.wrong) == pytest.approx((0.0, 1 / 62, 1 / 61))
    assert (best.below, best.sent, best.wrong) == pytest.approx((0.9, 22 / 62, 0.0))
    for step, wrong, kept in ((nobody, 1, 61), (best, 0, 40)):
        assert stats.binom.cdf(wrong, kept, step.at_most) == pytest.approx(0.1)  # so few, or fewer, once in ten
    made = Calibration(steps=(nobody, best))
    assert [made.step(risk).below for risk in (1.0, 0.07, 0.06, 0.05)] == [0.0, 0.0, 0.9, 1.0]
    assert review_at(cases, made.step(0.01).below).review == 1.0


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("count", [100, 400])
def test_the_risk_of_the_rest_is_kept_on_answers_that_are_like_those_it_was_learned_from(
    count: int, risk: float
) -> None:
    """Nine times in ten and up to chance, for types of two answers and of three; more answers, less work."""
    drawn, rng = honest(2000, seed=5), np.random.default_rng(count)
    sure = np.array([c.probability for c in drawn])
    broken, sent = 0, []
    for _ in range(100):
        steps = review_steps([drawn[i] for i in rng.choice(len(drawn), count)])
        below = Calibration(steps=steps).step(risk).below
        rest = sure[sure >= below] if below < 1 else sure[:0]
        sent.append(1 - len(rest) / len(sure))
        broken += len(rest) > 0 and float(np.mean(1 - rest)) > risk
    assert broken <= 18  # of 100, where 10 are expected at most: more would be a chance of one in a hundred
    assert np.mean(sent) < 1 or count == 100


def test_answers_of_two_and_of_three_are_held_to_one_risk() -> None:
    drawn = honest(2000, seed=6)
    made = fit(drawn, split="held", risk=0.2)
    for kind in ("rock_toe", "slope_drain"):
        left = review_at([c for c in calibrated(drawn, made) if c.type_name == kind], made.step(0.2).below)
        assert 0 < left.errors_left < 0.25
        assert 0 < left.review < 1  # half of all chance is 0.5 with two answers: a floor of 0.5 would send none


def test_thresholds_for_every_risk_come_back_and_files_of_before_load() -> None:
    made = fit(honest(300, seed=4), split="train", risk=0.2)
    record = json.loads(json.dumps(made.record()))
    assert calibration_from(record) == made
    assert made.review_below == made.step(0.2).below
    assert len(made.steps) > 20
    before = calibration_from({k: v for k, v in record.items() if k != "review"})
    assert (before.review_below, before.steps, before.risk) == (made.review_below, (), None)
    rows = record["review"]
    swapped, short, beyond = rows["below"][::-1], rows["sent"][1:], [7, *rows["at_most"][1:]]
    lies: tuple[dict[str, Any], ...] = ({"below": swapped}, {"sent": short}, {"at_most": beyond}, {"risk": "x"})
    for lie in lies:
        with pytest.raises(OutputError, match="make it again"):
            calibration_from({**record, "review": {**rows, **lie}})


def test_calibration_json_comes_back_and_another_version_is_refused() -> None:
    made = Calibration(1.5, {"rock_toe": 2.0}, 0.8, {"split": "train"})
    assert calibration_from(json.loads(json.dumps(made.record()))) == made
    with pytest.raises(OutputError, match="version 7"):
        calibration_from({**made.record(), "version": 7})
    with pytest.raises(OutputError, match="temperature is 0, and must be a number from"):
        calibration_from({**made.record(), "temperature": 0})
    for lie in (math.nan, -5, "abc", True, 10**400):
        with pytest.raises(OutputError, match=r"review_below is .*, and must be a number from 0 to 1"):
            calibration_from({**made.record(), "review_below": lie})
    assert math.isclose(sum(made.temper({"a": 0.2, "b": 0.8, "c": 0.0}, "rock_toe").values()), 1)
