"""`toeline plan`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from toeline.cli.show import saying

if TYPE_CHECKING:
    from toeline.plan.plan import Asked, Plan
    from toeline.plan.shape import Model

DEFAULT_JUDGE = "Qwen/Qwen2-VL-7B-Instruct"


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
    from toeline.plan.plan import Asked

    asked = Asked(
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


def tell_plan(asked: Asked, *, check: bool, as_json: bool) -> None:
    """Plan, and say it; with `check` load and run the judge as well. Raises ToelineError."""
    from toeline.cli.plan_show import record, show, show_check
    from toeline.plan.advise import advise, limits

    model, planned = _plan(asked)
    advice = advise(planned)
    bounds = limits(model, objects=asked.objects) if asked.task == "inspect" else []
    if not as_json:
        show(planned, advice, bounds)
    checked = None
    if check:
        from toeline.cli.plan_check import run_check

        with saying("Loading the judge and running one photograph"):
            checked = run_check(planned)
    if as_json:
        typer.echo(json.dumps(record(planned, advice, bounds, checked), ensure_ascii=False))
    elif checked:
        show_check(checked)


def _plan(asked: Asked) -> tuple[Model, Plan]:
    from toeline.judge.choose import EMBEDDED
    from toeline.plan.devices import find_device
    from toeline.plan.plan import make_plan
    from toeline.plan.shape import find_model

    model = find_model(asked.judge, embedded=EMBEDDED)
    return model, make_plan(asked, model, find_device(asked.device))
