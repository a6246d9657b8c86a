"""From evaluations to what is written and said: scorecard, calibration, pages, and the table in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from toeline.core.finding import Problem, grave
from toeline.core.records import counted, join_lines
from toeline.core.run_folder import ERRORS, RUN, claimed, write_whole, writing
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some, unknown
from toeline.data.places import SPLITS
from toeline.errors import LabelError, OutputError, ToelineError
from toeline.evaluate.classification import Scorecard, card_record, score
from toeline.evaluate.matching import CASES, case_record
from toeline.evaluate.metric import FINE_TUNED_TARGETS, ZERO_SHOT_TARGETS, Metric, metric_record
from toeline.evaluate.results import Evaluated, EvaluationResult, PromptResult, Spatial, Stages
from toeline.judge.prior import OFF
from toeline.pipelines.boxes import DETECTOR, TRUTH, require_boxes
from toeline.pipelines.calibrate import calibrated_on, require_unseen, trust_of, worse
from toeline.pipelines.domain import AUTO
from toeline.pipelines.evaluate_parts import (
    ALL,
    chosen_prompt,
    headline_both,
    keep_best,
    measure_spatial,
    other_prompts,
    own_prompt,
    passes,
    side_by_side,
    stages_of,
    tiles_both,
)
from toeline.pipelines.evaluate_prior import prior_results, require_prior
from toeline.pipelines.evaluate_run import CALIBRATION, TRAIN, TRUE_BOXES, Workbench, once
from toeline.pipelines.model_folder import doubts as unproven
from toeline.pipelines.model_folder import with_model
from toeline.pipelines.progress import Summary, escape, tell_problems
from toeline.pipelines.progress import errors as terminal
from toeline.pipelines.settings import EvaluateRun, Scoring
from toeline.report.document import Grid, ScorecardPage, Section, metric_cells, render_html, render_markdown
from toeline.report.end_to_end_page import stage_sections
from toeline.report.experiments_page import prior_section, prompts_section, spatial_section
from toeline.report.judge_page import card_sections, cost_of, headline_of, metric_sections, tiles_of, trust_section

SCORECARD, HTML, MARKDOWN = "scorecard.json", "report.html", "report.md"
CALIBRATION_FILE = "calibration.json"


def evaluate_into(run: EvaluateRun, scoring: Scoring, out: Path) -> EvaluationResult:
    """Evaluate, score and write everything into `out`. Raises ToelineError."""
    if run.findings:
        named = (run.judge, run.adapter, run.boxes, run.detector, run.prompt, run.model, run.prior)
        if named != (AUTO, None, TRUTH, "embedded", None, None, OFF):
            what = "--judge, --adapter, --boxes, --prompt, --prior and --model"
            raise ToelineError(f"--findings are scored as they are. Leave out {what}.")
        run = replace(run, judge="", boxes="", detector="")
    else:
        require_boxes(run.boxes)
    run = with_model(run)
    bench = Workbench(run, out=out)
    targets = read_targets(scoring.targets, bench)
    require_other_split(run, scoring)
    require_prior(bench, run)
    every = run.prompt == ALL
    run = own_prompt(bench, run) if every else replace(run, prompt=chosen_prompt(run.prompt))
    bench.split(run.split)  # what is wrong with it is said before a folder is made
    if scoring.calibrate:
        bench.dataset.split(scoring.calibrate)
    if scoring.calibrate and not run.findings:
        require_unseen(bench, run, scoring.calibrate)
    tell_passes(run, scoring, every=every)
    with claimed(out), writing(out):
        return _evaluate_into(bench, run, scoring, out, targets, every=every)


def tell_passes(run: EvaluateRun, scoring: Scoring, *, every: bool) -> None:
    """How often the photographs are gone over, and what for, before it begins."""
    found = passes(run, calibrate=scoring.calibrate, spatial=scoring.spatial, every_prompt=every)
    terminal.print(f"{some(len(found), 'pass', 'passes')} over the photographs:")
    for number, what in enumerate(found, start=1):
        terminal.print(f"  {number}. {escape(what)}")
    if less := sum(what.endswith("(--spatial)") for what in found):
        terminal.print(f"  [dim]--spatial 0 leaves out {less} of them[/]")


def _evaluate_into(
    bench: Workbench, run: EvaluateRun, scoring: Scoring, out: Path, targets: Mapping[str, float], *, every: bool
) -> EvaluationResult:
    done = once(bench, run, out, held=True)
    answer = {CALIBRATION: calibrated_on, TRUE_BOXES: once}
    further = {name: answer[name](bench, other, out / name) for name, other in _further(run, scoring, done)}
    if not done.cases and done.matched is None:
        raise OutputError(f"{out}: no object of {run.split} was judged, so there is nothing to measure.")
    card = scored(bench, done, scoring, targets)
    beside = {TRUE_BOXES: scored(bench, further[TRUE_BOXES], scoring, targets)} if TRUE_BOXES in further else {}
    if CALIBRATION in further:
        done.folder.note(in_both(done, further[CALIBRATION]))
    trust = trust_of(done, further.get(CALIBRATION), scoring.risk / 100)
    doubts = [*unproven(run.model), *worse(trust, out / CALIBRATION_FILE, done.split.name)]
    tell_problems(doubts)
    done.folder.note(doubts)
    others = other_prompts(bench, run, done.folder.path) if every else {}
    prompts = _prompts(bench, run, scoring, (done, card), others) if every else ()
    measure = partial(scored, bench, scoring=scoring, targets={})
    priors = prior_results(bench, run, [done, *others.values()], measure, scoring.clusters)
    spatial = _spatial(bench, run, scoring, done, targets)
    problems = [p for one in (done, *further.values()) for p in one.folder.problems()]
    true_boxes = (further[TRUE_BOXES], beside[TRUE_BOXES]) if TRUE_BOXES in further else None
    stages = stages_of(
        done, true_boxes, bench.taxonomy, like=card, targets=targets, train=majority_baselines(bench, done)
    )
    result = EvaluationResult(
        done=done,
        card=card,
        headline=headline_both(stages, done.split.name) if stages else headline_of(done, card),
        problems=tuple(dict.fromkeys([*doubts, *problems])),
        trust=trust,
        stages=stages,
        beside=beside,
        spatial=spatial,
        prompts=prompts,
        priors=priors,
    )
    write(bench, result, scoring, sections(bench, result))
    return result


def _prompts(
    bench: Workbench,
    run: EvaluateRun,
    scoring: Scoring,
    first_one: tuple[Evaluated, Scorecard],
    others: Mapping[str, Evaluated],
) -> tuple[PromptResult, ...]:
    """Every other prompt on the same objects, scored; prompts.json is written."""
    first, (done, card) = str(run.prompt), first_one
    cards = {first: card, **{name: scored(bench, other, scoring, {}) for name, other in others.items()}}
    rows = side_by_side(bench, (first, done), others, cards, scoring.clusters)
    keep_best(rows, done, run.judge)
    return rows


def _spatial(
    bench: Workbench, run: EvaluateRun, scoring: Scoring, done: Evaluated, targets: Mapping[str, float]
) -> Spatial | None:
    if not scoring.spatial:
        return None
    return measure_spatial(
        bench, run, done, most=scoring.spatial, cluster=scoring.clusters, target=targets.get("spatial")
    )


def require_other_split(run: EvaluateRun, scoring: Scoring) -> None:
    """Raise LabelError when the temperature would be fitted on what it is then measured on."""
    if scoring.calibrate and SPLITS.get(scoring.calibrate, scoring.calibrate) == SPLITS.get(run.split, run.split):
        raise LabelError(
            f"--calibrate {scoring.calibrate}: a temperature that is fitted on the split it is measured on proves "
            f"nothing. Name another split, or leave --calibrate out."
        )


def in_both(done: Evaluated, other: Evaluated) -> list[Problem]:
    """Photographs of the same bytes in both splits: a temperature that was fitted on them makes figures optimistic."""
    there = {r["sha256"] for r in other.folder.done.values() if r["sha256"]}
    what = f"is also in the split {other.split.name}, where the temperature was fitted."
    shared = [name for name, record in done.folder.done.items() if record["sha256"] in there]
    return [Problem("", name, what, "Take it out of one of them.") for name in shared]


def _further(run: EvaluateRun, scoring: Scoring, done: Evaluated) -> list[tuple[str, EvaluateRun]]:
    """What is evaluated besides, with its folder: the calibration split, and true boxes beside found ones."""
    found: list[tuple[str, EvaluateRun]] = []
    if scoring.calibrate:
        found.append((CALIBRATION, replace(run, split=scoring.calibrate)))
    if done.matched is not None and not run.findings:
        found.append((TRUE_BOXES, replace(run, boxes=TRUTH)))
    return found


def scored(bench: Workbench, done: Evaluated, scoring: Scoring, targets: Mapping[str, float]) -> Scorecard:
    """The scorecard of one evaluation, with the majority-class baseline of the train split where there is one."""
    train = majority_baselines(bench, done)
    return score(done.cases, bench.taxonomy, targets=targets, train=train, cluster=scoring.clusters)


def majority_baselines(bench: Workbench, done: Evaluated) -> list[tuple[str, str]]:
    """Type and class of every object of the train split; none when that is what is evaluated, or there is none."""
    if TRAIN not in bench.dataset.splits or done.split.name == TRAIN:
        return []
    true = bench.split(TRAIN).true.values()
    return [(t.ground_truth.type_name, t.ground_truth.class_name) for instances in true for t in instances]


def sections(bench: Workbench, result: EvaluationResult) -> list[Section]:
    """The page, section by section."""
    stages = result.stages
    return [
        *(stage_sections(result.done, stages, result.card, bench.taxonomy) if stages else ()),
        *metric_sections(result.card, where_found=stages is not None),
        *prompts_section(result.prompts),
        *prior_section(result.priors),
        *spatial_section(result.spatial),
        *trust_section(result.trust),
        *card_sections(result.done, result.card, bench.taxonomy),
    ]


def write(bench: Workbench, result: EvaluationResult, scoring: Scoring, parts: list[Section]) -> None:
    """scorecard.json, report.html and report.md."""
    done, card = result.done, result.card
    done.folder.save_run(scoring=asdict(scoring), **counted(result.problems))
    page = ScorecardPage(
        title=title_of(bench, done),
        headline=result.headline,
        tiles=tiles_both(result.stages, done) if result.stages else tiles_of(done, card),
        sections=parts,
        run=done.folder.run,
        problems=result.problems,
        files=(MARKDOWN, SCORECARD, *([INTEGRATION] if result.stages else [])),
    )
    folder = done.folder.path
    if result.stages:
        write_stages(done, result.stages, card, result.headline, bench.taxonomy)
    if result.trust.calibration:
        text = json.dumps(result.trust.calibration.record(), indent=2, ensure_ascii=False)
        write_whole(folder / CALIBRATION_FILE, text + "\n")
    write_whole(folder / SCORECARD, json.dumps(record_of(result), indent=2, ensure_ascii=False) + "\n")
    for name, other in result.beside.items():
        write_whole(folder / name / SCORECARD, json.dumps(card_record(other), indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / HTML, render_html(page))
    write_whole(folder / MARKDOWN, render_markdown(page))


def title_of(bench: Workbench, done: Evaluated) -> str:
    """What was measured on what."""
    run = bench.run
    answered = "Saved findings" if run.findings else f"The judge {run.judge}"
    if not run.findings and run.boxes == DETECTOR:
        answered = f"The detector {run.detector} and the judge {run.judge}"
    return f"{answered} on {bench.dataset.root.resolve().name}, {done.split.name}"


def record_of(result: EvaluationResult) -> dict[str, Any]:
    """All that was measured, as scorecard.json holds it."""
    return {
        **card_record(result.card),
        "headline": result.headline,
        "probabilities": result.trust.record(),
        "detected": result.stages.record() if result.stages else None,
        "spatial": result.spatial.record() if result.spatial else None,
        **({"prior": [row.record() for row in result.priors]} if result.priors else {}),
        "cost": cost_of(result.done, result.card),
    }


def summary(result: EvaluationResult) -> Summary:
    """The headline, the metrics as a table, and where everything is."""
    where, stages = result.done.folder.path, result.stages
    lines: list[RenderableType] = [f"[bold]{escape(result.headline)}[/]"]
    metrics = (stages.card if stages else result.card).figures
    lines.append(metric_table([f for f in metrics if not f.key.startswith("class/")]))
    if stages:
        lines.append("[dim]Both stages: every true object, a miss is wrong. Where errors come from:[/]")
        lines.append(metric_table([*stages.error_breakdown.errors, *stages.error_breakdown.trust]))
    for section in (*prompts_section(result.prompts), *prior_section(result.priors)):
        lines += [escape(" ".join(section.text)), *map(grid_table, section.grids)]
    places = {"report": f"{where}/{HTML}", "as text": f"{where}/{MARKDOWN}", "figures": f"{where}/{SCORECARD}"}
    both = [INTEGRATION] if stages else []
    names = [SCORECARD, HTML, MARKDOWN, "cases.jsonl", "findings.jsonl", "errors.jsonl", "run.json", *both]
    record = {
        **record_of(result),
        "fine": result.fine,
        "problems": len(grave(result.problems)),
        "files": {name: f"{where}/{name}" for name in names},
    }
    places |= {"both stages": f"{where}/{INTEGRATION}"} if stages else {}
    return Summary(lines, places, record, result.problems, f"{where}/{ERRORS}")


def grid_table(grid: Grid) -> Table:
    """A table of a page, for the terminal."""
    table = Table(box=SIMPLE_HEAD, title=escape(grid.title), title_justify="left", padding=(0, 1), pad_edge=False)
    for n, name in enumerate(grid.head):
        table.add_column(escape(name), justify="right" if n else "left", no_wrap=not n)
    for row in grid.rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def metric_table(figures: Sequence[Metric]) -> Table:
    """Figures as a table for the terminal, which keeps to 80 columns where no target is set."""
    targets = any(f.target is not None for f in figures)
    table = Table(box=SIMPLE_HEAD)
    table.add_column("measured")
    for name, width in (("value", 6), ("95 % interval", 13), ("n", 4), ("majority\nclass", 8)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    if targets:
        table.add_column("target")
    for figure in figures:
        label, value, ends, n, majority_baseline, _, target = metric_cells(figure)
        row = (escape(label), f"[bold]{value}[/]", ends.replace("%", ""), n, majority_baseline)
        table.add_row(*row, *([target] if targets else []))
    return table


TARGETS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "zero-shot": ZERO_SHOT_TARGETS,
    "fine-tuned": FINE_TUNED_TARGETS,
}


def read_targets(typed: str, bench: Workbench) -> Mapping[str, float]:
    """`none`, `zero-shot`, `fine-tuned`, or KEY=SHARE with commas between. Raises ToelineError."""
    if typed in TARGETS:
        return TARGETS[typed]
    known = [*(f.key for f in score((), bench.taxonomy).figures), "spatial"]
    targets: dict[str, float] = {}
    for pair in typed.split(","):
        key, _, value = pair.partition("=")
        try:
            targets[key.strip()] = float(value)
        except ValueError:
            targets[key.strip()] = -1.0
        if key.strip() not in known:
            raise ToelineError(unknown("--targets: nothing is called", key.strip(), [*TARGETS, *known]))
        if not 0 < targets[key.strip()] < 1:
            raise ToelineError(f"--targets {pair!r}: give KEY=SHARE with a share between 0 and 1, as accuracy=0.9.")
    return targets


VERSION = 1
INTEGRATION, BOTH = "integration.json", "both-stages"
KEPT = 20  # mistakes of each kind in the record


def write_stages(done: Evaluated, found: Stages, beside: Scorecard, headline: str, taxonomy: Taxonomy) -> None:
    """integration.json, and both-stages/ with the cases of every true object, for `toeline compare`."""
    folder = done.folder.path
    record = integration_record(done, found, beside, headline, taxonomy)
    write_whole(folder / INTEGRATION, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / BOTH / CASES, join_lines(case_record(s.case) for s in found.objects))
    write_whole(
        folder / BOTH / "scorecard.json", json.dumps(card_record(found.card), indent=2, ensure_ascii=False) + "\n"
    )
    write_whole(folder / BOTH / RUN, json.dumps(done.folder.run, indent=2, ensure_ascii=False) + "\n")


def integration_record(
    done: Evaluated, found: Stages, beside: Scorecard, headline: str, taxonomy: Taxonomy
) -> dict[str, Any]:
    """Everything that the report says of both stages, as JSON."""
    return {
        "version": VERSION,
        "headline": headline,
        "split": done.split.name,
        "counts": found.error_breakdown.counts.record(),
        "by_type": {kind: b.record() for kind, b in found.error_breakdown.by_type.items()},
        "figures": [metric_record(f) for f in (*found.detector, *found.error_breakdown.figures)],
        "both_stages": card_record(found.card),
        "where_found": card_record(beside),
        "true_boxes": card_record(found.true_boxes) if found.true_boxes else None,
        "cost_of_detected_boxes": found.cost.record() if found.cost else None,
        "judge_on_found_and_true_boxes": found.off.record() if found.off else None,
        "worst": {name: [one.record() for one in ones[:KEPT]] for name, ones in found.worst(taxonomy).items()},
    }
