"""Commands about photographs: `toeline inspect`, `demo` and `plan`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.options import Classes, Head, Thresholds, Trust
from toeline.core.prefetch import cores
from toeline.pipelines.demo import demonstrate
from toeline.pipelines.inspect import InspectRun, Output, Pace, inspect_into, tell
from toeline.pipelines.plan import DEFAULT_JUDGE, tell_plan
from toeline.pipelines.progress import tell_json

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
    head: Head = None,
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
    classes: Classes = None,
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
    risk: Annotated[
        float | None,
        typer.Option(min=0, max=100, metavar="PERCENT", help="Most wrong answers among those that nobody sees."),
    ] = None,
    domain: Annotated[
        str,
        typer.Option(metavar="auto|off|FILE", help="Photographs that the models were measured on; auto: as shipped."),
    ] = "auto",
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
        head=head,
        boxes=str(boxes) if boxes else None,
        judge=judge,
        adapter=str(adapter) if adapter else None,
        answers=answers.value,
        taxonomy=str(taxonomy) if taxonomy else None,
        classes=str(classes) if classes else None,
        device=device.value,
        tile=tile,
        calibration=str(calibration) if calibration else None,
        review_below=review_below,
        risk=risk,
        domain=domain,
    )
    summary = inspect_into(run, Output(out=out, command="inspect", pace=Pace(workers=workers, batch=batch)))
    tell_json(summary.record()) if as_json else tell(summary)
    raise typer.Exit(0 if summary.fine else 1)


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for scenes and results.")] = Path("runs/demo"),
) -> None:
    """Draw a dozen scenes, inspect them with the models that Toeline ships, and compare with the ground truth.

    Example: toeline demo --out runs/demo
    """
    raise typer.Exit(0 if demonstrate(folder) else 1)


class Task(StrEnum):
    """What the judge is to do."""

    INSPECT = "inspect"
    FINETUNE = "finetune"


class Dtype(StrEnum):
    """How the weights are held."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"
    NF4 = "nf4"


def plan(
    judge: Annotated[str, typer.Option(metavar="embedded|DIR|HUB_ID", help="What is to run.")] = DEFAULT_JUDGE,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or mps of this machine, or a30, m2max-42, rtx4090, h200 and others.")
    ] = "auto",
    task: Annotated[Task, typer.Option(help="Inspect photographs, or fine-tune with LoRA.")] = Task.INSPECT,
    objects: Annotated[int, typer.Option(help="Objects on a photograph.")] = 5,
    image: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Side at which a photograph is shown; by default the judge's own."),
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="How the weights are held; auto as the judge loads them.")] = Dtype.AUTO,
    trim: Annotated[int, typer.Option(metavar="TOKENS", help="Tokens that a trimmed vocabulary keeps; 0: all.")] = 0,
    chunk: Annotated[int, typer.Option(metavar="OBJECTS", help="Objects in one packed sequence; 0: all.")] = 0,
    rank: Annotated[int, typer.Option(help="LoRA rank, with --task finetune.")] = 16,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing/--no-checkpointing", help="Compute activations twice to keep few.")
    ] = True,
    cached_features: Annotated[
        bool, typer.Option("--cached-features", help="Image features from disk, the vision tower not loaded.")
    ] = False,
    qlora: Annotated[bool, typer.Option("--qlora", help="Frozen weights of the language model in NF4.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Load the judge, run one drawn photograph, compare with the plan.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON on standard output.")] = False,
) -> None:
    """Say whether a judge fits a device, and how long it takes, before anything is downloaded or loaded.

    From the numbers of the model's config alone, without network: memory to load and at work, seconds per photograph,
    and when it does not fit the fewest changes that make it fit. Exit code 0 when there is an answer, yes or no.

    Example: toeline plan --judge Qwen/Qwen2-VL-7B-Instruct --device a30
    """
    from toeline.plan.plan import PlanRequest

    asked = PlanRequest(
        judge=judge,
        device=device,
        task=task.value,
        objects=objects,
        image=image,
        dtype=dtype.value,
        trim=trim,
        chunk=chunk,
        rank=rank,
        checkpointing=checkpointing,
        cached_features=cached_features,
        qlora=qlora,
    )
    tell_plan(asked, check=check, as_json=as_json)
