"""`toeline evaluate-detector`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.evaluate import Cluster
from toeline.cli.inspect import Device
from toeline.cli.options import Data, Trust


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
    cluster: Annotated[Cluster, typer.Option(help="What the bootstrap draws as a whole.")] = Cluster.PHOTO,
    taxonomy: Annotated[Path | None, typer.Option(metavar="FILE", help="Types of another owner.")] = None,
    device: Annotated[Device, typer.Option(help="Where detectors that need torch run.")] = Device.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Measure a detector on labeled photographs: average precision with intervals, thresholds, the worst photographs.

    Writes scorecard.json, report.html, report.md, detections.jsonl, errors.jsonl, run.json and worst/ into OUT. Exit
    code 0: all done; 1: some photographs or labels have problems; 2: nothing could be measured.

    Example: toeline evaluate-detector dataset --detector best.pt --split valid --out runs/detector
    """
    from toeline.cli.evaluate_detector_run import DetectorScoring, score_into, tell_json, tell_people

    scored = score_into(
        DetectorScoring(
            data=str(data),
            split=split,
            detector=detector,
            against=None if against in ("none", detector) else against,
            thresholds=tuple(threshold or ()),
            trust=trust,
            cluster=cluster.value,
            taxonomy=str(taxonomy) if taxonomy else None,
            device=device.value,
        ),
        out,
    )
    (tell_json if as_json else tell_people)(scored)
    raise typer.Exit(1 if scored.problems else 0)
