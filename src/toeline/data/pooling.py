"""The maps of the feature network, pooled in boxes: one row of numbers per object."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from toeline.core.question import Picture
from toeline.core.scene import Scene
from toeline.data.feature_maps import MAPS, FeatureNetwork, Map, scaled_hw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]  # (n, 4) x1, y1, x2, y2

CELLS = 8  # along the long axis of a box, one across
RING_CELLS = 4  # each way, of the box with its surroundings
SAMPLES = 4  # positions in a cell, each way, between which maps are interpolated
LEAST_PX = 2  # a box is at least this wide and high; this and the next in pixels of the scaled photograph
RING, LEAST_RING_PX, MOST_RING_PX = 0.75, 12, 60  # width of the surroundings: a share of the short side, within these
COLUMNS = 4 * sum(channels for _, channels in MAPS.values())


def pool(
    scene: Scene, picture: Picture, network: FeatureNetwork, *, only: Collection[str] | None = None
) -> NDArray[np.float32]:
    """(n, COLUMNS): a row for each instance of the scene, or for those whose ids are in `only`, in the scene's order.

    `picture` is the whole photograph. A row is the mean of what is pooled in it and in its mirror image, so that it is
    the same for both.
    """
    wide, high = picture.size
    seen_high, seen_wide = scaled_hw((high, wide))
    asked = [t.box.xyxy for t in scene.instances if only is None or t.id in only]
    boxes = np.array(asked).reshape(-1, 4) * np.array([seen_wide / wide, seen_high / high] * 2)
    turned = np.stack([seen_wide - boxes[:, 2], boxes[:, 1], seen_wide - boxes[:, 0], boxes[:, 3]], axis=1)
    straight, mirrored = network.maps(picture), network.maps(picture, mirrored=True)
    return np.asarray((pooled(straight, boxes) + pooled(mirrored, turned)) / 2, np.float32)


def pooled(maps: tuple[Map, ...], boxes: Boxes) -> NDArray[np.float32]:
    """(n, COLUMNS) of boxes (n, 4) in pixels of the scaled photograph, whose maps these are.

    For each map the mean, standard deviation and maximum of the cells of each channel, and how far the mean is from
    that of the surroundings.
    """
    parts = [_pooled(one, boxes, stride) for one, (stride, _) in zip(maps, MAPS.values(), strict=True)]
    return np.concatenate(parts, axis=1)


def _pooled(one: Map, boxes: Boxes, stride: int) -> NDArray[np.float32]:
    """(n, 4 channels) of one map."""
    inner = _at_least(boxes)
    outer = _grown(inner, np.array([one.shape[2], one.shape[1]]) * stride)
    cells = np.empty((len(boxes), len(one), CELLS), np.float32)
    along = (inner[:, 2] - inner[:, 0]) > (inner[:, 3] - inner[:, 1])
    for rows, shape in ((along, (CELLS, 1)), (~along, (1, CELLS))):
        cells[rows] = align(one, inner[rows] / stride, shape).reshape(-1, len(one), CELLS)
    around = align(one, outer / stride, (RING_CELLS, RING_CELLS)).mean(axis=(2, 3))
    mean, own, all_of_it = cells.mean(axis=2), _area(inner), _area(outer)
    wider, beside = all_of_it > own, np.maximum(all_of_it - own, 1e-9).astype(np.float32)
    ring = (around * all_of_it.astype(np.float32) - mean * own.astype(np.float32)) / beside
    return np.concatenate([mean, cells.std(axis=2), cells.max(axis=2), np.where(wider, mean - ring, 0)], axis=1)


def _at_least(boxes: Boxes) -> Boxes:
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], LEAST_PX) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _grown(boxes: Boxes, limits: NDArray[np.int64]) -> Boxes:
    """The boxes with their surroundings, cut at the frame, but never smaller than the box."""
    low, high = boxes[:, :2], boxes[:, 2:]
    beside = np.clip(RING * (high - low).min(axis=1, keepdims=True), LEAST_RING_PX, MOST_RING_PX)
    cut = np.maximum(low - beside, 0), np.minimum(high + beside, limits)
    return np.concatenate([np.minimum(cut[0], low), np.maximum(cut[1], high)], axis=1)


def _area(boxes: Boxes) -> NDArray[np.float64]:
    """(n, 1)"""
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True))


def align(one: Map, boxes: Boxes, cells: tuple[int, int]) -> NDArray[np.float32]:
    """(n, channels, down, across) means of `cells` (across, down) of boxes in map pixels: RoIAlign, SAMPLES squared.

    A map pixel's value stands in its middle; outside the map the nearest pixel counts. Interpolation in a rectangle is
    a product of two, one for each axis.
    """
    across, columns = _shares(boxes[:, 0], boxes[:, 2], cells[0], one.shape[2])
    down, rows = _shares(boxes[:, 1], boxes[:, 3], cells[1], one.shape[1])
    found = np.empty((len(boxes), len(one), cells[1], cells[0]), np.float32)
    for n, (row, column) in enumerate(zip(rows, columns, strict=True)):
        part, by_row, by_column = one[:, row, column], down[n, :, row], across[n, :, column].T
        found[n] = by_row @ (part @ by_column) if cells[0] < cells[1] else (by_row @ part) @ by_column
    return found


def _shares(
    low: NDArray[np.float64], high: NDArray[np.float64], cells: int, size: int
) -> tuple[NDArray[np.float32], list[slice]]:
    """(n, cells, size) what each pixel of an axis counts in each cell of each box, and which pixels count there."""
    steps = (np.arange(cells * SAMPLES) + 0.5) / (cells * SAMPLES)
    places = np.clip(low[:, None] + (high - low)[:, None] * steps - 0.5, 0, size - 1)
    near = np.maximum(1 - np.abs(places[:, :, None] - np.arange(size)), 0)
    shares = near.reshape(len(low), cells, SAMPLES, size).mean(axis=2)
    first, last = places[:, 0].astype(int), np.minimum(places[:, -1].astype(int) + 2, size)
    return np.asarray(shares, np.float32), [slice(*ends) for ends in zip(first.tolist(), last.tolist(), strict=True)]
