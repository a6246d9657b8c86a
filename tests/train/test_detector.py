"""What the detector is trained and measured on: views, boxes that the frame cuts, average precision, thresholds."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toeline.core.box import Box
from toeline.core.polygon import part_inside
from toeline.core.scene import Instance
from toeline.errors import OutputError
from toeline.evaluate.average_precision import Found, average_precision, best_thresholds, precision_record, precisions
from toeline.train.config import DetectorRun
from toeline.train.detector import learning_rate
from toeline.train.detector_backends import OwnLearner
from toeline.train.detector_data import (
    AugmentedView,
    Sample,
    ScenePool,
    Views,
    fill_pool,
    look,
    random_view,
    seen_boxes,
)

points = st.tuples(st.floats(-60, 160), st.floats(-60, 160))


def square(x, y, side, kind=0):
    return kind, np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)


@settings(deadline=None, max_examples=150)
@given(st.lists(points, min_size=3, max_size=3))
def test_the_box_of_a_cut_triangle_is_the_box_of_its_points_in_the_frame(corners):
    triangle = np.asarray(corners, np.float32)
    a, b = np.mgrid[0:1:41j, 0:1:41j].reshape(2, -1)
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    dense = triangle[0] + a[:, None] * (triangle[1] - triangle[0]) + b[:, None] * (triangle[2] - triangle[0])
    inside = dense[((dense >= 0) & (dense <= 100)).all(1)]
    box = part_inside(triangle, 100)
    if len(inside):
        assert box is not None
        assert (inside.min(0) >= np.subtract(box[:2], 1e-3)).all()
        assert (inside.max(0) <= np.add(box[2:], 1e-3)).all()
    if box is not None:
        assert 0 <= box[0] <= box[2] <= 100
        assert 0 <= box[1] <= box[3] <= 100


def test_a_slanting_drain_keeps_a_tight_box_where_the_frame_cuts_it():
    drain = np.array([[0, 0], [200, 100], [200, 110], [0, 10]], np.float32)
    assert part_inside(drain, 100) == pytest.approx((0, 0, 100, 60))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_label_stays_on_its_pixels_in_every_view(seed, strength):
    picture = Image.new("RGB", (200, 200))
    picture.paste((255, 255, 255), (70, 90, 130, 120))
    block = np.array([[70, 90], [130, 90], [130, 120], [70, 120]], np.float32)
    view = random_view(np.random.default_rng(seed), 200, 200, strength)
    (box,) = seen_boxes([(2, block)], view, 160) if len(seen_boxes([(2, block)], view, 160)) else (None,)
    rows, columns = np.nonzero(np.asarray(look(picture, view, 160))[..., 0] > 180)
    if box is not None and len(rows):
        seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_allclose(box[1:], seen, atol=2.1)
        assert box[0] == 2


def test_a_view_never_turns_the_slope_upside_down():
    picture = Image.new("RGB", (100, 100))
    picture.paste((255, 255, 255), (0, 0, 100, 50))
    for seed in range(20):
        seen = np.asarray(look(picture, random_view(np.random.default_rng(seed), 100, 100, 1.0), 64))[..., 0]
        upper = np.flatnonzero((seen == 255).any(1))
        assert len(upper) == 0 or not (seen[upper[-1] + 1 :] == 255).any()


def test_what_is_hardly_in_view_is_no_label():
    whole = AugmentedView(0, 0, 100, 100)
    assert len(seen_boxes([square(-95, 10, 100)], whole, 100)) == 0  # a twentieth of it
    assert len(seen_boxes([square(-70, 10, 100)], whole, 100)) == 1
    assert len(seen_boxes([square(10, 10, 2)], whole, 100)) == 0  # thinner than a label can be


def test_a_batch_holds_pictures_and_labels_as_shares():
    torch = pytest.importorskip("torch")
    blank = np.zeros((80, 80, 3), np.uint8)
    samples = [Sample(blank, []), Sample(blank, [square(20, 20, 40, kind=3), square(0, 0, 10, kind=1)])]
    views = Views(samples, np.arange(2), 64, seed=0, strength=0.0)
    batch = OwnLearner(None, 64, (), "cpu").batch([views.view(0), views.view(1)])
    assert batch["input"].shape == (2, 3, 64, 64)
    assert batch["input"].is_contiguous(memory_format=torch.channels_last)
    assert batch["labels"].shape == (2, 2, 5)
    assert not batch["labels"][0].any()
    np.testing.assert_allclose(batch["labels"][1, 0], (3, 0.25, 0.25, 0.75, 0.75), atol=1e-6)


def test_the_pool_is_what_was_drawn_and_refuses_to_grow(tmp_path: Path):
    pool = ScenePool(tmp_path)
    np.save(tmp_path / "scenes.npy", np.full((2, 4, 4, 3), 7, np.uint8))
    pool.lines.write_text("".join(json.dumps([[1, [[0, 0], [2, 0], [2, 3]]]]) + "\n" for _ in range(2)))
    (first, _) = fill_pool(tmp_path, scenes=2, seed=5).read()
    assert (first.pixels == 7).all()
    assert first.objects[0][1].shape == (3, 2)
    with pytest.raises(OutputError, match="begun for 2 scenes, not 3"):
        fill_pool(tmp_path, scenes=3, seed=5)


def test_the_learning_rate_follows_the_steps_or_the_clock_whichever_is_further():
    run = DetectorRun(out=Path(), steps=1000, warmup=10, minutes=10)
    assert learning_rate(0, run, 0) == pytest.approx(0.1, rel=0.01)
    assert learning_rate(10, run, 0) > 0.99
    assert learning_rate(1000, run, 0) == pytest.approx(0.02)
    assert learning_rate(10, run, 600) == pytest.approx(0.02)
    assert learning_rate(500, run, 60) == pytest.approx(learning_rate(10, run, 300), rel=1e-3)


TRUTH = [np.array([[0, 0, 0, 10, 10], [1, 20, 20, 60, 30]], np.float32), np.array([[0, 5, 5, 15, 15]], np.float32)]


def found(*rows):
    table = np.asarray(rows, np.float32).reshape(-1, 6)
    return Found(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def test_thresholds_are_where_f1_is_best():
    seen = [
        found((0, 0.9, 0, 0, 10, 10), (0, 0.2, 50, 50, 60, 60), (1, 0.6, 20, 20, 60, 31)),
        found((0, 0.5, 5, 5, 15, 16), (0, 0.4, 5, 5, 15, 15)),  # the second is a duplicate
    ]
    best = best_thresholds(seen, TRUTH, ("toe_drain", "rock_toe"))
    assert best["toe_drain"] == pytest.approx((0.5, 1.0, 1.0))
    assert best["rock_toe"] == pytest.approx((0.6, 1.0, 1.0))


def test_a_type_never_found_gets_a_middling_threshold_and_no_recall():
    assert best_thresholds([found(), found()], TRUTH, ("toe_drain",))["toe_drain"] == (0.5, 0.0, 0.0)


KINDS = ("toe_drain", "rock_toe", "slope_drain")


def test_average_precision_of_known_cases():
    pytest.importorskip("pycocotools")
    perfect = [found((0, 0.9, 0, 0, 10, 10), (1, 0.8, 20, 20, 60, 30)), found((0, 0.7, 5, 5, 15, 15))]
    assert average_precision(perfect, TRUTH, KINDS[:2]).map_50 == pytest.approx(1.0)
    half = [found((1, 0.8, 20, 20, 60, 30)), found((0, 0.7, 5, 5, 15, 15))]
    at_50 = average_precision(half, TRUTH, KINDS[:2]).at_50
    assert at_50.tolist() == pytest.approx([51 / 101, 1.0])  # 101 recall points, COCO
    assert average_precision([found(), found()], TRUTH, KINDS[:2]).map_50 == 0


def test_a_type_that_does_not_occur_is_left_out_of_the_log_as_of_the_report():
    pytest.importorskip("pycocotools")
    seen = [found((0, 0.9, 0, 0, 10, 10), (2, 0.9, 0, 0, 10, 10)), found((0, 0.7, 5, 5, 15, 15))]
    ground_truth = [rows[rows[:, 0] == 0] for rows in TRUTH]
    log = average_precision(seen, ground_truth, KINDS)
    assert precision_record(log) == {
        "map_50": 1.0,
        "map_50_95": 1.0,
        "ap_50": {"toe_drain": 1.0, "rock_toe": None, "slope_drain": None},
    }
    assert str(log) == "mAP@0.5 1.0000 (1.000 - -), mAP@0.5:0.95 1.0000"
    assert precision_record(average_precision([found(), found()], ground_truth, KINDS))["map_50"] == 0


def random_pictures(seed):
    """Boxes with equal scores, more than count on one picture, and a type that may be absent; pictures may be empty."""
    rng = np.random.default_rng(seed)
    seen, ground_truth = [], []
    for _ in range(4):
        there = rng.integers(0, 40, (rng.integers(0, 5), 5)).astype(np.float32)
        there[:, 0] = rng.integers(0, rng.integers(1, 4), len(there))
        there[:, 3:] = there[:, 1:3] + rng.integers(6, 16, (len(there), 2))
        loose = there[rng.integers(0, len(there), 4 * len(there))] if len(there) else there
        false = np.full((rng.choice([0, 5, 110]), 5), rng.integers(0, 3), float)
        false[:, 1:3] = rng.uniform(0, 40, (len(false), 2))
        false[:, 3:] = false[:, 1:3] + 9
        rows = np.vstack([loose + np.where(np.arange(5) > 0, rng.normal(0, 1), 0), false])
        scores = np.round(rng.uniform(0.1, 1, len(rows)), 1)
        seen.append(found(*np.column_stack([rows[:, 0], scores, rows[:, 1:]])))
        ground_truth.append(there)
    return seen, ground_truth


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_the_log_says_to_the_digit_what_the_report_says_of_the_same_boxes(seed):
    pytest.importorskip("pycocotools")
    seen, ground_truth = random_pictures(seed)
    boxes = [zip(o.boxes.tolist(), o.scores.tolist(), o.kinds, strict=True) for o in seen]
    instances = [[Instance("1", KINDS[k], Box(*box), s) for box, s, k in rows] for rows in boxes]
    true = [[Instance("1", KINDS[int(k)], Box(*box)) for k, *box in rows.tolist()] for rows in ground_truth]
    report = precisions(instances, true, KINDS, [str(i) for i in range(len(true))], draws=10)
    log = average_precision(seen, ground_truth, KINDS)
    assert str(log) == str(report)
    np.testing.assert_array_equal([log.map_50, log.map_50_95], [report.map_50, report.map_50_95])
    np.testing.assert_array_equal(log.at_50, report.at_50)
    np.testing.assert_array_equal(log.at_50_95, report.at_50_95)
