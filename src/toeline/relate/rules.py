"""The rule table: what each relation name means. Knows measures and type names; knows nothing of scenes or wording."""

from __future__ import annotations

from collections.abc import Callable

from toeline.core.box import Box
from toeline.relate.geometry import Pair, gap

APART_AT_MOST = 0.5  # of the shorter side
OVERLAP_SHARE = 0.1  # of the smaller box
INSIDE_SHARE = 0.9  # of the subject
COVER_SHARE = 0.1  # of the other
NEXT_TO = 0.05  # of the diagonal
END_REACH = 0.05  # of the diagonal

Rule = Callable[[Pair], bool]


def is_above(p: Pair) -> bool:
    """They lie apart along y and the subject's center is higher."""
    return p.axis == "y" and p.dy_px > 0


def is_below(p: Pair) -> bool:
    """The converse of above."""
    return p.axis == "y" and p.dy_px < 0


def is_left_of(p: Pair) -> bool:
    """They lie apart along x and the subject's center is further left."""
    return p.axis == "x" and p.dx_px > 0


def is_right_of(p: Pair) -> bool:
    """The converse of left_of."""
    return p.axis == "x" and p.dx_px < 0


def is_at_lower_end_of(p: Pair) -> bool:
    """The other, taller than wide, has its center above the subject and its bottom edge within reach of it."""
    runs_down = p.b.height > p.b.width and p.b.center[1] < p.a.y1
    bottom = Box(p.b.x1, p.b.y2, p.b.x2, p.b.y2)
    return runs_down and gap(p.a, bottom, diagonal_px=p.diagonal_px) <= END_REACH


def is_inside(p: Pair) -> bool:
    """Nearly all of the subject lies within the other, which is the larger box."""
    return p.a_in_b >= INSIDE_SHARE and p.a_in_b > p.b_in_a


def is_overlapping(p: Pair) -> bool:
    """A real part of the smaller box is shared."""
    return max(p.a_in_b, p.b_in_a) >= OVERLAP_SHARE


def is_covering(p: Pair) -> bool:
    """The subject hides a real part of the other."""
    return p.b_in_a >= COVER_SHARE


def is_next_to(p: Pair) -> bool:
    """Close by, without overlapping."""
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
