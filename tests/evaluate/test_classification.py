"""The scorecard against scikit-learn, by hand, and with judges whose figures are known beforehand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from tests.support.cases import TAXONOMY, case, labels, some_cases

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.classification import (
    Coded,
    balanced_draws,
    card_from,
    card_record,
    macro_f1_draws,
    most_common,
    score,
    table_columns,
)
from toeline.evaluate.matching import Case, undecided
from toeline.evaluate.metric import ClusterBootstrap

CASES = some_cases(300, unreadable=0.05)
CARD = score(CASES, TAXONOMY)


def saying(cases: list[Case], answers: list[str]) -> list[Case]:
    """The same objects with other answers."""
    made = [
        case(c.true_class, a, photo=c.photo, instance_id=c.instance_id) for c, a in zip(cases, answers, strict=True)
    ]
    return [replace(m, flight_line=c.flight_line) for m, c in zip(made, cases, strict=True)]


def test_overall_figures_are_scikit_learns() -> None:
    true, said = labels(CASES)
    names = sorted(set(true))
    assert CARD["accuracy"].value == pytest.approx(metrics.accuracy_score(true, said))
    assert CARD["balanced_accuracy"].value == pytest.approx(
        metrics.recall_score(true, said, labels=names, average="macro", zero_division=0)
    )
    assert CARD["macro_f1"].value == pytest.approx(
        metrics.f1_score(true, said, labels=names, average="macro", zero_division=0)
    )
    headline = labels(undecided(CASES, TAXONOMY))
    assert CARD.headline.value == pytest.approx(metrics.accuracy_score(*headline))


def test_balanced_accuracy_is_scikit_learns_where_every_class_occurs() -> None:
    cases = some_cases(300)
    assert score(cases, TAXONOMY)["balanced_accuracy"].value == pytest.approx(
        metrics.balanced_accuracy_score(*labels(cases))
    )


def test_figures_by_class_type_and_condition_are_scikit_learns() -> None:
    true, said = labels(CASES)
    recalls = metrics.recall_score(true, said, labels=TAXONOMY.answers(), average=None, zero_division=0)
    assert [f.value for f in CARD.under("class")] == pytest.approx(list(recalls))
    for kind in TAXONOMY.types:
        rows = labels([c for c in CASES if c.type_name == kind.name])
        assert CARD[f"type/{kind.name}"].value == pytest.approx(metrics.accuracy_score(*rows))
    for prefix, cases in (("condition", CASES), ("condition_given_type", undecided(CASES, TAXONOMY))):
        conditions = [c.true_condition for c in cases], [c.said_condition for c in cases]
        for figure in CARD.under(prefix):
            name = figure.key.split("/")[1]
            want = metrics.recall_score(*conditions, labels=[name], average=None, zero_division=0)[0]
            assert figure.value == pytest.approx(want)


def test_normal_or_not_is_scikit_learns() -> None:
    cases = some_cases(300)
    true, said = [c.true_condition != "normal" for c in cases], [c.said_condition != "normal" for c in cases]
    card = score(cases, TAXONOMY)
    assert card["normal_or_not"].value == pytest.approx(metrics.accuracy_score(true, said))
    assert card["missed_defects"].value == pytest.approx(1 - metrics.recall_score(true, said))
    left = undecided(cases, TAXONOMY)
    true, said = [c.true_condition != "normal" for c in left], [c.said_condition != "normal" for c in left]
    (_, alarms), _ = metrics.confusion_matrix(true, said, normalize="true")
    assert card["false_alarms"].value == pytest.approx(alarms)


def test_the_confusion_matrix_is_scikit_learns() -> None:
    true, said = labels(CASES)
    want = metrics.confusion_matrix(true, said, labels=[*TAXONOMY.answers(), ""])
    assert np.array(CARD.confusion.counts).tolist() == want[:-1].tolist()
    assert CARD.confusion.said[-1] == "(unreadable)"


def test_what_is_resampled_is_what_is_quoted() -> None:
    """The fast statistics, on the whole set, are scikit-learn's values."""
    coded = Coded(CASES, TAXONOMY)
    whole = table_columns(coded, coded.said).sum(axis=0, keepdims=True)
    assert balanced_draws(whole)[0] == pytest.approx(CARD["balanced_accuracy"].value)
    assert macro_f1_draws(whole)[0] == pytest.approx(CARD["macro_f1"].value)
    some = CASES[:40]  # without some of the classes
    draws = ClusterBootstrap.of([c.photo for c in some], draws=20, seed=1)
    sums = draws.sums(table_columns(Coded(some, TAXONOMY), Coded(some, TAXONOMY).said))
    for row in range(20):
        again = [
            c
            for k, w in enumerate(draws.weights[row])
            for c in [some[i] for i in np.flatnonzero(draws.cluster_of == k)] * int(w)
        ]
        true, said = labels(again)
        want = metrics.f1_score(true, said, labels=sorted(set(true)), average="macro", zero_division=0)
        assert macro_f1_draws(sums)[row] == pytest.approx(want)


def test_a_judge_that_is_always_right_scores_everything() -> None:
    card = score(saying(CASES, labels(CASES)[0]), TAXONOMY)
    for figure in card.figures:
        assert figure.value == (0.0 if figure.lower_is_better else 1.0)
    assert card.unreadable == 0


def test_a_judge_that_answers_by_type_alone_scores_exactly_the_floor() -> None:
    table = most_common(((c.type_name, c.true_class) for c in CASES), TAXONOMY)
    card = score(saying(CASES, [table[c.type_name] for c in CASES]), TAXONOMY)
    for figure in card.figures:  # one fixed answer for each type, in all rows
        fixed = figure.key.startswith(("class/", "condition/", "condition_given_type/"))
        assert figure.majority_baseline == (None if fixed else figure.value), figure.key


def test_the_floor_is_scikit_learns_dummy_for_each_type() -> None:
    right = 0
    for kind in TAXONOMY.types:
        names = [c.true_class for c in CASES if c.type_name == kind.name]
        model = DummyClassifier(strategy="most_frequent").fit([[0]] * len(names), names)
        right += int((model.predict([[0]] * len(names)) == names).sum())
    assert CARD["accuracy"].majority_baseline == pytest.approx(right / len(CASES))


def test_the_train_floor_is_a_look_up_made_elsewhere() -> None:
    cases = [case("rock toe", "rock toe", photo=str(i)) for i in range(3)] + [
        case("rock toe damaged", "rock toe", photo="x")
    ]
    figure = score(cases, TAXONOMY, train=[("rock_toe", "rock toe damaged")]).headline
    assert (figure.majority_baseline, figure.train_majority_baseline) == (0.75, 0.25)
    assert CARD.headline.train_majority_baseline is None


def test_permuted_answers_are_worth_what_chance_gives() -> None:
    """Answers shuffled within each type: right with the chance that two draws agree."""
    rng, cases = np.random.default_rng(0), some_cases(1500, seed=9, share=1.0)
    answers, expected = np.array(labels(cases)[0], dtype=object), 0.0
    kinds = np.array([c.type_name for c in cases])
    for kind in set(kinds):
        at = np.flatnonzero(kinds == kind)
        _, counts = np.unique(answers[at].astype(str), return_counts=True)
        expected += float((counts**2).sum()) / len(at)
        answers[at] = rng.permutation(answers[at])
    interval = score(saying(cases, list(answers)), TAXONOMY)["accuracy"].interval
    assert interval.low < expected / len(cases) < interval.high


def test_unreadable_answers_are_wrong_and_counted() -> None:
    cases = [
        case("rock toe", "rock toe", photo="1"),
        case("rock toe", "", photo="2"),
        case("rock toe damaged", "", photo="3"),
        case("slope drain blocked", "slope drain blocked", photo="4"),
    ]
    card = score(cases, TAXONOMY)
    assert (card.unreadable, card.asked, card.objects) == (2, 4, 4)
    assert (card.headline.count, card["normal_or_not"].count) == (2, 2)
    assert (card["missed_defects"].count, card["missed_defects"].n) == (1, 2)  # no alarm is raised
    assert card["false_alarms"].count == 0
    assert [row[-1] for row in card.confusion.counts] == [0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_a_figure_worked_by_hand() -> None:
    cases = [
        case("rock toe", "rock toe", photo="a"),
        case("rock toe damaged", "rock toe", photo="a"),
        case("rock toe damaged", "rock toe damaged", photo="b"),
        case("vegetation", "vegetation", photo="b"),
    ]
    card = score(cases, TAXONOMY)
    every, given = card["accuracy"], card.headline
    assert (every.count, every.n, every.majority_baseline) == (3, 4, 0.75)
    assert (given.count, given.n, given.majority_baseline) == (2, 3, pytest.approx(2 / 3))
    assert str(every).startswith("class, every type: 75.0 % (3 of 4, 95 %")
    assert (card["class/slope drain"].n, str(card["class/slope drain"])) == (0, "slope drain: nothing to count")
    assert (card.photographs, card.clusters, card.cluster) == (2, 2, "photo")


@pytest.mark.parametrize(
    ("right", "n", "verdict"),
    [(128, 128, "shown"), (115, 128, "not shown"), (90, 128, "missed"), (34, 34, "not provable with this n")],
)
def test_what_is_said_of_a_target(right: int, n: int, verdict: str) -> None:
    cases = [case("rock toe", "rock toe" if i < right else "rock toe damaged", photo=str(i)) for i in range(n)]
    card = score(cases, TAXONOMY, targets={"accuracy": 0.90, "missed_defects": 0.1})
    assert (card["accuracy"].target, card["accuracy"].verdict) == (0.90, verdict)
    assert card["missed_defects"].verdict == "not provable with this n"
    assert card.headline.verdict == ""


def test_flight_lines_can_be_resampled_instead() -> None:
    cases = [replace(c, flight_line="one" if i < 150 else "two") for i, c in enumerate(CASES)]
    assert score(cases, TAXONOMY, cluster="group").clusters == 2
    assert score([replace(c, flight_line="") for c in cases], TAXONOMY, cluster="group").headline == CARD.headline


def test_a_card_is_the_same_after_json_and_another_version_is_refused() -> None:
    for card in (CARD, score([], TAXONOMY), score(CASES[:3], TAXONOMY)):
        again = card_from(json.loads(json.dumps(card_record(card), allow_nan=False)))
        assert card_record(again) == card_record(card)
        assert again.confusion == card.confusion
    assert card_from(json.loads(json.dumps(card_record(CARD)))) == CARD
    with pytest.raises(OutputError, match="version 99"):
        card_from({**card_record(CARD), "version": 99})
    with pytest.raises(OutputError, match="figures"):
        card_from({name: v for name, v in card_record(CARD).items() if name != "figures"})


def test_nothing_to_count_is_no_crash() -> None:
    card = score([], TAXONOMY)
    assert all(f.n == 0 and math.isnan(f.value) for f in card.figures)
    assert card["accuracy"].verdict == "not provable with this n"
    assert np.array(card.confusion.counts).sum() == 0


def test_another_taxonomy_is_told() -> None:
    other = Taxonomy._from_raw(
        {
            "types": [{"name": "gate"}],
            "conditions": [{"name": "good"}, {"name": "rusty"}],
            "classes": [{"name": "gate", "type": "gate", "condition": "good"}],
        },
        "gates",
    )
    with pytest.raises(OutputError, match="not both classes of gates"):
        score(CASES, other)
