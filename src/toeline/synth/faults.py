"""What goes wrong in a channel: fillings that cover it, and breaks. Writes colors, coverage and truth together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toeline.synth.bend import Floats
from toeline.synth.canvas import BROKEN, COVERED, Color, blend, darken
from toeline.synth.ground import stony, texture
from toeline.synth.looks import Look, vary
from toeline.synth.noise import crop, ramp, wander
from toeline.synth.plan import Channel, Fault
from toeline.synth.plants import GREENS

if TYPE_CHECKING:
    from toeline.synth.concrete import Lane

Rng = np.random.Generator
States = NDArray[np.uint8]
LEAST_CONTRAST = 40.0  # gray levels between a filling and the channel that it covers
FILLINGS: dict[str, Look] = {
    "silt": Look((176, 168, 152), (206, 198, 184), 0.07, 0.09),
    "soil": Look((112, 90, 66), (150, 124, 94), 0.14, 0.16),
}


def _window(rng: Rng, lane: Lane, fault: Fault, blur: float) -> Floats:
    """(h, w) 1 between the ends of a fault, with ragged ends."""
    rows = np.arange(lane.first, lane.first + len(lane.across), dtype=np.float32)[:, None]
    bent = rows + blur * crop("middle", rng, (lane.across.shape[0], lane.across.shape[1]))
    return ramp(bent, fault.start - 1.5, fault.start + 1.5) * (1 - ramp(bent, fault.stop - 1.5, fault.stop + 1.5))


def _filling(rng: Rng, what: str, shape: tuple[int, int], ground: Floats, season: str) -> Floats:
    if what == "plants":
        greens = GREENS[season]
        painted, value = stony(rng, shape, 5, greens[int(rng.integers(len(greens)))])
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
    shape = (lane.across.shape[0], lane.across.shape[1])
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
    shape = (lane.across.shape[0], lane.across.shape[1])
    soil = texture(Look(color, tuple(1.25 * np.asarray(color)), 0.14, 0.2), rng, shape)
    darken(soil, np.asarray(0.42 * ramp(1 - np.abs(lane.across), 0.1, 0.7), np.float32))
    lumps, value = stony(rng, shape, 7, (196, 188, 174))
    blend(soil, lumps, ramp(value, 0.80, 0.82) * 0.95)
    return soil


def _gap(rng: Rng, lane: Lane, fault: Fault, painted: Floats, cover: Floats, state: States) -> None:
    hole = _window(rng, lane, fault, 2.0)
    color = tuple(float(c) for c in rng.uniform(0.85, 1.05) * np.array((104, 86, 66)))
    blend(painted, _hollow(rng, lane, (color[0], color[1], color[2])), hole)
    torn = 1.15 + 0.3 * crop("middle", rng, (hole.shape[0], hole.shape[1]))
    np.maximum(cover, hole * ramp(torn - np.abs(lane.across), 0.0, 0.3), out=cover)
    state[hole > 0.5] = BROKEN


def _crack(rng: Rng, lane: Lane, fault: Fault, painted: Floats, state: States) -> None:
    """Wide dark cracks across and along, a few in a row, with broken edges."""
    shape = (lane.across.shape[0], lane.across.shape[1])
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
    shape = (lane.across.shape[0], lane.across.shape[1])
    side = lane.across * (1.0 if fault.amount > 0 else -1.0)
    part = _window(rng, lane, fault, 2.0)
    inner = np.asarray(0.15 + 0.25 * wander(rng, shape[0], 14)[:, None], np.float32)
    outer = np.asarray(1.7 + 0.35 * wander(rng, shape[0], 22)[:, None], np.float32)
    eaten = part * ramp(side, inner, inner + 0.2) * ramp(outer - side, 0.0, 0.35)
    hollow = texture(Look((70, 58, 46), (104, 88, 70), 0.16, 0.2), rng, shape)
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
