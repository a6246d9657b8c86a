"""Photographs in a network's input and back: nothing may shift, not by half a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from toeline.detect.letterbox import fit_into, letterbox, planes, to_multiple

sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@settings(deadline=None)
@given(sizes, st.sampled_from([(640, 640), (320, 320), (384, 640)]), st.sampled_from([0, 32]))
def test_the_photograph_fits_and_its_corners_come_back(size_wh, input_hw, stride):
    fit, (rows, columns) = fit_into(size_wh, input_hw, stride=stride)
    right, bottom = fit.left + size_wh[0] * fit.across, fit.top + size_wh[1] * fit.down
    assert min(fit.left, fit.top) >= 0
    assert right <= columns + 1e-6
    assert bottom <= rows + 1e-6
    if stride:
        assert (rows % stride, columns % stride) == (0, 0)
        assert columns - right + fit.left < stride + 1
        assert rows - bottom + fit.top < stride + 1
    else:
        assert (rows, columns) == input_hw
    corners = np.array([[fit.left, fit.top, right, bottom]], np.float32)
    np.testing.assert_allclose(fit.undo(corners)[0], (0, 0, *size_wh), atol=1e-3 * max(size_wh))


@pytest.mark.parametrize(
    ("size_wh", "stride", "left", "top", "input_hw"),
    [
        ((640, 640), 32, 0, 0, (640, 640)),
        ((1000, 417), 32, 0, 10, (288, 640)),  # 267 rows and 21 of margin: 10 above, 11 below
        ((1000, 417), 0, 0, 186, (640, 640)),
        ((417, 1000), 32, 10, 0, (640, 288)),
        ((100, 50), 0, 0, 160, (640, 640)),  # small photographs are enlarged
        ((5000, 3), 32, 0, 15, (32, 640)),  # a thin one keeps a row: 31 of margin, 15 above, 16 below
    ],
)
def test_margins_are_split_as_ultralytics_splits_them(size_wh, stride, left, top, input_hw):
    fit, laid_hw = fit_into(size_wh, (640, 640), stride=stride)
    assert (fit.left, fit.top, laid_hw) == (left, top, input_hw)


def test_pixels_lie_where_the_fit_says_between_grays():
    photo = Image.new("RGB", (800, 400))
    photo.paste((255, 0, 0), (600, 100, 700, 200))
    laid, fit = letterbox(photo, (320, 320), stride=32)
    assert laid.shape == (160, 320, 3)
    square, fit = letterbox(photo, (320, 320))
    assert (square[:80] == 114).all()
    assert (square[240:] == 114).all()
    rows, columns = np.nonzero((square[..., 0] > 127) & (square[..., 1] < 64))
    seen = fit.undo(np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32))[0]
    np.testing.assert_allclose(seen, (600, 100, 700, 200), atol=1.3)


def test_planes_are_red_green_blue_from_0_to_1():
    said = planes(np.array([[[255, 51, 0]]], np.uint8))
    assert said.shape == (3, 1, 1)
    assert said.dtype == np.float32
    np.testing.assert_allclose(said.ravel(), (1, 0.2, 0))


def test_sides_grow_to_the_next_multiple():
    assert to_multiple((640, 641), 32) == (640, 672)


@pytest.mark.parametrize("rect", [True, False])
@pytest.mark.parametrize("size_wh", [(640, 640), (333, 250), (1000, 417), (417, 1001), (37, 900), (2000, 1999)])
def test_the_pixels_are_those_of_ultralytics(size_wh, rect):
    LetterBox = pytest.importorskip("ultralytics.data.augment").LetterBox
    pixels = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    theirs = LetterBox((320, 320), auto=rect, stride=32)(image=pixels)
    ours, _ = letterbox(Image.fromarray(pixels), (320, 320), stride=32 if rect else 0)
    np.testing.assert_array_equal(ours, theirs)
