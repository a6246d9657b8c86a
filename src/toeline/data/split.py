"""Splits by whole groups, balanced by class: what ties photographs together, who goes where, and the new data set."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from toeline.core.finding import Problem, Step
from toeline.core.reading import file_hash
from toeline.core.records import told_record
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.data.balance import NEAR, Assignment, assign
from toeline.data.class_names import find_names
from toeline.data.datasets import UNKNOWN, Carry, PlacedEntry, carry, placed, require_carried
from toeline.data.export import data_yaml, require_apart, staged
from toeline.data.images import photo_size
from toeline.data.labels import LabelLine
from toeline.data.places import SPLITS
from toeline.data.yolo import Entry, YoloSet, flight_line, read_labels
from toeline.errors import LabelError, OutputError, PhotoError

FLIGHT = "flight"


@dataclass(frozen=True, kw_only=True)
class SplitRun:
    """Settings of one split. `parts` maps names to shares that sum to 1; `by` is as `grouping` takes it."""

    parts: Mapping[str, float]
    by: str = FLIGHT
    seed: int = 0
    carry: Carry = Carry.LINK


@dataclass(frozen=True)
class Counted:
    """A photograph and how many usable objects of each class id its labels hold."""

    place: PlacedEntry
    classes: Mapping[int, int]
    ties: tuple[Tie, ...]


@dataclass(frozen=True)
class SplitPlan:
    """Who goes where. `groups` are the photographs that stay together, by name; `assigned` gives each group its part.

    `data_sha256` is of the photographs' names and sizes and the labels' bytes: equal plans are of the same data.
    """

    data: YoloSet
    run: SplitRun
    groups: Mapping[str, tuple[Counted, ...]]
    assigned: Assignment
    problems: tuple[Problem, ...]
    data_sha256: str

    @cached_property
    def groups_of(self) -> Mapping[str, tuple[str, ...]]:
        """Part name -> names of its groups."""
        pairs = list(zip(self.groups, self.assigned.part_of, strict=True))
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


def plan_split(data: YoloSet, run: SplitRun, *, step: Step = lambda _: None) -> SplitPlan:
    """Count, group and deal out every photograph of `data`, all its splits together. Raises LabelError."""
    places = placed(entry for split in data.splits.values() for entry in split)
    read, problems = list[tuple[PlacedEntry, Counter[int]]](), [*data.problems]
    for place in places:
        opened, lines, found = _count(place.entry, data)
        if opened:  # labels of which nothing can be read are not taken over
            known = place if lines is not None else replace(place, entry=replace(place.entry, labels=None))
            read.append((known, Counter(line.class_id for line in lines or ())))
        problems += found
        step(found)
    ties = ties_of([place.entry.photo for place, _ in read], grouping(run.by))
    problems += _unmatched([place for place, _ in read], ties, run)
    counted = [Counted(place, classes, its) for (place, classes), its in zip(read, ties, strict=True)]
    groups = _groups(counted)
    if len(groups) < len(run.parts):
        raise LabelError(
            f"{data.root}: {len(groups)} groups of photographs cannot fill {len(run.parts)} parts without being torn "
            f"apart. Ask for fewer --parts, or give a finer pattern with --by."
        )
    return SplitPlan(data, run, groups, _assigned(groups, data, run), tuple(problems), _data_hash(counted))


def _count(entry: Entry, data: YoloSet) -> tuple[bool, tuple[LabelLine, ...] | None, list[Problem]]:
    """Whether the photograph can be opened, and its usable labels: None where nothing is known of it."""
    try:
        size = photo_size(entry.photo)
    except PhotoError as why:
        return False, None, [Problem.in_file(entry.photo, f"left out: {str(why).removeprefix(f'{entry.photo}: ')}")]
    lines, problems = read_labels(entry, size, data.names)
    if lines is None and entry.labels:
        problems = (*problems, Problem.in_file(entry.photo, UNKNOWN.format("taken over without labels")))
    return True, lines, list(problems)


def _unmatched(places: Sequence[PlacedEntry], ties: Sequence[Sequence[Tie]], run: SplitRun) -> list[Problem]:
    """Photographs whose names do not fit the pattern. Raises LabelError when none fits."""
    photos = [p.entry.photo for p, its in zip(places, ties, strict=True) if all(t.kind != "flight line" for t in its)]
    if places and len(photos) == len(places):
        raise LabelError(f"--by {run.by!r} matches none of {len(places)} names, {photos[0].name} for one. Correct it.")
    return [Problem.in_file(photo, f"its name does not match --by {run.by!r}, so it stands alone.") for photo in photos]


def _groups(counted: Sequence[Counted]) -> dict[str, tuple[Counted, ...]]:
    """Photographs that ties connect, under the names of their flight lines."""
    by_number: dict[int, list[Counted]] = defaultdict(list)
    for item, number in zip(counted, joined([c.ties for c in counted]), strict=True):
        by_number[number].append(item)
    return {_name(items): tuple(items) for items in by_number.values()}


def _name(items: Sequence[Counted]) -> str:
    lines = sorted({tie.key for item in items for tie in item.ties if tie.kind == "flight line"})
    return " + ".join(lines or [items[0].place.name])


def _assigned(groups: Mapping[str, Sequence[Counted]], data: YoloSet, run: SplitRun) -> Assignment:
    objects = [[sum(c.classes.get(i, 0) for c in items) for i in data.names] for items in groups.values()]
    return assign([len(items) for items in groups.values()], objects, list(run.parts.values()), seed=run.seed)


def _data_hash(counted: Sequence[Counted]) -> str:
    rows = []
    for c in counted:
        photo, labels = c.place.entry.photo, c.place.entry.labels
        rows.append(f"{c.place.name} {photo.stat().st_size} {file_hash(labels) if labels else ''}")
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


Grouping = Callable[[Path], str]


class Tie(NamedTuple):
    """Photographs with an equal tie belong together: `kind` says by what ("flight line"), `key` which one."""

    kind: str
    key: str


def grouping(by: str) -> Grouping:
    """The key in a file name: its flight line for "flight", else the first group (or all) of what a pattern finds.

    The empty string means that the pattern is not in the name. Raises ValueError for what is no pattern.

    >>> grouping(r"^(dam[0-9]+)-")(Path("dam7-0012.jpg"))
    'dam7'
    """
    if by == FLIGHT:
        return flight_line
    try:
        pattern = re.compile(by)
    except re.error as why:
        raise ValueError(f"{by!r} is neither {FLIGHT!r} nor a regular expression ({why})") from None

    def group_of(photo: Path) -> str:
        found = pattern.search(photo.name)
        return "" if found is None else found.group(1 if pattern.groups else 0) or ""

    return group_of


def roboflow_source(photo: Path) -> str:
    """What Roboflow's copies of one photograph share, or empty.

    >>> roboflow_source(Path("a_jpg.rf.0f3c.jpg")), roboflow_source(Path("a.jpg"))
    ('a_jpg', '')
    """
    found = re.fullmatch(r"(.+)\.rf\.[^.]+", photo.stem)
    return found.group(1) if found else ""


def same_bytes(photos: Iterable[Path]) -> dict[Path, str]:
    """The hash of every photograph that shares it with another; only files of equal size are read."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for photo in photos:
        by_size[photo.stat().st_size].append(photo)
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for photo in (p for alike in by_size.values() if len(alike) > 1 for p in alike):
        by_hash[file_hash(photo)].append(photo)
    return {photo: key for key, alike in by_hash.items() if len(alike) > 1 for photo in alike}


def ties_of(photos: Sequence[Path], group_of: Grouping) -> list[tuple[Tie, ...]]:
    """The ties of each photograph."""
    copies = same_bytes(photos)
    keys = [
        (("flight line", group_of(p)), ("Roboflow source", roboflow_source(p)), ("exact copy", copies.get(p, "")))
        for p in photos
    ]
    return [tuple(Tie(kind, key) for kind, key in found if key) for found in keys]


def joined(ties: Sequence[Sequence[Tie]]) -> list[int]:
    """A number for each item, equal for those that a chain of ties connects.

    >>> a, b = Tie("flight line", "a"), Tie("exact copy", "b")
    >>> joined([[a], [b], [], [a, b]])
    [0, 0, 2, 0]
    """
    parent = list(range(len(ties)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[Tie, int] = {}
    for i, its in enumerate(ties):
        for tie in its:
            a, b = sorted((root(i), root(first.setdefault(tie, i))))
            parent[b] = a
    return [root(i) for i in range(len(ties))]


def folds_of(groups: Sequence[str], folds: int, *, alone: Sequence[str] = ()) -> list[int]:
    """The fold of each row, by the groups (flight lines) that must not be torn apart; folds of about equal size.

    With one group only, the rows go by `alone`, or each by itself. Fewer folds come out where there are fewer groups.

    >>> folds_of(["a", "a", "b", "c"], 2)
    [0, 0, 1, 1]
    """
    from sklearn.model_selection import GroupKFold

    whole = groups if len(set(groups)) > 1 else alone or [str(n) for n in range(len(groups))]
    folds = min(folds, len(set(whole)))
    found = [0] * len(whole)
    if folds > 1:
        for n, (_, held) in enumerate(GroupKFold(folds).split(whole, groups=whole)):
            for i in held:
                found[i] = n
    return found


def in_turn(fold: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """For each fold, the rows of all others (to learn from) and its own (which are unseen then).

    >>> list(in_turn([0, 0, 1]))
    [([2], [0, 1]), ([0, 1], [2])]
    """
    for k in range(max(fold, default=-1) + 1):
        yield [i for i, f in enumerate(fold) if f != k], [i for i, f in enumerate(fold) if f == k]


def on_several_sides(sides: Mapping[str, Sequence[Path]], group_of: Grouping) -> dict[str, dict[str, list[str]]]:
    """For each kind of tie, the keys that photographs of more than one side share, with these sides; empty is proof."""
    photos = [(side, photo) for side, its in sides.items() for photo in its]
    found: dict[Tie, set[str]] = defaultdict(set)
    for (side, _), its in zip(photos, ties_of([p for _, p in photos], group_of), strict=True):
        for tie in its:
            found[tie].add(side)
    shared: dict[str, dict[str, list[str]]] = {kind: {} for kind in ("flight line", "Roboflow source", "exact copy")}
    for tie, where in found.items():
        if len(where) > 1:
            shared[tie.kind][tie.key] = sorted(where)
    return shared


NOTE = "split.json"
SCHEMA = 1
Record = Mapping[str, Any]


def write_split(plan: SplitPlan, out: Path, *, step: Callable[[Sequence[Problem]], None] = lambda _: None) -> Record:
    """Write the data set and return what split.json holds. Raises OutputError for a folder that holds something else.

    `step` is called for every photograph. A folder that holds the same split already is left as it is.
    """
    run = {**asdict(plan.run), "carry": plan.run.carry.value}
    settings = {"schema": SCHEMA, **run, "data_sha256": plan.data_sha256}
    require_apart(out, (c.place.entry.photo.parent for its in plan.groups.values() for c in its))
    with staged(out, NOTE, settings) as stage:
        if stage is None:
            places = [
                (c.place.entry.photo, _place(c, out / part)) for part in plan.run.parts for c in plan.photos(part)
            ]
            require_carried(out, places)
            held = find_names([], Taxonomy.load(), classes=out / "data.yaml", any_class=True)
            if held.names != plan.data.names:
                raise OutputError(
                    f"{out}: holds this split with other class names. Choose a new folder with --out, or delete it."
                )
            return {**json.loads((out / NOTE).read_text(encoding="utf-8")), "already": True}
        carried: Counter[str] = Counter()
        for part in plan.run.parts:
            for counted in plan.photos(part):
                carried[_write_photo(counted, stage / part, plan)] += 1
                step([])
        names = plan.data.names
        (stage / "data.yaml").write_text(data_yaml(list(plan.run.parts), names), encoding="utf-8")
        record = {"settings": settings, **describe(plan), "proof": _proof(plan, stage), "carried": dict(carried)}
        write_whole(stage / NOTE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return {**record, "already": False}


def _place(counted: Counted, folder: Path) -> Path:
    return folder / "images" / counted.place.name


def _write_photo(counted: Counted, folder: Path, plan: SplitPlan) -> str:
    """The photograph linked or copied; the labels always copied, so that a corrected one does not change the source."""
    place = counted.place
    how = carry(place.entry.photo, _place(counted, folder), plan.run.carry)
    if place.entry.labels is not None:
        label = folder / "labels" / place.label
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(place.entry.labels.read_bytes())
    return how


def _proof(plan: SplitPlan, stage: Path) -> dict[str, Any]:
    """Computed from the files that were written. Raises OutputError when they are not what was planned."""
    written = {part: sorted(p for p in (stage / part / "images").rglob("*") if p.is_file()) for part in plan.run.parts}
    shared = on_several_sides(written, grouping(plan.run.by))
    counts = {part: len(photos) for part, photos in written.items()}
    if any(shared.values()) or counts != {part: len(plan.photos(part)) for part in plan.run.parts}:
        raise OutputError(f"{stage}: what was written is not what was planned. Delete it, and run the command again.")
    return {"read_from": "the files that were written", "photographs": counts, "on_several_sides": shared}


def describe(plan: SplitPlan) -> dict[str, Any]:
    """Groups, sizes and class shares (0 to 1) of every part against the whole, and what could not be met."""
    everything = [c for its in plan.groups.values() for c in its]
    whole = _classes(everything)
    parts = {part: _part(plan, part, whole, len(everything)) for part in plan.run.parts}
    return {
        "photographs": len(everything),
        "objects": whole.total(),
        "groups": len(plan.groups),
        "met": plan.assigned.met,
        "proved_impossible": plan.assigned.proved,
        "parts": parts,
        "beyond": [
            {"part": part, **row, "why": _why(plan, row["id"])}
            for part, facts in parts.items()
            for row in facts["classes"]
            if abs(row["off"]) > NEAR + 1e-9
        ],
        "lacking": [
            {"part": part, "id": row["id"], "class": row["class"], "why": _why(plan, row["id"])}
            for part, facts in parts.items()
            for row in facts["classes"]
            if row["whole"] and not row["objects"]
        ],
        **told_record(plan.problems),
    }


def _classes(photos: Sequence[Counted]) -> Counter[int]:
    return sum((Counter(c.classes) for c in photos), Counter[int]())


def _part(plan: SplitPlan, part: str, whole: Counter[int], photographs: int) -> dict[str, Any]:
    its = plan.photos(part)
    classes = _classes(its)
    rows = []
    for i, name in sorted(plan.data.names.items()):
        share, of_whole = classes[i] / max(classes.total(), 1), whole[i] / max(whole.total(), 1)
        off = round(share - of_whole, 6)
        rows.append(
            {
                "id": i,
                "class": name,
                "objects": classes[i],
                "share": round(share, 6),
                "whole": round(of_whole, 6),
                "off": off,
            }
        )
    return {
        "asked": plan.run.parts[part],
        "share": round(len(its) / photographs, 6),
        "photographs": len(its),
        "objects": classes.total(),
        "groups": list(plan.groups_of[part]),
        "classes": rows,
    }


def _why(plan: SplitPlan, class_id: int) -> str:
    """Where the objects of a class stand, which is what decides how evenly they can be dealt out."""
    held = {group: _classes(its)[class_id] for group, its in plan.groups.items()}
    total, most = sum(held.values()), max(held, key=lambda g: held[g])
    return (
        f"its {total} objects stand in {sum(n > 0 for n in held.values())} of {len(held)} groups, {held[most]} of them "
        f"({held[most] / max(total, 1):.0%}) in {most}"
    )
