"""Painted scenes: the same bytes for the same seed, and masks that say what the labels say."""

import hashlib
import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from toeline.synth.ground import paint_ground
from toeline.synth.plan import CLASS_IDS, CLASS_NAMES, Band, Bend, ScenePlan
from toeline.synth.scene import Drawing, draw
from toeline.synth.textures import Canvas

SIZE = 160
SEEDS = tuple(range(900, 912))


@cache
def drawn(seed: int) -> Drawing:
    return draw(seed, size=640 if seed % 4 == 0 else SIZE)


def digest(drawing: Drawing) -> str:
    parts = (drawing.image, drawing.object_mask, drawing.state_mask)
    text = b"".join(part.tobytes() for part in parts) + repr(drawing.objects).encode()
    return hashlib.sha256(text).hexdigest()


def test_same_seed_same_bytes_in_a_fresh_process() -> None:
    script = (
        "import hashlib; from toeline.synth.scene import draw; draw(3, size=160); d = draw(901, size=160);"
        "parts = (d.image, d.object_mask, d.state_mask);"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in parts) + repr(d.objects).encode()).hexdigest())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    fresh = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert fresh.stdout.strip() == digest(drawn(901))


def test_another_seed_is_another_scene() -> None:
    assert digest(drawn(901)) != digest(drawn(902))


@pytest.mark.parametrize("seed", SEEDS)
def test_arrays_have_the_promised_shapes(seed: int) -> None:
    drawing = drawn(seed)
    side = drawing.image.shape[0]
    assert drawing.image.shape == (side, side, 3)
    assert drawing.object_mask.shape == drawing.state_mask.shape == (side, side)
    assert {a.dtype for a in (drawing.image, drawing.object_mask, drawing.state_mask)} == {np.dtype(np.uint8)}
    assert int(drawing.object_mask.max()) <= len(drawing.objects)
    assert int(drawing.state_mask.max()) <= 3
    assert np.array_equal(drawing.object_mask > 0, drawing.state_mask > 0)
    assert 20 < float(drawing.image.mean()) < 235


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_say_what_the_labels_say(seed: int) -> None:
    drawing = drawn(seed)
    for index, item in enumerate(drawing.objects, start=1):
        states = np.bincount(drawing.state_mask[drawing.object_mask == index], minlength=4)
        assert states.sum() > 0, f"object {index} of scene {seed} cannot be seen"
        share = states / states.sum()
        if item.condition == "normal":
            assert share[1] == 1
        elif item.condition == "blocked":
            assert share[2] > 0.05
        else:
            assert share[3] > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_fair(seed: int) -> None:
    drawing = drawn(seed)
    side = drawing.image.shape[0]
    for item in drawing.objects:
        corners = np.asarray(item.polygon)
        assert item.class_id == CLASS_IDS[item.kind, item.condition]
        assert CLASS_NAMES[item.class_id]
        assert corners.min() >= 0
        assert corners.max() <= side
        assert np.ptp(corners, axis=0).max() * 640 / side >= 18


def test_polygons_are_tight() -> None:
    """The box of a label and the box of its painted pixels overlap well, or Stage 1 would learn slack."""
    drawing = drawn(904)
    for index, item in enumerate(drawing.objects, start=1):
        if item.kind == "vegetation":
            continue
        rows, columns = np.nonzero(drawing.object_mask == index)
        corners = np.asarray(item.polygon)
        assert abs(columns.min() - corners[:, 0].min()) < 40 or item.kind == "rock_toe"
        assert rows.min() >= corners[:, 1].min() - 3
        assert rows.max() <= corners[:, 1].max() + 3


def test_the_ground_covers_the_canvas_however_strong_the_bend() -> None:
    """Waves and wandering edges included, no pixel stays as black as the empty canvas."""
    rng = np.random.default_rng(0)
    for curve in (-220.0, 220.0):
        bend = Bend(0.3, curve, 0.0, 0.0, ((5.0, 300.0, 1.0),))
        bands = (Band("face", -90, 0, 3.0), Band("road", 0, 120, 3.0), Band("face", 120, 900, 3.0))
        blank = np.zeros((640, 640), np.uint8)
        canvas = Canvas(np.zeros((640, 640, 3), np.float32), blank, blank.copy(), (1.0, 1.0), 0.3)
        paint_ground(canvas, ScenePlan(bend, 1.0, "dry", bands, (), ()), rng)
        assert float(canvas.color.max(2).min()) > 1
