"""Paints channels. Each is painted along its long axis, so a toe drain is a slope drain on the turned canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toeline.synth.bend import CANVAS, Floats
from toeline.synth.canvas import SOUND, Canvas, Color, blend, darken
from toeline.synth.faults import break_channel, fill_channel
from toeline.synth.noise import crop, ramp, wander
from toeline.synth.place import sideways
from toeline.synth.plan import Channel

Rng = np.random.Generator
CONCRETES: tuple[Color, ...] = (
    (200, 190, 174), (214, 205, 190), (182, 171, 154), (190, 172, 148), (164, 152, 136), (224, 218, 208),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lane:
    """The surroundings of a channel, turned so that it runs down the rows. All arrays are (h, w)."""

    color: Floats  # (h, w, 3), a view of the canvas
    across: Floats  # half widths from the axis: -1 and 1 are the outer edges
    cover: Floats  # 0..1, how much of the pixel the channel covers
    half: Floats  # (h, 1) half width in pixels
    first: int  # row of the canvas of row 0
    light: float  # pixels that a shadow moves to the right
    shade: float


def open_lane(canvas: Canvas, item: Channel) -> tuple[Lane, tuple[slice, slice]]:
    """The lane of a channel and its window in the turned (toe drain) or plain (slope drain) canvas."""
    turned = item.kind == "toe_drain"
    color = canvas.color.transpose(1, 0, 2) if turned else canvas.color
    push = sideways(item.faults, item.first, item.half)
    middle = item.middle + push
    reach = 2.4 * float(item.half.max()) + 6
    low, high = max(0, int(middle.min() - reach)), min(CANVAS, int(middle.max() + reach))
    span = (slice(item.first, item.first + len(middle)), slice(low, high))
    at = np.arange(low, high, dtype=np.float32) + 0.5
    off = at[None, :] - middle[:, None]
    half = item.half[:, None]
    across = np.asarray(off / half, np.float32)
    cover = np.asarray(np.clip(half - np.abs(off) + 0.5, 0, 1), np.float32)
    light = canvas.light[1] if turned else canvas.light[0]
    return Lane(color[span], across, cover, half, item.first, light, canvas.shade), span


def _profile(style: str, lane: Lane, wall: float) -> Floats:
    """(h, w) brightness of a clean channel across its axis: walls, their inner shadow, the bottom."""
    t, sun = lane.across, 1.0 if lane.light > 0 else -1.0
    far = np.abs(t)
    inner = 1 - wall
    on_wall = ramp(far, inner - 0.12, inner + 0.06)
    if style == "slab":
        return np.asarray(1.02 - 0.10 * ramp(1 - far, 0.0, 0.35) + 0.05 * on_wall, np.float32)
    if style == "round":
        return np.asarray(0.74 + 0.34 * on_wall + 0.22 * t * sun * (1 - on_wall), np.float32)
    bottom = 0.60 if style == "ditch" else 0.76
    depth = 0.55 if style == "ditch" else 0.42
    cast = ramp(-t * sun, inner - depth, inner - depth + 0.25) * (1 - on_wall)  # the wall on the sun's side shades
    return np.asarray(bottom + (1.06 - bottom) * on_wall - 0.55 * lane.shade * cast, np.float32)


def _joints(rng: Rng, lane: Lane, style: str) -> Floats:
    """(h, 1) darkness of the joints between segments, thin ones that a sound channel has too."""
    rows = np.arange(len(lane.across), dtype=np.float32)[:, None]
    every = float(rng.uniform(9, 16) if style == "steps" else rng.uniform(16, 60))
    phase = np.abs((rows / every + rng.random()) % 1 - 0.5) * every
    if style == "steps":
        return np.asarray(0.5 * (1 - ramp(phase, every * 0.16, every * 0.26)), np.float32)
    return np.asarray(float(rng.uniform(0.0, 0.28)) * (1 - ramp(phase, 0.5, 1.4)), np.float32)


def _clean(rng: Rng, lane: Lane, style: str) -> Floats:
    """(h, w, 3) the channel as built, weathered and stained, before anything went wrong."""
    shape = (lane.across.shape[0], lane.across.shape[1])
    base = np.asarray(CONCRETES[int(rng.integers(len(CONCRETES)))], np.float32)
    if style == "ditch":
        base = base * 0.78
    bright = _profile(style, lane, float(rng.uniform(0.22, 0.42)))
    bright = bright * (1 - _joints(rng, lane, style))
    bright = bright * (1 + 0.05 * crop("fine", rng, shape) + 0.05 * crop("small", rng, shape))
    painted = base * bright[..., None]
    stain = ramp(wander(rng, shape[0], 90)[:, None] + 0.5 * crop("middle", rng, shape), 0.2, 1.6)
    blend(
        painted,
        (112, 90, 66),
        np.asarray(float(rng.uniform(0, 0.45)) * stain * (1 - 0.4 * np.abs(lane.across)), np.float32),
    )
    return np.asarray(painted, np.float32)


def _seat(rng: Rng, lane: Lane) -> None:
    """Disturbed soil beside the channel, and the shadow that its wall throws."""
    shape = (lane.across.shape[0], lane.across.shape[1])
    beside = np.abs(lane.across) + 0.12 * crop("middle", rng, shape)
    soil = np.median(lane.color.reshape(-1, 3), axis=0) * np.float32(1.08)
    blend(lane.color, soil, np.asarray(float(rng.uniform(0, 0.6)) * ramp(-beside, -1.7, -1.2), np.float32))
    beside_wall = ramp(-np.abs(lane.across), -1.0 - 2.2 / lane.half, -1.0) * (np.abs(lane.across) > 0.98)
    darken(lane.color, np.asarray(0.3 * beside_wall, np.float32))  # dirt and contact shadow: an edge that can be found
    throw = np.asarray(1.0 + (0.9 + 1.2 * abs(lane.light)) * 2.0 / lane.half, np.float32)
    side = lane.across * (1.0 if lane.light > 0 else -1.0)
    edge = ramp(-side, -throw - 0.15, -throw + 0.05) * (side > 0)
    darken(lane.color, np.asarray(lane.shade * 0.8 * edge * (np.abs(lane.across) > 0.9), np.float32))


def paint_channel(canvas: Canvas, item: Channel, index: int, season: str) -> None:
    """One slope drain or toe drain with all that is wrong with it."""
    rng = np.random.default_rng(item.seed)
    lane, span = open_lane(canvas, item)
    if lane.across.shape[1] < 3:
        return
    ground = lane.color.copy()
    _seat(rng, lane)
    painted = _clean(rng, lane, item.style)
    state = np.full(lane.across.shape, SOUND, np.uint8)
    cover = lane.cover.copy()
    fill_channel(rng, lane, item, painted, ground, state, season)
    break_channel(rng, lane, item, painted, cover, state)
    blend(lane.color, painted, cover)
    owner, states = (p.T if item.kind == "toe_drain" else p for p in (canvas.owner, canvas.state))
    solid = lane.cover > 0.5
    owner[span][solid] = index + 1
    states[span][solid] = state[solid]
