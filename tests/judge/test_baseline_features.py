"""What the baseline measures in boxes: the same in a mirror, the same when enlarged, and something for every box."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.support.datasets import make_photo, make_scene

from toeline.core.taxonomy import Taxonomy
from toeline.judge.baseline.channels import maps
from toeline.judge.baseline.features import measure, measure_names, places, quantiles
from toeline.prompts.relations import mirrored

KINDS = tuple(t.name for t in Taxonomy.load().types)
SCENE = make_scene("slope_drain 20 4 30 70", "rock_toe 0 60 100 80", "vegetation 22 10 40 30", "toe_drain 0 82 100 90")


def smooth(size_wh: tuple[int, int] = (100, 100)) -> Image.Image:
    """A photograph with structure larger than a pixel."""
    return make_photo((25, 25), seed=3).resize(size_wh, Image.Resampling.BICUBIC)


def test_measures_have_the_names_they_say() -> None:
    rows = measure(SCENE, smooth(), KINDS)
    assert rows.shape == (4, len(measure_names(KINDS)))
    assert len(set(measure_names(KINDS))) == len(measure_names(KINDS))
    assert np.isfinite(rows).all()


def test_measures_are_the_same_in_a_mirror() -> None:
    straight, turned = measure(SCENE, smooth(), KINDS), measure(mirrored(SCENE), ImageOps.mirror(smooth()), KINDS)
    assert straight == pytest.approx(turned, abs=1e-5)


def test_places_are_the_same_when_the_photograph_is_enlarged() -> None:
    rows = [f"{t.type_name} {' '.join(str(3 * v) for v in t.box.xyxy)}" for t in SCENE.instances]
    larger = make_scene(*rows, size_wh=(300, 300))
    for small, large in zip(places(SCENE, KINDS), places(larger, KINDS), strict=True):
        assert small == pytest.approx(large)


def test_a_large_photograph_is_measured_at_one_scale() -> None:
    assert maps(make_photo((640, 320))).channels.shape == (11, 160, 320)
    assert maps(make_photo((200, 100))).scale == 1


def test_overlaps_are_told_by_type() -> None:
    drain, stone, plant, _ = places(SCENE, KINDS)
    assert drain["hidden by vegetation"] == pytest.approx(8 * 20 / 660)
    assert plant["hides slope_drain"] == drain["hidden by vegetation"]
    assert stone["hidden by slope_drain"] == pytest.approx(10 * 10 / 2000)
    assert drain["hides toe_drain"] == 0


def test_types_of_another_taxonomy_are_measured() -> None:
    scene = make_scene("pipe 10 10 90 20", "tarpaulin 10 10 50 20")
    names = measure_names(("pipe", "tarpaulin"))
    rows = measure(scene, smooth(), ("pipe", "tarpaulin"))
    assert rows[0, names.index("hidden by tarpaulin")] == pytest.approx(0.5)


def test_only_what_is_asked_for_is_measured() -> None:
    every = measure(SCENE, smooth(), KINDS)
    assert (measure(SCENE, smooth(), KINDS, only={"2", "4"}) == every[[1, 3]]).all()
    assert measure(SCENE, smooth(), KINDS, only=()).shape == (0, every.shape[1])


@pytest.mark.parametrize("box", ["0 0 0 0", "99 99 100 100", "0 0 100 100", "50 0 50 100", "0 99.9 100 100"])
def test_every_box_can_be_measured(box: str) -> None:
    assert np.isfinite(measure(make_scene(f"slope_drain {box}"), smooth(), KINDS)).all()


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 9), (3, 3), (900, 2)])
def test_every_photograph_can_be_measured(size_wh: tuple[int, int]) -> None:
    scene = make_scene(f"slope_drain 0 0 {size_wh[0]} {size_wh[1]}", size_wh=size_wh)
    assert np.isfinite(measure(scene, make_photo(size_wh), KINDS)).all()


def test_greenness_is_seen_inside_against_the_ring() -> None:
    pixels = np.full((100, 100, 3), 128, np.uint8)
    pixels[20:80, 40:60] = (60, 160, 60)
    scene, names = make_scene("slope_drain 40 20 60 80"), measure_names(KINDS)
    (row,) = measure(scene, Image.fromarray(pixels), KINDS)
    assert row[names.index("green part")] == 1
    assert row[names.index("green part of ring")] == 0
    assert row[names.index("green excess against ring")] > 0.5
    assert row[names.index("strip green excess contrast")] > 0.4


@pytest.mark.parametrize("shape", [(1,), (2, 3), (31, 4), (400, 2)])
def test_quantiles_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    assert (quantiles(values, (5, 10, 50, 95)) == np.percentile(values, (5, 10, 50, 95), axis=0)).all()
