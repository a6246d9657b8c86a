"""`toeline demo`: scenes are drawn, inspected, and compared with their ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from toeline.core.run_folder import claim
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines.inspect import Output, inspect_into, tell
from toeline.pipelines.progress import bar, out, show_places
from toeline.pipelines.settings import InspectRun

if TYPE_CHECKING:
    from toeline.core.finding import Finding
    from toeline.report.inspection_page import TruthNotes


SCENES = 12
SEED = 90_210  # of the demo alone: no training run and no benchmark draws from it
PARTS = {"valid": 1.0}
NOTE = (
    "These scenes were drawn, from a seed that no model was trained on, so the ground truth is known. Intervals are "
    "95 %: the wider of Wilson's and a bootstrap over photographs. 'Majority class' is a baseline: the most common "
    "class of each type, for the same objects. Accuracy is counted over objects that were found. What the models score "
    "on real photographs is in their model cards."
)


def demonstrate(folder: Path) -> bool:
    """Draw, inspect and compare into `folder`, and say what came of it; False when a photograph had a problem."""
    from toeline.synth.dataset import write_dataset

    claim(folder, own=("scenes",))
    scenes = folder / "scenes"
    with bar("Drawing", total=SCENES) as step:
        write_dataset(scenes, scenes=SCENES, seed=SEED, parts=PARTS, masks=False, progress=lambda _, __: step([]))
    ground_truth: list[TruthNotes] = []

    def compare(findings: list[Finding]) -> TruthNotes:
        from toeline.pipelines.compare import matched_with, notes_of

        taxonomy = Taxonomy.load()
        ground_truth.append(notes_of(matched_with(scenes, findings, taxonomy), taxonomy, note=NOTE))
        return ground_truth[0]

    run = InspectRun(photos=(scenes / "valid" / "images",))
    title = f"Demonstration: {SCENES} drawn scenes"
    summary = inspect_into(run, Output(out=folder, command="demo", title=title, own=("scenes",), compare=compare))
    tell(summary)
    show_ground_truth(ground_truth[0])
    show_next(folder)
    return summary.fine


def show_ground_truth(ground_truth: TruthNotes) -> None:
    """The figures as a table, and which answers were wrong."""
    table = Table(title="Against the ground truth of the drawn scenes", title_justify="left", title_style="bold")
    table.add_column("measured", no_wrap=True)
    for name in ("right", "95 % interval", "objects", "majority class"):
        table.add_column(name, justify="right")
    for f in ground_truth.figures:
        majority_baseline = "" if f.majority_baseline is None else f"{f.majority_baseline:.0%}"
        said = (
            (f"[bold]{f.value:.0%}[/]", f"{f.interval.low:.0%} to {f.interval.high:.0%}")
            if f.n
            else ("", "nothing to count")
        )
        table.add_row(f.label, *said, str(f.n), majority_baseline)
    out.print()
    out.print(table)
    missed = sum(map(len, ground_truth.missed.values()))
    out.print(
        f"{len(ground_truth.wrong)} wrong class, {missed} not found, {len(ground_truth.extra)} found where nothing is",
        style="dim",
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
