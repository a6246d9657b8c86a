"""Writes small_raw.onnx and small_rows.onnx: graphs of a few bytes with the form and metadata of ultralytics' exports.

    python tests/detect/make_export.py        (needs the package onnx, which the tests do without)

Both answer every photograph with the same three boxes; their confidence is the mean of the input's pixels, so that a
white photograph has objects and a black one none. No network of anybody is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NAMES = {0: "toe_drain", 1: "rock_toe", 2: "slope_drain", 3: "vegetation"}
BOXES = np.array([[20, 20, 10, 30], [40, 40, 20, 20], [50, 10, 8, 8]], np.float32)  # center, width, height of 64 x 64
IDS = (0, 1, 3)


def raw() -> Any:
    """(1, 3, 64, 64) to (1, 4 + 4, 3)."""
    scores = np.zeros((4, 3), np.float32)
    scores[IDS, range(3)] = 1
    fixed, per_score = np.zeros((1, 8, 3), np.float32), np.zeros((1, 8, 3), np.float32)
    fixed[0, :4], per_score[0, 4:] = BOXES.T, scores
    return graph([1, 3, 64, 64], fixed, per_score, {"args": "{'nms': False, 'dynamic': False}", "end2end": "False"})


def rows() -> Any:
    """(batch, 3, height, width) to (1, 4, 6); the last row is padding."""
    fixed, per_score = np.zeros((1, 4, 6), np.float32), np.zeros((1, 4, 6), np.float32)
    fixed[0, :3, :2], fixed[0, :3, 2:4] = BOXES[:, :2] - BOXES[:, 2:] / 2, BOXES[:, :2] + BOXES[:, 2:] / 2
    fixed[0, :3, 5], per_score[0, :3, 4] = IDS, 1
    said = {"args": "{'nms': True, 'dynamic': True}", "end2end": "False", "batch": "1"}
    return graph(["batch", 3, "height", "width"], fixed, per_score, said)


def graph(shape: list[int | str], fixed: np.ndarray, per_score: np.ndarray, said: dict[str, str]) -> Any:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["brightness"], keepdims=0),
        helper.make_node("Mul", ["per_score", "brightness"], ["scores"]),
        helper.make_node("Add", ["fixed", "scores"], ["output0"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(fixed.shape))],
            [numpy_helper.from_array(fixed, "fixed"), numpy_helper.from_array(per_score, "per_score")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    common = {"names": str(NAMES), "task": "detect", "stride": "32", "imgsz": "[64, 64]", "head": "Detect"}
    helper.set_model_props(model, {**common, **said})
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    import onnx

    for name, model in {"small_raw": raw(), "small_rows": rows()}.items():
        onnx.save(model, Path(__file__).with_name(f"{name}.onnx"))
