"""Writes a run: marked pictures and lines as it goes, the tables and the page at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from toeline.core.ahead import ahead
from toeline.core.lines import each_line
from toeline.core.result import Result
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.report.book import PAGE, PAGES, Book, Part, drop_pages, page_book, page_name
from toeline.report.chapters import Chapter, Totals, chapters
from toeline.report.draw import as_jpeg, draw
from toeline.report.folder import ERRORS, PROGRESS, RunFolder, write_whole, written
from toeline.report.page import MOST_PROBLEMS, PageInput, TruthNotes, render_page, side_for
from toeline.report.record import data_hash, now_words
from toeline.report.table import csv_head, csv_lines, marked_name, rows


@dataclass(frozen=True)
class Summary:
    """What a run came to. `photographs` were asked for, `already` of them were done by an earlier start of this run."""

    out: str
    photographs: int
    already: int
    failed: int
    findings: int
    by_condition: dict[str, int]
    review: int
    problems: int
    seconds: float

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return self.problems == 0

    def record(self) -> dict[str, Any]:
        """As JSON, with the places of what was written."""
        names = ("findings.jsonl", "findings.csv", "report.html", "errors.jsonl", "run.json", "marked")
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
    """Write findings.csv, report.html (and its pages) and the end of run.json, from what is on the disk.

    `order` names the photographs as they were asked for. No more than a few pages' photographs are in memory at a time.
    """
    base = PageInput(folder.path, (), (), (), {**folder.run, "finished": now_words()}, taxonomy, truth)
    number = len(folder.names)
    bind = partial(_bound, base, pages=-(-number // PAGE), side=side_for(number))
    read = enumerate(chapters(folder.path, order, PAGE), start=1)
    parts: list[Part] = []
    with written(folder.path / "findings.csv") as table:
        table.write(csv_head())
        for part, lines in ahead(bind, read, workers=workers, most=workers + 1):
            table.write(lines)
            parts.append(part)
    summary = _summary(folder, sum((p.totals for p in parts), Totals()), taxonomy, already)
    counted = {k: v for k, v in asdict(summary).items() if k not in ("out", "already")}
    done = (record for _, record in each_line(folder.path / PROGRESS))
    folder.save_run(finished=base.run["finished"], data_sha256=data_hash(done), counts=counted)
    _write_report(folder, replace(base, run=folder.run), order, parts)
    return summary


def _bound(base: PageInput, given: tuple[int, Chapter], *, pages: int, side: int) -> tuple[Part, bytes]:
    """Writes the page of a chapter, unless there is only one; gives its entry in the contents and its table lines."""
    number, chapter = given
    totals = Totals.of(chapter.photos, chapter.findings)
    name = f"{PAGES}/{page_name(number)}"
    if pages > 1:
        book = page_book(number, pages, totals, side)
        page = replace(base, photos=chapter.photos, findings=chapter.findings, book=book)
        write_whole(base.folder / name, render_page(page))
    part = Part(name, chapter.photos[0]["photo"], chapter.photos[-1]["photo"], totals)
    return part, csv_lines(rows(chapter.findings, base.taxonomy))


def _summary(folder: RunFolder, totals: Totals, taxonomy: Taxonomy, already: int) -> Summary:
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
    )


def _write_report(folder: RunFolder, base: PageInput, order: Sequence[str], parts: Sequence[Part]) -> None:
    """report.html: everything, or the contents of the pages that are there already."""
    problems = folder.problems(MOST_PROBLEMS)
    count = int(folder.run["counts"]["problems"])
    totals = sum((p.totals for p in parts), Totals())
    if len(parts) > 1:
        page = replace(base, problems=problems, book=Book(totals, count, parts=parts))
    else:
        whole = next(chapters(folder.path, order, PAGE), Chapter((), ()))
        book = Book(totals, count, side_for(totals.photographs))
        page = replace(base, photos=whole.photos, findings=whole.findings, problems=problems, book=book)
    write_whole(folder.path / "report.html", render_page(page))
    drop_pages(folder.path, len(parts) if len(parts) > 1 else 0)
