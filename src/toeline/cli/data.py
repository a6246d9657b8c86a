"""Commands about data sets: `toeline analyze`, `gallery`, `split`, `convert` and `synth`."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.options import with_settings
from toeline.pipelines.analyze import analyze_into, gallery_of, summary, tell_analysis, tell_gallery
from toeline.pipelines.datasets import (
    convert_into,
    position,
    split_into,
    split_settings,
    synth_into,
    tell_convert,
    tell_split,
)
from toeline.pipelines.progress import tell, tell_json
from toeline.pipelines.settings import AnalyzeRun, SuggestRun, Taxonomy
from toeline.pipelines.suggest import suggest_into
from toeline.pipelines.suggest import summary as suggest_summary
from toeline.train.config import Classes


@partial(with_settings, first="data")
def analyze(
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier analysis there is replaced.")],
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
    found = analyze_into(replace(run, pixels=not no_pixels), out)
    tell_json(summary(found, out)) if as_json else tell_analysis(found, out)
    raise typer.Exit(0 if found.fine else 1)


def gallery(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A YOLO data set.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the pages; an earlier gallery is replaced.")],
    flags: Annotated[
        Path | None,
        typer.Option(metavar="ANALYSIS", help="Folder or analysis.json of `toeline analyze`: what it found."),
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Objects shown of each class, at most.")] = 60,
    photographs: Annotated[int, typer.Option(min=0, help="Whole photographs shown, at most.")] = 300,
    per_problem: Annotated[int, typer.Option(min=1, help="Pictures of each kind of problem, at most.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is shown where there is more.")] = 0,
    taxonomy: Taxonomy = None,
    classes: Classes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print gallery.json on standard output.")] = False,
) -> None:
    """Show a data set: its objects by class, its photographs with all labels, and what an analysis found.

    Writes pages that a browser opens from the disk; opens nothing itself.

    Example: toeline gallery lagoon-dyke --out runs/gallery
    """
    from toeline.analysis.gallery import GalleryRun

    run = GalleryRun(per_class=per_class, photographs=photographs, per_problem=per_problem, seed=seed)
    record = gallery_of(data, folder, run, flags=flags, taxonomy=taxonomy, classes=classes)
    tell_json(record) if as_json else tell_gallery(record, folder)
    raise typer.Exit(1 if record["problems"] else 0)


@with_settings
def suggest(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `toeline inspect` wrote, or a data set.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR|FILE.txt", help="Folder for the results, or a list.")],
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
    found = suggest_into(source, run, out)
    tell(suggest_summary(found, out), as_json=as_json)
    raise typer.Exit(0 if found.fine else 1)


PARTS = "train=0.75,valid=0.15,test=0.10"


def split(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A YOLO data set; all its splits are put together first.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the new data set.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides between ways to split that are about as good.")],
    by: Annotated[
        str, typer.Option(metavar="flight|PATTERN", help="Flight line, or a regular expression for the file name.")
    ] = "flight",
    parts: Annotated[str, typer.Option(metavar="NAME=SHARE,...", help="Parts and their shares.")] = PARTS,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link photographs where possible, or copy them.")] = True,
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names if no file says any.")] = None,
    classes: Classes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print split.json on standard output.")] = False,
) -> None:
    """Split a data set by flight line: no group on both sides, every class as common in each part as in the whole.

    Photographs of one flight line, Roboflow copies of one source and exact copies stay together. Writes a YOLO data set
    and split.json, which says what came of it.

    Example: toeline split lagoon-dyke --out runs/split --by flight --seed 1
    """
    try:
        run = split_settings(by=by, seed=seed, parts=parts, link=link)
    except ValueError as why:
        raise typer.BadParameter(f"{why}.") from None
    record = split_into(data, run, folder, taxonomy=taxonomy, classes=classes)
    tell_json(record) if as_json else tell_split(record, folder)
    raise typer.Exit(1 if record["problems"] else 0)


class To(StrEnum):
    """The format that is written; the other one is read."""

    COCO = "coco"
    YOLO = "yolo"


class ShapesOption(StrEnum):
    """What objects are written as."""

    AS_READ = "as-read"
    BOXES = "boxes"
    POLYGONS = "polygons"


def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set in the other format.")],
    to: Annotated[To, typer.Option(help="The format to write.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the new data set.")],
    shapes: Annotated[
        ShapesOption, typer.Option(help="Write boxes and polygons as they are, all as boxes, or all as polygons.")
    ] = ShapesOption.AS_READ,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link photographs where possible, or copy them.")] = True,
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names if no file says any.")] = None,
    classes: Classes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print convert.json on standard output.")] = False,
) -> None:
    """Convert a data set from YOLO to COCO or back: the same boxes, polygons, classes and splits.

    What the other format cannot hold is told and listed in convert.json.

    Example: toeline convert lagoon-dyke --to coco --out runs/coco
    """
    record = convert_into(data, to.value, folder, shapes=shapes.value, link=link, taxonomy=taxonomy, classes=classes)
    tell_json(record) if as_json else tell_convert(record, folder)
    raise typer.Exit(1 if record["problems"] else 0)


def synth(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the data set; the same again goes on in it.")
    ],
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes to draw.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")],
    size: Annotated[int, typer.Option(min=160, max=4096, help="Side of the square pictures in pixels.")] = 640,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = min(4, os.cpu_count() or 1),
    gps: Annotated[
        str | None, typer.Option(metavar="LAT,LON", help="Write a flight that begins there into the photographs.")
    ] = None,
) -> None:
    """Draw embankment scenes with their truth: a YOLO polygon data set with masks, in Roboflow's layout.

    Example: toeline synth runs/drawn --scenes 100 --seed 7
    """
    try:
        start = position(gps) if gps is not None else None
    except ValueError as why:
        raise typer.BadParameter(str(why), param_hint="--gps") from None
    synth_into(folder, scenes=scenes, seed=seed, size=size, workers=workers, gps=start)
