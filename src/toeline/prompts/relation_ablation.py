"""What a prompt could be told of relations, to measure their effect: the truth, nothing, others, the opposite.

For experiments only (`toeline evaluate`); inspection always gives the relations that hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from toeline.core.scene import Relation, Scene
from toeline.prompts.relations import around

Told = Mapping[str, tuple[Relation, ...]]  # thing id -> its relations to its neighbors, nearest first

# A name that cannot hold of the same two things together with the key, whatever their boxes.
OPPOSITES: Mapping[str, str] = {
    "above": "below",
    "below": "above",
    "left_of": "right_of",
    "right_of": "left_of",
    "at_lower_end_of": "above",
    "covers": "next_to",
    "inside": "next_to",
    "overlaps": "next_to",
    "next_to": "overlaps",
}


def given(scene: Scene) -> Told:
    """The relations that hold, as inspection gives them."""
    return {instance.id: around(scene, instance.id) for instance in scene.instances}


def removed(scene: Scene) -> Told:
    """None."""
    return {instance.id: () for instance in scene.instances}


def shuffled(scene: Scene) -> Told:
    """Every thing gets the relations of another one of the photograph; the same photograph is always shuffled alike.

    Names and distances stay frequent as they are, and tell nothing of the thing that bears them. A thing that would
    then be related to itself is related to the one whose relations it got.
    """
    true = given(scene)
    ids = list(true)
    if len(ids) < 2:
        return true
    order = random.Random(str(scene.image)).sample(ids, len(ids))
    return {to: _lent(true[owner], owner, to) for to, owner in zip(order, [*order[1:], order[0]], strict=True)}


def _lent(relations: tuple[Relation, ...], owner: str, to: str) -> tuple[Relation, ...]:
    return tuple(replace(r, subject=to, other=owner if r.other == to else r.other) for r in relations)


def falsified(scene: Scene) -> Told:
    """Every name is replaced by one that cannot hold: above by below, overlapping by next to."""
    return {
        instance_id: tuple(replace(r, name=OPPOSITES.get(r.name, r.name)) for r in relations)
        for instance_id, relations in given(scene).items()
    }


RELATIONS: dict[str, Callable[[Scene], Told]] = {
    "given": given,
    "removed": removed,
    "shuffled": shuffled,
    "falsified": falsified,
}
