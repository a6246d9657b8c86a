"""One training of a detector from its folder to its report: train, then measure what was written, as anyone would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from toeline.core.finding import grave
from toeline.core.provenance import data_hash, most, now_words, peak_memory, start_record
from toeline.core.reading import file_hash
from toeline.core.records import counted, join_lines, problem_record
from toeline.core.run_folder import ERRORS, claimed, write_run, write_whole, writing
from toeline.core.words import some
from toeline.data.images import Photo
from toeline.detect.detector import DetectorOptions
from toeline.evaluate.results import DetectorMeasurement, DetectorTraining
from toeline.pipelines.evaluate_detector import HTML, MARKDOWN, SCORECARD, measure
from toeline.pipelines.finetune import open_folder
from toeline.pipelines.progress import Summary, bar, escape, goes_on, tell_problems, training_bars
from toeline.report.detector_page import headline, sections, tiles
from toeline.report.document import Grid, ScorecardPage, Section, render_html, render_markdown, tenths
from toeline.report.plots import Epoch, learning_plots
from toeline.train.callbacks import VALID
from toeline.train.config import DETECTOR_CHANGE_NOTHING, EMBEDDED, SCRATCH, DetectorFit
from toeline.train.detector import DetectorTrainingData, Fitted, fit_detector, read_detector_training_data


def train_into(run: DetectorFit, data: Path, out: Path, *, resume: bool) -> DetectorTraining:
    """Train, measure, write everything into `out`. Raises ToelineError."""
    training_data = read_detector_training_data(run, data)
    parts = (training_data.train, training_data.valid)
    hashes = {part.name: part.sha256() for part in parts}
    photos = {part.name: photos_hash(part.photos) for part in parts}
    settings = {**run.record(), "data": str(data), "data_sha256": hashes, "photos_sha256": photos}
    record = start_record("train-detector", settings, training_data.taxonomy)
    with claimed(out), writing(out):
        record = open_folder(out, record, resume=resume, free=DETECTOR_CHANGE_NOTHING)
        labels = (*training_data.train.problems, *training_data.valid.problems)
        tell_problems(labels)
        with goes_on("the same command with --resume"), training_bars(run.epochs) as tell:
            fitted = fit_detector(run, training_data, out, resume=resume, tell=partial(tell, "train"))
        record |= {"trained": dict(fitted.facts), "memory": most(record.get("memory", {}), peak_memory())}
        write_run(out, record)
        measured, before = _measured(run, training_data, out)
        problems = tuple(dict.fromkeys([*labels, *measured.problems]))
        record |= {"finished": now_words(), **counted(problems)}
        write_run(out, record)
        return _report(run, training_data, fitted, out, DetectorTraining(record, measured, before, problems, {}))


def photos_hash(photos: Sequence[Photo]) -> str:
    """SHA-256 of the names and bytes of photographs; one that cannot be read is known by its name."""
    return data_hash({"photo": p.name, "sha256": file_hash(p.path) if p.path.is_file() else ""} for p in photos)


def _measured(
    run: DetectorFit, training_data: DetectorTrainingData, out: Path
) -> tuple[DetectorMeasurement, DetectorMeasurement | None]:
    """What was written, and beside it what it began with; from scratch or of transformers, beside the embedded one."""
    start = EMBEDDED if run.hub or run.begin == SCRATCH else run.begin
    options = DetectorOptions(device=run.device)
    with bar("Measuring", total=2 * len(training_data.valid.photos)) as step:
        after, before = (
            measure(name, training_data.valid, training_data.taxonomy, options, step=step) for name in (str(out), start)
        )
    return replace(after, name="this detector"), replace(before, name=_called(start))


def _called(start: str) -> str:
    return "the embedded detector" if start == EMBEDDED else "the one it began with"


def _report(
    run: DetectorFit, training_data: DetectorTrainingData, fitted: Fitted, out: Path, outcome: DetectorTraining
) -> DetectorTraining:
    measured, before = outcome.measured, outcome.before
    page = ScorecardPage(
        title="A detector and how it was trained",
        headline=headline(measured, before),
        sections=[
            _training_section(run, fitted),
            *sections(measured, before, training_data.taxonomy, out),
            _data_section(training_data, fitted),
        ],
        run={k: v for k, v in outcome.record.items() if k != "trained"},
        tiles=tiles(measured),
        problems=outcome.problems,
    )
    card = {
        **measured.record(),
        "split": training_data.valid.name,
        "against": before.record() if before else None,
        "trained": dict(fitted.facts),
    }
    write_whole(out / SCORECARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    write_whole(out / ERRORS, join_lines(map(problem_record, outcome.problems)))
    write_whole(out / HTML, render_html(page))
    write_whole(out / MARKDOWN, render_markdown(page))
    written = {"detector": str(out), "report": str(out / HTML), "figures": str(out / SCORECARD)}
    return replace(outcome, written=written)


def _training_section(run: DetectorFit, fitted: Fitted) -> Section:
    lines, steps = fitted.log.validations(), [s for s in fitted.log.steps() if s.get("loss") is not None]
    per_epoch = max(line["step"] / line["epoch"] for line in lines if line["epoch"])
    epochs = [
        Epoch(x["epoch"], x[VALID]["map_50"], x[VALID]["map_50_95"], bool(x.get("best")) and x["epoch"] > 0)
        for x in lines
    ]
    facts = fitted.facts
    text = [
        f"The weights of epoch {facts['epoch']} of {facts['epochs']} were kept, the best on the validation split, and "
        f"the thresholds were set for the best F1 there. So the figures of this page are optimistic: they are of the "
        f"same photographs. Measure on a split that took no part (toeline evaluate-detector)."
    ]
    if epochs[-1].epoch < run.epochs:
        text.append(f"It stopped early: {run.patience} epochs had brought nothing better.")
    rows = tuple(
        ("untrained" if e.epoch == 0 else f"{e.epoch:g}", tenths(e.map_50), tenths(e.map_50_95), "better" * e.best)
        for e in epochs
    )
    grid = Grid("By epoch", ("epoch", "mAP@0.5", "mAP@0.5:0.95", "than all before"), rows, folded=True)
    plots = learning_plots([(s["step"] / per_epoch, s["loss"]) for s in steps], epochs)
    return Section("Training", tuple(text), plots=plots, grids=(grid,))


def _data_section(training_data: DetectorTrainingData, fitted: Fitted) -> Section:
    data = fitted.facts["data"]
    rows = tuple(
        (
            training_data.taxonomy.spoken(kind),
            *(str(data[part.name]["types"].get(kind, 0)) for part in _parts(training_data)),
        )
        for kind in training_data.kinds
    )
    counts = " and ".join(f"{some(len(part.photos), 'photograph')} of {part.name}" for part in _parts(training_data))
    text = (
        f"{counts}. {fitted.facts['parameters']:,} parameters, {fitted.facts['seconds']:,.0f} s of training. Views: "
        f"zoom, shift, left-right mirror, light, white balance, blur; never up-down."
    )
    head = ("objects", *(part.name for part in _parts(training_data)))
    return Section("What it learned from", (text,), grids=(Grid("", head, rows),))


def _parts(training_data: DetectorTrainingData) -> Sequence[Any]:
    return training_data.train, training_data.valid


def summary(outcome: DetectorTraining) -> Summary:
    """What it came to, where it is, and how to use it."""
    record = {
        "written": dict(outcome.written),
        "figures": {f.key: f.value for f in outcome.measured.figures if f.n},
        "epoch": outcome.record["trained"]["epoch"],
        "problems": len(grave(outcome.problems)),
        "memory": outcome.record["memory"],
    }
    lines = [f"[bold]{escape(headline(outcome.measured, outcome.before))}[/]"]
    use = f"Inspect with it: toeline inspect PHOTOS --detector {escape(outcome.written['detector'])} --out ..."
    return Summary(lines, outcome.written, record, outcome.problems, last=use)
