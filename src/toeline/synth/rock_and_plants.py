"""Paints rock toe: a band of stone, even where it is sound, with holes and strewn stones where it is damaged."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.ground import stony, texture
from toeline.synth.materials import FACES, SceneLook, vary
from toeline.synth.plan import Floats, Plant, Stretch
from toeline.synth.textures import (
    BROKEN,
    SOUND,
    Canvas,
    Color,
    blend,
    crop,
    crop_stones,
    darken,
    ramp,
    soften,
    triple,
    window,
)

STONE_COLORS = ((184, 175, 162), (198, 187, 168), (170, 164, 155), (192, 176, 154), (158, 152, 144))
LEAST_CONTRAST = 26.0  # gray levels between the stones and what lies around them
SPILL = 16  # pixels that loose stones roll below a damaged stretch


def _inside(item: Stretch, rows: slice, columns: slice) -> Floats:
    """(h, w) coverage of the polygon in 0..1."""
    ink = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    corners = (np.asarray(item.polygon) - (columns.start, rows.start)) * 16
    cv2.fillPoly(ink, [corners.round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(ink / 255, np.float32)


def _holes(item: Stretch, rng: np.random.Generator, inside: Floats) -> Floats:
    """(h, w) 1 where stones are gone, over `item.bare` of the stretch."""
    if not item.bare:
        return np.zeros_like(inside)
    shape = (inside.shape[0], inside.shape[1])
    field = crop("middle", rng, shape) + 0.9 * crop("broad", rng, shape) + 0.15 * crop("small", rng, shape)
    edge = float(np.quantile(field[inside > 0.5], 1 - item.bare)) if (inside > 0.5).any() else 9.0
    return ramp(field, edge - 0.12, edge + 0.12)


def paint_stretch(canvas: Canvas, item: Stretch, index: int, color: int, spacing: int, season: str) -> None:
    """One stretch; `color` numbers STONE_COLORS, `spacing` is the size of a stone in pixels."""
    rng = np.random.default_rng(item.seed)
    x, y = np.asarray(item.polygon).T
    span = window(x.min() - 3, y.min() - 3, x.max() + 3, y.max() + (SPILL if item.bare else 3))
    rows, columns = span
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    if min(shape) < 3:
        return
    inside = _inside(item, rows, columns)
    holes = _holes(item, rng, inside)
    painted, value = stony(rng, shape, spacing, STONE_COLORS[color])
    ground = float(canvas.color[span].mean())
    paler = max(0.0, LEAST_CONTRAST - abs(float(painted.mean()) - ground))
    painted *= np.float32(1 + paler / 150)
    below = cv2.warpAffine(inside, np.array([[1, 0, 0], [0, 1, SPILL * 0.7]], np.float64), (shape[1], shape[0]))
    soft = soften(inside, 2.2)
    density = soft * (1 - 0.93 * holes) + (0.12 * soften(below, 4) * (1 - inside) if item.bare else 0)
    density = np.where(inside > 0.5, np.maximum(density, 0.07 if item.bare else 0), density)
    stone = soften((value < density).astype(np.float32), 0.6)
    if item.bare:
        ragged = ramp(soften(inside, 5) + 0.12 * crop("small", rng, shape), 0.4, 0.8)
        _bare_ground(canvas, rng, span, holes * ragged, season)
    else:
        darken(canvas.color[span], 0.2 * inside)
    darken(canvas.color[span], 0.25 * soften(stone, 1.5) * (1 - stone))
    blend(canvas.color[span], painted, stone)
    solid = inside > 0.5
    canvas.owner[span][solid] = index + 1
    canvas.state[span][solid] = np.where(holes[solid] > 0.5, BROKEN, SOUND)


def _bare_ground(
    canvas: Canvas, rng: np.random.Generator, span: tuple[slice, slice], holes: Floats, season: str
) -> None:
    """Soil, or grass that grows where the stones were."""
    shape = (holes.shape[0], holes.shape[1])
    look = vary(FACES[season][0], rng)
    if rng.random() < 0.5:
        look = SceneLook((118, 104, 84), (158, 142, 118), 0.12, 0.12, gully=0.05, tufts=0.08)
    ground = texture(look, rng, shape)
    darken(ground, 0.25 * ramp(soften(holes, 3), 0.9, 0.2) * holes)
    blend(canvas.color[span], ground, 0.9 * holes)


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
