"""`toeline compare`: runs on the same objects set side by side; and findings paired with a data set's ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from toeline.core.finding import Finding, by_photo
from toeline.core.reading import is_file
from toeline.core.run_folder import FINDINGS
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo
from toeline.errors import OutputError
from toeline.evaluate.classification import score
from toeline.evaluate.detection import detection_metrics
from toeline.evaluate.matching import Matched, match, on_found_boxes
from toeline.pipelines.progress import escape, show_places
from toeline.pipelines.progress import out as terminal
from toeline.pipelines.settings import CompareRun, clusters
from toeline.report.inspection_page import TruthNotes

if TYPE_CHECKING:
    from toeline.evaluate.compare import Comparison, Difference, Run


JSON, HTML, MARKDOWN = "compare.json", "compare.html", "compare.md"
OWN = {JSON, HTML, MARKDOWN}
ADVICE = "Name an output folder of toeline evaluate."


def read_run_cases(folder: Path) -> Run:
    """The judged objects of an output folder, with the hashes of what they were judged on. Raises OutputError."""
    from toeline.core.run_folder import read_run
    from toeline.evaluate.compare import Run
    from toeline.evaluate.matching import CASES, read_cases

    record = read_run(folder, advice=ADVICE)
    if not is_file(folder / CASES):
        wrote = f"`toeline {record['command']}` wrote it" if record.get("command") else f"it holds no {CASES}"
        raise OutputError(f"{folder}: is no output of toeline evaluate ({wrote}). {_instead(folder)}")
    cases = read_cases(folder)
    settings = record.get("settings", {})
    labels = "".join(str(settings.get(name, "")) for name in ("labels_sha256", "taxonomy_sha256"))
    return Run(str(folder), cases, data=str(record.get("data_sha256", "")), labels=labels)


def _instead(folder: Path) -> str:
    """What to type for a folder that cannot be compared: findings are evaluated first, against ground truth."""
    if not is_file(folder / FINDINGS):
        return ADVICE
    return (
        f"Its findings are not compared with ground truth yet. Type: toeline evaluate DATA --split SPLIT --findings "
        f"{folder / FINDINGS} --out NEW, and compare NEW."
    )


def write(told: Sequence[Comparison], folder: Path) -> None:
    """compare.json, compare.html and compare.md. Raises OutputError for a folder that holds anything else."""
    from toeline.core.run_folder import claim, write_whole
    from toeline.report.document import render_html, render_markdown
    from toeline.report.experiments_page import page_of

    claim(folder, note="", own=OWN)
    page, records = page_of(told), [c.record() for c in told]
    texts = {
        JSON: json.dumps({"comparisons": records}, indent=2, ensure_ascii=False) + "\n",
        HTML: render_html(page),
        MARKDOWN: render_markdown(page),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)


def compare_into(run: CompareRun, folder: Path | None) -> list[Comparison]:
    """Every run against the first, written into `folder` if there is one."""
    from toeline.evaluate.compare import compare_all

    read = [read_run_cases(folder) for folder in run.runs]
    told = list(compare_all(read, Taxonomy.load(run.taxonomy), cluster=clusters(run.cluster)))
    if folder:
        write(told, folder)
    return told


def tell_comparisons(told: Sequence[Comparison], folder: Path | None) -> None:
    """Each comparison for people, and where the page is."""
    for comparison in told:
        tell(comparison)
    if folder:
        show_places({"page": f"{folder}/{HTML}", "records": f"{folder}/{JSON}"})


def tell(comparison: Comparison) -> None:
    """One pair of runs, for people: every figure that counts something, narrow enough for 80 columns."""
    from toeline.report.experiments_page import kind_of, sentence, telling

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
    from toeline.report.experiments_page import cells, span

    label, first, second, points, _, gained, lost, p, n = cells(difference)
    changed = f"+{gained} -{lost}" if gained else ""
    return (label, first.removesuffix(" %"), second.removesuffix(" %"), f"{points} ({span(difference)})", changed, p, n)


def matched_with(dataset: Path, findings: Sequence[Finding], taxonomy: Taxonomy) -> list[Matched]:
    """Findings on the photographs of a YOLO data set, matched with its objects, photograph by photograph."""
    split, groups = read_split(open_yolo(dataset, taxonomy), None, taxonomy), by_photo(findings)
    return [match(name, groups.get(name, []), true) for name, true in split.true.items()]


def notes_of(matched: Sequence[Matched], taxonomy: Taxonomy, *, note: str = "") -> TruthNotes:
    """What a page and a terminal show of it."""
    card = score([case for m in matched for case in on_found_boxes(m)], taxonomy)
    found, real, f1, *_ = detection_metrics(matched)
    return TruthNotes(
        figures=(card.headline, card["accuracy"], found, real, f1),
        note=note,
        wrong={
            (m.photo, f.instance_id): t.ground_truth.class_name
            for m in matched
            for f, t in m.pairs
            if f.verdict.class_name != t.ground_truth.class_name
        },
        extra=frozenset((m.photo, f.instance_id) for m in matched for f in m.extra),
        missed={m.photo: [t.ground_truth.class_name for t in m.missed] for m in matched if m.missed},
    )
