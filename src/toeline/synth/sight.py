"""What of a planned item can be seen in the picture: fair labels. Knows shapes and order, not looks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.bend import CANVAS
from toeline.synth.plan import Channel, Item, Plan, Plant, Points

HIDDEN_CHANNEL = 0.15  # the most of a channel that a plant may hide
HIDDEN_FAULT = 0.2  # and of one fault
HIDDEN_ROCK = 0.35
SHORTEST_LONG_SIDE, SHORTEST_SHORT_SIDE = 18, 6  # pixels of a labelled box
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


def keep_in_sight(plan: Plan) -> Plan:
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
    labelled = tuple(
        _big_enough(item) and bool(hidden.sum() <= (1 - SEEN) * whole.sum())
        for item, whole, hidden in zip(kept, masks, covered, strict=True)
    )
    return replace(plan, items=tuple(kept), labelled=labelled)
