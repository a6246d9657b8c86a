"""Commands that measure: `toeline evaluate`, `evaluate-detector` and `compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.options import with_settings
from toeline.errors import ExitCode
from toeline.pipelines.next_folder import NEXT
from toeline.pipelines.progress import tell as tell_summary
from toeline.pipelines.progress import tell_json
from toeline.pipelines.settings import (
    CompareRun,
    DetectorScoring,
    EvaluateRun,
    GateOptions,
    GateRun,
    QuantizeRun,
    Scoring,
)


@partial(
    with_settings,
    first="data split out judge adapter boxes detector thresholds trust head findings prompt decide seed spatial "
    "answers calibrate cluster targets",
)
def evaluate(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results; the same run again continues in it.")] = NEXT,
    run: EvaluateRun,
    scoring: Scoring,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Measure a judge on labeled photographs: accuracy with intervals, calibration, and the worst mistakes.

    Writes scorecard.json, report.html, report.md, cases.jsonl, findings.jsonl, errors.jsonl and run.json into OUT.
    Stopped or killed, the same command continues where it stopped. Exit code 0: all done; 1: some photographs or labels
    have problems; 2: nothing could be measured.

    Example: toeline evaluate dataset --split valid --out runs/valid
    """
    from toeline.pipelines.evaluate import evaluate_into, summary

    scored = evaluate_into(run, scoring, out)
    tell_summary(summary(scored), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=scored.fine))


@partial(with_settings, first="data out detector")
def evaluate_detector(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = NEXT,
    run: DetectorScoring,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Measure a detector on labeled photographs: average precision with intervals, thresholds, the worst photographs.

    Writes scorecard.json, report.html, report.md, detections.jsonl, errors.jsonl, run.json and worst/ into OUT. Exit
    code 0: all done; 1: some photographs or labels have problems; 2: nothing could be measured.

    Example: toeline evaluate-detector dataset --detector best.pt --split valid --out runs/detector
    """
    from toeline.pipelines.evaluate_detector import score_into, summary

    scored = score_into(run, out)
    tell_summary(summary(scored), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=scored.fine))


@partial(with_settings, first="runs folder")
def compare(
    run: CompareRun,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write compare.html, .md and .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on standard output.")] = False,
) -> None:
    """Compare evaluations on the same objects: differences with intervals, gains and losses, which objects flipped.

    Runs on other objects, other labels or another set of class names are refused, with what differs.

    Example: toeline compare runs/untrained runs/trained --out runs/what-training-gave
    """
    from toeline.pipelines.compare import compare_into, tell_comparisons

    told = compare_into(run, folder)
    tell_json({"comparisons": [c.record() for c in told]}) if as_json else tell_comparisons(told, folder)


@partial(with_settings, first="judges against data split out rules")
def gate(
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the report; the same again continues in it.")
    ] = NEXT,
    run: GateRun,
    how: GateOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON on standard output.")] = False,
) -> None:
    """Say whether smaller judges are as good as the one they come from: promoted, refused, or not provable.

    All answer the same questions; rules say what must be kept. Writes gate.json, quantization.html, quantization.md,
    errors.jsonl, run.json, and what each judge said, into DIR. Exit code 0: every judge may be used; 1: so, and some
    photographs or labels have problems; 2: nothing could be measured; 3: one is refused; 4: one is not provable with
    this n.

    Example: toeline gate runs/int8/model --against embedded --data dataset --split valid --out runs/gate
    """
    from toeline.pipelines.gate import exit_code, gate_into, summary

    result = gate_into(run, how, out)
    tell_summary(summary(result), as_json=as_json)
    raise typer.Exit(exit_code(result))


@partial(with_settings, first="judge to data split out")
def quantize(
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the judge; the same again continues in it.")
    ] = NEXT,
    run: QuantizeRun,
    how: GateOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON on standard output.")] = False,
) -> None:
    """Make a judge smaller, in 8 or 4 bits, and say whether it is as good: promoted, refused, or not provable.

    Converts all linear layers but the head, then holds the new judge against JUDGE as toeline gate does. Writes model/
    (candidate/ while it is not promoted), gate.json, quantization.html, quantization.md, errors.jsonl and run.json into
    DIR; inspect with --judge DIR/model. Exit code as of toeline gate. Needs the extra quantize.

    Example: toeline quantize runs/lora/merged --to int8 --data dataset --split valid --out models/int8
    """
    from toeline.pipelines.gate import exit_code
    from toeline.pipelines.quantize import quantize_into, summary

    result = quantize_into(run, how, out)
    tell_summary(summary(result), as_json=as_json)
    raise typer.Exit(exit_code(result.gate))
