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
    photo = np.frombuffer(picture.tobytes(), np.uint8).reshape(high, wide, 3)
    seen_high, seen_wide = scaled_hw((high, wide))
    asked = [t.box.xyxy for t in scene.instances if only is None or t.id in only]
    boxes = np.array(asked).reshape(-1, 4) * np.array([seen_wide / wide, seen_high / high] * 2)
    turned = np.stack([seen_wide - boxes[:, 2], boxes[:, 1], seen_wide - boxes[:, 0], boxes[:, 3]], axis=1)
    straight, mirrored = network.maps(photo), network.maps(photo, mirrored=True)
    return np.asarray((pooled(straight, boxes) + pooled(mirrored, turned)) / 2, np.float32)


def pooled(maps: tuple[Map, ...], boxes: Boxes) -> NDArray[np.float32]:
    """(n, COLUMNS) of boxes (n, 4) in pixels of the scaled photograph, whose maps these are.

    For each map the mean, standard deviation and maximum of the cells of each channel, and how far the mean is from
    that of the surroundings.
    """
    rows = [
        np.concatenate([_pooled(one, box, stride) for one, (stride, _) in zip(maps, MAPS.values(), strict=True)])
        for box in boxes
    ]
    return np.array(rows, np.float32).reshape(-1, COLUMNS)


def _pooled(one: Map, box: Boxes, stride: int) -> NDArray[np.float32]:
    limits = np.array([one.shape[2], one.shape[1]]) * stride
    inner = _at_least(box)
    outer = _grown(inner, limits)
    w, h = inner[2:] - inner[:2]
    cells = align(one, inner / stride, (CELLS, 1) if w > h else (1, CELLS)).reshape(len(one), CELLS)
    around = align(one, outer / stride, (RING_CELLS, RING_CELLS)).mean(axis=(1, 2))
    mean, (inside, whole) = cells.mean(axis=1), (_area(inner), _area(outer))
    ring = (around * whole - mean * inside) / (whole - inside) if whole > inside else mean
    return np.concatenate([mean, cells.std(axis=1), cells.max(axis=1), mean - ring])


def _at_least(box: Boxes) -> Boxes:
    middle, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], LEAST_PX) / 2
    return np.concatenate([middle - half, middle + half])


def _grown(box: Boxes, limits: NDArray[np.int64]) -> Boxes:
    """The box with its surroundings, cut at the frame, but never smaller than the box."""
    beside = np.clip(RING * (box[2:] - box[:2]).min(), LEAST_RING_PX, MOST_RING_PX)
    low, high = np.maximum(box[:2] - beside, 0), np.minimum(box[2:] + beside, limits)
    return np.concatenate([np.minimum(low, box[:2]), np.maximum(high, box[2:])])


def _area(box: Boxes) -> float:
    return float(np.prod(box[2:] - box[:2]))


def align(one: Map, box: Boxes, cells: tuple[int, int]) -> NDArray[np.float32]:
    """(channels, down, across) means of `cells` (across, down) of a box in map pixels: RoIAlign with SAMPLES squared.

    A map pixel's value stands in its middle; outside the map the nearest pixel counts.
    """
    across, columns = _shares(box[0], box[2], cells[0], one.shape[2])
    down, rows = _shares(box[1], box[3], cells[1], one.shape[1])
    part = one[:, rows, columns]
    return np.asarray(down @ (part @ across.T) if cells[0] < cells[1] else (down @ part) @ across.T)


def _shares(low: float, high: float, cells: int, size: int) -> tuple[NDArray[np.float32], slice]:
    """(cells, pixels): what each pixel of one axis counts in each cell, and which pixels of `size` these are: those
    that count. Interpolation in a rectangle is a product of two such, one for each axis."""
    places = low + (high - low) * (np.arange(cells * SAMPLES) + 0.5) / (cells * SAMPLES) - 0.5
    places = np.clip(places, 0, size - 1)
    counted = np.arange(int(places[0]), min(int(places[-1]) + 2, size))
    near = np.maximum(1 - np.abs(places[:, None] - counted), 0)
    shares = near.reshape(cells, SAMPLES, len(counted)).mean(axis=1)
    return np.asarray(shares, np.float32), slice(counted[0], counted[-1] + 1)
