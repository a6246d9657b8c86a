"""`toeline synth`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from toeline.cli.show import bar, out
from toeline.core.place import Place, Point


def synth(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the data set; the same again goes on in it.")
    ],
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes to draw.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")],
    size: Annotated[int, typer.Option(min=160, max=4096, help="Side of the square pictures in pixels.")] = 640,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = min(4, os.cpu_count() or 1),
    gps: Annotated[
        str | None, typer.Option(metavar="LAT,LON", help="Write a flight that begins there into the photographs.")
    ] = None,
) -> None:
    """Draw embankment scenes with their truth: a YOLO polygon data set with masks, in Roboflow's layout.

    Example: toeline synth runs/drawn --scenes 100 --seed 7
    """
    from toeline.synth.write import write_dataset

    start = _start(gps) if gps is not None else None
    with bar("Drawing", total=scenes) as step:
        file = write_dataset(
            folder, scenes=scenes, seed=seed, size=size, workers=workers, gps=start, progress=lambda _, __: step([])
        )
    out.print(f"{scenes} scenes in {folder}; their classes and splits in {file}")


def _start(typed: str) -> Point:
    """Degrees north and east, south and west negative, as "-33.92,18.42"."""
    try:
        latitude, longitude = (float(part) for part in typed.split(","))
        return Place(latitude, longitude).point
    except ValueError as why:
        said = f"{typed!r} is no position ({why}). Type degrees north and east, as --gps 23.51,85.30 or -33.92,18.42."
        raise typer.BadParameter(said, param_hint="--gps") from None
