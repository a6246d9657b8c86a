"""A data set between two formats: photographs with their boxes and polygons in pixels. Knows no file format."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from toeline.core.finding import Problem as FindingProblem
from toeline.core.ground_truth import TrueInstance, join
from toeline.core.scene import Instance
from toeline.core.taxonomy import Names, Taxonomy, meanings
from toeline.data.images import Photo, find_photos, photo_size
from toeline.data.labels import LabelLine, Problem, read_label_file
from toeline.data.yolo import Entry, YoloSet, flight_line, read_entry
from toeline.errors import LabelError, PhotoError

Step = Callable[[Sequence[Problem]], None]
ALL = "all"  # the split of a data set that is not split


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


def _read(photo: Path, name: str, labels: Path | None, names: Names) -> tuple[LabeledPhoto | None, list[Problem]]:
    try:
        size = photo_size(photo)
    except PhotoError as why:
        return None, [Problem(photo, None, f"left out: {str(why).removeprefix(f'{photo}: ')}")]
    if labels is None:
        said = Problem(photo, None, "no label file belongs to this photograph; it is marked as not labeled.")
        return LabeledPhoto(photo, name, size, None), [said]
    lines, problems = read_label_file(labels, size, names)
    return LabeledPhoto(photo, name, size, lines), list(problems)


@dataclass(frozen=True)
class BoxedPhoto:
    """A photograph, its `name` (the path below the data set), its flight line, and what is on it, in upright pixels."""

    path: Path
    name: str
    flight_line: str
    size_wh: tuple[int, int]
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class BoxedSplit:
    """One split. Photographs that cannot be opened, or of which nothing is known, are left out and are problems."""

    name: str
    photos: tuple[BoxedPhoto, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(len(photo.instances) for photo in self.photos)

    def sha256(self) -> str:
        """Equal for equal boxes and types of equally named photographs."""
        rows = [(p.name, p.size_wh, [(t.type_name, t.box.xyxy, t.polygon) for t in p.instances]) for p in self.photos]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def boxed_split(data: YoloSet, name: str, taxonomy: Taxonomy) -> BoxedSplit:
    """Read the labels of one split. Raises LabelError when it is not there, or holds no labeled photograph."""
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
                BoxedPhoto(entry.photo, shown, flight_line(entry.photo), scene.scene.size_wh, scene.scene.instances)
            )
    if not photos:
        raise LabelError(f"{data.root}: none of the photographs of the split {split!r} can be opened and has labels.")
    return BoxedSplit(split, tuple(photos), tuple(dict.fromkeys(problems)))


def _name(photo: Path, root: Path) -> str:
    """With slashes; a photograph that data.yaml finds elsewhere keeps its whole path."""
    return photo.relative_to(root).as_posix() if photo.is_relative_to(root) else photo.as_posix()


ADVICE = "Mend it, then run the same command again; the rest was evaluated without it."


@dataclass(frozen=True)
class TrueSplit:
    """One split. `photos` are those that can be opened and have labels; `true` and `groups` (flight lines) go by name.

    `problems` name no photograph, so that a run that is taken up again finds them anew instead of keeping them twice.
    """

    name: str
    photos: tuple[Photo, ...]
    true: Mapping[str, tuple[TrueInstance, ...]]
    groups: Mapping[str, str]
    problems: tuple[FindingProblem, ...] = ()

    @property
    def objects(self) -> int:
        """How many true objects there are."""
        return sum(map(len, self.true.values()))


def true_split(dataset: YoloSet, name: str, taxonomy: Taxonomy) -> TrueSplit:
    """Read the labels of one split. Raises LabelError for a split that is not there or that says no conditions."""
    split, entries = dataset.split(name)
    names = {p.path.resolve(): p.name for p in find_photos(sorted({e.photo.parent for e in entries}))}
    photos: list[Photo] = []
    true: dict[str, tuple[TrueInstance, ...]] = {}
    groups: dict[str, str] = {}
    problems = [FindingProblem("", str(p.file), p.what, ADVICE, p.line) for p in dataset.problems]
    for entry in entries:
        photo = Photo(entry.photo, names[entry.photo.resolve()])
        try:
            labeled = read_entry(entry, taxonomy, dataset.names)
        except PhotoError as why:
            problems.append(FindingProblem("", str(entry.photo), str(why).removeprefix(f"{entry.photo}: ")))
            continue
        problems += [FindingProblem("", str(p.file), p.what, ADVICE, p.line) for p in labeled.problems]
        if entry.labels is None:
            continue
        if len(labeled.ground_truths) < len(labeled.scene.instances):
            raise LabelError(f"{entry.labels}: names types and no conditions, so nothing can be held against it.")
        photos.append(photo)
        true[photo.name] = join(labeled.scene.instances, labeled.ground_truths)
        groups[photo.name] = labeled.scene.flight_line
    return TrueSplit(split, tuple(photos), true, groups, tuple(problems))


class Carry(StrEnum):
    """How photographs come into a new data set."""

    LINK = "link"
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
    taken: set[str] = set()
    places = []
    for entry in entries:
        tries = (f"{folder}{entry.photo.name}" for folder in _folders(entry.split))
        name = next(n for n in tries if str(PurePosixPath(n).with_suffix("")).lower() not in taken)
        taken.add(str(PurePosixPath(name).with_suffix("")).lower())
        places.append(PlacedEntry(entry, name))
    return places


def _folders(split: str) -> Iterator[str]:
    yield from ("", f"{split}/")
    number = 2
    while True:
        yield f"{split}-{number}/"
        number += 1


def carry(source: Path, target: Path, how: Carry) -> str:
    """Bring a photograph to `target` unless it is there, and say how: "hard link", "symbolic link" or "copy".

    A hard link survives the removal of the source, so it is tried first; a file system that cannot link gets a copy.
    """
    real = source.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if how is Carry.LINK:
        target.unlink(missing_ok=True)  # a link is made in no time, and an old one may lead elsewhere
        for name, link in (("hard link", os.link), ("symbolic link", os.symlink)):
            try:
                link(real, target)
            except (OSError, NotImplementedError):
                continue
            return name
    if not target.is_file() or target.is_symlink() or target.stat().st_size != real.stat().st_size:
        half = target.with_name(f".{target.name}.part")
        shutil.copyfile(real, half)
        half.replace(target)
    return "copy"
