"""Calibration against scikit-learn, and on judges whose temperature is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
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
