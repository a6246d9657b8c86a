"""Which findings of several photographs are likely the same object. Knows types and positions, never pictures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from toeline.core.place import Meters

MOST_ERROR_M = 20.0  # what is less certain than this is not compared: around it too much is "near"


@dataclass(frozen=True)
class Seen:
    """One thing as one photograph shows it: `at` in meters from any point that all share, right to about `error_m`."""

    photo: str
    kind: str
    at: Meters
    error_m: float


def groups_of(seen: Sequence[Seen]) -> list[list[int]]:
    """Groups of two or more places in `seen`, each sorted, in the order of their first.

    In a group all are of one type, each from another photograph, and any two lie within their combined error. The
    nearest pairs are joined first (complete linkage), equal ones by their order, so that the same list gives the same
    groups.
    """
    group_of = {i: [i] for i in range(len(seen))}
    for _, i, j in sorted(_near(seen)):
        a, b = group_of[i], group_of[j]
        if a is not b and _may_join(seen, a, b):
            a.extend(b)
            group_of.update(dict.fromkeys(b, a))
    whole = {id(group): sorted(group) for group in group_of.values() if len(group) > 1}
    return sorted(whole.values())


def _may_join(seen: Sequence[Seen], a: Sequence[int], b: Sequence[int]) -> bool:
    photos = {seen[i].photo for i in a}
    return all(seen[j].photo not in photos and all(within(seen[i], seen[j]) for i in a) for j in b)


def within(a: Seen, b: Seen) -> bool:
    """Whether two positions differ by no more than both may be off together.

    >>> a, b = (Seen(p, "toe_drain", Meters(x, 0), 3) for p, x in (("a", 0), ("b", 4)))
    >>> within(a, b), within(a, Seen("c", "toe_drain", Meters(5, 0), 3))
    (True, False)
    """
    return math.dist(a.at, b.at) <= math.hypot(a.error_m, b.error_m)


def _near(seen: Sequence[Seen]) -> Iterator[tuple[float, int, int]]:
    """Pairs that may be the same, with their distance; found by cells, so that ten thousand are no hundred million."""
    cells: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    certain = [(i, s) for i, s in enumerate(seen) if s.error_m <= MOST_ERROR_M]
    side = math.sqrt(2) * max((s.error_m for _, s in certain), default=1.0)
    for i, s in certain:
        cells[s.kind, math.floor(s.at.east / side), math.floor(s.at.north / side)].append(i)
    for (kind, x, y), here in cells.items():
        pairs = [*combinations(here, 2)]
        for dx, dy in ((1, -1), (1, 0), (1, 1), (0, 1)):
            pairs += [(i, j) for j in cells.get((kind, x + dx, y + dy), ()) for i in here]
        for i, j in pairs:
            if seen[i].photo != seen[j].photo and within(seen[i], seen[j]):
                yield math.dist(seen[i].at, seen[j].at), min(i, j), max(i, j)
