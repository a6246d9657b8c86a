"""A column of numbers in eight figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Spread:
    """`sd` is that of a sample (n - 1), None under two values; quartiles are interpolated linearly. None if n is 0."""

    n: int
    mean: float | None = None
    sd: float | None = None
    min: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    max: float | None = None


def spread(values: npt.ArrayLike) -> Spread:
    """The figures of `values`.

    >>> spread([1, 2, 3, 10]).median, spread([]).mean, spread([5]).sd
    (2.5, None, None)
    """
    column = np.asarray(values, dtype=np.float64)
    if not len(column):
        return Spread(0)
    low, q1, median, q3, high = np.quantile(column, [0, 0.25, 0.5, 0.75, 1]).tolist()
    sd = float(column.std(ddof=1)) if len(column) > 1 else None
    return Spread(len(column), float(column.mean()), sd, low, q1, median, q3, high)
