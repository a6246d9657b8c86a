"""Which images go through a network together: only such as have one shape, so that none is padded for another.

Padding leaks into what convolutions and attention see, and the answer on one photograph would depend on its neighbors.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

MOST_AT_ONCE = 8  # photographs in one pass, so that memory does not grow with the list that is given


def batches(shapes: Sequence[Hashable], *, most: int = MOST_AT_ONCE) -> Iterator[list[int]]:
    """Numbers of images of one shape, `most` at a time; each number once.

    >>> list(batches(["wide", "tall", "wide", "wide"], most=2))
    [[0, 2], [3], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for n, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(n)
    for group in groups.values():
        yield from (group[i : i + most] for i in range(0, len(group), most))
