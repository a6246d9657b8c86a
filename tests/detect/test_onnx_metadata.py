"""Exports whose metadata, input or output lies: a detector or a ToelineError, whatever stands there; no guess."""

from __future__ import annotations

import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.small_onnx import small_onnx

from toeline.core.taxonomy import Taxonomy
from toeline.detect.load import load_detector
from toeline.errors import ModelError, ToelineError

SAID: dict[str, Any] = {
    "author": "Ultralytics", "description": "YOLOv8", "task": "detect", "stride": "32", "imgsz": "[64, 64]",
    "names": "{0: 'rock toe', 1: 'vegetation'}", "args": "{'nms': False}", "end2end": "False", "head": "Detect",
    "batch": "1",
}  # fmt: skip
LIES = [
    "", "nan", "-32", "0", "1e9", "True", "None", "[", "9" * 5000, "[0, 0]", "[64, -64]", "[16384, 16384]", "16384",
    "'32'", "32.0", "[64]", "{'nms': [1]}", "{'nms': 'False'}", "{[]: 1}", "RTDETRDecoder", "segment", "obb", "pose",
    "\u202e", "\0", b"\xff\xfe", "[" * 5000, "[" * 300 + "]" * 300, "{0: 'rock toe', 0: 'vegetation'}",
    "{0: None, 1: 'rock toe'}", "{0: 'rock toe', 1: ['x']}", "{1: 'rock toe', 2: 'vegetation'}", "['rock toe']",
    "('rock toe', 'vegetation')", "{0: 'a', True: 'b'}", "{**{}, 0: 'rock toe'}", "__import__('os')",
    "0j", "1" + "0" * 400,
]  # fmt: skip
SHAPES: list[tuple[int | str, ...]] = [
    (1, 3, 64, 64), ("n", 3, "h", "w"), (1, 3, 64, "w"), (2, 3, 64, 64), (-1, 3, 64, 64), (0, 3, 64, 64),
    (1, 3, 0, 64), (1, 1, 64, 64), (1, 64, 64, 3), (1024, 3, 4096, 4096), (3, 64, 64), (),
]  # fmt: skip
CARD, TAXONOMY, GRAY = {**SAID}, Taxonomy.load(), Image.new("RGB", (64, 64), (128, 128, 128))
MOST_BYTES = 64 << 20  # that reading and running a graph of 64 x 64 pixels may hold


def rows(count: int = 84, *one: float) -> np.ndarray:
    """(1, numbers, count): one object in the middle, as YOLOv8 gives it."""
    found = np.zeros((count, len(one) or 6), np.float32)
    found[3 : 3 + 1] = one or (32, 16, 12, 18, 0.9, 0.05)
    return np.ascontiguousarray(found.T)[None]


OUTPUTS = [
    rows(), rows().transpose(0, 2, 1), rows(0), rows()[0], rows()[None], rows() * np.nan, rows() * 100, rows()[:, :5],
    np.zeros((1, 0, 6), np.float32), np.zeros((1, 6), np.float32), rows(84, 32, 16, 12, 18, 0.9, 0.05, 45),
]  # fmt: skip


def find(folder: Path, shape: tuple[int | str, ...] = SHAPES[0], output: np.ndarray | None = None, **said: Any) -> Any:
    """The boxes that an export with this metadata finds."""
    file = folder / "best.onnx"
    card = {key: value for key, value in {**CARD, **said}.items() if value is not None}
    file.write_bytes(small_onnx(shape, rows() if output is None else output, card))
    return [
        (d.instance.type_name, d.instance.box.xyxy) for d in load_detector(str(file), taxonomy=TAXONOMY).find([GRAY])[0]
    ]


def test_a_graph_of_a_few_bytes_is_read_as_an_export(tmp_path: Path) -> None:
    """So that the tests below do not find refusals only."""
    assert find(tmp_path) == [("rock_toe", (26, 7, 38, 25))]
    assert find(tmp_path, ("n", 3, "h", "w")) == find(tmp_path)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"names": b"\xff"}, r"best\.onnx: its metadata is no UTF-8 text"),
        ({"names": "{0: 'rock toe', 0: 'vegetation', 1: 'toe drain'}"}, "`names` cannot be read"),
        ({"names": "{0: None, 1: 'rock toe'}"}, "the name of a class is None, which is no text"),
        ({"shape": (1024, 3, 4096, 4096)}, "takes 1,024 photographs of 4096 x 4096 pixels at once"),
        ({"shape": ("n", 3, "h", "w"), "stride": "16384"}, "16384 x 16384 pixels at once, and the limit"),
        ({"output": rows(0)}, "not one prediction"),
        ({"output": OUTPUTS[-1], "task": "obb"}, "angles that are degrees"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, said: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError, match=why):
        find(tmp_path, **said)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.dictionaries(st.sampled_from(sorted(SAID)), st.one_of(st.none(), st.sampled_from(LIES), st.text()), max_size=3),
    st.sampled_from([SHAPES[0], *SHAPES]),
    st.sampled_from([OUTPUTS[0], *OUTPUTS]),
)
def test_an_export_that_lies_gives_boxes_or_a_word(said: dict[str, Any], shape: Any, output: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tracemalloc.start()
        try:
            with suppress(ToelineError):
                for _, (x1, y1, x2, y2) in find(Path(folder), shape, output, **said):
                    assert 0 <= x1 < x2 <= 64
                    assert 0 <= y1 < y2 <= 64
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        finally:
            tracemalloc.stop()
