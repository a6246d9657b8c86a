"""Writes a run: marked pictures and lines as it goes, the tables and the page at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from toeline.core.result import Result
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.report.draw import as_jpeg, draw
from toeline.report.folder import RunFolder, write_whole
from toeline.report.page import PageInput, TruthNotes, render_page
from toeline.report.record import data_hash, now_words
from toeline.report.table import marked_name, rows, to_csv
from toeline.report.worklist import FIRST, WORKLIST, by_severity, work_rows, worklist, worklist_csv


@dataclass(frozen=True)
class Summary:
    """What a run came to. `photographs` were asked for, `already` of them were done by an earlier start of this run.

    `by_severity` counts the worst first and is empty when the taxonomy has no scale; `worst` are the first rows of the
    work list.
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

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return self.problems == 0

    def record(self) -> dict[str, Any]:
        """As JSON, with the places of what was written."""
        names = ["findings.jsonl", "findings.csv", "report.html", "errors.jsonl", "run.json", "marked"]
        names += [WORKLIST] if self.by_severity else []
        return {**asdict(self), "fine": self.fine, "files": {n: f"{self.out}/{n}" for n in names}}


def save(folder: RunFolder, results: Iterable[Result], taxonomy: Taxonomy) -> Iterator[Result]:
    """Write every result as it comes and pass it on, without its picture. Raises OutputError when the disk refuses."""
    try:
        yield from folder.keep(_marked(folder, results, taxonomy))
    except OSError as why:
        raise OutputError(
            f"{folder.path}: cannot be written ({why.strerror}). Make room, then run the same command again: it goes "
            f"on where it stopped."
        ) from None


def _marked(folder: RunFolder, results: Iterable[Result], taxonomy: Taxonomy) -> Iterator[Result]:
    for result in results:
        if isinstance(result.image, Image.Image):
            picture = as_jpeg(draw(result.image, result.findings, taxonomy))
            write_whole(folder.path / marked_name(result.photo), picture)
        yield result


def finish(
    folder: RunFolder,
    order: Sequence[str],
    taxonomy: Taxonomy,
    *,
    already: int = 0,
    truth: TruthNotes | None = None,
) -> Summary:
    """Write the tables, report.html and the end of run.json. `order` names the photographs as they were asked for."""
    findings, problems = folder.findings(), folder.problems()
    rank = {name: i for i, name in enumerate(order)}
    photos = sorted(folder.done.values(), key=lambda p: rank.get(p["photo"], len(rank)))
    findings.sort(key=lambda f: rank.get(f.photo, len(rank)))
    counts = Counter(f.verdict.condition for f in findings)
    todo = worklist(findings)
    summary = Summary(
        out=str(folder.path),
        photographs=len(photos),
        already=already,
        failed=sum(bool(p["failed"]) for p in photos),
        findings=len(findings),
        by_condition={c.name: counts[c.name] for c in taxonomy.conditions},
        review=sum(bool(f.verdict.review) for f in findings),
        problems=len(problems),
        seconds=round(sum(p["seconds"] for p in photos), 1),
        by_severity=by_severity(findings, taxonomy),
        immediate=sum(bool(f.grade.immediate) for f in findings),
        worst=tuple(work_rows(todo[:FIRST])),
    )
    counted = {k: v for k, v in asdict(summary).items() if k not in ("out", "already", "worst")}
    folder.save_run(finished=now_words(), data_sha256=data_hash(photos), counts=counted)
    write_whole(folder.path / "findings.csv", to_csv(rows(findings, taxonomy)))
    if taxonomy.grading:
        write_whole(folder.path / WORKLIST, worklist_csv(todo))
    page = PageInput(folder.path, photos, findings, problems, folder.run, taxonomy, truth)
    write_whole(folder.path / "report.html", render_page(page))
    return summary
