"""How far a share can be trusted: Wilson's interval, and how many must be right to show that a target is reached."""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959963984540054  # the two-sided 95 % point of the normal distribution


class Interval(NamedTuple):
    """Both ends of a 95 % interval, as shares."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.low:.1f} to {100 * self.high:.1f} %"


def wilson(right: float, n: float, *, z: float = Z95) -> Interval:
    """Wilson's score interval for `right` of `n` (Wilson 1927; Brown, Cai and DasGupta 2001).

    Both may be fractions: an effective number of independent objects is one.

    >>> wilson(115, 128)
    Interval(low=0.833..., high=0.939...)
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, square = right / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    reach = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def least_right(n: int, target: float, *, z: float = Z95) -> int | None:
    """The fewest right of `n` whose Wilson interval lies wholly above `target` (a share); None when even n do not.

    >>> least_right(128, 0.90), least_right(34, 0.90), least_right(35, 0.90)
    (122, None, 35)
    """
    if n == 0 or wilson(n, n, z=z).low <= target:
        return None
    low, high = 0, n  # the lower end grows with `right`: halve until the first that is above
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wilson(middle, n, z=z).low > target else (middle + 1, high)
    return low


def least_n(target: float, *, z: float = Z95) -> int:
    """The fewest objects that can show more than `target` when every one is right: n / (n + z²) > target.

    >>> least_n(0.90), least_n(0.95), least_n(0.85)
    (35, 73, 22)
    """
    return math.floor(target * z * z / (1 - target)) + 1
