"""Detections of several windows put together: boxes only."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from toeline.core.box import Box
from toeline.core.scene import Detection, Instance
from toeline.detect.tile_merge import TileView, join
from toeline.detect.tiling import grid

SIZE, SIDE, OVERLAP = (1000, 600), 400, 100


def seen(kind: str, *xyxy: float, score: float = 0.8, name: str = "") -> Detection:
    return Detection(Instance("1", kind, Box(*xyxy), score), name)


def looks(*found: list[Detection]) -> list[TileView]:
    """Four windows 400 x 400: 0 and 300..700, 600..1000 across would be three; see `grid`."""
    windows = grid(SIZE, SIDE, OVERLAP)
    given = [*found, *([] for _ in windows[len(found) :])]
    return [TileView(Box(*map(float, w)), tuple(f)) for w, f in zip(windows, given, strict=True)]


def boxes(found: list[Detection]) -> list[tuple[float, ...]]:
    return [s.instance.box.xyxy for s in found]


def test_the_windows_of_these_tests():
    assert grid(SIZE, SIDE, OVERLAP)[:3] == [(0, 0, 400, 400), (300, 0, 700, 400), (600, 0, 1000, 400)]


def test_the_window_that_sees_it_whole_is_believed():
    cut, whole = seen("rock_toe", 320, 100, 400, 150, score=0.9), seen("rock_toe", 320, 100, 450, 150, score=0.5)
    assert boxes(join(looks([cut], [whole]), [], SIZE, overlap=OVERLAP)) == [(320, 100, 450, 150)]


def test_a_cut_piece_that_the_next_window_shows_whole_and_does_not_find_is_dropped():
    assert join(looks([seen("rock_toe", 350, 100, 400, 150)], []), [], SIZE, overlap=OVERLAP) == []


def test_a_drain_through_three_windows_is_one_with_the_mean_confidence():
    row = [
        [seen("toe_drain", 50, 200, 400, 240, score=0.9)],
        [seen("toe_drain", 300, 205, 700, 250, score=0.6)],
        [seen("toe_drain", 600, 210, 1000, 255, score=0.6)],
    ]
    (one,) = join(looks(*row), [], SIZE, overlap=OVERLAP)
    assert one.instance.box.xyxy == (50, 200, 1000, 255)
    assert 0.6 < one.instance.score < 0.9


def test_two_drains_side_by_side_stay_two():
    row = [[seen("toe_drain", 50, y, 400, y + 30), seen("toe_drain", 50, y + 40, 400, y + 70)] for y in (100,)] + [
        [seen("toe_drain", 300, y, 640, y + 30), seen("toe_drain", 300, y + 40, 640, y + 70)] for y in (102,)
    ]
    found = join(looks(*row), [], SIZE, overlap=OVERLAP)
    assert sorted(boxes(found)) == [(50, 100, 640, 132), (50, 140, 640, 172)]


def test_what_one_window_saw_as_two_stays_two():
    inner, outer = seen("vegetation", 100, 100, 150, 150), seen("vegetation", 90, 90, 250, 250)
    assert len(join(looks([inner, outer]), [], SIZE, overlap=OVERLAP)) == 2


def test_other_types_are_left_alone():
    row = [[seen("toe_drain", 50, 200, 400, 240)], [seen("rock_toe", 300, 200, 690, 240)]]
    assert len(join(looks(*row), [], SIZE, overlap=OVERLAP)) == 2


def test_an_object_larger_than_a_tile_comes_from_the_whole_photograph():
    large, small = seen("vegetation", 100, 50, 900, 500), seen("vegetation", 10, 10, 60, 60)
    assert boxes(join(looks(), [large, small], SIZE, overlap=OVERLAP)) == [(100, 50, 900, 500)]


def test_pieces_with_a_gap_are_bound_by_what_the_whole_photograph_shows():
    row = [[seen("toe_drain", 50, 200, 400, 240)], [], [seen("toe_drain", 600, 210, 990, 250)]]
    found = join(looks(*row), [seen("toe_drain", 40, 190, 1000, 270)], SIZE, overlap=OVERLAP)
    assert boxes(found) == [(40, 200, 1000, 250)]


def test_the_class_and_the_outline_of_a_joined_object():
    first = Detection(Instance("1", "toe_drain", Box(50, 200, 400, 240), 0.9, ((50, 200), (400, 200), (400, 240))), "a")
    second = seen("toe_drain", 300, 200, 500, 240, name="b")
    (one,) = join(looks([first], [second]), [], SIZE, overlap=OVERLAP)
    assert (one.class_name, one.instance.polygon) == ("a", ())


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_perfect_detector_gives_every_object_once(data):
    """Objects of one type in cells of their own, seen by each window as far as it reaches; slivers are not seen."""
    ground_truth = []
    for column, row in data.draw(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=10)):
        x, y = 200 * column + data.draw(st.integers(5, 40)), 200 * row + data.draw(st.integers(5, 40))
        ground_truth.append(Box(x, y, x + data.draw(st.integers(20, 150)), y + data.draw(st.integers(20, 150))))
    shown = []
    for window in grid(SIZE, SIDE, OVERLAP):
        frame = Box(*map(float, window))
        parts = [
            Box(max(b.x1, frame.x1), max(b.y1, frame.y1), min(b.x2, frame.x2), min(b.y2, frame.y2))
            for b in ground_truth
            if b.intersection(frame) > 0.05 * b.area
        ]
        shown.append(TileView(frame, tuple(seen("rock_toe", *part.xyxy) for part in parts)))
    found = join(shown, [], SIZE, overlap=OVERLAP)
    assert len(found) == len(ground_truth)
    for box in ground_truth:
        assert max((box.iou(s.instance.box) for s in found), default=0) > 0.85
