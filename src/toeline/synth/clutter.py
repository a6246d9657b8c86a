"""Things that are no objects but look a little like them: pipes, tracks, poles, cables, puddles, paths, heaps."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.bend import CANVAS, Floats
from toeline.synth.canvas import Canvas, Color, blend, darken, soften, window
from toeline.synth.ground import stony
from toeline.synth.noise import crop, ramp, wander
from toeline.synth.plan import Band, Plan

Rng = np.random.Generator


def _shown(plan: Plan, *, face: bool) -> list[Band]:
    """The faces, or everything else, that lie in the picture; never an empty list."""
    alike = [band for band in plan.bands if (band.what == "face") == face] or list(plan.bands)
    return [band for band in alike if band.v1 > 40 and band.v0 < CANVAS - 40] or alike


def _line(points: Floats, width: float) -> Floats:
    """(640, 640) coverage of a line through picture points (n, 2)."""
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.polylines(ink, [(points * 16).round().astype(np.int32)], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return np.asarray(ink / 255, np.float32)


def _level(plan: Plan, v: float, rng: Rng, wobble: float) -> Floats:
    x = np.linspace(-5, CANVAS + 5, 40, dtype=np.float32)
    return np.stack([x, v + plan.bend.lift(x) + wobble * wander(rng, 40, 6)], 1)


def _strip(canvas: Canvas, points: Floats, width: float, color: Color, alpha: float, ragged: float, rng: Rng) -> None:
    (x0, y0), (x1, y1) = points.min(0) - width - 3, points.max(0) + width + 3
    span = window(x0, y0, x1, y1)
    line = _line(points, width)[span]
    if ragged and line.size:
        line = line * ramp(crop("small", rng, (line.shape[0], line.shape[1])), -1.5 * ragged, 1.5 * ragged)
    blend(canvas.color[span], color, alpha * line)


def _tracks(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    for band in plan.bands:
        if band.what == "face" or band.v1 - band.v0 < 25:
            continue
        for _ in range(int(rng.integers(0, 4))):
            v = float(rng.uniform(band.v0 + 6, band.v1 - 6))
            tone = (206, 196, 178) if rng.random() < 0.6 else (104, 94, 80)
            for side in (0.0, 11 * plan.zoom + 4):
                points = _level(plan, v + side, rng, 3.0)
                _strip(canvas, points, float(rng.uniform(2, 6)), tone, float(rng.uniform(0.12, 0.4)), 1.0, rng)


def _path(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """A trodden path or a rill down a face: pale or dark, crooked, with no walls and soft edges."""
    faces = _shown(plan, face=True)
    band = faces[int(rng.integers(len(faces)))]
    v = np.linspace(band.v0, band.v1, 30, dtype=np.float32)
    u = np.float32(rng.uniform(0, CANVAS)) + 10 * wander(rng, 30, 6) + float(rng.normal(0, 0.15)) * (v - band.v0)
    x = plan.bend.column(np.asarray(u, np.float32), v)
    tone = (190, 178, 158) if rng.random() < 0.7 else (92, 80, 64)
    points = np.stack([x, v + plan.bend.lift(x)], 1)
    _strip(canvas, points, float(rng.uniform(3, 10)), tone, float(rng.uniform(0.25, 0.55)), 1.4, rng)


def _pipe(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    roads = _shown(plan, face=False)
    band = roads[int(rng.integers(len(roads)))]
    points = _level(plan, float(rng.uniform(band.v0, band.v1)), rng, 1.0)
    width = float(rng.uniform(3, 7))
    tone = ((96, 62, 48), (58, 56, 54), (120, 96, 80))[int(rng.integers(3))]
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


def _puddle(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    roads = _shown(plan, face=False)
    band = roads[int(rng.integers(len(roads)))]
    x, y = plan.bend.point(float(rng.uniform(0, CANVAS)), float(rng.uniform(band.v0, band.v1)))
    wide, high = float(rng.uniform(20, 90)), float(rng.uniform(5, 16))
    span = window(x - wide, y - high, x + wide, y + high)
    yy, xx = np.mgrid[span].astype(np.float32)
    if not yy.size:
        return
    far = ((xx - x) / wide) ** 2 + ((yy - y) / high) ** 2 + 0.25 * crop("middle", rng, (yy.shape[0], yy.shape[1]))
    tone = (92, 84, 72) if rng.random() < 0.6 else (198, 204, 208)
    blend(canvas.color[span], tone, 0.7 * ramp(-far, -0.8, -0.5))


def _heap(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """Heaps of gravel or soil in a row along a road."""
    roads = [band for band in plan.bands if band.what != "face" and band.v1 - band.v0 > 40]
    if not roads:
        return
    band = roads[int(rng.integers(len(roads)))]
    tone = ((126, 128, 128), (150, 126, 98), (178, 166, 148))[int(rng.integers(3))]
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


def _ridges(canvas: Canvas, plan: Plan, rng: Rng) -> None:
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


def _trails(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """Thin pale trails of cattle across a face, and rills."""
    faces = _shown(plan, face=True)
    for _ in range(int(rng.integers(1, 5))):
        band = faces[int(rng.integers(len(faces)))]
        x = np.linspace(float(rng.uniform(-50, 300)), float(rng.uniform(340, CANVAS + 50)), 40, dtype=np.float32)
        v = np.clip(rng.uniform(band.v0, band.v1) + 16 * wander(rng, 40, 7), band.v0 + 6, band.v1 - 6)
        points = np.stack([x, v + plan.bend.lift(x)], 1).astype(np.float32)
        _strip(canvas, points, float(rng.uniform(1.5, 4)), (184, 172, 152), float(rng.uniform(0.35, 0.8)), 1.0, rng)


def paint_clutter(canvas: Canvas, plan: Plan, rng: Rng) -> None:
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


def _machine(canvas: Canvas, plan: Plan, rng: Rng) -> None:
    """A truck, a motorbike or a person on a road: a few boxes and a shadow."""
    roads = _shown(plan, face=False)
    band = roads[int(rng.integers(len(roads)))]
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
