"""Writes a run: marked pictures and lines as it goes, the tables and the page at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
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
from toeline.report.where import AREAS, POINTS, locate


@dataclass(frozen=True)
class Summary:
    """What a run came to. `photographs` were asked for, `already` of them were done by an earlier start of this run.

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
    located: int = 0

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return self.problems == 0

    def record(self) -> dict[str, Any]:
        """As JSON, with the places of what was written."""
        names = ["findings.jsonl", "findings.csv", "report.html", "errors.jsonl", "run.json", "marked"]
        names += [POINTS, AREAS] if self.located else []
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
    """Write findings.csv, report.html and the end of run.json. `order` names the photographs as they were asked for."""
    located = locate(folder.path, taxonomy)  # first: it writes into findings.jsonl where they are
    findings, problems = folder.findings(), folder.problems()
    rank = {name: i for i, name in enumerate(order)}
    photos = sorted(folder.done.values(), key=lambda p: rank.get(p["photo"], len(rank)))
    findings.sort(key=lambda f: rank.get(f.photo, len(rank)))
    counts = Counter(f.verdict.condition for f in findings)
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
        located=len(located.marks) if located else 0,
    )
    counted = {k: v for k, v in asdict(summary).items() if k not in ("out", "already")}
    folder.save_run(finished=now_words(), data_sha256=data_hash(photos), counts=counted)
    write_whole(folder.path / "findings.csv", to_csv(rows(findings, taxonomy)))
    page = PageInput(folder.path, photos, findings, problems, folder.run, taxonomy, truth, located)
    write_whole(folder.path / "report.html", render_page(page))
    return summary
