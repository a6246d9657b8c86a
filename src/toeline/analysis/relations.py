"""How often each relation holds between two types, how far apart they are, and two relations that are expected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from toeline.analysis.table import Bools, Floats, Ints, ObjectTable
from toeline.core.box import Box
from toeline.core.statistics import Interval, wilson
from toeline.prompts.relations import NAMES, BoxPairs, holding, may_relate

MOST_PAIRS = 50_000  # measured at once, if no single photograph has more: about 12 MB, and no slower than more
STEPS = 1000  # of the histogram of gaps: medians and quartiles are exact to a thousandth of the diagonal
MOST_LISTED = 500  # listed per relation; the count is always whole


@dataclass(frozen=True)
class Held:
    """A relation holds for `n` of `of` pairs; `interval` takes pairs as independent, which those of a photograph are
    not."""

    n: int
    of: int
    interval: Interval


@dataclass(frozen=True)
class Distance:
    """Gaps between boxes as shares of the diagonal, 0 where they touch; `touching` of `n` do. Quartiles to 0.001."""

    n: int
    touching: int
    mean: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class TypePair:
    """Every `subject` with every `other` of its photograph (`all`), and with the nearest one alone (`nearest`)."""

    subject: str
    other: str
    all: dict[str, Held]
    nearest: dict[str, Held]
    distance: Distance
    nearest_distance: Distance


@dataclass(frozen=True)
class Counterexample:
    """A thing for which a named relation does not hold: lines `line` and `other_line` of `file`, and why not.

    `turned_round` means that it lies below what it should lie above, and is not cut off by the picture's lower border.
    `boxes` are those of both, in pixels.
    """

    photo: str
    file: str
    line: int
    other_line: int
    why: str
    turned_round: bool
    boxes: tuple[Box, Box]


@dataclass(frozen=True)
class Named:
    """A relation that is expected: each `each` with its nearest `other`, whether `rule` holds.

    With `turned` the rule is asked of the other one: "the toe drain is at the lower end of this slope drain".
    """

    title: str
    each: str
    other: str
    rule: str
    turned: bool = False


@dataclass(frozen=True)
class NamedResult:
    """`alone` are things without any of the other type in their photograph; they are not among `held.of`."""

    title: str
    held: Held
    alone: int
    counterexamples: tuple[Counterexample, ...]


@dataclass(frozen=True)
class RelationSection:
    """All ordered pairs of types that are there, and the named relations whose types the taxonomy has."""

    pairs: tuple[TypePair, ...]
    named: tuple[NamedResult, ...]


NAMED = (
    Named("toe drain at the lower end of a slope drain", "slope_drain", "toe_drain", "at_lower_end_of", turned=True),
    Named("rock toe above toe drain", "rock_toe", "toe_drain", "above"),
)


@dataclass
class _Gaps:
    """Sums over gaps of every ordered pair of types, K x K."""

    kinds: int
    count: Ints = field(init=False)
    total: Floats = field(init=False)
    touching: Ints = field(init=False)
    most: Floats = field(init=False)

    def __post_init__(self) -> None:
        square = self.kinds**2
        self.count = np.zeros((square, STEPS + 1), dtype=np.int64)
        self.total, self.most = np.zeros(square), np.zeros(square)
        self.touching = np.zeros(square, dtype=np.int64)

    def add(self, slot: Ints, gaps: Floats) -> None:
        square = self.kinds**2
        step = np.minimum(np.round(gaps * STEPS), STEPS).astype(np.int64)
        flat = np.bincount(slot * (STEPS + 1) + step, minlength=square * (STEPS + 1))
        self.count += flat.reshape(square, STEPS + 1)
        self.total += np.bincount(slot, weights=gaps, minlength=square)
        self.touching += np.bincount(slot[gaps == 0], minlength=square)
        np.maximum.at(self.most, slot, gaps)

    def distance(self, slot: int) -> Distance:
        counts = self.count[slot]
        n = int(counts.sum())
        if not n:
            return Distance(0, 0)
        q1, median, q3 = (np.searchsorted(counts.cumsum(), np.ceil(n * q)) / STEPS for q in (0.25, 0.5, 0.75))
        mean = float(self.total[slot] / n)
        return Distance(n, int(self.touching[slot]), mean, float(q1), float(median), float(q3), float(self.most[slot]))


@dataclass
class _Sums:
    """Counts over blocks of pairs."""

    table: ObjectTable
    gaps: _Gaps
    near_gaps: _Gaps
    held: Ints  # (rules, K * K)
    near_held: Ints
    named: list[_NamedSums]

    def add(self, pairs: Pairs) -> None:
        kinds = self.gaps.kinds
        slot = self.table.kind[pairs.a] * kinds + self.table.kind[pairs.b]
        self.gaps.add(slot, pairs.gap)
        self.held += _per_slot(pairs.holds, slot, kinds)
        chosen, gaps = nearest(self.table, pairs)
        self.near_gaps.add(slot[chosen], gaps)
        self.near_held += _per_slot(pairs.holds[:, chosen], slot[chosen], kinds)
        for sums in self.named:
            sums.add(self.table, pairs, chosen)


@dataclass
class _NamedSums:
    """One named relation over blocks of pairs."""

    named: Named
    each: int
    other: int
    n: int = 0
    of: int = 0
    counterexamples: list[Counterexample] = field(default_factory=list)

    def add(self, table: ObjectTable, pairs: Pairs, chosen: Ints) -> None:
        mine = chosen[(table.kind[pairs.a[chosen]] == self.each) & (table.kind[pairs.b[chosen]] == self.other)]
        asked = pairs.turned(mine) if self.named.turned else mine
        holds = pairs.holds[NAMES.index(self.named.rule), asked]
        self.n += int(holds.sum())
        self.of += len(mine)
        room = MOST_LISTED - len(self.counterexamples)
        self.counterexamples += [_counterexample(table, pairs, at, self.named) for at in mine[~holds][:room].tolist()]


def measure_relations(table: ObjectTable) -> RelationSection:
    """All relations of a data set, in one pass over blocks of photographs."""
    names = [t.name for t in table.taxonomy.types]
    kinds = len(names)
    named = [_NamedSums(n, names.index(n.each), names.index(n.other)) for n in NAMED if {n.each, n.other} <= {*names}]
    zeros = np.zeros((2, len(NAMES), kinds**2), dtype=np.int64)
    sums = _Sums(table, _Gaps(kinds), _Gaps(kinds), zeros[0], zeros[1], named)
    for pairs in ordered_pairs(table):
        sums.add(pairs)
    slots = [(a, b, a * kinds + b) for a in range(kinds) for b in range(kinds)]
    return RelationSection(
        pairs=tuple(_type_pair(sums, names[a], names[b], s) for a, b, s in slots if sums.gaps.count[s].any()),
        named=tuple(_named_result(table, n) for n in named),
    )


def _per_slot(holds: Bools, slot: Ints, kinds: int) -> Ints:
    return np.stack([np.bincount(slot[row], minlength=kinds**2) for row in holds])


def _type_pair(sums: _Sums, subject: str, other: str, slot: int) -> TypePair:
    distance, near = sums.gaps.distance(slot), sums.near_gaps.distance(slot)
    return TypePair(
        subject,
        other,
        all={name: _held(n, distance.n) for name, n in zip(NAMES, sums.held[:, slot].tolist(), strict=True)},
        nearest={name: _held(n, near.n) for name, n in zip(NAMES, sums.near_held[:, slot].tolist(), strict=True)},
        distance=distance,
        nearest_distance=near,
    )


def _held(n: int, of: int) -> Held:
    return Held(n, of, wilson(n, of))


def _named_result(table: ObjectTable, sums: _NamedSums) -> NamedResult:
    alone = int((table.kind == sums.each).sum()) - sums.of
    return NamedResult(sums.named.title, _held(sums.n, sums.of), alone, tuple(sums.counterexamples))


def _counterexample(table: ObjectTable, pairs: Pairs, at: int, named: Named) -> Counterexample:
    a, b = int(pairs.a[at]), int(pairs.b[at])
    photo = int(table.photo[a])
    return Counterexample(
        photo=table.photos[photo],
        file=table.label_files[photo],
        line=int(table.line[a]),
        other_line=int(table.line[b]),
        why=_why_not(table, pairs, at, named),
        turned_round=bool(pairs.holds[NAMES.index("below"), at]) and not _runs_out(table, a),
        boxes=(Box(*table.boxes[a].tolist()), Box(*table.boxes[b].tolist())),
    )


def _runs_out(table: ObjectTable, instance: int) -> bool:
    """Whether a thing ends less than a pixel from the picture's lower border, so that it may go on below it."""
    return bool(table.size_wh[table.photo[instance], 1] - table.boxes[instance, 3] < 1)


def _why_not(table: ObjectTable, pairs: Pairs, at: int, named: Named) -> str:
    """What is there in place of the expected relation, in words."""
    a = int(pairs.a[at])
    each, other = (table.taxonomy.spoken(name) for name in (named.each, named.other))
    said = [name.replace("_", " ") for name, holds in zip(NAMES, pairs.holds[:, at], strict=True) if holds]
    where = f"the {each} is {' and '.join(said)} the nearest {other}".replace("is overlaps", "overlaps")
    runs_out = f", and the {each} runs out of the picture at the bottom" if _runs_out(table, a) else ""
    gap = f", {pairs.gap[at]:.3f} of the diagonal away" if pairs.gap[at] else ""
    return f"{where.replace('and overlaps', 'and overlapping')}{gap}{runs_out}"


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
