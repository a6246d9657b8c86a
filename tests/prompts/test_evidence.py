"""Evidence says what is in the pixels: green, contrast and breaks that were painted are found, and nothing else."""

from __future__ import annotations

import numpy as np
from PIL import Image

from toeline.core.box import Box
from toeline.prompts.evidence import ACROSS, ALONG, measure, strip

GRAY, DARK, GREEN = (120, 120, 120), (60, 60, 60), (60, 140, 50)
CHANNEL = Box(45, 10, 55, 90)


def photo(*patches: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> Image.Image:
    pixels = np.full((100, 100, 3), GRAY, np.uint8)
    for (x1, y1, x2, y2), color in patches:
        pixels[y1:y2, x1:x2] = color
    return Image.fromarray(pixels)


def test_a_plain_surface_has_nothing_to_tell() -> None:
    found = measure(photo(), CHANNEL)
    assert np.allclose(found, 0.0)


def test_a_green_stretch_is_its_share() -> None:
    found = measure(photo(((40, 10, 60, 50), GREEN)), CHANNEL)
    assert abs(found.green - 0.5) < 0.05


def test_a_dark_core_is_darker_than_its_sides() -> None:
    found = measure(photo(((48, 0, 52, 100), DARK)), CHANNEL)
    assert found.contrast < -0.1
    assert found.breaks == 0


def test_each_gap_of_a_dark_core_is_a_break() -> None:
    core = [((48, a, 52, b), DARK) for a, b in ((10, 30), (38, 60), (68, 90))]
    assert measure(photo(*core), CHANNEL).breaks == 2


def test_lying_and_standing_objects_measure_alike() -> None:
    upright = photo(((48, 10, 52, 40), DARK), ((40, 60, 60, 80), GREEN))
    lying = upright.transpose(Image.Transpose.TRANSPOSE)
    assert np.allclose(measure(upright, CHANNEL), measure(lying, Box(10, 45, 90, 55)))


def test_a_box_outside_the_frame_is_no_fault() -> None:
    assert strip(photo(), Box(200, 200, 210, 220)).shape == (ALONG, ACROSS, 3)
