"""The work list: its order, its file, its section and what the terminal says of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.results import finding, given, read

from toeline.core.finding import Finding
from toeline.core.severity import Grade, Grading
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines import inspect as show_inspect
from toeline.pipelines.inspect import Summary
from toeline.report import tables as worklist_module
from toeline.report.inspection_page import render_page
from toeline.report.tables import WORKLIST_COLUMNS, by_severity, said_of, work_rows, worklist, worklist_csv

TAXONOMY = Taxonomy.load()
HIGH, LOW, NONE = Grade("high", 3, "Clear it."), Grade("low", 1, "Cut it."), Grade("none", 0)


def item(photo: str, grade: Grade, probability: float = 0.75, number: int = 1, review: str = "") -> Finding:
    one = finding(photo, number)
    return replace(one, grade=grade, verdict=replace(one.verdict, probability=probability, review=review))


def test_order_is_severity_then_probability_then_photograph() -> None:
    todo = worklist(
        [
            item("b.jpg", LOW, 0.99),
            item("z.jpg", HIGH, 0.6),
            item("b.jpg", HIGH, 0.9),
            item("a.jpg", HIGH, 0.9),
            item("a.jpg", NONE, 1.0),
        ]
    )
    assert [(f.grade.severity, f.verdict.probability, f.photo) for f in todo] == [
        ("high", 0.9, "a.jpg"), ("high", 0.9, "b.jpg"), ("high", 0.6, "z.jpg"), ("low", 0.99, "b.jpg"),
    ]  # fmt: skip


def test_what_is_to_be_reviewed_stays_on_it_and_is_marked() -> None:
    now = replace(HIGH, immediate="the drain ends there")
    raw = worklist_csv(worklist([item("a.jpg", now, 0.4, review="unsure"), item("=b.jpg", LOW)]))
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert tuple(rows[0]) == WORKLIST_COLUMNS
    assert [(r["n"], r["review"], r["immediate"], r["photo"]) for r in rows] == [
        ("1", "yes", "yes", "a.jpg"), ("2", "", "", "'=b.jpg"),
    ]  # fmt: skip
    assert (rows[0]["review_reason"], rows[0]["immediate_reason"]) == ("unsure", "the drain ends there")


def test_the_section_links_to_the_findings_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist_module, "MOST_SHOWN", 1)
    findings = [item("a.jpg", NONE, 0.4, 1, "unsure"), item("a.jpg", LOW, number=2), item("a.jpg", HIGH, number=3)]
    html = render_page(given(tmp_path, "a.jpg", findings=findings))
    section = html[html.index('<h2 id="work">') : html.index('<h2 id="findings">')]
    assert "2 to do (1 high, 0 moderate, 1 low)" in section
    assert section.count("<tr") == 2
    assert 'href="#p1-3"' in section
    assert "The first 1 of 2" in section
    assert re.search("To review besides, though no work is asked for there: <a[^>]*>1 finding</a>", section)
    assert "worklist.csv" in html


def test_a_taxonomy_without_severities_says_so_and_shows_nothing_else(tmp_path: Path) -> None:
    own = replace(TAXONOMY, grading=Grading())
    html = render_page(given(tmp_path, "a.jpg", taxonomy=own))
    assert "There is none: the taxonomy says of no class how severe it is" in html
    assert not read(html).all("table", "work")
    assert "worklist.csv" not in html
    assert by_severity([item("a.jpg", HIGH)], own) == {}


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    html = render_page(given(tmp_path, "a.jpg", findings=[item("a.jpg", NONE)]))
    assert "Nothing is to be done." in html


def summary(counts: dict[str, int], todo: list[Finding]) -> Summary:
    rows = tuple(work_rows(worklist(todo)[:1]))
    return Summary("out", 1, 0, 0, 3, {"normal": 3}, 0, 0, 1.0, counts, immediate=1, worst=rows)


def test_the_terminal_says_the_first_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    todo = [item("a.jpg", replace(HIGH, immediate="x"), 0.4, review="unsure"), item("b.jpg", LOW)]
    counts = by_severity(todo, TAXONOMY)
    show_inspect.tell(summary(counts, todo))
    said = capsys.readouterr().out
    assert f"Work list: {said_of(counts, 1)}" in said
    assert "1. high, rock toe 1 on a.jpg 40% immediate to review" in said
    assert "and 1 more" in said
    assert "out/worklist.csv" in said


def test_the_terminal_says_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_inspect.tell(summary({}, []))
    said = capsys.readouterr().out
    assert "No work list" in said
    assert "worklist.csv" not in said
