"""`toeline gallery`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toeline.cli.show import bar, of_labels, out, show_places, some, tell_problems
from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from toeline.data.analyze.crew import Crew
    from toeline.data.analyze.flag import Flag
    from toeline.data.analyze.gallery import GalleryRun
    from toeline.data.yolo import YoloSet


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
    from toeline.data.analyze.gallery import GalleryRun, read_flags
    from toeline.data.yolo import open_yolo

    words = Taxonomy.load(taxonomy)
    run = GalleryRun(per_class=per_class, photographs=photographs, per_problem=per_problem, seed=seed)
    opened = open_yolo(data, words, any_class=True)
    tell_problems(of_labels(opened.problems))
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


def gallery_into(
    opened: YoloSet,
    taxonomy: Taxonomy,
    folder: Path,
    flags: Sequence[Flag],
    run: GalleryRun,
    crew: Crew | None = None,
) -> dict[str, Any]:
    """Choose, draw and write, with progress. Returns what gallery.json holds."""
    from toeline.data.analyze.gallery import choose, write_gallery

    with bar("Choosing", total=sum(map(len, opened.splits.values()))) as step:
        choice = choose(opened, taxonomy, flags, run, step=lambda found: step(of_labels(found)))
    with bar("Drawing", total=len(choice.wanted)) as step:
        return write_gallery(choice, folder, crew=crew, step=lambda found: step(of_labels(found)))
