"""What Toeline says of one thing, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toeline.core.box import Box
from toeline.core.place import Spot
from toeline.core.scene import Relation
from toeline.core.severity import UNGRADED, Grade
from toeline.core.sighting import Guess


@dataclass(frozen=True)
class Verdict:
    """The decision on one thing. `probabilities` cover the legal class names and sum to 1.

    `asked` is False when the type has one legal answer, so no model was consulted. `review` is the reason why a person
    should look, or empty. A generated answer that is none of the names is not `readable`: it has no class name.
    """

    class_name: str
    condition: str
    probability: float
    probabilities: Mapping[str, float]
    asked: bool = True
    review: str = ""

    @property
    def readable(self) -> bool:
        """Whether there is an answer at all."""
        return bool(self.class_name)

    @property
    def second(self) -> tuple[str, float] | None:
        """The runner-up and its probability; None when there was only one legal answer."""
        others = [(p, name) for name, p in self.probabilities.items() if name != self.class_name]
        if not others:
            return None
        p, name = max(others, key=lambda pair: pair[0])
        return name, p


@dataclass(frozen=True)
class Finding:
    """One row of the result: a thing, where it is, what was decided, and what stands around it.

    `photo` is the photograph's path below the folder that the user named; `score` is the detector's, 0 to 1.
    `detector_class` is the class that a detector of conditional classes gave it, or empty: told beside the verdict, and
    never part of it. `detector_others` is what else the detector saw on the same place, by confidence. `grade` is what
    the taxonomy makes of it: how bad it is, what to do, and whether it can wait.
    `spot` is where it is on Earth: known when all photographs are done, and only if the photograph has a position.
    """

    photo: str
    thing_id: str
    kind: str
    box: Box
    score: float
    verdict: Verdict
    relations: tuple[Relation, ...] = ()
    polygon: tuple[tuple[float, float], ...] = ()
    detector_class: str = ""
    detector_others: tuple[Guess, ...] = ()
    grade: Grade = UNGRADED
    spot: Spot | None = None
