"""One pass over a data set, one photograph at a time: what every section of the analysis is fed. Opens no pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toeline.core.scene import Scene, Thing
from toeline.core.taxonomy import Taxonomy
from toeline.core.truth import Truth
from toeline.data.analyze.flag import Flag, Weight
from toeline.data.class_names import Meanings, meanings
from toeline.data.label_lines import Problem
from toeline.data.plain_labels import PlainLabels
from toeline.data.yolo import Entry, YoloSet, flight_line, read_entry
from toeline.errors import PhotoError

UNREAD = "photograph that cannot be read"


@dataclass(frozen=True)
class Row:
    """One photograph with its labels. `name` is its path below the data set's root, with slashes.

    `size_wh` is in pixels after EXIF rotation; `group` is the flight line. `truths` and `lines` (of the label file,
    from 1) are by thing id; a thing has no truth where the data set names types only. `problems` are label lines that
    could not be used.
    """

    name: str
    split: str
    entry: Entry
    size_wh: tuple[int, int]
    group: str
    things: tuple[Thing, ...]
    truths: Mapping[str, Truth]
    lines: Mapping[str, int]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def scene(self) -> Scene:
        """The photograph and its things, as relate/ takes them."""
        return Scene(self.entry.photo, self.size_wh, self.things, self.group)


@dataclass(frozen=True)
class PlainRow:
    """One photograph, as in Row, with its labels in columns and nothing wrong with any of them."""

    name: str
    split: str
    entry: Entry
    size_wh: tuple[int, int]
    group: str
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
) -> Iterator[Row]:
    """Every photograph of every split, in the order of the data set; nothing is kept of what was yielded.

    A photograph that cannot be opened is told to `unread`, and the pass goes on.
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
) -> Row | None:
    """One photograph, or None when it cannot be opened, which is told to `unread`."""
    name = below(opened.root, entry.photo)
    try:
        read = read_entry(entry, taxonomy, opened.names, group_of=group_of, meaning=meaning)
    except PhotoError as why:
        unread(unread_flag(name, entry.photo, str(why)))
        return None
    scene, truths = read.scene, {t.thing_id: t for t in read.truths}
    return Row(name, split, entry, scene.size_wh, scene.group, scene.things, truths, read.lines, read.problems)


def unread_flag(name: str, photo: Path, why: str) -> Flag:
    """A photograph that cannot be read. `why` is the text of a PhotoError."""
    what, _, todo = why.removeprefix(f"{photo}: ").partition(". ")
    return Flag(UNREAD, Weight.FAULT, name, name, f"{what.removesuffix('.')}.", todo)
