"""What stands where in a scene: berms from the top of the picture down, then drains, rock and plants. No pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.placement import Rng, place_plant, place_slope_drain, place_stretch, place_toe_drain
from toeline.synth.plan import CANVAS, Band, Bend, Channel, Item, Plant, Points, ScenePlan, Stretch

MOST_OBJECTS = 18
# How often a condition is asked for. Those that the frame or a plant would hide fall back to normal, so blocked and
# damaged are asked for a little more often than they are counted in the real set (tests/synth/test_layout.py).
CONDITIONS = {
    "toe_drain": (("normal", 0.25), ("blocked", 0.38), ("damaged", 0.37)),
    "slope_drain": (("normal", 0.487), ("blocked", 0.203), ("damaged", 0.310)),
    "rock_toe": (("normal", 0.288), ("damaged", 0.712)),
}
SEASONS = (("dry", 0.46), ("green", 0.17), ("ash", 0.14), ("earth", 0.11), ("mixed", 0.12))
WITH_ROCK, WITH_TOE, WITH_DRAINS, PLANTS = 0.74, 0.72, 0.74, 1.0


@dataclass(frozen=True)
class _Berm:
    """Plan heights of one berm: the face, the rock at its foot and the channel below it."""

    crest: float
    foot: float  # lower edge of the face, upper edge of the rock
    rock: float  # lower edge of the rock, equal to `foot` where there is none
    toe: float  # lower edge of the toe drain, equal to `rock` where there is none


def _pick(rng: Rng, table: tuple[tuple[str, float], ...]) -> str:
    names, weights = zip(*table, strict=True)
    chances = np.asarray(weights, np.float64)
    return str(names[int(rng.choice(len(names), p=chances / chances.sum()))])


def _sample_bend(rng: Rng) -> Bend:
    curve = float(rng.normal(0, 26) if rng.random() < 0.86 else rng.normal(0, 85))
    waves = tuple(
        (float(rng.normal(0, 2.2)), float(rng.uniform(180, 700)), float(rng.uniform(0, 6.28))) for _ in range(2)
    )
    tilt = float(np.clip(rng.normal(0, 0.06 if rng.random() < 0.88 else 0.2), -0.36, 0.36))
    return Bend(
        tilt, curve, float(rng.normal(0.03, 0.04) + curve / 700), float(rng.normal(0, 0.05) - tilt * 0.5), waves
    )


def _stack(rng: Rng, zoom: float) -> tuple[list[Band], list[_Berm]]:
    """Bands and berms from above the picture to below it."""
    bands: list[Band] = []
    berms: list[_Berm] = []
    at = -float(rng.uniform(0, 70) if rng.random() < 0.65 else rng.uniform(60, 420)) * zoom
    bands.append(Band("face", at - 90, at, 3.0))
    has_rock, has_toe = rng.random() < WITH_ROCK, rng.random() < WITH_TOE
    while at < CANVAS + 120:
        road = at + float(rng.uniform(60, 190)) * zoom
        bands.append(Band("road" if rng.random() < 0.8 else "bench", at, road, float(rng.uniform(1, 5))))
        foot = road + float(rng.uniform(200, 430)) * zoom
        rock = foot + (float(rng.uniform(48, 112)) * zoom if has_rock else 0)
        verge = float(rng.uniform(2, 14)) * zoom
        toe = rock + verge + (float(rng.uniform(15, 42)) * (0.4 + 0.6 * zoom) if has_toe else 0)
        below = toe + float(rng.uniform(4, 70)) * zoom
        end = rock if rng.random() < 0.8 else foot  # what shows between the stones: mostly the face, at times the bench
        bands.append(Band("face", road, end, float(rng.uniform(2, 8))))
        bands.append(Band("bench", end, below, float(rng.uniform(1, 4))))
        berms.append(_Berm(road, foot, rock, toe if has_toe else rock))
        at = below
        if at > 0.5 * CANVAS and rng.random() < 0.6:  # nothing but open ground below this berm
            bands.append(Band("ash" if rng.random() < 0.3 else "bench", at, max(CANVAS + 200.0, at + 60), 4.0))
            break
    return bands, berms


class _Wish:
    """Conditions of one scene: neighbors share theirs more often than chance, as in the real set."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._common = {kind: _pick(rng, table) for kind, table in CONDITIONS.items()}

    def __call__(self, kind: str) -> str:
        shared = self._rng.random() < 0.4
        return self._common[kind] if shared else _pick(self._rng, CONDITIONS[kind])


def _slope_drains(rng: Rng, bend: Bend, berm: _Berm, columns: list[float], zoom: float, wish: _Wish) -> list[Channel]:
    style = _pick(rng, (("walls", 0.55), ("slab", 0.2), ("round", 0.15), ("steps", 0.1)))
    half = float(rng.uniform(5.5, 13.5)) * (0.5 + 0.55 * zoom)
    drains = []
    for u in columns:
        if rng.random() < 0.12:
            continue
        start = berm.crest + (berm.foot - berm.crest) * float(rng.choice([0.0, 0.02, rng.uniform(0.05, 0.5)]))
        end = berm.rock if rng.random() < 0.8 else berm.foot - (berm.foot - berm.crest) * float(rng.uniform(0, 0.25))
        own = style if rng.random() < 0.85 else "walls"
        width = half * float(rng.uniform(0.8, 1.2))
        drain = place_slope_drain(rng, bend, u, start, end, width, wish("slope_drain"), own)
        if drain is not None:
            drains.append(drain)
    return drains


def _cuts(rng: Rng, drains: list[Channel], berm: _Berm, bend: Bend) -> list[tuple[float, float, float]]:
    """(left, right, slope in columns per row) of everything that divides the rock of a berm, left to right."""
    cuts = []
    for drain in drains:
        rows = np.arange(len(drain.middle)) + drain.first
        level = drain.middle[-1]
        if rows[-1] >= berm.foot + float(bend.lift(level)) + 6:  # it runs down over the rock
            skew = float(drain.middle[-1] - drain.middle[max(0, len(rows) - 40)]) / min(39, max(1, len(rows) - 1))
            push = 1.9 if drain.condition == "damaged" else 1.15
            wide = float(drain.half[-1]) * push + float(rng.uniform(1, 5))
            middle = level - skew * (rows[-1] - (berm.foot + berm.rock) / 2 - float(bend.lift(level)))
            cuts.append((middle - wide, middle + wide, skew))
    return sorted(cuts)


def _ends(rng: Rng, cuts: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """The outermost cuts, at times moved into the picture: not every band of rock runs on to its edge."""
    first, last = cuts[0], cuts[-1]
    if rng.random() < 0.45:
        first = (-40.0, float(rng.uniform(8, 160)), 0.0)
    if rng.random() < 0.45:
        last = (CANVAS - float(rng.uniform(8, 160)), CANVAS + 40.0, 0.0)
    return [first, last]


def _rock(rng: Rng, bend: Bend, berm: _Berm, drains: list[Channel], wish: _Wish) -> list[Stretch]:
    if berm.rock - berm.foot < 8:
        return []
    cuts = [(-40.0, -20.0, 0.0), *_cuts(rng, drains, berm, bend), (CANVAS + 20.0, CANVAS + 40.0, 0.0)]
    cuts[0], cuts[-1] = _ends(rng, cuts)
    spans = []
    for (_, left, skew), (right, _, other) in pairwise(cuts):
        edges = [(left, right)]
        if right - left > 200 and rng.random() < 0.5:
            middle, gap = float(rng.uniform(left + 70, right - 70)), float(rng.uniform(12, 70))
            edges = [(left, middle - gap / 2), (middle + gap / 2, right)]
        spans += [(a, b, (skew + other) / 2) for a, b in edges if b - a > 22]
    made = []
    for a, b, skew in spans:
        if rng.random() < 0.9:
            stretch = place_stretch(rng, bend, berm.foot, berm.rock, a, b, skew, wish("rock_toe"))
            made += [stretch] if stretch is not None else []
    return made


def _toe(rng: Rng, bend: Bend, berm: _Berm, wish: _Wish) -> list[Channel]:
    if berm.toe - berm.rock < 8 or rng.random() < 0.12:
        return []
    half = min((berm.toe - berm.rock) / 2 - 0.5, float(rng.uniform(5, 15)))
    ends = [0, CANVAS]
    if rng.random() < 0.25:
        ends[int(rng.integers(2))] = int(rng.uniform(200, 440))
    style = _pick(rng, (("walls", 0.5), ("ditch", 0.25), ("round", 0.15), ("slab", 0.1)))
    drain = place_toe_drain(rng, bend, berm.toe - half, half, wish("toe_drain"), style, ends[0], ends[1])
    return [drain] if drain is not None else []


def _plants(rng: Rng, season: str, zoom: float) -> list[Item]:
    many = PLANTS * {"green": 1.9, "mixed": 1.4, "earth": 0.5}.get(season, 0.8)
    made: list[Item] = []
    for _ in range(int(rng.poisson(many))):
        style = _pick(rng, (("bush", 0.6), ("reed", 0.2), ("creeper", 0.2)))
        high = float(np.clip(rng.lognormal(4.5, 0.5) * (0.7 + 0.35 * zoom), 36, 300))
        wide = high * float(rng.uniform(0.65, 1.2) if style == "bush" else rng.uniform(0.9, 2.6))
        x, y = float(rng.uniform(-10, CANVAS + 10)), float(rng.uniform(20, CANVAS + 10))
        plant = place_plant(rng, x, y, wide, high, style)
        made += [plant] if plant is not None else []
    return made


def _columns(rng: Rng, zoom: float) -> list[float]:
    """Plan columns of the slope drains, the same for all berms of a scene, or none."""
    if rng.random() > WITH_DRAINS:
        return []
    spacing = float(rng.uniform(220, 760)) * (0.45 + 0.55 * zoom)
    at, columns = float(rng.uniform(-260, 30)), []
    while at < CANVAS + 250:
        columns.append(at)
        if rng.random() < 0.15:
            columns.append(at + float(rng.uniform(34, 60)))
        at += spacing * float(rng.uniform(0.75, 1.25))
    return columns


def _attempt(rng: Rng) -> ScenePlan:
    zoom = float(rng.uniform(0.42, 1.3) if rng.random() < 0.85 else rng.uniform(1.2, 1.7))
    season = _pick(rng, SEASONS)
    bend = _sample_bend(rng)
    bands, berms = _stack(rng, zoom)
    wish, columns = _Wish(rng), _columns(rng, zoom)
    items: list[Item] = []
    for berm in berms:
        drains = _slope_drains(rng, bend, berm, [c + float(rng.normal(0, 9)) for c in columns], zoom, wish)
        items += [*_rock(rng, bend, berm, drains, wish), *drains, *_toe(rng, bend, berm, wish)]
    plan = ScenePlan(bend, zoom, season, tuple(bands), tuple(items + _plants(rng, season, zoom)), ())
    return keep_in_sight(plan)


def sample_plan(seed: int) -> ScenePlan:
    """The plan of scene `seed`: 1 to 18 labeled objects. A pure function of `seed`."""
    rng = np.random.default_rng(np.random.SeedSequence([abs(seed), 1]))
    while True:
        plan = _attempt(rng)
        if 1 <= sum(plan.labeled) <= MOST_OBJECTS:
            return plan


HIDDEN_CHANNEL = 0.15  # the most of a channel that a plant may hide
HIDDEN_FAULT = 0.2  # and of one fault
HIDDEN_ROCK = 0.35
SHORTEST_LONG_SIDE, SHORTEST_SHORT_SIDE = 18, 6  # pixels of a labeled box
SHORTEST_ROCK_OR_PLANT = 18  # a sliver of stones at the edge of the frame says nothing about its condition
SEEN = 0.55  # share of an item's area in the picture that later items must leave free

HALF = 2  # shares are counted at half size: four times faster, and as good

Mask = NDArray[np.bool_]


def rasterize(polygon: Points) -> Mask:
    """(320, 320) half-size pixels inside a polygon."""
    ink = np.zeros((CANVAS // HALF, CANVAS // HALF), np.uint8)
    cv2.fillPoly(ink, [(np.asarray(polygon, np.float32) / HALF).round().astype(np.int32)], 1)
    return ink.astype(bool)


def _fault_masks(item: Channel, mask: Mask) -> list[Mask]:
    masks = []
    for fault in item.faults:
        window = np.zeros_like(mask)
        rows = slice(max(0, fault.start) // HALF, fault.stop // HALF + 1)
        if item.kind == "slope_drain":
            window[rows] = mask[rows]
        else:
            window[:, rows] = mask[:, rows]
        masks.append(window)
    return masks


def _spares(plant: Mask, item: Item, mask: Mask) -> bool:
    """Whether a plant leaves enough of an item free."""
    if isinstance(item, Plant):
        return bool((plant & mask).sum() <= 0.1 * min(mask.sum(), plant.sum()))
    if not isinstance(item, Channel):
        return bool((plant & mask).sum() <= HIDDEN_ROCK * mask.sum())
    if (plant & mask).sum() > HIDDEN_CHANNEL * mask.sum():
        return False
    return all((plant & part).sum() <= HIDDEN_FAULT * part.sum() for part in _fault_masks(item, mask))


def _big_enough(item: Item) -> bool:
    x, y = np.asarray(item.polygon).T
    wide, high = float(np.ptp(x)), float(np.ptp(y))
    least = SHORTEST_SHORT_SIDE if isinstance(item, Channel) else SHORTEST_ROCK_OR_PLANT
    return max(wide, high) >= SHORTEST_LONG_SIDE and min(wide, high) >= least


def keep_in_sight(plan: ScenePlan) -> ScenePlan:
    """The same plan without plants that hide what a label says, and with the items that deserve a label marked."""
    kept: list[Item] = []
    masks: list[Mask] = []
    covered: list[Mask] = []
    for item in plan.items:
        mask = rasterize(item.polygon)
        if isinstance(item, Plant):
            hidden = [old & mask for old in covered]
            for i, part in enumerate(hidden):
                part |= mask & masks[i]
            if not all(_spares(part, other, whole) for part, other, whole in zip(hidden, kept, masks, strict=True)):
                continue
        covered = [old | (mask & whole) for old, whole in zip(covered, masks, strict=True)]
        kept.append(item)
        masks.append(mask)
        covered.append(np.zeros_like(mask))
    labeled = tuple(
        _big_enough(item) and bool(hidden.sum() <= (1 - SEEN) * whole.sum())
        for item, whole, hidden in zip(kept, masks, covered, strict=True)
    )
    return replace(plan, items=tuple(kept), labeled=labeled)
