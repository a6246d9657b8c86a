"""A scene's relations, and the few of them that matter to one thing. Knows scenes; knows no wording."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations

from toeline.core.scene import Relation, Scene, Thing
from toeline.relate.geometry import Pair, gap
from toeline.relate.rules import IMPLIED, RULES, Rule, may_relate, pair

NAMES_PER_NEIGHBOR = 2


@cache
def _rules_for(subject_kind: str, other_kind: str) -> tuple[tuple[str, Rule], ...]:
    return tuple((name, rule) for name, rule in RULES.items() if may_relate(name, subject_kind, other_kind))


def _between(subject: Thing, other: Thing, measured: Pair) -> Iterator[Relation]:
    for name, rule in _rules_for(subject.kind, other.kind):
        if rule(measured):
            yield Relation(subject.id, name, other.id, measured.gap)


def relate(scene: Scene) -> tuple[Relation, ...]:
    """Every relation between every two things, both ways, in the order of subject, other (as in the scene) and rule.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> drain = Thing("t0", "slope_drain", Box(45, 0, 50, 70))
    >>> toe = Thing("t1", "toe_drain", Box(0, 69, 100, 80))
    >>> for r in relate(Scene(Path("a.jpg"), (100, 100), (drain, toe))):
    ...     print(r.subject, r.name, r.other, r.distance)
    t0 above t1 0.0
    t0 next_to t1 0.0
    t1 at_lower_end_of t0 0.0
    t1 below t0 0.0
    t1 next_to t0 0.0
    """
    found: dict[tuple[int, int], tuple[Relation, ...]] = {}
    for (i, a), (j, b) in combinations(enumerate(scene.things), 2):
        measured = pair(a.box, b.box, diagonal_px=scene.diagonal)
        found[i, j] = tuple(_between(a, b, measured))
        found[j, i] = tuple(_between(b, a, measured.turned()))
    return tuple(relation for key in sorted(found) for relation in found[key])


def _by_distance(scene: Scene, thing: Thing) -> list[Thing]:
    """All other things, nearest first, ties by id."""
    others = (t for t in scene.things if t.id != thing.id)
    return sorted(others, key=lambda t: (gap(thing.box, t.box, diagonal_px=scene.diagonal), t.id))


def nearest(scene: Scene, thing_id: str, kind: str) -> Thing | None:
    """The nearest other thing of a type, by the gap between boxes, ties by id; None when there is none.

    Pairing with the nearest keeps to one berm in photographs that show several. Raises KeyError for an unknown id.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> rows = (Box(0, 10, 100, 20), Box(0, 80, 100, 90))
    >>> things = [Thing(f"t{i}", "toe_drain", box) for i, box in enumerate(rows)]
    >>> scene = Scene(Path("a.jpg"), (100, 100), (*things, Thing("t2", "slope_drain", Box(50, 40, 55, 78))))
    >>> nearest(scene, "t2", "toe_drain").id
    't1'
    """
    return next((t for t in _by_distance(scene, scene.thing(thing_id)) if t.kind == kind), None)


def _chosen(ordered: list[Thing], limit: int) -> list[Thing]:
    """At most `limit` of `ordered`, in that order: the first of each type, then whatever comes first."""
    first = {t.kind: t for t in reversed(ordered)}
    ranked = sorted(ordered, key=lambda t: t is not first[t.kind])  # stable: nearest first within both halves
    kept = {t.id for t in ranked[:limit]}
    return [t for t in ordered if t.id in kept]


def _telling(held: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """The first of the relations to one neighbor that no other one implies."""
    implied = {IMPLIED.get(r.name) for r in held}
    return tuple(r for r in held if r.name not in implied)[:NAMES_PER_NEIGHBOR]


def around(scene: Scene, thing_id: str, *, limit: int = 4) -> tuple[Relation, ...]:
    """Relations of one thing, as the subject, to its nearest neighbors: what a prompt lists.

    At most `limit` neighbors, nearest first, ties by id; the nearest one of each type is among them if there are no
    more than `limit` types, else those of the nearest types. One or two relations for each neighbor: the first two of
    the rule table that hold, without those that another implies (inside and covers imply overlaps).
    Raises KeyError for an unknown id and ValueError for a negative limit.

    >>> from pathlib import Path
    >>> from toeline.core.box import Box
    >>> drain = Thing("t0", "slope_drain", Box(45, 0, 50, 70))
    >>> toe = Thing("t1", "toe_drain", Box(0, 69, 100, 80))
    >>> [(r.name, r.other) for r in around(Scene(Path("a.jpg"), (100, 100), (drain, toe)), "t1")]
    [('at_lower_end_of', 't0'), ('below', 't0')]
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}; it is a count of neighbors, 0 or more")
    thing = scene.thing(thing_id)
    neighbors = _chosen(_by_distance(scene, thing), limit)
    measured = ((other, pair(thing.box, other.box, diagonal_px=scene.diagonal)) for other in neighbors)
    return tuple(relation for other, m in measured for relation in _telling(tuple(_between(thing, other, m))))
