"""`toeline train-detector`: its options are the fields of the settings (train/detector_run.py), with their remarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toeline.cli.settings import annotations_of, options_of
from toeline.train.detector_run import DetectorFit

OWN = {  # what is no part of the settings
    "out": Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the detector and the report.")],
    "resume": Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last checkpoint.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")],
}
SPELLED = {"begin": "--from"}  # a Python word


def train_detector(data: Path, out: Path, resume: bool, as_json: bool, **settings: Any) -> None:
    """Train a detector on labeled photographs, and measure it on the validation split.

    Classes are folded to their types and polygons to boxes. Writes model.onnx and detector.json (with --model what
    transformers loads), report.html, report.md, scorecard.json, log.jsonl, run.json, errors.jsonl, worst/ and
    checkpoints into DIR; inspect with --detector DIR. Killed, the same command with --resume goes on to the same
    result. Exit code 0: all done; 1: some photographs or labels have problems; 2: nothing could be trained. The
    embedded network needs the extra train-detector.

    Example: toeline train-detector dataset --out runs/detector --epochs 60
    """
    from toeline.cli.train_detector_run import tell_json, tell_people, train_into

    outcome = train_into(DetectorFit(**settings), data, out, resume=resume)
    (tell_json if as_json else tell_people)(outcome)
    raise typer.Exit(1 if outcome.problems else 0)


train_detector.__signature__ = options_of(DetectorFit, OWN, SPELLED)  # type: ignore[attr-defined]
train_detector.__annotations__ = annotations_of(train_detector.__signature__)  # type: ignore[attr-defined]
