"""One drawn scene: its photograph, its labels and its truth masks, as a pure function of a seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.bend import CANVAS
from toeline.synth.camera import photograph
from toeline.synth.canvas import Canvas
from toeline.synth.clutter import paint_clutter, paint_overhead
from toeline.synth.concrete import paint_channel
from toeline.synth.ground import paint_ground
from toeline.synth.layout import sample_plan
from toeline.synth.plan import CLASS_IDS, Channel, Plan, Points, Stretch
from toeline.synth.plants import paint_plant
from toeline.synth.stones import STONE_COLORS, paint_stretch

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class DrawnObject:
    """One labelled object. `polygon` has at least 3 points in pixels of the picture, clipped to its frame."""

    kind: str  # toe_drain, rock_toe, slope_drain or vegetation
    condition: str  # normal, blocked or damaged
    class_id: int  # 0..8, the order of CLASS_NAMES
    polygon: Points


@dataclass(frozen=True, eq=False)
class Drawing:
    """A scene as drawn, with everything that is true about it."""

    image: Image  # (H, W, 3) RGB
    objects: tuple[DrawnObject, ...]
    object_mask: Image  # (H, W): 0 nothing, else 1 + index of the topmost object
    state_mask: Image  # (H, W): 0 nothing, 1 sound, 2 covered, 3 missing, displaced, cracked or scattered


def draw(seed: int, *, size: int = 640) -> Drawing:
    """Scene `seed` at `size` x `size` pixels. The same arguments give the same bytes.

    >>> drawing = draw(1, size=160)
    >>> drawing.image.shape, len(drawing.objects) >= 1
    ((160, 160, 3), True)
    """
    cv2.setNumThreads(1)
    plan = sample_plan(seed)
    rng = np.random.default_rng(np.random.SeedSequence([abs(seed), 2]))
    canvas = _new_canvas(rng)
    paint_ground(canvas, plan, rng)
    paint_clutter(canvas, plan, rng)
    _paint_items(canvas, plan, rng)
    paint_overhead(canvas, rng)
    return _finish(canvas, plan, photograph(canvas.color, rng), size)


def _new_canvas(rng: np.random.Generator) -> Canvas:
    angle, steep = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.5, 1.0))
    light = (steep * float(np.cos(angle)), steep * float(np.sin(angle)))
    shape = (CANVAS, CANVAS)
    owner, state = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    return Canvas(np.zeros((*shape, 3), np.float32), owner, state, light, float(rng.uniform(0.15, 0.6)))


def _paint_items(canvas: Canvas, plan: Plan, rng: np.random.Generator) -> None:
    stone, spacing = (
        int(rng.integers(len(STONE_COLORS))),
        int(np.clip(round(6.5 * plan.zoom * rng.uniform(0.8, 1.25)), 4, 9)),
    )
    for index, item in enumerate(plan.items):
        if isinstance(item, Stretch):
            paint_stretch(canvas, item, index, stone, spacing, plan.season)
        elif isinstance(item, Channel):
            paint_channel(canvas, item, index, plan.season)
        else:
            paint_plant(canvas, item, index, plan.season)


def _finish(canvas: Canvas, plan: Plan, image: Image, size: int) -> Drawing:
    """Drops what carries no label from the masks, and brings all to the size that was asked for."""
    chosen = [i for i, wanted in enumerate(plan.labelled) if wanted]
    number = np.zeros(256, np.uint8)
    number[np.asarray(chosen) + 1] = np.arange(1, len(chosen) + 1)
    owner = number[canvas.owner]
    state = np.where(owner > 0, canvas.state, np.uint8(0))
    scale = size / CANVAS
    objects = []
    for i in chosen:
        item = plan.items[i]
        polygon = tuple((x * scale, y * scale) for x, y in item.polygon)
        class_id = CLASS_IDS[item.kind, item.condition]
        objects.append(DrawnObject(item.kind, item.condition, class_id, polygon))
    if size != CANVAS:
        how = cv2.INTER_AREA if size < CANVAS else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)
        owner, state = (cv2.resize(m, (size, size), interpolation=cv2.INTER_NEAREST) for m in (owner, state))
    return Drawing(image, tuple(objects), np.asarray(owner, np.uint8), np.asarray(state, np.uint8))
