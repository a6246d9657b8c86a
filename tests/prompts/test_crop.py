"""Crops keep their aspect, stay in their budget, and show the object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from toeline.core.box import Box
from toeline.core.question import PromptBudget
from toeline.prompts.crop import cut, framed, grid, whole, window

sides = st.floats(1, 20_000)


@given(sides, sides, st.integers(1, 600), st.floats(0.1, 8))
def test_a_grid_stays_in_its_budget(wide, high, most, limit):
    cols, rows = grid(wide, high, cell=28, most=most, scale_limit=limit)
    assert cols >= 1
    assert rows >= 1
    assert cols * rows <= most


@given(st.floats(0, 1800), st.floats(0, 1800), st.floats(5, 200), st.floats(5, 200))
def test_nothing_is_stretched_where_the_frame_leaves_room(x, y, wide, high):
    box = Box(x, y, x + wide, y + high)
    seen, (cols, rows) = framed(box, (2000, 2000), PromptBudget(crop_tokens=48))
    assert seen.x1 <= box.x1
    assert seen.x2 >= box.x2
    assert seen.width / seen.height == pytest.approx(cols / rows)


@given(st.floats(-50, 700), st.floats(-50, 700), st.floats(0, 700), st.floats(0, 700), st.floats(0, 1))
def test_a_window_is_inside_the_frame_and_not_empty(x, y, wide, high, margin):
    seen = window(Box(x, y, x + wide, y + high), (640, 480), margin=margin)
    assert 0 <= seen.x1 < seen.x2 <= 640
    assert 0 <= seen.y1 < seen.y2 <= 480


def test_a_crop_shows_the_object_with_its_surroundings():
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[200:420, 300:330] = 255
    crop = np.asarray(cut(Image.fromarray(pixels), Box(300, 200, 330, 420), PromptBudget(crop_tokens=64)))
    assert crop.shape[0] % 28 == crop.shape[1] % 28 == 0
    assert crop[crop.shape[0] // 2, crop.shape[1] // 2].min() > 250
    assert crop[:3].max() < 5
    assert crop[:, :3].max() < 5


@pytest.mark.parametrize("size", [(312, 312), (640, 640), (4000, 3000)])
def test_one_place_looks_alike_in_photographs_of_any_resolution(size):
    box = Box(0.4 * size[0], 0.3 * size[1], 0.45 * size[0], 0.7 * size[1])
    crop = cut(Image.new("RGB", size), box, PromptBudget(crop_tokens=24, detail_px=2048))
    assert crop.size[0] // 28 * (crop.size[1] // 28) in range(15, 25)


def test_the_whole_photograph_fits_the_view():
    shown = whole(Image.new("RGB", (4000, 3000)), PromptBudget(scene_tokens=100))
    assert shown.size == (11 * 28, 9 * 28)


def test_a_single_pixel_can_be_asked_about():
    assert cut(Image.new("RGB", (1, 1)), Box(0, 0, 1, 1), PromptBudget()).size == (28 * 8, 28 * 8)


def test_a_thin_drain_of_a_large_photograph_is_not_lost_among_its_neighbors():
    small, large = (window(Box(300, 300, 312, 400), (size, size), margin=0.0) for size in (640, 6000))
    assert small.width == pytest.approx(12 + 2 * 0.012 * 640 * 2**0.5)
    assert large == small
    wide = window(Box(3000, 3000, 3400, 3400), (6000, 6000), margin=0.0)
    assert wide.width == pytest.approx(400 + 2 * 0.012 * 6000 * 2**0.5)
