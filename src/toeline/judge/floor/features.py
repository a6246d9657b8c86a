"""Boxes and pixels to one row of numbers per thing. The names and their order are part of a floor file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from toeline.core.box import Box
from toeline.core.question import Picture
from toeline.core.scene import Scene, Thing
from toeline.judge.floor.looks import looks
from toeline.judge.floor.pixels import maps
from toeline.judge.floor.places import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1  # raise it when a measure changes its meaning: older files are then refused


def measure(scene: Scene, picture: Picture, kinds: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names (F) and values (things, F) of all measures; `kinds` are the taxonomy's types, in its order."""
    seen = maps(picture)
    rows = [{**place, **looks(t.box, seen)} for t, place in zip(scene.things, places(scene, kinds), strict=True)]
    return tuple(rows[0]), np.array([list(row.values()) for row in rows], np.float32)
