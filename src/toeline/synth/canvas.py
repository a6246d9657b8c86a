"""The canvas that a scene is painted on: colors, who is on top, and in what state. Knows blending only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.bend import CANVAS, Floats

SOUND, COVERED, BROKEN = 1, 2, 3
Color = tuple[float, float, float]
Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Arrays that painters write into. `color` is (640, 640, 3) float32 RGB in 0..255, the others (640, 640) uint8."""

    color: Floats
    owner: NDArray[np.uint8]
    state: NDArray[np.uint8]
    light: tuple[float, float]  # pixels that a shadow of one pixel of height moves: right, down
    shade: float  # how dark shadows are, 0..1


def window(x0: float, y0: float, x1: float, y1: float) -> Window:
    """The part of a rectangle that lies on the canvas, as slices of rows and columns."""
    low, high = max(0, int(y0)), min(CANVAS, int(np.ceil(y1)))
    left, right = max(0, int(x0)), min(CANVAS, int(np.ceil(x1)))
    return slice(low, max(low, high)), slice(left, max(left, right))


def triple(mask: Floats) -> Floats:
    """(h, w) as (h, w, 3). Several times faster to multiply with than a broadcast view."""
    return np.asarray(cv2.merge((mask, mask, mask)), np.float32)


def blend(target: Floats, color: Floats | Color, alpha: Floats) -> None:
    """target <- target + (color - target) * alpha, in place; `alpha` (h, w), `color` a triple or (h, w, 3)."""
    if alpha.size:
        part = np.asarray(color, np.float32) - target
        part *= triple(np.asarray(alpha, np.float32))
        target += part


def darken(target: Floats, amount: Floats) -> None:
    """Multiply by 1 - amount, in place; `amount` (h, w) in 0..1."""
    if amount.size:
        target *= triple(np.asarray(1 - amount, np.float32))


def soften(mask: Floats, sigma: float) -> Floats:
    """A blurred copy."""
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(mask), (0, 0), sigma), np.float32)


def mix(first: Color, second: Color, part: float) -> Color:
    """A color between two.

    >>> mix((0, 0, 0), (10, 20, 30), 0.5)
    (5.0, 10.0, 15.0)
    """
    a, b, c = (float(x + (y - x) * part) for x, y in zip(first, second, strict=True))
    return a, b, c
