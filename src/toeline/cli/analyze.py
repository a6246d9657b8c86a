"""`toeline analyze`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from toeline.data.analyze.analysis import Analysis

SHOWN = 100  # whole photographs in the gallery; `toeline gallery` shows more


@dataclass(frozen=True, kw_only=True)
class AnalyzeRun:
    """Settings of one analysis, as the user typed them."""

    data: str
    target: float = 0.90
    taxonomy: str | None = None
    flight: str | None = None
    pixels: bool = True
    workers: int | None = None


def analyze(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A YOLO data set: its top folder, or its data.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier analysis there is replaced.")],
    target: Annotated[
        float, typer.Option(min=0.01, max=0.999, help="The accuracy that should be shown, as a share.")
    ] = 0.90,
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Types and conditions of another owner.")
    ] = None,
    flight: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Regular expression: what it matches in a file name is the flight line."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read and draw; as many as there are cores.")
    ] = None,
    no_pixels: Annotated[
        bool, typer.Option("--no-pixels", help="Labels only: no look at the photographs, no gallery.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Say what a data set holds, whether it can be trusted, and what it can prove.

    Writes analysis.json, report.md, report.html, leaks.csv, problems.jsonl, gallery and run.json into OUT. Exit code
    0: all was read, whatever was found in it; 1: some photographs or label files could not be read; 2: nothing could
    be done.

    Example: toeline analyze data/lagoon --out runs/lagoon-data
    """
    run = AnalyzeRun(
        data=str(data),
        target=target,
        taxonomy=str(taxonomy) if taxonomy else None,
        flight=flight,
        pixels=not no_pixels,
        workers=workers,
    )
    found = analyze_into(run, out)
    if as_json:
        typer.echo(json.dumps(summary(found, out), ensure_ascii=False))
    else:
        _tell(found, out)
    raise typer.Exit(1 if found.unread else 0)


def analyze_into(run: AnalyzeRun, out: Path) -> Analysis:
    """Analyze and write everything. Raises ToelineError."""
    from toeline.cli.gallery import gallery_into
    from toeline.cli.show import bar
    from toeline.data.analyze.analysis import analyze as analyze_set
    from toeline.data.analyze.crew import Crew, beside
    from toeline.data.analyze.gallery import GalleryRun
    from toeline.data.analyze.page import Report
    from toeline.data.analyze.reading import How
    from toeline.data.analyze.save import OWN, save
    from toeline.data.analyze.sections import sections
    from toeline.data.write_yolo import require_apart, staged
    from toeline.data.yolo import open_yolo
    from toeline.report.record import now_words, start_record

    taxonomy = Taxonomy.load(Path(run.taxonomy) if run.taxonomy else None)
    opened = open_yolo(Path(run.data), taxonomy)
    require_apart(out, (entry.photo.parent for entries in opened.splits.values() for entry in entries))
    record = start_record("analyze", asdict(run), taxonomy)
    with staged(out, "run.json", asdict(run), own=OWN) as stage:
        assert stage is not None, "with names of its own to replace, an analysis is always made anew"
        how = How(flight=run.flight, pixels=run.pixels)
        with Crew(run.workers or os.cpu_count() or 1) as crew:
            with bar("Reading", total=sum(map(len, opened.splits.values()))) as step:
                found = analyze_set(opened, taxonomy, how, target=run.target, crew=crew, step=step)
            with beside(crew, sections, found) as written:
                if run.pixels:
                    settings = GalleryRun(photographs=SHOWN)
                    gallery_into(opened, taxonomy, stage / "gallery", found.flags, settings, crew)
        record = {**record, "finished": now_words()}
        title = f"Analysis of {found.counts.photos:,} photographs"
        gallery = "gallery/index.html" if run.pixels else ""
        save(stage, Report(found, written(), record, title, gallery))
    return found


def summary(found: Analysis, out: Path) -> dict[str, Any]:
    """What an analysis came to, as JSON, with the places of what was written."""
    from toeline.data.analyze.flag import Weight
    from toeline.data.analyze.save import FILES, FOLDERS, plain

    faults = sum(f.weight is Weight.FAULT for f in found.flags)
    return {
        "out": str(out),
        "photographs": found.counts.photos,
        "objects": found.counts.objects,
        "classes": {c.name: c.n for c in found.counts.by_class},
        "splits": {name: part.photos for name, part in found.counts.by_split.items()},
        "faults": faults,
        "remarks": len(found.flags) - faults,
        "unread": found.unread,
        "findings": plain(found.findings),
        "files": {name: f"{out}/{name}" for name in (*FILES, *FOLDERS) if (out / name).exists()},
    }


def _tell(found: Analysis, out: Path) -> None:
    from rich.markup import escape

    from toeline.cli import show

    colors = {"bad": "red", "careful": "yellow", "good": "green"}
    objects = show.some(found.counts.objects, "object")
    show.out.print(f"[bold]{show.some(found.counts.photos, 'photograph')}[/], {objects}")
    for finding in found.findings:
        show.out.print(f"  [{colors[finding.mood]}]●[/] {escape(finding.text)}")
    names = {"report": "report.html", "to look at": "problems.jsonl", "numbers": "analysis.json"}
    show.show_places({what: f"{out}/{name}" for what, name in names.items()})
