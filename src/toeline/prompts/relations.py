"""Where the boxes of a photograph lie to one another: one table of rules on arrays of box pairs.

`relate` and `around` ask it of one scene, the analysis of a data set asks it of blocks of many photographs. Nothing
here knows wording or the condition of an object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.scene import RELATIONS, Instance, Relation, Scene

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Every number below was chosen on the train photographs only; docs/decisions/0002-relations.md shows the counts.
EDGE_ERROR = 0.1
"""How far an edge may be off, as a share of the box's side, before a relation should change: with all four edges off
by a tenth the IoU is 0.64 to 0.69, a detection that still counts as right."""
CLEARLY_APART = 2 * EDGE_ERROR
"""Least offset of two centers (see BoxPairs.along) that is a direction and not chance: when every edge is off by
EDGE_ERROR (standard deviation), the offset of two boxes alike in size is off by as much, so this is two of those."""
OVERLAP_SHARE = EDGE_ERROR
"""Least shared part of the smaller box. Two boxes that only touch share up to about this much when their edges err."""
INSIDE_SHARE = 1 - EDGE_ERROR
"""Least part of the subject within the other. A box inside another loses about this much when one of its edges errs."""
COVER_SHARE = EDGE_ERROR
"""Least part of the other that the subject hides; less could be the error of an edge."""
NEXT_TO = 0.04
"""Widest gap, a share of the diagonal. Gaps to the nearest object are frequent up to here and then thin out."""
END_REACH = 0.03
"""Widest gap from the end of a drain to what it ends at, a share of the diagonal: EDGE_ERROR of a median slope drain's
length and of a median toe drain's height together. The next toe drain down the face is never nearer than twice this."""


@dataclass(frozen=True)
class BoxPairs:
    """M ordered pairs of boxes; `a` are the subjects, `b` the others: xyxy in pixels as rows, (4, M).

    `diagonal_px` (M,) is that of their photographs. Every measure below is (M,) too. Take columns with `take`: what
    comes out of `[:, at]` lies the other way round in memory and is several times slower to measure.
    """

    a: Floats
    b: Floats
    diagonal_px: Floats

    @cached_property
    def offset_px(self) -> Floats:
        """(2, M): center of b less center of a, across and down."""
        return (self.b[:2] + self.b[2:]) / 2 - (self.a[:2] + self.a[2:]) / 2

    @cached_property
    def gap(self) -> Floats:
        """Shortest distance of the two boxes as a share of the diagonal; 0 when they touch or overlap."""
        return gaps(self.a, self.b, self.diagonal_px)

    @cached_property
    def a_in_b(self) -> Floats:
        """The share of a's area that b covers, 0 to 1."""
        return _share_within(self.a, self.b)

    @cached_property
    def b_in_a(self) -> Floats:
        """The share of b's area that a covers, 0 to 1."""
        return _share_within(self.b, self.a)

    @cached_property
    def shared(self) -> Floats:
        """The shared part of the smaller box, 0 to 1."""
        return np.maximum(self.a_in_b, self.b_in_a)

    @cached_property
    def side_by_side(self) -> Bools:
        """Neither is inside the other: only then is one above or left of the other."""
        return np.asarray((self.shared < INSIDE_SHARE) | (self.a_in_b == self.b_in_a))

    @cached_property
    def along(self) -> tuple[Bools, Bools]:
        """Whether they lie apart along x, and along y; neither when their centers nearly agree.

        The axis along which the centers are further apart as a share of half the sum of the sides (0 concentric, 1
        edge to edge, above 1 there is a gap), if that is CLEARLY_APART or more. Boxes that share neither a column nor
        a row are apart along the wider gap in pixels, so that y is the quadrant up or down from corner to corner. y in
        a tie.

        >>> tall, flat = Box(45, 0, 55, 60), Box(0, 55, 100, 70)
        >>> measure([tall, Box(0, 0, 10, 10)], [flat, Box(1, 1, 11, 11)], 100).along
        (array([False, False]), array([ True, False]))
        """
        a, b = self.a, self.b
        reach_px = ((a[2:] - a[:2]) + (b[2:] - b[:2])) / 2
        flat = np.where(self.offset_px != 0, np.inf, 0.0)  # without extent along an axis
        across, down = np.divide(np.abs(self.offset_px), reach_px, out=flat, where=reach_px > 0)
        corner = (across >= 1) & (down >= 1)
        x_gap_px, y_gap_px = np.maximum(a[:2] - b[2:], b[:2] - a[2:])
        clear = np.maximum(across, down) >= CLEARLY_APART
        along_y = np.where(corner, y_gap_px >= x_gap_px, clear & (down >= across))
        return ~along_y & (corner | clear), along_y

    @cached_property
    def b_runs_down(self) -> Bools:
        """The other is taller than wide."""
        return np.asarray(self.b[3] - self.b[1] > self.b[2] - self.b[0])

    def turned(self) -> BoxPairs:
        """The same pairs with b as the subject; what was measured both ways alike is not measured again."""
        other = BoxPairs(self.b, self.a, self.diagonal_px)
        exchanged = {"offset_px": -self.offset_px, "a_in_b": self.b_in_a, "b_in_a": self.a_in_b}
        alike = {name: getattr(self, name) for name in ("gap", "shared", "side_by_side", "along")}
        vars(other).update(exchanged | alike)
        return other


def measure(subjects: Sequence[Box], others: Sequence[Box], diagonal_px: float) -> BoxPairs:
    """The pairs of the first subject with the first other, and so on; one subject may stand before many others.

    >>> measure([Box(0, 0, 10, 10)], [Box(13, 4, 20, 9), Box(5, 5, 9, 9)], 30).gap
    array([0.1, 0. ])
    """
    a, b = np.broadcast_arrays(corners(subjects), corners(others))
    return BoxPairs(a, b, np.full(a.shape[1], diagonal_px))


def corners(boxes: Sequence[Box]) -> Floats:
    """Boxes as columns: xyxy in pixels, (4, N)."""
    return np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4).T


def gaps(a: Floats, b: Floats, diagonal_px: Floats | float) -> Floats:
    """Shortest distances between boxes in columns (4, M) as shares of the diagonal; 0 when they touch or overlap.

    Both sides are divided by the one length, so a pixel counts the same across and down.
    """
    dx, dy = np.maximum(np.maximum(a[:2] - b[2:], b[:2] - a[2:]), 0.0)
    out = dx + dy  # right where one of them is 0
    both = np.flatnonzero((dx > 0) & (dy > 0))
    out[both] = list(map(math.hypot, dx[both].tolist(), dy[both].tolist()))  # numpy's own differs in the last digit
    return np.asarray(out / diagonal_px)


def gap(a: Box, b: Box, *, diagonal_px: float) -> float:
    """The gap of two boxes.

    >>> gap(Box(0, 0, 10, 10), Box(13, 4, 20, 9), diagonal_px=30)
    0.1
    """
    return float(gaps(corners([a]), corners([b]), diagonal_px)[0])


def _share_within(a: Floats, b: Floats) -> Floats:
    """The share, 0 to 1, of a's extent that lies within b's: across times down.

    An extent of no length counts as wholly within (1) when it lies between the other's ends or on the same point,
    and as outside (0) at one of its ends: there it only touches.
    """
    low, high, other_low, other_high = a[:2], a[2:], b[:2], b[2:]
    shared_px = np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0.0)
    length_px = high - low
    if length_px.all():  # nearly always
        share = shared_px / length_px
    else:
        point = ((other_low < low) & (low < other_high)) | ((low == other_low) & (other_low == other_high))
        share = np.divide(shared_px, length_px, out=point.astype(np.float64), where=length_px > 0)
    return np.asarray(share[0] * share[1])


Rule = Callable[[BoxPairs], Bools]


def is_inside(p: BoxPairs) -> Bools:
    """Nearly all of the subject lies within the other, which is larger: shared / subject >= INSIDE_SHARE.

    >>> bush, stone = Box(11, 10, 20, 20), Box(10, 10, 90, 40)
    >>> is_inside(measure([bush, stone], [stone, bush], 100))
    array([ True, False])
    """
    return np.asarray((p.a_in_b >= INSIDE_SHARE) & (p.a_in_b > p.b_in_a))


def is_above(p: BoxPairs) -> Bools:
    """They lie apart along y, the subject's center is higher; neither is inside the other.

    >>> drain, toe = Box(45, 0, 55, 60), Box(0, 55, 100, 70)
    >>> is_above(measure([drain, toe], [toe, drain], 100))
    array([ True, False])
    """
    return np.asarray(p.along[1] & (p.offset_px[1] > 0) & p.side_by_side)


def is_below(p: BoxPairs) -> Bools:
    """The other is above the subject."""
    return np.asarray(p.along[1] & (p.offset_px[1] < 0) & p.side_by_side)


def is_left_of(p: BoxPairs) -> Bools:
    """They lie apart along x, the subject's center is further left; neither is inside the other.

    >>> stone, drain = Box(0, 40, 40, 60), Box(42, 0, 50, 62)
    >>> is_left_of(measure([stone, drain], [drain, stone], 100))
    array([ True, False])
    """
    return np.asarray(p.along[0] & (p.offset_px[0] > 0) & p.side_by_side)


def is_right_of(p: BoxPairs) -> Bools:
    """The other is left of the subject."""
    return np.asarray(p.along[0] & (p.offset_px[0] < 0) & p.side_by_side)


def is_at_lower_end_of(p: BoxPairs) -> Bools:
    """The other is taller than wide, its center is higher, its bottom edge END_REACH or less from the subject.

    >>> drain, toe = Box(45, 0, 55, 60), Box(0, 62, 100, 70)
    >>> is_at_lower_end_of(measure([toe], [drain, Box(45, 0, 55, 40)], 100))
    array([ True, False])
    """
    holds = p.b_runs_down & (p.offset_px[1] < 0)
    at = np.flatnonzero(holds)
    holds[at] = gap_to_bottom(p.a.take(at, 1), p.b.take(at, 1), p.diagonal_px[at]) <= END_REACH
    return np.asarray(holds)


def gap_to_bottom(a: Floats, b: Floats, diagonal_px: Floats) -> Floats:
    """Gaps between boxes `a` and the bottom edges of `b`, in columns (4, M), as shares of the diagonal."""
    return gaps(a, b.take([0, 3, 2, 3], 0), diagonal_px)


def is_overlapping(p: BoxPairs) -> Bools:
    """A real part of the smaller box is shared: shared / smaller >= OVERLAP_SHARE.

    >>> is_overlapping(measure([Box(0, 0, 10, 10)], [Box(5, 5, 40, 40)], 100))
    array([ True])
    """
    return np.asarray(p.shared >= OVERLAP_SHARE)


def is_covering(p: BoxPairs) -> Bools:
    """The subject hides a real part of the other: shared / other >= COVER_SHARE.

    >>> is_covering(measure([Box(0, 20, 30, 40)], [Box(10, 0, 20, 100)], 100))
    array([ True])
    """
    return np.asarray(p.b_in_a >= COVER_SHARE)


def is_next_to(p: BoxPairs) -> Bools:
    """The gap is NEXT_TO or less, and they do not overlap.

    >>> is_next_to(measure([Box(0, 0, 10, 10)], [Box(14, 0, 20, 10), Box(15, 0, 20, 10)], 100))
    array([ True, False])
    """
    return np.asarray((p.gap <= NEXT_TO) & ~is_overlapping(p))


NAMES = RELATIONS
RULES: dict[str, Rule] = dict(
    zip(
        NAMES,
        (
            *(is_at_lower_end_of, is_covering, is_inside, is_above, is_below),
            *(is_left_of, is_right_of, is_overlapping, is_next_to),
        ),
        strict=True,
    )
)


def holding(p: BoxPairs) -> Bools:
    """(rules, M), in the order of NAMES: which rules hold for the boxes. Types are looked at by `may_relate`."""
    return np.stack([rule(p) for rule in RULES.values()])


# A name that says no more once the other is said.
IMPLIED = {"inside": "overlaps", "covers": "overlaps"}

# Types of the default taxonomy, and which (subject, other) of them may take part in the two relations that mean
# something only for some types. A pair with a type that is not listed here is judged by its geometry alone.
KNOWN_TYPES = frozenset({"toe_drain", "rock_toe", "slope_drain", "vegetation"})
PARTNERS: dict[str, frozenset[tuple[str, str]]] = {
    "at_lower_end_of": frozenset({("toe_drain", "slope_drain")}),
    "covers": frozenset({("vegetation", "toe_drain"), ("vegetation", "slope_drain"), ("vegetation", "rock_toe")}),
}


@cache
def may_relate(name: str, subject_kind: str, other_kind: str) -> bool:
    """Whether objects of these types can stand in relation `name` at all.

    >>> may_relate("covers", "vegetation", "toe_drain"), may_relate("covers", "toe_drain", "vegetation")
    (True, False)
    >>> may_relate("covers", "tarpaulin", "pipe")           # of another taxonomy
    True
    """
    partners = PARTNERS.get(name)
    if partners is None or not KNOWN_TYPES.issuperset((subject_kind, other_kind)):
        return True
    return (subject_kind, other_kind) in partners


def mirrored(scene: Scene) -> Scene:
    """The scene as in a mirror: left and right exchanged, ids and types kept.

    >>> from pathlib import Path
    >>> from toeline.core.scene import Instance
    >>> scene = Scene(Path("a.jpg"), (100, 50), (Instance("t0", "rock_toe", Box(0, 10, 30, 20)),))
    >>> mirrored(scene).instances[0].box
    Box(x1=70, y1=10, x2=100, y2=20)
    """
    wide = scene.size_wh[0]
    instances = (
        replace(t, box=t.box.mirrored(wide), polygon=tuple((wide - x, y) for x, y in t.polygon))
        for t in scene.instances
    )
    return replace(scene, instances=tuple(instances))


NAMES_PER_NEIGHBOR = 2


def every_two(scene: Scene) -> tuple[list[tuple[Instance, Instance]], BoxPairs]:
    """Every two objects of a scene, both ways, in the order of subject and other; and their boxes."""
    boxes, n = corners([t.box for t in scene.instances]), len(scene.instances)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    pairs = [(scene.instances[a], scene.instances[b]) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    return pairs, BoxPairs(boxes.take(i, 1), boxes.take(j, 1), np.full(len(i), scene.diagonal))


def _relations(pairs: Sequence[tuple[Instance, Instance]], measured: BoxPairs) -> Iterator[Relation]:
    """In the order of the pairs, and for each in that of NAMES."""
    at, rules = np.nonzero(holding(measured).T)
    distances = measured.gap.tolist()
    for i, rule in zip(at.tolist(), rules.tolist(), strict=True):
        (subject, other), name = pairs[i], NAMES[rule]
        if may_relate(name, subject.type_name, other.type_name):
            yield Relation(subject.id, name, other.id, distances[i])


def relate(scene: Scene) -> tuple[Relation, ...]:
    """Every relation between every two objects, both ways, in the order of subject, other (as in the scene) and rule.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> drain = Instance("t0", "slope_drain", Box(45, 0, 50, 70))
    >>> toe = Instance("t1", "toe_drain", Box(0, 69, 100, 80))
    >>> for r in relate(Scene(Path("a.jpg"), (100, 100), (drain, toe))):
    ...     print(r.subject, r.name, r.other, r.distance)
    t0 above t1 0.0
    t0 next_to t1 0.0
    t1 at_lower_end_of t0 0.0
    t1 below t0 0.0
    t1 next_to t0 0.0
    """
    return tuple(_relations(*every_two(scene))) if len(scene.instances) > 1 else ()


def _by_distance(scene: Scene, instance: Instance) -> list[Instance]:
    """All other objects, nearest first, ties by id."""
    others = [t for t in scene.instances if t.id != instance.id]
    far = gaps(corners([instance.box]), corners([t.box for t in others]), scene.diagonal).tolist()
    return [t for _, t in sorted(zip(far, others, strict=True), key=lambda one: (one[0], one[1].id))]


def nearest(scene: Scene, instance_id: str, kind: str) -> Instance | None:
    """The nearest other object of a type, by the gap between boxes, ties by id; None when there is none.

    Pairing with the nearest keeps to one berm in photographs that show several. Raises KeyError for an unknown id.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> rows = (Box(0, 10, 100, 20), Box(0, 80, 100, 90))
    >>> instances = [Instance(f"t{i}", "toe_drain", box) for i, box in enumerate(rows)]
    >>> scene = Scene(Path("a.jpg"), (100, 100), (*instances, Instance("t2", "slope_drain", Box(50, 40, 55, 78))))
    >>> nearest(scene, "t2", "toe_drain").id
    't1'
    """
    return next((t for t in _by_distance(scene, scene.instance(instance_id)) if t.type_name == kind), None)


def _chosen(ordered: list[Instance], limit: int) -> list[Instance]:
    """At most `limit` of `ordered`, in that order: the first of each type, then whatever comes first."""
    first = {t.type_name: t for t in reversed(ordered)}
    ranked = sorted(ordered, key=lambda t: t is not first[t.type_name])  # stable: nearest first within both halves
    kept = {t.id for t in ranked[:limit]}
    return [t for t in ordered if t.id in kept]


def _telling(held: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """The first of the relations to one neighbor that no other one implies."""
    implied = {IMPLIED.get(r.name) for r in held}
    return tuple(r for r in held if r.name not in implied)[:NAMES_PER_NEIGHBOR]


def around(scene: Scene, instance_id: str, *, limit: int = 4) -> tuple[Relation, ...]:
    """Relations of one object, as the subject, to its nearest neighbors: what a prompt lists.

    At most `limit` neighbors, nearest first, ties by id; the nearest one of each type is among them if there are no
    more than `limit` types, else those of the nearest types. One or two relations for each neighbor: the first two of
    the rule table that hold, without those that another implies (inside and covers imply overlaps).
    Raises KeyError for an unknown id and ValueError for a negative limit.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> drain = Instance("t0", "slope_drain", Box(45, 0, 50, 70))
    >>> toe = Instance("t1", "toe_drain", Box(0, 69, 100, 80))
    >>> [(r.name, r.other) for r in around(Scene(Path("a.jpg"), (100, 100), (drain, toe)), "t1")]
    [('at_lower_end_of', 't0'), ('below', 't0')]
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}; it is a count of neighbors, 0 or more")
    instance = scene.instance(instance_id)
    neighbors = _chosen(_by_distance(scene, instance), limit)
    measured = measure([instance.box], [t.box for t in neighbors], scene.diagonal)
    found = groupby(_relations([(instance, t) for t in neighbors], measured), key=lambda r: r.other)
    return tuple(relation for _, held in found for relation in _telling(tuple(held)))
