"""The report as text: one self-contained HTML page, and the same in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toeline.data.analyze.analysis import Analysis
from toeline.data.analyze.document import Grid, Section
from toeline.data.analyze.findings import Mood
from toeline.data.analyze.flag import Weight
from toeline.report.page import run_facts
from toeline.report.style import environment

MARKS = {Mood.BAD: "Wrong", Mood.CAREFUL: "Careful", Mood.GOOD: "Good"}
LONG = 40  # letters from which a cell is a sentence: it breaks over lines and stands to the left


@dataclass(frozen=True)
class Report:
    """What both forms of the report are made of. `gallery` is a link, or empty."""

    found: Analysis
    sections: Sequence[Section]
    run: Mapping[str, Any]
    title: str
    gallery: str = ""


def render_html(report: Report) -> str:
    """The page; nothing is loaded from outside."""
    env = environment("toeline.data.analyze")
    env.filters["words_in"] = sentences
    shown = env.get_template("analysis.html.j2")
    return shown.render(
        **_shared(report), tiles=_tiles(report.found), facts=run_facts(report.run), gallery=report.gallery
    )


def render_markdown(report: Report) -> str:
    """The same without plots."""
    env = environment("toeline.data.analyze")
    env.autoescape = False
    env.filters["cell"] = _cell
    text = env.get_template("analysis.md.j2").render(**_shared(report))
    return re.sub(r"\n{3,}", "\n\n", text)


def _shared(report: Report) -> dict[str, Any]:
    line = f"{', '.join(report.run['settings']['data'].split())} · {report.run['started_words']}"
    return {
        "title": report.title,
        "line": line,
        "findings": report.found.findings,
        "marks": MARKS,
        "sections": report.sections,
    }


def _tiles(found: Analysis) -> list[tuple[str, str]]:
    faults = sum(f.weight is Weight.FAULT for f in found.flags)
    return [
        (f"{found.counts.photos:,}", "photographs"),
        (f"{found.counts.objects:,}", "objects"),
        (f"{len(found.table.splits)}", "splits" if len(found.table.splits) != 1 else "split"),
        (f"{len(found.table.groups):,}", "flight lines"),
        (f"{faults:,}", "faults" if faults != 1 else "fault"),
        (f"{len(found.flags) - faults:,}", "to look at"),
    ]


def sentences(block: Grid) -> set[int]:
    """Columns of a table that hold sentences.

    >>> sorted(sentences(Grid(("a", "b"), (("x", "y" * 50),))))
    [1]
    """
    return {at for row in block.rows for at, cell in enumerate(row) if at and len(cell) > LONG}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
