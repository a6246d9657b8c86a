"""Paints plants: bushes, clumps of tall grass, creepers, with their shadows."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.bend import Floats
from toeline.synth.canvas import SOUND, Canvas, Color, blend, darken, soften, triple, window
from toeline.synth.noise import crop, crop_stones, ramp
from toeline.synth.plan import Plant

GREENS: dict[str, tuple[Color, ...]] = {
    "dry": ((98, 102, 72), (104, 112, 80), (86, 96, 64), (118, 118, 88)),
    "green": ((88, 114, 64), (100, 126, 74), (80, 102, 60), (108, 132, 84)),
    "ash": ((98, 104, 74), (88, 98, 66), (110, 114, 86)),
    "earth": ((92, 104, 66), (102, 112, 74), (82, 98, 58)),
    "mixed": ((86, 106, 58), (96, 116, 66), (78, 98, 54)),
}


def _crown(plant: Plant, rows: slice, columns: slice, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(h, w) height of the leaves, 0 outside, and coverage in 0..1 with a leafy edge."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    yy, xx = np.mgrid[rows, columns].astype(np.float32)
    height = np.zeros(shape, np.float32)
    for x, y, r in plant.tufts:
        a, b = max(0, int(y - r) - rows.start - 1), max(0, int(y + r) - rows.start + 3)
        c, d = max(0, int(x - r) - columns.start - 1), max(0, int(x + r) - columns.start + 3)
        far = ((xx[a:b, c:d] - x) ** 2 + (yy[a:b, c:d] - y) ** 2) / (r * r)
        np.maximum(height[a:b, c:d], r * np.sqrt(np.clip(1.25 - far, 0, None)), out=height[a:b, c:d])
    size = float(np.median([r for _, _, r in plant.tufts]))
    leafy = (
        height / size
        + 0.2 * crop("small", rng, shape)
        + 0.12 * crop("middle", rng, shape)
        + 0.1 * crop("fine", rng, shape)
    )
    return height, ramp(leafy, 0.42, 0.62) * (height > 0)


def _leaves(plant: Plant, shape: tuple[int, int], height: Floats, season: str, rng: np.random.Generator) -> Floats:
    greens = np.asarray(GREENS[season], np.float32) * np.float32(rng.uniform(0.88, 1.12))
    first, second = greens[rng.permutation(len(greens))[:2]]
    tint = ramp(crop("middle", rng, shape) + 0.5 * crop("small", rng, shape), -1.2, 1.2)
    color = first + (second * 1.08 - first) * triple(tint)
    value, light, depth = crop_stones(5 if plant.style != "creeper" else 7, rng, shape)
    slope = height - np.roll(height, (2, 2), (0, 1))
    bright = 0.78 + 0.34 * depth * (0.4 + value) + 0.045 * np.clip(slope, -8, 8) - 0.2 * light
    bright += 0.2 * crop("middle", rng, shape) + 0.16 * crop("fine", rng, shape) + 0.14 * crop("small", rng, shape)
    painted = color * triple(np.asarray(np.clip(bright, 0.2, 1.9), np.float32))
    if plant.style == "reed":
        plume = ramp(crop("down", rng, shape) + 0.8 * crop("small", rng, shape), 0.9, 1.8)
        blend(painted, (196, 192, 172), 0.75 * plume)
    return np.asarray(painted, np.float32)


def paint_plant(canvas: Canvas, plant: Plant, index: int, season: str) -> None:
    """One plant and its shadow."""
    rng = np.random.default_rng(plant.seed)
    x, y = np.asarray(plant.polygon).T
    reach = 0.22 * min(np.ptp(x), np.ptp(y)) if plant.style != "creeper" else 3.0
    span = window(x.min() - reach - 6, y.min() - reach - 6, x.max() + reach + 6, y.max() + reach + 6)
    rows, columns = span
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    height, cover = _crown(plant, rows, columns, rng)
    dx, dy = canvas.light[0] * reach * 0.7, canvas.light[1] * reach * 0.7
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    shadow = cv2.warpAffine(soften(cover, 1.5), shift, (shape[1], shape[0]))
    darken(canvas.color[span], canvas.shade * np.maximum(np.asarray(shadow, np.float32), 0.7 * soften(cover, 4)))
    blend(canvas.color[span], _leaves(plant, shape, height, season, rng), cover)
    solid = cover > 0.5
    canvas.owner[span][solid] = index + 1
    canvas.state[span][solid] = SOUND
