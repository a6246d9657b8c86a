"""Label files in which there is nothing unusual, read as columns of numbers: a million lines make no million objects.

Whatever is unusual makes a file not plain, and label_lines.py then reads it line by line and says what is wrong and
where. Of a plain file both readers say the same, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toeline.data.label_lines import ROUNDING

PLAIN = b"0123456789.eE+- \t\n"  # no other byte; a minus may stand in an exponent
MOST = 2000  # lines of a file; pairs of them are compared, and so many pairs take some 100 MB

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlainLabels:
    """N >= 1 usable lines: their numbers in the file from 1, their class ids, and boxes (N, 4), xyxy in pixels."""

    lines: list[int]
    class_ids: list[int]
    boxes: Floats


def read_plain(path: Path, size_wh: tuple[int, int], known: Mapping[int, object]) -> PlainLabels | None:
    """The lines of a file that holds boxes and nothing else, each of them usable; None for any other file.

    `size_wh` is the photograph's size in pixels; `known` holds the class ids that count. Lines that stand there twice
    are not looked for: see `apart`.
    """
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    rows = _rows(raw)
    if rows is None:
        return None
    lines = [number for number, words in enumerate(rows, start=1) if words]
    try:
        values = [float(word) for words in rows for word in words]
    except ValueError:
        return None
    ids = values[::5]
    if not 0 < len(lines) <= MOST or not known.keys() >= set(ids):
        return None
    boxes = _boxes(np.array(values).reshape(-1, 5)[:, 1:].T, size_wh)
    return None if boxes is None else PlainLabels(lines, [int(i) for i in ids], boxes)


def _rows(raw: bytes) -> list[list[bytes]] | None:
    """The words of each line, 5 or none; None where a line has another number, or a byte is none of PLAIN."""
    text = raw.replace(b"\r\n", b"\n")
    if text.translate(None, PLAIN):
        return None
    rows = [row.split() for row in text.split(b"\n")]
    return rows if {0, 5}.issuperset(map(len, rows)) else None


def _boxes(shares: Floats, size_wh: tuple[int, int]) -> Floats | None:
    """Centers and sides (4, N) as shares to corners (N, 4) in pixels; None where label_lines would object or correct.

    The same steps in the same order as Box.from_yolo and Box.clipped, so that not a digit differs.
    """
    cx, cy, w, h = shares
    if not (shares.min() >= 0 and shares.max() <= 1 and min(w.min(), h.min()) > 0):
        return None
    x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if max(-x1.min(), -y1.min(), x2.max() - 1, y2.max() - 1) > ROUNDING:
        return None
    wide, high = size_wh
    corners = np.stack([x1 * wide, y1 * high, x2 * wide, y2 * high], axis=1)
    return np.asarray(np.clip(corners, 0.0, np.array([wide, high, wide, high], dtype=np.float64)))


def apart(boxes: Floats, least: float) -> bool:
    """Whether the IoU of any two boxes (N, 4) is well under `least`, so that none can be there twice either.

    >>> apart(np.array([[0, 0, 2, 2], [1, 0, 3, 2.0]]), 0.5), apart(np.array([[0, 0, 2, 2], [0, 0, 2, 2.0]]), 0.5)
    (True, False)
    """
    x1, y1, x2, y2 = boxes.T
    wide = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    high = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    areas = (x2 - x1) * (y2 - y1)
    close = shared * (1 + least) >= least * (1 - 1e-9) * (areas[:, None] + areas)
    return int(np.count_nonzero(close)) <= len(boxes)  # each is close to itself
