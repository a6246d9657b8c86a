"""A data set as columns of numbers: 60 bytes an object, so that a million of them fit and numpy counts them."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toeline.core.box import Box
from toeline.core.finding import Problem
from toeline.core.ground_truth import GroundTruth
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Meanings, Taxonomy, meanings
from toeline.data.labels import PlainLabels
from toeline.data.yolo import Entry, YoloSet, flight_line, read_entry
from toeline.errors import PhotoError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ObjectTable:
    """P photographs and N objects, the objects of a photograph one after the other.

    `photos` and `label_files` are paths below the root, the second empty where there is no label file. Columns of
    photographs: `split` and `group` are positions in `splits` and `groups`, `size_wh` (P, 2) is in pixels, `known` says
    whether what is on it is known: where no label could be read, that there is no object says nothing. Columns of
    objects: `photo` is a row of the photographs, `kind` and `cls` are positions in the taxonomy's types and classes
    (`cls` is -1 where the data set names types only), `line` is that of the label file, `boxes` (N, 4) are xyxy in
    pixels.
    """

    taxonomy: Taxonomy
    splits: tuple[str, ...]
    groups: tuple[str, ...]
    photos: tuple[str, ...]
    label_files: tuple[str, ...]
    split: Ints
    group: Ints
    size_wh: Floats
    known: Bools
    photo: Ints
    kind: Ints
    cls: Ints
    line: Ints
    boxes: Floats

    @property
    def n_photos(self) -> int:
        return len(self.photos)

    @property
    def n_objects(self) -> int:
        return len(self.photo)

    @cached_property
    def object_split(self) -> Ints:
        """(N,) the split of each object."""
        return self.split[self.photo]

    @cached_property
    def condition(self) -> Ints:
        """(N,) positions in the taxonomy's conditions, -1 where nothing is known."""
        order = [c.name for c in self.taxonomy.conditions]
        of_class = np.array([*(order.index(c.condition) for c in self.taxonomy.classes), -1])
        return np.asarray(of_class[self.cls], dtype=np.int64)

    @cached_property
    def first(self) -> Ints:
        """(P + 1,) where the objects of each photograph begin; the last entry is N."""
        counts = np.bincount(self.photo, minlength=self.n_photos)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def shares(self) -> Floats:
        """(N, 4) the boxes as shares of their photograph's sides, xyxy."""
        wide_high = self.size_wh[self.photo]
        return self.boxes / np.hstack([wide_high, wide_high])

    def numbers(self, objects: Ints) -> Ints:
        """The thing ids of objects, which count from 1 within each photograph."""
        return objects - self.first[self.photo[objects]] + 1


@dataclass
class Collector:
    """Takes rows one by one, keeps their numbers and lets go of the rest."""

    taxonomy: Taxonomy
    root: Path
    splits: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)
    label_files: list[str] = field(default_factory=list)
    per_photo: dict[str, array[float]] = field(
        default_factory=lambda: {
            n: array("d" if n == "size" else "q") for n in ("split", "group", "size", "count", "known")
        }
    )
    per_object: dict[str, array[float]] = field(
        default_factory=lambda: {n: array("d" if n == "box" else "i") for n in ("kind", "cls", "line", "box")}
    )

    def __post_init__(self) -> None:
        self._kinds = {t.name: i for i, t in enumerate(self.taxonomy.types)}
        self._classes = {c.name: i for i, c in enumerate(self.taxonomy.classes)}

    def add(self, row: SurveyRow) -> None:
        """One photograph more."""
        self._add_photo(row, len(row.instances))
        kinds, classes, lines, boxes = (self.per_object[n] for n in ("kind", "cls", "line", "box"))
        for instance in row.instances:
            kinds.append(self._kinds[instance.type_name])
            ground_truth = row.ground_truths.get(instance.id)
            classes.append(-1 if ground_truth is None else self._classes[ground_truth.class_name])
            lines.append(row.lines[instance.id])
            boxes.extend(instance.box.xyxy)

    def add_plain(self, row: PlainRow, meaning: Meanings) -> None:
        """One photograph more, its labels column by column. `meaning` is that of its class ids."""
        ids = row.labels.class_ids
        self._add_photo(row, len(ids))
        classes = {i: self._classes[c.name] for i, c in meaning.classes.items()}
        self.per_object["kind"].extend([self._kinds[meaning.kinds[i]] for i in ids])
        self.per_object["cls"].extend([classes.get(i, -1) for i in ids])
        self.per_object["line"].extend(row.labels.lines)
        self.per_object["box"].frombytes(row.labels.boxes.tobytes())

    def _add_photo(self, row: SurveyRow | PlainRow, count: int) -> None:
        self.photos.append(row.name)
        self.label_files.append(below(self.root, row.entry.labels) if row.entry.labels else "")
        self.per_photo["split"].append(self.splits.setdefault(row.split, len(self.splits)))
        self.per_photo["group"].append(self.groups.setdefault(row.flight_line, len(self.groups)))
        self.per_photo["size"].extend(row.size_wh)
        self.per_photo["count"].append(count)
        self.per_photo["known"].append(isinstance(row, PlainRow) or row.known)

    def absorb(self, other: Collector) -> None:
        """Add what another one took, after what this one took."""
        splits = [self.splits.setdefault(name, len(self.splits)) for name in other.splits]
        groups = [self.groups.setdefault(name, len(self.groups)) for name in other.groups]
        self.photos += other.photos
        self.label_files += other.label_files
        self.per_photo["split"].extend(splits[int(i)] for i in other.per_photo["split"])
        self.per_photo["group"].extend(groups[int(i)] for i in other.per_photo["group"])
        for name in ("size", "count", "known"):
            self.per_photo[name].extend(other.per_photo[name])
        for name, column in self.per_object.items():
            column.extend(other.per_object[name])

    def table(self) -> ObjectTable:
        """What was taken so far."""
        photo, instance = self.per_photo, self.per_object
        return ObjectTable(
            taxonomy=self.taxonomy,
            splits=tuple(self.splits),
            groups=tuple(self.groups),
            photos=tuple(self.photos),
            label_files=tuple(self.label_files),
            split=_ints(photo["split"]),
            group=_ints(photo["group"]),
            size_wh=np.array(photo["size"], dtype=np.float64).reshape(-1, 2),
            known=_ints(photo["known"]).astype(bool),
            photo=np.repeat(np.arange(len(self.photos)), _ints(photo["count"])),
            kind=_ints(instance["kind"]),
            cls=_ints(instance["cls"]),
            line=_ints(instance["line"]),
            boxes=np.array(instance["box"], dtype=np.float64).reshape(-1, 4),
        )


def _ints(values: array[float]) -> Ints:
    return np.array(values, dtype=np.int64)


UNREAD = "photograph that cannot be read"


@dataclass(frozen=True)
class SurveyRow:
    """One photograph with its labels. `name` is its path below the data set's root, with slashes.

    `size_wh` is in pixels after EXIF rotation; `group` is the flight line. `ground_truths` and `lines` (of the label
    file, from 1) are by instance id; an instance has no ground truth where the data set names types only. `problems`
    are label lines that could not be used; `known` is as in LabeledScene.
    """

    name: str
    split: str
    entry: Entry
    size_wh: tuple[int, int]
    flight_line: str
    instances: tuple[Instance, ...]
    ground_truths: Mapping[str, GroundTruth]
    lines: Mapping[str, int]
    problems: tuple[Problem, ...] = ()
    known: bool = True

    @cached_property
    def scene(self) -> Scene:
        """The photograph and its things, as relate/ takes them."""
        return Scene(self.entry.photo, self.size_wh, self.instances, self.flight_line)


@dataclass(frozen=True)
class PlainRow:
    """One photograph, as in Row, with its labels in columns and nothing wrong with any of them."""

    name: str
    split: str
    entry: Entry
    size_wh: tuple[int, int]
    flight_line: str
    labels: PlainLabels


def below(root: Path, file: Path) -> str:
    """The path of `file` below `root`, with slashes; with `../` where data.yaml leads out of the root.

    >>> below(Path("set"), Path("set/train/images/a.jpg")), below(Path("set"), Path("more/a.jpg"))
    ('train/images/a.jpg', '../more/a.jpg')
    """
    top, path = f"{root}{os.sep}", str(file)  # texts: a path object takes twenty times as long, and there may be many
    return (path.removeprefix(top) if path.startswith(top) else os.path.relpath(path, root)).replace(os.sep, "/")


def survey(
    opened: YoloSet,
    taxonomy: Taxonomy,
    *,
    group_of: Callable[[Path], str] = flight_line,
    unread: Callable[[Flag], None] = lambda _: None,
) -> Iterator[SurveyRow]:
    """Every photograph of every split, in the order of the data set; nothing is kept of what was yielded.

    A photograph that cannot be opened is told to `unread`, and the pass continues.
    """
    meaning = meanings(opened.names, taxonomy)
    for split, entries in opened.splits.items():
        for entry in entries:
            if row := row_of(entry, split, opened, taxonomy, meaning, group_of=group_of, unread=unread):
                yield row


def row_of(
    entry: Entry,
    split: str,
    opened: YoloSet,
    taxonomy: Taxonomy,
    meaning: Meanings,
    *,
    group_of: Callable[[Path], str],
    unread: Callable[[Flag], None],
) -> SurveyRow | None:
    """One photograph, or None when it cannot be opened, which is told to `unread`."""
    name = below(opened.root, entry.photo)
    try:
        read = read_entry(entry, taxonomy, opened.names, group_of=group_of, meaning=meaning)
    except PhotoError as why:
        unread(unread_flag(name, entry.photo, str(why)))
        return None
    scene, ground_truths = read.scene, {t.instance_id: t for t in read.ground_truths}
    return SurveyRow(
        name,
        split,
        entry,
        scene.size_wh,
        scene.flight_line,
        scene.instances,
        ground_truths,
        read.lines,
        read.problems,
        read.known,
    )


def unread_flag(name: str, photo: Path, why: str) -> Flag:
    """A photograph that cannot be read. `why` is the text of a PhotoError."""
    what, _, todo = why.removeprefix(f"{photo}: ").partition(". ")
    return Flag(UNREAD, Weight.FAULT, name, name, f"{what.removesuffix('.')}.", todo)


class Weight(StrEnum):
    """A fault contradicts the data's own rules and should be corrected; a remark is unusual and may be right."""

    FAULT = "fault"
    REMARK = "remark"


@dataclass(frozen=True)
class Flag:
    """`check` is the kind of finding ("duplicate box"), the same text for all of a kind: pages group by it.

    `photo`, `file` and `other` are paths below the data set's root, with slashes; `file` holds the fault, in `line`
    (from 1) if it is a label file; `other` is a second photograph that is part of it, or empty. `boxes` are in pixels
    of `photo`, the first is what it is about.
    """

    check: str
    weight: Weight
    photo: str
    file: str
    what: str
    todo: str
    line: int | None = None
    other: str = ""
    boxes: tuple[Box, ...] = ()
