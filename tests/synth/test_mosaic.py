"""Large drawn photographs: everything covered, the truth where the paint is, the same bytes again."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.mosaic import draw_mosaic

from toeline.synth.dataset import scene_seed
from toeline.synth.scene import draw


def test_the_same_arguments_draw_the_same_bytes():
    one, two = (draw_mosaic(2, size_wh=(300, 170), grid=(2, 1)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    assert one.objects == two.objects


def test_scenes_cover_the_picture_and_keep_their_pixels_where_nothing_fades():
    mosaic = draw_mosaic(2, size_wh=(300, 300), grid=(2, 2))
    covered = np.zeros((300, 300), bool)
    for x1, y1, x2, y2 in mosaic.windows:
        covered[y1:y2, x1:x2] = True
    assert covered.all()
    scene = draw(scene_seed(2, 3), size=mosaic.side).image
    x, y = mosaic.windows[3][:2]
    middle = slice(40, 100)
    np.testing.assert_array_equal(mosaic.image[y : y + 200, x : x + 200][middle, middle], scene[middle, middle])


@pytest.mark.parametrize("wanted", [12, 20])
def test_scenes_are_chosen_for_the_number_of_objects(wanted):
    mosaic = draw_mosaic(4, size_wh=(480, 330), grid=(3, 2), objects=wanted)
    assert wanted - 2 <= len(mosaic.objects) <= wanted
    corners = np.concatenate([np.asarray(o.polygon) for o in mosaic.objects])
    assert corners.min() >= 0
    assert (corners <= (480, 330)).all()
