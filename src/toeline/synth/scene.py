"""One drawn scene: its photograph, its labels and its ground truth masks, as a pure function of a seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth.drains import paint_channel
from toeline.synth.ground import paint_clutter, paint_ground, paint_overhead
from toeline.synth.layout import sample_plan
from toeline.synth.plan import CANVAS, CLASS_IDS, Channel, Floats, Points, ScenePlan, Stretch
from toeline.synth.rock_and_plants import STONE_COLORS, paint_plant, paint_stretch
from toeline.synth.textures import Canvas, crop, ramp, triple

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class DrawnObject:
    """One labeled object. `polygon` has at least 3 points in pixels of the picture, clipped to its frame."""

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


def _paint_items(canvas: Canvas, plan: ScenePlan, rng: np.random.Generator) -> None:
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


def _finish(canvas: Canvas, plan: ScenePlan, image: Image, size: int) -> Drawing:
    """Drops what carries no label from the masks, and brings all to the size that was asked for."""
    chosen = [i for i, wanted in enumerate(plan.labeled) if wanted]
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


Rng = np.random.Generator
FULL = (CANVAS, CANVAS)


def _light(color: Floats, rng: Rng) -> Floats:
    """Cloud shadows, a darker rim, and haze towards the top."""
    gain = np.full(FULL, float(rng.normal(1.0, 0.06)), np.float32)
    if rng.random() < 0.35:
        clouds = cv2.resize(crop("broad", rng, (CANVAS // 4, CANVAS // 4)), FULL, interpolation=cv2.INTER_CUBIC)
        gain *= 1 - float(rng.uniform(0.05, 0.28)) * ramp(np.asarray(clouds, np.float32), 0.2, 1.2)
    far = np.linspace(-1, 1, CANVAS, dtype=np.float32) ** 2
    gain *= 1 - float(rng.uniform(0, 0.10)) * (far[:, None] + far)
    haze = float(rng.uniform(0, 0.11)) * np.linspace(1, 0.2, CANVAS, dtype=np.float32)[:, None]
    color *= triple(gain * (1 - haze))
    color += triple(np.broadcast_to(205 * haze, FULL).astype(np.float32))
    return color


def _grade(color: Floats, rng: Rng) -> Floats:
    """White balance, saturation and contrast of one camera on one day, as one matrix."""
    saturation, contrast = float(rng.uniform(0.6, 1.08)), float(rng.uniform(0.88, 1.28))
    balance = 1 + rng.normal(0, 0.008, 3)
    matrix = (np.eye(3) * saturation + (1 - saturation) / 3) * balance[:, None] * contrast
    offset = np.full((3, 1), 136 - 126 * contrast + float(rng.normal(0, 7)))
    graded = np.asarray(cv2.transform(color, np.hstack([matrix, offset]).astype(np.float32)), np.float32)
    return np.asarray(np.minimum(graded, 0.5 * graded + 92), np.float32)  # a shoulder: highlights do not burn out


def _lens(color: Floats, rng: Rng) -> Floats:
    """Some photographs are soft, some were shrunk and enlarged, some are sharpened by the camera."""
    turn = rng.random()
    if turn < 0.22:
        small = cv2.resize(color, (CANVAS // 2, CANVAS // 2), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, FULL, interpolation=cv2.INTER_CUBIC), np.float32)
    if turn < 0.42:
        return np.asarray(cv2.GaussianBlur(color, (0, 0), float(rng.uniform(0.4, 1.0))), np.float32)
    if turn < 0.47:
        return np.asarray(cv2.blur(color, (int(rng.integers(2, 5)), 1)), np.float32)
    soft = np.asarray(cv2.GaussianBlur(color, (0, 0), 1.2), np.float32)
    return np.asarray(soft + (color - soft) * float(rng.uniform(0.9, 1.7)), np.float32)


def _overlay(image: NDArray[np.uint8], rng: Rng) -> None:
    text = f"{rng.uniform(21, 25):.5f}N {rng.uniform(80, 87):.5f}E  {int(rng.integers(20, 90))}m"
    shade = int(rng.integers(150, 240))
    faint = image.copy()
    cv2.putText(faint, text, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (shade, shade, shade), 1, cv2.LINE_AA)
    image[:20] = cv2.addWeighted(faint[:20], 0.6, image[:20], 0.4, 0)


def photograph(color: Floats, rng: Rng) -> NDArray[np.uint8]:
    """(640, 640, 3) uint8 RGB from painted light (640, 640, 3) in about 0..255; `color` is used up."""
    color = _lens(_grade(_light(color, rng), rng), rng)
    sigma = float(rng.uniform(0.5, 3.2))
    color += triple(sigma * crop("fine", rng, FULL))
    color[..., 2] += 0.5 * sigma * crop("small", rng, FULL)
    image = np.clip(color + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _overlay(image, rng)
    return _squeeze(image, int(rng.integers(62, 96)))


def _squeeze(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Once through JPEG, as every drone photograph was."""
    _, packed = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    opened = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(opened, np.uint8)[..., ::-1])
