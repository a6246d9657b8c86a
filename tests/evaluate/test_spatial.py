"""Yes/no questions, and relations from detected boxes against those from true ones."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from tests.support.matched import said, true

from toeline.core.box import Box
from toeline.errors import OutputError
from toeline.evaluate.matching import match
from toeline.evaluate.spatial import SpatialCase, agreement, relations_of, score_spatial, spatial_from

SIZE = (100, 100)
SLOPE, TOE, STONE = Box(45, 0, 50, 70), Box(0, 69, 100, 80), Box(0, 40, 30, 60)


def questions(count: int = 200, *, share: float = 0.9, yes: float = 0.5, seed: int = 0) -> list[SpatialCase]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        ground_truth = bool(rng.random() < yes)
        answer = ground_truth if rng.random() < share else not ground_truth
        template = ("above", "left_of")[i % 2]
        made.append(
            SpatialCase(f"{i // 4}.jpg", str(i // 40), template, "1", "2", ground_truth, answer, 0.9 if answer else 0.1)
        )
    return made


def test_accuracy_is_scikit_learns_overall_and_for_each_template() -> None:
    cases = questions()
    card = score_spatial(cases)
    assert card.overall.value == pytest.approx(accuracy_score([c.truth for c in cases], [c.said for c in cases]))
    above = [c for c in cases if c.template == "above"]
    assert card.figures[1].key == "spatial/above"
    assert card.figures[1].value == pytest.approx(accuracy_score([c.truth for c in above], [c.said for c in above]))
    assert (card.questions, card.photographs, card.clusters) == (200, 50, 50)
    assert score_spatial(cases, cluster="group").clusters == 5


def test_always_yes_is_worth_exactly_the_floor() -> None:
    lazy = [replace(c, said=True) for c in questions(yes=0.7)]
    card = score_spatial(lazy)
    assert card.overall.value == card.overall.majority_baseline > 0.6
    assert [b.said_yes for b in card.balance] == [1.0, 1.0]
    assert [b.true_yes for b in card.balance] == pytest.approx([f.majority_baseline for f in card.figures[1:]])


def test_what_is_said_of_the_target() -> None:
    verdicts = [score_spatial(questions(share=share)).overall.verdict for share in (0.99, 0.87, 0.5)]
    assert verdicts == ["shown", "not shown", "missed"]
    assert score_spatial(questions(8, share=1)).overall.verdict == "not provable with this n"


def test_questions_come_back_from_their_lines_and_none_is_no_crash() -> None:
    for one in questions(8):
        assert spatial_from(json.loads(json.dumps(asdict(one)))) == one
    with pytest.raises(OutputError, match=r"spatial\.jsonl"):
        spatial_from({"photo": "a.jpg"})
    assert score_spatial([]).overall.n == 0
    json.dumps(score_spatial([]).record(), allow_nan=False)


def test_exact_boxes_agree_in_every_relation() -> None:
    instances = [true(1, "slope drain", SLOPE), true(2, "toe drain", TOE), true(3, "rock toe", STONE)]
    findings = [said(7, "toe drain", TOE), said(8, "slope drain blocked", SLOPE), said(9, "rock toe", STONE)]
    whole, *each = agreement([(match("a.jpg", findings, instances), SIZE)])
    assert (whole.precision.value, whole.recall.value) == (1.0, 1.0)
    assert whole.recall.n == sum(a.recall.n for a in each) > 4
    assert "at_lower_end_of" in {a.name for a in each}


def test_a_shifted_box_loses_a_relation_and_makes_another() -> None:
    instances = [true(1, "slope drain", SLOPE), true(2, "toe drain", TOE)]
    short = Box(45, 0, 50, 40)  # IoU 0.57: found, but it no longer reaches the toe drain
    matched = match("a.jpg", [said(1, "slope drain", short), said(2, "toe drain", TOE)], instances)
    there, found = relations_of(matched, SIZE)
    assert {r.name for r in there - found} == {"at_lower_end_of", "next_to"}
    by_name = {a.name: a for a in agreement([(matched, SIZE)])}
    assert (by_name["next_to"].recall.count, by_name["next_to"].recall.n, by_name["next_to"].precision.n) == (0, 2, 0)
    assert by_name["above"].recall.value == 1.0


def test_objects_that_were_not_found_are_left_out() -> None:
    instances = [true(1, "slope drain", SLOPE), true(2, "toe drain", TOE)]
    (whole,) = agreement([(match("a.jpg", [said(1, "slope drain", SLOPE)], instances), SIZE)])
    assert (whole.recall.n, whole.precision.n) == (0, 0)
