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


def strip(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """(ROWS, COLUMNS, SHOWN): the window and half its width on both sides, from top to bottom or from left to right."""
    import cv2

    x1, y1, x2, y2 = inner
    wide, high = x2 - x1, y2 - y1
    flat = wide > high
    beside = max(1, round(min(wide, high) / 2))
    (dx, dy) = (0, beside) if flat else (beside, 0)
    full_high, full_wide = channels.shape[:2]
    xs = np.clip(np.arange(x1 - dx, x2 + dx), 0, full_wide - 1)
    ys = np.clip(np.arange(y1 - dy, y2 + dy), 0, full_high - 1)
    part = channels[np.ix_(ys, xs, [CHANNELS.index(name) for name in SHOWN])]
    upright = part.transpose(1, 0, 2) if flat else part
    return np.asarray(cv2.resize(np.ascontiguousarray(upright), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA))


def strip_measures(channels: NDArray[np.float32], inner: tuple[int, int, int, int]) -> dict[str, float]:
    """Measures of the strip by name; the same from either end and for either side."""
    rows = strip(channels, inner).astype(np.float64)
    found: dict[str, float] = {}
    for i, name in enumerate(SHOWN):
        found.update({f"strip {name} {what}": value for what, value in _channel(rows[..., i]).items()})
    return found


def _channel(rows: NDArray[np.float64]) -> dict[str, float]:
    profile = rows.mean(axis=0)
    folded = (profile + profile[::-1]) / 2
    core, sides = rows[:, CORE].mean(axis=1), rows[:, SIDES].mean(axis=1)
    step = core - sides
    found: dict[str, Any] = {f"profile {i}": v - folded.mean() for i, v in enumerate(folded[: COLUMNS // 2])}
    found |= {
        "contrast": step.mean(),
        "contrast spread": step.std(),
        "contrast least": np.percentile(step, 10),
        "contrast most": np.percentile(step, 90),
        "core spread": core.std(),
        "core least": core.min() - core.mean(),
        "core most": core.max() - core.mean(),
        "core step": np.abs(np.diff(core)).mean(),
        "core largest step": np.abs(np.diff(_smooth(core))).max(),
        "sides differ": abs(rows[:, SIDES[:3]].mean() - rows[:, SIDES[3:]].mean()),
        "coherence": _coherence(rows).mean(),
        "least coherence": np.percentile(_coherence(rows), 10),
        "like profile": _alike(rows, profile[None]).mean(),
        "least like profile": np.percentile(_alike(rows, profile[None]), 10),
    }
    return {name: float(value) for name, value in found.items()}


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(-1, 4).mean(axis=1)


def _coherence(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation, -1 to 1, of each cross-section with the next."""
    return _alike(rows[:-1], rows[1:])


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norm, 1e-9))
