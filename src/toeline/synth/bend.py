"""How a flat plan of an embankment bends into an oblique picture. Knows coordinates, not what stands where.

Plan coordinates (u, v) are design pixels: u along the dam, v down the face. Picture coordinates (x, y) are pixels of
the 640 x 640 canvas that every scene is painted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
