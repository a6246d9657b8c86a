"""Large photographs in tiles, with a detector that finds colored rectangles wherever it is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from benchmarks.mosaic import draw_mosaic
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toeline.core.box import Box
from toeline.core.scene import Detection, Instance
from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import Known
from toeline.detect.load import load_detector
from toeline.detect.tiling import FINER, Looks, TiledDetector, Tiling, around, best_side, cut, grid, known_of, tiled
from toeline.detect.views import WHOLE
from toeline.errors import SetupError

COLORS = {"toe_drain": (255, 0, 0), "slope_drain": (0, 255, 0), "rock_toe": (0, 0, 255)}
KNOWN = Known(100, 100, 0.15)
SCORES = {"toe_drain": 0.9, "slope_drain": 0.8, "rock_toe": 0.7}


@dataclass(frozen=True)
class Painted:
    """Finds one rectangle of each color in a view: the box of the pixels of that color."""

    known: Known = KNOWN
    shown: list[tuple[int, int]] = field(default_factory=list)

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        self.shown.extend(image.size for image in images)
        return [[Detection(instance) for instance in self.instances(np.asarray(image))] for image in images]

    def instances(self, pixels: np.ndarray) -> list[Instance]:
        found = []
        for kind, color in COLORS.items():
            rows, columns = np.nonzero((np.abs(pixels.astype(int) - color) < 90).all(-1))
            if len(rows) > 3:
                box = Box(float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0)
                found.append(Instance(str(len(found) + 1), kind, box, SCORES[kind]))
        return found


def painted(size_wh: tuple[int, int], **boxes: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", size_wh)
    for kind, box in boxes.items():
        image.paste(COLORS[kind], box)
    return image


def boxes_of(found: Sequence[Detection]) -> dict[str, tuple[float, ...]]:
    assert len({s.instance.type_name for s in found}) == len(found), "an object was found twice"
    return {s.instance.type_name: s.instance.box.xyxy for s in found}


@settings(deadline=None, max_examples=40)
@given(
    st.integers(60, 140),
    st.integers(0, 30),
    st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(8, 400), st.integers(8, 30)),
)
def test_a_long_drain_is_one_object_wherever_the_tiles_fall(side, overlap, place):
    x, y, wide, high = place
    box = (x, y, min(x + wide, 400), min(y + high, 300))
    found = TiledDetector(Painted(), Tiling(side=side, overlap=overlap)).find([painted((400, 300), toe_drain=box)])[0]
    np.testing.assert_allclose(boxes_of(found)["toe_drain"], box, atol=1.5 + 0.02 * side)


@settings(deadline=None, max_examples=25)
@given(st.integers(80, 140), st.integers(0, 250), st.integers(0, 150), st.integers(8, 250), st.integers(8, 150))
def test_a_wide_object_over_many_tiles_is_one_object(side, x, y, wide, high):
    box = (x, y, min(x + wide, 400), min(y + high, 300))
    found = TiledDetector(Painted(), Tiling(side=side)).find([painted((400, 300), rock_toe=box)])[0]
    np.testing.assert_allclose(boxes_of(found)["rock_toe"], box, atol=8)


def test_types_are_not_joined_with_one_another():
    image = painted((400, 200), toe_drain=(0, 100, 200, 120), slope_drain=(200, 100, 400, 120))
    found = boxes_of(TiledDetector(Painted(), Tiling(side=100)).find([image])[0])
    assert {kind: round(box[0]) for kind, box in found.items()} == {"toe_drain": 0, "slope_drain": 200}


def test_things_are_numbered_by_confidence():
    image = painted((400, 200), rock_toe=(10, 10, 40, 40), toe_drain=(300, 100, 390, 120))
    found = TiledDetector(Painted(), Tiling(side=100)).find([image])[0]
    assert [(s.instance.id, s.instance.type_name) for s in found] == [("1", "toe_drain"), ("2", "rock_toe")]


def test_small_photographs_go_to_the_detector_as_they_are_and_in_order():
    detector = Painted()
    photos = [painted((90, 60)), painted((400, 100), toe_drain=(10, 10, 60, 40)), painted((140, 150))]
    found = TiledDetector(detector, Tiling()).find(photos)
    assert {(90, 60), (140, 150)} <= set(detector.shown)
    assert [len(one) for one in found] == [0, 1, 0]


def test_no_view_is_larger_than_the_detector_needs():
    detector = Painted()
    TiledDetector(detector, Tiling(side=300)).find([painted((1200, 900), toe_drain=(10, 10, 1100, 40))])
    assert max(max(size) for size in detector.shown) == 100


def test_auto_makes_tiles_in_which_objects_have_the_trained_size():
    rng = np.random.default_rng(0)

    def look(windows):  # 400 objects of 90 pixels; those smaller than a tenth of the view are not seen
        places = rng.uniform(0, 6000, (400, 2))
        return [
            [
                Detection(Instance("1", "rock_toe", Box(x, y, x + 90, y + 90)))
                for x, y in places
                if w[0] <= x < w[2] and w[1] <= y < w[3] and w[2] - w[0] < 4500
            ]
            for w in windows
        ]

    assert best_side(look, (6000, 6000), Known(640, 300, 0.15)) == pytest.approx(640, rel=0.1)
    assert best_side(look, (6000, 6000), Known(320, 300, 0.15)) == pytest.approx(FINER * 600, rel=0.1)


def test_auto_leaves_a_photograph_whole_whose_objects_are_as_large_as_trained():
    def look(windows):
        return [[Detection(Instance(str(n), "rock_toe", Box(0, n, 900, n + 900))) for n in range(5)] for _ in windows]

    assert best_side(look, (6000, 4000), Known(640, 640, 0.15)) == 0


def test_auto_does_not_zoom_into_a_photograph_whose_few_objects_only_fall_into_pieces():
    def look(windows):  # two small objects, and one false detection in every view, whatever it shows
        return [[Detection(Instance("1", "rock_toe", Box(w[0], w[1], w[0] + 40, w[1] + 40)))] for w in windows]

    assert best_side(look, (6000, 4000), Known(640, 640, 0.15)) == 0


def test_the_same_window_is_looked_at_once() -> None:
    detector, image = Painted(), painted((400, 300), rock_toe=(10, 10, 60, 60))
    look, (one, other) = Looks(detector, image, 8), ((0, 0, 100, 100), (100, 0, 200, 100))
    first, again, none = look([one, one, other])
    assert (first, none) == (again, [])
    assert boxes_of(first) == {"rock_toe": (10, 10, 60, 60)}
    assert look([other, one]) == [none, first]
    assert len(detector.shown) == 2


def test_auto_looks_behind_large_false_detections_on_the_whole():
    def look(windows):  # nonsense as large as trained on the whole; in smaller windows many small objects
        side = windows[0][2] - windows[0][0]
        size, number = (0.2 * side, 4) if side > 4000 else (100, 6)
        return [
            [Detection(Instance(str(n), "rock_toe", Box(w[0], w[1], w[0] + size, w[1] + size))) for n in range(number)]
            for w in windows
        ]

    assert best_side(look, (6000, 6000), Known(640, 640, 0.15)) == 640


def test_a_detector_that_loses_half_a_drain_in_one_tile_is_shown_it_again():
    @dataclass(frozen=True)
    class Shy(Painted):
        """Does not know a drain of which it is shown less than 30 pixels."""

        def instances(self, pixels: np.ndarray) -> list[Instance]:
            return [t for t in super().instances(pixels) if t.box.width >= 30]

    image = painted((400, 100), toe_drain=(20, 40, 150, 50))
    found = TiledDetector(Shy(), Tiling(side=100, overlap=0)).find([image])[0]
    assert boxes_of(found)["toe_drain"] == pytest.approx((20, 40, 150, 50), abs=4)


def test_windows_about_points_stay_in_the_photograph():
    for window in around([(0, 0), (399, 99), (200, 50)], (400, 100), 150):
        assert window[0] >= 0
        assert window[2] <= 400
        assert (window[1], window[3]) == (0, 100)


def test_auto_goes_to_the_finest_tiles_when_nothing_is_found():
    assert best_side(lambda windows: [[] for _ in windows], (6000, 4000), Known(640, 640, 0.15)) == 640


def test_a_detector_that_knows_nothing_is_taken_at_its_input_size():
    @dataclass(frozen=True)
    class Plain:
        input_px: int = 512

    assert known_of(Plain())[:2] == (512, 512)
    assert known_of(object())[:2] == (640, 640)


def test_the_embedded_detector_knows_its_objects():
    known = known_of(load_detector("embedded", taxonomy=Taxonomy.load()))
    assert known == Known(384, 640, 0.1568)


@pytest.mark.parametrize("words", ["", "big", "10", "640,400", "640,-1", "1,2,3", "640,"])
def test_bad_tiles_are_refused_with_advice(words):
    with pytest.raises(SetupError, match="--tile"):
        Tiling.read(words)


def test_off_is_the_detector_itself():
    detector = Painted()
    assert tiled(detector, "off") is detector


@given(st.integers(1, 900), st.integers(1, 900), st.integers(64, 300), st.integers(0, 32))
def test_tiles_cover_everything_and_share_what_was_asked(wide, high, side, overlap):
    windows = grid((wide, high), side, overlap)
    assert all(0 <= x1 < x2 <= wide and 0 <= y1 < y2 <= high for x1, y1, x2, y2 in windows)
    for low, length in ((0, wide), (1, high)):
        spans = sorted({(w[low], w[low + 2]) for w in windows})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(before[1] - after[0] >= overlap for before, after in pairwise(spans))


def test_a_view_is_read_from_the_photograph_without_a_copy_of_it(monkeypatch):
    photo = Image.new("RGB", (3000, 2000))
    for name in ("copy", "convert", "tobytes"):
        monkeypatch.setattr(photo, name, lambda *_, **__: pytest.fail("the whole photograph was copied"))
    assert cut(photo, (0, 0, 3000, 2000), 640).size == (640, 427)
    assert cut(photo, (100, 100, 500, 500), 640).size == (400, 400)


def test_drawn_mosaics_are_found_in_tiles_as_on_views_of_their_scenes():
    """The quick version of benchmarks/tiles.py: the same measure, sixteen scenes, fixed tiles.

    Half of the scenes are looked at as is shipped, and half by one view, which is a sixth of the work.
    """
    from toeline.evaluate.matching import pair_up

    shipped, in_tiles, in_views = load_detector("embedded", taxonomy=Taxonomy.load()), 0, 0
    for seed, detector in ((3, shipped), (4, shipped.viewed(WHOLE))):
        mosaic = draw_mosaic(seed, size_wh=(2460, 1250), grid=(4, 2), objects=40)
        image, ground_truth = Image.fromarray(mosaic.image), [(o.kind, Box.around(o.polygon)) for o in mosaic.objects]
        seen = TiledDetector(detector, Tiling(side=640)).find([image])[0]
        found = [(s.instance.type_name, s.instance.box) for s in seen]
        pairs = pair_up(found, ground_truth, iou=0.5)
        in_tiles += len(pairs)
        extra = [one for n, one in enumerate(found) if n not in pairs]
        assert not [1 for kind, box in extra if any(k == kind and b.iou(box) >= 0.5 for k, b in ground_truth)]
        for window in mosaic.windows:
            view = detector.find([image.crop(window)])[0]
            on_view = [(s.instance.type_name, _moved(s.instance.box, window)) for s in view]
            in_views += len(pair_up(on_view, ground_truth, iou=0.5))
    assert in_tiles >= 0.9 * in_views > 30


def _moved(box: Box, window: tuple[int, int, int, int]) -> Box:
    x, y = window[:2]
    return Box(box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y)
