"""Paints rock toe: a band of stone, even where it is sound, with holes and strewn stones where it is damaged."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.bend import Floats
from toeline.synth.canvas import BROKEN, SOUND, Canvas, blend, darken, soften, window
from toeline.synth.ground import stony, texture
from toeline.synth.looks import FACES, Look, vary
from toeline.synth.noise import crop, ramp
from toeline.synth.plan import Stretch

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
        look = Look((118, 104, 84), (158, 142, 118), 0.12, 0.12, gully=0.05, tufts=0.08)
    ground = texture(look, rng, shape)
    darken(ground, 0.25 * ramp(soften(holes, 3), 0.9, 0.2) * holes)
    blend(canvas.color[span], ground, 0.9 * holes)
