"""Boxes and pixels to one row of numbers per object. The names and their order are part of a baseline file."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from toeline.core.box import Box
from toeline.core.question import Picture
from toeline.core.scene import Instance, Scene
from toeline.data.feature_maps import FeatureNetwork
from toeline.data.pooling import pool
from toeline.judge.baseline.channels import CHANNELS, DIRECTIONS, PATTERNS, RADII, Maps, maps
from toeline.prompts.relations import every_two

if TYPE_CHECKING:
    from numpy.typing import NDArray


VERSION = 1  # raise it when a measure changes its meaning: older files are then refused


def measure(
    scene: Scene, picture: Picture, kinds: Sequence[str], *, only: Collection[str] | None = None
) -> NDArray[np.float32]:
    """(n, F): a row for each instance of the scene, or for those whose ids are in `only`, in the scene's order.

    `picture` is the whole photograph, `kinds` the types of the taxonomy. Columns are `measure_names`.
    """
    seen = maps(picture)
    asked = [
        (instance, place)
        for instance, place in zip(scene.instances, places(scene, kinds), strict=True)
        if only is None or instance.id in only
    ]
    rows = [list(_row(place, instance.box, seen).values()) for instance, place in asked]
    return np.array(rows, np.float32).reshape(len(rows), len(measure_names(tuple(kinds))))


def columns(
    scene: Scene,
    picture: Picture,
    kinds: Sequence[str],
    network: FeatureNetwork | None,
    *,
    only: Collection[str] | None = None,
) -> NDArray[np.float32]:
    """(n, F): the measures of `measure`, and after them, where a network is given, the features of `pool`."""
    rows = measure(scene, picture, kinds, only=only)
    return np.hstack([rows, pool(scene, picture, network, only=only)]) if network else rows


@cache
def measure_names(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the columns, which depend on the taxonomy's types alone: those of a black picture."""
    scene = Scene(Path("none"), (8, 8), (Instance("1", "", Box(2, 2, 6, 6)),))
    return tuple(_row(places(scene, kinds)[0], scene.instances[0].box, maps(_Black())))


def _row(place: dict[str, float], box: Box, seen: Maps) -> dict[str, float]:
    return {**place, **looks(box, seen)}


class _Black:
    """An RGB picture of 8 x 8 black pixels."""

    size = (8, 8)

    def tobytes(self) -> bytes:
        return bytes(8 * 8 * 3)


RING = 0.5  # width of the ring as a share of the box's shorter side ...
LEAST_RING_PX, MOST_RING_PX = 4, 24  # ... within these
GREEN = 0.10  # excess green from which a pixel counts as a plant's
FEWEST_PX = 3  # a box is at least this wide and high when it is measured

CONTRASTS = ("mean", "spread", "against ring", "spread against ring")
QUANTILES = (5, 25, 75, 95)

Number = TypeVar("Number", bound=np.generic)
Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in map pixels


def looks(box: Box, seen: Maps) -> dict[str, float]:
    """Measures by name of the part of the photograph in `box` (pixels of the photograph)."""
    inner = window(box, seen)
    outer = _ring(inner, seen)
    high, wide = outer[3] - outer[1], outer[2] - outer[0]
    outside = np.ones((high, wide), bool)
    outside[inner[1] - outer[1] : inner[3] - outer[1], inner[0] - outer[0] : inner[2] - outer[0]] = False
    around = cut(seen.channels, outer)[:, outside].astype(np.float64)
    inside = cut(seen.channels, inner).reshape(len(CHANNELS), -1).astype(np.float64)
    return {
        **_contrast(inside, around if around.size else inside),
        **_texture(seen, inner),
        **_directions(seen, inner),
        **strip_measures(seen.channels, inner),
    }


def window(box: Box, seen: Maps) -> Window:
    """The box in whole map pixels, inside the map and at least FEWEST_PX wide and high where the map is."""
    high, wide = seen.direction.shape
    x1, x2 = _span(box.x1 * seen.scale, box.x2 * seen.scale, wide)
    y1, y2 = _span(box.y1 * seen.scale, box.y2 * seen.scale, high)
    return x1, y1, x2, y2


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    middle = (low + high) / 2
    half = max(high - low, FEWEST_PX) / 2
    a, b = max(0, round(middle - half)), min(limit, round(middle + half))
    return min(a, max(0, limit - FEWEST_PX)), max(b, min(limit, FEWEST_PX))


def _ring(inner: Window, seen: Maps) -> Window:
    x1, y1, x2, y2 = inner
    high, wide = seen.direction.shape
    r = int(np.clip(round(RING * min(x2 - x1, y2 - y1)), LEAST_RING_PX, MOST_RING_PX))
    return max(0, x1 - r), max(0, y1 - r), min(wide, x2 + r), min(high, y2 + r)


def cut(array: NDArray[Number], part: Window) -> NDArray[Number]:
    """The rows and columns of a window, which are the last two axes."""
    x1, y1, x2, y2 = part
    return array[..., y1:y2, x1:x2]


def _contrast(inside: NDArray[np.float64], around: NDArray[np.float64]) -> dict[str, float]:
    """Mean and spread of every channel (11, n) inside, and how the mean and spread differ from the ring's."""
    (mean, spread), (ring_mean, ring_spread) = _moments(inside), _moments(around)
    columns = zip(CHANNELS, mean, spread, mean - ring_mean, spread - ring_spread, strict=True)
    found: dict[str, float] = {}
    for name, *values in columns:
        found.update({f"{name} {what}": float(value) for what, value in zip(CONTRASTS, values, strict=True)})
    light_and_green = [CHANNELS.index("light"), CHANNELS.index("green excess")]
    for q, (light, green) in zip(QUANTILES, quantiles(inside[light_and_green].T, QUANTILES), strict=True):
        found |= {f"light {q} %": float(light), f"green excess {q} %": float(green)}
    green = inside[CHANNELS.index("green excess")]
    ring_green = around[CHANNELS.index("green excess")]
    found["green part"] = float((green > GREEN).mean())
    found["green part of ring"] = float((ring_green > GREEN).mean())
    return found


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of (11, n)."""
    mean = values.mean(axis=1)
    apart = values - mean[:, None]
    return mean, np.sqrt(np.einsum("cn,cn->c", apart, apart) / values.shape[1])


def quantiles(values: NDArray[np.float64], percents: Sequence[int]) -> NDArray[np.float64]:
    """What np.percentile(values, percents, axis=0) gives, in a third of the time where there are few values.

    >>> quantiles(np.array([4.0, 1.0, 2.0]), (25, 50)).tolist()
    [1.5, 2.0]
    """
    ranked, at = np.sort(values, axis=0), np.asarray(percents) / 100 * (len(values) - 1)
    low = at.astype(int)
    share = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    a, b = ranked[low], ranked[np.minimum(low + 1, len(values) - 1)]
    return np.asarray(np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share)))


def _texture(seen: Maps, inner: Window) -> dict[str, float]:
    """Shares of local binary patterns in the box, in its core, and of greenness."""
    found: dict[str, float] = {}
    for what, codes, part in (
        ("pattern", seen.patterns, inner),
        ("core pattern", seen.patterns, _core(inner)),
        ("green pattern", seen.green_patterns, inner),
    ):
        for radius, of_radius in zip(RADII, codes, strict=True):
            shares = np.bincount(cut(of_radius, part).ravel(), minlength=PATTERNS) / cut(of_radius, part).size
            found.update({f"{what} {radius} px {i}": float(s) for i, s in enumerate(shares)})
    return found


def _core(inner: Window) -> Window:
    """The middle half along the long axis: of a channel, its bed."""
    x1, y1, x2, y2 = inner
    side = min(x2 - x1, y2 - y1)
    quarter = max(1, side // 4) if side >= FEWEST_PX else 0
    if x2 - x1 > y2 - y1:
        return x1, y1 + quarter, x2, y2 - quarter
    return x1 + quarter, y1, x2 - quarter, y2


def _directions(seen: Maps, inner: Window) -> dict[str, float]:
    """Shares of edge directions by strength, against the long axis; mirrored directions count together."""
    x1, y1, x2, y2 = inner
    strength = cut(seen.channels[CHANNELS.index("edge")], inner).astype(np.float64)
    weights = np.bincount(cut(seen.direction, inner).ravel(), weights=strength.ravel(), minlength=DIRECTIONS)
    folded = [
        weights[i] + (weights[DIRECTIONS - i] if 0 < i < DIRECTIONS // 2 else 0) for i in range(DIRECTIONS // 2 + 1)
    ]
    if y2 - y1 < x2 - x1:
        folded = folded[::-1]  # along the object's long axis
    return {f"direction {i}": float(w / max(strength.sum(), 1e-6)) for i, w in enumerate(folded)}


BORDER = 0.01  # an edge this close to the frame, as a share of the diagonal, counts as cut by it
THINNEST = 0.001  # of a box's sides, as a share of the diagonal, so that every box has an aspect


def places(scene: Scene, kinds: Sequence[str]) -> list[dict[str, float]]:
    """For each instance of the scene its measures by name; `kinds` are the types whose overlap is measured.

    "hidden by" a type is the largest share of the box, 0 to 1, that one of its instances covers; "hides" is the largest
    share that the box covers of one of them.
    """
    overlaps = {f"{what} {kind}": 0.0 for kind in kinds for what in ("hidden by", "hides")}
    found = [{**_own(instance, scene), **overlaps} for instance in scene.instances]
    by_id = {t.id: measures for t, measures in zip(scene.instances, found, strict=True)}
    pairs, boxes = every_two(scene)
    for (a, b), hidden, hides in zip(pairs, boxes.a_in_b.tolist(), boxes.b_in_a.tolist(), strict=True):
        _note(by_id[a.id], b.type_name, hidden, hides)
    return found


def _note(found: dict[str, float], kind: str, hidden: float, hides: float) -> None:
    if f"hides {kind}" in found:
        found[f"hidden by {kind}"] = max(found[f"hidden by {kind}"], hidden)
        found[f"hides {kind}"] = max(found[f"hides {kind}"], hides)


def _own(instance: Instance, scene: Scene) -> dict[str, float]:
    (wide, high), box = scene.size_wh, instance.box
    cx, cy = box.center
    cut_px = BORDER * scene.diagonal
    w, h = (max(side / scene.diagonal, THINNEST) for side in (box.width, box.height))
    return {
        "off middle": abs(cx / wide - 0.5),
        "y": cy / high,
        "top": box.y1 / high,
        "bottom": box.y2 / high,
        "width": w,
        "height": h,
        "log aspect": math.log(w / h),
        "log area": math.log(w * h),
        "cut at sides": float(box.x1 <= cut_px) + float(box.x2 >= wide - cut_px),
        "cut at top": float(box.y1 <= cut_px),
        "cut at bottom": float(box.y2 >= high - cut_px),
        "things": float(len(scene.instances)),
    }


ROWS, COLUMNS = 32, 12  # along and across; the middle half of the columns is the box, the rest lies beside it
SHOWN = ("light", "b", "green excess", "edge")
CORE = slice(4, 8)
SIDES = [0, 1, 2, 9, 10, 11]
FLAT = 1e-9  # a cross-section without contrast is like no other


def strip(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """(ROWS, COLUMNS, SHOWN): the window and half its width on both sides, from top to bottom or from left to right."""
    x1, y1, x2, y2 = inner
    wide, high = x2 - x1, y2 - y1
    flat = wide > high
    beside = max(1, round(min(wide, high) / 2))
    (dx, dy) = (0, beside) if flat else (beside, 0)
    full_high, full_wide = channels.shape[1:]
    xs = np.clip(np.arange(x1 - dx, x2 + dx), 0, full_wide - 1)
    ys = np.clip(np.arange(y1 - dy, y2 + dy), 0, full_high - 1)
    part = channels[np.ix_(np.array([CHANNELS.index(name) for name in SHOWN]), ys, xs)]
    upright = part.transpose(2, 1, 0) if flat else part.transpose(1, 2, 0)
    return _resized(_resized(np.ascontiguousarray(upright), high=ROWS), wide=COLUMNS)


def _resized(part: NDArray[np.float32], *, high: int = 0, wide: int = 0) -> NDArray[np.float32]:
    """One axis resized: averaged where it shrinks, interpolated where it grows (OpenCV's area mode then leans left)."""
    import cv2

    before = part.shape[0] if high else part.shape[1]
    how = cv2.INTER_AREA if before >= max(high, wide) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (wide or part.shape[1], high or part.shape[0]), interpolation=how))


def strip_measures(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> dict[str, float]:
    """Measures of the strip by name; the same from either end and for either side."""
    rows = strip(channels, inner).astype(np.float64)
    measures = {**_profile(rows), **_along(rows), **_likeness(rows)}
    return {
        f"strip {name} {what}": float(values[i]) for what, values in measures.items() for i, name in enumerate(SHOWN)
    }


def _profile(rows: NDArray[np.float64]) -> dict[str, Any]:
    """The mean cross-section, both sides folded together, from the outermost column to the middle."""
    profile = rows.mean(axis=0)
    folded = (profile + profile[::-1]) / 2
    found = {f"profile {i}": folded[i] - folded.mean(axis=0) for i in range(COLUMNS // 2)}
    return found | {"sides differ": np.abs(profile[SIDES[:3]].mean(axis=0) - profile[SIDES[3:]].mean(axis=0))}


def _along(rows: NDArray[np.float64]) -> dict[str, Any]:
    """How the core, and its contrast to the sides, change along the axis: a break or a plant is a step."""
    core, sides = rows[:, CORE].mean(axis=1), rows[:, SIDES].mean(axis=1)
    step = core - sides
    least, most = quantiles(step, (10, 90))
    mean = core.mean(axis=0)
    coarse = core.reshape(-1, 4, len(SHOWN)).mean(axis=1)
    return {
        "contrast": step.mean(axis=0),
        "contrast spread": step.std(axis=0),
        "contrast least": least,
        "contrast most": most,
        "core spread": core.std(axis=0),
        "core least": core.min(axis=0) - mean,
        "core most": core.max(axis=0) - mean,
        "core step": np.abs(np.diff(core, axis=0)).mean(axis=0),
        "core largest step": np.abs(np.diff(coarse, axis=0)).max(axis=0),
    }


def _likeness(rows: NDArray[np.float64]) -> dict[str, Any]:
    """Correlation of each cross-section with the next, and with the mean one."""
    centered = rows - rows.mean(axis=1, keepdims=True)
    profile = centered.mean(axis=0, keepdims=True)
    next_one, mean_one = _alike(centered[:-1], centered[1:]), _alike(centered, profile)
    return {
        "coherence": next_one.mean(axis=0),
        "least coherence": quantiles(next_one, (10,))[0],
        "like profile": mean_one.mean(axis=0),
        "least like profile": quantiles(mean_one, (10,))[0],
    }


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation, -1 to 1, of centered cross-sections (rows, COLUMNS, SHOWN), by row and channel; 0 for flat ones."""
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norm, FLAT))
