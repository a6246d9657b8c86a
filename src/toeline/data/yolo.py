"""YOLO data sets as they come: Scenes, with their ground truths beside them. Knows folders; opens no pixels.

Instance ids are "1", "2", ... by order of the usable lines of the label file, for `read_entry` and
`instances_from_labels` alike, so that what was inspected with a data set's boxes can be compared with its ground truth.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem, grave
from toeline.core.ground_truth import GroundTruth
from toeline.core.reading import is_file
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Meanings, Names, ObjectClass, Taxonomy, meanings
from toeline.core.words import some, unknown
from toeline.data.class_names import (
    YAML,
    YAML_FIRST,
    ClassNames,
    above,
    darknet_settings,
    find_names,
    read_settings,
    taxonomy_names,
)
from toeline.data.foreign import other_formats
from toeline.data.images import SUFFIXES, is_utf8, photo_size, require_readable
from toeline.data.labels import LabelLine, read_label_file
from toeline.data.matching import LabelFolder, MatchedLabels, folded, label_folders, match_labels, stem_of, strays
from toeline.data.places import ALL, MOST_SAID, SPLITS, Part, Places, guessed_places, listed_keys, listed_places, walk
from toeline.errors import LabelError


@dataclass(frozen=True, slots=True)
class Entry:
    """A photograph, the label file that belongs to it (None when there is none), and the split it is in.

    `keypoints` is how many numbers of key points follow each box of its labels.
    """

    photo: Path
    labels: Path | None
    split: str
    keypoints: int = 0


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
            raise LabelError(unknown(f"{self.root}: has no split", name, sorted(self.splits)))
        return called, self.splits[called]


@dataclass(frozen=True)
class LabeledScene:
    """What is seen and, apart from it, what is true. `ground_truths` is empty when the data set names types only.

    `lines` gives for each instance's id the line (from 1) of the label file that it stands in; `name` is what the
    photograph is called by whoever reads a whole split. Unless `known`, no label of it could be read: that there are no
    instances does not mean that nothing is there.
    """

    scene: Scene
    ground_truths: tuple[GroundTruth, ...]
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    known: bool = True

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
    stem = _stem(photo)
    return FRAME.sub("", stem) or stem


FRAME = re.compile(r"[ _-]*(\d+)(_[A-Z])?$")


def _stem(photo: Path) -> str:
    stem = re.sub(r"\.rf\.[^.]*$", "", photo.stem)
    return re.sub(r"_(jpe?g|png|tiff?|webp|bmp)$", "", stem, flags=re.IGNORECASE)


def frame_number(photo: Path) -> int | None:
    """The number at the end of a photograph's name, which grows along a flight line; its last nine digits.

    >>> frame_number(Path("Lagoon1_B0_0087_V_JPG.rf.1f.jpg")), frame_number(Path("dyke.jpg"))
    (87, None)
    """
    found = FRAME.search(_stem(photo))
    return int(found[1][-9:]) if found else None


def open_dataset(data: Path, taxonomy: Taxonomy, *, classes: Path | None = None) -> YoloSet:
    """A data set that has to be there, as a user named it. Raises LabelError."""
    if not data.exists():
        raise LabelError(f"{data}: there is no such data set. Name a folder in YOLO layout, or its data.yaml.")
    return open_yolo(data, taxonomy, classes=classes)


def open_yolo(
    root: Path,
    taxonomy: Taxonomy,
    *,
    labels: Path | None = None,
    any_class: bool = False,
    classes: Path | None = None,
) -> YoloSet:
    """Find the splits, photographs and label files below `root` (a folder, or its data.yaml); reads no label file yet.

    What data.yaml says of places is obeyed; without it `train|valid|val|test/images` (Roboflow),
    `images/train|val|test` (ultralytics) and a bare folder of photographs are understood. Labels lie where
    `matching.label_folders` looks, or in `labels`. Class names are those of `class_names.find_names`; `classes` is the
    file to take them from. With `any_class`, classes outside the taxonomy are no problem: for whoever reads no meaning
    into them. Raises LabelError when there are no photographs, and where it is not clear which are meant, and
    PhotoError when not one of them can be opened.
    """
    base, file = _opened(root)
    raw = _settings(file)
    places = _places(root, base, file, raw)
    photos, repeated = _once(places.parts)
    require_readable([photo for _, photo in photos], str(root))
    tops = {str(photo).rpartition(os.sep)[0]: part.folder for part, photo in reversed(photos)}
    matched = match_labels((photo for _, photo in photos), partial(_label_places, tops=tops, labels=labels))
    keypoints = _keypoints(raw, file)
    splits: dict[str, list[Entry]] = defaultdict(list)
    for part, photo in photos:
        splits[part.split].append(Entry(photo, matched.labels.get(photo), part.split, keypoints))
    why = f"not listed in {file.name}" if file and listed_keys(raw) else "outside the folders of the data set"
    beside = _beside(base, places.parts, matched, why)
    names = _names(base, root, matched, taxonomy, any_class=any_class, classes=classes)
    skipped = (
        [Problem.in_file(file, "key points are passed over; boxes are read.", note=True)] if file and keypoints else []
    )
    bare = [] if matched.labels or matched.problems else [_unlabeled_set(base)]
    problems = (*bare, *names.problems, *places.problems, *skipped, *repeated, *matched.problems, *beside)
    return YoloSet(base, names.names, {s: tuple(its) for s, its in splits.items()}, problems)


def _unlabeled_set(base: Path) -> Problem:
    """A data set in which no photograph has a label file: its labels lie elsewhere, or are of another kind."""
    others = other_formats(base) or "Name the top of a YOLO data set, whose `labels` lie beside its `images`."
    return Problem.in_file(base, f"no photograph here has a YOLO label file. {others}")


def archives(folder: Path) -> list[Path]:
    """Packed files in a folder."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ARCHIVES) if folder.is_dir() else []


ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def _opened(root: Path) -> tuple[Path, Path | None]:
    """The folder of a data set, and the file that says where its photographs are, if there is one."""
    if root.is_dir():
        return root, _settings_file(root)
    if root.suffix.lower() in ARCHIVES:
        raise LabelError(f"{root}: is an archive. Unpack it, and name the folder.")
    if root.suffix.lower() not in (*YAML, ".data"):
        raise LabelError(f"{root}: is no data set. Name a folder in YOLO layout, or its data.yaml.")
    return root.parent, root


def _settings_file(folder: Path) -> Path | None:
    """data.yaml or the like; else the one other file that names places. Raises LabelError for two such files."""
    try:
        there = sorted(one.name for one in os.scandir(folder) if not one.name.startswith("."))
    except OSError as why:
        raise LabelError(f"{folder}: cannot be read ({why.strerror}). Check the path.") from None
    for name in YAML_FIRST:
        if usual := next((n for n in there if n.lower() == name), None):
            return folder / usual
    found = [folder / n for n in there if n.lower().endswith(YAML) and _names_places(folder / n)]
    found = found or [folder / n for n in there if n.endswith(".data") and darknet_settings(folder / n).get("names")]
    if len(found) > 1:
        raise LabelError(f"{folder}: {' and '.join(f.name for f in found)} both say where photographs are. Name one.")
    return found[0] if found else None


def _settings(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    return darknet_settings(file) if file.suffix == ".data" else read_settings(file)


def _names_places(file: Path) -> bool:
    try:
        raw = read_settings(file)
    except LabelError:  # of another program
        return False
    return bool(listed_keys(raw)) and "names" in raw


def _places(root: Path, base: Path, file: Path | None, raw: Mapping[str, Any]) -> Places:
    """The parts of the data set: as listed, else as guessed. Raises LabelError when there are none."""
    listed = listed_places(file, raw) if file else Places()
    if listed.parts:
        return listed
    found = guessed_places(base)
    one = {part.split for part in found.parts} == {ALL}
    if not found.parts or (one and file and file.suffix != ".data" and grave(listed.problems)):
        said = "".join(f" {p}" for p in listed.problems[:3])
        packed = "".join(f" {p.name} is an archive: unpack it." for p in archives(base)[:1])
        raise LabelError(
            f"{root}: no photographs here, nor in train/images or images/train.{said}{packed} Name the data set's top."
        )
    if one:
        _require_top(base)
    if listed.problems:
        what = "none of the places that it lists is there, so the usual folders are read."
        missed = [*listed.problems, Problem("", str(file), what, "Correct its train:, val: and test:.")]
        # obj.data is written for darknet's own folder, and exporters leave the lists out
        found.problems += [replace(p, note=True) for p in missed] if str(file).endswith(".data") else missed
    return found


def _require_top(base: Path) -> None:
    """Raise LabelError where the data set itself seems to be a folder or two further down."""
    deeper = [d for d in (*sorted(base.glob("*/")), *sorted(base.glob("*/*/"))) if not d.name.startswith(".")]
    tops = [d for d in deeper if any(is_file(d / name) for name in YAML_FIRST)]
    if tops:
        raise LabelError(f"{base}: holds data sets of their own ({', '.join(map(str, tops[:4]))}). Name one of them.")


def _once(parts: Sequence[Part]) -> tuple[list[tuple[Part, Path]], list[Problem]]:
    """Photographs with their parts, each once in a split, and what was listed twice."""
    real: dict[str, str] = {}
    seen: dict[str, Path] = {}
    of_split: dict[str, set[str]] = defaultdict(set)
    found: list[tuple[Part, Path]] = []
    twice: dict[str, int] = defaultdict(int)
    for part in parts:
        for photo in part.photos:
            here, _, name = str(photo).rpartition(os.sep)  # texts: there may be a hundred thousand
            if here not in real:
                real[here] = os.path.realpath(here or ".")
            key = f"{real[here]}{os.sep}{name}"
            if key in of_split[part.split]:
                twice[part.split] += 1
                continue
            of_split[part.split].add(key)
            found.append((part, seen.setdefault(key, photo)))
    said = [
        Problem.in_file(
            Path(parts[0].folder), f"{some(n, 'photograph')} of {split} are listed twice; each counts once.", note=True
        )
        for split, n in twice.items()
    ]
    return found, [*said, *in_two_splits(of_split)]


def in_two_splits(of_split: Mapping[str, set[str]]) -> Iterator[Problem]:
    """Photographs that two splits share."""
    for a, b in combinations(of_split, 2):
        if both := sorted(of_split[a] & of_split[b]):
            more = f", and so are {len(both) - 1:,} more" if len(both) > 1 else ""
            what = f"is listed in {a} and in {b}{more}: what is learned from the one is measured on the other."
            yield Problem("", both[0], what, "Take each photograph out of one of the two.")


def _label_places(photos: Path, tops: Mapping[str, Path], labels: Path | None) -> list[Path]:
    top = tops["" if photos == Path() else str(photos)]
    return [labels / photos.relative_to(top), labels] if labels else label_folders(photos, top)


def _keypoints(raw: Mapping[str, Any], file: Path | None) -> int:
    """How many numbers follow a box, from `kpt_shape: [17, 3]`. Raises LabelError."""
    shape = raw.get("kpt_shape")
    if shape is None and raw.get("task") != "pose":
        return 0
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(type(v) is int for v in shape)
        or shape[0] < 1
        or shape[1] not in (2, 3)
    ):
        raise LabelError(
            f"{file}: `kpt_shape: {shape}` is not the number of key points and 2 or 3, as [17, 3]. Correct it."
        )
    return int(shape[0] * shape[1])


def _names(
    base: Path, root: Path, matched: MatchedLabels, taxonomy: Taxonomy, *, any_class: bool, classes: Path | None
) -> ClassNames:
    """Names from the set's top, the folders of labels and those between; only without any from above the top."""
    named = root if root.is_file() and root.suffix.lower() in YAML else None
    used = sorted({file.parent for file in matched.labels.values()})
    top = Path(os.path.commonpath([base.absolute(), *(folder.absolute() for folder in used)]))
    near = [at for folder in used for at in above(folder) if at.absolute().is_relative_to(top)]
    higher = [[at] for at in above(base.absolute())[1:]]
    usual = [base, base / "labels", base / "data"]  # the last two also where each split has labels of its own
    found = find_names([[*usual, *near], *higher], taxonomy, classes=classes, named=named, any_class=any_class)
    return found if used or found.files else replace(found, problems=())  # without labels nothing is assumed


NO_PHOTOS = ("labels", "masks")  # folders of data sets with pictures that nobody took


def _beside(base: Path, parts: Sequence[Part], matched: MatchedLabels, why: str) -> Iterator[Problem]:
    """Photographs and label files below the data set's top that are no part of it."""
    taken: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for photo in part.photos:
            at, _, name = str(photo).rpartition(os.sep)
            taken[at or "."].add(name)
    for at in [*taken]:
        taken[os.path.realpath(at)] |= taken.pop(at)
    known = {os.path.realpath(f.path) for f in matched.folders}
    left: list[tuple[Path, list[str]]] = []
    top = _survey_top(base, parts)
    for at, _, files in walk(top) if top else ():
        here = os.path.realpath(at)
        mine = taken.get(here, set())
        pictures = [] if Path(at).name.lower() in NO_PHOTOS else [f for f in files if f.lower().endswith(SUFFIXES)]
        if lost := [f for f in pictures if f not in mine and is_utf8(f)]:
            left.append((Path(at), lost))
        if here not in known and "labels" in Path(at).relative_to(top or base).parts:
            matched.folders.append(LabelFolder.read(Path(at)))
    yield from left_out(base, left, why)
    yield from strays(matched, {folded(stem_of(name)): None for _, lost in left for name in lost})


def left_out(base: Path, left: Sequence[tuple[Path, list[str]]], why: str) -> list[Problem]:
    """Notes of folders below `base` with names of photographs that were not taken."""
    said = [(folder, f"{some(len(lost), 'photograph')} left out, {min(lost)} for one: {why}.") for folder, lost in left]
    if (more := len(said) - MOST_SAID) > 0:
        said[MOST_SAID:] = [(base, f"{more} more folders of photographs are left out.")]
    return [Problem.in_file(folder, what, note=True) for folder, what in said]


def _survey_top(base: Path, parts: Sequence[Part]) -> Path | None:
    """The folder that holds all parts and what may lie beside them: the data set's top or below it, not above.

    A data.yaml that leads to another place is followed there, unless that is a folder above its own.
    """
    real = {part.folder: Path(os.path.realpath(part.folder)) for part in parts}
    top = Path(os.path.realpath(base))
    inside = [
        p.parents[1] if len(p.parents) > 1 and p.parents[1].is_relative_to(top) else top
        for p in real.values()
        if p.is_relative_to(top)
    ]
    if inside:
        return base / Path(os.path.commonpath(inside)).relative_to(top)
    common = Path(os.path.commonpath([p.parents[1] for p in real.values() if len(p.parents) > 1] or [top]))
    return None if top.is_relative_to(common) else common


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
    found, problems = read_labels(entry, size, {i: names[i] for i in meaning.kinds})
    lines = found or ()
    instances = tuple(_instance(i, line, meaning) for i, line in enumerate(lines, start=1))
    ground_truths = tuple(
        _ground_truth(str(i), meaning.classes[line.class_id])
        for i, line in enumerate(lines, start=1)
        if line.class_id in meaning.classes
    )
    places = {str(i): line.line for i, line in enumerate(lines, start=1)}
    scene = Scene(entry.photo, size, instances, group_of(entry.photo))
    return LabeledScene(scene, ground_truths, problems, places, known=found is not None)


def read_labels(
    entry: Entry, size_wh: tuple[int, int], known: Names
) -> tuple[tuple[LabelLine, ...] | None, tuple[Problem, ...]]:
    """The usable lines of a photograph's labels, and what is wrong with them.

    None where nothing is known of it: without a label file, with one that cannot be read, and where no line of it can
    be used. That is another thing than an empty file, which says that nothing is there.
    """
    if entry.labels is None:
        return None, (unlabeled(entry.photo),)
    lines, problems = read_label_file(entry.labels, size_wh, known, keypoints=entry.keypoints)
    return (lines if lines or not grave(problems) else None), problems


def unlabeled(photo: Path) -> Problem:
    """A photograph without a label file; an empty file would say that nothing is there."""
    return Problem.in_file(photo, "no label file belongs to this photograph, so nothing is known of it.")


def instances_from_labels(
    labels_dir: Path, photo: Path, size_wh: tuple[int, int], taxonomy: Taxonomy, names: Names | None = None
) -> tuple[tuple[Instance, ...], tuple[Problem, ...]]:
    """The boxes and types that people drew for `photo`; the conditions of the labels end here.

    Without `names`, they are found in `labels_dir` or up to two folders above it; without that class ids are in the
    taxonomy's order. A missing file is a problem, an empty one is an answer.
    """
    said: tuple[Problem, ...] = ()
    if names is None:
        found = find_names([above(labels_dir.resolve())], taxonomy)
        names, said = found.names, found.problems if found.files else ()
    matched = match_labels([photo], lambda _: [labels_dir])
    file = matched.labels.get(photo)
    if file is None:
        return (), (*said, *(matched.problems or [no_labels(labels_dir, photo)]))
    instances, problems = instances_in(file, size_wh, taxonomy, names)
    return instances, (*said, *problems)


def no_labels(labels_dir: Path, photo: Path) -> Problem:
    """A photograph whose label file is not in the folder of labels."""
    file = labels_dir / f"{photo.stem}.txt"
    return Problem.in_file(file, "there is no such file; an empty one would mean that nothing is there.")


def instances_in(
    file: Path, size_wh: tuple[int, int], taxonomy: Taxonomy, names: Names
) -> tuple[tuple[Instance, ...], tuple[Problem, ...]]:
    """The boxes and types of one label file; conditions end here."""
    meaning = meanings(names, taxonomy)
    lines, problems = read_label_file(file, size_wh, {i: names[i] for i in meaning.kinds})
    return tuple(_instance(i, line, meaning) for i, line in enumerate(lines, start=1)), problems


def _instance(number: int, line: LabelLine, meaning: Meanings) -> Instance:
    return Instance(str(number), meaning.kinds[line.class_id], line.box, 1.0, line.polygon)


def _ground_truth(instance_id: str, c: ObjectClass) -> GroundTruth:
    return GroundTruth(instance_id, c.name, c.type, c.condition)
