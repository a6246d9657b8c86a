"""Paints the ground: bands of grass, soil, gravel and ash. Knows textures; knows nothing of drains or labels."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.bend import CANVAS, MIDDLE, Bend, Floats
from toeline.synth.canvas import Canvas, Color, blend, darken, mix, soften, triple, window
from toeline.synth.looks import FACES, ROADS, WASHED, Look, vary
from toeline.synth.noise import TILE, crop, crop_stones, ramp, wander
from toeline.synth.plan import Band, Plan

Rng = np.random.Generator


def texture(look: Look, rng: Rng, shape: tuple[int, int], rich: Floats | None = None) -> Floats:
    """(h, w, 3) float32 of one material; `rich` (h, w), about -1..1, says where more grows."""
    wide = crop("broad", rng, shape)
    share = ramp(crop("broad", rng, shape) + 0.6 * crop("middle", rng, shape), -1.9, 1.9)
    light = (
        1
        + 0.05 * wide
        + 0.04 * crop("middle", rng, shape)
        + look.grain * crop("fine", rng, shape)
        + look.clumps * crop("small", rng, shape)
    )
    for name, strength in (("down", look.down), ("gully", look.gully)):
        if strength:
            light += strength * ramp(wide, -1.5, 1.0) * crop(name, rng, shape)
    dark, pale = np.asarray(look.dark, np.float32), np.asarray(look.pale, np.float32)
    painted = dark + (pale - dark) * triple(share)
    rich = 0.5 * wide if rich is None else rich + 0.5 * wide
    if look.growth:
        blend(painted, look.growth, 0.75 * ramp(rich + 0.3 * crop("middle", rng, shape), -0.1, 1.3))
    if look.blades:
        blades = crop("left" if rng.random() < 0.5 else "right", rng, shape)
        light += look.blades * blades * ramp(rich + 0.4 * crop("middle", rng, shape), -0.3, 1.0)
    if look.lush:
        light += look.lush * _lumps(rng, shape, rich)
    painted *= triple(np.clip(light, 0.35, 1.7))
    if look.tufts:
        _scrub(painted, look, rng, rich)
    return np.asarray(painted, np.float32)


def _lumps(rng: Rng, shape: tuple[int, int], rich: Floats) -> Floats:
    """(h, w) light on a low leafy cover: rounded lumps with leaves on them."""
    _, round_light, depth = crop_stones(30, rng, shape)
    value, leaf_light, leaf_depth = crop_stones(5, rng, shape)
    leaves = 0.3 * (leaf_depth - 0.6) + 0.35 * (value - 0.5) - 0.2 * leaf_light
    lumps = 0.35 * (soften(depth, 4) - 0.75) - 0.3 * round_light
    return np.asarray((leaves + lumps) * ramp(rich, -0.6, 0.6), np.float32)


def _scrub(painted: Floats, look: Look, rng: Rng, rich: Floats) -> None:
    """Small dark scrub all over: it belongs to the ground and carries no label."""
    shape = (painted.shape[0], painted.shape[1])
    patchy = np.asarray(np.clip(0.5 + 0.55 * rich + 0.4 * crop("middle", rng, shape), 0.04, 3), np.float32)
    for spacing, share, dark in ((6, 0.9, 1.0), (11, 0.55, 0.86), (17, 0.28, 0.76)):
        value, light, depth = crop_stones(spacing, rng, shape)
        present = ramp(np.float32(2 * look.tufts * share) * patchy - value, -0.02, 0.06)
        ragged = present * ramp(depth + 0.3 * crop("small", rng, shape), 0.45, 1.05)
        darken(painted, np.asarray(0.4 * np.roll(ragged, (2, 2), (0, 1)), np.float32))
        tone = np.asarray(look.tuft, np.float32) * triple(dark - 0.45 * light + 0.2 * crop("fine", rng, shape))
        blend(painted, tone, 0.85 * ragged)


def _edge(bend: Bend, v: float, rough: float, rng: Rng) -> Floats:
    columns = np.arange(CANVAS, dtype=np.float32)
    ragged = rough * (wander(rng, CANVAS, 60) + 0.5 * wander(rng, CANVAS, 14))
    return np.asarray(v + bend.lift(columns) + ragged, np.float32)


def _along(bend: Bend, rng: Rng, rows: slice) -> Floats:
    """(h, 640) streaks that follow the bend: wheel tracks and graded gravel."""
    columns = np.arange(CANVAS, dtype=np.float32)
    lift = bend.lift(columns)
    shape = (min(TILE, rows.stop - rows.start + int(np.ptp(lift)) + 2), CANVAS)
    straight = crop("level", rng, shape)
    at = np.arange(rows.stop - rows.start, dtype=np.float32)[:, None] + (lift.max() - lift)
    across = np.broadcast_to(columns, at.shape)
    return np.asarray(
        cv2.remap(straight, np.ascontiguousarray(across), at.astype(np.float32), cv2.INTER_LINEAR), np.float32
    )


def _paint_band(canvas: Canvas, band: Band, look: Look, bend: Bend, rng: Rng) -> None:
    edge = _edge(bend, band.v0, band.rough, rng)
    span = window(0, edge.min() - 6, CANVAS, band.v1 + bend.lift(np.arange(CANVAS, dtype=np.float32)).max() + 40)
    rows, _ = span
    if rows.stop - rows.start < 1:
        return
    shape = (rows.stop - rows.start, CANVAS)
    below = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - edge
    ragged = below + (1.1 if band.what == "face" else 0.6) * band.rough * crop("small", rng, shape)
    down = np.clip(below / max(1.0, band.v1 - band.v0), 0, 1) - 0.5
    painted = texture(look, rng, shape, np.asarray(float(rng.uniform(-0.6, 1.6)) * down, np.float32))
    if look.level:
        painted *= triple(1 + look.level * _along(bend, rng, rows))
    if band.what == "face":
        darken(painted, 0.16 * np.exp(-np.abs(below) / 6))
    blend(canvas.color[span], painted, ramp(ragged, -1.0, 1.0 + band.rough))


def paint_ground(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """All bands of a plan, from the top of the picture down."""
    face = vary(FACES[plan.season][int(rng.integers(len(FACES[plan.season])))], rng)
    road = vary(ROADS[int(rng.integers(len(ROADS)))], rng)
    bench = vary(road if rng.random() < 0.5 else ROADS[int(rng.integers(len(ROADS)))], rng)
    if plan.season != "green" and rng.random() < 0.4:
        bench = vary(Look(mix(face.dark, bench.dark, 0.5), mix(face.pale, bench.pale, 0.5), 0.12, 0.12, tufts=0.1), rng)
    ash = vary(Look((176, 174, 168), (222, 218, 208), 0.05, 0.05, level=0.03, gully=0.03), rng)
    looks = {"face": face, "road": road, "bench": bench, "ash": ash}
    top = int(
        np.clip(plan.bands[0].v0 + plan.bend.lift(np.array([0, MIDDLE, CANVAS], np.float32)).max() + 40, 1, CANVAS)
    )
    canvas.color[:top] = texture(face, rng, (top, CANVAS))  # above the first band, where a strong bend pulls it down
    for band in plan.bands:
        _paint_band(canvas, band, looks[band.what], plan.bend, rng)
        for _ in range(int(rng.integers(0, 3)) if band.what == "face" else 0):
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
    if rng.random() < 0.5:
        other = WASHED[int(rng.integers(len(WASHED)))]
    v = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - lift
    inside = ramp(v, low, low + 14) * (1 - ramp(v, high - 14, high))
    field = crop("broad", rng, shape) + 0.25 * crop("middle", rng, shape) + 0.25 * crop("gully", rng, shape)
    start = float(rng.uniform(0.7, 1.8))
    alpha = float(rng.uniform(0.5, 0.9)) * inside * ramp(field, start, start + float(rng.uniform(0.4, 1.2)))
    blend(canvas.color[span], texture(vary(other, rng), rng, shape), np.asarray(alpha, np.float32))


def stony(rng: Rng, shape: tuple[int, int], spacing: int, color: Color) -> tuple[Floats, Floats]:
    """Stones of one size: (h, w, 3) colors and (h, w) the random value of the stone at each pixel."""
    value, light, depth = crop_stones(spacing, rng, shape)
    grain = 1 + 0.09 * crop("fine", rng, shape) + 0.06 * crop("small", rng, shape)
    bright = (0.6 + 0.4 * depth) * (0.84 + 0.34 * np.modf(value * 7.31)[0]) * (1 - 0.25 * light) * grain
    return np.asarray(color, np.float32) * triple(np.asarray(bright, np.float32)), value
