"""Outputs of YOLO networks as rows, turned boxes, masks as outlines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toeline.detect.letterbox import Fit
from toeline.detect.yolo_decode import (
    MOST_ROWS,
    _spread,
    corners,
    finished,
    keep_oriented,
    masks,
    outline,
    prob_iou,
    raw,
)


def said(*places, classes=2, extra=0):
    """(4 + classes + extra, A) from (cx, cy, w, h, scores..., extra...) per place."""
    return np.asarray(places, np.float32).reshape(-1, 4 + classes + extra).T


def test_centers_become_corners_and_the_best_class_counts():
    rows = raw(said((50, 40, 20, 10, 0.3, 0.8)), 2, 0.25, oriented=False)
    assert rows.boxes.tolist() == [[40, 35, 60, 45]]
    assert rows.ids.tolist() == [1]
    assert rows.scores.tolist() == pytest.approx([0.8])


def test_of_alike_boxes_of_one_class_the_best_stays_and_comes_first():
    rows = raw(
        said((50, 50, 20, 20, 0.5, 0), (51, 50, 20, 20, 0.6, 0), (51, 50, 20, 20, 0, 0.4), (90, 50, 20, 20, 0.9, 0)),
        2,
        0.25,
        oriented=False,
    )
    assert rows.scores.tolist() == pytest.approx([0.9, 0.6, 0.4])


def test_what_is_not_sure_enough_is_left_out():
    assert len(raw(said((50, 50, 20, 20, 0.2, 0.1)), 2, 0.25, oriented=False).scores) == 0
    assert len(raw(said(), 2, 0.25, oriented=False).scores) == 0


def test_extra_numbers_stay_with_their_rows():
    rows = raw(said((50, 50, 9, 9, 0.3, 0, 1, 2), (9, 9, 9, 9, 0, 0.7, 3, 4), extra=2), 2, 0.25, oriented=False)
    assert rows.extra.tolist() == [[3, 4], [1, 2]]


def test_rows_are_no_more_than_ultralytics_gives():
    crowd = [(10 * i, 10, 5, 5, 0.5, 0) for i in range(MOST_ROWS + 20)]
    assert len(raw(said(*crowd), 2, 0.25, oriented=False).scores) == MOST_ROWS


def test_finished_rows_are_taken_as_they_are_without_padding():
    rows = finished(np.array([[0, 0, 4, 4, 0.3, 1, 7], [0, 0, 4, 4, 0.9, 1, 8], [0] * 7], np.float32), 0.0)
    assert rows.scores.tolist() == pytest.approx([0.9, 0.3])
    assert rows.extra.tolist() == [[8], [7]]


def test_turned_boxes_that_cross_both_stay_and_alike_ones_do_not():
    cross = said((50, 50, 60, 6, 0.9, 0, 0.0), (50, 50, 60, 6, 0.8, 0, 1.57), (50, 50, 60, 6, 0.7, 0, 0.05), extra=1)
    rows = raw(cross, 2, 0.25, oriented=True)
    assert rows.extra.ravel().tolist() == pytest.approx([0, 1.57])
    assert rows.boxes.tolist() == [[50, 50, 60, 6]] * 2


boxes = st.tuples(*[st.floats(0, 200)] * 2, *[st.floats(2, 100)] * 2, st.floats(-3.2, 3.2)).map(np.array)


@settings(deadline=None)
@given(boxes, boxes)
def test_likeness_is_mutual_and_most_for_the_same_box(one, other):
    pair = np.stack([one, other])
    spread = _spread(pair)
    there, back = (prob_iou(pair[n], spread[n], pair[[1 - n]], spread[[1 - n]])[0] for n in (0, 1))
    assert there == pytest.approx(back, abs=1e-6)
    assert -1e-3 <= there <= 1
    assert prob_iou(pair[0], spread[0], pair[[0]], spread[[0]])[0] > 0.99


@settings(deadline=None)
@given(boxes)
def test_a_box_turned_by_half_a_circle_is_the_same_box(box):
    half = box + np.array([0, 0, 0, 0, np.pi])
    first, second = (set(map(tuple, corners(b[None, :4], b[4:])[0].round(6))) for b in (box, half))
    assert all(min(np.hypot(x - u, y - v) for u, v in second) < 1e-4 for x, y in first)
    assert keep_oriented(np.stack([box, half]), np.zeros(2, np.int64), limit=0.7).tolist() == [0]


def test_a_mask_is_inside_its_box_and_outlined_in_the_photograph():
    prototypes = np.stack([np.full((16, 16), 1, np.float32), np.full((16, 16), -1, np.float32)])
    boxes = np.array([[8, 4, 40, 20], [0, 0, 30, 30]], np.float32)
    full, none = masks(prototypes, np.array([[1, 0], [0, 1]], np.float32), boxes, (64, 64))
    assert full.sum() == 32 * 16
    assert not none.any()
    around = np.array(outline(full, Fit(0.5, 0.5, 0, 4), (128, 112)))
    assert (around.min(0).tolist(), around.max(0).tolist()) == ([17, 1], [79, 31])
    assert outline(none, Fit(1, 1, 0, 0), (64, 64)) == ()


def test_of_several_pieces_the_largest_is_outlined():
    mask = np.zeros((40, 40), np.uint8)
    mask[2:6, 2:6] = mask[10:30, 10:30] = 1
    around = np.array(outline(mask, Fit(1, 1, 0, 0), (40, 40)))
    assert around.min() > 10
    assert around.max() < 30


def test_our_likeness_is_that_of_ultralytics():
    metrics = pytest.importorskip("ultralytics.utils.metrics")
    rng = np.random.default_rng(0)
    some = np.concatenate([rng.uniform(0, 60, (40, 2)), rng.uniform(4, 60, (40, 2)), rng.uniform(-2, 2, (40, 1))], 1)
    theirs = metrics.batch_probiou(some, some).numpy()
    spread = _spread(some)
    ours = np.stack([prob_iou(some[n], spread[n], some, spread) for n in range(len(some))])
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
