"""`toeline analyze` and `toeline gallery`: a data set measured, and shown."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import grave, kinds_of
from toeline.core.records import told_from
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.pipelines import progress as show
from toeline.pipelines.progress import bar, escape
from toeline.pipelines.settings import AnalyzeRun, GalleryOptions

if TYPE_CHECKING:
    from toeline.analysis.analyze import Analysis, Crew
    from toeline.analysis.gallery import GalleryRun
    from toeline.analysis.table import Flag
    from toeline.data.yolo import YoloSet


SHOWN = 100  # whole photographs in the gallery; `toeline gallery` shows more


def analyze_into(run: AnalyzeRun, out: Path) -> Analysis:
    """Analyze and write everything. Raises ToelineError."""
    from toeline.analysis.analyze import Crew, How, beside
    from toeline.analysis.analyze import analyze as analyze_set
    from toeline.analysis.report import OWN, Report, save
    from toeline.analysis.sections import sections
    from toeline.core.provenance import now_words, settings_of, start_record
    from toeline.data.export import require_apart, staged
    from toeline.data.yolo import open_yolo
    from toeline.pipelines.progress import bar

    taxonomy = Taxonomy.load(run.taxonomy)
    opened = open_yolo(run.data, taxonomy, classes=run.classes)
    show.tell_problems(opened.problems)
    require_apart(out, (entry.photo.parent for entries in opened.splits.values() for entry in entries))
    record = start_record("analyze", settings_of(run), taxonomy)
    with staged(out, "run.json", settings_of(run), own=OWN) as stage:
        assert stage is not None, "with names of its own to replace, an analysis is always made anew"
        how = How(flight=run.flight, pixels=run.pixels)
        with Crew(run.workers or os.cpu_count() or 1) as crew:
            with bar("Reading", total=sum(map(len, opened.splits.values()))) as step:
                found = analyze_set(opened, taxonomy, how, target=run.target, crew=crew, step=step)
            with beside(crew, sections, found) as written:
                if run.pixels:
                    settings = _limits(GalleryOptions(data=run.data, photographs=SHOWN))
                    gallery_into(opened, taxonomy, stage / "gallery", found.flags, settings, crew)
        record = {**record, "finished": now_words()}
        title = f"Analysis of {found.counts.photos:,} photographs"
        gallery = "gallery/index.html" if run.pixels else ""
        save(stage, Report(found, written(), record, title, gallery))
    return found


def summary(found: Analysis, out: Path) -> dict[str, Any]:
    """What an analysis came to, as JSON, with the places of what was written."""
    from toeline.analysis.report import FILES, FOLDERS, plain
    from toeline.analysis.table import Weight

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
        "problems": len(grave(found.problems)),
        "notes": len(found.problems) - len(grave(found.problems)),
        "findings": plain(found.findings),
        "files": {name: f"{out}/{name}" for name in (*FILES, *FOLDERS) if (out / name).exists()},
    }


def tell_analysis(found: Analysis, out: Path) -> None:
    """What was found, colored by how bad it is, and where it is written."""
    colors = {"bad": "red", "careful": "yellow", "good": "green"}
    objects = some(found.counts.objects, "object")
    show.out.print(f"[bold]{some(found.counts.photos, 'photograph')}[/], {objects}")
    for finding in found.findings:
        show.out.print(f"  [{colors[finding.mood]}]●[/] {escape(finding.text)}")
    names = {"report": "report.html", "to look at": "problems.jsonl", "numbers": "analysis.json"}
    show.show_places({what: f"{out}/{name}" for what, name in names.items()})
    show.tell_kinds(kinds_of(found.problems), f"{out}/report.html")


def gallery_into(
    opened: YoloSet,
    taxonomy: Taxonomy,
    folder: Path,
    flags: Sequence[Flag],
    run: GalleryRun,
    crew: Crew | None = None,
) -> dict[str, Any]:
    """Choose, draw and write, with progress. Returns what gallery.json holds."""
    from toeline.analysis.gallery import choose, write_gallery

    with bar("Choosing", total=sum(map(len, opened.splits.values()))) as step:
        choice = choose(opened, taxonomy, flags, run, step=step)
    with bar("Drawing", total=len(choice.wanted)) as step:
        return write_gallery(choice, folder, crew=crew, step=step)


def _limits(run: GalleryOptions) -> GalleryRun:
    from toeline.analysis.gallery import GalleryRun

    return GalleryRun(**{f.name: getattr(run, f.name) for f in fields(GalleryRun)})


def gallery_of(run: GalleryOptions, folder: Path) -> Any:
    """The gallery of a data set, with what the analysis in `flags` found. Returns what gallery.json holds."""
    from toeline.analysis.gallery import read_flags
    from toeline.data.yolo import open_yolo

    words = Taxonomy.load(run.taxonomy)
    opened = open_yolo(run.data, words, any_class=True, classes=run.classes)
    show.tell_problems(opened.problems)
    return gallery_into(opened, words, folder, read_flags(run.flags) if run.flags else (), _limits(run))


def tell_gallery(record: Mapping[str, Any], folder: Path) -> None:
    """How much is shown, and which page to open."""
    shown = sum(c["shown"] for c in record["classes"])
    photographs = some(record["photographs"]["shown"], "photograph")
    show.out.print(f"[bold]{some(shown, 'object')}[/] and {photographs} are shown")
    show.show_places({"open in a browser": str(folder / "index.html")})
    show.tell_kinds(kinds_of(told_from(record)), f"{folder}/gallery.json")
