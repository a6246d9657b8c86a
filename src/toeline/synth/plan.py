"""The nouns of a drawn scene before it is painted. Plain values: no pixels are held here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toeline.core.taxonomy import Taxonomy

# What can be drawn is the default taxonomy, whatever taxonomy photographs are inspected with.
CLASS_NAMES = Taxonomy.load().answers()
CLASS_IDS = {(c.type, c.condition): i for i, c in enumerate(Taxonomy.load().classes)}
REAL_COUNTS = (52, 78, 76, 153, 366, 257, 97, 148, 238)  # of the 290 real photographs, by class id

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Fault:
    """Something wrong with a channel between two places on its long axis (rows or columns of the canvas)."""

    what: str  # silt, soil, plants, debris | gap, shift, crack, undercut
    start: int
    stop: int
    amount: float  # 0..1 for fillings (how full), signed half widths for a shift


@dataclass(frozen=True, eq=False)
class Channel:
    """A slope drain (long axis: canvas rows) or a toe drain (long axis: canvas columns)."""

    kind: str
    condition: str
    first: int  # first row or column of the canvas that it touches
    middle: Floats  # (n,) column or row of the axis, one for each row or column from `first`
    half: Floats  # (n,) half width in pixels
    faults: tuple[Fault, ...]
    style: str  # walls, slab, steps, round, ditch
    polygon: Points
    seed: int


@dataclass(frozen=True, eq=False)
class Stretch:
    """A piece of rock toe between two columns."""

    condition: str
    first: int
    top: Floats  # (n,) row of the upper edge, one for each column from `first`
    bottom: Floats
    skew: float  # columns per row of the two ends
    bare: float  # share of the stones that are gone
    polygon: Points
    seed: int
    kind: str = "rock_toe"


@dataclass(frozen=True, eq=False)
class Plant:
    """A bush, a clump of tall grass or a mat of creepers: a union of round tufts."""

    tufts: tuple[tuple[float, float, float], ...]  # x, y, radius in pixels
    style: str  # bush, reed, creeper
    polygon: Points
    seed: int
    kind: str = "vegetation"
    condition: str = "normal"


@dataclass(frozen=True)
class Band:
    """A strip of ground between two plan heights, from the top of the picture down."""

    what: str  # road, face, bench, ash
    v0: float
    v1: float
    rough: float  # pixels that its upper edge wanders


Item = Channel | Stretch | Plant


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """A whole scene: ground bands and the items on them, in the order in which they are painted."""

    bend: Bend
    zoom: float
    season: str  # dry, green, ash, earth, mixed
    bands: tuple[Band, ...]
    items: tuple[Item, ...]
    labeled: tuple[bool, ...]  # whether enough of each item can be seen


def area(polygon: Points) -> float:
    """Area of a simple polygon in square pixels (shoelace formula).

    >>> area(((0, 0), (4, 0), (4, 3)))
    6.0
    """
    x, y = np.asarray(polygon, np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


CANVAS = 640  # side of the canvas in pixels; other sizes are resampled from it
MIDDLE = CANVAS / 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bend:
    """y = v + lift(x), and x spreads with v: what a curved face does when seen from a drone."""

    tilt: float  # rise per pixel, the horizon is not level
    curve: float  # pixels that the picture's edges lie below its middle
    fan: float  # how far lines that run down the face spread, as a share, between top and bottom
    lean: float  # sideways pixels per pixel down
    waves: tuple[tuple[float, float, float], ...]  # amplitude and period in pixels, phase in radians

    def lift(self, x: Floats) -> Floats:
        """Pixels that a level line of the plan moves down at picture column `x`; any shape."""
        far = x - MIDDLE
        bent = self.tilt * far + self.curve * (far / MIDDLE) ** 2
        for amplitude, period, phase in self.waves:
            bent = bent + amplitude * np.sin(2 * np.pi * x / period + phase)
        return np.asarray(bent, np.float32)

    def column(self, u: Floats, v: Floats) -> Floats:
        """Picture column of plan points."""
        down = (v - MIDDLE) / MIDDLE
        return np.asarray(u + (u - MIDDLE) * self.fan * down + self.lean * (v - MIDDLE), np.float32)

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Picture point of one plan point."""
        x = self.column(np.float32(u), np.float32(v))  # type: ignore[arg-type]
        return float(x), float(v + self.lift(x))

    def across(self, x: float, v: float) -> float:
        """The u that appears in picture column `x` at plan height `v`."""
        down = (v - MIDDLE) / MIDDLE
        return (x - self.lean * (v - MIDDLE) + MIDDLE * self.fan * down) / (1 + self.fan * down)
