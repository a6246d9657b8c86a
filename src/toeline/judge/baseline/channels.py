"""A photograph as maps of color, greenness, edges and texture, made once for all its boxes. OpenCV and numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from toeline.core.question import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray


LONGEST_PX = 320  # larger photographs are scaled down to this: texture is counted in pixels, so one scale for all
CHANNELS = ("red", "green", "blue", "light", "a", "b", "saturation", "value", "green excess", "edge", "rough")
RADII = (1, 3)  # of the local binary patterns, in pixels
PATTERNS = 10  # of 8 neighbors: uniform ones by how many are brighter (0 to 8), and all others
DIRECTIONS = 8  # of the edges' orientations over half a turn


@dataclass(frozen=True, eq=False)
class Maps:
    """What is measured in boxes; `scale` is map pixels per photograph pixel.

    `channels` (11, H, W) float32, about 0 to 1; `patterns` of light and `green_patterns` of excess green, one (H, W)
    uint8 per radius, 0 to PATTERNS - 1; `direction` (H, W) uint8, 0 to DIRECTIONS - 1.
    """

    channels: NDArray[np.float32]
    patterns: tuple[NDArray[np.uint8], ...]
    green_patterns: tuple[NDArray[np.uint8], ...]
    direction: NDArray[np.uint8]
    scale: float


def maps(picture: Picture) -> Maps:
    """The maps of an RGB picture."""
    import cv2

    wide, high = picture.size
    rgb = np.frombuffer(picture.tobytes(), np.uint8).reshape(high, wide, 3)
    scale = min(1.0, LONGEST_PX / max(wide, high))
    if scale < 1:
        size = max(1, round(wide * scale)), max(1, round(high * scale))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    edge, direction = _edges(gray)
    channels = np.stack([*_colors(rgb), edge, _rough(gray)])
    green = np.clip(100 + 200 * channels[CHANNELS.index("green excess")], 0, 255).astype(np.uint8)
    patterns, green_patterns = (tuple(_patterns(shades, r) for r in RADII) for shades in (gray, green))
    return Maps(channels, patterns, green_patterns, direction, scale)


def _colors(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
    """(H, W) each: RGB, Lab, saturation and value of HSV, excess green 2G - R - B over the sum (Woebbecke 1995)."""
    import cv2

    unit = rgb.astype(np.float32) / 255
    lab = cv2.cvtColor(unit, cv2.COLOR_RGB2LAB) / 100
    _, saturation, value = cv2.split(cv2.cvtColor(unit, cv2.COLOR_RGB2HSV))
    red, green, blue = cv2.split(unit)
    excess = 3 * green / np.maximum(red + green + blue, 1e-3) - 1
    return red, green, blue, *cv2.split(lab), saturation, value, excess


def _edges(gray: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Strength of the gradient, and its direction over half a turn in DIRECTIONS bins centered on 0 (across)."""
    import cv2

    unit = gray.astype(np.float32) / 255
    dx, dy = cv2.Scharr(unit, cv2.CV_32F, 1, 0) / 16, cv2.Scharr(unit, cv2.CV_32F, 0, 1) / 16
    turn = np.arctan2(dy, dx) / np.pi  # half turns, -1 to 1
    return np.hypot(dx, dy).astype(np.float32), (np.rint(turn * DIRECTIONS).astype(np.int8) % DIRECTIONS).astype(
        np.uint8
    )


def _rough(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Standard deviation in a window of 5 x 5 pixels."""
    import cv2

    unit = gray.astype(np.float32) / 255
    mean, square = cv2.blur(unit, (5, 5)), cv2.blur(unit * unit, (5, 5))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)


@cache
def _uniform() -> NDArray[np.uint8]:
    """256 codes to PATTERNS: the number of set bits where these lie together, else the last (Ojala 2002)."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), PATTERNS - 1).astype(np.uint8)


def _patterns(gray: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Uniform local binary patterns of 8 neighbors, each on the pixel grid."""
    import cv2

    r = radius
    d = max(1, round(r * 0.7071))
    soft = cv2.GaussianBlur(gray, (0, 0), 0.5 * r) if r > 1 else gray
    wide = cv2.copyMakeBorder(soft, r, r, r, r, cv2.BORDER_REFLECT_101)
    high, width = gray.shape
    steps = ((0, r), (d, d), (r, 0), (d, -d), (0, -r), (-d, -d), (-r, 0), (-d, d))
    code = np.zeros(gray.shape, np.uint8)
    for bit, (down, right) in enumerate(steps):
        code |= (wide[r + down : r + down + high, r + right : r + right + width] > soft).view(np.uint8) << bit
    return np.asarray(cv2.LUT(code, _uniform()))
