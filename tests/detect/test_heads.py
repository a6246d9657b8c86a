"""Outputs of every head that people export: read as what they are, or refused; never nothing, never elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from toeline.detect.heads import Head, HeadLayout, Output, decode, nonsense, possible, settled, told

SIDE = 640
CELLS = 8400  # of the grids of a network for 640 x 640
PIXELS, SHARES, CORNERS = (320, 160, 128, 192), (0.5, 0.25, 0.2, 0.3), (256, 64, 384, 256)
ULTRA = {"author": "Ultralytics", "task": "detect"}


def output(rows: int, *row: float, turned: bool = False) -> np.ndarray:
    """Rows of a network that is unsure but for one object."""
    rng = np.random.default_rng(0)
    found = np.zeros((rows, len(row)), np.float32)
    found[:, :4] = rng.uniform(0.1, 0.4, (rows, 4)) * (SIDE if max(row) > 2 else 1)
    found[:, 4:] = rng.uniform(0, 0.01, (rows, len(row) - 4))
    found[100] = row
    return found.T if turned else found


def finished_rows(rows: int, *row: float) -> np.ndarray:
    """Rows of a head that needs no suppression: the one object, then padding."""
    found = np.zeros((rows, len(row)), np.float32)
    found[0] = row
    return found


def scores(classes: int) -> tuple[float, ...]:
    """Of an object of class 0."""
    return (0.9, *[0.004] * (classes - 1))


HEADS = {
    **{
        f"{name}, {n} classes": (said(n), n, metadata, head)
        for n in (1, 2, 3, 4, 9)
        for name, said, metadata, head in (
            ("v8", lambda n: output(CELLS, *PIXELS, *scores(n), turned=True), ULTRA, "yolov8"),
            ("v8 on its side", lambda n: output(CELLS, *PIXELS, *scores(n)), ULTRA, "yolov8"),
            ("v8 without a word", lambda n: output(CELLS, *PIXELS, *scores(n), turned=True), {}, "yolov8"),
            ("v5", lambda n: output(3 * CELLS, *PIXELS, 0.95, *scores(n)), {"stride": "32"}, "yolov5"),
            ("v5 on its side", lambda n: output(3 * CELLS, *PIXELS, 0.95, *scores(n), turned=True), {}, "yolov5"),
            ("v10", lambda n: finished_rows(300, *CORNERS, 0.9, 0), ULTRA, "rows"),
            ("v10 that says so", lambda n: finished_rows(300, *CORNERS, 0.9, 0), {"end2end": "True"}, "rows"),
            ("RT-DETR", lambda n: output(300, *SHARES, *scores(n)), ULTRA, "rtdetr"),
            ("RT-DETR that says so", lambda n: output(300, *SHARES, *scores(n)), {"head": "RTDETRDecoder"}, "rtdetr"),
        )
    },
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_is_known_and_gives_the_box(case: str) -> None:
    said, classes, metadata, head = HEADS[case]
    out = Output(classes, 0, (SIDE, SIDE))
    layouts = [one for one in possible(said.shape, out) if one.head in told(metadata, nms=False)]
    (layout,) = settled(layouts, said, out)
    assert layout.head == head
    rows = decode(layout, said, out, 0.25)
    assert rows.boxes.tolist() == [pytest.approx(CORNERS, abs=1e-3)]
    assert rows.ids.tolist() == [0]
    assert rows.scores[0] == pytest.approx(0.9 * (0.95 if head == "yolov5" else 1))


@pytest.mark.parametrize(
    ("said", "classes"),
    [
        (np.zeros((300, 6), np.float32), 2),  # nothing found: finished rows, or RT-DETR
        (output(177, *SHARES, *scores(2)) * 4, 2),  # neither pixels nor shares
        (np.zeros((7, 7), np.float32), 2),
    ],
)
def test_what_stays_open_is_not_guessed(said: np.ndarray, classes: int) -> None:
    out = Output(classes, 0, (SIDE, SIDE))
    assert len(settled(possible(said.shape, out), said, out)) != 1


@pytest.mark.parametrize(
    ("head", "said", "why"),
    [
        (Head.YOLOV8, output(CELLS, *PIXELS, 3.0, -2.0, turned=True), "scores from -2 to 3 instead of 0 to 1"),
        (Head.YOLOV8, output(CELLS, *SHARES, 0.9, 0.1, turned=True), "shares and no pixels"),
        (Head.RTDETR, output(300, *PIXELS, 0.9, 0.1), "beyond the picture"),
        (Head.ROWS, finished_rows(300, *CORNERS, 0.9, 0.5), "class numbers that are none"),
        (Head.ROWS, finished_rows(300, *CORNERS, 0.9, 7), "class numbers that are none"),
        (Head.ROWS, finished_rows(300, 384, 256, 256, 64, 0.9, 1), "corners in the wrong order"),
        (Head.ROWS, finished_rows(300, *CORNERS, float("nan"), 1), "not finite"),
        (Head.YOLOV5, output(25200, 1e8, 5, 5, 5, 0.9, 0.9, 0.1), "far beyond"),
    ],
)
def test_content_that_a_head_cannot_give_is_said(head: Head, said: np.ndarray, why: str) -> None:
    assert why in nonsense(HeadLayout(head), said, Output(2, 0, (SIDE, SIDE)))
