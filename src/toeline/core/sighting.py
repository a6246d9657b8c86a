"""What a detector says of one object: the thing, and apart from it the class, if it knows conditions."""

from __future__ import annotations

from dataclasses import dataclass

from toeline.core.scene import Thing


@dataclass(frozen=True)
class Guess:
    """What else a detector took an object for: a type name, its confidence, 0 to 1, and the class if it knows such."""

    kind: str
    score: float
    class_name: str = ""


@dataclass(frozen=True)
class Sighting:
    """One object that Stage 1 found.

    `class_name` is the class that a detector of conditional classes gave it, and empty for a detector of types. It
    stands beside the thing and not in it, so that no scene, relation or prompt can carry it: the judge decides for
    itself, and what the detector thought is reported next to that. `others` are less confident boxes on the same
    object, by confidence; for the same reason they stand here too.
    """

    thing: Thing
    class_name: str = ""
    others: tuple[Guess, ...] = ()
