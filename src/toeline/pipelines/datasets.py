"""What makes a data set: `toeline split`, `toeline convert` and `toeline synth`, with what they tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from toeline.core.finding import kinds_of
from toeline.core.geo import CameraPose, Point
from toeline.core.records import told_from
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.errors import SetupError
from toeline.pipelines.progress import bar, escape, goes_on, out, saying, show_places, tell_kinds, tell_problems
from toeline.pipelines.settings import ConvertRun, SplitOptions, SynthRun

if TYPE_CHECKING:
    from toeline.data.datasets import Carry
    from toeline.data.split import SplitRun


TITLE = "Objects of each class, and how many points their share is off the whole"


def _readable(run: SplitOptions) -> SplitRun:
    """The settings of a split. Raises SetupError for parts or a pattern that cannot be read."""
    from toeline.data.split import SplitRun, grouping, parse_parts

    try:
        grouping(run.by)
        return SplitRun(by=run.by, seed=run.seed, parts=parse_parts(run.parts), carry=carrying(run.link))
    except ValueError as why:
        advice = "Type --by flight or --by with a regular expression, and --parts as train=0.8,valid=0.2."
        raise SetupError(f"{why}. {advice}") from None


def carrying(link: bool) -> Carry:
    """How photographs come into a new data set, by --link or --copy."""
    from toeline.data.datasets import Carry

    return Carry.LINK if link else Carry.COPY


def split_into(typed: SplitOptions, folder: Path) -> Mapping[str, Any]:
    """Split a data set into `folder`, with progress. Returns what split.json holds."""
    from toeline.data.split import plan_split, write_split
    from toeline.data.yolo import open_yolo

    run = _readable(typed)
    opened = open_yolo(typed.data, Taxonomy.load(typed.taxonomy), any_class=True, classes=typed.classes)
    tell_problems(opened.problems)
    photographs = sum(map(len, opened.splits.values()))
    with bar("Reading", total=photographs) as step:
        plan = plan_split(opened, run, step=step)
    with goes_on(), bar("Writing", total=photographs) as step:
        return write_split(plan, folder, step=lambda _: step([]))


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
    show_places({"data set": str(folder / "data.yaml"), "record": str(folder / "split.json")})
    tell_kinds(kinds_of(told_from(record)), f"{folder}/split.json")


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


def convert_into(run: ConvertRun, folder: Path) -> dict[str, Any]:
    """Write a data set in the other format, with progress. Returns what convert.json holds."""
    from toeline.data.export import Format, Shapes, read_other, shaped, write_as

    wanted = Format(run.to)
    with saying("Reading"):
        other = read_other(run.data, wanted, Taxonomy.load(run.taxonomy), classes=run.classes)
        read = shaped(other, Shapes(run.shapes), wanted)
    tell_problems(read.problems)
    with goes_on(), bar("Writing", total=read.photographs) as step:
        return write_as(read, wanted, folder, carrying(run.link), step=lambda _: step([]))


def tell_convert(record: Mapping[str, Any], folder: Path) -> None:
    """What was written, and what is different."""
    if record["already"]:
        out.print("This data set was written already; nothing was changed.")
    splits = ", ".join(f"{n:,} {split}" for split, n in record["photographs"].items())
    total = some(sum(record["photographs"].values()), "photograph")
    out.print(f"[bold]{total}[/] ({splits}), {record['boxes']:,} boxes and {record['polygons']:,} polygons")
    for note in record["notes"]:
        out.print(f"[dim]note[/] {escape(note)}")
    show_places({"data set": str(folder), "record": str(folder / "convert.json")})
    tell_kinds(kinds_of(told_from(record)), f"{folder}/convert.json")


def synth_into(run: SynthRun, folder: Path) -> None:
    """Draw scenes as a data set, with progress, and say where it is. Raises SetupError for what is no position."""
    from toeline.synth.dataset import write_dataset

    settings = {**asdict(run), "gps": position(run.gps) if run.gps is not None else None}
    with bar("Drawing", total=run.scenes) as step:
        file = write_dataset(folder, **settings, progress=lambda _, __: step([]))
    out.print(f"{run.scenes} scenes in {folder}; their classes and splits in {file}")


def position(typed: str) -> Point:
    """Degrees north and east, south and west negative, as "-33.92,18.42". Raises SetupError with what to type."""
    try:
        latitude, longitude = (float(part) for part in typed.split(","))
        return CameraPose(latitude, longitude).point
    except ValueError as why:
        raise SetupError(
            f"{typed!r} is no position ({why}). Type degrees north and east, as --gps 23.51,85.30 or -33.92,18.42."
        ) from None
