"""Paints the ground: bands of grass, soil, gravel and ash. Knows textures; knows nothing of drains or labels."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.materials import FACES, ROADS, WASHED, SceneLook, vary
from toeline.synth.plan import CANVAS, MIDDLE, Band, Bend, Floats, ScenePlan
from toeline.synth.textures import (
    TILE,
    Canvas,
    Color,
    blend,
    choose,
    crop,
    crop_stones,
    darken,
    mix,
    ramp,
    soften,
    triple,
    wander,
    window,
)

Rng = np.random.Generator


def texture(look: SceneLook, rng: Rng, shape: tuple[int, int], rich: Floats | None = None) -> Floats:
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


def _scrub(painted: Floats, look: SceneLook, rng: Rng, rich: Floats) -> None:
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


def _paint_band(canvas: Canvas, band: Band, look: SceneLook, bend: Bend, rng: Rng) -> None:
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


def paint_ground(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """All bands of a plan, from the top of the picture down."""
    face = vary(choose(rng, FACES[plan.season]), rng)
    road = vary(choose(rng, ROADS), rng)
    bench = vary(road if rng.random() < 0.5 else choose(rng, ROADS), rng)
    if plan.season != "green" and rng.random() < 0.4:
        bench = vary(
            SceneLook(mix(face.dark, bench.dark, 0.5), mix(face.pale, bench.pale, 0.5), 0.12, 0.12, tufts=0.1), rng
        )
    ash = vary(SceneLook((176, 174, 168), (222, 218, 208), 0.05, 0.05, level=0.03, gully=0.03), rng)
    looks = {"face": face, "road": road, "bench": bench, "ash": ash}
    top = int(
        np.clip(plan.bands[0].v0 + plan.bend.lift(np.array([0, MIDDLE, CANVAS], np.float32)).max() + 40, 1, CANVAS)
    )
    canvas.color[:top] = texture(face, rng, (top, CANVAS))  # above the first band, where a strong bend pulls it down
    for band in plan.bands:
        _paint_band(canvas, band, looks[band.what], plan.bend, rng)
        for _ in range(int(rng.integers(0, 3)) if band.what == "face" else 0):
            _patches(canvas, band, plan, rng)


def _patches(canvas: Canvas, band: Band, plan: ScenePlan, rng: Rng) -> None:
    """Bare soil, burnt, washed-out or greener places on a face."""
    low, high = band.v0, band.v1
    lift = plan.bend.lift(np.arange(CANVAS, dtype=np.float32))
    span = window(0, low + lift.min(), CANVAS, high + lift.max())
    rows, _ = span
    shape = (rows.stop - rows.start, CANVAS)
    if shape[0] < 8:
        return
    other = choose(rng, list(FACES.values()))[0]
    if rng.random() < 0.5:
        other = choose(rng, WASHED)
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


def _shown(plan: ScenePlan, *, face: bool) -> list[Band]:
    """The faces, or everything else, that lie in the picture; never an empty list."""
    alike = [band for band in plan.bands if (band.what == "face") == face] or list(plan.bands)
    return [band for band in alike if band.v1 > 40 and band.v0 < CANVAS - 40] or alike


def _line(points: Floats, width: float) -> Floats:
    """(640, 640) coverage of a line through picture points (n, 2)."""
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.polylines(ink, [(points * 16).round().astype(np.int32)], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return np.asarray(ink / 255, np.float32)


def _level(plan: ScenePlan, v: float, rng: Rng, wobble: float) -> Floats:
    x = np.linspace(-5, CANVAS + 5, 40, dtype=np.float32)
    return np.stack([x, v + plan.bend.lift(x) + wobble * wander(rng, 40, 6)], 1)


def _strip(canvas: Canvas, points: Floats, width: float, color: Color, alpha: float, ragged: float, rng: Rng) -> None:
    (x0, y0), (x1, y1) = points.min(0) - width - 3, points.max(0) + width + 3
    span = window(x0, y0, x1, y1)
    line = _line(points, width)[span]
    if ragged and line.size:
        line = line * ramp(crop("small", rng, (line.shape[0], line.shape[1])), -1.5 * ragged, 1.5 * ragged)
    blend(canvas.color[span], color, alpha * line)


def _tracks(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    for band in plan.bands:
        if band.what == "face" or band.v1 - band.v0 < 25:
            continue
        for _ in range(int(rng.integers(0, 4))):
            v = float(rng.uniform(band.v0 + 6, band.v1 - 6))
            tone = (206, 196, 178) if rng.random() < 0.6 else (104, 94, 80)
            for side in (0.0, 11 * plan.zoom + 4):
                points = _level(plan, v + side, rng, 3.0)
                _strip(canvas, points, float(rng.uniform(2, 6)), tone, float(rng.uniform(0.12, 0.4)), 1.0, rng)


def _path(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """A trodden path or a rill down a face: pale or dark, crooked, with no walls and soft edges."""
    band = choose(rng, _shown(plan, face=True))
    v = np.linspace(band.v0, band.v1, 30, dtype=np.float32)
    u = np.float32(rng.uniform(0, CANVAS)) + 10 * wander(rng, 30, 6) + float(rng.normal(0, 0.15)) * (v - band.v0)
    x = plan.bend.column(np.asarray(u, np.float32), v)
    tone = (190, 178, 158) if rng.random() < 0.7 else (92, 80, 64)
    points = np.stack([x, v + plan.bend.lift(x)], 1)
    _strip(canvas, points, float(rng.uniform(3, 10)), tone, float(rng.uniform(0.25, 0.55)), 1.4, rng)


def _pipe(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    band = choose(rng, _shown(plan, face=False))
    points = _level(plan, float(rng.uniform(band.v0, band.v1)), rng, 1.0)
    width = float(rng.uniform(3, 7))
    tone = choose(rng, ((96, 62, 48), (58, 56, 54), (120, 96, 80)))
    _strip(canvas, points + np.float32(width * 0.6), width, (40, 36, 32), 0.5, 0, rng)
    _strip(canvas, points, width, tone, 0.95, 0, rng)
    _strip(canvas, points - np.float32(width * 0.2), width * 0.3, (196, 176, 160), 0.5, 0, rng)


def _pole(canvas: Canvas, rng: Rng) -> None:
    x, y = rng.uniform(20, CANVAS - 20, 2)
    tall = float(rng.uniform(25, 80))
    foot = np.array([x, y])
    top, far = foot - (rng.normal(0, 4), tall), foot + np.asarray(canvas.light) * tall * 0.6
    _strip(canvas, np.asarray([foot, far], np.float32), 2, (40, 40, 44), 0.5, 0, rng)
    _strip(canvas, np.asarray([foot, top], np.float32), 2, (178, 174, 168), 0.9, 0, rng)


def _cable(canvas: Canvas, rng: Rng) -> None:
    start, stop = rng.uniform(0, CANVAS, 2), rng.uniform(0, CANVAS, 2)
    x = np.linspace(-5, CANVAS + 5, 30)
    y = np.interp(x, (0, CANVAS), (start[0], stop[0])) + 12 * np.sin(np.pi * x / CANVAS)
    points = np.stack([x, y] if rng.random() < 0.6 else [y, x], 1).astype(np.float32)
    _strip(canvas, points, 1, (60, 56, 52), 0.65, 0, rng)


def _puddle(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    band = choose(rng, _shown(plan, face=False))
    x, y = plan.bend.point(float(rng.uniform(0, CANVAS)), float(rng.uniform(band.v0, band.v1)))
    wide, high = float(rng.uniform(20, 90)), float(rng.uniform(5, 16))
    span = window(x - wide, y - high, x + wide, y + high)
    yy, xx = np.mgrid[span].astype(np.float32)
    if not yy.size:
        return
    far = ((xx - x) / wide) ** 2 + ((yy - y) / high) ** 2 + 0.25 * crop("middle", rng, (yy.shape[0], yy.shape[1]))
    tone = (92, 84, 72) if rng.random() < 0.6 else (198, 204, 208)
    blend(canvas.color[span], tone, 0.7 * ramp(-far, -0.8, -0.5))


def _heap(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """Heaps of gravel or soil in a row along a road."""
    roads = [band for band in plan.bands if band.what != "face" and band.v1 - band.v0 > 40]
    if not roads:
        return
    band = choose(rng, roads)
    tone = choose(rng, ((126, 128, 128), (150, 126, 98), (178, 166, 148)))
    v, step = float(rng.uniform(band.v0 + 10, band.v1 - 10)), float(rng.uniform(60, 140))
    for u in np.arange(float(rng.uniform(-50, 300)), CANVAS, step)[: int(rng.integers(1, 6))]:
        x, y = plan.bend.point(float(u), v)
        size = float(rng.uniform(10, 24)) * (0.5 + 0.5 * plan.zoom)
        span = window(x - 2 * size, y - 2 * size, x + 2 * size, y + 2 * size)
        yy, xx = np.mgrid[span].astype(np.float32)
        if not yy.size:
            continue
        far = np.hypot((xx - x) / size, (yy - y) / size * 1.3)
        mask = ramp(-far + 0.08 * crop("small", rng, (yy.shape[0], yy.shape[1])), -1.0, -0.85)
        darken(canvas.color[span], canvas.shade * 0.8 * np.roll(soften(mask, 2), (3, 4), (0, 1)) * (1 - mask))
        painted = stony(rng, (yy.shape[0], yy.shape[1]), 4, tone)[0]
        painted *= (1.0 - 0.25 * ((xx - x) * canvas.light[0] + (yy - y) * canvas.light[1]) / size)[..., None]
        blend(canvas.color[span], painted, mask)


def _ridges(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """Windrows and lips that a grader leaves along the edges of roads: a pale line with a dark one beside it."""
    for band in plan.bands:
        if band.what == "face":
            continue
        for v in (band.v0, *rng.uniform(band.v0, band.v1, int(rng.integers(0, 3)))):
            if rng.random() < 0.45:
                continue
            points = _level(plan, float(v) + float(rng.normal(0, 4)), rng, 2.0)
            width = float(rng.uniform(2, 5))
            _strip(
                canvas, points + np.float32(width * 0.8), width, (92, 82, 68), float(rng.uniform(0.2, 0.5)), 0.9, rng
            )
            _strip(canvas, points, width, (214, 204, 188), float(rng.uniform(0.2, 0.5)), 0.9, rng)


def _trails(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """Thin pale trails of cattle across a face, and rills."""
    faces = _shown(plan, face=True)
    for _ in range(int(rng.integers(1, 5))):
        band = choose(rng, faces)
        x = np.linspace(float(rng.uniform(-50, 300)), float(rng.uniform(340, CANVAS + 50)), 40, dtype=np.float32)
        v = np.clip(rng.uniform(band.v0, band.v1) + 16 * wander(rng, 40, 7), band.v0 + 6, band.v1 - 6)
        points = np.stack([x, v + plan.bend.lift(x)], 1).astype(np.float32)
        _strip(canvas, points, float(rng.uniform(1.5, 4)), (184, 172, 152), float(rng.uniform(0.35, 0.8)), 1.0, rng)


def paint_clutter(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """What lies on the ground, before any object is painted."""
    _tracks(canvas, plan, rng)
    _ridges(canvas, plan, rng)
    if rng.random() < 0.6:
        _trails(canvas, plan, rng)
    for chance, painter in (
        (0.35, _path),
        (0.25, _path),
        (0.16, _pipe),
        (0.2, _puddle),
        (0.15, _puddle),
        (0.14, _heap),
        (0.1, _machine),
    ):
        if rng.random() < chance:
            painter(canvas, plan, rng)


def _machine(canvas: Canvas, plan: ScenePlan, rng: Rng) -> None:
    """A truck, a motorbike or a person on a road: a few boxes and a shadow."""
    band = choose(rng, _shown(plan, face=False))
    x, y = plan.bend.point(float(rng.uniform(0, CANVAS)), float(rng.uniform(band.v0, band.v1)))
    wide = float(rng.choice([6.0, 12.0, 60.0])) * plan.zoom + 3
    high = wide * float(rng.uniform(0.4, 0.6))
    for dx, dy, w, h, tone, alpha in (
        (canvas.light[0] * high, canvas.light[1] * high, wide, high, (48, 46, 46), 0.6),
        (0.0, 0.0, wide, high, tuple(rng.uniform(60, 210) + rng.uniform(-14, 14, 3)), 1.0),
        (wide * 0.3, 0.0, wide * 0.3, high * 0.8, tuple(rng.uniform(40, 220) + rng.uniform(-20, 20, 3)), 1.0),
    ):
        span = window(x + dx - w / 2, y + dy - h / 2, x + dx + w / 2, y + dy + h / 2)
        shape = canvas.color[span].shape[:2]
        blend(canvas.color[span], (float(tone[0]), float(tone[1]), float(tone[2])), np.full(shape, alpha, np.float32))


def paint_overhead(canvas: Canvas, rng: Rng) -> None:
    """What hangs or stands above the objects: thin enough to hide none."""
    if rng.random() < 0.12:
        _pole(canvas, rng)
    if rng.random() < 0.08:
        _cable(canvas, rng)
