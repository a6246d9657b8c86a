"""Detections from overlapping windows put together: every object once, and none in pieces.

The rules, within one type: the window that sees an object whole is believed; a piece that a window's border cut off
joins what continues beyond that border; what one window saw as two objects stays two. Knows boxes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from toeline.core.box import Box
from toeline.core.polygon import touching
from toeline.core.scene import Detection

TOUCH = 0.035  # share of a window's side: a box that ends so close to a border is taken to go on beyond it
SAME = 0.6  # shared part of the smaller box, from which two whole boxes of two windows are one object
PART = 0.4  # of a cut piece, inside a box that another window saw whole
ACROSS = 0.2  # of the narrower piece, along a border that both are cut by; a slanting drain's boxes share little more
TWICE = 0.33  # IoU of two finished boxes that are one object; true boxes of one type on real photographs reach 0.30
COVERED = 0.5  # of an object seen in the whole photograph, along its longer side, that pieces in tiles bear out

LEFT, TOP, RIGHT, LOW = range(4)
FACING = {LEFT: RIGHT, RIGHT: LEFT, TOP: LOW, LOW: TOP}


class TileView(NamedTuple):
    """A window of the photograph, and what was seen in it; all in pixels of the photograph."""

    window: Box
    found: Sequence[Detection]


@dataclass(frozen=True)
class Piece:
    """One detection, or several that are one object: the windows that saw it, and the inner borders that it ends at."""

    detection: Detection
    box: Box
    looks: frozenset[int]
    cuts: frozenset[int] = frozenset()

    @property
    def score(self) -> float:
        return self.detection.instance.score


def join(
    looks: Sequence[TileView],
    whole: Sequence[Detection],
    size_wh: tuple[int, int],
    *,
    overlap: float,
    more: Sequence[TileView] = (),
) -> list[Detection]:
    """Everything that was seen, each object once, most confident first; ids are those of the windows.

    `whole` is what was seen in the photograph at once, and counts for objects longer than `overlap`, the pixels that
    windows share: shorter ones are seen whole by a window. `more` are looks at single objects, see `loose_ends`; that
    they saw nothing says nothing. A joined object has the outline of none of its pieces and the mean confidence of
    them, weighted by area.
    """
    everywhere, judges = [*looks, *more], range(len(looks))
    pieces = _pieces(everywhere, size_wh)
    done: list[Piece] = []
    for kind in sorted({s.instance.type_name for s in whole} | {p.detection.instance.type_name for p in pieces}):
        mine = [p for p in pieces if p.detection.instance.type_name == kind]
        joined = _linked(_believed(mine, everywhere, judges, size_wh), everywhere)
        large = [s for s in whole if s.instance.type_name == kind and _longer(s.instance.box) > overlap]
        done += _once(_with_large(joined, large, looks))
    order = sorted(done, key=lambda p: (-p.score, p.box.xyxy))
    return [_detection(p) for p in order]


def loose_ends(looks: Sequence[TileView], size_wh: tuple[int, int]) -> list[tuple[float, float]]:
    """Where objects are still cut when all their pieces are joined: the middle of each such side, in pixels.

    A detector may know the first half of a drain and not the second. A window about the cut shows it both.
    """
    pieces, ends = _pieces(looks, size_wh), []
    for kind in sorted({p.detection.instance.type_name for p in pieces}):
        mine = [p for p in pieces if p.detection.instance.type_name == kind]
        for piece in _linked(_believed(mine, looks, range(len(looks)), size_wh), looks):
            x, y = piece.box.center
            middles = {
                LEFT: (piece.box.x1, y),
                TOP: (x, piece.box.y1),
                RIGHT: (piece.box.x2, y),
                LOW: (x, piece.box.y2),
            }
            ends += [middles[side] for side in sorted(piece.cuts)]
    return ends


def _pieces(looks: Sequence[TileView], size_wh: tuple[int, int]) -> list[Piece]:
    return [
        Piece(s, s.instance.box, frozenset([n]), _cuts(s.instance.box, look.window, size_wh))
        for n, look in enumerate(looks)
        for s in look.found
    ]


def _cuts(box: Box, window: Box, size_wh: tuple[int, int]) -> frozenset[int]:
    """The borders of the window that a box ends at, without those that are borders of the photograph."""
    near_x, near_y = TOUCH * window.width, TOUCH * window.height
    wide, high = size_wh
    ends = {
        LEFT: window.x1 > 0 and box.x1 - window.x1 <= near_x,
        TOP: window.y1 > 0 and box.y1 - window.y1 <= near_y,
        RIGHT: window.x2 < wide and window.x2 - box.x2 <= near_x,
        LOW: window.y2 < high and window.y2 - box.y2 <= near_y,
    }
    return frozenset(side for side, cut in ends.items() if cut)


def _believed(
    pieces: Sequence[Piece], looks: Sequence[TileView], judges: Sequence[int], size_wh: tuple[int, int]
) -> list[Piece]:
    """Whole objects once, and those cut pieces of which no other window, of the numbers `judges`, saw more."""
    kept: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (bool(p.cuts), -p.score, p.box.xyxy)):
        if piece.cuts and any(_sees_whole(looks[n].window, piece, size_wh) for n in judges if n not in piece.looks):
            continue
        same = [(share, -n) for n, k in enumerate(kept) if (share := _shared(piece, k))]
        if same:
            share, at = max(same)
            kept[-at] = _absorbed(kept[-at], piece, grow=share < SAME)
        else:
            kept.append(piece)
    return kept


def _sees_whole(window: Box, piece: Piece, size_wh: tuple[int, int]) -> bool:
    """Whether a window shows all of a cut piece, and what lies beyond the cut: what was seen there counts."""
    return _inside(piece.box, window) and not _cuts(piece.box, window, size_wh)


def _inside(box: Box, window: Box) -> bool:
    return window.x1 <= box.x1 and window.y1 <= box.y1 and box.x2 <= window.x2 and box.y2 <= window.y2


def _shared(piece: Piece, kept: Piece) -> float:
    """How much of a piece a kept one shares, if that makes them one object; else 0. The kept one is whole, or cut too.

    Two cut pieces are left for _linked.
    """
    if kept.cuts or piece.looks & kept.looks:
        return 0.0
    both = piece.box.intersection(kept.box)
    share = both / max(piece.box.area if piece.cuts else min(piece.box.area, kept.box.area), 1e-9)
    return share if share >= (PART if piece.cuts else SAME) else 0.0


def _absorbed(kept: Piece, piece: Piece, *, grow: bool) -> Piece:
    box = _hull([kept.box, piece.box]) if grow else kept.box
    return replace(kept, box=box, looks=kept.looks | piece.looks)


def _linked(pieces: Sequence[Piece], looks: Sequence[TileView]) -> list[Piece]:
    """Cut pieces that go on in one another, joined; the best fitting first, and across a border only once."""
    group = {n: [n] for n in range(len(pieces))}  # every member of a group maps to the same list
    for _, i, j in sorted(_links(pieces, looks), key=lambda link: (-link[0], link[1:])):
        one, other = group[i], group[j]
        if one is other or _looks(pieces, one) & _looks(pieces, other):
            continue
        one.extend(other)
        group.update(dict.fromkeys(other, one))
    groups = {id(members): members for members in group.values()}
    return [_joined([pieces[n] for n in sorted(members)]) for members in groups.values()]


def _looks(pieces: Sequence[Piece], members: Iterable[int]) -> set[int]:
    return {look for n in members for look in pieces[n].looks}


def _links(pieces: Sequence[Piece], looks: Sequence[TileView]) -> Iterator[tuple[float, int, int]]:
    """How well two cut pieces fit, 0 to 1, and their numbers; for those that may be one object."""
    cut = [n for n, p in enumerate(pieces) if p.cuts]
    for i, j in ((cut[a], cut[b]) for a, b in touching([pieces[n].box for n in cut])):
        if not pieces[i].looks & pieces[j].looks and (fit := _fit(pieces[i], pieces[j], looks)):
            yield fit, i, j


def _fit(p: Piece, q: Piece, looks: Sequence[TileView]) -> float:
    """Overlap of two touching pieces along a border that both are cut by, or of the boxes where both see the same."""
    both = p.box.intersection(q.box)
    if both >= SAME * min(p.box.area, q.box.area) > 0:
        return p.box.iou(q.box)
    sides = [side for side in p.cuts if FACING[side] in q.cuts and _beyond(side, p, q, looks)]
    return max((_along(side, p.box, q.box) for side in sides), default=0.0)


def _beyond(side: int, p: Piece, q: Piece, looks: Sequence[TileView]) -> bool:
    """Whether the window of q lies on the other side of p's border."""
    (one,), (other,) = ([looks[n].window for n in piece.looks] for piece in (p, q))
    ahead = (other.x1 < one.x1, other.y1 < one.y1, other.x1 > one.x1, other.y1 > one.y1)
    return ahead[side]


def _along(side: int, a: Box, b: Box) -> float:
    """IoU of two boxes along a border, 0 where they share less than ACROSS of the narrower one."""
    (a1, a2), (b1, b2) = ((x.y1, x.y2) if side in (LEFT, RIGHT) else (x.x1, x.x2) for x in (a, b))
    shared = min(a2, b2) - max(a1, b1)
    if shared <= 0 or shared < ACROSS * min(a2 - a1, b2 - b1):
        return 0.0
    return shared / (max(a2, b2) - min(a1, b1))


def _joined(pieces: Sequence[Piece]) -> Piece:
    """One object of several pieces; a side stays cut where the piece that reaches furthest is."""
    if len(pieces) == 1:
        return pieces[0]
    box = _hull([p.box for p in pieces])
    ends = {
        LEFT: min(pieces, key=lambda p: p.box.x1),
        TOP: min(pieces, key=lambda p: p.box.y1),
        RIGHT: max(pieces, key=lambda p: p.box.x2),
        LOW: max(pieces, key=lambda p: p.box.y2),
    }
    area = sum(p.box.area for p in pieces)
    score = sum(p.score * p.box.area for p in pieces) / area if area else max(p.score for p in pieces)
    largest = max(pieces, key=lambda p: (p.box.area, p.score)).detection
    return Piece(
        replace(largest, instance=replace(largest.instance, score=score, polygon=())),
        box,
        frozenset().union(*(p.looks for p in pieces)),
        frozenset(side for side, last in ends.items() if side in last.cuts),
    )


def _hull(boxes: Sequence[Box]) -> Box:
    return Box(min(b.x1 for b in boxes), min(b.y1 for b in boxes), max(b.x2 for b in boxes), max(b.y2 for b in boxes))


def _with_large(pieces: list[Piece], large: Sequence[Detection], looks: Sequence[TileView]) -> list[Piece]:
    """With objects of the whole photograph: those that no tile could see, and those that bind pieces together."""
    side = max(_longer(look.window) for look in looks)
    for detection in sorted(large, key=lambda s: (-s.instance.score, s.instance.box.xyxy)):
        box = detection.instance.box
        inside = [p for p in pieces if p.box.intersection(box) >= SAME * p.box.area]
        loose = [p for p in inside if p.cuts]
        if not inside and _longer(box) > side and not any(_overlaps(p.box, box) for p in pieces):
            pieces = [*pieces, Piece(detection, box, frozenset([-1]))]
        elif _binds(box, loose):
            bound = _joined([*loose, Piece(detection, _trimmed(box, loose), frozenset([-1]))])
            pieces = [*(p for p in pieces if p not in loose), bound]
    return pieces


def _overlaps(a: Box, b: Box) -> bool:
    return a.intersection(b) >= SAME * min(a.area, b.area)


def _binds(box: Box, loose: Sequence[Piece]) -> bool:
    """Whether pieces that are still cut bear out most of a long box, and no window saw two of them."""
    seen = [look for p in loose for look in p.looks]
    flat = box.width >= box.height
    spans = sorted((max(a, low), min(b, high)) for a, b, low, high in (_span(p.box, box, flat) for p in loose))
    covered, at = 0.0, -1.0
    for start, end in spans:
        covered += max(0.0, end - max(start, at))
        at = max(at, end)
    return len(set(seen)) == len(seen) and covered >= COVERED * _longer(box)


def _span(box: Box, within: Box, flat: bool) -> tuple[float, float, float, float]:
    """Where a box begins and ends along an axis, and where the other does."""
    return (box.x1, box.x2, within.x1, within.x2) if flat else (box.y1, box.y2, within.y1, within.y2)


def _trimmed(box: Box, pieces: Sequence[Piece]) -> Box:
    """A long box of the whole photograph, across as narrow as its pieces: those were seen in more detail."""
    fine, flat = _hull([p.box for p in pieces]), box.width >= box.height
    return Box(box.x1, fine.y1, box.x2, fine.y2) if flat else Box(fine.x1, box.y1, fine.x2, box.y2)


def _longer(box: Box) -> float:
    return max(box.width, box.height)


def _once(pieces: Iterable[Piece]) -> list[Piece]:
    """The finished objects of one type without those that lie on one another."""
    kept: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (bool(p.cuts), -p.score, p.box.xyxy)):
        if all(piece.box.iou(k.box) < TWICE for k in kept):
            kept.append(piece)
    return kept


def _detection(piece: Piece) -> Detection:
    return replace(piece.detection, instance=replace(piece.detection.instance, box=piece.box))
