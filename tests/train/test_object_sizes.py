"""Sizes of training objects, as detector.json holds them and as a detector reads them back."""

from __future__ import annotations

import pytest

from toeline.detect.detector import TYPICAL, Known
from toeline.train.detector_data import object_sizes


def test_a_detector_reads_what_was_measured():
    said = object_sizes([(0.1, 0.1), (0.2, 0.2), (0.9, 0.1)], frame_px=800)
    assert (said["size"], said["n"]) == ({"10": 0.12, "50": 0.2, "90": 0.28}, 3)
    assert Known.read({"input_px": 416, "objects": said}) == Known(416, 800, 0.2)


def test_a_card_without_objects_is_one_that_knows_nothing():
    assert Known.read({"input_px": 416}) == Known(416, 416, TYPICAL)


@pytest.mark.parametrize("objects", [{"frame_px": 0}, {"size": {"50": 3}}, {"size": {"50": "big"}}])
def test_a_card_that_makes_no_sense_is_refused(objects):
    with pytest.raises(ValueError, match=r"objects|big"):
        Known.read({"input_px": 416, "objects": objects})


def test_no_objects_have_no_sizes():
    with pytest.raises(ValueError, match="no objects"):
        object_sizes([], frame_px=640)
