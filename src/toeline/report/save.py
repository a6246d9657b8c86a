"""Writes a run: marked pictures and lines as it goes, the tables and the page at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from toeline.core.ahead import ahead
from toeline.core.finding import Finding
from toeline.core.lines import each_line
from toeline.core.result import Result
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.report.book import PAGE, PAGES, Book, Part, drop_pages, links_of, page_book, page_name
from toeline.report.chapters import Chapter, Totals, chapters
from toeline.report.draw import as_jpeg, draw
from toeline.report.folder import ERRORS, PROGRESS, RunFolder, write_whole, written
from toeline.report.page import MOST_PROBLEMS, PageInput, TruthNotes, render_page, side_for
from toeline.report.record import data_hash, now_words
from toeline.report.table import csv_head, csv_lines, marked_name, rows
from toeline.report.where import AREAS, POINTS, locate
from toeline.report.worklist import (
    FIRST,
    MOST_SHOWN,
    WORKLIST,
    Urgency,
    joined_csv,
    severities,
    urgency,
    work_lines,
    work_rows,
    worklist,
)


@dataclass(frozen=True)
class Summary:
    """What a run came to. `photographs` were asked for, `already` of them were done by an earlier start of this run.

    `by_severity` counts the worst first and is empty when the taxonomy has no scale; `worst` are the first rows of the
    work list.
    `located` counts findings with a position.
    """

    out: str
    photographs: int
    already: int
    failed: int
    findings: int
    by_condition: dict[str, int]
    review: int
    problems: int
    seconds: float
    by_severity: dict[str, int] = field(default_factory=dict)
    immediate: int = 0
    worst: tuple[dict[str, Any], ...] = ()
    located: int = 0

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return self.problems == 0

    def record(self) -> dict[str, Any]:
        """As JSON, with the places of what was written."""
        names = ["findings.jsonl", "findings.csv", "report.html", "errors.jsonl", "run.json", "marked"]
        names += [WORKLIST] if self.by_severity else []
        names += [POINTS, AREAS] if self.located else []
        return {**asdict(self), "fine": self.fine, "files": {n: f"{self.out}/{n}" for n in names}}


def save(folder: RunFolder, results: Iterable[Result], taxonomy: Taxonomy, *, workers: int = 0) -> Iterator[Result]:
    """Write every result as it comes and pass it on, without its picture. Raises OutputError when the disk refuses.

    `workers` threads draw and write the marked pictures, while this one gets the next result; with 0 this one does.
    """
    mark = partial(_marked, folder.path, taxonomy)
    try:
        yield from folder.keep(ahead(mark, results, workers=workers, most=workers + 1, greedy=False))
    except OSError as why:
        raise OutputError(
            f"{folder.path}: cannot be written ({why.strerror}). Make room, then run the same command again: it goes "
            f"on where it stopped."
        ) from None


def _marked(folder: Path, taxonomy: Taxonomy, result: Result) -> Result:
    if isinstance(result.image, Image.Image):
        picture = as_jpeg(draw(result.image, result.findings, taxonomy))
        write_whole(folder / marked_name(result.photo), picture)
    return replace(result, image=None)


def finish(
    folder: RunFolder,
    order: Sequence[str],
    taxonomy: Taxonomy,
    *,
    already: int = 0,
    truth: TruthNotes | None = None,
    workers: int = 0,
) -> Summary:
    """Write the tables, report.html (and its pages) and the end of run.json, from what is on the disk.

    `order` names the photographs as they were asked for. No more than a few pages' photographs are in memory at a time;
    of the work list, which is sorted as a whole, it is the finished lines.
    """
    located = locate(folder.path, taxonomy)  # first: it writes into findings.jsonl where they are
    base = PageInput(folder.path, (), (), (), {**folder.run, "finished": now_words()}, taxonomy, truth)
    number = len(folder.names)
    bind = partial(_bound, base, pages=-(-number // PAGE), side=side_for(number), mapped=located is not None)
    read = enumerate(chapters(folder.path, order, PAGE), start=1)
    book, todo = Book(Totals()), list[tuple[Urgency, bytes]]()
    with written(folder.path / "findings.csv") as table:
        table.write(csv_head())
        for bound in ahead(bind, read, workers=workers, most=workers + 1):
            table.write(bound.table)
            todo += bound.todo
            book = _with(book, bound, mapped=located is not None)
    if taxonomy.grading:
        with written(folder.path / WORKLIST) as table:
            table.writelines(joined_csv(todo))
    summary = replace(_summary(folder, book, taxonomy, already), located=len(located.marks) if located else 0)
    counted = {k: v for k, v in asdict(summary).items() if k not in ("out", "already", "worst")}
    done = (record for _, record in each_line(folder.path / PROGRESS))
    folder.save_run(finished=base.run["finished"], data_sha256=data_hash(done), counts=counted)
    _write_report(
        folder, replace(base, run=folder.run, located=located), order, replace(book, problems=summary.problems)
    )
    return summary


@dataclass(frozen=True)
class _Bound:
    """What is left of a chapter when its page is written: its lines of both tables, and what the contents say of it."""

    part: Part
    table: bytes
    todo: list[tuple[Urgency, bytes]]
    worst: list[Finding]
    links: dict[tuple[str, str], str]


def _bound(base: PageInput, given: tuple[int, Chapter], *, pages: int, side: int, mapped: bool) -> _Bound:
    """Writes the page of a chapter, unless there is only one."""
    number, chapter = given
    totals = Totals.of(chapter.photos, chapter.findings)
    name = f"{PAGES}/{page_name(number)}"
    if pages > 1:
        book = page_book(number, pages, totals, side)
        page = replace(base, photos=chapter.photos, findings=chapter.findings, book=book)
        write_whole(base.folder / name, render_page(page))
    todo = worklist(chapter.findings)
    worst = todo[:MOST_SHOWN]
    there = links_of(chapter, name)
    return _Bound(
        part=Part(name, chapter.photos[0]["photo"], chapter.photos[-1]["photo"], totals),
        table=csv_lines(rows(chapter.findings, base.taxonomy)),
        todo=work_lines(todo),
        worst=worst,
        links=there if mapped else {key: there[key] for key in ((f.photo, f.thing_id) for f in worst)},
    )


def _with(book: Book, bound: _Bound, *, mapped: bool) -> Book:
    """The contents with one more part; of the work list no more is kept than is shown. A map links to everything."""
    worst = sorted((*book.worst, *bound.worst), key=urgency)[:MOST_SHOWN]
    known = {**book.links, **bound.links}
    return replace(
        book,
        totals=book.totals + bound.part.totals,
        parts=(*book.parts, bound.part),
        worst=worst,
        links=known if mapped else {key: known[key] for key in ((f.photo, f.thing_id) for f in worst)},
    )


def _summary(folder: RunFolder, book: Book, taxonomy: Taxonomy, already: int) -> Summary:
    totals = book.totals
    return Summary(
        out=str(folder.path),
        photographs=totals.photographs,
        already=already,
        failed=totals.failed,
        findings=totals.findings,
        by_condition={c.name: totals.of_condition(c.name) for c in taxonomy.conditions},
        review=totals.review,
        problems=sum(1 for _ in each_line(folder.path / ERRORS)),
        seconds=round(totals.seconds, 1),
        by_severity=severities(totals.by_severity, taxonomy),
        immediate=totals.immediate,
        worst=tuple(work_rows(book.worst[:FIRST])),
    )


def _write_report(folder: RunFolder, base: PageInput, order: Sequence[str], book: Book) -> None:
    """report.html: everything, or the contents of the pages that are there already."""
    page = replace(base, problems=folder.problems(MOST_PROBLEMS), book=book)
    if len(book.parts) < 2:
        whole = next(chapters(folder.path, order, PAGE), Chapter((), ()))
        alone = Book(book.totals, book.problems, side_for(book.totals.photographs))
        page = replace(page, photos=whole.photos, findings=whole.findings, book=alone)
    write_whole(folder.path / "report.html", render_page(page))
    drop_pages(folder.path, len(book.parts) if len(book.parts) > 1 else 0)
