"""Options that several commands share, so that each has one spelling and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", metavar="[TYPE=]0.4", help="Least confidence of the detector, for all types or one; repeatable."
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let the detector's .pt or .bin run code as it is read: only from who you trust."),
]
