"""Writes an ONNX file with any input, output and metadata, without the package onnx: it takes few messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

FLOAT = 1  # TensorProto.DataType


def small_onnx(shape: Sequence[int | str], output: np.ndarray, said: Mapping[str, str | bytes]) -> bytes:
    """A graph that answers an input of `shape` with `output`, and the metadata `said`."""
    nodes = [
        (["images"], "ReduceMean", "mean", _message((1, "keepdims"), (3, 0), (20, 2))),
        (["mean", "zero"], "Mul", "nothing", b""),
        (["fixed", "nothing"], "Add", "output0", b""),
    ]
    graph = _message(
        *((1, _message(*((1, name) for name in ins), (2, out), (4, op), *([(5, how)] if how else [])))
          for ins, op, out, how in nodes),
        (2, "small"),
        (5, _tensor("fixed", output)),
        (5, _tensor("zero", np.zeros((), np.float32))),
        (11, _value("images", shape)),
        (12, _value("output0", output.shape)),
    )  # fmt: skip
    props = [(14, _message((1, key), (2, value))) for key, value in said.items()]
    return _message((1, 8), (7, graph), (8, _message((1, ""), (2, 17))), *props)


def _tensor(name: str, values: np.ndarray) -> bytes:
    return _message(*((1, side) for side in values.shape), (2, FLOAT), (8, name), (9, values.astype("<f4").tobytes()))


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = _message(*((1, _message((2 if isinstance(side, str) else 1, side))) for side in shape))
    return _message((1, name), (2, _message((1, _message((1, FLOAT), (2, sides))))))


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Protocol buffers: a number's field as a varint, a text's or a message's with its length."""
    found = b""
    for number, value in fields:
        if isinstance(value, int):
            found += _varint(number << 3) + _varint(value & (1 << 64) - 1)
        else:
            raw = value.encode() if isinstance(value, str) else value
            found += _varint(number << 3 | 2) + _varint(len(raw)) + raw
    return found


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
