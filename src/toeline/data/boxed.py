"""A split as a detector is trained and measured on it: photographs with the types and places of their objects.

Conditions end here: nine classes are read as their types. A data set that names types only is as good as any.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from toeline.core.scene import Thing
from toeline.core.taxonomy import Taxonomy
from toeline.data.class_names import meanings
from toeline.data.label_lines import Problem
from toeline.data.yolo import YoloSet, flight_line, read_entry
from toeline.errors import LabelError, PhotoError


@dataclass(frozen=True)
class BoxedPhoto:
    """A photograph, its `name` (the path below the data set), its flight line, and what is on it, in upright pixels."""

    path: Path
    name: str
    group: str
    size_wh: tuple[int, int]
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class BoxedSplit:
    """One split. Photographs that cannot be opened, or of which nothing is known, are left out and are problems."""

    name: str
    photos: tuple[BoxedPhoto, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(len(photo.things) for photo in self.photos)

    def sha256(self) -> str:
        """Equal for equal boxes and types of equally named photographs."""
        rows = [(p.name, p.size_wh, [(t.kind, t.box.xyxy, t.polygon) for t in p.things]) for p in self.photos]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def boxed_split(data: YoloSet, name: str, taxonomy: Taxonomy) -> BoxedSplit:
    """Read the labels of one split. Raises LabelError when it is not there, or holds no labelled photograph."""
    split, entries = data.split(name)
    meaning = meanings(data.names, taxonomy)
    photos: list[BoxedPhoto] = []
    problems = list(data.problems)
    for entry in entries:
        try:
            scene = read_entry(entry, taxonomy, data.names, meaning=meaning)
        except PhotoError as why:
            problems.append(Problem(entry.photo, None, str(why).removeprefix(f"{entry.photo}: ")))
            continue
        problems += scene.problems
        if entry.labels is not None:
            shown = _name(entry.photo, data.root)
            photos.append(
                BoxedPhoto(entry.photo, shown, flight_line(entry.photo), scene.scene.size_wh, scene.scene.things)
            )
    if not photos:
        raise LabelError(f"{data.root}: none of the photographs of the split {split!r} can be opened and has labels.")
    return BoxedSplit(split, tuple(photos), tuple(dict.fromkeys(problems)))


def _name(photo: Path, root: Path) -> str:
    """With slashes; a photograph that data.yaml finds elsewhere keeps its whole path."""
    return photo.relative_to(root).as_posix() if photo.is_relative_to(root) else photo.as_posix()
