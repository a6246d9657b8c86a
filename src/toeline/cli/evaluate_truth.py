"""The split that is evaluated: its photographs, what is true of them, and what is wrong with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toeline.core.result import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, find_photos
from toeline.data.yolo import YoloSet, read_entry
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
    split, entries = dataset.split(name)
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
    return TrueSplit(split, tuple(photos), true, groups, tuple(problems))
