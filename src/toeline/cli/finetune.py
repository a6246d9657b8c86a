"""`toeline finetune`: its options are the fields of the settings (train/lora.py), with their remarks as help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toeline.cli.settings import annotations_of, options_of
from toeline.train.lora import LoraRun

OWN = {  # what is no part of the settings: where it goes, and what else is done
    "out": Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    "merge": Annotated[bool, typer.Option("--merge", help="Also write the judge with the adapter added to it.")],
    "resume": Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last checkpoint.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")],
}


def finetune(data: Path, out: Path, merge: bool, resume: bool, as_json: bool, **settings: Any) -> None:
    """Fine-tune a judge with LoRA on labeled photographs, and say whether it was worth it.

    Writes adapter/ (plain peft), report.html, report.md, log.jsonl, run.json, errors.jsonl, and before/ and after/ with
    what both judges said on the validation split, into DIR. Killed, the same command with --resume goes on to the same
    result. On several GPUs: accelerate launch -m toeline finetune ... Exit code 0: all done; 1: some photographs or
    labels have problems; 2: nothing could be trained.

    Example: toeline finetune dataset --judge Qwen/Qwen2-VL-7B-Instruct --out runs/lora
    """
    from toeline.cli.finetune_run import finetune_into, is_first, tell_json, tell_people

    outcome = finetune_into(LoraRun(**settings), data, out, merge=merge, resume=resume)
    if is_first():
        (tell_json if as_json else tell_people)(outcome)
    raise typer.Exit(0 if outcome.fine else 1)


finetune.__signature__ = options_of(LoraRun, OWN)  # type: ignore[attr-defined]
finetune.__annotations__ = annotations_of(finetune.__signature__)  # type: ignore[attr-defined]
