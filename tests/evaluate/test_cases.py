"""Judged objects from findings and truths, and back from their lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.cases import case, some_cases
from tests.support.matched import LEFT, RIGHT, said, true

from toeline.core.finding import Verdict
from toeline.core.records import join_lines
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.matching import (
    CASES,
    case_from,
    case_record,
    match,
    on_found_boxes,
    on_true_boxes,
    read_cases,
    undecided,
)


def test_true_boxes_are_joined_by_id_and_what_nobody_judged_is_told() -> None:
    instances = [true(1, "rock toe", LEFT), true(2, "slope drain", RIGHT), true(3, "vegetation", RIGHT)]
    cases, missing = on_true_boxes(
        [said(2, "slope drain blocked", RIGHT), said(1, "rock toe", LEFT)], instances, group="f"
    )
    assert [(c.instance_id, c.true_class, c.said_class, c.right, c.flight_line) for c in cases] == [
        ("2", "slope drain", "slope drain blocked", False, "f"),
        ("1", "rock toe", "rock toe", True, "f"),
    ]
    assert [t.instance.id for t in missing] == ["3"]


@pytest.mark.parametrize(
    "findings",
    [[said(9, "rock toe", LEFT)], [said(1, "rock toe", RIGHT)], [said(1, "rock toe", LEFT)] * 2],
    ids=["no such object", "another place", "twice"],
)
def test_findings_that_are_not_on_these_labels_are_refused(findings: list[object]) -> None:
    with pytest.raises(OutputError, match=r"a\.jpg, object"):
        on_true_boxes(findings, [true(1, "rock toe", LEFT)])  # type: ignore[arg-type]


def test_a_verdict_without_a_class_is_unreadable_and_wrong() -> None:
    silent = replace(said(1, "rock toe", LEFT), verdict=Verdict("", "", 0.0, {}))
    (one,), _ = on_true_boxes([silent], [true(1, "rock toe", LEFT)])
    assert (one.readable, one.right, one.said_condition) == (False, False, "")


def test_found_boxes_give_the_true_objects_that_were_found() -> None:
    matched = match(
        "a.jpg", [said(5, "rock toe", LEFT)], [true(1, "rock toe damaged", LEFT), true(2, "rock toe", RIGHT)]
    )
    (one,) = on_found_boxes(matched)
    assert (one.key, one.true_condition, one.said_condition) == (("a.jpg", "1"), "damaged", "normal")


def test_a_case_is_the_same_after_its_line() -> None:
    for one in some_cases(unreadable=0.1):
        assert case_from(json.loads(json.dumps(case_record(one)))) == one


def test_cases_are_read_from_a_folder_and_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no judged object"):
        read_cases(tmp_path)
    cases = some_cases(6)
    (tmp_path / CASES).write_text(join_lines(map(case_record, cases)))
    assert list(read_cases(tmp_path)) == cases
    (tmp_path / CASES).write_text(join_lines([{**case_record(cases[0]), "box": None}]))
    with pytest.raises(OutputError, match=r"case 0\.jpg 0: .* in cases\.jsonl"):
        read_cases(tmp_path)


def test_vegetation_is_decided_and_the_flight_falls_back_to_the_photograph() -> None:
    cases = [case("vegetation", "vegetation"), case("rock toe", "rock toe")]
    assert undecided(cases, Taxonomy.load()) == cases[1:]
    assert (case("rock toe", "", group="f").flight, cases[0].flight) == ("f", "a.jpg")
