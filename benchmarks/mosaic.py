"""Large drawn photographs: scenes side by side, faded into one another, with the truth of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from toeline.synth.dataset import scene_seed
from toeline.synth.layout import sample_plan
from toeline.synth.plan import Points
from toeline.synth.scene import Drawing, DrawnObject, draw

FADE = 0.06  # share of a scene's side over which it fades into its neighbor; a hard edge would look like a drain
SLIVER = 0.5  # of an object's longer side: what the fade leaves less of loses its label

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the mosaic


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A drawn photograph of many scenes. `windows` are their places, row by row, each `side` pixels wide and high.

    `image` (H, W, 3) uint8 RGB. `objects` hold polygons in its pixels, clipped to the part of their scene that is seen.
    """

    image: NDArray[np.uint8]
    objects: tuple[DrawnObject, ...]
    windows: tuple[Window, ...]
    side: int


def draw_mosaic(seed: int, *, size_wh: tuple[int, int], grid: tuple[int, int], objects: int = 0) -> Mosaic:
    """Scenes of the data set `seed` in `grid` columns and rows, on `size_wh` pixels. Same arguments, same bytes.

    With `objects` the scenes are chosen so that this many labeled objects are drawn, spread evenly. A few may be lost
    where scenes fade into one another. Takes about a tenth of a second a scene.

    >>> mosaic = draw_mosaic(1, size_wh=(320, 170), grid=(2, 1), objects=6)
    >>> mosaic.image.shape, len(mosaic.windows), len(mosaic.objects) <= 6
    ((170, 320, 3), 2, True)
    """
    windows, side = _windows(size_wh, grid)
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    found: list[DrawnObject] = []
    for window, number in zip(windows, _numbers(seed, len(windows), objects), strict=True):
        scene = draw(scene_seed(seed, number), size=side)
        _paint(image, scene, window)
        found += _seen(scene, window, windows, size_wh)
    return Mosaic(image, tuple(found), windows, side)


def _windows(size_wh: tuple[int, int], grid: tuple[int, int]) -> tuple[tuple[Window, ...], int]:
    """Where the scenes lie: squares that cover everything and share at least FADE of their side with a neighbor."""
    side = max(_side(length, n) for length, n in zip(size_wh, grid, strict=True))
    lefts, tops = (_starts(length, side, n) for length, n in zip(size_wh, grid, strict=True))
    return tuple((x, y, x + side, y + side) for y in tops for x in lefts), side


def _side(length: int, n: int) -> int:
    """The side of `n` squares that cover `length` with FADE between them."""
    return int(np.ceil(length / (n - (n - 1) * FADE)))


def _starts(length: int, side: int, n: int) -> list[int]:
    return [round((length - side) * i / max(n - 1, 1)) for i in range(n)]


def _numbers(seed: int, scenes: int, objects: int) -> list[int]:
    """Numbers of the scenes: the first ones, or the first ones that share `objects` among them."""
    if not objects:
        return list(range(scenes))
    numbers: list[int] = []
    left, candidates = objects, count()
    while len(numbers) < scenes:
        wanted = max(1, -(-left // (scenes - len(numbers))))
        number = next(n for n in candidates if sum(sample_plan(scene_seed(seed, n)).labeled) == wanted)
        numbers.append(number)
        left -= wanted
    return numbers


def _paint(image: NDArray[np.uint8], scene: Drawing, window: Window) -> None:
    """Lay a scene over its window: at the left and the top it fades in over what is there already."""
    x1, y1, x2, y2 = window
    part = image[y1:y2, x1:x2]
    high, wide = part.shape[:2]
    ramp = np.clip((np.arange(max(wide, high), dtype=np.float32) + 0.5) / (FADE * (x2 - x1)), 0, 1)
    across = ramp[:wide] if x1 > 0 else np.ones(wide, np.float32)
    down = ramp[:high] if y1 > 0 else np.ones(high, np.float32)
    alpha = (down[:, None] * across[None])[..., None]
    part[:] = (part + (scene.image[:high, :wide] - part.astype(np.float32)) * alpha + 0.5).astype(np.uint8)


def _seen(scene: Drawing, window: Window, windows: tuple[Window, ...], size_wh: tuple[int, int]) -> list[DrawnObject]:
    """The scene's objects in the mosaic, without what later scenes are painted over."""
    x1, y1, _, _ = window
    low, high = _own(window, windows)
    kept = []
    for item in scene.objects:
        points = np.asarray(item.polygon, np.float64) + np.array([x1, y1])
        clipped = np.clip(points, low, np.minimum(high, size_wh))
        if np.ptp(clipped, axis=0).max() >= SLIVER * np.ptp(points, axis=0).max():
            kept.append(replace(item, polygon=_points(clipped)))
    return kept


def _own(window: Window, windows: tuple[Window, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the part of a window that shows its own scene: the middle of each fade is the border."""
    x1, y1, x2, y2 = window
    half = FADE * (x2 - x1) / 2
    rights = [w[0] + half for w in windows if w[0] > x1]
    lows = [w[1] + half for w in windows if w[1] > y1]
    return (
        np.array([x1 + (half if x1 > 0 else 0), y1 + (half if y1 > 0 else 0)]),
        np.array([min([x2, *rights]), min([y2, *lows])]),
    )


def _points(corners: NDArray[np.float64]) -> Points:
    return tuple((float(x), float(y)) for x, y in corners)
