"""YOLO data sets as they come: Scenes, with their ground truths beside them. Knows folders; opens no pixels.

Instance ids are "1", "2", ... by order of the usable lines of the label file, for `read_entry` and
`instances_from_labels` alike, so that what was inspected with a data set's boxes can be compared with its ground truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.ground_truth import GroundTruth
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Meanings, Names, ObjectClass, Taxonomy, meanings
from toeline.data.images import find_photos, photo_size
from toeline.data.labels import LabelLine, find_names, names_in, read_label_file, read_yaml, taxonomy_names
from toeline.errors import LabelError, PhotoError

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}  # folder -> split


@dataclass(frozen=True, slots=True)
class Entry:
    """A photograph, the label file that belongs to it (None when there is none), and the split it is in."""

    photo: Path
    labels: Path | None
    split: str


@dataclass(frozen=True)
class YoloSet:
    """A data set. `names` are the classes as its data.yaml spells them; the split of a bare folder is called "all"."""

    root: Path
    names: Names
    splits: Mapping[str, tuple[Entry, ...]]
    problems: tuple[Problem, ...] = ()

    def split(self, name: str) -> tuple[str, tuple[Entry, ...]]:
        """The split of that name, in any of its spellings: what it is called here, and what is in it.

        Raises LabelError, with the names that there are.
        """
        called = SPLITS.get(name, name)
        if called not in self.splits:
            there = ", ".join(sorted(self.splits))
            raise LabelError(f"{self.root}: has no split {name!r}. Choose one of: {there}.")
        return called, self.splits[called]


@dataclass(frozen=True)
class LabeledScene:
    """What is seen and, apart from it, what is true. `ground_truths` is empty when the data set names types only.

    `lines` gives for each instance's id the line (from 1) of the label file that it stands in; `name` is what the
    photograph is called by whoever reads a whole split.
    """

    scene: Scene
    ground_truths: tuple[GroundTruth, ...]
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    @property
    def path(self) -> Path:
        """The photograph."""
        return self.scene.image

    @property
    def size_wh(self) -> tuple[int, int]:
        """Of the photograph in pixels, upright."""
        return self.scene.size_wh

    @property
    def flight_line(self) -> str:
        """The group of the photograph."""
        return self.scene.flight_line

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Places and types of what is there."""
        return self.scene.instances


def flight_line(photo: Path) -> str:
    """The default group of a photograph: its name without Roboflow's suffixes and without the frame number at the end.

    >>> flight_line(Path("Lagoon1_B0_0087_V_JPG.rf.1f.jpg")), flight_line(Path("Stage1_R6-Berm-105_35m_213_V_jpg.jpg"))
    ('Lagoon1_B0', 'Stage1_R6-Berm-105_35m')
    """
    stem = re.sub(r"\.rf\.[^.]*$", "", photo.stem)
    stem = re.sub(r"_(jpe?g|png|tiff?|webp|bmp)$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[ _-]*\d+(_[A-Z])?$", "", stem) or stem


def open_dataset(data: Path, taxonomy: Taxonomy) -> YoloSet:
    """A data set that has to be there, as a user named it. Raises LabelError."""
    if not data.exists():
        raise LabelError(f"{data}: there is no such data set. Name a folder in YOLO layout, or its data.yaml.")
    return open_yolo(data, taxonomy)


def open_yolo(root: Path, taxonomy: Taxonomy, *, labels: Path | None = None, any_class: bool = False) -> YoloSet:
    """Find the splits, photographs and label files below `root` (a folder, or its data.yaml); reads no label file yet.

    Understood: `train|valid|val|test/images` beside `labels` (Roboflow), `images/train|val|test` beside `labels/...`
    (ultralytics), folders that data.yaml names, and a bare folder of photographs with `labels` inside it, beside it, or
    given by `labels`. With `any_class`, classes outside the taxonomy are no problem: for whoever reads no meaning into
    them. Raises LabelError when there are no photographs.
    """
    base = root.parent if root.is_file() else root
    file = root if root.is_file() else base / "data.yaml"
    raw = read_yaml(file)
    names, problems = names_in(raw, file, taxonomy, any_class=any_class)
    bare = base / "images" if (base / "images").is_dir() else base
    splits = _filled(_split_folders(base, raw), labels) or _filled([("all", bare)], labels)
    if not splits:
        raise LabelError(f"{root}: no photographs here, nor in train/images or images/train. Name the data set's top.")
    stray = _strays(entry for entries in splits.values() for entry in entries)
    return YoloSet(base, names, splits, (*problems, *stray))


def read_entry(
    entry: Entry,
    taxonomy: Taxonomy,
    names: Names | None = None,
    *,
    group_of: Callable[[Path], str] = flight_line,
    meaning: Meanings | None = None,
) -> LabeledScene:
    """One photograph's scene, its ground truths, and what was wrong with its labels. Raises PhotoError.

    `names` are the YoloSet's; without them class ids are in the taxonomy's order. `meaning` is what they mean in the
    taxonomy, for whoever reads many entries and works it out once.
    """
    names = taxonomy_names(taxonomy) if names is None else names
    meaning = meaning or meanings(names, taxonomy)
    size = photo_size(entry.photo)
    if entry.labels is None:
        return LabeledScene(Scene(entry.photo, size, (), group_of(entry.photo)), (), (unlabeled(entry.photo),))
    lines, problems = read_label_file(entry.labels, size, {i: names[i] for i in meaning.kinds})
    instances = tuple(_instance(i, line, meaning) for i, line in enumerate(lines, start=1))
    ground_truths = tuple(
        _ground_truth(str(i), meaning.classes[line.class_id])
        for i, line in enumerate(lines, start=1)
        if line.class_id in meaning.classes
    )
    places = {str(i): line.line for i, line in enumerate(lines, start=1)}
    return LabeledScene(Scene(entry.photo, size, instances, group_of(entry.photo)), ground_truths, problems, places)


def unlabeled(photo: Path) -> Problem:
    """A photograph without a label file; an empty file would say that nothing is there."""
    return Problem.in_file(photo, "no label file belongs to this photograph, so nothing is known of it.")


def instances_from_labels(
    labels_dir: Path, photo: Path, size_wh: tuple[int, int], taxonomy: Taxonomy, names: Names | None = None
) -> tuple[tuple[Instance, ...], tuple[Problem, ...]]:
    """The boxes and types that people drew for `photo`; the conditions of the labels end here.

    The label file has the photograph's stem. Without `names`, data.yaml in `labels_dir` or up to two folders above it
    names the class ids; without that they are in the taxonomy's order. A missing file is a problem, an empty one is an
    answer.
    """
    file = labels_dir / f"{photo.stem}.txt"
    if not file.is_file():
        return (), (Problem.in_file(file, "there is no such file; an empty one would mean that nothing is there."),)
    above: tuple[Problem, ...] = ()
    if names is None:
        names, above = find_names(labels_dir, taxonomy)
    meaning = meanings(names, taxonomy)
    lines, problems = read_label_file(file, size_wh, {i: names[i] for i in meaning.kinds})
    return tuple(_instance(i, line, meaning) for i, line in enumerate(lines, start=1)), (*above, *problems)


def _instance(number: int, line: LabelLine, meaning: Meanings) -> Instance:
    return Instance(str(number), meaning.kinds[line.class_id], line.box, 1.0, line.polygon)


def _ground_truth(instance_id: str, c: ObjectClass) -> GroundTruth:
    return GroundTruth(instance_id, c.name, c.type, c.condition)


def _split_folders(base: Path, raw: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Split names and their folders of photographs: where exporters put them, then where data.yaml says they are."""
    found: list[tuple[str, Path]] = []
    for name, split in SPLITS.items():
        places = (base / name / "images", base / "images" / name, base / name)
        found += [(split, place) for place in places if place.is_dir()][:1]
    there = {split for split, _ in found}
    for name, split in SPLITS.items():
        if split in there or not raw.get(name):
            continue
        listed = raw[name] if isinstance(raw[name], list) else [raw[name]]
        found += [(split, place) for value in listed if (place := _resolved(base, raw, str(value))) is not None]
    return found


def _resolved(base: Path, raw: Mapping[str, Any], value: str) -> Path | None:
    """A folder that data.yaml names; first without the `../` that Roboflow writes before folders beside data.yaml."""
    tops = (base, base / str(raw.get("path") or "."))
    tries = [top / v for v in (re.sub(r"^(\.\./)+", "", value), value) for top in tops]
    return next((place for place in tries if place.is_dir()), None)


def _filled(folders: Iterable[tuple[str, Path]], labels: Path | None) -> dict[str, tuple[Entry, ...]]:
    """Entries by split; folders without photographs leave no trace."""
    splits: dict[str, tuple[Entry, ...]] = {}
    for split, folder in folders:
        if entries := tuple(_entries(folder, split, labels)):
            splits[split] = splits.get(split, ()) + entries
    return splits


def _entries(folder: Path, split: str, labels: Path | None) -> Iterator[Entry]:
    with suppress(PhotoError):  # an empty split is no fault; only a data set without any photograph is one
        for photo in find_photos([folder]):
            yield Entry(photo.path, _labels_of(photo.path, folder, labels), split)


def _labels_of(photo: Path, folder: Path, labels: Path | None) -> Path | None:
    """The label file of a photograph below `folder`: in the folder of labels at the same place, or beside it."""
    inside, name = photo.parent.relative_to(folder), f"{photo.stem}.txt"
    swapped = [*folder.parts]
    if "images" in swapped:  # the last one is the data set's; an earlier one may be anything
        swapped[len(swapped) - 1 - swapped[::-1].index("images")] = "labels"
    tops = [labels] if labels else [Path(*swapped), folder / "labels", folder.parent / "labels", folder]
    return next((file for top in tops if (file := top / inside / name).is_file()), None)


def _strays(entries: Iterable[Entry]) -> Iterator[Problem]:
    """Label files without a photograph, and those that two photographs would share."""
    owners: dict[Path, Path] = {}
    for entry in entries:
        if entry.labels is None:
            continue
        if entry.labels in owners:
            yield Problem.in_file(entry.labels, f"belongs to {owners[entry.labels].name} and {entry.photo.name} alike.")
        owners.setdefault(entry.labels, entry.photo)
    for folder in sorted({file.parent for file in owners if "labels" in file.parts}):
        for file in sorted(folder.glob("*.txt")):
            if file not in owners and file.name != "classes.txt":
                yield Problem.in_file(file, "no photograph belongs to these labels.")
