"""What an export says of itself, and what is told when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from toeline.detect.heads import Head
from toeline.detect.ultralytics_onnx import read_card
from toeline.errors import ModelError

SAID = {
    "names": "{0: 'toe_drain', 1: 'vegetation'}",
    "task": "detect",
    "stride": "32",
    "imgsz": "[640, 480]",
    "batch": "1",
    "args": "{'nms': False, 'dynamic': True}",
    "end2end": "False",
}
FREE = ["batch", 3, "height", "width"]
FIXED = [1, 3, 640, 480]


def read(said=SAID, shape=FREE):
    return read_card(said, shape, Path("best.onnx"))


def test_a_model_for_any_size_takes_its_size_from_the_metadata():
    card = read()
    assert (card.input_hw, card.dynamic, card.batch, card.stride) == ((640, 480), True, 0, 32)
    assert card.names == {0: "toe_drain", 1: "vegetation"}


def test_a_model_for_one_size_takes_it_from_the_graph():
    card = read(SAID | {"imgsz": "[1, 1]"}, [4, 3, 320, 256])
    assert (card.input_hw, card.dynamic, card.batch) == ((320, 256), False, 4)


def test_built_in_suppression_fixes_how_many_images_are_taken():
    card = read(SAID | {"args": "{'nms': True}", "batch": "2"})
    assert (card.heads, card.batch) == ({Head.ROWS}, 2)


@pytest.mark.parametrize(("task", "extra"), [("detect", 0), ("segment", 32), ("obb", 1)])
def test_a_task_says_what_stands_behind_the_scores(task, extra):
    assert read(SAID | {"task": task}).extra == extra


def test_heads_that_need_no_suppression_say_so():
    assert read(SAID | {"end2end": "True"}).heads == {Head.ROWS}
    assert read(SAID | {"head": "RTDETRDecoder"}).heads == {Head.RTDETR}


def test_exports_of_older_versions_say_less():
    card = read({"names": "['toe_drain']"}, FIXED)
    assert (card.task, card.stride, card.heads, card.names) == ("detect", 32, set(Head), {0: "toe_drain"})


@pytest.mark.parametrize(
    ("change", "shape", "told"),
    [
        ({"names": None}, FREE, r"neither detector\.json beside it nor the metadata"),
        ({"names": "{0: "}, FREE, "its metadata `names` cannot be read"),
        ({"names": "__import__('os').system('true')"}, FREE, "its metadata `names` cannot be read"),
        ({"names": "{0: 'a', 2: 'b'}"}, FREE, "not one name for each id"),
        ({"names": "{}"}, FREE, "not one name for each id"),
        ({"task": "pose"}, FREE, "is made for 'pose'"),
        ({}, [1, 3, 0, 640], "pictures of 640 x 0 pixels"),
        ({}, [1, 3, -1, 640], "pictures of 640 x -1 pixels"),
        ({"names": "[" * 3000}, FREE, "its metadata `names` cannot be read"),
        ({"imgsz": None}, FREE, "has no `imgsz`"),
        ({"imgsz": "big"}, FREE, "its metadata `imgsz` cannot be read"),
        ({"imgsz": "[0, 640]"}, FREE, "not a size in pixels"),
        ({"stride": "-1"}, FREE, "its `stride` is '-1'"),
        ({"args": "{'nms': True}", "batch": "0"}, FREE, "its `batch` is '0'"),
        ({}, [1, 1, 640, 640], "takes \\(batch, 3, height, width\\)"),
        ({}, [1, 3], "takes \\(batch, 3, height, width\\)"),
    ],
)
def test_what_is_missing_or_odd_is_told_with_the_file(change, shape, told):
    said = {key: value for key, value in (SAID | change).items() if value is not None}
    with pytest.raises(ModelError, match=f"best.onnx.*{told}"):
        read(said, shape)
