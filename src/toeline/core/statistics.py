"""How far a share can be trusted: Wilson's interval, differences of shares, and what it takes to show a target."""

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


def least_n(target: float, *, share: float = 1.0, z: float = Z95) -> int:
    """The fewest independent objects whose Wilson interval lies above `target` when a larger `share` is right.

    Wilson's interval is what the score test does not refuse, so share - target > z * sqrt(target * (1 - target) / n).

    >>> least_n(0.90), least_n(0.95), least_n(0.85), least_n(0.85, share=0.9)
    (35, 73, 22, 196)
    """
    return math.floor(z * z * target * (1 - target) / (share - target) ** 2) + 1


def difference(first: float, of_first: Interval, second: float, of_second: Interval) -> Interval:
    """The interval of second minus first, shares of different objects, from the interval of each.

    Newcombe's hybrid (1998, Statistics in Medicine 17:873, method 10), for any two intervals as Zou and Donner (2008,
    Statistics in Medicine 27:1693) show: it keeps what both know of clusters.

    >>> [round(v, 4) for v in difference(48 / 80, wilson(48, 80), 56 / 70, wilson(56, 70))]  # as in Newcombe's table II
    [0.0524, 0.3339]
    """
    change = second - first
    down = math.hypot(second - of_second.low, of_first.high - first)
    up = math.hypot(of_second.high - second, first - of_first.low)
    return Interval(max(-1.0, change - down), min(1.0, change + up))
