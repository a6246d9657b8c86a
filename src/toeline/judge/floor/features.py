"""Boxes and pixels to one row of numbers per thing. The names and their order are part of a floor file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toeline.core.box import Box
from toeline.core.question import Picture
from toeline.core.scene import Scene, Thing
from toeline.judge.floor.looks import looks
from toeline.judge.floor.pixels import Maps, maps
from toeline.judge.floor.places import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1  # raise it when a measure changes its meaning: older files are then refused


def measure(
    scene: Scene, picture: Picture, kinds: Sequence[str], *, only: Collection[str] | None = None
) -> NDArray[np.float32]:
    """(n, F): a row for each thing of the scene, or for those whose ids are in `only`, in the scene's order.

    `picture` is the whole photograph, `kinds` the types of the taxonomy. Columns are `measure_names`.
    """
    seen = maps(picture)
    asked = [
        (thing, place)
        for thing, place in zip(scene.things, places(scene, kinds), strict=True)
        if only is None or thing.id in only
    ]
    rows = [list(_row(place, thing.box, seen).values()) for thing, place in asked]
    return np.array(rows, np.float32).reshape(len(rows), len(measure_names(tuple(kinds))))


@cache
def measure_names(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the columns, which depend on the taxonomy's types alone: those of a black picture."""
    scene = Scene(Path("none"), (8, 8), (Thing("1", "", Box(2, 2, 6, 6)),))
    return tuple(_row(places(scene, kinds)[0], scene.things[0].box, maps(_Black())))


def _row(place: dict[str, float], box: Box, seen: Maps) -> dict[str, float]:
    return {**place, **looks(box, seen)}


class _Black:
    """An RGB picture of 8 x 8 black pixels."""

    size = (8, 8)

    def tobytes(self) -> bytes:
        return bytes(8 * 8 * 3)
