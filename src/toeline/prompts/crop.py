"""Cuts the views that a judge sees: the object with its surroundings, aspect kept, within a budget of image tokens.

Why the aspect is kept: a toe drain 312 x 30 pixels in a square 112 x 112 crop is 11 pixels high, less than one patch
(measured in a prototype; toe drains were its weakest type).
"""

from __future__ import annotations

import math

from PIL import Image

from toeline.core.box import Box
from toeline.core.question import PromptBudget

LEAST_MARGIN = 0.012  # share of the diagonal: half a 28-pixel cell at 640 x 640, so that thin drains keep both banks
LEAST_PX = LEAST_MARGIN * math.hypot(640, 640)  # what that is on the photographs that judges are trained on


def grid(wide: float, high: float, *, cell: int, most: int, scale_limit: float = math.inf) -> tuple[int, int]:
    """Columns and rows of `cell`-pixel squares for a view of `wide` x `high` pixels: as large as `most` squares allow.

    The aspect is kept as well as whole cells can. `scale_limit` is the largest enlargement. At least 1 x 1.

    >>> grid(640, 640, cell=28, most=121), grid(30, 220, cell=28, most=64)
    ((11, 11), (3, 21))
    """
    scale = min(math.sqrt(most * cell * cell / (wide * high)), scale_limit)
    cols, rows = max(1, round(wide * scale / cell)), max(1, round(high * scale / cell))
    while cols * rows > most:  # rounding up may pass the budget: give back on the longer side
        cols, rows = (cols - 1, rows) if cols >= rows else (cols, rows - 1)
    return cols, rows


def window(box: Box, size_wh: tuple[int, int], *, margin: float) -> Box:
    """The box with context on every side, cut at the frame. `margin` is a share of the box's shorter side.

    The least margin is a share of the frame, but in a large photograph, where an object may be a hundredth of it, no
    more than half of the object's shorter side: else the crop would show its neighbors.

    >>> window(Box(3000, 2000, 3040, 2200), (6000, 4000), margin=0.0)
    Box(x1=2980.0, y1=1980.0, x2=3060.0, y2=2220.0)
    """
    shorter = min(box.width, box.height)
    pad = max(margin * shorter, min(LEAST_MARGIN * math.hypot(*size_wh), max(LEAST_PX, shorter / 2)))
    grown = Box(box.x1 - pad, box.y1 - pad, box.x2 + pad, box.y2 + pad).clipped(size_wh)
    if grown.width >= 1 and grown.height >= 1:
        return grown
    wide, high = size_wh  # a box outside the frame: show the nearest pixel rather than nothing
    x, y = min(max(box.x1, 0), wide - 1), min(max(box.y1, 0), high - 1)
    return Box(x, y, x + 1, y + 1)


def framed(box: Box, size_wh: tuple[int, int], view: PromptBudget) -> tuple[Box, tuple[int, int]]:
    """What a crop of `box` shows of the photograph, and its (columns, rows) of cells.

    The window is widened to the aspect of whole cells, so that nothing is stretched unless the frame leaves no room.

    >>> framed(Box(300, 200, 340, 300), (640, 640), PromptBudget(crop_tokens=32, margin=0.1, detail_px=4096))[1]
    (4, 8)
    """
    seen = window(box, size_wh, margin=view.margin)
    limit = max(1.0, view.detail_px / max(size_wh))
    cols, rows = grid(seen.width, seen.height, cell=view.cell, most=view.crop_tokens, scale_limit=limit)
    scale = min(cols * view.cell / seen.width, rows * view.cell / seen.height)
    x1, x2 = _widened(seen.x1, seen.x2, cols * view.cell / scale, size_wh[0])
    y1, y2 = _widened(seen.y1, seen.y2, rows * view.cell / scale, size_wh[1])
    return Box(x1, y1, x2, y2), (cols, rows)


def _widened(low: float, high: float, length: float, frame: float) -> tuple[float, float]:
    """An interval grown about its middle to `length`, moved inside [0, frame]; the whole frame if that is shorter."""
    length = min(max(length, high - low), frame)
    start = min(max((low + high - length) / 2, 0.0), frame - length)
    return start, start + length


def cut(image: Image.Image, box: Box, view: PromptBudget) -> Image.Image:
    """The thing in `box` with its surroundings; both sides of the result are multiples of `view.cell`."""
    seen, (cols, rows) = framed(box, image.size, view)
    return image.resize((cols * view.cell, rows * view.cell), Image.Resampling.BICUBIC, box=seen.xyxy)


def whole(image: Image.Image, view: PromptBudget) -> Image.Image:
    """The photograph within `view.scene_tokens`; both sides are multiples of `view.cell`."""
    cols, rows = grid(*image.size, cell=view.cell, most=view.scene_tokens)
    return image.resize((cols * view.cell, rows * view.cell), Image.Resampling.BICUBIC)
