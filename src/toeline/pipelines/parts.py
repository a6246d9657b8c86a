"""A share of a run, `toeline inspect --part 2/4`: which photographs it has, and what its folder says of the whole.

The SHA-256 of a photograph's name decides its part, not its place among the others: when photographs are added, those
that are done stay in their parts, and no machine needs to know of another. So parts are as equal as chance makes them:
of 10,000 photographs each, to about 3 %.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from toeline.core.records import to_line
from toeline.core.run_folder import RunFolder, written
from toeline.data.images import Photo
from toeline.errors import SetupError

WHOLE = "whole"  # in run.json of a part: the photographs of all parts together
JOINED = "joined"  # in run.json of a run that was made of parts: which
SHARE = "part.jsonl"  # its photographs, with their places among all


@dataclass(frozen=True)
class Part:
    """Part `number`, counted from 1, `of` so many."""

    number: int
    of: int

    @classmethod
    def typed(cls, text: str) -> Part:
        """What was typed as --part. Raises SetupError with what to type.

        >>> str(Part.typed("2/4"))
        '2/4'
        """
        found = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise SetupError(
                f"--part {text}: is no part of a whole. Type --part 2/4 for the second of four, from 1 on."
            )
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, photo: str) -> bool:
        """Whether a photograph, or what photographs are made of, belongs to this part.

        >>> [n for n in (1, 2, 3) if Part(n, 3).holds("flight 7/DJI_0041.JPG")]
        [1]
        """
        hashed = hashlib.sha256(photo.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(hashed[:8], "big") % self.of == self.number - 1


@dataclass(frozen=True)
class Portion:
    """What a run inspects: `mine` of all that was `found` where it was told to. Without a `part` that is all of it."""

    part: Part | None
    found: Sequence[Photo]

    @cached_property
    def mine(self) -> list[Photo]:
        """The photographs of this part. A video or an orthomosaic goes to one part as a whole."""
        return [photo for photo in self.found if self.part is None or self.part.holds(photo.name)]

    @cached_property
    def others(self) -> list[Photo]:
        """Those of the other parts."""
        return [photo for photo in self.found if self.part is not None and not self.part.holds(photo.name)]

    def record(self) -> dict[str, Any]:
        """What run.json says of the whole that all parts must be of."""
        names = names_hash(photo.name for photo in self.found)
        return {WHOLE: {"photographs": len(self.found), "names_sha256": names}}

    def note(self, folder: RunFolder, photos: Iterable[Photo]) -> None:
        """Write part.jsonl, a line for each file of this part with `photos`, those that were made of it or itself."""
        if self.part is None:
            return
        folder.save_run(**self.record())
        made: dict[str, list[str]] = {photo.name: [] for photo in self.mine}
        for photo in photos:
            names = (photo.name, *map(str, PurePosixPath(photo.name).parents))
            made[next(name for name in names if name in made)].append(photo.name)
        with written(folder.path / SHARE) as file:
            for place, source in enumerate(self.found):
                if source.name in made:
                    row = {"place": place, "file": source.name, "photographs": made[source.name]}
                    file.write(to_line(row).encode("utf-8"))


def names_hash(names: Iterable[str]) -> str:
    """SHA-256 of names in their order."""
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(name.encode("utf-8", "surrogatepass") + b"\0")
    return hashed.hexdigest()
