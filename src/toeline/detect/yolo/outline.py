"""Masks become polygons: the outline of the largest piece, in pixels of the photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toeline.detect.embedded import Fit

Floats = NDArray[np.float32]
Polygon = tuple[tuple[float, float], ...]
SLACK = 0.75  # pixels of the network's input that an outline may be off for the sake of fewer corners


def masks(
    prototypes: Floats, coefficients: Floats, boxes: Floats, input_hw: tuple[int, int]
) -> list[NDArray[np.uint8]]:
    """For each row a mask (H, W) of the input, 1 on the object: mixed prototypes above zero, inside the row's box.

    `prototypes` (E, h, w), `coefficients` (N, E), `boxes` (N, 4) as x1, y1, x2, y2 in pixels of the input.
    """
    import cv2

    mixed = np.tensordot(coefficients, prototypes, 1)
    across, down = np.arange(input_hw[1]), np.arange(input_hw[0])
    found = []
    for one, (x1, y1, x2, y2) in zip(mixed, boxes, strict=True):
        grown = cv2.resize(one, input_hw[::-1], interpolation=cv2.INTER_LINEAR) > 0
        inside = ((down >= y1) & (down < y2))[:, None] & ((across >= x1) & (across < x2))[None]
        found.append((grown & inside).astype(np.uint8))
    return found


def outline(mask: NDArray[np.uint8], fit: Fit, size_wh: tuple[int, int]) -> Polygon:
    """The outline of the largest piece of `mask` (H, W) of the input, in the photograph; empty for an empty mask.

    The corners lie in the middle of the mask's outer pixels, hence the half.
    """
    import cv2

    pieces: Sequence[NDArray[np.int32]] = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not pieces:
        return ()
    largest = max(pieces, key=lambda piece: (cv2.contourArea(piece), len(piece)))
    points = cv2.approxPolyDP(largest, SLACK, True).reshape(-1, 2).astype(np.float32) + 0.5
    if len(points) < 3:
        return ()
    there = fit.undo(np.concatenate([points, points], 1))[:, :2]
    return tuple(map(tuple, np.clip(there, 0, size_wh).astype(float).tolist()))
