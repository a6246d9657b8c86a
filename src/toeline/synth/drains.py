"""Paints channels. Each is painted along its long axis, so a toe drain is a slope drain on the turned canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toeline.synth.ground import stony, texture
from toeline.synth.materials import SceneLook, vary
from toeline.synth.placement import sideways
from toeline.synth.plan import CANVAS, Channel, Fault, Floats
from toeline.synth.rock_and_plants import GREENS
from toeline.synth.textures import BROKEN, COVERED, SOUND, Canvas, Color, blend, choose, crop, darken, ramp, wander

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

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.across.shape[0], self.across.shape[1]


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
    shape = lane.shape
    base = np.asarray(choose(rng, CONCRETES), np.float32)
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
    shape = lane.shape
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


States = NDArray[np.uint8]
LEAST_CONTRAST = 40.0  # gray levels between a filling and the channel that it covers
FILLINGS: dict[str, SceneLook] = {
    "silt": SceneLook((176, 168, 152), (206, 198, 184), 0.07, 0.09),
    "soil": SceneLook((112, 90, 66), (150, 124, 94), 0.14, 0.16),
}


def _window(rng: Rng, lane: Lane, fault: Fault, blur: float) -> Floats:
    """(h, w) 1 between the ends of a fault, with ragged ends."""
    rows = np.arange(lane.first, lane.first + len(lane.across), dtype=np.float32)[:, None]
    bent = rows + blur * crop("middle", rng, lane.shape)
    return ramp(bent, fault.start - 1.5, fault.start + 1.5) * (1 - ramp(bent, fault.stop - 1.5, fault.stop + 1.5))


def _filling(rng: Rng, what: str, shape: tuple[int, int], ground: Floats, season: str) -> Floats:
    if what == "plants":
        painted, value = stony(rng, shape, 5, choose(rng, GREENS[season]))
        return np.asarray(painted * (0.75 + 0.5 * value[..., None]), np.float32)
    if what == "debris":
        return stony(rng, shape, 7, (150, 138, 120))[0]
    painted = texture(vary(FILLINGS[what], rng), rng, shape)
    if what == "soil" and rng.random() < 0.6:  # it came down from the face beside it
        middle = np.median(ground.reshape(-1, 3), axis=0)
        blend(painted, middle * (0.92 + 0.14 * crop("small", rng, shape)[..., None]), np.full(shape, 0.7, np.float32))
    return painted


def _told_apart(filling: Floats, painted: Floats, alpha: Floats) -> Floats:
    """The filling made lighter or darker until it stands out from the clean channel: a label must be decidable."""
    inner = alpha > 0.5
    if not inner.any():
        return filling
    clean, filled = float(painted[inner].mean()), float(filling[inner].mean())
    lacking = LEAST_CONTRAST - abs(filled - clean)
    if lacking > 0:
        darker = filled < clean if filled != clean else True
        filling = filling * np.float32(max(0.3, 1 + (-lacking if darker else lacking) / max(filled, 1.0)))
    return np.asarray(filling, np.float32)


def fill_channel(
    rng: Rng, lane: Lane, item: Channel, painted: Floats, ground: Floats, state: States, season: str
) -> None:
    """Soil, silt, plants or debris over the inner channel; the walls mostly stay in sight."""
    shape = lane.shape
    for fault in item.faults:
        if fault.what not in ("silt", "soil", "plants", "debris"):
            continue
        width = 0.62 + 0.5 * fault.amount * (0.5 + 0.35 * wander(rng, shape[0], 40)[:, None])
        inside = ramp(width - np.abs(lane.across + 0.12 * wander(rng, shape[0], 30)[:, None]), -0.08, 0.16)
        holes = ramp(crop("middle", rng, shape), -1.9, -1.5)
        alpha = inside * holes * _window(rng, lane, fault, 3.0)
        filling = _told_apart(_filling(rng, fault.what, shape, ground, season), painted, alpha)
        darken(painted, np.asarray(0.35 * np.roll(alpha, 2, 1) * (1 - alpha), np.float32))
        blend(painted, filling, alpha)
        state[alpha > 0.5] = COVERED


def _hollow(rng: Rng, lane: Lane, color: Color) -> Floats:
    """(h, w, 3) torn-up soil where a segment is gone: dark in the middle, with lumps of concrete."""
    shape = lane.shape
    soil = texture(SceneLook(color, tuple(1.25 * np.asarray(color)), 0.14, 0.2), rng, shape)
    darken(soil, np.asarray(0.42 * ramp(1 - np.abs(lane.across), 0.1, 0.7), np.float32))
    lumps, value = stony(rng, shape, 7, (196, 188, 174))
    blend(soil, lumps, ramp(value, 0.80, 0.82) * 0.95)
    return soil


def _gap(rng: Rng, lane: Lane, fault: Fault, painted: Floats, cover: Floats, state: States) -> None:
    hole = _window(rng, lane, fault, 2.0)
    color = tuple(float(c) for c in rng.uniform(0.85, 1.05) * np.array((104, 86, 66)))
    blend(painted, _hollow(rng, lane, (color[0], color[1], color[2])), hole)
    torn = 1.15 + 0.3 * crop("middle", rng, lane.shape)
    np.maximum(cover, hole * ramp(torn - np.abs(lane.across), 0.0, 0.3), out=cover)
    state[hole > 0.5] = BROKEN


def _crack(rng: Rng, lane: Lane, fault: Fault, painted: Floats, state: States) -> None:
    """Wide dark cracks across and along, a few in a row, with broken edges."""
    shape = lane.shape
    rows = np.arange(lane.first, lane.first + shape[0], dtype=np.float32)[:, None]
    part = _window(rng, lane, fault, 1.0)
    count = max(2, (fault.stop - fault.start) // 14)
    zigzag = 2.5 * crop("small", rng, shape) + 3.0 * crop("middle", rng, shape)
    dark = np.zeros(shape, np.float32)
    for at in np.linspace(fault.start + 4, fault.stop - 4, count):
        tilted = rows - at + float(rng.normal(0, 4)) * lane.across + zigzag
        np.maximum(dark, 1 - ramp(np.abs(tilted), 0.8, 2.2), out=dark)
    along = np.abs(lane.across * lane.half - lane.half * 0.5 * wander(rng, shape[0], 26)[:, None])
    np.maximum(dark, 1 - ramp(along, 0.7, 2.0), out=dark)
    darken(painted, np.asarray(0.8 * dark * part, np.float32))
    state[part > 0.5] = BROKEN


def _undercut(rng: Rng, lane: Lane, fault: Fault, painted: Floats, cover: Floats, state: States) -> None:
    """The soil beside and under one wall is washed out: a dark hollow, and the wall there is gone."""
    shape = lane.shape
    side = lane.across * (1.0 if fault.amount > 0 else -1.0)
    part = _window(rng, lane, fault, 2.0)
    inner = np.asarray(0.15 + 0.25 * wander(rng, shape[0], 14)[:, None], np.float32)
    outer = np.asarray(1.7 + 0.35 * wander(rng, shape[0], 22)[:, None], np.float32)
    eaten = part * ramp(side, inner, inner + 0.2) * ramp(outer - side, 0.0, 0.35)
    hollow = texture(SceneLook((70, 58, 46), (104, 88, 70), 0.16, 0.2), rng, shape)
    blend(painted, hollow, np.asarray(eaten, np.float32))
    np.maximum(cover, eaten, out=cover)
    state[eaten > 0.5] = BROKEN


def break_channel(rng: Rng, lane: Lane, item: Channel, painted: Floats, cover: Floats, state: States) -> None:
    """Missing, shifted, cracked and undercut parts."""
    for fault in item.faults:
        if fault.what == "gap":
            _gap(rng, lane, fault, painted, cover, state)
        elif fault.what == "crack":
            _crack(rng, lane, fault, painted, state)
        elif fault.what == "undercut":
            _undercut(rng, lane, fault, painted, cover, state)
        elif fault.what == "shift":
            a, b = fault.start - lane.first, fault.stop - lane.first
            state[max(0, a) : b] = BROKEN
            for end in (a, b):  # open joints where the segment broke off
                cut = slice(max(0, end - 2), end + 2)
                darken(painted[cut], np.full(painted[cut].shape[:2], 0.65, np.float32))
