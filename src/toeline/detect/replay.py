"""Boxes that are already known, from people or an earlier run, in the place of a detector. Reads no files itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from toeline.core.scene import Thing
from toeline.errors import LabelError


@dataclass(frozen=True)
class ReplayDetector:
    """Gives the things it was given, for one photograph; ids and polygons stay as they are."""

    things: tuple[Thing, ...]

    def find(self, image: Image.Image) -> list[Thing]:
        """The things, most confident first, in the given order where confidence is equal; boxes clipped to `image`."""
        ranked = sorted(self.things, key=lambda thing: -thing.score)
        return [replace(thing, box=thing.box.clipped(image.size)) for thing in ranked]


@dataclass(frozen=True)
class Replay:
    """Known things of many photographs, by the path that names each."""

    by_photo: Mapping[Path, Sequence[Thing]]

    def of(self, photo: Path) -> ReplayDetector:
        """The detector for one photograph. Raises LabelError when nothing was given for it; an empty list is fine."""
        if photo not in self.by_photo:
            raise LabelError(
                f"{photo}: no boxes were given for this photograph. An empty label file means that nothing is there."
            )
        return ReplayDetector(tuple(self.by_photo[photo]))
