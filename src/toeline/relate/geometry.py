"""Measures between two boxes in pixels, y growing downward. Knows boxes, not types, names or thresholds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, NamedTuple

from toeline.core.box import Box
from toeline.core.scene import Scene

Axis = Literal["x", "y", ""]


class Pair(NamedTuple):
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

    def turned(self) -> Pair:
        """The same two boxes with b as the subject: every measure is exchanged, none is taken again."""
        a, b, diagonal_px, dx_px, dy_px, gap_share, a_in_b, b_in_a, axis = self
        return Pair(b, a, diagonal_px, -dx_px, -dy_px, gap_share, b_in_a, a_in_b, axis)


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


def measure(a: Box, b: Box, *, diagonal_px: float, least_apart: float) -> Pair:
    """All that the rules need to know of a and b.

    >>> measure(Box(0, 0, 10, 10), Box(0, 20, 10, 40), diagonal_px=100, least_apart=0.2).axis
    'y'
    """
    (ax, ay), (bx, by) = a.center, b.center
    a_in_b = share_within(a.x1, a.x2, b.x1, b.x2) * share_within(a.y1, a.y2, b.y1, b.y2)
    b_in_a = share_within(b.x1, b.x2, a.x1, a.x2) * share_within(b.y1, b.y2, a.y1, a.y2)
    gap_share = gap(a, b, diagonal_px=diagonal_px)
    return Pair(a, b, diagonal_px, bx - ax, by - ay, gap_share, a_in_b, b_in_a, apart(a, b, least=least_apart))


def mirrored(scene: Scene) -> Scene:
    """The scene as in a mirror: left and right exchanged, ids and types kept.

    >>> from pathlib import Path
    >>> from toeline.core.scene import Thing
    >>> scene = Scene(Path("a.jpg"), (100, 50), (Thing("t0", "rock_toe", Box(0, 10, 30, 20)),))
    >>> mirrored(scene).things[0].box
    Box(x1=70, y1=10, x2=100, y2=20)
    """
    wide = scene.size_wh[0]
    things = (
        replace(t, box=t.box.mirrored(wide), polygon=tuple((wide - x, y) for x, y in t.polygon)) for t in scene.things
    )
    return replace(scene, things=tuple(things))
