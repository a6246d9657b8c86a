"""What `relate` says, for every two objects of a data set at once. Exactly the same, by test; numpy in place of loops.

The rules and their thresholds are those of prompts/relations.py; this file holds their formulas a second time because a
million objects are too many for one Python call a pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from toeline.analysis.table import Bools, Floats, Ints, ObjectTable
from toeline.prompts.relations import (
    CLEARLY_APART,
    COVER_SHARE,
    END_REACH,
    INSIDE_SHARE,
    NAMES,
    NEXT_TO,
    OVERLAP_SHARE,
    may_relate,
)

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


@dataclass(frozen=True)
class _Measured:
    """Boxes (M, 4) of subject and other, and the diagonal (M,), with what the rules need."""

    p: Floats
    q: Floats
    diagonal: Floats

    @cached_property
    def delta(self) -> tuple[Floats, Floats]:
        """Center of the other less center of the subject, across and down, in pixels."""
        p, q = self.p, self.q
        return (q[0] + q[2]) / 2 - (p[0] + p[2]) / 2, (q[1] + q[3]) / 2 - (p[1] + p[3]) / 2

    @cached_property
    def gap(self) -> Floats:
        return gap(self.p, self.q, self.diagonal)

    @cached_property
    def a_in_b(self) -> Floats:
        return _within(self.p, self.q, 0) * _within(self.p, self.q, 1)

    @cached_property
    def b_in_a(self) -> Floats:
        return _within(self.q, self.p, 0) * _within(self.q, self.p, 1)

    @cached_property
    def along(self) -> tuple[Bools, Bools]:
        """Whether they lie apart along x, along y: geometry.apart."""
        p, q = self.p, self.q
        across = _offset(self.delta[0], p[2] - p[0], q[2] - q[0])
        down = _offset(self.delta[1], p[3] - p[1], q[3] - q[1])
        corner = (across >= 1) & (down >= 1)
        x_gap = np.maximum(p[0] - q[2], q[0] - p[2])
        y_gap = np.maximum(p[1] - q[3], q[1] - p[3])
        clear = np.maximum(across, down) >= CLEARLY_APART
        along_y = np.where(corner, y_gap >= x_gap, clear & (down >= across))
        return ~along_y & (corner | clear), along_y


def gap(p: Floats, q: Floats, diagonal: Floats) -> Floats:
    """geometry.gap for boxes in columns (4, M)."""
    dx = np.maximum(np.maximum(p[0] - q[2], q[0] - p[2]), 0.0)
    dy = np.maximum(np.maximum(p[1] - q[3], q[1] - p[3]), 0.0)
    return np.asarray(_hypot(dx, dy) / diagonal)


def _hypot(dx: Floats, dy: Floats) -> Floats:
    """math.hypot, to the last digit: numpy's own may differ there, and a threshold may lie between."""
    out = dx + dy  # right where one of them is 0
    both = np.flatnonzero((dx > 0) & (dy > 0))
    out[both] = list(map(math.hypot, dx[both].tolist(), dy[both].tolist()))
    return out


def _within(p: Floats, q: Floats, axis: int) -> Floats:
    """geometry.share_within along x (0) or y (1)."""
    low, high, other_low, other_high = p[axis], p[axis + 2], q[axis], q[axis + 2]
    length = high - low
    shared = np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0.0)
    point = ((other_low < low) & (low < other_high)) | ((low == other_low) & (other_low == other_high))
    return np.asarray(np.where(length > 0, shared / np.where(length > 0, length, 1.0), point))


def _offset(distance: Floats, side: Floats, other_side: Floats) -> Floats:
    """geometry.offset."""
    reach = (side + other_side) / 2
    flat = np.where(distance != 0, np.inf, 0.0)
    return np.where(reach > 0, np.abs(distance) / np.where(reach > 0, reach, 1.0), flat)


def _at_lower_end(p: Floats, q: Floats, dy: Floats, diagonal: Floats) -> Bools:
    """Whether the subjects `p` are at the lower end of `q`, whose centers lie `dy` pixels lower."""
    out = (q[3] - q[1] > q[2] - q[0]) & (dy < 0)
    at = np.flatnonzero(out)
    bottom = np.stack([q[0, at], q[3, at], q[2, at], q[3, at]])
    out[at] = gap(p[:, at], bottom, diagonal[at]) <= END_REACH
    return np.asarray(out)


def _rules(m: _Measured) -> Bools:
    """(rules, 2 M) in the order of NAMES: every pair, then every pair turned. Types are not yet looked at."""
    (dx, dy), (along_x, along_y) = m.delta, m.along
    in_other, in_subject = m.a_in_b, m.b_in_a
    free = ~((np.maximum(in_other, in_subject) >= INSIDE_SHARE) & (in_other != in_subject))
    overlapping = np.maximum(in_other, in_subject) >= OVERLAP_SHARE
    close = (m.gap <= NEXT_TO) & ~overlapping
    above, below = along_y & (dy > 0) & free, along_y & (dy < 0) & free
    left, right = along_x & (dx > 0) & free, along_x & (dx < 0) & free
    there_and_back = {
        "at_lower_end_of": (_at_lower_end(m.p, m.q, dy, m.diagonal), _at_lower_end(m.q, m.p, -dy, m.diagonal)),
        "covers": (in_subject >= COVER_SHARE, in_other >= COVER_SHARE),
        "inside": (
            (in_other >= INSIDE_SHARE) & (in_other > in_subject),
            (in_subject >= INSIDE_SHARE) & (in_subject > in_other),
        ),
        "above": (above, below),
        "below": (below, above),
        "left_of": (left, right),
        "right_of": (right, left),
        "overlaps": (overlapping, overlapping),
        "next_to": (close, close),
    }
    return np.stack([np.concatenate(there_and_back[name]) for name in NAMES])


def legal(table: ObjectTable) -> Bools:
    """(rules, types, types): which types may stand in which relation, as subject and as other."""
    kinds = [t.name for t in table.taxonomy.types]
    return np.array([[[may_relate(name, a, b) for b in kinds] for a in kinds] for name in NAMES])


def ordered_pairs(table: ObjectTable, *, most: int = MOST_PAIRS) -> Iterator[Pairs]:
    """Every ordered pair of objects of one photograph, in blocks of whole photographs; in no certain order within."""
    may = legal(table)
    diagonals = np.array([math.hypot(*size) for size in table.size_wh.tolist()])
    columns = table.boxes.T
    for start, stop in _blocks(table, most):
        one, two = _unordered(table, start, stop)
        m = _Measured(columns[:, one], columns[:, two], diagonals[table.photo[one]])
        a, b = np.concatenate([one, two]), np.concatenate([two, one])
        holds = _rules(m) & may[:, table.kind[a], table.kind[b]]
        yield Pairs(a, b, np.tile(m.gap, 2), holds)


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

    As relate.nearest: by the gap, ties by thing id as text.
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
