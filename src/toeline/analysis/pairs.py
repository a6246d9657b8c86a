"""Every two objects of a photograph, for a whole data set in blocks: `relate` without a Python call for each pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toeline.analysis.table import Bools, Floats, Ints, ObjectTable
from toeline.prompts.relations import NAMES, BoxPairs, holding, may_relate

MOST_PAIRS = 50_000  # measured at once, if no single photograph has more: about 12 MB, and no slower than more


@dataclass(frozen=True)
class Pairs:
    """M ordered pairs of objects of one photograph: rows `a` (subject) and `b` (other) of the table.

    `gap` is a share of the diagonal, `holds` (rules, M) says in the order of relate's NAMES which relations hold. The
    second half are the pairs of the first half, turned: see `turned`.
    """

    a: Ints
    b: Ints
    gap: Floats
    holds: Bools

    def turned(self, positions: Ints) -> Ints:
        """Where the pairs at `positions` stand with subject and other exchanged."""
        return (positions + len(self.a) // 2) % len(self.a)


def ordered_pairs(table: ObjectTable, *, most: int = MOST_PAIRS) -> Iterator[Pairs]:
    """Every ordered pair of objects of one photograph, in blocks of whole photographs; in no certain order within."""
    kinds = [t.name for t in table.taxonomy.types]
    may = np.array([[[may_relate(name, a, b) for b in kinds] for a in kinds] for name in NAMES])
    diagonals = np.array([math.hypot(*size) for size in table.size_wh.tolist()])
    columns = np.ascontiguousarray(table.boxes.T)
    for start, stop in _blocks(table, most):
        one, two = _unordered(table, start, stop)
        measured = BoxPairs(columns.take(one, 1), columns.take(two, 1), diagonals[table.photo[one]])
        a, b = np.concatenate([one, two]), np.concatenate([two, one])
        holds = np.concatenate([holding(measured), holding(measured.turned())], axis=1)
        yield Pairs(a, b, np.tile(measured.gap, 2), holds & may[:, table.kind[a], table.kind[b]])


def _blocks(table: ObjectTable, most: int) -> Iterator[tuple[int, int]]:
    """Photographs start..stop whose pairs together are at most `most`; at least one photograph."""
    counts = np.diff(table.first)
    so_far = np.concatenate([[0], np.cumsum(counts * (counts - 1))])
    start = 0
    while start < table.n_photos:
        stop = int(np.searchsorted(so_far, so_far[start] + most, side="right")) - 1
        stop = max(stop, start + 1)
        if so_far[stop] > so_far[start]:
            yield start, stop
        start = stop


def _unordered(table: ObjectTable, start: int, stop: int) -> tuple[Ints, Ints]:
    """Rows i < j of every two objects of one photograph, for the photographs start..stop."""
    objects = np.arange(table.first[start], table.first[stop])
    left = table.first[table.photo[objects] + 1] - objects - 1  # partners that come after each
    one = np.repeat(objects, left)
    begin = np.repeat(np.cumsum(left) - left, left)
    return one, one + 1 + np.arange(len(one)) - begin


def nearest(table: ObjectTable, pairs: Pairs) -> tuple[Ints, Floats]:
    """Positions in `pairs`: for each object and each other type that is there, the pair with the nearest; its gap.

    As relate.nearest: by the gap, ties by instance id as text.
    """
    kinds = len(table.taxonomy.types)
    base = pairs.a.min() if len(pairs.a) else 0
    slot = (pairs.a - base) * kinds + table.kind[pairs.b]
    least = np.full(int(slot.max()) + 1 if len(slot) else 0, np.inf)
    np.minimum.at(least, slot, pairs.gap)
    tied = np.flatnonzero(pairs.gap == least[slot])
    order = np.lexsort((_as_text(table.numbers(pairs.b[tied])), slot[tied]))
    chosen = tied[order][np.unique(slot[tied][order], return_index=True)[1]]
    return chosen, pairs.gap[chosen]


def _as_text(numbers: Ints) -> Ints:
    """Keys that sort numbers as their texts sort: 1, 10, 100, 11, 2."""
    digits = np.floor(np.log10(numbers)).astype(np.int64) + 1
    return numbers * 10 ** (12 - digits) * 16 + digits
