"""Settings of commands, written once: the command line makes its options of the fields and their remarks.

They stand here, and not beside what uses them, so that `toeline --help` need not load that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from toeline.train.config import Classes

Data = Annotated[Path, Argument(metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
Taxonomy = Annotated[Path | None, Option(metavar="FILE", help="Types and conditions of another owner.")]
Detector = Annotated[
    str, Option(metavar="embedded|PATH|HUB_ID", help="Finds the objects: .pt, .onnx, directory or hub id.")
]
Trust = Annotated[bool, "Let the detector's .pt or .bin run code as it is read: only from who you trust."]
Head = Annotated[
    str | None,
    Option(metavar="NAME", help="What an .onnx ends with, if it is unclear: yolov8, yolov5, rows or rtdetr."),
]
Split = Annotated[str, "Its split to measure on: valid, test, train, or all if it has none."]
Device = Literal["auto", "cpu", "cuda", "mps"]
Cluster = Annotated[Literal["photo", "flight"], "What the bootstrap draws as a whole."]


@dataclass(frozen=True, kw_only=True)
class AnalyzeRun:
    """Settings of one analysis, as the user typed them."""

    data: Annotated[Path, Argument(metavar="DATA", help="A YOLO data set: its top folder, or its data.yaml.")]
    target: Annotated[float, Option(min=0.01, max=0.999, help="The accuracy that should be shown, as a share.")] = 0.90
    taxonomy: Taxonomy = None
    classes: Classes = None
    flight: Annotated[
        str | None,
        Option(metavar="PATTERN", help="Regular expression: what it matches in a file name is the flight line."),
    ] = None
    pixels: bool = field(default=True, metadata={"option": False})  # --no-pixels says the opposite
    workers: Annotated[int | None, Option(min=1, help="Processes that read and draw; as many as there are cores.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class DetectorScoring:
    """Settings of one measurement, as the user typed them; equal settings on the same data are the same run."""

    data: Data
    split: Split = "valid"
    detector: Detector = "embedded"
    against: Annotated[
        str | None, Option(metavar="embedded|none|PATH|HUB_ID", help="Another detector to set beside it.")
    ] = "embedded"
    thresholds: Annotated[
        tuple[str, ...],
        Option(
            "--threshold",
            metavar="[TYPE=]0.4",
            help="Least confidence in use, for all types or one; repeatable.",
        ),
    ] = ()
    trust: Trust = False
    head: Head = None
    cluster: Cluster = "photo"
    taxonomy: Annotated[Path | None, Option(metavar="FILE", help="Types of another owner.")] = None
    classes: Classes = None
    device: Annotated[Device, "Where detectors that need torch run."] = "auto"
