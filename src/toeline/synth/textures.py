"""Texture tiles: made once for each process from fixed seeds, then cropped, flipped and blended for every scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.plan import CANVAS, Floats

TILE = 1024


def _unit(tile: Floats) -> Floats:
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


def _octave(rng: np.random.Generator, wide: int, high: int) -> Floats:
    coarse = rng.standard_normal((max(4, TILE // high), max(4, TILE // wide))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (TILE, TILE), interpolation=cv2.INTER_CUBIC), np.float32)


def _fractal(rng: np.random.Generator, sizes: tuple[int, ...], fade: float) -> Floats:
    total = np.zeros((TILE, TILE), np.float32)
    for step, size in enumerate(sizes):
        total += fade**step * _octave(rng, size, size)
    return _unit(total)


def _white(rng: np.random.Generator, sx: float, sy: float) -> Floats:
    raw = rng.standard_normal((TILE, TILE)).astype(np.float32)
    return _unit(np.asarray(cv2.GaussianBlur(raw, (0, 0), sigmaX=sx, sigmaY=sy), np.float32))


def _blades(rng: np.random.Generator, lean: float) -> Floats:
    """Short strokes some 25 degrees off the vertical: tall grass laid over by wind."""
    stroke = np.zeros((15, 15), np.float32)
    cv2.line(stroke, (round(7 - 3.2 * lean), 14), (round(7 + 3.2 * lean), 0), 1.0, 1, cv2.LINE_AA)
    raw = rng.standard_normal((TILE, TILE)).astype(np.float32)
    return _unit(np.asarray(cv2.filter2D(raw, -1, stroke), np.float32))


@cache
def tile(name: str) -> Floats:
    """A (1024, 1024) float32 tile of mean 0 and deviation 1.

    `broad` has patches of 60 to 400 pixels, `middle` of 8 to 40, `small` of 3 to 8, `fine` of 1 to 2; `down` and
    `level` are streaks along the columns and rows, `left` and `right` blades that lean; `gully` wanders down
    in long ridges.
    """
    rng = np.random.default_rng([71, sum(name.encode())])
    if name == "broad":
        return _fractal(rng, (400, 200, 100, 50), 0.6)
    if name == "middle":
        return _fractal(rng, (40, 20, 10), 0.8)
    if name == "small":
        return _unit(_white(rng, 2.0, 2.0) + 0.6 * _white(rng, 1.2, 1.2))
    if name == "fine":
        return _unit(_white(rng, 0.6, 0.6) + 0.8 * _white(rng, 1.0, 1.0))
    if name == "down":
        return _unit(_white(rng, 1.0, 9.0) + 0.7 * _white(rng, 2.5, 40.0))
    if name in ("left", "right"):
        return _blades(rng, 1.0 if name == "right" else -1.0)
    if name == "level":
        return _unit(0.6 * _white(rng, 20.0, 0.8) + _white(rng, 110.0, 1.4) + 0.35 * _white(rng, 240.0, 6.0))
    return _unit(-np.abs(_octave(rng, 24, 200)) - 0.5 * np.abs(_octave(rng, 10, 90)) + 0.2 * _white(rng, 1.0, 6.0))


@cache
def stones(spacing: int) -> tuple[Floats, Floats, Floats]:
    """Cells of a jittered grid, `spacing` pixels apart: (value, light, depth), each (1024, 1024) float32.

    `value` is one random number in 0..1 for each cell; `light` is the shading of a rounded cell lit from the upper
    left, about -1..1; `depth` is 0 in the joints and 1 on top.
    """
    rng = np.random.default_rng([72, spacing])
    grid = np.mgrid[0 : TILE + spacing : spacing, 0 : TILE + spacing : spacing].reshape(2, -1).astype(np.float32)
    grid = np.concatenate([grid, grid[:, rng.random(grid.shape[1]) < 0.4]], 1)  # some stones are half as big
    seeds = (grid + rng.uniform(-0.7, 0.7, grid.shape) * spacing).round().astype(int)
    ground = np.full((TILE, TILE), 255, np.uint8)
    keep = (seeds >= 0).all(0) & (seeds < TILE).all(0)
    ground[seeds[0, keep], seeds[1, keep]] = 0
    _, cell = cv2.distanceTransformWithLabels(ground, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    edge = (cell != np.roll(cell, 1, 0)) | (cell != np.roll(cell, 1, 1))
    height = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
    height = np.minimum(height / (0.2 * spacing + 0.5), 1).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(height, (0, 0), 0.7), np.float32)
    slope = np.roll(smooth, -1, 1) - np.roll(smooth, 1, 1) + np.roll(smooth, -1, 0) - np.roll(smooth, 1, 0)
    value = rng.random(int(cell.max()) + 1).astype(np.float32)[cell]
    return value, np.clip(slope, -1, 1).astype(np.float32), smooth


@cache
def _flipped(name: str, turn: int) -> Floats:
    return np.ascontiguousarray(tile(name)[:: 1 - 2 * (turn & 1), :: 1 - 2 * (turn >> 1)])


def crop(name: str, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """A random window of a tile, flipped at random; float32 of `shape` (rows, columns), each at most 1024."""
    whole = _flipped(name, int(rng.integers(4)))
    row, column = rng.integers(0, TILE - shape[0] + 1), rng.integers(0, TILE - shape[1] + 1)
    return whole[row : row + shape[0], column : column + shape[1]]


def crop_stones(spacing: int, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
    """The same random window of the three tiles of `stones`."""
    row, column = rng.integers(0, TILE - shape[0] + 1), rng.integers(0, TILE - shape[1] + 1)
    value, light, depth = (part[row : row + shape[0], column : column + shape[1]] for part in stones(spacing))
    return value, light, depth


def wander(rng: np.random.Generator, length: int, step: float) -> Floats:
    """A smooth random line: (length,) float32 of about mean 0 and deviation 1, with bumps `step` pixels long."""
    knots = rng.standard_normal(max(2, int(length / max(step, 1.0)) + 3))
    at = np.linspace(0, len(knots) - 1.001, length)
    low = at.astype(int)
    part = at - low
    part = part * part * (3 - 2 * part)
    return np.asarray(knots[low] * (1 - part) + knots[np.minimum(low + 1, len(knots) - 1)] * part, np.float32)


def ramp(values: Floats, low: float | Floats, high: float | Floats) -> Floats:
    """0 below `low`, 1 above `high`, straight between."""
    return np.asarray(np.clip((values - low) / (np.asarray(high, np.float32) - low), 0, 1), np.float32)


Choice = TypeVar("Choice")


def choose(rng: np.random.Generator, items: Sequence[Choice]) -> Choice:
    """One of them, each as likely."""
    return items[int(rng.integers(len(items)))]


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
