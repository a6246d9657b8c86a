"""`toeline convert`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from toeline.cli.show import bar, goes_on, of_labels, out, saying, show_places, some, tell_problems
from toeline.core.taxonomy import Taxonomy


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
    from toeline.data.convert import Format, read_other, write_as
    from toeline.data.write_yolo import Carry

    wanted = Format(to.value)
    with saying("Reading"):
        read = read_other(data, wanted, Taxonomy.load(taxonomy))
    tell_problems(of_labels(read.problems))
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
