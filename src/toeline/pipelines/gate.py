"""`toeline gate`: judges held against the one they come from, on the same objects; size, memory and time beside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import RenderableType

from toeline.core.finding import grave
from toeline.core.provenance import now_words, reset_peak, settings_of, start_record
from toeline.core.records import counted, join_lines, problem_record
from toeline.core.run_folder import ERRORS, begun_with, claimed, write_run, write_whole, writing
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo
from toeline.errors import ExitCode, LabelError, OutputError
from toeline.evaluate.classification import Cluster, score
from toeline.evaluate.compare import Run
from toeline.evaluate.gate import Gate, GateRules, hold_against, worst_of
from toeline.evaluate.results import Evaluated, GateResult, Variant
from toeline.judge.judge import fingerprint
from toeline.judge.load import require_judge
from toeline.pipelines.calibrate import seen_in, training_records, whose
from toeline.pipelines.changes import judge_bytes
from toeline.pipelines.evaluate_run import Workbench, once
from toeline.pipelines.progress import Summary, escape
from toeline.pipelines.settings import EvaluateRun, GateOptions, GateRun
from toeline.report.document import render_html, render_markdown
from toeline.report.judge_page import seconds_of
from toeline.report.quantization_page import page_of

JSON, HTML, MARKDOWN = "gate.json", "quantization.html", "quantization.md"
OLD, NEW, CALIBRATION = "old", "new", "calibration.json"
EXITS = {"promoted": 0, "refused": 3, "not provable with this n": 4}


def gate_into(run: GateRun, how: GateOptions, out: Path, *, names: Sequence[str] = ()) -> GateResult:
    """Ask all judges, hold each against the old one, write everything into `out`. Raises ToelineError.

    `names` are what pages call the judges, the old one first, if not as typed.
    """
    rules, words = GateRules.load(how.rules), Taxonomy.load(how.taxonomy)
    for judge in (run.against, *run.judges):
        require_judge(judge)
    open_yolo(how.data, words, classes=how.classes).split(how.split)
    record = start_record("gate", settings_of(run) | asked_settings(how), words)
    with claimed(out) as begun, writing(out):
        record = begun_with(out, record) if begun else record
        write_run(out, record)
        return hold(run, how, rules, out, record, names=names)


def asked_settings(how: GateOptions) -> dict[str, Any]:
    """What must be the same for a gate to go on; what is allowed may be typed later."""
    return settings_of(replace(how, allow_unproven=False))


def hold(
    run: GateRun, how: GateOptions, rules: GateRules, out: Path, record: dict[str, Any], *, names: Sequence[str] = ()
) -> GateResult:
    """As gate_into, in a folder that is held and begun with `record`."""
    old = EvaluateRun(
        data=how.data, split=how.split, judge=run.against, adapter=run.adapter, taxonomy=how.taxonomy,
        classes=how.classes, device=how.device,
    )  # fmt: skip
    runs = [old, *(replace(old, judge=judge, adapter=None) for judge in run.judges)]
    bench = Workbench(old)
    bench.split(how.split)  # what is wrong with it is said before a model is loaded
    require_untrained(bench, runs, how.split)
    folders = [OLD, *(NEW if not i else f"{NEW}-{i + 1}" for i in range(len(run.judges)))]
    done = [ask(bench, one, out / name) for one, name in zip(runs, folders, strict=True)]
    called = names or [one.judge + (f" with {one.adapter}" if one.adapter else "") for one in runs]
    sides = [_run(one, name) for one, name in zip(done, called, strict=True)]
    cluster: Cluster = "group" if how.cluster == "flight" else "photo"
    gates = [
        hold_against(
            sides[0], side, bench.taxonomy, rules, split=how.split, cluster=cluster, allowed=how.allow_unproven
        )
        for side in sides[1:]
    ]
    variants = tuple(
        _variant(side.name, asked, one, gate, bench.taxonomy)
        for side, asked, one, gate in zip(sides, runs, done, [None, *gates], strict=True)
    )
    problems = tuple(dict.fromkeys(p for one in done for p in one.folder.problems()))
    result = GateResult(record, variants, worst_of([gate.answer for gate in gates]), problems, _places(out))
    _write(result, bench.taxonomy, done, folders, out)
    return result


def ask(bench: Workbench, run: EvaluateRun, out: Path) -> Evaluated:
    """What one judge says, measured by itself: the most memory is counted from here on, and it is given back after."""
    from toeline.train.finetune import release

    own = Workbench(run, bench.splits)
    release()
    reset_peak()
    done = once(own, run, out)
    del own
    release()
    if not done.cases:
        raise OutputError(f"{out}: no object of {run.split} was judged, so there is nothing to measure.")
    return done


def require_untrained(bench: Workbench, runs: Sequence[EvaluateRun], split: str) -> None:
    """Raise LabelError when one of the judges was fine-tuned on photographs of the split."""
    for run in runs:
        for weights, _, record in training_records(run):
            if seen := seen_in(bench, record, split):
                raise LabelError(
                    f"--split {split}: {weights} was trained on {seen} of that split, and is surer of them than of any "
                    f"others: what it keeps there says little. Name a split that it has not seen."
                )


def _run(done: Evaluated, name: str) -> Run:
    settings = done.folder.run["settings"]
    labels = f"{settings.get('labels_sha256', '')}{settings.get('taxonomy_sha256', '')}"
    return Run(name, done.cases, data=str(done.folder.run.get("data_sha256", "")), labels=labels)


def _variant(name: str, how: EvaluateRun, done: Evaluated, gate: Gate | None, taxonomy: Taxonomy) -> Variant:
    seconds, memory = seconds_of(done), done.folder.run.get("memory", {})
    judge = done.folder.run.get("models", {}).get("judge", {})
    return Variant(
        name=name,
        bytes=judge_bytes(how.judge, how.adapter),
        memory=memory,
        seconds=fmean(seconds) if seconds else None,
        device=str(judge.get("device", "")),
        dtype=str(judge.get("quantized") or judge.get("dtype", "")),
        weights=fingerprint(judge),
        card=score(done.cases, taxonomy),
        gate=gate,
    )


def _places(out: Path) -> dict[str, str]:
    return {"report": str(out / HTML), "record": str(out / JSON)}


def _write(
    result: GateResult, taxonomy: Taxonomy, done: Sequence[Evaluated], folders: Sequence[str], out: Path
) -> None:
    """gate.json, the page, errors.jsonl, run.json, and a calibration.json for each new judge beside its answers."""
    for variant, one, name in zip(result.variants, done, folders, strict=True):
        if variant.gate:
            made = replace(variant.gate.calibrations[1], fitted_for=whose(one.folder.run.get("models", {})))
            write_whole(out / name / CALIBRATION, json.dumps(made.record(), indent=2) + "\n")
    files = {photo.name: photo.path for photo in done[0].split.photos}
    result.record.update(finished=now_words(), answer=result.answer, **counted(result.problems))  # the page says it too
    page = page_of(result, taxonomy, files)
    write_whole(out / HTML, render_html(page))
    write_whole(out / MARKDOWN, render_markdown(page))
    write_whole(out / ERRORS, join_lines(map(problem_record, result.problems)))
    write_whole(out / JSON, json.dumps(result.summary(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_run(out, result.record)


def summary(result: GateResult) -> Summary:
    """The answers, and where the report is."""
    lines: list[RenderableType] = [f"[bold]{escape(v.gate.sentence)}[/]" for v in result.variants if v.gate]
    return Summary(lines, result.written, result.summary(), result.problems)


def exit_code(result: GateResult) -> int:
    """By the answer; 1 where every judge passes and photographs or labels have problems."""
    if all(v.gate.passes for v in result.variants if v.gate):
        return ExitCode.of(fine=not grave(result.problems))
    return EXITS[result.answer]
