"""Where one drain, stretch of rock or plant lies in the picture, and what is wrong with it. Pure sampling."""

from __future__ import annotations

import cv2
import numpy as np

from toeline.synth.plan import CANVAS, Bend, Channel, Fault, Floats, Plant, Points, Stretch
from toeline.synth.textures import wander

FILLS = ("silt", "soil", "plants", "debris")
SHORTEST_FAULT = 22  # pixels along a channel: under this nobody could decide
CAN_SHOW = 48  # pixels of visible channel under which no fault is drawn

Rng = np.random.Generator


def _split(rng: Rng, total: int, parts: int, room: int) -> list[tuple[int, int]]:
    """`parts` pieces that cover `total` of `room` pixels, in order, without touching."""
    shares = rng.dirichlet([4.0] * parts) * total
    gaps = rng.dirichlet([1.0] * (parts + 1)) * (room - total)
    pieces, at = [], 0.0
    for gap, share in zip(gaps, shares, strict=False):
        pieces.append((int(at + gap), int(at + gap + share)))
        at += gap + share
    return pieces


def _blocked(rng: Rng, first: int, room: int) -> tuple[Fault, ...]:
    total = int(rng.uniform(0.3, 0.92) * room)
    parts = 1 if total < 90 else int(rng.integers(1, 3 if room < 300 else 4))
    what = FILLS[int(rng.choice(4, p=(0.34, 0.3, 0.24, 0.12)))]
    pieces = _split(rng, total, parts, room)
    return tuple(Fault(what, first + a, first + b, float(rng.uniform(0.75, 1.0))) for a, b in pieces)


def _damaged(rng: Rng, kind: str, first: int, room: int, half: float) -> tuple[Fault, ...]:
    parts = 1 if room < 90 else int(rng.integers(1, 3 if room < 300 else 5))
    total = int(max(SHORTEST_FAULT * parts, rng.uniform(0.28, 0.7) * room))
    slides = kind == "slope_drain"  # segments on a slope slide apart; along the foot they sink and wash out
    weights = np.array((0.36 if slides else 0.46, 0.34 if slides else 0.2, 0.16 if half > 8 else 0.04, 0.16))
    faults = []
    for a, b in _split(rng, min(total, room), parts, room):
        what = ("gap", "shift", "crack", "undercut")[int(rng.choice(4, p=weights / weights.sum()))]
        sign = 1 if rng.random() < 0.5 else -1
        faults.append(Fault(what, first + a, first + b, sign * float(rng.uniform(0.7, 1.7 if slides else 1.1))))
    return tuple(faults)


def find_faults(
    rng: Rng, kind: str, condition: str, first: int, room: int, half: float
) -> tuple[str, tuple[Fault, ...]]:
    """The condition that `room` visible pixels can show, and its faults in them."""
    if condition == "normal" or room < CAN_SHOW:
        return "normal", ()
    if condition == "blocked":
        return condition, _blocked(rng, first, room)
    return condition, _damaged(rng, kind, first, room, half)


def sideways(faults: tuple[Fault, ...], first: int, half: Floats) -> Floats:
    """(n,) pixels that each row of a channel is pushed sideways: shifted segments sit askew."""
    push = np.zeros(len(half), np.float32)
    for fault in faults:
        if fault.what == "shift":
            a, b = fault.start - first, fault.stop - first
            turn = np.linspace(0.55, 1.0, max(b - a, 1), dtype=np.float32)
            push[a:b] = fault.amount * half[a:b] * (turn if fault.amount > 0 else turn[::-1])
    return push


def _outline(first: int, low: Floats, high: Floats, *, rows: bool) -> Points:
    """A band around an axis as a polygon clipped to the canvas; `low` and `high` are its two sides."""
    n = len(low)
    keep = np.unique(np.concatenate([np.linspace(0, n - 1, max(2, n // 12)).astype(int), _jumps(low), _jumps(high)]))
    at = first + keep + (keep == n - 1)
    low, high = np.clip(low, 0, CANVAS), np.clip(high, 0, CANVAS)
    near, far = (low[keep], at), (high[keep][::-1], at[::-1])
    points = np.concatenate([np.stack(near, 1), np.stack(far, 1)])
    points = points if rows else points[:, ::-1]
    return tuple((float(x), float(y)) for x, y in points)


def _jumps(line: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    at = np.flatnonzero(np.abs(np.diff(line)) > 1.5)
    return np.concatenate([at, at + 1])


def place_slope_drain(
    rng: Rng, bend: Bend, u: float, v0: float, v1: float, half: float, condition: str, style: str
) -> Channel | None:
    """A channel down the face from plan height `v0` to `v1`; None if no row of it lies in the picture."""
    v = np.linspace(v0, v1, 24, dtype=np.float32)
    swing = rng.normal(0, 0.035) * (v - v0) + 1.5 * wander(rng, 24, 12)
    x = bend.column(np.float32(u) + swing, v)
    y = v + bend.lift(x)
    if np.any(np.diff(y) <= 0.5):
        return None
    first, last = max(0, int(np.ceil(y[0]))), min(CANVAS, int(y[-1]))
    if last - first < 8:
        return None
    rows = np.arange(first, last)
    middle = np.interp(rows, y, x).astype(np.float32)
    widths = (half * np.interp(rows, y, np.linspace(0.92, 1.08, 24))).astype(np.float32)
    inside = np.flatnonzero((middle > 2) & (middle < CANVAS - 2))
    if len(inside) < 8:
        return None
    start, stop = int(inside[0]), int(inside[-1]) + 1
    first, middle, widths = first + start, middle[start:stop], widths[start:stop]
    return _channel(rng, "slope_drain", condition, first, middle, widths, half, style)


def _channel(
    rng: Rng, kind: str, condition: str, first: int, middle: Floats, widths: Floats, half: float, style: str
) -> Channel:
    """A channel along the axis `middle` (n,), half as wide as `widths` (n,), with what is wrong with it."""
    condition, faults = find_faults(rng, kind, condition, first, len(middle), half)
    style = "walls" if condition == "blocked" and style == "slab" else style  # a filled slab looks like a slab
    axis = middle + sideways(faults, first, widths)
    polygon = _outline(first, axis - widths, axis + widths, rows=kind == "slope_drain")
    return Channel(kind, condition, first, middle, widths, faults, style, polygon, int(rng.integers(2**31)))


def place_toe_drain(
    rng: Rng, bend: Bend, v: float, half: float, condition: str, style: str, x0: int, x1: int
) -> Channel | None:
    """A channel along the foot between picture columns `x0` and `x1`; None if it is not in the picture."""
    columns = np.arange(x0, x1, dtype=np.float32)
    middle = v + bend.lift(columns) + half * 0.3 * wander(rng, len(columns), 160)
    inside = np.flatnonzero((middle > 2) & (middle < CANVAS - 2))
    if len(inside) < 60:
        return None
    longest = max(np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1), key=len)
    first, middle = x0 + int(longest[0]), middle[longest].astype(np.float32)
    widths = np.full(len(middle), half, np.float32)
    return _channel(rng, "toe_drain", condition, first, middle, widths, half, style)


def place_stretch(
    rng: Rng, bend: Bend, v0: float, v1: float, x0: float, x1: float, skew: float, condition: str
) -> Stretch | None:
    """A piece of rock toe between two columns; damaged ones have ragged edges and a share of their stones gone."""
    first, last = max(0, int(x0)), min(CANVAS, int(x1))
    if last - first < 16:
        return None
    columns = np.arange(first, last, dtype=np.float32)
    ragged = 0.16 if condition == "damaged" else 0.03
    high = (v1 - v0) * ragged
    top = v0 + bend.lift(columns) + high * np.clip(wander(rng, len(columns), 55), -1.6, 1.6)
    bottom = v1 + bend.lift(columns) + high * 0.8 * np.clip(wander(rng, len(columns), 60), -1.6, 1.6)
    if bottom.max() < 10 or top.min() > CANVAS - 10:
        return None
    bare = float(rng.uniform(0.28, 0.62)) if condition == "damaged" else 0.0
    tilt = skew * (np.array([top[0], top[-1], bottom[-1], bottom[0]]) - (top.mean() + bottom.mean()) / 2)
    polygon = _stretch_outline(first, top, bottom, tilt)
    top, bottom = top.astype(np.float32), bottom.astype(np.float32)
    return Stretch(condition, first, top, bottom, skew, bare, polygon, int(rng.integers(2**31)))


def _stretch_outline(first: int, top: Floats, bottom: Floats, tilt: Floats) -> Points:
    keep = np.unique(np.linspace(0, len(top) - 1, max(2, len(top) // 10)).astype(int))
    part = keep / max(len(top) - 1, 1)
    above = np.stack([first + keep + tilt[0] * (1 - part) + tilt[1] * part, top[keep]], 1)
    below = np.stack([first + keep + tilt[3] * (1 - part) + tilt[2] * part, bottom[keep]], 1)[::-1]
    points = np.clip(np.concatenate([above, below]), 0, CANVAS)
    return tuple((float(x), float(y)) for x, y in points)


def place_plant(rng: Rng, x: float, y: float, wide: float, high: float, style: str) -> Plant | None:
    """A plant of about `wide` x `high` pixels around a picture point; None if too little of it is in the picture."""
    middle = float(np.clip(0.2 * min(wide, high), 6, 24))
    count = int(np.clip(0.62 * wide * high / middle**2, 8, 140))
    angle, far = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    radius = rng.uniform(0.6, 1.4, count) * middle
    tx = x + np.cos(angle) * far * (wide / 2 - radius)
    ty = y + np.sin(angle) * far * (high / 2 - radius)
    tufts = tuple(zip(tx.tolist(), ty.tolist(), radius.tolist(), strict=True))
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    for cx, cy, r in tufts:
        cv2.circle(ink, (round(cx), round(cy)), max(2, round(r)), 1, -1)
    outlines, _ = cv2.findContours(ink, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    outline = cv2.approxPolyDP(max(outlines, key=cv2.contourArea), 1.5, True)[:, 0]
    if len(outline) < 3 or cv2.contourArea(outline) < 0.75 * ink.sum():
        return None
    polygon = tuple((float(px), float(py)) for px, py in outline)
    return Plant(tufts, style, polygon, int(rng.integers(2**31)))
