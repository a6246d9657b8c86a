"""Labeled photographs to train on or to validate with, read once before training begins: what is wrong is told then.

Every file is decoded in that pass: a photograph that turns out to be damaged after hours of training helps nobody.
SheetPool holds drawn scenes instead, read when they are needed; Joined puts one after the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.finding import Problem
from toeline.core.reading import file_hash
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import each_labeled
from toeline.data.images import read_photo
from toeline.data.yolo import Entry, LabeledScene, YoloSet, open_yolo, read_entry
from toeline.errors import LabelError, PhotoError
from toeline.train.samples import Labeled, Photos, labeled_states, state_map

ADVICE = "Correct it, then train again; this training continues without it."
READERS = 4  # threads that decode photographs; Pillow releases the interpreter while it does


@dataclass(frozen=True)
class TrainingSplit:
    """The photographs of one split on which there is something to ask. Indexing reads a photograph's pixels.

    `nothing` counts photographs without an object that leaves a choice. `sha256` is of all photographs and of what is
    true of them, `photos_sha256` of each photograph's file. `problems` name what could not be used. With `drawn_by`,
    photographs come with a map of what covers each pixel, from the labels' polygons by this taxonomy.
    """

    name: str
    scenes: tuple[LabeledScene, ...]
    problems: tuple[Problem, ...] = ()
    nothing: int = 0
    sha256: str = ""
    drawn_by: Taxonomy | None = None
    photos_sha256: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> Labeled:
        """Photograph `i` with its ground truths. Raises PhotoError when its file has gone since."""
        found = self.scenes[i]
        ground_truths = {t.instance_id: t for t in found.ground_truths}
        states = labeled_states(found.scene, ground_truths, self.drawn_by) if self.drawn_by else None
        return Labeled(read_photo(found.scene.image), found.scene, ground_truths, states)

    def record(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"split": self.name, "photographs": len(self), "nothing_asked": self.nothing, "sha256": self.sha256}

    def classes(self, taxonomy: Taxonomy) -> list[list[str]]:
        """For each photograph the true class of every object that is asked about."""
        return [[t.class_name for t in s.ground_truths if len(taxonomy.answers(t.type_name)) > 1] for s in self.scenes]


def read_labeled_split(dataset: YoloSet, name: str, taxonomy: Taxonomy) -> TrainingSplit:
    """Read one split. Raises LabelError for a split that is not there, or on which nothing can be asked."""
    split, entries = dataset.split(name)
    problems = [replace(p, todo=ADVICE) for p in dataset.problems]
    scenes, hashed, digests = [], hashlib.sha256(), list[str]()
    with ThreadPoolExecutor(READERS) as readers:
        labeled = each_labeled(dataset, entries, taxonomy, todo=ADVICE)
        for (entry, found, said), digest in zip(labeled, readers.map(_digest, entries), strict=True):
            if found and isinstance(digest, PhotoError):
                found, said = None, [Problem.unread(entry.photo, digest, ADVICE)]
            problems += said
            if found:
                hashed.update(f"{digest} {_true(found)}\n".encode())
                scenes.append(found)
                digests.append(str(digest))
    unlike = tuple(dict.fromkeys(problems))
    whole = TrainingSplit(split, tuple(scenes), unlike, sha256=hashed.hexdigest(), photos_sha256=tuple(digests))
    return _asked(whole, taxonomy, dataset)


def _digest(entry: Entry) -> str | PhotoError:
    """SHA-256 of a photograph's file, or why it cannot be decoded."""
    try:
        read_photo(entry.photo)
        return file_hash(entry.photo)
    except PhotoError as why:
        return why


def _true(found: LabeledScene) -> list[tuple[tuple[float, ...], str]]:
    return [
        (instance.box.xyxy, ground_truth.class_name)
        for instance, ground_truth in zip(found.scene.instances, found.ground_truths, strict=True)
    ]


def _asked(split: TrainingSplit, taxonomy: Taxonomy, dataset: YoloSet) -> TrainingSplit:
    """The split without photographs on which nothing is asked. Raises LabelError when none is left."""
    asked = tuple(s for s, names in zip(split.scenes, split.classes(taxonomy), strict=True) if names)
    if not asked:
        raise LabelError(
            f"{dataset.root}: the split {split.name!r} has no object whose type leaves a choice: there is nothing to "
            f"learn. {len(split.problems)} problems were found; the first: "
            f"{split.problems[0].what if split.problems else 'none'}"
        )
    return replace(split, scenes=asked, nothing=len(split.scenes) - len(asked))


@dataclass(frozen=True)
class Joined:
    """Several sequences of labeled photographs as one: a data set, and drawn scenes after it."""

    parts: tuple[Photos, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, i: int) -> Labeled:
        for part in self.parts:
            if i < len(part):
                return part[i]
            i -= len(part)
        raise IndexError(i)

    def __iter__(self) -> Iterator[Labeled]:
        return (self[i] for i in range(len(self)))


def counted(classes: Sequence[Sequence[str]]) -> Counter[str]:
    """How often each class is asked about."""
    return Counter(name for names in classes for name in names)


@dataclass(frozen=True)
class SheetPool:
    """The photographs of a data set as `synth` writes them, one split or all. Indexing reads from disk."""

    entries: tuple[Entry, ...]
    taxonomy: Taxonomy

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> Labeled:
        """Photograph `i` with its ground truths and, where there are masks, the state of every pixel."""
        entry = self.entries[i]
        found = read_entry(entry, self.taxonomy)
        with Image.open(entry.photo) as file:
            image = file.convert("RGB")
        ground_truths = {t.instance_id: t for t in found.ground_truths}
        return Labeled(image, found.scene, ground_truths, self._states(entry, found.scene.instances))

    def classes(self) -> list[list[str]]:
        """For each photograph the true class of every object, whether it is asked about or not. Reads no pixels."""
        return [[t.class_name for t in read_entry(e, self.taxonomy).ground_truths] for e in self.entries]

    def _states(self, entry: Entry, instances: Sequence[Instance]) -> NDArray[np.uint8] | None:
        masks = entry.photo.parent.parent / "masks"
        objects, states = (masks / f"{entry.photo.stem}_{what}.png" for what in ("object", "state"))
        if not objects.is_file() or not states.is_file():
            return None
        kinds = [t.type_name for t in instances]
        return state_map(np.asarray(Image.open(objects)), np.asarray(Image.open(states)), kinds, self.taxonomy)

    @classmethod
    def drawn(cls, out: Path, *, scenes: int, seed: int, taxonomy: Taxonomy, workers: int = 1) -> SheetPool:
        """Draw what is missing of `scenes` scenes under `out` and open them; once drawn, they are only read."""
        from toeline.synth.dataset import write_dataset

        write_dataset(out, scenes=scenes, seed=seed, parts={"train": 1.0}, workers=workers)
        return cls(open_yolo(out, taxonomy).splits["train"], taxonomy)
