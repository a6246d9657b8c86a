"""A data set between two formats: photographs with their boxes and polygons in pixels. Knows no file format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toeline.data.class_names import Names
from toeline.data.images import photo_size
from toeline.data.label_lines import LabelLine, Problem, read_label_file
from toeline.data.write_yolo import placed
from toeline.data.yolo import YoloSet
from toeline.errors import PhotoError

Step = Callable[[Sequence[Problem]], None]
ALL = "all"  # the split of a data set that is not split


@dataclass(frozen=True)
class LabelledPhoto:
    """A photograph and its labels; `name` is its place in a new data set, with slashes.

    `size_wh` is in pixels, upright, and what the labels are in. `lines` is None where nothing is known of it, and empty
    where nothing is there.
    """

    photo: Path
    name: str
    size_wh: tuple[int, int]
    lines: tuple[LabelLine, ...] | None


@dataclass(frozen=True)
class LabelSet:
    """A whole data set. `problems` were left out or changed and need a person; `notes` lost nothing."""

    root: Path
    names: Names
    splits: Mapping[str, tuple[LabelledPhoto, ...]]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def photographs(self) -> int:
        """How many there are in all splits."""
        return sum(map(len, self.splits.values()))

    def sha256(self) -> str:
        """Equal for equal labels of equally named photographs."""
        rows = [[s, p.name, p.size_wh, p.lines] for s, photos in self.splits.items() for p in photos]
        return hashlib.sha256(repr([sorted(self.names.items()), rows]).encode()).hexdigest()


def folder_of(split: str) -> str:
    """The folder of a split; a data set that is not split needs none.

    >>> folder_of("valid"), folder_of("all")
    ('valid', '.')
    """
    return "." if split == ALL else split


def read_yolo(data: YoloSet, *, step: Step = lambda _: None) -> LabelSet:
    """Every photograph with its usable label lines; photographs that cannot be opened are left out and reported."""
    splits: dict[str, tuple[LabelledPhoto, ...]] = {}
    problems = list(data.problems)
    for split, entries in data.splits.items():
        photos = []
        for place in placed(entries):
            found, said = _read(place.entry.photo, place.name, place.entry.labels, data.names)
            photos += [found] if found else []
            problems += said
            step(said)
        splits[split] = tuple(photos)
    return LabelSet(data.root, data.names, splits, tuple(problems))


def _read(photo: Path, name: str, labels: Path | None, names: Names) -> tuple[LabelledPhoto | None, list[Problem]]:
    try:
        size = photo_size(photo)
    except PhotoError as why:
        return None, [Problem(photo, None, f"left out: {str(why).removeprefix(f'{photo}: ')}")]
    if labels is None:
        said = Problem(photo, None, "no label file belongs to this photograph; it is marked as not labelled.")
        return LabelledPhoto(photo, name, size, None), [said]
    lines, problems = read_label_file(labels, size, names)
    return LabelledPhoto(photo, name, size, lines), list(problems)
