"""`toeline split`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from toeline.cli.show import bar, goes_on, of_labels, out, show_places, some, tell_problems
from toeline.core.taxonomy import Taxonomy

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
    from toeline.data.groups import grouping
    from toeline.data.split import SplitRun, parse_parts, plan_split
    from toeline.data.write_split import write_split
    from toeline.data.write_yolo import Carry
    from toeline.data.yolo import open_yolo

    try:
        run = SplitRun(by=by, seed=seed, parts=parse_parts(parts), carry=Carry.LINK if link else Carry.COPY)
        grouping(by)
    except ValueError as why:
        raise typer.BadParameter(f"{why}.") from None
    opened = open_yolo(data, Taxonomy.load(taxonomy), any_class=True)
    tell_problems(of_labels(opened.problems))
    photographs = sum(map(len, opened.splits.values()))
    with bar("Reading", total=photographs) as step:
        plan = plan_split(opened, run, step=lambda found: step(of_labels(found)))
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
