"""`toeline analyze`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from toeline.core.geo import CameraPose, Point
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.pipelines.analyze import AnalyzeRun, _tell, analyze_into, gallery_into, summary
from toeline.pipelines.progress import bar, goes_on, out, saying, show_places, tell_problems

if TYPE_CHECKING:
    pass


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
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Types and conditions of another owner.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print gallery.json on standard output.")] = False,
) -> None:
    """Show a data set: its objects by class, its photographs with all labels, and what an analysis found.

    Writes pages that a browser opens from the disk; opens nothing itself.

    Example: toeline gallery lagoon-dyke --out runs/gallery
    """
    from toeline.analysis.gallery import GalleryRun, read_flags
    from toeline.data.yolo import open_yolo

    words = Taxonomy.load(taxonomy)
    run = GalleryRun(per_class=per_class, photographs=photographs, per_problem=per_problem, seed=seed)
    opened = open_yolo(data, words, any_class=True)
    tell_problems(opened.problems)
    record = gallery_into(opened, words, folder, read_flags(flags) if flags else (), run)
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        shown = sum(c["shown"] for c in record["classes"])
        out.print(
            f"[bold]{some(shown, 'object')}[/] and {some(record['photographs']['shown'], 'photograph')} are shown"
        )
        if record["problems"]:
            out.print(f"[bold yellow]{some(len(record['problems']), 'problem')}[/], told above and in gallery.json")
        show_places({"open in a browser": str(folder / "index.html")})
    raise typer.Exit(1 if record["problems"] else 0)


TITLE = "Objects of each class, and how many points their share is off the whole"
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
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names if there is no data.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print split.json on standard output.")] = False,
) -> None:
    """Split a data set by flight line: no group on both sides, every class as common in each part as in the whole.

    Photographs of one flight line, Roboflow copies of one source and exact copies stay together. Writes a YOLO data set
    and split.json, which says what came of it.

    Example: toeline split lagoon-dyke --out runs/split --by flight --seed 1
    """
    from toeline.data.datasets import Carry
    from toeline.data.split import SplitRun, grouping, parse_parts, plan_split, write_split
    from toeline.data.yolo import open_yolo

    try:
        run = SplitRun(by=by, seed=seed, parts=parse_parts(parts), carry=Carry.LINK if link else Carry.COPY)
        grouping(by)
    except ValueError as why:
        raise typer.BadParameter(f"{why}.") from None
    opened = open_yolo(data, Taxonomy.load(taxonomy), any_class=True)
    tell_problems(opened.problems)
    photographs = sum(map(len, opened.splits.values()))
    with bar("Reading", total=photographs) as step:
        plan = plan_split(opened, run, step=step)
    with goes_on(), bar("Writing", total=photographs) as step:
        record = write_split(plan, folder, step=lambda _: step([]))
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        tell_split(record, folder)
    raise typer.Exit(1 if record["problems"] else 0)


def tell_split(record: Mapping[str, Any], folder: Path) -> None:
    """Sizes and class shares of the parts as a table, what could not be met, and the proof."""
    if record["already"]:
        out.print("This split was written already; nothing was changed.")
    out.print(_shares(record))
    for row in record["beyond"]:
        out.print(
            f"[yellow]beyond 5 points[/] {escape(row['class'])} is {row['share']:.1%} of {row['part']} and "
            f"{row['whole']:.1%} of the whole: {escape(row['why'])}"
        )
    for row in record["lacking"]:
        out.print(f"[yellow]lacking[/] {row['part']} has no {escape(row['class'])}: {escape(row['why'])}")
    out.print(verdict(record))
    checked = sum(record["proof"]["photographs"].values())
    out.print(f"No group is on both sides: read from the {some(checked, 'photograph')} that were written.")
    if record["problems"]:
        out.print(f"[bold yellow]{some(len(record['problems']), 'problem')}[/], told above and in split.json")
    show_places({"data set": str(folder / "data.yaml"), "record": str(folder / "split.json")})


def verdict(record: Mapping[str, Any]) -> str:
    """Whether every class's share and every part's size is within 5 points, and if not, whether it could be."""
    groups = some(record["groups"], "group")
    if record["met"]:
        return f"In every part every class share and the size are within 5 points of what they should be ({groups})."
    if record["proved_impossible"]:
        return f"No way of dealing out these {groups} whole keeps all shares and sizes within 5 points: that is proved."
    return f"No way was found to deal out these {groups} within 5 points; that is no proof that there is none."


def _shares(record: Mapping[str, Any]) -> Table:
    parts = record["parts"]
    table = Table(title=TITLE, title_justify="left", title_style="bold")
    table.add_column("class")
    table.add_column("whole", justify="right")
    for name in parts:
        table.add_column(name, justify="right")
    table.add_row(
        "photographs",
        f"{record['photographs']:,}",
        *(f"{p['photographs']:,} ({p['share']:.1%})" for p in parts.values()),
    )
    table.add_row("asked", "", *(f"{p['asked']:.1%}" for p in parts.values()))
    table.add_row("groups", f"{record['groups']:,}", *(f"{len(p['groups']):,}" for p in parts.values()))
    table.add_row("objects", f"{record['objects']:,}", *(f"{p['objects']:,}" for p in parts.values()), end_section=True)
    for rows in zip(*(p["classes"] for p in parts.values()), strict=True):
        cells = [f"{r['objects']:,} {100 * r['off']:>+5.1f}" for r in rows]
        table.add_row(escape(rows[0]["class"]), f"{rows[0]['whole']:.1%}", *cells)
    return table


class To(StrEnum):
    """The format that is written; the other one is read."""

    COCO = "coco"
    YOLO = "yolo"


def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set in the other format.")],
    to: Annotated[To, typer.Option(help="The format to write.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the new data set.")],
    link: Annotated[bool, typer.Option("--link/--copy", help="Link photographs where possible, or copy them.")] = True,
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names if there is no data.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print convert.json on standard output.")] = False,
) -> None:
    """Convert a data set from YOLO to COCO or back: the same boxes, polygons, classes and splits.

    What the other format cannot hold is told and listed in convert.json.

    Example: toeline convert lagoon-dyke --to coco --out runs/coco
    """
    from toeline.data.datasets import Carry
    from toeline.data.export import Format, read_other, write_as

    wanted = Format(to.value)
    with saying("Reading"):
        read = read_other(data, wanted, Taxonomy.load(taxonomy))
    tell_problems(read.problems)
    with goes_on(), bar("Writing", total=read.photographs) as step:
        record = write_as(read, wanted, folder, Carry.LINK if link else Carry.COPY, step=lambda _: step([]))
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        tell_convert(record, folder)
    raise typer.Exit(1 if record["problems"] else 0)


def tell_convert(record: Mapping[str, Any], folder: Path) -> None:
    """What was written, and what is different."""
    if record["already"]:
        out.print("This data set was written already; nothing was changed.")
    splits = ", ".join(f"{n:,} {split}" for split, n in record["photographs"].items())
    total = some(sum(record["photographs"].values()), "photograph")
    out.print(f"[bold]{total}[/] ({splits}), {record['boxes']:,} boxes and {record['polygons']:,} polygons")
    for note in record["notes"]:
        out.print(f"[dim]note[/] {escape(note)}")
    if record["problems"]:
        out.print(f"[bold yellow]{some(len(record['problems']), 'problem')}[/], told above and in convert.json")
    show_places({"data set": str(folder), "record": str(folder / "convert.json")})


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
    from toeline.synth.dataset import write_dataset

    start = _start(gps) if gps is not None else None
    with bar("Drawing", total=scenes) as step:
        file = write_dataset(
            folder, scenes=scenes, seed=seed, size=size, workers=workers, gps=start, progress=lambda _, __: step([])
        )
    out.print(f"{scenes} scenes in {folder}; their classes and splits in {file}")


def _start(typed: str) -> Point:
    """Degrees north and east, south and west negative, as "-33.92,18.42"."""
    try:
        latitude, longitude = (float(part) for part in typed.split(","))
        return CameraPose(latitude, longitude).point
    except ValueError as why:
        said = f"{typed!r} is no position ({why}). Type degrees north and east, as --gps 23.51,85.30 or -33.92,18.42."
        raise typer.BadParameter(said, param_hint="--gps") from None
