"""Features of maps pooled in boxes: against a slow direct way, the same in a mirror, and something for every box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.support.datasets import make_photo, make_scene

from toeline.core.taxonomy import Taxonomy
from toeline.data.feature_maps import MAPS, FeatureNetwork, feature_network, scaled_hw
from toeline.data.pooling import CELLS, COLUMNS, RING_CELLS, SAMPLES, align, pool, pooled
from toeline.judge.baseline.features import columns, measure
from toeline.prompts.relations import mirrored

SCENE = make_scene("slope_drain 20 4 30 70", "rock_toe 0 60 100 80", "vegetation 22 10 40 30", "toe_drain 0 82 100 90")


def random_maps(high: int, wide: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = [(channels, high // stride, wide // stride) for stride, channels in MAPS.values()]
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def at(one: np.ndarray, x: float, y: float) -> np.ndarray:
    """A map between its pixels, whose middles are at 0.5, 1.5 ...; outside of it the nearest pixel counts."""
    x, y = (min(max(v - 0.5, 0), size - 1) for v, size in ((x, one.shape[2]), (y, one.shape[1])))
    left, top = int(x), int(y)
    right, low = min(left + 1, one.shape[2] - 1), min(top + 1, one.shape[1] - 1)
    upper = one[:, top, left] * (1 - (x - left)) + one[:, top, right] * (x - left)
    lower = one[:, low, left] * (1 - (x - left)) + one[:, low, right] * (x - left)
    return np.asarray(upper * (1 - (y - top)) + lower * (y - top))


def slowly(one: np.ndarray, box: tuple[float, ...], across: int, down: int) -> np.ndarray:
    """(channels, cells): RoIAlign, sample by sample."""
    x1, y1, x2, y2 = box
    wide, high = (x2 - x1) / across, (y2 - y1) / down
    steps = [(i + 0.5) / SAMPLES for i in range(SAMPLES)]
    return np.stack(
        [
            np.mean([at(one, x1 + (c + a) * wide, y1 + (r + b) * high) for a in steps for b in steps], axis=0)
            for r in range(down)
            for c in range(across)
        ],
        axis=1,
    )


BOXES = [(3.2, 40.0, 300.7, 61.3), (96.0, 10.5, 107.9, 200.0), (0.0, 0.0, 320.0, 240.0), (300.0, 200.0, 320.0, 240.0)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("cells", [(CELLS, 1), (1, CELLS), (RING_CELLS, RING_CELLS)])
def test_cells_are_those_of_roi_align(box: tuple[float, ...], cells: tuple[int, int]) -> None:
    one = random_maps(240, 320)[0][:3]
    small = np.array([box, (9, 9, 60, 90)]) / 8
    found = align(one, small, cells)
    assert found.shape == (2, 3, cells[1], cells[0])
    for row, place in zip(found, small, strict=True):
        assert row.reshape(3, -1) == pytest.approx(slowly(one, tuple(place), *cells), abs=1e-5)


def test_columns_are_mean_deviation_maximum_and_mean_less_the_rings() -> None:
    maps = random_maps(240, 320)
    (row,) = pooled(maps, np.array([[100.0, 60.0, 140.0, 180.0]]))  # upright, 40 wide: a ring of 30 pixels
    start = 0
    for one, (stride, channels) in zip(maps, MAPS.values(), strict=True):
        cells = slowly(one, (100 / stride, 60 / stride, 140 / stride, 180 / stride), 1, CELLS)
        outer = slowly(one, (70 / stride, 30 / stride, 170 / stride, 210 / stride), RING_CELLS, RING_CELLS)
        inside, whole = 40 * 120, 100 * 180
        ring = (outer.mean(axis=1) * whole - cells.mean(axis=1) * inside) / (whole - inside)
        expected = [cells.mean(axis=1), cells.std(axis=1), cells.max(axis=1), cells.mean(axis=1) - ring]
        assert row[start : start + 4 * channels] == pytest.approx(np.concatenate(expected), abs=1e-4)
        start += 4 * channels
    assert start == len(row) == COLUMNS == 928


def test_boxes_do_not_change_each_others_columns() -> None:
    maps, boxes = random_maps(240, 320), np.array([*BOXES, (50.0, 60.0, 50.1, 60.1), (0.0, 0.0, 320.0, 240.0)])
    assert (pooled(maps, boxes) == np.concatenate([pooled(maps, box[None]) for box in boxes])).all()


def test_surroundings_end_at_the_frame() -> None:
    maps = random_maps(240, 320)
    whole, corner = pooled(maps, np.array([[0.0, 0.0, 320.0, 240.0], [280.0, 220.0, 320.0, 240.0]]))
    channels = MAPS["stride_8"][1]
    assert whole[3 * channels : 4 * channels] == pytest.approx(0, abs=1e-6)  # it has none
    outer = slowly(maps[0], (265 / 8, 205 / 8, 40, 30), RING_CELLS, RING_CELLS).mean(axis=1)
    ring = (outer * 55 * 35 - corner[:channels] * 40 * 20) / (55 * 35 - 40 * 20)
    assert corner[3 * channels : 4 * channels] == pytest.approx(corner[:channels] - ring, abs=1e-4)


def test_features_are_the_same_in_a_mirror() -> None:
    photo = make_photo((25, 25), seed=3).resize((100, 100), Image.Resampling.BICUBIC)
    straight = pool(SCENE, photo, feature_network())
    turned = pool(mirrored(SCENE), ImageOps.mirror(photo), feature_network())
    assert straight.shape == (4, COLUMNS)
    assert straight.std(axis=0).min() > 0
    assert straight == pytest.approx(turned, abs=0.01 * float(straight.std()))


@dataclass(frozen=True)
class Flat:
    """A network whose maps tell where they are: the first channel is the column, in pixels of the scaled photograph."""

    session: None = None
    sha256: str = ""

    def maps(self, photo: Image.Image, *, mirrored: bool = False) -> tuple[np.ndarray, ...]:
        high, wide = scaled_hw((photo.height, photo.width))
        found = []
        for stride, channels in MAPS.values():
            columns = (np.arange(wide // stride) + 0.5) * stride
            columns = wide - columns if mirrored else columns
            found.append(np.broadcast_to(columns, (channels, high // stride, wide // stride)).astype(np.float32))
        return tuple(found)


def test_boxes_are_found_in_the_scaled_photograph() -> None:
    network: FeatureNetwork = Flat()  # type: ignore[assignment]
    scene = make_scene("slope_drain 100 20 140 120", size_wh=(200, 150))
    (row,) = pool(scene, make_photo((200, 150)), network)
    assert row[0] == pytest.approx(120 * 640 / 200, abs=0.01)  # the middle of the box, from both sides


@pytest.mark.parametrize("box", ["0 0 0 0", "99 99 100 100", "0 0 100 100", "50 0 50 100", "0 99.9 100 100"])
def test_every_box_can_be_pooled(box: str) -> None:
    assert np.isfinite(pool(make_scene(f"slope_drain {box}"), make_photo((100, 100)), feature_network())).all()


def test_measures_come_first_and_only_what_is_asked_for() -> None:
    kinds, photo = tuple(t.name for t in Taxonomy.load().types), make_photo((100, 100))
    every = columns(SCENE, photo, kinds, feature_network())
    measures = measure(SCENE, photo, kinds)
    assert (every[:, : measures.shape[1]] == measures).all()
    assert (columns(SCENE, photo, kinds, feature_network(), only={"2", "4"}) == every[[1, 3]]).all()
    assert (columns(SCENE, photo, kinds, None) == measures).all()
    assert columns(SCENE, photo, kinds, feature_network(), only=()).shape == (0, every.shape[1])
