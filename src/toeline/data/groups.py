"""What ties photographs together: one flight line, one Roboflow source, the same bytes. Opens no pixels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from toeline.data.images import file_hash
from toeline.data.yolo import flight_line

FLIGHT = "flight"
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
