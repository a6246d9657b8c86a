"""Splits by whole groups, balanced by class: who goes where. What comes of it is written by write_split.py."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite

from toeline.data.balance import Deal, deal
from toeline.data.groups import FLIGHT, Tie, grouping, joined, ties_of
from toeline.data.images import file_hash, photo_size
from toeline.data.label_lines import Problem, read_label_file
from toeline.data.write_yolo import Carry, Place, placed
from toeline.data.yolo import SPLITS, Entry, YoloSet
from toeline.errors import LabelError, PhotoError

Step = Callable[[Sequence[Problem]], None]
PARTS: Mapping[str, float] = {"train": 0.75, "valid": 0.15, "test": 0.10}


@dataclass(frozen=True, kw_only=True)
class SplitRun:
    """Settings of one split. `parts` maps names to shares that sum to 1; `by` is as `grouping` takes it."""

    by: str = FLIGHT
    seed: int = 0
    parts: Mapping[str, float] = field(default_factory=lambda: dict(PARTS))
    carry: Carry = Carry.LINK


@dataclass(frozen=True)
class Counted:
    """A photograph and how many usable objects of each class id its labels hold."""

    place: Place
    classes: Mapping[int, int]
    ties: tuple[Tie, ...]


@dataclass(frozen=True)
class Plan:
    """Who goes where. `groups` are the photographs that stay together, by name; `dealt` gives each group its part.

    `data_sha256` is of the photographs' names and sizes and the labels' bytes: equal plans are of the same data.
    """

    data: YoloSet
    run: SplitRun
    groups: Mapping[str, tuple[Counted, ...]]
    dealt: Deal
    problems: tuple[Problem, ...]
    data_sha256: str

    @cached_property
    def groups_of(self) -> Mapping[str, tuple[str, ...]]:
        """Part name -> names of its groups."""
        pairs = list(zip(self.groups, self.dealt.part_of, strict=True))
        return {part: tuple(g for g, p in pairs if p == i) for i, part in enumerate(self.run.parts)}

    def photos(self, part: str) -> list[Counted]:
        """What goes to a part."""
        return [counted for group in self.groups_of[part] for counted in self.groups[group]]


def parse_parts(text: str) -> dict[str, float]:
    """Names and shares; shares that do not sum to 1 are scaled. Raises ValueError.

    >>> parse_parts("train=0.75, val=0.25")
    {'train': 0.75, 'valid': 0.25}
    """
    parts: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = (word.strip() for word in item.partition("="))
        name = SPLITS.get(name, name)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in parts:
            raise ValueError(f"{item.strip()!r} gives no new name of a part")
        try:
            parts[name] = float(share)
        except ValueError:
            raise ValueError(f"{item.strip()!r} is not of the form name=share") from None
        if not isfinite(parts[name]) or parts[name] <= 0:
            raise ValueError(f"the share of {name} must be above 0")
    return {name: share / sum(parts.values()) for name, share in parts.items()}


def plan_split(data: YoloSet, run: SplitRun, *, step: Step = lambda _: None) -> Plan:
    """Count, group and deal out every photograph of `data`, all its splits together. Raises LabelError."""
    places = placed(entry for split in data.splits.values() for entry in split)
    ties = ties_of([place.entry.photo for place in places], grouping(run.by))
    counted, problems = [], [*data.problems, *_unmatched(places, ties, run)]
    for place, its in zip(places, ties, strict=True):
        classes, found = _count(place.entry, data)
        if classes is not None:
            counted.append(Counted(_with_readable_labels(place), classes, its))
        problems += found
        step(found)
    groups = _groups(counted)
    if len(groups) < len(run.parts):
        raise LabelError(
            f"{data.root}: {len(groups)} groups of photographs cannot fill {len(run.parts)} parts without being torn "
            f"apart. Ask for fewer --parts, or give a finer pattern with --by."
        )
    return Plan(data, run, groups, _dealt(groups, data, run), tuple(problems), _data_hash(counted))


def _count(entry: Entry, data: YoloSet) -> tuple[Counter[int] | None, list[Problem]]:
    """Usable objects by class id; None for a photograph that cannot be opened."""
    try:
        size = photo_size(entry.photo)
    except PhotoError as why:
        return None, [Problem(entry.photo, None, f"left out: {str(why).removeprefix(f'{entry.photo}: ')}")]
    if entry.labels is None:
        return Counter(), [Problem(entry.photo, None, "no label file belongs to this photograph; it gets none.")]
    lines, problems = read_label_file(entry.labels, size, data.names)
    return Counter(line.class_id for line in lines), list(problems)


def _with_readable_labels(place: Place) -> Place:
    """A label file that cannot be opened cannot be taken over; that it is unreadable has been reported."""
    try:
        with (place.entry.labels or place.entry.photo).open("rb"):
            return place
    except OSError:
        return replace(place, entry=replace(place.entry, labels=None))


def _unmatched(places: Sequence[Place], ties: Sequence[Sequence[Tie]], run: SplitRun) -> list[Problem]:
    """Photographs whose names do not fit the pattern. Raises LabelError when none fits."""
    photos = [p.entry.photo for p, its in zip(places, ties, strict=True) if all(t.kind != "flight line" for t in its)]
    if len(photos) == len(places):
        raise LabelError(f"--by {run.by!r} matches none of {len(places)} names, {photos[0].name} for one. Mend it.")
    return [Problem(photo, None, f"its name does not match --by {run.by!r}, so it stands alone.") for photo in photos]


def _groups(counted: Sequence[Counted]) -> dict[str, tuple[Counted, ...]]:
    """Photographs that ties connect, under the names of their flight lines."""
    by_number: dict[int, list[Counted]] = defaultdict(list)
    for item, number in zip(counted, joined([c.ties for c in counted]), strict=True):
        by_number[number].append(item)
    return {_name(items): tuple(items) for items in by_number.values()}


def _name(items: Sequence[Counted]) -> str:
    lines = sorted({tie.key for item in items for tie in item.ties if tie.kind == "flight line"})
    return " + ".join(lines or [items[0].place.name])


def _dealt(groups: Mapping[str, Sequence[Counted]], data: YoloSet, run: SplitRun) -> Deal:
    objects = [[sum(c.classes.get(i, 0) for c in items) for i in data.names] for items in groups.values()]
    return deal([len(items) for items in groups.values()], objects, list(run.parts.values()), seed=run.seed)


def _data_hash(counted: Sequence[Counted]) -> str:
    rows = []
    for c in counted:
        photo, labels = c.place.entry.photo, c.place.entry.labels
        rows.append(f"{c.place.name} {photo.stat().st_size} {file_hash(labels) if labels else ''}")
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
