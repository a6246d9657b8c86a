"""What a box looks like: color and texture inside it against a ring around it. Knows maps of pixels, no types.

Every measure is the same for a photograph and its mirror image, up to rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from toeline.core.box import Box
from toeline.judge.floor.pixels import CHANNELS, DIRECTIONS, PATTERNS, RADII, Maps
from toeline.judge.floor.strip import strip_measures

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    around = cut(seen.channels, outer)[outside].astype(np.float64)
    inside = cut(seen.channels, inner).reshape(-1, len(CHANNELS)).astype(np.float64)
    return {
        **_contrast(inside, around if len(around) else inside),
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
    """The rows and columns of a window."""
    x1, y1, x2, y2 = part
    return array[y1:y2, x1:x2]


def _contrast(inside: NDArray[np.float64], around: NDArray[np.float64]) -> dict[str, float]:
    """Mean and spread of every channel inside, and how the mean and spread differ from the ring's."""
    mean, spread = inside.mean(axis=0), inside.std(axis=0)
    columns = zip(CHANNELS, mean, spread, mean - around.mean(axis=0), spread - around.std(axis=0), strict=True)
    found: dict[str, float] = {}
    for name, *values in columns:
        found.update({f"{name} {what}": float(value) for what, value in zip(CONTRASTS, values, strict=True)})
    light_and_green = [CHANNELS.index("light"), CHANNELS.index("green excess")]
    for q, (light, green) in zip(QUANTILES, np.percentile(inside[:, light_and_green], QUANTILES, axis=0), strict=True):
        found |= {f"light {q} %": float(light), f"green excess {q} %": float(green)}
    green = inside[:, CHANNELS.index("green excess")]
    ring_green = around[:, CHANNELS.index("green excess")]
    found["green part"] = float((green > GREEN).mean())
    found["green part of ring"] = float((ring_green > GREEN).mean())
    return found


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
    strength = cut(seen.channels[..., CHANNELS.index("edge")], inner).astype(np.float64)
    weights = np.bincount(cut(seen.direction, inner).ravel(), weights=strength.ravel(), minlength=DIRECTIONS)
    folded = [
        weights[i] + (weights[DIRECTIONS - i] if 0 < i < DIRECTIONS // 2 else 0) for i in range(DIRECTIONS // 2 + 1)
    ]
    if y2 - y1 < x2 - x1:
        folded = folded[::-1]  # along the object's long axis
    return {f"direction {i}": float(w / max(strength.sum(), 1e-6)) for i, w in enumerate(folded)}
