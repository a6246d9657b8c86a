"""`toeline compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from toeline.cli.evaluate import Cluster
from toeline.cli.show import out as terminal
from toeline.cli.show import show_places, some
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError

if TYPE_CHECKING:
    from toeline.evaluate.compare import Comparison, Difference, Run

JSON, HTML, MARKDOWN = "compare.json", "compare.html", "compare.md"
OWN = {JSON, HTML, MARKDOWN}


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Output folders of toeline evaluate; all against the first."),
    ],
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write compare.html, .md and .json.")
    ] = None,
    cluster: Annotated[Cluster, typer.Option(help="What the bootstrap draws as a whole.")] = Cluster.PHOTO,
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Types and conditions of another owner.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on standard output.")] = False,
) -> None:
    """Compare evaluations on the same objects: differences with intervals, gains and losses, which objects flipped.

    Runs on other objects, other labels or another set of class names are refused, with what differs.

    Example: toeline compare runs/untrained runs/trained --out runs/what-training-gave
    """
    from toeline.evaluate.compare import compare_all

    told = compare_all(
        [read_run_cases(run) for run in runs],
        Taxonomy.load(taxonomy),
        cluster="group" if cluster is Cluster.FLIGHT else "photo",
    )
    if folder:
        write(told, folder)
    if as_json:
        typer.echo(json.dumps({"comparisons": [c.record() for c in told]}, ensure_ascii=False))
        return
    for comparison in told:
        tell(comparison)
    if folder:
        show_places({"page": f"{folder}/{HTML}", "records": f"{folder}/{JSON}"})


def read_run_cases(folder: Path) -> Run:
    """The judged objects of an output folder, with the hashes of what they were judged on. Raises OutputError."""
    from toeline.evaluate.cases import read_cases
    from toeline.evaluate.compare import Run
    from toeline.report.folder import read_run

    record, cases = read_run(folder), read_cases(folder)
    settings = record.get("settings", {})
    labels = "".join(str(settings.get(name, "")) for name in ("labels_sha256", "taxonomy_sha256"))
    return Run(str(folder), cases, data=str(record.get("data_sha256", "")), labels=labels)


def write(told: Sequence[Comparison], folder: Path) -> None:
    """compare.json, compare.html and compare.md. Raises OutputError for a folder that holds anything else."""
    from toeline.cli.compare_page import page_of
    from toeline.report.folder import CLUTTER, write_whole
    from toeline.report.scorecard_page import render_html, render_markdown

    held = sorted({p.name for p in folder.iterdir()} - OWN - CLUTTER) if folder.is_dir() else []
    if held:
        raise OutputError(
            f"{folder}: holds something else ({', '.join(held[:3])}). Choose a new folder with --out; nothing was "
            f"changed."
        )
    page, records = page_of(told), [c.record() for c in told]
    texts = {
        JSON: json.dumps({"comparisons": records}, indent=2, ensure_ascii=False) + "\n",
        HTML: render_html(page),
        MARKDOWN: render_markdown(page),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)


def tell(comparison: Comparison) -> None:
    """One pair of runs, for people: every figure that counts something, narrow enough for 80 columns."""
    from toeline.cli.compare_page import kind_of, sentence, telling

    title = escape(f"{comparison.second} beside {comparison.first}")
    table = Table(
        box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1), collapse_padding=True, pad_edge=False
    )
    table.add_column("measured", min_width=20)
    for name in ("first", "second", "points, 95 %", "+ -", "p", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = telling(comparison)
    for row, after in zip(rows, [*rows[1:], rows[-1]], strict=True):
        table.add_row(*map(escape, short_cells(row)), end_section=kind_of(row) != kind_of(after))
    terminal.print(table)
    terminal.print(escape(sentence(comparison)))
    counted = f"{some(comparison.objects, 'object')}, {some(comparison.photographs, 'photograph')}"
    terminal.print(f"[dim]{counted}; + - are objects gained and lost[/]\n")


def short_cells(difference: Difference) -> tuple[str, ...]:
    """A difference as texts for the terminal."""
    from toeline.cli.compare_page import cells, span

    label, first, second, points, _, gained, lost, p, n = cells(difference)
    changed = f"+{gained} -{lost}" if gained else ""
    return (label, first.removesuffix(" %"), second.removesuffix(" %"), f"{points} ({span(difference)})", changed, p, n)
