"""Grades of findings: by class, and by what truly stands beside what."""

from __future__ import annotations

from dataclasses import replace

from tests.support.datasets import make_photo, make_scene
from tests.support.stand_ins import fake_inspector

from toeline.core.finding import Finding, graded, may_be_immediate
from toeline.core.records import finding_from, finding_record
from toeline.core.severity import UNGRADED, Grading, Rule
from toeline.core.taxonomy import Taxonomy
from toeline.judge.decide import decide, unreadable
from toeline.prompts.relation_ablation import falsified
from toeline.prompts.relations import relate

TAXONOMY = Taxonomy.load()
PLACES = ("slope_drain 45 0 50 70", "toe_drain 0 69 100 80", "toe_drain 0 5 30 12")


def found(*classes: str) -> list[Finding]:
    """Findings on PLACES: a slope drain, the toe drain at its lower end, and one that is far from it."""
    instances = make_scene(*PLACES).instances
    verdicts = [decide({name: 0.0}, TAXONOMY) for name in classes]
    return [Finding("a.jpg", t.id, t.type_name, t.box, 1.0, v) for t, v in zip(instances, verdicts, strict=True)]


def grades(*classes: str, taxonomy: Taxonomy = TAXONOMY) -> list[tuple[str, bool]]:
    out = graded(found(*classes), relate(make_scene(*PLACES)), taxonomy)
    return [(f.grade.severity, bool(f.grade.immediate)) for f in out]


def test_a_blocked_toe_drain_at_the_lower_end_of_a_slope_drain_cannot_wait() -> None:
    said = grades("slope drain", "Toe drain- Blocked", "Toe drain- Blocked")
    assert said == [("none", False), ("high", True), ("high", False)]
    reason = graded(found("slope drain", "Toe drain- Blocked", "Toe drain"), relate(make_scene(*PLACES)), TAXONOMY)
    assert reason[1].grade.immediate.endswith("(slope drain 1)")
    assert reason[1].grade.action.startswith("Clear the channel")


def test_a_whole_toe_drain_at_the_lower_end_can_wait() -> None:
    assert grades("slope drain", "Toe drain", "Toe drain- Blocked") == [
        ("none", False),
        ("none", False),
        ("high", False),
    ]


def test_a_rule_can_ask_for_the_condition_of_the_other() -> None:
    rule = Rule("toe_drain", "blocked", "why", ("at_lower_end_of",), "slope_drain", ("damaged",))
    own = replace(TAXONOMY, grading=replace(TAXONOMY.grading, rules=(rule,)))
    assert not grades("slope drain", "Toe drain- Blocked", "Toe drain", taxonomy=own)[1][1]
    assert grades("slope drain damaged", "Toe drain- Blocked", "Toe drain", taxonomy=own)[1][1]


def test_a_rule_without_a_relation_holds_everywhere() -> None:
    own = replace(TAXONOMY, grading=replace(TAXONOMY.grading, rules=(Rule("toe_drain", "blocked", "why"),)))
    assert [now for _, now in grades("slope drain", "Toe drain- Blocked", "Toe drain- Blocked", taxonomy=own)] == [
        False, True, True,
    ]  # fmt: skip


def test_the_type_that_the_judge_decided_counts() -> None:
    overruled = [replace(f, type_name="rock_toe") for f in found("slope drain", "Toe drain- Blocked", "Toe drain")]
    assert may_be_immediate(overruled, TAXONOMY)
    assert graded(overruled, relate(make_scene(*PLACES)), TAXONOMY)[1].grade.immediate


def test_nothing_is_graded_without_a_scale_or_an_answer() -> None:
    own = replace(TAXONOMY, grading=Grading())
    assert {f.grade for f in graded(found("slope drain", "Toe drain", "Toe drain"), (), own)} == {UNGRADED}
    unread = replace(found("slope drain", "Toe drain", "Toe drain")[0], verdict=unreadable())
    assert not may_be_immediate([unread], TAXONOMY)
    assert graded([unread], (), TAXONOMY)[0].grade == UNGRADED


def test_a_grade_survives_the_round_trip_and_is_not_written_where_there_is_none() -> None:
    findings = graded(found("slope drain", "Toe drain- Blocked", "Toe drain"), relate(make_scene(*PLACES)), TAXONOMY)
    assert [finding_from(finding_record(f)) for f in findings] == list(findings)
    record = finding_record(findings[1])
    assert (record["severity"], record["severity_rank"], record["immediate"]) == ("high", 3, True)
    assert "severity" not in finding_record(found("slope drain", "Toe drain", "Toe drain")[0])


def test_grades_go_by_the_relations_that_hold_whatever_the_judge_was_told() -> None:
    image = make_photo((100, 100))
    instances = make_scene(*PLACES).instances
    told = [fake_inspector(boxes=lambda *_: (instances, ()), **more) for more in ({}, {"relations": falsified})]
    first, second = (inspector.inspect(image) for inspector in told)
    assert first[1].verdict.class_name == "Toe drain- Blocked"
    assert first[1].relations != second[1].relations
    assert first[1].grade.immediate
    assert [f.grade for f in first] == [f.grade for f in second]
