"""What can be measured of an object's pixels, in words: greenness, contrast of core and sides, breaks along its axis.

Plain arithmetic on colors; no threshold here was fitted to any label. What the numbers mean is left to who reads them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.box import Box

ALONG, ACROSS = 32, 12  # samples along and across an object: a strip, whatever its size and direction
CORE = slice(4, 8)  # the middle third across
SIDES = (slice(0, 2), slice(10, 12))  # the outer sixths
GREEN = 0.08  # excess green (2g - r - b of chromatic coordinates) above which a sample counts as green;
# bare soil and concrete are gray, within 0.05 of 0 (Woebbecke et al. 1995 give the index)
BREAK = 0.5  # a stretch whose contrast is under this share of the median one counts as a break
PAD = 0.25  # of the box's shorter side on each side, so that the strip shows what the object lies in


class Evidence(NamedTuple):
    """Shares 0 to 1, `contrast` -1 to 1 (core lighter than sides is positive), `breaks` counted along the axis."""

    green: float
    contrast: float
    breaks: int
    spread: float


def strip(image: Image.Image, box: Box) -> NDArray[np.float64]:
    """(ALONG, ACROSS, 3) colors 0 to 1 of the object and a margin, its longer side along the first axis."""
    pad = PAD * min(box.width, box.height)
    wide, high = box.width >= box.height, box.height > box.width
    grown = Box(box.x1 - pad * high, box.y1 - pad * wide, box.x2 + pad * high, box.y2 + pad * wide).clipped(image.size)
    if min(grown.width, grown.height) < 1:
        return np.zeros((ALONG, ACROSS, 3))
    size = (ALONG, ACROSS) if wide else (ACROSS, ALONG)
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX, box=grown.xyxy), np.float64) / 255
    return pixels.transpose(1, 0, 2) if wide else pixels


def measure(image: Image.Image, box: Box) -> Evidence:
    """The evidence of one object. `image` is RGB, `box` in its pixels."""
    seen = strip(image, box)
    total = seen.sum(axis=2) + 1e-6
    excess = (2 * seen[..., 1] - seen[..., 0] - seen[..., 2]) / total
    light = seen.mean(axis=2)
    sides = np.concatenate([light[:, s] for s in SIDES], axis=1).mean(axis=1)
    steps = light[:, CORE].mean(axis=1) - sides
    usual = float(np.median(steps))
    weak = np.abs(steps) < BREAK * abs(usual)
    starts = int(weak[0]) + int((weak[1:] & ~weak[:-1]).sum())
    green = float((excess[:, CORE] > GREEN).mean())
    return Evidence(green, float(steps.mean()), starts, float(light[:, CORE].std()))


def spoken(found: Evidence) -> str:
    """The evidence as one clause.

    >>> spoken(Evidence(0.32, -0.12, 2, 0.05))
    'green covers 32% of its middle; its middle is 12% darker than its sides; 2 breaks along it; its light varies by 5%'
    """
    shade = "lighter" if found.contrast >= 0 else "darker"
    breaks = f"{found.breaks} break{'' if found.breaks == 1 else 's'} along it"
    return (
        f"green covers {100 * found.green:.0f}% of its middle; its middle is {100 * abs(found.contrast):.0f}% {shade} "
        f"than its sides; {breaks}; its light varies by {100 * found.spread:.0f}%"
    )
