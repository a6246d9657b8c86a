"""Known boxes in the place of a detector."""

from pathlib import Path

import pytest
from PIL import Image

from toeline.core.box import Box
from toeline.core.scene import Thing
from toeline.detect.replay import Replay
from toeline.errors import LabelError

PHOTO = Path("a.jpg")
SURE = Thing("1", "toe_drain", Box(0, 90, 120, 95), polygon=((0, 90), (120, 90), (120, 95)))
UNSURE = Thing("2", "vegetation", Box(10, 10, 20, 20), score=0.4)


def test_things_come_back_most_confident_first_inside_the_picture():
    found = Replay({PHOTO: (UNSURE, SURE)}).of(PHOTO).find(Image.new("RGB", (100, 100)))
    assert [t.id for t in found] == ["1", "2"]
    assert found[0].box == Box(0, 90, 100, 95)
    assert found[0].polygon == SURE.polygon


def test_a_photograph_without_objects_is_an_answer_and_one_without_boxes_is_not():
    replay = Replay({PHOTO: ()})
    assert replay.of(PHOTO).find(Image.new("RGB", (9, 9))) == []
    with pytest.raises(LabelError, match="no boxes were given"):
        replay.of(Path("b.jpg"))
