"""What is known of one photograph before anyone judges it: no field here can hold a condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from toeline.core.box import Box


@dataclass(frozen=True)
class Instance:
    """One object that Stage 1 saw (or that a person boxed): its type and place, never its condition.

    `id` is unique within its photograph and stable from run to run. `kind` is a type name of the taxonomy.
    `score` is the detector's confidence, 0 to 1, and 1 for a box drawn by a person. `polygon` is in pixels, or
    empty when only the box is known.
    """

    id: str
    type_name: str
    box: Box
    score: float = 1.0
    polygon: tuple[tuple[float, float], ...] = ()


RELATIONS = (  # in the order in which `around` prefers them: the rarest and most telling first
    *("at_lower_end_of", "covers", "inside", "above", "below", "left_of", "right_of", "overlaps", "next_to"),
)


@dataclass(frozen=True)
class Relation:
    """`subject` stands in relation `name`, one of RELATIONS, to `other`; both are ids of instances of one scene.

    `distance` is the gap between the two boxes as a share of the image diagonal; 0 when they touch.
    """

    subject: str
    name: str
    other: str
    distance: float


@dataclass(frozen=True)
class Scene:
    """One photograph and its instances. `size_wh` is in pixels after EXIF rotation.

    Photographs of one place share a `group`. Raises ValueError when two instances share an id, or for an empty size.
    """

    image: Path
    size_wh: tuple[int, int]
    instances: tuple[Instance, ...] = ()
    flight_line: str = ""

    def __post_init__(self) -> None:
        if min(self.size_wh) < 1:
            raise ValueError(f"{self.image}: a photograph cannot be {self.size_wh[0]} x {self.size_wh[1]} pixels")
        ids = [instance.id for instance in self.instances]
        if len(set(ids)) < len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise ValueError(f"{self.image}: more than one instance is called {', '.join(twice)}")

    @property
    def diagonal(self) -> float:
        """Length of the image diagonal in pixels: the one length by which distances are divided."""
        return math.hypot(*self.size_wh)

    def instance(self, instance_id: str) -> Instance:
        """The instance of that id. Raises KeyError."""
        for instance in self.instances:
            if instance.id == instance_id:
                return instance
        raise KeyError(instance_id)


@dataclass(frozen=True)
class Alternative:
    """What else a detector took an object for: a type name, its confidence, 0 to 1, and the class if it knows such."""

    type_name: str
    score: float
    class_name: str = ""


@dataclass(frozen=True)
class Detection:
    """One object that Stage 1 found.

    `class_name` is the class that a detector of conditional classes gave it, and empty for a detector of types. It
    stands beside the instance and not in it, so that no scene, relation or prompt can carry it: the judge decides for
    itself, and what the detector thought is reported next to that. `others` are less confident boxes on the same
    object, by confidence; for the same reason they stand here too.
    """

    instance: Instance
    class_name: str = ""
    others: tuple[Alternative, ...] = ()
