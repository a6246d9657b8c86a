"""For each photograph its nearest one in every split, by the bits of hashes or by distance. Knows arrays only.

The nearest and not all: a film of 5,000 frames has 12 million pairs, and one in each split says as much.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 128  # photographs compared with all others at a time: at 20,000 photographs 3 MB
ROWS = 16  # of them whose hashes lie side by side: 64 bits each, where only their number is kept

Hashes = NDArray[np.uint64]
Found = Iterator[tuple[int, int, float]]
_FAR = np.uint8(255)  # more than the 64 bits that can differ


def nearest_before(a: Hashes, b: Hashes, parts: NDArray[np.intp], most: int, *, agree: tuple[Hashes, int]) -> Found:
    """(i, j, bits), i < j: for each j and each part, the i of that part with the fewest bits between `a[i]` and `b[j]`.

    All (N,). Of equals the first. At most `most` bits, and `agree` must not differ in more than its number either.

    >>> a = np.array([0, 1, 2**40 - 1, 3], np.uint64)
    >>> list(nearest_before(a, a, np.array([0, 0, 0, 1]), 2, agree=(a, 64)))
    [(0, 1, 1.0), (1, 3, 1.0)]
    """
    confirm, limit = agree
    for begin in range(0, len(a), BLOCK):
        stop = min(begin + BLOCK, len(a))
        bits = _differing(a[:stop], b[begin:stop])
        bits[:, begin:][np.triu_indices(stop - begin)] = _FAR
        near = np.flatnonzero((bits <= most).any(axis=1))
        bits, rows = bits[near], near + begin
        bits[(bits > most) | (_differing(confirm[:stop], confirm[rows]) > limit)] = _FAR
        yield from _least(bits, rows, parts[:stop])


def _differing(a: Hashes, b: Hashes) -> NDArray[np.uint8]:
    """(len(b), len(a)): in how many bits they differ."""
    out = np.empty((len(b), len(a)), np.uint8)
    for at in range(0, len(b), ROWS):
        np.bitwise_count(a[None] ^ b[at : at + ROWS, None], out=out[at : at + ROWS])
    return out


def _least(bits: NDArray[np.uint8], rows: NDArray[np.intp], parts: NDArray[np.intp]) -> Found:
    """The least of each row (photograph `rows[k]`) of `bits` in each part, where there is one."""
    for part in np.unique(parts):
        columns = np.flatnonzero(parts == part)
        least = bits[:, columns].argmin(axis=1)
        for j, i, found in zip(rows, columns[least], bits[np.arange(len(rows)), columns[least]], strict=True):
            if found != _FAR:
                yield int(i), int(j), float(found)


def nearest_elsewhere(points: NDArray[np.float64], parts: NDArray[np.intp], most: float) -> Found:
    """(i, j, distance), i < j: for each point (N, D) and each other part, the nearest there within `most`.

    >>> list(nearest_elsewhere(np.array([[0.0], [1.0], [1.5], [9.0]]), np.array([0, 1, 1, 1]), 2.0))
    [(0, 1, 1.0), (0, 2, 1.5)]
    """
    from scipy.spatial import KDTree

    found: dict[tuple[int, int], float] = {}
    for part in np.unique(parts):
        here, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        if not len(others):
            continue
        apart, at = KDTree(points[here]).query(points[others], distance_upper_bound=np.nextafter(most, np.inf))
        for j, i, distance in zip(others, np.append(here, -1)[at], apart, strict=True):
            if i >= 0:
                found[min(int(i), int(j)), max(int(i), int(j))] = float(distance)
    yield from ((i, j, distance) for (i, j), distance in sorted(found.items()))
