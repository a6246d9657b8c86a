"""Commands that measure: `toeline evaluate`, `evaluate-detector` and `compare`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.inspect import Answers, Device
from toeline.cli.options import Classes, Data, Head, Thresholds, Trust
from toeline.errors import ToelineError
from toeline.pipelines.compare import compare_into, tell_comparisons
from toeline.pipelines.progress import tell as tell_summary
from toeline.pipelines.progress import tell_json


class Decide(StrEnum):
    """How an answer comes about."""

    SCORE = "score"
    GENERATE = "generate"


class Cluster(StrEnum):
    """What the bootstrap draws as a whole."""

    PHOTO = "photo"
    FLIGHT = "flight"


def evaluate(
    data: Data,
    split: Annotated[str, typer.Option(help="Its split to measure on: valid, test, train, or all if it has none.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same run again goes on in it.")],
    judge: Annotated[str, typer.Option(metavar="embedded|PATH|HUB_ID", help="What says the condition.")] = "embedded",
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A peft adapter for the judge.")] = None,
    boxes: Annotated[
        str, typer.Option(metavar="truth|detector|PATH", help="Whose boxes; PATH: findings.jsonl, or a labels folder.")
    ] = "truth",
    detector: Annotated[str, typer.Option(metavar="embedded|PATH|HUB_ID", help="With --boxes detector.")] = "embedded",
    threshold: Thresholds = None,
    trust: Trust = False,
    head: Head = None,
    findings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score these saved findings; no model is loaded.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="NAME|all|prompts.json", help="Another prompt than the judge's own; all: side by side."),
    ] = None,
    decide: Annotated[
        Decide, typer.Option(help="Score the class names, or let the model write (50 tokens, temperature 0.7).")
    ] = Decide.SCORE,
    seed: Annotated[int, typer.Option(min=0, help="With --decide generate.")] = 0,
    spatial: Annotated[
        int, typer.Option(min=0, help="Questions of each kind about where things lie; 0 leaves that out.")
    ] = 150,
    answers: Annotated[Answers, typer.Option(help="Class names of the object's type, or all.")] = Answers.TYPE,
    calibrate: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="Fit temperature and review threshold on this other split.")
    ] = None,
    risk: Annotated[
        float,
        typer.Option(min=0, max=100, metavar="PERCENT", help="With --calibrate: most wrong answers that nobody sees."),
    ] = 10.0,
    cluster: Annotated[Cluster, typer.Option(help="What the bootstrap draws as a whole.")] = Cluster.PHOTO,
    targets: Annotated[
        str, typer.Option(metavar="none|zero-shot|fine-tuned|KEY=SHARE,...", help="What figures are held against.")
    ] = "none",
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Types and conditions of another owner.")
    ] = None,
    classes: Classes = None,
    device: Annotated[Device, typer.Option(help="Where the judge runs.")] = Device.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Measure a judge on labeled photographs: accuracy with intervals, calibration, and the worst mistakes.

    Writes scorecard.json, report.html, report.md, cases.jsonl, findings.jsonl, errors.jsonl and run.json into OUT.
    Stopped or killed, the same command goes on where it was. Exit code 0: all done; 1: some photographs or labels have
    problems; 2: nothing could be measured.

    Example: toeline evaluate dataset --split valid --out runs/valid
    """
    from toeline.pipelines.evaluate import Scoring, evaluate_into, summary
    from toeline.pipelines.evaluate_run import EvaluateRun

    if findings and (judge, adapter, boxes, detector, prompt) != ("embedded", None, "truth", "embedded", None):
        raise ToelineError("--findings are scored as they are. Leave out --judge, --adapter, --boxes and --prompt.")
    run = EvaluateRun(
        data=str(data),
        split=split,
        judge="" if findings else judge,
        adapter=str(adapter) if adapter else None,
        boxes="" if findings else boxes,
        detector="" if findings else detector,
        prompt=prompt,
        answers=answers.value,
        findings=str(findings) if findings else None,
        taxonomy=str(taxonomy) if taxonomy else None,
        classes=str(classes) if classes else None,
        device=device.value,
        decide=decide.value,
        seed=seed,
        thresholds=tuple(threshold or ()),
        trust=trust,
        head=head,
    )
    scored = evaluate_into(
        run, Scoring(calibrate=calibrate, risk=risk, cluster=cluster.value, targets=targets, spatial=spatial), out
    )
    tell_summary(summary(scored), as_json=as_json)
    raise typer.Exit(0 if scored.fine else 1)


def evaluate_detector(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    detector: Annotated[
        str, typer.Option(metavar="embedded|PATH|HUB_ID", help="Finds the objects: .pt, .onnx, directory or hub id.")
    ] = "embedded",
    split: Annotated[str, typer.Option(help="Its split to measure on: valid, test, train, or all if it has none.")] = (
        "valid"
    ),
    against: Annotated[
        str, typer.Option(metavar="embedded|none|PATH|HUB_ID", help="Another detector to set beside it.")
    ] = "embedded",
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="[TYPE=]0.4", help="Least confidence in use, for all types or one; repeatable."),
    ] = None,
    trust: Trust = False,
    head: Head = None,
    cluster: Annotated[Cluster, typer.Option(help="What the bootstrap draws as a whole.")] = Cluster.PHOTO,
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Types of another owner.")] = None,
    classes: Classes = None,
    device: Annotated[Device, typer.Option(help="Where detectors that need torch run.")] = Device.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Measure a detector on labeled photographs: average precision with intervals, thresholds, the worst photographs.

    Writes scorecard.json, report.html, report.md, detections.jsonl, errors.jsonl, run.json and worst/ into OUT. Exit
    code 0: all done; 1: some photographs or labels have problems; 2: nothing could be measured.

    Example: toeline evaluate-detector dataset --detector best.pt --split valid --out runs/detector
    """
    from toeline.pipelines.evaluate_detector import DetectorScoring, score_into, summary

    scored = score_into(
        DetectorScoring(
            data=str(data),
            split=split,
            detector=detector,
            against=None if against in ("none", detector) else against,
            thresholds=tuple(threshold or ()),
            trust=trust,
            head=head,
            cluster=cluster.value,
            taxonomy=str(taxonomy) if taxonomy else None,
            classes=str(classes) if classes else None,
            device=device.value,
        ),
        out,
    )
    tell_summary(summary(scored), as_json=as_json)
    raise typer.Exit(0 if scored.fine else 1)


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
    told = compare_into(runs, folder, cluster=cluster.value, taxonomy=taxonomy)
    tell_json({"comparisons": [c.record() for c in told]}) if as_json else tell_comparisons(told, folder)
