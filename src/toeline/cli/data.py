"""Commands about data sets and findings: `toeline analyze`, `gallery`, `split`, `convert`, `export` and `synth`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.options import with_settings
from toeline.errors import ExitCode
from toeline.pipelines.next_folder import NEXT
from toeline.pipelines.progress import tell, tell_json
from toeline.pipelines.settings import (
    AnalyzeRun,
    ConvertRun,
    ExportRun,
    GalleryOptions,
    SplitOptions,
    SuggestRun,
    SynthRun,
)


@partial(with_settings, first="data")
def analyze(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier analysis there is replaced.")] = NEXT,
    run: AnalyzeRun,
    no_pixels: Annotated[
        bool, typer.Option("--no-pixels", help="Labels only: no look at the photographs, no gallery.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Say what a data set holds, whether it can be trusted, and what it can prove.

    Writes analysis.json, report.md, report.html, leaks.csv, problems.jsonl, gallery and run.json into OUT. Exit code
    0: all was read, whatever was found in it; 1: some photographs or label files could not be read, or class names had
    to be guessed; 2: nothing could be done.

    Example: toeline analyze data/lagoon --out runs/lagoon-data
    """
    from toeline.pipelines.analyze import analyze_into, summary, tell_analysis

    found = analyze_into(replace(run, pixels=not no_pixels), out)
    tell_json(summary(found, out)) if as_json else tell_analysis(found, out)
    raise typer.Exit(ExitCode.of(fine=found.fine))


@partial(with_settings, first="data")
def gallery(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the pages; an earlier gallery is replaced.")],
    run: GalleryOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print gallery.json on standard output.")] = False,
) -> None:
    """Show a data set: its objects by class, its photographs with all labels, and what an analysis found.

    Writes pages that a browser opens from the disk; opens nothing itself.

    Example: toeline gallery lagoon-dyke --out runs/gallery
    """
    from toeline.pipelines.analyze import gallery_of, tell_gallery

    record = gallery_of(run, folder)
    tell_json(record) if as_json else tell_gallery(record, folder)
    raise typer.Exit(ExitCode.of(fine=not record["problems"]))


@with_settings
def suggest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `toeline inspect` wrote, or a data set.")],
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR|FILE.txt", help="Folder for the results, or a list.")
    ] = NEXT,
    run: SuggestRun,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON on standard output.")] = False,
) -> None:
    """Say what more labels would help most: photographs that the models are least sure of, thin classes, flight lines.

    Of an inspection, the photographs of most uncertainty, spread over flight lines; of a data set, what its classes and
    flight lines lack, and its photographs without labels. Writes suggest.txt (paths, for a labeling tool), suggest.csv,
    suggest.html, errors.jsonl and run.json into DIR. Exit code 0: all was read; 1: something could not be read; 2:
    nothing could be done.

    Example: toeline suggest runs/first --n 50 --out runs/to-label
    """
    from toeline.pipelines.suggest import suggest_into, summary

    found = suggest_into(source, run, out)
    tell(summary(found, out), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=found.fine))


@partial(with_settings, first="data")
def split(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the new data set.")],
    run: SplitOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print split.json on standard output.")] = False,
) -> None:
    """Split a data set by flight line: no group on both sides, every class as common in each part as in the whole.

    Photographs of one flight line, Roboflow copies of one source and exact copies stay together. Writes a YOLO data set
    and split.json, which says what came of it.

    Example: toeline split lagoon-dyke --out runs/split --by flight --seed 1
    """
    from toeline.pipelines.datasets import split_into, tell_split

    record = split_into(run, folder)
    tell_json(record) if as_json else tell_split(record, folder)
    raise typer.Exit(ExitCode.of(fine=not record["problems"]))


@partial(with_settings, first="data to")
def convert(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the new data set.")],
    run: ConvertRun,
    as_json: Annotated[bool, typer.Option("--json", help="Print convert.json on standard output.")] = False,
) -> None:
    """Convert a data set from YOLO to COCO or back: the same boxes, polygons, classes and splits.

    What the other format cannot hold is told and listed in convert.json.

    Example: toeline convert lagoon-dyke --to coco --out runs/coco
    """
    from toeline.pipelines.datasets import convert_into, tell_convert

    record = convert_into(run, folder)
    tell_json(record) if as_json else tell_convert(record, folder)
    raise typer.Exit(ExitCode.of(fine=not record["problems"]))


@partial(with_settings, first="run to")
def export(
    out: Annotated[
        Path, typer.Option(metavar="DIR|FILE", help="Folder for the data set; or the file, or a folder for it.")
    ],
    run: ExportRun,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Write the findings of a run for other tools: annotation tools, maps, tables. No model is loaded.

    Of a store of toeline serve, what is undecided, for labelstudio, cvat or fiftyone: it comes back with toeline serve
    answers.

    Exit code 0: all findings are in it; 1: some are left out, and named; 2: nothing was written.

    Example: toeline export runs/flight7 --to cvat --out flight7.xml

    On a map: toeline export runs/flight7 --to kml --out flight7.kml
    """
    from toeline.core.finding import grave
    from toeline.serve.store import FILE as STORE

    if (run.run / STORE).is_file():
        from toeline.serve.tasks import export_store

        said = export_store(run, out)
        tell(said, as_json=as_json)
        raise typer.Exit(ExitCode.of(fine=not grave(said.problems)))
    from toeline.pipelines.export import export_into
    from toeline.pipelines.export import summary as export_summary

    done = export_into(run, out)
    tell(export_summary(done), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=done.fine))


@with_settings
def synth(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the data set; the same again continues in it.")
    ],
    run: SynthRun,
) -> None:
    """Draw embankment scenes with their truth: a YOLO polygon data set with masks, in Roboflow's layout.

    Example: toeline synth runs/drawn --scenes 100 --seed 7
    """
    from toeline.pipelines.datasets import synth_into

    synth_into(run, folder)
