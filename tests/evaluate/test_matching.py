"""Findings find their true objects: worked by hand."""

from __future__ import annotations

from tests.support.matched import FAR, LEFT, RIGHT, said, true

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict
from toeline.core.ground_truth import join
from toeline.evaluate.matching import Matched, match, pair_up


def test_a_right_place_with_a_wrong_condition_is_found_but_not_right() -> None:
    result = match("a.jpg", [said(1, "rock toe", LEFT)], [true(1, "rock toe damaged", LEFT)])
    assert (len(result.pairs), result.missed, result.extra, result.right) == (1, (), (), 0)


def test_a_wrong_type_is_missed_and_extra() -> None:
    result = match("a.jpg", [said(1, "vegetation", LEFT)], [true(1, "rock toe", LEFT)])
    assert (len(result.pairs), len(result.missed), len(result.extra), result.right) == (0, 1, 1, 0)


def test_the_surest_finding_takes_the_object_and_its_double_is_extra() -> None:
    doubles = [said(1, "rock toe", LEFT, score=0.4), said(2, "rock toe", LEFT, score=0.8)]
    result = match("a.jpg", doubles, [true(7, "rock toe", LEFT), true(8, "rock toe", RIGHT)])
    assert [(f.instance_id, t.instance.id) for f, t in result.pairs] == [("2", "7")]
    assert [f.instance_id for f in result.extra] == ["1"]
    assert [t.instance.id for t in result.missed] == ["8"]


def test_half_an_overlap_counts_and_less_does_not() -> None:
    half = Box(0, 0, 10, 5)  # IoU 50 / 100
    less = Box(0, 0, 10, 4.99)
    assert pair_up([("x", half)], [("x", LEFT)]) == {0: 0}
    assert pair_up([("x", less)], [("x", LEFT)]) == {}


def test_each_object_is_taken_once_and_the_best_overlap_wins() -> None:
    near = Box(0, 0, 10, 9)
    assert pair_up([("x", LEFT), ("x", LEFT)], [("x", near), ("x", LEFT), ("y", LEFT)]) == {0: 1, 1: 0}


def test_an_answer_of_another_type_can_still_be_right() -> None:
    """With --answers all the judge may overrule the detector: class and place count, not the detector's type."""
    finding = said(1, "slope drain", LEFT)
    overruled = Finding(
        finding.photo, "1", "toe_drain", LEFT, 0.9, Verdict("slope drain", "normal", 1.0, {"slope drain": 1.0})
    )
    result = match("a.jpg", [overruled], [true(1, "slope drain", LEFT)])
    assert (len(result.pairs), result.right) == (0, 1)


def test_nothing_at_all_is_an_empty_match() -> None:
    assert match("a.jpg", [], []) == Matched("a.jpg", (), (), (), 0)


def test_truths_are_joined_by_id_whatever_their_order() -> None:
    rows = [true(1, "rock toe", LEFT), true(2, "vegetation", FAR)]
    joined = join([r.instance for r in rows], [rows[1].ground_truth, rows[0].ground_truth])
    assert joined == tuple(rows)
