"""One sighting per object: boxes on the same place are one object, called what the most confident of them says.

Detectors suppress duplicates within a class, if at all. Left are an object found as two types, and, of a detector of
conditional classes, one found in two conditions: the classes of a type are no objects of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from toeline.core.box import Box
from toeline.core.scene import Thing
from toeline.core.sighting import Guess, Sighting

if TYPE_CHECKING:
    from toeline.detect.choose import Detector

# Two boxes of an IoU above these are one object. True boxes of one photograph of the lagoon dykes (1,129 objects) reach
# 0.30 within a type, and 0.74 between types, where a toe drain runs along a rock toe (benchmarks/results/overlaps.md).
# The second limit is above all of them, because a lost object is worse than one that is told twice.
SAME_TYPE_IOU = 0.6
OTHER_TYPE_IOU = 0.75
OUTLINE_IOU = 0.5  # when both have outlines: the boxes of two slanted drains side by side overlap, the drains do not
GRID_PX = 256  # the longer side of the grid on which outlines are compared


def find_settled(detector: Detector, images: Sequence[Image.Image]) -> list[list[Sighting]]:
    """What any detector finds, one sighting per object: how everything but a detector's own score asks for it."""
    return [settle(found) for found in detector.find(images)]


def settle(found: Sequence[Sighting], *, same: float = SAME_TYPE_IOU, other: float = OTHER_TYPE_IOU) -> list[Sighting]:
    """The sightings of one photograph without duplicates, most confident first, called "1", "2", ... in that order.

    A box that overlaps a more confident one of its own type by an IoU above `same`, or one of another type by more than
    `other`, goes; what it said is added to the one that stays and overlaps it most. Equal confidences keep their order,
    so the answer is always the same. Where nothing overlaps, only ids and order can change.

    >>> from toeline.core.box import Box
    >>> from toeline.core.scene import Thing
    >>> drain = Sighting(Thing("1", "toe_drain", Box(0, 0, 10, 4), 0.8))
    >>> (one,) = settle([drain, Sighting(Thing("2", "slope_drain", Box(0, 0, 10, 4), 0.3))])
    >>> one.thing.kind, one.others
    ('toe_drain', (Guess(kind='slope_drain', score=0.3, class_name=''),))
    """
    kept: list[Sighting] = []
    for sighting in sorted(found, key=lambda s: -s.thing.score):
        rival = _rival(sighting, kept, same, other)
        if rival is None:
            kept.append(sighting)
        else:
            kept[rival] = _told(kept[rival], sighting)
    return [replace(s, thing=replace(s.thing, id=str(n))) for n, s in enumerate(kept, start=1)]


def _rival(sighting: Sighting, kept: Sequence[Sighting], same: float, other: float) -> int | None:
    """The position of the kept sighting that this one repeats, or None."""
    thing = sighting.thing
    overlaps = [(k.thing.box.iou(thing.box), -n, k.thing) for n, k in enumerate(kept)]
    close = [(iou, n) for iou, n, k in overlaps if iou > (same if k.kind == thing.kind else other) and _meet(k, thing)]
    return -max(close)[1] if close else None


def _meet(a: Thing, b: Thing) -> bool:
    """Whether the outlines cover the same ground too, as far as both are known."""
    if not (a.polygon and b.polygon):
        return True
    frame = Box.around([*a.polygon, *b.polygon])
    scale = (GRID_PX - 1) / max(frame.width, frame.height, 1e-9)
    one, two = (_cells(thing, frame, scale) for thing in (a, b))
    return bool((one & two).sum() > OUTLINE_IOU * (one | two).sum())


def _cells(thing: Thing, frame: Box, scale: float) -> NDArray[np.bool_]:
    """The cells of the grid that an outline covers, its border included."""
    grid = Image.new("1", (GRID_PX, GRID_PX))
    points = [((x - frame.x1) * scale, (y - frame.y1) * scale) for x, y in thing.polygon]
    ImageDraw.Draw(grid).polygon(points, fill=1, outline=1)
    return np.asarray(grid)


def _told(stays: Sighting, goes: Sighting) -> Sighting:
    """The one that stays, with what the other said, unless that is no more than the same again."""
    said = (Guess(goes.thing.kind, goes.thing.score, goes.class_name), *goes.others)
    known = {(stays.thing.kind, stays.class_name), *((g.kind, g.class_name) for g in stays.others)}
    return replace(stays, others=(*stays.others, *(g for g in said if (g.kind, g.class_name) not in known)))
