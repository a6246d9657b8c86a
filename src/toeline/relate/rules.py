"""The rule table: what each relation name means. Knows measures and type names; knows nothing of scenes or wording."""

from __future__ import annotations

from collections.abc import Callable

from toeline.core.box import Box
from toeline.relate.geometry import Pair, gap, measure

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

Rule = Callable[[Pair], bool]


def pair(subject: Box, other: Box, *, diagonal_px: float) -> Pair:
    """What the rules look at: two boxes measured, with CLEARLY_APART as the least offset that is a direction.

    >>> pair(Box(0, 0, 10, 10), Box(13, 4, 20, 9), diagonal_px=30).gap
    0.1
    """
    return measure(subject, other, diagonal_px=diagonal_px, least_apart=CLEARLY_APART)


def is_inside(p: Pair) -> bool:
    """Nearly all of the subject lies within the other, which is larger: shared / subject >= INSIDE_SHARE.

    >>> bush, stone = Box(11, 10, 20, 20), Box(10, 10, 90, 40)
    >>> is_inside(pair(bush, stone, diagonal_px=100)), is_inside(pair(stone, bush, diagonal_px=100))
    (True, False)
    """
    return p.a_in_b >= INSIDE_SHARE and p.a_in_b > p.b_in_a


def _nested(p: Pair) -> bool:
    """One is inside the other: then neither is above or left of the other."""
    return max(p.a_in_b, p.b_in_a) >= INSIDE_SHARE and p.a_in_b != p.b_in_a


def is_above(p: Pair) -> bool:
    """They lie apart along y (geometry.apart, CLEARLY_APART), the subject's center is higher;
    neither is inside the other.

    >>> drain, toe = Box(45, 0, 55, 60), Box(0, 55, 100, 70)
    >>> is_above(pair(drain, toe, diagonal_px=100)), is_above(pair(toe, drain, diagonal_px=100))
    (True, False)
    """
    return p.axis == "y" and p.dy_px > 0 and not _nested(p)


def is_below(p: Pair) -> bool:
    """The other is above the subject.

    >>> is_below(pair(Box(0, 55, 100, 70), Box(45, 0, 55, 60), diagonal_px=100))
    True
    """
    return p.axis == "y" and p.dy_px < 0 and not _nested(p)


def is_left_of(p: Pair) -> bool:
    """They lie apart along x (geometry.apart, CLEARLY_APART), the subject's center is further left;
    neither is inside the other.

    >>> stone, drain = Box(0, 40, 40, 60), Box(42, 0, 50, 62)
    >>> is_left_of(pair(stone, drain, diagonal_px=100)), is_left_of(pair(drain, stone, diagonal_px=100))
    (True, False)
    """
    return p.axis == "x" and p.dx_px > 0 and not _nested(p)


def is_right_of(p: Pair) -> bool:
    """The other is left of the subject.

    >>> is_right_of(pair(Box(42, 0, 50, 62), Box(0, 40, 40, 60), diagonal_px=100))
    True
    """
    return p.axis == "x" and p.dx_px < 0 and not _nested(p)


def is_at_lower_end_of(p: Pair) -> bool:
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


def is_overlapping(p: Pair) -> bool:
    """A real part of the smaller box is shared: shared / smaller >= OVERLAP_SHARE.

    >>> is_overlapping(pair(Box(0, 0, 10, 10), Box(5, 5, 40, 40), diagonal_px=100))
    True
    """
    return max(p.a_in_b, p.b_in_a) >= OVERLAP_SHARE


def is_covering(p: Pair) -> bool:
    """The subject hides a real part of the other: shared / other >= COVER_SHARE.

    >>> is_covering(pair(Box(0, 20, 30, 40), Box(10, 0, 20, 100), diagonal_px=100))
    True
    """
    return p.b_in_a >= COVER_SHARE


def is_next_to(p: Pair) -> bool:
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
