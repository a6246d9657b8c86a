"""Paints the ground: bands of grass, soil, gravel and ash. Knows textures; knows nothing of drains or labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toeline.synth.bend import CANVAS, Bend, Floats
from toeline.synth.canvas import Canvas, Color, blend, darken, mix, window
from toeline.synth.noise import crop, crop_stones, ramp, wander
from toeline.synth.plan import Band, Plan

Rng = np.random.Generator


@dataclass(frozen=True)
class Look:
    """A ground material: two base colors and how strong each texture is."""

    dark: Color
    pale: Color
    grain: float = 0.10  # 1 to 2 pixels
    clumps: float = 0.10  # 3 to 8 pixels
    down: float = 0.0  # streaks that run down the face
    level: float = 0.0  # streaks along the dam: wheel tracks
    gully: float = 0.0  # erosion
    tufts: float = 0.0  # share covered by scrub
    tuft: Color = (70, 72, 50)


FACES: dict[str, tuple[Look, ...]] = {
    "dry": (
        Look((112, 105, 89), (168, 157, 140), 0.15, 0.16, 0.07, tufts=0.16, tuft=(76, 74, 56)),
        Look((121, 108, 90), (164, 148, 128), 0.15, 0.17, 0.09, tufts=0.10, tuft=(80, 76, 58)),
        Look((96, 92, 76), (146, 138, 120), 0.16, 0.17, 0.04, tufts=0.22, tuft=(64, 66, 46)),
        Look((136, 118, 95), (176, 156, 130), 0.14, 0.14, 0.12, tufts=0.08, tuft=(92, 84, 62)),
    ),
    "green": (
        Look((84, 108, 52), (132, 146, 92), 0.13, 0.15, 0.02, tufts=0.14, tuft=(62, 92, 38)),
        Look((90, 122, 48), (126, 152, 74), 0.12, 0.13, 0.02, tufts=0.10, tuft=(66, 104, 36)),
        Look((92, 106, 60), (156, 150, 112), 0.14, 0.15, 0.03, tufts=0.18, tuft=(70, 92, 44)),
    ),
    "ash": (
        Look((112, 112, 106), (176, 174, 166), 0.10, 0.10, 0.07, gully=0.10, tufts=0.08, tuft=(84, 84, 66)),
        Look((98, 96, 86), (168, 162, 150), 0.15, 0.15, 0.05, gully=0.06, tufts=0.20, tuft=(72, 72, 54)),
    ),
    "earth": (
        Look((150, 112, 82), (182, 142, 110), 0.10, 0.10, 0.12, gully=0.05, tufts=0.03, tuft=(110, 92, 60)),
        Look((146, 128, 104), (184, 164, 138), 0.11, 0.11, 0.12, gully=0.06, tufts=0.04, tuft=(104, 94, 68)),
    ),
    "mixed": (
        Look((96, 100, 66), (156, 142, 112), 0.15, 0.17, 0.04, tufts=0.26, tuft=(66, 84, 40)),
        Look((104, 102, 78), (150, 136, 112), 0.16, 0.17, 0.05, tufts=0.20, tuft=(72, 88, 48)),
    ),
}
ROADS = (
    Look((140, 131, 116), (190, 181, 166), 0.05, 0.05, level=0.035),
    Look((150, 132, 108), (186, 168, 142), 0.05, 0.05, level=0.04),
    Look((168, 162, 148), (216, 208, 196), 0.06, 0.06, level=0.03),
    Look((138, 112, 90), (176, 148, 122), 0.06, 0.06, level=0.035),
    Look((122, 121, 116), (164, 162, 156), 0.09, 0.07, level=0.03),
)


def texture(look: Look, rng: Rng, shape: tuple[int, int]) -> Floats:
    """(h, w, 3) float32 of one material."""
    share = ramp(crop("broad", rng, shape) + 0.7 * crop("middle", rng, shape), -2.2, 2.2)
    light = 1 + look.grain * crop("fine", rng, shape) + look.clumps * crop("small", rng, shape)
    for name, strength in (("down", look.down), ("level", look.level), ("gully", look.gully)):
        if strength:
            light += strength * crop(name, rng, shape)
    dark, pale = np.asarray(look.dark, np.float32), np.asarray(look.pale, np.float32)
    painted = (dark + (pale - dark) * share[..., None]) * np.clip(light, 0.35, 1.6)[..., None]
    if look.tufts:
        _scrub(painted, look, rng)
    return np.asarray(painted, np.float32)


def _scrub(painted: Floats, look: Look, rng: Rng) -> None:
    """Small dark scrub all over: it belongs to the ground and carries no label."""
    shape = painted.shape[:2]
    field = crop("middle", rng, (shape[0], shape[1])) + 0.8 * crop("small", rng, (shape[0], shape[1]))
    field = field + 0.8 * crop("broad", rng, (shape[0], shape[1]))
    edge = 1.45 - 3.2 * look.tufts
    shadow = ramp(np.roll(field, (2, 2), (0, 1)), edge + 0.2, edge + 0.9)
    darken(painted, 0.3 * shadow)
    light = 1 + 0.22 * crop("fine", rng, (shape[0], shape[1]))
    blend(painted, np.asarray(look.tuft, np.float32) * light[..., None], 0.8 * ramp(field, edge, edge + 0.8))


def vary(look: Look, rng: Rng) -> Look:
    """A material with its colors moved a little, so that no two scenes share one."""
    push = rng.normal(0, 2.5, 3) + rng.normal(0, 9)
    shift = np.clip(push, -24, 24)
    dark, pale = (tuple(np.asarray(c) + shift) for c in (look.dark, look.pale))
    tufts = float(look.tufts * rng.uniform(0.3, 1.6))
    scale = float(rng.uniform(0.7, 1.25))
    return Look(
        dark, pale, look.grain * scale, look.clumps * scale, look.down, look.level, look.gully, tufts, look.tuft
    )


def _edge(bend: Bend, v: float, rough: float, rng: Rng) -> Floats:
    columns = np.arange(CANVAS, dtype=np.float32)
    return v + bend.lift(columns) + rough * (wander(rng, CANVAS, 60) + 0.5 * wander(rng, CANVAS, 14))


def _paint_band(canvas: Canvas, band: Band, look: Look, bend: Bend, rng: Rng) -> None:
    edge = _edge(bend, band.v0, band.rough, rng)
    span = window(0, edge.min() - 6, CANVAS, band.v1 + bend.lift(np.arange(CANVAS, dtype=np.float32)).max() + 40)
    rows, columns = span
    if rows.stop - rows.start < 1:
        return
    shape = (rows.stop - rows.start, CANVAS)
    below = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - edge
    ragged = below + 1.6 * band.rough * crop("small", rng, shape)
    painted = texture(look, rng, shape)
    if band.what == "face":
        darken(painted, 0.16 * np.exp(-np.abs(below) / 6))
    blend(canvas.color[span], painted, ramp(ragged, -1.0, 1.0 + band.rough))


def paint_ground(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """All bands of a plan, from the top of the picture down."""
    face = vary(FACES[plan.season][int(rng.integers(len(FACES[plan.season])))], rng)
    road = vary(ROADS[int(rng.integers(len(ROADS)))], rng)
    bench = vary(road if rng.random() < 0.5 else ROADS[int(rng.integers(len(ROADS)))], rng)
    if rng.random() < 0.4:
        bench = vary(Look(mix(face.dark, bench.dark, 0.5), mix(face.pale, bench.pale, 0.5), 0.12, 0.12, tufts=0.1), rng)
    looks = {"face": face, "road": road, "bench": bench}
    for band in plan.bands:
        _paint_band(canvas, band, looks[band.what], plan.bend, rng)
        if band.what == "face" and rng.random() < 0.7:
            _patches(canvas, band, plan, rng)


def _patches(canvas: Canvas, band: Band, plan: Plan, rng: Rng) -> None:
    """Bare soil, burnt, washed-out or greener places on a face."""
    low, high = band.v0, band.v1
    lift = plan.bend.lift(np.arange(CANVAS, dtype=np.float32))
    span = window(0, low + lift.min(), CANVAS, high + lift.max())
    rows, _ = span
    shape = (rows.stop - rows.start, CANVAS)
    if shape[0] < 8:
        return
    other = FACES[list(FACES)[int(rng.integers(len(FACES)))]][0]
    if plan.season == "green" and rng.random() < 0.6:
        other = FACES["earth"][int(rng.integers(2))]
    v = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - lift
    inside = ramp(v, low, low + 14) * (1 - ramp(v, high - 14, high))
    field = crop("broad", rng, shape) + 0.25 * crop("middle", rng, shape) + 0.25 * crop("gully", rng, shape)
    start = float(rng.uniform(0.7, 1.8))
    blend(canvas.color[span], texture(vary(other, rng), rng, shape), 0.85 * inside * ramp(field, start, start + 0.5))


def stony(rng: Rng, shape: tuple[int, int], spacing: int, color: Color) -> tuple[Floats, Floats]:
    """Stones of one size: (h, w, 3) colors and (h, w) the random value of the stone at each pixel."""
    value, light, depth = crop_stones(spacing, rng, shape)
    grain = 1 + 0.06 * crop("fine", rng, shape)
    bright = (0.58 + 0.42 * depth) * (0.86 + 0.42 * np.modf(value * 7.31)[0]) * (1 - 0.4 * light) * grain
    return np.asarray(color, np.float32) * bright[..., None], value
