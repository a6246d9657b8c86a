"""Lays photographs into a network's input, and takes boxes back into the photograph exactly.

The arithmetic is that of `ultralytics` 8.x (one scale for both sides, both rounded to pixels, margins split so that an
odd pixel goes to the right and the bottom), because a network answers a little differently for other margins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRAY = 114  # of the margins
Floats = NDArray[np.float32]


def fit_into(size_wh: tuple[int, int], input_hw: tuple[int, int], *, stride: int = 0) -> tuple[Fit, tuple[int, int]]:
    """How a photograph of `size_wh` lies in the input, and the input's height and width in pixels.

    With `stride` the input is the smallest rectangle of multiples of it that holds the photograph at the scale of
    `input_hw`; without, it is `input_hw`.

    >>> fit_into((4000, 3000), (640, 640))
    (Fit(across=0.16, down=0.16, left=0, top=80), (640, 640))
    >>> fit_into((4000, 2000), (640, 640), stride=32)
    (Fit(across=0.16, down=0.16, left=0, top=0), (320, 640))
    """
    (wide, high), (rows, columns) = size_wh, input_hw
    scale = min(rows / high, columns / wide)
    new_wide, new_high = max(round(wide * scale), 1), max(round(high * scale), 1)
    across, down = columns - new_wide, rows - new_high
    if stride:
        across, down = across % stride, down % stride
    fit = Fit(new_wide / wide, new_high / high, round(across / 2 - 0.1), round(down / 2 - 0.1))
    return fit, (new_high + down, new_wide + across)


def to_multiple(input_hw: tuple[int, int], stride: int) -> tuple[int, int]:
    """Both sides rounded up to a multiple of `stride`."""
    return -(-input_hw[0] // stride) * stride, -(-input_hw[1] // stride) * stride


def letterbox(
    image: Image.Image, input_hw: tuple[int, int], *, stride: int = 0, fill: int = GRAY, smooth: bool = False
) -> tuple[NDArray[np.uint8], Fit]:
    """The photograph in its input, (H, W, 3) uint8 RGB, centered between margins of the gray `fill`.

    It is resized bilinearly: by OpenCV without antialiasing, as ultralytics does it, or by Pillow with it if `smooth`.
    """
    import cv2

    fit, (rows, columns) = fit_into(image.size, input_hw, stride=stride)
    new_wh = round(image.width * fit.across), round(image.height * fit.down)
    photo = image if image.mode == "RGB" else image.convert("RGB")
    if smooth:
        photo = photo.resize(new_wh, Image.Resampling.BILINEAR, reducing_gap=3.0)
    elif new_wh != image.size:
        photo = Image.fromarray(cv2.resize(np.asarray(photo), new_wh, interpolation=cv2.INTER_LINEAR))
    return np.asarray(framed(photo, (columns, rows), (fit.left, fit.top), fill)), fit


def framed(picture: Image.Image, size_wh: tuple[int, int], left_top: tuple[int, int], fill: int = GRAY) -> Image.Image:
    """An RGB picture on a sheet of gray; the picture itself when it is as large as the sheet."""
    if picture.size == size_wh:
        return picture
    sheet = Image.new("RGB", size_wh, (fill, fill, fill))
    sheet.paste(picture, left_top)
    return sheet


def planes(laid: NDArray[np.uint8]) -> Floats:
    """(H, W, 3) uint8 to (3, H, W) float32 from 0 to 1, as the networks take it."""
    return np.ascontiguousarray(laid.transpose(2, 0, 1), np.float32) / np.float32(255)


class Fit(NamedTuple):
    """How a photograph was laid into the square: its pixels per photograph pixel, and its margins in pixels."""

    across: float
    down: float
    left: int
    top: int

    def undo(self, boxes: Floats) -> Floats:
        """Boxes (N, 4) of the square as boxes of the photograph, in its pixels, not clipped.

        >>> Fit(0.5, 0.5, 0, 10).undo(np.array([[5, 15, 10, 20]], np.float32)).tolist()
        [[10.0, 10.0, 20.0, 20.0]]
        """
        margin = np.array([self.left, self.top, self.left, self.top])
        scale = np.array([self.across, self.down, self.across, self.down])
        undone: Floats = ((boxes.astype(np.float64) - margin) / scale).astype(np.float32)
        return undone


MOST_AT_ONCE = 8  # photographs in one pass, so that memory does not grow with the list that is given


def batches(shapes: Sequence[Hashable], *, most: int = MOST_AT_ONCE) -> Iterator[list[int]]:
    """Numbers of images of one shape, `most` at a time; each number once.

    >>> list(batches(["wide", "tall", "wide", "wide"], most=2))
    [[0, 2], [3], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for n, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(n)
    for group in groups.values():
        yield from (group[i : i + most] for i in range(0, len(group), most))
