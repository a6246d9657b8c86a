"""The rule table: what each relation name means. Knows measures and type names; knows nothing of scenes or wording."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Literal, NamedTuple

from toeline.core.box import Box
from toeline.core.scene import Instance, Relation, Scene

# Every number below was chosen on the train photographs only; docs/decisions/0002-relations.md shows the counts.
EDGE_ERROR = 0.1
"""How far an edge may be off, as a share of the box's side, before a relation should change: with all four edges off
by a tenth the IoU is 0.64 to 0.69, a detection that still counts as right."""
CLEARLY_APART = 2 * EDGE_ERROR
"""Least offset of two centers (see geometry.offset) that is a direction and not chance: when every edge is off by
EDGE_ERROR (standard deviation), the offset of two boxes alike in size is off by as much, so this is two of those."""
OVERLAP_SHARE = EDGE_ERROR
"""Least shared part of the smaller box. Two boxes that only touch share up to about this much when their edges err."""
INSIDE_SHARE = 1 - EDGE_ERROR
"""Least part of the subject within the other. A box inside another loses about this much when one of its edges errs."""
COVER_SHARE = EDGE_ERROR
"""Least part of the other that the subject hides; less could be the error of an edge."""
NEXT_TO = 0.04
"""Widest gap, a share of the diagonal. Gaps to the nearest thing are frequent up to here and thin out evenly beyond."""
END_REACH = 0.03
"""Widest gap from the end of a drain to what it ends at, a share of the diagonal: EDGE_ERROR of a median slope drain's
length and of a median toe drain's height together. The next toe drain down the face is never nearer than twice this."""


class BoxPair(NamedTuple):
    """What the rules need to know of an ordered pair of boxes, measured once; `a` is the subject, `b` the other.

    `dx_px`, `dy_px`: center of b less center of a, in pixels. `gap`: share of the diagonal. `a_in_b`: the share of
    a's area that b covers, 0 to 1, and `b_in_a` the other way. `axis`: along which the boxes lie apart, see `apart`.
    """

    a: Box
    b: Box
    diagonal_px: float
    dx_px: float
    dy_px: float
    gap: float
    a_in_b: float
    b_in_a: float
    axis: Axis

    def turned(self) -> BoxPair:
        """The same two boxes with b as the subject: every measure is exchanged, none is taken again."""
        a, b, diagonal_px, dx_px, dy_px, gap_share, a_in_b, b_in_a, axis = self
        return BoxPair(b, a, diagonal_px, -dx_px, -dy_px, gap_share, b_in_a, a_in_b, axis)


Rule = Callable[[BoxPair], bool]


def pair(subject: Box, other: Box, *, diagonal_px: float) -> BoxPair:
    """What the rules look at: two boxes measured, with CLEARLY_APART as the least offset that is a direction.

    >>> pair(Box(0, 0, 10, 10), Box(13, 4, 20, 9), diagonal_px=30).gap
    0.1
    """
    return measure(subject, other, diagonal_px=diagonal_px, least_apart=CLEARLY_APART)


def is_inside(p: BoxPair) -> bool:
    """Nearly all of the subject lies within the other, which is larger: shared / subject >= INSIDE_SHARE.

    >>> bush, stone = Box(11, 10, 20, 20), Box(10, 10, 90, 40)
    >>> is_inside(pair(bush, stone, diagonal_px=100)), is_inside(pair(stone, bush, diagonal_px=100))
    (True, False)
    """
    return p.a_in_b >= INSIDE_SHARE and p.a_in_b > p.b_in_a


def _nested(p: BoxPair) -> bool:
    """One is inside the other: then neither is above or left of the other."""
    return max(p.a_in_b, p.b_in_a) >= INSIDE_SHARE and p.a_in_b != p.b_in_a


def is_above(p: BoxPair) -> bool:
    """They lie apart along y (geometry.apart, CLEARLY_APART), the subject's center is higher;
    neither is inside the other.

    >>> drain, toe = Box(45, 0, 55, 60), Box(0, 55, 100, 70)
    >>> is_above(pair(drain, toe, diagonal_px=100)), is_above(pair(toe, drain, diagonal_px=100))
    (True, False)
    """
    return p.axis == "y" and p.dy_px > 0 and not _nested(p)


def is_below(p: BoxPair) -> bool:
    """The other is above the subject.

    >>> is_below(pair(Box(0, 55, 100, 70), Box(45, 0, 55, 60), diagonal_px=100))
    True
    """
    return p.axis == "y" and p.dy_px < 0 and not _nested(p)


def is_left_of(p: BoxPair) -> bool:
    """They lie apart along x (geometry.apart, CLEARLY_APART), the subject's center is further left;
    neither is inside the other.

    >>> stone, drain = Box(0, 40, 40, 60), Box(42, 0, 50, 62)
    >>> is_left_of(pair(stone, drain, diagonal_px=100)), is_left_of(pair(drain, stone, diagonal_px=100))
    (True, False)
    """
    return p.axis == "x" and p.dx_px > 0 and not _nested(p)


def is_right_of(p: BoxPair) -> bool:
    """The other is left of the subject.

    >>> is_right_of(pair(Box(42, 0, 50, 62), Box(0, 40, 40, 60), diagonal_px=100))
    True
    """
    return p.axis == "x" and p.dx_px < 0 and not _nested(p)


def is_at_lower_end_of(p: BoxPair) -> bool:
    """The other is taller than wide, its center is higher, its bottom edge END_REACH or less from the subject.

    >>> drain, toe = Box(45, 0, 55, 60), Box(0, 62, 100, 70)
    >>> is_at_lower_end_of(pair(toe, drain, diagonal_px=100))
    True
    >>> is_at_lower_end_of(pair(toe, Box(45, 0, 55, 40), diagonal_px=100))
    False
    """
    runs_down = p.b.height > p.b.width and p.dy_px < 0
    bottom = Box(p.b.x1, p.b.y2, p.b.x2, p.b.y2)
    return runs_down and gap(p.a, bottom, diagonal_px=p.diagonal_px) <= END_REACH


def is_overlapping(p: BoxPair) -> bool:
    """A real part of the smaller box is shared: shared / smaller >= OVERLAP_SHARE.

    >>> is_overlapping(pair(Box(0, 0, 10, 10), Box(5, 5, 40, 40), diagonal_px=100))
    True
    """
    return max(p.a_in_b, p.b_in_a) >= OVERLAP_SHARE


def is_covering(p: BoxPair) -> bool:
    """The subject hides a real part of the other: shared / other >= COVER_SHARE.

    >>> is_covering(pair(Box(0, 20, 30, 40), Box(10, 0, 20, 100), diagonal_px=100))
    True
    """
    return p.b_in_a >= COVER_SHARE


def is_next_to(p: BoxPair) -> bool:
    """The gap is NEXT_TO or less, and they do not overlap.

    >>> is_next_to(pair(Box(0, 0, 10, 10), Box(14, 0, 20, 10), diagonal_px=100))
    True
    >>> is_next_to(pair(Box(0, 0, 10, 10), Box(15, 0, 20, 10), diagonal_px=100))
    False
    """
    return p.gap <= NEXT_TO and not is_overlapping(p)


# The order is that of relate(), and the order in which around() prefers names: the rarest and most telling first.
RULES: dict[str, Rule] = {
    "at_lower_end_of": is_at_lower_end_of,
    "covers": is_covering,
    "inside": is_inside,
    "above": is_above,
    "below": is_below,
    "left_of": is_left_of,
    "right_of": is_right_of,
    "overlaps": is_overlapping,
    "next_to": is_next_to,
}
NAMES = tuple(RULES)

# A name that says no more once the other is said.
IMPLIED = {"inside": "overlaps", "covers": "overlaps"}

# Types of the default taxonomy, and which (subject, other) of them may take part in the two relations that mean
# something only for some types. A pair with a type that is not listed here is judged by its geometry alone.
KNOWN_TYPES = frozenset({"toe_drain", "rock_toe", "slope_drain", "vegetation"})
PARTNERS: dict[str, frozenset[tuple[str, str]]] = {
    "at_lower_end_of": frozenset({("toe_drain", "slope_drain")}),
    "covers": frozenset({("vegetation", "toe_drain"), ("vegetation", "slope_drain"), ("vegetation", "rock_toe")}),
}


def may_relate(name: str, subject_kind: str, other_kind: str) -> bool:
    """Whether things of these types can stand in relation `name` at all.

    >>> may_relate("covers", "vegetation", "toe_drain"), may_relate("covers", "toe_drain", "vegetation")
    (True, False)
    >>> may_relate("covers", "tarpaulin", "pipe")           # of another owner's taxonomy
    True
    """
    partners = PARTNERS.get(name)
    if partners is None or not KNOWN_TYPES.issuperset((subject_kind, other_kind)):
        return True
    return (subject_kind, other_kind) in partners


Axis = Literal["x", "y", ""]


def gap(a: Box, b: Box, *, diagonal_px: float) -> float:
    """Shortest distance between two boxes as a share of the image diagonal; 0 when they touch or overlap.

    Both sides are divided by the one length, so a pixel counts the same across and down.

    >>> gap(Box(0, 0, 10, 10), Box(13, 4, 20, 9), diagonal_px=30)
    0.1
    """
    dx_px = max(a.x1 - b.x2, b.x1 - a.x2, 0.0)
    dy_px = max(a.y1 - b.y2, b.y1 - a.y2, 0.0)
    return math.hypot(dx_px, dy_px) / diagonal_px


def share_within(low: float, high: float, other_low: float, other_high: float) -> float:
    """Share, 0 to 1, of the interval low..high that lies within the other interval.

    An interval of no length counts as wholly within (1) when it lies between the other's ends or on the same point,
    and as outside (0) at one of its ends: there it only touches.

    >>> share_within(0, 10, 8, 20), share_within(5, 5, 0, 10), share_within(0, 0, 0, 10)
    (0.2, 1.0, 0.0)
    """
    if low < high:
        return max(min(high, other_high) - max(low, other_low), 0.0) / (high - low)
    return 1.0 if other_low < low < other_high or low == other_low == other_high else 0.0


def offset(distance_px: float, side_px: float, other_side_px: float) -> float:
    """Distance of two centers along one axis over half the sum of the sides: 0 concentric, 1 edge to edge.

    Above 1 there is a gap. Infinite for two boxes without extent along the axis, unless their centers agree.

    >>> offset(-15, 20, 10), offset(0, 0, 0)
    (1.0, 0.0)
    """
    reach_px = (side_px + other_side_px) / 2
    if reach_px > 0:
        return abs(distance_px) / reach_px
    return math.inf if distance_px else 0.0


def apart(a: Box, b: Box, *, least: float) -> Axis:
    """The axis ("x", "y") along which two boxes lie apart, or "" when their centers nearly agree. Symmetric in a and b.

    The axis with the larger `offset`, if that is `least` or more. Boxes that share neither a column nor a row are
    apart along the wider gap in pixels, so that "y" is the quadrant up or down from corner to corner. "y" in a tie.

    >>> apart(Box(45, 0, 55, 60), Box(0, 55, 100, 70), least=0.2)      # a tall box ends in a flat one
    'y'
    >>> apart(Box(0, 0, 10, 10), Box(1, 1, 11, 11), least=0.2)
    ''
    """
    (ax, ay), (bx, by) = a.center, b.center
    x_offset, y_offset = offset(bx - ax, a.width, b.width), offset(by - ay, a.height, b.height)
    if x_offset >= 1 and y_offset >= 1:
        x_gap_px = max(a.x1 - b.x2, b.x1 - a.x2)
        return "y" if max(a.y1 - b.y2, b.y1 - a.y2) >= x_gap_px else "x"
    if max(x_offset, y_offset) < least:
        return ""
    return "y" if y_offset >= x_offset else "x"


def measure(a: Box, b: Box, *, diagonal_px: float, least_apart: float) -> BoxPair:
    """All that the rules need to know of a and b.

    >>> measure(Box(0, 0, 10, 10), Box(0, 20, 10, 40), diagonal_px=100, least_apart=0.2).axis
    'y'
    """
    (ax, ay), (bx, by) = a.center, b.center
    a_in_b = share_within(a.x1, a.x2, b.x1, b.x2) * share_within(a.y1, a.y2, b.y1, b.y2)
    b_in_a = share_within(b.x1, b.x2, a.x1, a.x2) * share_within(b.y1, b.y2, a.y1, a.y2)
    gap_share = gap(a, b, diagonal_px=diagonal_px)
    return BoxPair(a, b, diagonal_px, bx - ax, by - ay, gap_share, a_in_b, b_in_a, apart(a, b, least=least_apart))


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


@cache
def _rules_for(subject_kind: str, other_kind: str) -> tuple[tuple[str, Rule], ...]:
    return tuple((name, rule) for name, rule in RULES.items() if may_relate(name, subject_kind, other_kind))


def _between(subject: Instance, other: Instance, measured: BoxPair) -> Iterator[Relation]:
    for name, rule in _rules_for(subject.type_name, other.type_name):
        if rule(measured):
            yield Relation(subject.id, name, other.id, measured.gap)


def relate(scene: Scene) -> tuple[Relation, ...]:
    """Every relation between every two things, both ways, in the order of subject, other (as in the scene) and rule.

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
    found: dict[tuple[int, int], tuple[Relation, ...]] = {}
    for (i, a), (j, b) in combinations(enumerate(scene.instances), 2):
        measured = pair(a.box, b.box, diagonal_px=scene.diagonal)
        found[i, j] = tuple(_between(a, b, measured))
        found[j, i] = tuple(_between(b, a, measured.turned()))
    return tuple(relation for key in sorted(found) for relation in found[key])


def _by_distance(scene: Scene, instance: Instance) -> list[Instance]:
    """All other things, nearest first, ties by id."""
    others = (t for t in scene.instances if t.id != instance.id)
    return sorted(others, key=lambda t: (gap(instance.box, t.box, diagonal_px=scene.diagonal), t.id))


def nearest(scene: Scene, instance_id: str, kind: str) -> Instance | None:
    """The nearest other thing of a type, by the gap between boxes, ties by id; None when there is none.

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
    """Relations of one thing, as the subject, to its nearest neighbors: what a prompt lists.

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
    measured = ((other, pair(instance.box, other.box, diagonal_px=scene.diagonal)) for other in neighbors)
    return tuple(relation for other, m in measured for relation in _telling(tuple(_between(instance, other, m))))
