"""How large the objects are that a detector learns from: what tiles of large photographs are chosen by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENT = (10, 50, 90)


def object_sizes(boxes_wh: Iterable[tuple[float, float]], *, frame_px: int) -> dict[str, Any]:
    """The entry `objects` of detector.json, from box widths and heights as shares of the frame's longer side.

    `frame_px` is the usual longer side of the training photographs in pixels. A size is the root of a box's area;
    `size` holds its quantiles by percent. Raises ValueError when there is no box.

    >>> object_sizes([(0.1, 0.4), (0.3, 0.3), (0.4, 0.4)], frame_px=640)["size"]["50"]
    0.3
    """
    sides: NDArray[np.float64] = np.asarray(list(boxes_wh), np.float64).reshape(-1, 2)
    if not len(sides):
        raise ValueError("there are no objects whose sizes could be told")
    sizes = np.sqrt(sides.prod(1))
    quantiles = np.percentile(sizes, PERCENT)
    return {
        "frame_px": frame_px,
        "size": {str(p): round(float(q), 4) for p, q in zip(PERCENT, quantiles, strict=True)},
        "n": len(sizes),
    }
