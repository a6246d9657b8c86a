"""Boxes that are turned: their corners, how alike two are, and which of many stay.

Likeness is ProbIoU (Llerena et al., arXiv:2106.06072): each box as a normal distribution with the box's own center and
moments, compared by their Hellinger distance. Suppression is Fast NMS (Bolya et al., arXiv:1904.02689): a row goes when
any row before it, kept or not, is too much like it. Both are what networks with oriented boxes are measured with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def corners(boxes: NDArray[np.floating], angles: NDArray[np.floating]) -> Doubles:
    """(N, 4, 2) corners of `boxes` (N, 4: center, width, height), turned by `angles` (N,) in radians.

    >>> corners(np.array([[10, 10, 4, 2]]), np.array([0.0]))[0].tolist()
    [[12.0, 11.0], [12.0, 9.0], [8.0, 9.0], [8.0, 11.0]]
    """
    boxes, angles = np.asarray(boxes, np.float64), np.asarray(angles, np.float64)
    along = np.stack([np.cos(angles), np.sin(angles)], 1) * boxes[:, 2:3] / 2
    aside = np.stack([-np.sin(angles), np.cos(angles)], 1) * boxes[:, 3:4] / 2
    turned = np.stack([along + aside, along - aside, -along - aside, -along + aside], 1)
    return np.asarray(boxes[:, None, :2] + turned, np.float64)


def keep_oriented(boxes: NDArray[np.floating], ids: NDArray[np.int64], *, limit: float) -> NDArray[np.int64]:
    """Row numbers that stay of `boxes` (N, 5: center, width, height, angle), which stand most confident first.

    Rows of different classes (`ids`) never suppress one another.

    >>> rows = np.array([[9, 9, 8, 4, 0.5], [9, 9, 8, 4, 0.6], [9, 9, 8, 4, 0.5], [40, 9, 8, 4, 0.5]])
    >>> keep_oriented(rows, np.array([0, 0, 1, 0]), limit=0.7).tolist()
    [0, 2, 3]
    """
    rows: Doubles = boxes.astype(np.float64)
    spread = _spread(rows)
    stay = np.ones(len(rows), bool)
    for n in range(1, len(rows)):
        before = np.flatnonzero(ids[:n] == ids[n])
        alike = prob_iou(rows[n], spread[n], rows[before], spread[before])
        stay[n] = not (alike > limit).any()
    return np.flatnonzero(stay)


def _spread(boxes: Doubles) -> Doubles:
    """(N, 3): the covariance matrix [[a, c], [c, b]] of each box, filled evenly, as a, b, c."""
    along, aside = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    a, b = along * cos**2 + aside * sin**2, along * sin**2 + aside * cos**2
    return np.stack([a, b, (along - aside) * cos * sin], 1)


def prob_iou(box: Doubles, spread: Doubles, others: Doubles, spreads: Doubles) -> Doubles:
    """One minus the Hellinger distance of one box to each of `others`: 1 for the same box, near 0 far away.

    From the Bhattacharyya distance of two normal distributions; the small number keeps flat boxes from dividing by
    zero.
    """
    tiny = 1e-7
    a, b, c = (spread + spreads).T
    dx, dy = others[:, 0] - box[0], others[:, 1] - box[1]
    both = a * b - c**2
    apart = (a * dy**2 + b * dx**2 - 2 * c * dx * dy) / (4 * (both + tiny))
    own, theirs = (np.maximum(s[..., 0] * s[..., 1] - s[..., 2] ** 2, 0) for s in (spread, spreads))
    unlike = np.log(both / (4 * np.sqrt(own * theirs) + tiny) + tiny) / 2
    distance = np.clip(apart + unlike, tiny, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + tiny), np.float64)
