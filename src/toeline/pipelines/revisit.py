"""`toeline revisit`: two finished runs of one site set side by side. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from toeline.core.reading import file_hash
from toeline.core.run_folder import claimed, write_whole, writing
from toeline.core.words import cut
from toeline.pipelines.changes import file_state
from toeline.pipelines.progress import Summary, bar, escape, saying
from toeline.pipelines.saved_run import SavedRun, read_saved
from toeline.pipelines.settings import RevisitRun
from toeline.report.document import percent, render_html
from toeline.report.revisit import CHANGED, MEANS, STATUSES, Revisit, VisitChange, compared, words_of
from toeline.report.revisit_page import (
    COLUMNS,
    CSV,
    HTML,
    JSON,
    MOST_CARDS,
    SIDES,
    SIGNS,
    headline,
    page_of,
    record,
    rows,
)
from toeline.report.tables import to_csv
from toeline.report.visit_pictures import Wanted, object_wanted, pictures_of, place_wanted
from toeline.report.visits import PersonsAnswer, SiteObject, Visit

OWN = {CSV, JSON, HTML}
SHOWN = 10  # changes in the terminal
Decisions = Callable[[Sequence[SavedRun]], Sequence[Sequence[PersonsAnswer] | None]]


def revisit_into(run: RevisitRun, folder: Path, decisions: Decisions | None = None) -> Revisit:
    """Compare two runs and write page, table and JSON. Raises ToelineError.

    `decisions` gives what people decided of each run, None for a run that they were not shown.
    """
    saved = [read_saved(place, run.taxonomy) for place in (run.before, run.after)]
    for one in saved:
        one.require_whole("compare")
    with claimed(folder, note="", own=OWN), writing(folder):
        with saying("Comparing"):
            reviewed = decisions(saved) if decisions else (None, None)
            visits = [_visit(one, said) for one, said in zip(saved, reviewed, strict=True)]
            told = compared(_named(visits, 0), _named(visits, 1), sure=run.sure)
        write_whole(folder / JSON, json.dumps(record(told), indent=1, ensure_ascii=False) + "\n")
        write_whole(folder / CSV, to_csv(rows(told), COLUMNS))
        write_whole(folder / HTML, render_html(page_of(told, _pictures(told, saved))))
    return told


def _visit(saved: SavedRun, reviewed: Sequence[PersonsAnswer] | None) -> Visit:
    name = str(saved.record.get("title") or "") or saved.folder.resolve().name
    findings = [finding for its in saved.findings().values() for finding in its]
    return Visit(name, saved.record, saved.taxonomy, saved.progress, findings, reviewed)


def _named(visits: Sequence[Visit], at: int) -> Visit:
    """A visit whose name is not the other's."""
    own, other = visits[at], visits[1 - at]
    return own if own.name != other.name else replace(own, name=f"{own.name} ({('first', 'second')[at]})")


def _pictures(told: Revisit, saved: Sequence[SavedRun]) -> dict[tuple[int, str], str]:
    """Pictures of what changed, and of the places where something is not any more, or was not before."""
    records = [{str(r["photo"]): r for r in one.progress} for one in saved]
    wanted: tuple[list[Wanted], list[Wanted]] = ([], [])
    left = dict.fromkeys(CHANGED, MOST_CARDS)
    for n, change in enumerate(told.changes):
        if left.get(change.status, 0) > 0:
            left[change.status] -= 1
            for at, its in enumerate((change.before, change.after)):
                if one := _wanted(change, its, at, records, (n, SIDES[at])):
                    wanted[at].append(one)
    made: dict[tuple[int, str], str] = {}
    if not any(wanted):
        return made
    with bar("Cutting pictures", total=sum(len({w.photo for w in its}) for its in wanted)) as step:
        for run, pieces, known in zip(saved, wanted, records, strict=True):
            if pieces:
                made |= pictures_of(pieces, known, _originals(run, known), run.folder, lambda: step(()))
    return made


def _wanted(
    change: VisitChange, its: SiteObject | None, at: int, records: Sequence[Mapping[str, Any]], key: tuple[int, str]
) -> Wanted | None:
    if its is not None:
        return object_wanted(its, key) if its.finding.photo in records[at] else None
    other, there = records[at].get(change.place), change.either
    return place_wanted(there, records[1 - at].get(there.finding.photo), other, key) if other else None


def _originals(saved: SavedRun, records: Mapping[str, Mapping[str, Any]]) -> Callable[[str], Path | None]:
    """Where a photograph is, if it is still the one that was inspected: folders are used again for the next flight."""
    there = saved.photographs()

    def original(photo: str) -> Path | None:
        path, said = there.get(photo), records[photo]
        if path is None or not said.get("sha256"):
            return None
        try:
            same = list(said.get("file", ())) == list(file_state(path)) or file_hash(path) == said["sha256"]
        except OSError:
            return None
        return path if same else None

    return original


def summary(told: Revisit, folder: Path) -> Summary:
    """What changed, for people, narrow enough for 80 columns, and as JSON."""
    lines: list[Any] = [f"[bold]{escape(headline(told))}[/]", _counts(told)]
    listed = [c for c in told.changes if c.status in CHANGED]
    if listed:
        lines.append(_first(listed[:SHOWN], told))
    if len(listed) > SHOWN:
        lines.append(f"[dim]and {len(listed) - SHOWN:,} more[/]")
    if told.differences:
        lines.append("[bold yellow]A change may come from what differs besides the site:[/]")
        lines += [f"  {escape(what)}" for what in told.differences]
    places = {"page": f"{folder}/{HTML}", "table": f"{folder}/{CSV}", "records": f"{folder}/{JSON}"}
    return Summary(lines, places, record(told) | {"out": str(folder)}, told.problems, f"{folder}/{JSON}")


def _counts(told: Revisit) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("objects", "perhaps"):
        table.add_column(name, justify="right")
    table.add_column("means")
    means = {"worse": "severer than before", "better": "less severe than before", "unclear": "no answer in a visit"}
    for status in STATUSES:
        if number := told.count(status):
            doubtful = told.count(status, perhaps=True)
            said = f"[dim]{means.get(status, MEANS[status])}[/]"
            table.add_row(f"{SIGNS[status]} {status}", f"{number:,}", f"{doubtful:,}" if doubtful else "", said)
    return table


def _first(changes: Sequence[VisitChange], told: Revisit) -> Table:
    """The gravest changes, a line or two each."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name, width in (("change", 16), ("what", 34), ("photograph now", 22)):
        table.add_column(name, max_width=width, overflow="fold")
    for change in changes:
        sides = [its.condition or "no answer" if its else "–" for its in (change.before, change.after)]
        sure = "" if change.p_told is None else f" ({percent(change.p_told)})"
        what = f"{words_of(change.either.type_name, told.words)}: {sides[0]} → {sides[1]}{sure}"
        photo = f"{change.either.finding.photo} {change.either.finding.instance_id}"
        table.add_row(f"{SIGNS[change.status]} {change.words}", escape(what), escape(cut(photo, 44)))
    return table
