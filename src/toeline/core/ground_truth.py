"""The true labels, walled off: tests/test_walls.py says which rooms may import this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toeline.core.scene import Instance


@dataclass(frozen=True)
class GroundTruth:
    """What a person (or the renderer) says of one object; `instance_id` is its id in the Scene of its photograph."""

    instance_id: str
    class_name: str
    type_name: str
    condition: str


@dataclass(frozen=True)
class TrueInstance:
    """A true object and its truth, joined by id: what evaluation compares findings with."""

    instance: Instance
    ground_truth: GroundTruth


def join(instances: Sequence[Instance], ground_truths: Sequence[GroundTruth]) -> tuple[TrueInstance, ...]:
    """Each instance with its ground truth. Raises KeyError for an instance that has none.

    >>> from toeline.core.box import Box
    >>> ground_truth = GroundTruth("1", "rock toe", "rock_toe", "normal")
    >>> join([Instance("1", "rock_toe", Box(0, 0, 1, 1))], [ground_truth])[0].ground_truth.condition
    'normal'
    """
    by_id = {ground_truth.instance_id: ground_truth for ground_truth in ground_truths}
    return tuple(TrueInstance(instance, by_id[instance.id]) for instance in instances)
