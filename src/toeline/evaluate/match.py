"""Which finding is which true object: by overlap, within one label, the surest findings first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.scene import Thing
from toeline.core.truth import Truth

IOU = 0.5  # the least overlap that counts as found, as in mAP@0.5


@dataclass(frozen=True)
class TrueThing:
    """A true object and its truth, joined by id: what evaluation compares findings with."""

    thing: Thing
    truth: Truth


@dataclass(frozen=True)
class Matched:
    """One photograph: findings paired with true objects of the same type, objects missed, findings of nothing.

    `right` counts the findings whose class and place are both right; a finding that is paired here may still have the
    wrong condition.
    """

    photo: str
    pairs: tuple[tuple[Finding, TrueThing], ...]
    missed: tuple[TrueThing, ...]
    extra: tuple[Finding, ...]
    right: int


def join(things: Sequence[Thing], truths: Sequence[Truth]) -> tuple[TrueThing, ...]:
    """True objects with their truths, by thing id. Raises KeyError for an object whose truth is not known.

    >>> truth = Truth("1", "rock toe", "rock_toe", "normal")
    >>> join([Thing("1", "rock_toe", Box(0, 0, 1, 1))], [truth])[0].truth.condition
    'normal'
    """
    by_id = {truth.thing_id: truth for truth in truths}
    return tuple(TrueThing(thing, by_id[thing.id]) for thing in things)


def match(photo: str, findings: Sequence[Finding], true: Sequence[TrueThing], *, iou: float = IOU) -> Matched:
    """Pair the findings of one photograph with its true objects."""
    order = sorted(findings, key=lambda f: -f.score)  # stable: equal scores stay in the order given
    boxes = [f.box for f in order]
    pairs = pair_up([(f.kind, b) for f, b in zip(order, boxes, strict=True)], _labels(true, "kind"), iou=iou)
    right = pair_up(
        [(f.verdict.class_name, b) for f, b in zip(order, boxes, strict=True)], _labels(true, "class_name"), iou=iou
    )
    return Matched(
        photo=photo,
        pairs=tuple((order[i], true[j]) for i, j in pairs.items()),
        missed=tuple(t for j, t in enumerate(true) if j not in pairs.values()),
        extra=tuple(f for i, f in enumerate(order) if i not in pairs),
        right=len(right),
    )


def _labels(true: Sequence[TrueThing], name: str) -> list[tuple[str, Box]]:
    return [(getattr(t.truth, name), t.thing.box) for t in true]


def pair_up(found: Sequence[tuple[str, Box]], true: Sequence[tuple[str, Box]], *, iou: float = IOU) -> dict[int, int]:
    """Index in `found` to index in `true`: each takes the free one of its label that it overlaps most, at least `iou`.

    `found` is in order of confidence; this is the matching of PASCAL VOC and COCO at one threshold.

    >>> pair_up([("a", Box(0, 0, 2, 2))], [("a", Box(0, 0, 1, 1)), ("a", Box(0, 0, 2, 1.8))])
    {0: 1}
    """
    pairs: dict[int, int] = {}
    free = set(range(len(true)))
    for i, (label, box) in enumerate(found):
        overlaps = [(box.iou(true[j][1]), -j) for j in free if true[j][0] == label]
        best, j = max(overlaps, default=(0.0, 0))
        if best >= iou:
            pairs[i] = -j
            free.discard(-j)
    return pairs
