"""The true labels, walled off: tests/test_walls.py says which rooms may import this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toeline.core.scene import Thing


@dataclass(frozen=True)
class Truth:
    """What a person (or the renderer) says of one thing; `thing_id` is its id in the Scene of the same photograph."""

    thing_id: str
    class_name: str
    kind: str
    condition: str


@dataclass(frozen=True)
class TrueThing:
    """A true object and its truth, joined by id: what evaluation compares findings with."""

    thing: Thing
    truth: Truth


def join(things: Sequence[Thing], truths: Sequence[Truth]) -> tuple[TrueThing, ...]:
    """True objects with their truths, by thing id. Raises KeyError for an object whose truth is not known.

    >>> from toeline.core.box import Box
    >>> truth = Truth("1", "rock toe", "rock_toe", "normal")
    >>> join([Thing("1", "rock_toe", Box(0, 0, 1, 1))], [truth])[0].truth.condition
    'normal'
    """
    by_id = {truth.thing_id: truth for truth in truths}
    return tuple(TrueThing(thing, by_id[thing.id]) for thing in things)
