"""Relations and places put into words. One phrase per relation name, read from the subject to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toeline.core.box import Box
from toeline.core.scene import Relation

PHRASES: dict[str, str] = {
    "above": "above",
    "below": "below",
    "left_of": "left of",
    "right_of": "right of",
    "at_lower_end_of": "at the lower end of",
    "inside": "inside",
    "overlaps": "overlapping",
    "covers": "covering",
    "next_to": "next to",
}


def place(box: Box, size_wh: tuple[int, int]) -> str:
    """A box in Qwen2-VL's own coordinates: whole numbers from 0 to 999, shares of width and height.

    >>> place(Box(0, 10, 50, 100), (100, 100))
    '(0,100),(500,999)'
    """
    wide, high = size_wh
    x1, x2 = (min(int(1000 * x / wide), 999) for x in (box.x1, box.x2))
    y1, y2 = (min(int(1000 * y / high), 999) for y in (box.y1, box.y2))
    return f"({x1},{y1}),({x2},{y2})"


def distance(share: float) -> str:
    """A gap as a share of the image diagonal, in whole percent.

    >>> distance(0.0), distance(0.004), distance(0.127)
    ('touching', 'under 1% away', '13% away')
    """
    if share <= 0:
        return "touching"
    return "under 1% away" if share < 0.01 else f"{100 * share:.0f}% away"


def around(relations: Sequence[Relation], names: Mapping[str, str]) -> str:
    """What stands around one thing, nearest first: one clause per neighbor, joined by semicolons.

    `names` says how each thing is called. Several relations to one neighbor share a clause.

    >>> around([Relation("1", "above", "2", 0.1), Relation("1", "left_of", "2", 0.1)], {"2": "toe drain 2"})
    'above and left of toe drain 2, 10% away'
    """
    by_neighbor: dict[str, list[Relation]] = {}
    for relation in relations:
        by_neighbor.setdefault(relation.other, []).append(relation)
    clauses = [
        f"{' and '.join(PHRASES.get(r.name, r.name.replace('_', ' ')) for r in group)} {names[other]}, "
        f"{distance(group[0].distance)}"
        for other, group in by_neighbor.items()
    ]
    return "; ".join(clauses)
