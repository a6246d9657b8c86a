"""Labeled photographs, read once for all who need them.

LabeledSplit is one split in the words of a taxonomy: what is trained on and evaluated on. LabelSet is a whole data set
between two formats, with class ids and no taxonomy: what is split, converted and written anew.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath

from toeline.core.finding import Problem, Step, grave
from toeline.core.ground_truth import TrueInstance, join
from toeline.core.taxonomy import Names, Taxonomy, meanings
from toeline.core.words import cut, some
from toeline.data.images import Photo, find_photos, photo_size
from toeline.data.labels import LabelLine
from toeline.data.places import ALL
from toeline.data.yolo import Entry, LabeledScene, YoloSet, read_entry, read_labels
from toeline.errors import LabelError, OutputError, PhotoError


@dataclass(frozen=True)
class LabeledPhoto:
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
    splits: Mapping[str, tuple[LabeledPhoto, ...]]
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
    splits: dict[str, tuple[LabeledPhoto, ...]] = {}
    problems, notes = grave(data.problems), tuple(str(p) for p in data.problems if p.note)
    for split, entries in data.splits.items():
        photos = []
        for place in placed(entries):
            found, said = _read(place.entry, place.name, data.names)
            photos += [found] if found else []
            problems += said
            step(said)
        splits[split] = tuple(photos)
    return LabelSet(data.root, data.names, splits, tuple(problems), notes)


MOST_NAMED = 5  # class names in a message
UNKNOWN = "no label of this photograph could be read, so it is {}, and not one with nothing on it."


def _read(entry: Entry, name: str, names: Names) -> tuple[LabeledPhoto | None, list[Problem]]:
    photo = entry.photo
    try:
        size = photo_size(photo)
    except PhotoError as why:
        return None, [Problem.in_file(photo, f"left out: {str(why).removeprefix(f'{photo}: ')}")]
    lines, problems = read_labels(entry, size, names)
    unknown = Problem.in_file(photo, UNKNOWN.format("marked as not labeled"))
    return LabeledPhoto(photo, name, size, lines), [*problems, *([unknown] if lines is None and entry.labels else [])]


@dataclass(frozen=True)
class LabeledSplit:
    """One split: the photographs that can be opened and have labels, each with its objects, in upright pixels.

    With conditions, photographs are called what inspection calls them, so that findings can be matched by name; without
    them by their path below the data set. `problems` name what was left out, and no photograph, so that a run that is
    taken up again finds them anew instead of keeping them twice.
    """

    name: str
    scenes: tuple[LabeledScene, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(len(scene.instances) for scene in self.scenes)

    @cached_property
    def photos(self) -> tuple[Photo, ...]:
        """The photographs, as inspection takes them."""
        return tuple(Photo(scene.path, scene.name) for scene in self.scenes)

    @cached_property
    def true(self) -> Mapping[str, tuple[TrueInstance, ...]]:
        """The objects with their ground truths, by photograph."""
        return {scene.name: join(scene.instances, scene.ground_truths) for scene in self.scenes}

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """Flight lines by photograph."""
        return {scene.name: scene.flight_line for scene in self.scenes}

    def sha256(self) -> str:
        """Equal for equal boxes and types of equally named photographs; conditions do not count."""
        rows = [(s.name, s.size_wh, [(t.type_name, t.box.xyxy, t.polygon) for t in s.instances]) for s in self.scenes]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def read_split(
    data: YoloSet, split: str | None, taxonomy: Taxonomy, *, conditions: bool = True, todo: str = ""
) -> LabeledSplit:
    """Read the labels of one split, or of all for None. `todo` is what the user may do about a problem.

    Raises LabelError when it is not there, holds no labeled photograph, has no class of the taxonomy, or lacks the
    conditions that are needed.
    """
    if not meanings(data.names, taxonomy).kinds:
        first_few = ", ".join(repr(cut(name)) for name in list(data.names.values())[:MOST_NAMED])
        raise LabelError(
            f"{data.root}: none of its {some(len(data.names), 'class name')} is in the taxonomy ({first_few}). Name a "
            f"file that says what they are with --taxonomy. Known are: {', '.join(taxonomy.answers())}."
        )
    every = {e.photo: e for part in data.splits.values() for e in part}  # some may be in two
    name, entries = data.split(split) if split else (ALL, tuple(every.values()))
    inspected = find_photos(sorted({e.photo.parent for e in entries})) if conditions else []
    names = {os.path.realpath(photo.path): photo.name for photo in inspected}
    scenes, problems = [], [replace(p, todo=todo) for p in data.problems]
    for entry, scene, said in each_labeled(data, entries, taxonomy, conditions=conditions, todo=todo):
        problems += said
        if scene:
            below = _below(entry.photo, data.root)  # also of one that is listed and that inspection leaves out
            shown = names.get(os.path.realpath(entry.photo), below) if conditions else below
            scenes.append(replace(scene, name=shown))
    if not scenes:
        own = problems[len(data.problems) :] or problems  # of the photographs, before what is wrong with the whole
        first = next((f" The first problem: {p}" for p in grave(own)), "")
        raise LabelError(
            f"{data.root}: none of the photographs of the split {name!r} can be opened and has labels.{first}"
        )
    return LabeledSplit(name, tuple(scenes), tuple(dict.fromkeys(problems)))


def each_labeled(
    data: YoloSet, entries: Iterable[Entry], taxonomy: Taxonomy, *, conditions: bool = True, todo: str = ""
) -> Iterator[tuple[Entry, LabeledScene | None, list[Problem]]]:
    """Every entry with what is on it, None where that is not known, and what is wrong with it or its labels.

    Raises LabelError for labels that name types only where `conditions` are needed.
    """
    meaning = meanings(data.names, taxonomy)
    for entry in entries:
        try:
            found = read_entry(entry, taxonomy, data.names, meaning=meaning)
        except PhotoError as why:
            yield entry, None, [Problem.unread(entry.photo, why, todo)]
            continue
        if conditions and len(found.ground_truths) < len(found.instances):
            raise LabelError(f"{entry.labels}: names types and no conditions. Name labels with conditions.")
        said = [replace(p, todo=todo) for p in found.problems]
        if not found.known and entry.labels:
            said.append(Problem("", str(entry.photo), UNKNOWN.format("left out"), todo))
        yield entry, found if found.known else None, said


def look_at_each(
    data: YoloSet, split: str, taxonomy: Taxonomy, look: Callable[[LabeledScene], None], step: Step
) -> list[Problem]:
    """`look` at every labeled photograph of a split. Returns what is wrong with the data set and its photographs.

    `step` is called after each photograph with what was wrong with it. Raises LabelError as `each_labeled` does.
    """
    problems = list(data.problems)
    for entry, labeled, faults in each_labeled(data, data.split(split)[1], taxonomy):
        try:
            if labeled:
                look(labeled)
        except (PhotoError, OSError) as why:
            faults.append(Problem.unread(entry.photo, why))
        problems += faults
        step(faults)
    return problems


def _below(photo: Path, root: Path) -> str:
    """With slashes; a photograph that data.yaml finds elsewhere keeps its whole path."""
    return photo.relative_to(root).as_posix() if photo.is_relative_to(root) else photo.as_posix()


class Carry(StrEnum):
    """How pictures come into another folder. HARD is a link that outlives its source, or a copy."""

    LINK = "link"
    HARD = "hard"
    COPY = "copy"


@dataclass(frozen=True)
class PlacedEntry:
    """An entry and where it comes to lie below `images` and, with another suffix, `labels`; with slashes."""

    entry: Entry
    name: str

    @property
    def label(self) -> str:
        """The label file's name below `labels`."""
        return str(PurePosixPath(self.name).with_suffix(".txt"))


def placed(entries: Iterable[Entry]) -> list[PlacedEntry]:
    """Names for photographs that come together: their own, so that a flight line can still be read from them.

    Where two would share a label file, the later one goes into a folder called like the split that it came from.
    """
    entries = list(entries)
    names = apart((entry.photo.name, entry.split) for entry in entries)
    return [PlacedEntry(entry, name) for entry, name in zip(entries, names, strict=True)]


def apart(wanted: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names, each with the folder that it goes into where the label file of another one would be called the same.

    >>> list(apart([("dam 1/a.jpg", "all"), ("dam 1/a.png", "all"), ("b.jpg", "all")]))
    ['dam 1/a.jpg', 'all/dam 1/a.png', 'b.jpg']
    """
    taken: set[str] = set()
    for wish, split in wanted:
        tries = (f"{folder}{wish}" for folder in _folders(split))
        name = next(n for n in tries if str(PurePosixPath(n).with_suffix("")).lower() not in taken)
        taken.add(str(PurePosixPath(name).with_suffix("")).lower())
        yield name


def _folders(split: str) -> Iterator[str]:
    yield from ("", f"{split}/")
    number = 2
    while True:
        yield f"{split}-{number}/"
        number += 1


def is_same(source: Path, target: Path) -> bool:
    """Whether a photograph is there with the bytes that it has now."""
    return target.is_file() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False))


def require_carried(out: Path, places: Iterable[tuple[Path, Path]]) -> None:
    """Raise OutputError when a photograph (source, target) of a finished data set is not what it is now."""
    if changed := next((source for source, target in places if not is_same(source, target)), None):
        raise OutputError(
            f"{out}: holds this data set, but {changed} changed since then. Choose a new folder with --out, or delete "
            f"this one; nothing was changed."
        )


def carry(source: Path, target: Path, how: Carry) -> str:
    """Bring a photograph to `target` unless it is there, and say how: "hard link", "symbolic link" or "copy".

    A hard link survives the removal of the source, so it is tried first; a file system that cannot link gets a copy.
    Raises OSError for a photograph that is no longer there, instead of a link that leads nowhere.
    """
    real = source.resolve(strict=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if how is Carry.LINK:
        target.unlink(missing_ok=True)  # a link is made in no time, and an old one may lead elsewhere
    hard, soft = ("hard link", os.link), ("symbolic link", os.symlink)
    for name, link in {Carry.LINK: (hard, soft), Carry.HARD: (hard,), Carry.COPY: ()}[how]:
        try:
            link(real, target)
        except (OSError, NotImplementedError):
            continue
        return name
    if target.is_symlink() or not is_same(real, target):
        half = target.with_name(f".{target.name[:40]}.part")  # a name may be as long as a name can be
        shutil.copyfile(real, half)
        half.replace(target)
    return "copy"
