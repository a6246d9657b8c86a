"""`toeline demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from toeline.cli.show import bar, out, show_places, tell
from toeline.cli.work import InspectRun, Output, inspect_into
from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from toeline.core.finding import Finding
    from toeline.report.page import TruthNotes

SCENES = 12
SEED = 90_210  # of the demo alone: no training run and no benchmark draws from it
PARTS = {"valid": 1.0}
NOTE = (
    "These scenes were drawn, from a seed that no model was trained on, so the truth of each object is known. "
    "Intervals are 95 %: the wider of Wilson's and a bootstrap over photographs. 'Without a pixel' is what the most "
    "common answer of each type gets on the same objects. Accuracy is counted over objects that were found. What the "
    "models score on real photographs is in their model cards."
)


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for scenes and results.")] = Path("runs/demo"),
) -> None:
    """Draw a dozen scenes, inspect them with the models that Toeline ships, and compare with the truth.

    Example: toeline demo --out runs/demo
    """
    from toeline.synth.write import write_dataset

    scenes = folder / "scenes"
    with bar("Drawing", total=SCENES) as step:
        write_dataset(scenes, scenes=SCENES, seed=SEED, parts=PARTS, masks=False, progress=lambda _, __: step([]))
    truth: list[TruthNotes] = []

    def compare(findings: list[Finding]) -> TruthNotes:
        from toeline.cli.compare import matched_with, notes_of

        taxonomy = Taxonomy.load()
        truth.append(notes_of(matched_with(scenes, findings, taxonomy), taxonomy, note=NOTE))
        return truth[0]

    run = InspectRun(photos=(str(scenes / "valid" / "images"),))
    title = f"Demonstration: {SCENES} drawn scenes"
    summary = inspect_into(run, Output(out=folder, command="demo", title=title, own=("scenes",), compare=compare))
    tell(summary)
    show_truth(truth[0])
    show_next(folder)
    raise typer.Exit(0 if summary.fine else 1)


def show_truth(truth: TruthNotes) -> None:
    """The figures as a table, and which answers were wrong."""
    table = Table(title="Against the truth of the drawn scenes", title_justify="left", title_style="bold")
    table.add_column("measured", no_wrap=True)
    for name in ("right", "95 % interval", "objects", "without a pixel"):
        table.add_column(name, justify="right")
    for f in truth.figures:
        floor = "" if f.floor is None else f"{f.floor:.0%}"
        said = (f"[bold]{f.value:.0%}[/]", f"{f.low:.0%} to {f.high:.0%}") if f.n else ("", "nothing to count")
        table.add_row(f.label, *said, str(f.n), floor)
    out.print()
    out.print(table)
    missed = sum(map(len, truth.missed.values()))
    out.print(
        f"{len(truth.wrong)} wrong class, {missed} not found, {len(truth.extra)} found where nothing is", style="dim"
    )


def show_next(folder: Path) -> None:
    """Where to look, and what to run next."""
    out.print("\n[bold]Next[/]")
    show_places(
        {
            "look at": f"{folder}/report.html  (open it in a browser)",
            "your photographs": "toeline inspect PHOTOS --out runs/first",
            "with your own boxes": "toeline inspect PHOTOS --boxes LABELS --out runs/second",
            "with Qwen2-VL-7B": "toeline inspect PHOTOS --judge Qwen/Qwen2-VL-7B-Instruct --out runs/third",
            "more scenes": "toeline synth runs/drawn --scenes 100 --seed 7",
        }
    )
