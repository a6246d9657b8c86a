"""Which kind of head an ONNX detector ends with: known from its metadata, or from the shape and content of its output.

Outputs of different heads can have one shape: 6 numbers a row are a box, a score and a class (finished rows), a box
and two class scores (RT-DETR, or YOLOv8 laid on its side), or a box, an objectness and one class score (YOLOv5). Read
as the wrong one they give nothing, or boxes elsewhere. So every reading that the shape allows is tried on a fixed
picture, and where more than one or none makes sense the model is refused. Knows no photographs and no types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toeline.core.words import some
from toeline.detect.yolo_decode import DecodedRows, finished, raw, shares

Floats = NDArray[np.float32]
SLACK = 0.01  # by which rounding in half precision may leave 0..1
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))  # of the grids of YOLO networks: usual, P6, P2, tiny
MOST_TURN = 6.3  # radians: once round; an OBB head gives less than half of that
FAR = 4.0  # how many input sides away from the input a corner may lie


class Head(StrEnum):
    """What a row of the output holds."""

    YOLOV8 = "yolov8"  # also v9, v11, v12 and v26: center, sides in pixels, a score for each class
    YOLOV5 = "yolov5"  # also v7: the same with an objectness before the class scores
    ROWS = "rows"  # v10, or any with built-in suppression: corners in pixels, score, class
    RTDETR = "rtdetr"  # center and sides as shares of the input, a score for each class


class HeadLayout(NamedTuple):
    """A head, and whether its output stands on its side."""

    head: Head
    turned: bool = False

    def __str__(self) -> str:
        return f"{self.head}{' on its side' if self.turned else ''}"


class Output(NamedTuple):
    """What is known of an output before it is read: classes, further numbers a row, and the input's sides (0: any)."""

    classes: int
    extra: int
    input_hw: tuple[int, int]
    oriented: bool = False


def possible(shape: Sequence[int], out: Output) -> list[HeadLayout]:
    """Every layout that an output (two sides) can have."""
    if len(shape) != 2:
        return []
    scores, (rows, columns) = out.classes + out.extra, shape
    found = [HeadLayout(Head.YOLOV8)] if rows == 4 + scores else []
    found += [HeadLayout(Head.YOLOV8, turned=True)] if columns == 4 + scores else []
    found += [HeadLayout(Head.YOLOV5)] if columns == 5 + scores else []
    found += [HeadLayout(Head.YOLOV5, turned=True)] if rows == 5 + scores else []
    found += [HeadLayout(Head.ROWS)] if columns == 6 + out.extra else []
    if not out.extra:
        found += [HeadLayout(Head.RTDETR)] if columns == 4 + out.classes else []
        found += [HeadLayout(Head.RTDETR, turned=True)] if rows == 4 + out.classes else []
    return found


def told(said: Mapping[str, str], *, nms: bool) -> set[Head]:
    """The heads that are possible by an export's metadata."""
    head, ours = said.get("head", ""), "ultralytics" in (said.get("author", "") + said.get("description", "")).lower()
    if "RTDETR" in head or "rtdetr" in said.get("description", "").lower().replace("-", ""):
        return {Head.RTDETR}
    if nms or said.get("end2end") == "True":
        return {Head.ROWS}
    if head in ("Detect", "Segment", "OBB") and ours:
        return {Head.YOLOV8, Head.ROWS}
    return {Head.YOLOV8, Head.ROWS, Head.RTDETR} if ours else set(Head)  # its own YOLOv5 has the newer head


def settled(layouts: Sequence[HeadLayout], said: Floats, out: Output) -> list[HeadLayout]:
    """What of `layouts` is left when the number of rows and the content of one output have been looked at.

    First those of a grid that has just as many rows, then those that have no grid, then any.
    """
    of_grid = [one for one in layouts if _fits_grid(one, said.shape, out)]
    without = [one for one in layouts if one.head in (Head.ROWS, Head.RTDETR)]
    groups = ([one for one in group if not nonsense(one, said, out)] for group in (of_grid, without, layouts))
    return next(filter(None, groups), [])


def _fits_grid(layout: HeadLayout, shape: Sequence[int], out: Output) -> bool:
    """Whether an output has just as many rows as a YOLO network's grids have cells; three anchors each in YOLOv5."""
    if layout.head not in (Head.YOLOV8, Head.YOLOV5) or not all(out.input_hw):
        return False
    anchors = 3 if layout.head is Head.YOLOV5 else 1
    high, wide = out.input_hw
    cells = [sum(-(-high // s) * -(-wide // s) for s in strides) for strides in STRIDES]
    return max(shape) in [anchors * n for n in cells]


def nonsense(layout: HeadLayout, said: Floats, out: Output) -> str:
    """Why an output cannot be of this layout, or empty. An output of nothing but zeros fits all."""
    return next(chain(_faults(layout.head, upright(layout, said), out), [""]))


def _faults(head: Head, rows: Floats, out: Output) -> Iterator[str]:
    boxes, rest = rows[:, :4], rows[:, 4:]
    if not len(rows) and head is not Head.ROWS:  # only suppression can leave none
        yield "not one prediction, whatever the picture"
    scores = rest[:, :1] if head is Head.ROWS else rest[:, : out.classes + (head is Head.YOLOV5)]
    if not np.isfinite(rows).all():
        yield "numbers that are not finite"
    if scores.min(initial=0) < -SLACK or scores.max(initial=0) > 1 + SLACK:
        yield f"scores from {scores.min():.3g} to {scores.max():.3g} instead of 0 to 1"
    some_score = scores.max(1, initial=0) > 0
    if head is Head.ROWS:
        ids = rest[:, 1]
        if (ids != np.round(ids)).any() or not np.isin(ids[some_score], np.arange(out.classes)).all():
            yield "class numbers that are none"
        if not out.oriented and (boxes[some_score, 2:] < boxes[some_score, :2]).any():
            yield "corners in the wrong order"
    elif (boxes[:, 2:] < -SLACK).any():
        yield "sides below zero"
    if out.oriented and np.abs(rows[some_score, -1]).max(initial=0) > MOST_TURN:
        yield "angles that are degrees and no radians"
    yield from _place_faults(head, boxes[some_score], out)


def _place_faults(head: Head, boxes: Floats, out: Output) -> Iterator[str]:
    """Shares where pixels are expected, or the other way round."""
    most, side = float(np.abs(boxes).max(initial=0)), max(*out.input_hw, 0)
    if head is Head.RTDETR and most > 1.5:
        yield "places beyond the picture"
    elif head is not Head.RTDETR and 0 < most <= 1.5:
        yield "places that are shares and no pixels"
    elif head is not Head.RTDETR and side and most > FAR * side:
        yield "places far beyond the picture"


def upright(layout: HeadLayout, said: Floats) -> Floats:
    """The output as rows of numbers, one row a prediction."""
    columns_first = layout.turned != (layout.head is Head.YOLOV8)
    return said.T if columns_first else said


def decode(layout: HeadLayout, said: Floats, out: Output, least: float) -> DecodedRows:
    """Predictions of an output with a confidence of `least` or more, in pixels of the input."""
    rows = upright(layout, said)
    if layout.head is Head.ROWS:
        return finished(rows, least)
    if layout.head is Head.RTDETR:
        return shares(rows, least, out.input_hw)
    if layout.head is Head.YOLOV5:  # the confidence of a class is its score where there is an object at all
        rows = np.concatenate([rows[:, :4], rows[:, 4:5] * rows[:, 5 : 5 + out.classes], rows[:, 5 + out.classes :]], 1)
    return raw(rows.T, out.classes, least, oriented=out.oriented)


def described(layouts: Sequence[HeadLayout], said: Floats, out: Output) -> str:
    """What was tried, and why it does not fit, in words."""
    tried = [f"{one}: {nonsense(one, said, out) or 'makes sense'}" for one in layouts]
    return f"{said.shape} numbers for {some(out.classes, 'class').replace('classs', 'classes')} ({'; '.join(tried)})"
