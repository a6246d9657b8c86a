"""The work list: what is to be done, the worst first, by the grades that a taxonomy gives. Nothing without grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from toeline.core.finding import Finding
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.report.chapters import Totals
from toeline.report.table import csv_head, csv_lines, marked_name, to_csv

WORKLIST = "worklist.csv"
COLUMNS = (
    "n", "severity", "severity_rank", "immediate", "action", "photo", "id", "type", "class", "condition",
    "probability", "review", "review_reason", "immediate_reason", "marked",
)  # fmt: skip
MOST_SHOWN = 200  # rows on the page; the file holds all
FIRST = 5  # rows in the terminal


def worklist(findings: Iterable[Finding]) -> list[Finding]:
    """What is more than the least severity, by severity, then probability, then photograph; one photograph's in order.

    What a person should review stays on it: an unsure finding may be as bad as it looks.
    """
    return sorted((f for f in findings if f.grade.rank > 0), key=urgency)


Urgency = tuple[int, float, str]


def urgency(f: Finding) -> Urgency:
    """What a work list is sorted by."""
    return -f.grade.rank, -f.verdict.probability, f.photo


def work_lines(todo: Sequence[Finding]) -> list[tuple[Urgency, bytes]]:
    """Lines of worklist.csv without their number, for a run whose findings are not in memory together."""
    return [(urgency(f), csv_lines([row], COLUMNS)) for f, row in zip(todo, work_rows(todo), strict=True)]


def joined_csv(lines: list[tuple[Urgency, bytes]]) -> Iterator[bytes]:
    """worklist.csv of the work_lines of all parts of a run; the list is sorted and numbered."""
    yield csv_head(COLUMNS)
    lines.sort(key=lambda line: line[0])
    for n, (_, line) in enumerate(lines, start=1):
        yield b"%d,%b" % (n, line.partition(b",")[2])


def work_rows(todo: Sequence[Finding]) -> list[dict[str, Any]]:
    """One flat row per finding of a work list, with the keys of COLUMNS; `n` counts from 1."""
    return [dict(zip(COLUMNS, (n, *_cells(f)), strict=True)) for n, f in enumerate(todo, start=1)]


def _cells(f: Finding) -> tuple[Any, ...]:
    grade, verdict = f.grade, f.verdict
    return (
        grade.severity, grade.rank, "yes" if grade.immediate else "", grade.action, f.photo, f.thing_id, f.kind,
        verdict.class_name, verdict.condition, round(verdict.probability, 4), "yes" if verdict.review else "",
        verdict.review, grade.immediate, marked_name(f.photo),
    )  # fmt: skip


def worklist_csv(todo: Sequence[Finding]) -> bytes:
    """worklist.csv, in the form of findings.csv."""
    return to_csv(work_rows(todo), COLUMNS)


def by_severity(findings: Iterable[Finding], taxonomy: Taxonomy) -> dict[str, int]:
    """How many findings have each severity, the worst first; empty when the taxonomy has none."""
    return severities(Counter(f.grade.severity for f in findings), taxonomy)


def severities(counts: Mapping[str, int], taxonomy: Taxonomy) -> dict[str, int]:
    """Counts by severity in the order of by_severity."""
    return {s.name: counts.get(s.name, 0) for s in reversed(taxonomy.grading.severities)}


def said_of(counts: Mapping[str, int], immediate: int) -> str:
    """A work list in one line; `counts` by severity, the worst first and the least last.

    >>> said_of({"high": 2, "low": 0, "none": 7}, 1)
    '2 to do (2 high, 0 low), 1 of them at once'
    """
    todo = dict(list(counts.items())[:-1])
    parts = ", ".join(f"{n:,} {name}" for name, n in todo.items())
    at_once = f", {immediate:,} of them at once" if immediate else ""
    return f"{sum(todo.values()):,} to do ({parts}){at_once}"


def work_section(
    todo: Sequence[Finding], totals: Totals, taxonomy: Taxonomy, links: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """What the page shows: the beginning of the work list `todo`, and `totals` of all findings.

    `links` maps (photograph, id) to where the finding stands.
    """
    if not taxonomy.grading:
        return {"graded": False}
    worst, counts = len(taxonomy.grading.severities) - 1, severities(totals.by_severity, taxonomy)
    return {
        "graded": True,
        "said": said_of(counts, totals.immediate),
        "scale": [(s.name, s.meaning, rank, worst) for rank, s in enumerate(taxonomy.grading.severities)][:0:-1],
        "rows": [_shown(n, f, taxonomy, worst, links) for n, f in enumerate(todo[:MOST_SHOWN], start=1)],
        "total": sum(list(counts.values())[:-1]),
        "unsure": some(totals.unsure, "finding") if totals.unsure else "",
    }


def _shown(
    n: int, f: Finding, taxonomy: Taxonomy, worst: int, anchors: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    return {
        "n": n,
        "anchor": anchors.get((f.photo, f.thing_id), ""),
        "photo": f.photo,
        "kind": taxonomy.spoken(f.kind),
        "number": f.thing_id,
        "condition": f.verdict.condition,
        "probability": f.verdict.probability,
        "asked": f.verdict.asked,
        "review": f.verdict.review,
        "worst": worst,
        "grade": f.grade,
    }
