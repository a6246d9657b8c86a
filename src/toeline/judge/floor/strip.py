"""An object as a strip: resampled along its long axis, so that a channel's core, sides and breaks can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.judge.floor.pixels import CHANNELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, COLUMNS = 32, 12  # along and across; the middle half of the columns is the box, the rest lies beside it
SHOWN = ("light", "b", "green excess", "edge")
CORE = slice(4, 8)
SIDES = [0, 1, 2, 9, 10, 11]
FLAT = 1e-9  # a cross-section without contrast is like no other


def strip(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """(ROWS, COLUMNS, SHOWN): the window and half its width on both sides, from top to bottom or from left to right."""
    x1, y1, x2, y2 = inner
    wide, high = x2 - x1, y2 - y1
    flat = wide > high
    beside = max(1, round(min(wide, high) / 2))
    (dx, dy) = (0, beside) if flat else (beside, 0)
    full_high, full_wide = channels.shape[:2]
    xs = np.clip(np.arange(x1 - dx, x2 + dx), 0, full_wide - 1)
    ys = np.clip(np.arange(y1 - dy, y2 + dy), 0, full_high - 1)
    part = channels[np.ix_(ys, xs, np.array([CHANNELS.index(name) for name in SHOWN]))]
    upright = part.transpose(1, 0, 2) if flat else part
    return _resized(_resized(np.ascontiguousarray(upright), high=ROWS), wide=COLUMNS)


def _resized(part: NDArray[np.float32], *, high: int = 0, wide: int = 0) -> NDArray[np.float32]:
    """One axis resized: averaged where it shrinks, interpolated where it grows (OpenCV's area mode then leans left)."""
    import cv2

    before = part.shape[0] if high else part.shape[1]
    how = cv2.INTER_AREA if before >= max(high, wide) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (wide or part.shape[1], high or part.shape[0]), interpolation=how))


def strip_measures(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> dict[str, float]:
    """Measures of the strip by name; the same from either end and for either side."""
    rows = strip(channels, inner).astype(np.float64)
    measures = {**_profile(rows), **_along(rows), **_likeness(rows)}
    return {
        f"strip {name} {what}": float(values[i]) for what, values in measures.items() for i, name in enumerate(SHOWN)
    }


def _profile(rows: NDArray[np.float64]) -> dict[str, Any]:
    """The mean cross-section, both sides folded together, from the outermost column to the middle."""
    profile = rows.mean(axis=0)
    folded = (profile + profile[::-1]) / 2
    found = {f"profile {i}": folded[i] - folded.mean(axis=0) for i in range(COLUMNS // 2)}
    return found | {"sides differ": np.abs(profile[SIDES[:3]].mean(axis=0) - profile[SIDES[3:]].mean(axis=0))}


def _along(rows: NDArray[np.float64]) -> dict[str, Any]:
    """How the core, and its contrast to the sides, change along the axis: a break or a plant is a step."""
    core, sides = rows[:, CORE].mean(axis=1), rows[:, SIDES].mean(axis=1)
    step = core - sides
    least, most = np.percentile(step, (10, 90), axis=0)
    mean = core.mean(axis=0)
    coarse = core.reshape(-1, 4, len(SHOWN)).mean(axis=1)
    return {
        "contrast": step.mean(axis=0),
        "contrast spread": step.std(axis=0),
        "contrast least": least,
        "contrast most": most,
        "core spread": core.std(axis=0),
        "core least": core.min(axis=0) - mean,
        "core most": core.max(axis=0) - mean,
        "core step": np.abs(np.diff(core, axis=0)).mean(axis=0),
        "core largest step": np.abs(np.diff(coarse, axis=0)).max(axis=0),
    }


def _likeness(rows: NDArray[np.float64]) -> dict[str, Any]:
    """Correlation of each cross-section with the next, and with the mean one."""
    centered = rows - rows.mean(axis=1, keepdims=True)
    profile = centered.mean(axis=0, keepdims=True)
    next_one, mean_one = _alike(centered[:-1], centered[1:]), _alike(centered, profile)
    return {
        "coherence": next_one.mean(axis=0),
        "least coherence": np.percentile(next_one, 10, axis=0),
        "like profile": mean_one.mean(axis=0),
        "least like profile": np.percentile(mean_one, 10, axis=0),
    }


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation, -1 to 1, of centered cross-sections (rows, COLUMNS, SHOWN), by row and channel; 0 for flat ones."""
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norm, FLAT))
