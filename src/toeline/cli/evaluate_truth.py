"""The split that is evaluated: its photographs, what is true of them, and what is wrong with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toeline.core.result import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, find_photos
from toeline.data.yolo import SPLITS, Entry, YoloSet, open_yolo, read_entry
from toeline.errors import LabelError, PhotoError
from toeline.evaluate.match import TrueThing, join

ADVICE = "Mend it, then run the same command again; the rest was evaluated without it."


@dataclass(frozen=True)
class TrueSplit:
    """One split. `photos` are those that can be opened and have labels; `true` and `groups` (flight lines) go by name.

    `problems` name no photograph, so that a run that is taken up again finds them anew instead of keeping them twice.
    """

    name: str
    photos: tuple[Photo, ...]
    true: Mapping[str, tuple[TrueThing, ...]]
    groups: Mapping[str, str]
    problems: tuple[Problem, ...] = ()

    @property
    def objects(self) -> int:
        """How many true objects there are."""
        return sum(map(len, self.true.values()))


def true_split(dataset: YoloSet, name: str, taxonomy: Taxonomy) -> TrueSplit:
    """Read the labels of one split. Raises LabelError for a split that is not there or that says no conditions."""
    entries = _entries(dataset, name)
    names = {p.path.resolve(): p.name for p in find_photos(sorted({e.photo.parent for e in entries}))}
    photos: list[Photo] = []
    true: dict[str, tuple[TrueThing, ...]] = {}
    groups: dict[str, str] = {}
    problems = [Problem("", str(p.file), p.what, ADVICE, p.line) for p in dataset.problems]
    for entry in entries:
        photo = Photo(entry.photo, names[entry.photo.resolve()])
        try:
            labeled = read_entry(entry, taxonomy, dataset.names)
        except PhotoError as why:
            problems.append(Problem("", str(entry.photo), str(why).removeprefix(f"{entry.photo}: ")))
            continue
        problems += [Problem("", str(p.file), p.what, ADVICE, p.line) for p in labeled.problems]
        if entry.labels is None:
            continue
        if len(labeled.truths) < len(labeled.scene.things):
            raise LabelError(f"{entry.labels}: names types and no conditions, so nothing can be held against it.")
        photos.append(photo)
        true[photo.name] = join(labeled.scene.things, labeled.truths)
        groups[photo.name] = labeled.scene.group
    return TrueSplit(SPLITS.get(name, name), tuple(photos), true, groups, tuple(problems))


def open_dataset(data: Path, taxonomy: Taxonomy) -> YoloSet:
    """The data set. Raises LabelError."""
    if not data.exists():
        raise LabelError(f"{data}: there is no such data set. Name a folder in YOLO layout, or its data.yaml.")
    return open_yolo(data, taxonomy)


def _entries(dataset: YoloSet, name: str) -> Sequence[Entry]:
    split = SPLITS.get(name, name)
    if split not in dataset.splits:
        there = ", ".join(sorted(dataset.splits))
        raise LabelError(f"{dataset.root}: has no split {name!r}. Choose one of: {there}.")
    return dataset.splits[split]
