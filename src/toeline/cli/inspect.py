"""`toeline inspect`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.options import Thresholds, Trust
from toeline.cli.show import tell
from toeline.cli.work import InspectRun, Output, Pace, inspect_into
from toeline.core.ahead import cores

BATCH = 4  # enough to keep a graphics card busy with a small detector, and few pictures in memory


class Answers(StrEnum):
    """Which class names an object may get."""

    TYPE = "type"
    ALL = "all"


class Device(StrEnum):
    """Where the judge runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def inspect(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS", help="Photographs, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same run again goes on in it.")],
    detector: Annotated[
        str, typer.Option(metavar="embedded|PATH|HUB_ID", help="Finds the objects: .pt, .onnx, directory or hub id.")
    ] = "embedded",
    threshold: Thresholds = None,
    trust: Trust = False,
    boxes: Annotated[
        Path | None, typer.Option(metavar="LABELS_DIR", help="YOLO labels in place of a detector; types are kept.")
    ] = None,
    judge: Annotated[
        str, typer.Option(metavar="embedded|PATH|HUB_ID", help="A model of the Qwen2-VL family.")
    ] = "embedded",
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A peft adapter for the judge.")] = None,
    answers: Annotated[
        Answers, typer.Option(help="Class names of the object's type, or all, so that the judge can overrule it.")
    ] = Answers.TYPE,
    taxonomy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Types and conditions of another owner.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the judge runs.")] = Device.AUTO,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Threads that read and draw; 0: all in one. Changes no result.")
    ] = min(8, cores()),
    batch: Annotated[
        int, typer.Option(min=1, max=256, help="Photographs that the detector is asked about at a time.")
    ] = BATCH,
    tile: Annotated[
        str,
        typer.Option(metavar="auto|off|SIZE[,OVERLAP]", help="Pixels of the tiles that large photographs are cut in."),
    ] = "auto",
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="calibration.json of toeline evaluate --calibrate, for the same judge."),
    ] = None,
    review_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Less probable, a person should look; else the calibration's, or 0.5."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")] = False,
) -> None:
    """Inspect photographs: what stands there, where, and in what condition.

    Writes findings.jsonl, findings.csv, worklist.csv, marked pictures, report.html, errors.jsonl and run.json into OUT.
    Stopped or killed, the same command goes on where it was. Exit code 0: all done; 1: some photographs or labels have
    problems; 2: nothing could be done.

    Example: toeline inspect flight7/ --out runs/flight7

    Large photographs: toeline inspect flight7/ --out runs/flight7 --tile 1024,256

    Calibrated: toeline inspect flight7/ --out runs/flight7 --calibration runs/judge/calibration.json
    """
    run = InspectRun(
        photos=tuple(str(p) for p in photos),
        detector=detector,
        thresholds=tuple(threshold or ()),
        trust=trust,
        boxes=str(boxes) if boxes else None,
        judge=judge,
        adapter=str(adapter) if adapter else None,
        answers=answers.value,
        taxonomy=str(taxonomy) if taxonomy else None,
        device=device.value,
        tile=tile,
        calibration=str(calibration) if calibration else None,
        review_below=review_below,
    )
    summary = inspect_into(run, Output(out=out, command="inspect", pace=Pace(workers=workers, batch=batch)))
    if as_json:
        typer.echo(json.dumps(summary.record(), ensure_ascii=False))
    else:
        tell(summary)
    raise typer.Exit(0 if summary.fine else 1)
