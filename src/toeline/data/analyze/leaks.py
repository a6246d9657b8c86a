"""What one split can know of another: copies, near copies, exports of one source, flight lines, one moment or place.

Works on what photos.py kept of each photograph; opens none.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from toeline.data.analyze.flag import Flag, Weight
from toeline.data.analyze.photos import PhotoFacts

NEAR_BITS, CONFIRM_BITS = 10, 12
"""Most bits of 64 by which the perceptual and the difference hash of near copies differ; both must agree. Measured on
168 real train photographs: unrelated ones (other flight lines, 12,000 pairs) differ in 16 bits or more, re-encoded,
resized, brightened or contrasted copies in 2 (difference hash 5), copies with 2 % of the border cut off in 12 (10)."""
BLOCK = 2048  # photographs compared with all others at a time: 20,000 x 2,048 distances take 40 MB
SECONDS, METERS = 2.0, 5.0
"""Two photographs of different splits taken within so much of each other show the same ground."""
EARTH_M = 6_371_000.0


class Kind(StrEnum):
    """What makes two photographs one; the first that applies to a pair is told."""

    EXACT = "exact copy"
    SOURCE = "export of one source"
    NEAR = "near copy"
    MIRRORED = "mirrored copy"
    MOMENT = "same moment"
    PLACE = "same place"


@dataclass(frozen=True)
class Seen:
    """One photograph as leaks are looked for: `name` below the data set's root, `group` its flight line."""

    name: str
    split: str
    group: str
    facts: PhotoFacts


@dataclass(frozen=True)
class Pair:
    """Two photographs that are one. `distance`: bits of 64 for near and mirrored copies, seconds, meters, else 0."""

    first: str
    second: str
    kind: Kind
    distance: float
    splits: tuple[str, str]

    @property
    def crosses(self) -> bool:
        """Whether they are in different splits: then the one is an answer to the other."""
        return self.splits[0] != self.splits[1]


@dataclass(frozen=True)
class Shared:
    """A flight line with photographs in more than one split: how many in each."""

    group: str
    photographs: Mapping[str, int]


@dataclass(frozen=True)
class Leaks:
    """All pairs, flight lines that are in several splits, and whether times and places were there to be compared."""

    pairs: tuple[Pair, ...]
    shared: tuple[Shared, ...]
    splits: tuple[str, ...]
    with_time: int
    with_place: int

    def count(self, kind: Kind, *, crossing: bool) -> int:
        """Pairs of a kind, across splits or within one."""
        return sum(p.kind is kind and p.crosses == crossing for p in self.pairs)

    @property
    def verdict(self) -> str:
        """In plain words: do the splits leak?"""
        if len(self.splits) < 2:
            return "There is one split only, so nothing can leak from one into another."
        counts = [(self.count(k, crossing=True), k) for k in Kind]
        found = [f"{n} {_plural(k, n)}" for n, k in counts if n]
        if self.shared:
            n = len(self.shared)
            found.append(f"{n} flight line{'s' if n > 1 else ''} ({', '.join(s.group for s in self.shared[:3])})")
        if not found:
            return "No photograph, source or flight line was found in more than one split."
        return f"The splits leak: {', '.join(found)} in more than one of them. Figures on them are too good."


def _plural(kind: Kind, n: int) -> str:
    one = {
        Kind.SOURCE: "pair exported from one source",
        Kind.MOMENT: "pair of one moment",
        Kind.PLACE: "pair of one place",
    }
    many = {
        Kind.EXACT: "exact copies",
        Kind.NEAR: "near copies",
        Kind.MIRRORED: "mirrored copies",
        Kind.SOURCE: "pairs exported from one source",
        Kind.MOMENT: "pairs of one moment",
        Kind.PLACE: "pairs of one place",
    }
    return one.get(kind, kind.value) if n == 1 else many[kind]


def find_leaks(photos: Sequence[Seen]) -> Leaks:
    """Every pair once, under the first kind that applies, in the order of the kinds and of the photographs."""
    pairs: dict[tuple[int, int], Pair] = {}
    for kind, found in (
        (Kind.EXACT, _equal(p.facts.sha256 for p in photos)),
        (Kind.SOURCE, _equal(source_of(p.name) for p in photos)),
        (Kind.NEAR, _near(photos, mirrored=False)),
        (Kind.MIRRORED, _near(photos, mirrored=True)),
        (Kind.MOMENT, _moments(photos)),
        (Kind.PLACE, _places(photos)),
    ):
        for i, j, distance in found:
            a, b = photos[i], photos[j]
            pairs.setdefault((i, j), Pair(a.name, b.name, kind, distance, (a.split, b.split)))
    return Leaks(
        pairs=tuple(pairs.values()),
        shared=tuple(_shared(photos)),
        splits=tuple(dict.fromkeys(p.split for p in photos)),
        with_time=sum(p.facts.camera.taken is not None for p in photos),
        with_place=sum(p.facts.camera.latitude is not None for p in photos),
    )


def source_of(name: str) -> str:
    """What Roboflow exported a photograph from: its name without the suffix `.rf.<hash>`; empty without one.

    >>> source_of("train/images/a_jpg.rf.0c1d.jpg"), source_of("train/images/a.jpg")
    ('a_jpg', '')
    """
    stem = PurePosixPath(name).stem
    found = re.fullmatch(r"(.+)\.rf\.[0-9A-Za-z]+", stem)
    return found.group(1) if found else ""


Found = Iterator[tuple[int, int, float]]


def _equal(keys: Iterable[str]) -> Found:
    """The first photograph of a key with each of the others; an empty key has none."""
    first: dict[str, int] = {}
    for j, key in enumerate(keys):
        if key and first.setdefault(key, j) != j:
            yield first[key], j, 0.0


def _near(photos: Sequence[Seen], *, mirrored: bool) -> Found:
    one = np.array([p.facts.phash for p in photos], np.uint64)
    other = np.array([p.facts.mirrored for p in photos], np.uint64) if mirrored else one
    confirm = np.array([p.facts.dhash for p in photos], np.uint64)
    for i, j, bits in near_pairs(one, other):
        # the difference hash of a mirror image is another one, and is not kept: half the bits are asked for instead
        agreed = bits <= NEAR_BITS // 2 if mirrored else (confirm[i] ^ confirm[j]).bit_count() <= CONFIRM_BITS
        if agreed:
            yield i, j, float(bits)


def near_pairs(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits) for i < j with at most NEAR_BITS between `hashes[i]` and `others[j]`, (N,) each, in order.

    >>> list(near_pairs(np.array([0, 2**40], np.uint64), np.array([0, 1], np.uint64)))
    [(0, 1, 1)]
    """
    for begin in range(0, len(hashes), BLOCK):
        bits = np.bitwise_count(hashes[begin : begin + BLOCK, None] ^ others[None, begin:])
        rows, columns = np.nonzero(np.triu(bits <= NEAR_BITS, k=1))
        yield from zip(
            (rows + begin).tolist(), (columns + begin).tolist(), bits[rows, columns].astype(int).tolist(), strict=True
        )


def _moments(photos: Sequence[Seen]) -> Found:
    """Photographs of different splits within SECONDS of each other, by one camera."""
    timed = sorted((p.facts.camera.taken, i) for i, p in enumerate(photos) if p.facts.camera.taken)
    for at, (taken, i) in enumerate(timed):
        for later, j in timed[at + 1 :]:
            if not taken or not later or (apart := (later - taken).total_seconds()) > SECONDS:
                break
            same = photos[i].facts.camera.model == photos[j].facts.camera.model
            if same and photos[i].split != photos[j].split:
                yield min(i, j), max(i, j), apart


def _places(photos: Sequence[Seen]) -> Found:
    """Photographs of different splits within METERS of each other, found over a grid of that width."""
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for j, photo in enumerate(photos):
        camera = photo.facts.camera
        if camera.latitude is None or camera.longitude is None:
            continue
        north = camera.latitude * math.pi / 180 * EARTH_M
        row = round(north / METERS)
        east = camera.longitude * math.pi / 180 * EARTH_M * math.cos(row * METERS / EARTH_M)
        column = round(east / METERS)
        for i in (i for r in (-1, 0, 1) for c in (-1, 0, 1) for i in cells.get((row + r, column + c), ())):
            apart = meters_between(photos[i].facts, photo.facts)
            if apart <= METERS and photos[i].split != photo.split:
                yield i, j, apart
        cells[row, column].append(j)


def meters_between(a: PhotoFacts, b: PhotoFacts) -> float:
    """Ground distance in meters (equirectangular: exact enough over hundreds of meters); infinite if unknown."""
    places = (a.camera.latitude, a.camera.longitude, b.camera.latitude, b.camera.longitude)
    if None in places:
        return math.inf
    lat1, lon1, lat2, lon2 = (math.radians(float(p or 0.0)) for p in places)
    return math.hypot(lat2 - lat1, (lon2 - lon1) * math.cos((lat1 + lat2) / 2)) * EARTH_M


def _shared(photos: Sequence[Seen]) -> Iterator[Shared]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for p in photos:
        counts[p.group][p.split] = counts[p.group].get(p.split, 0) + 1
    for group in sorted(counts):
        if len(counts[group]) > 1:
            yield Shared(group, counts[group])


def flags_of(leaks: Leaks) -> Iterator[Flag]:
    """Copies anywhere, and what crosses splits, as faults; near copies within a split and shared lines as remarks.

    Frames of one flight line overlap and are alike, so near copies within a split are what a flight gives. A flight
    line is read off file names, which may mean something else: it is a remark, and the verdict counts it.
    """
    for pair in leaks.pairs:
        fault = pair.crosses or pair.kind is Kind.EXACT
        where = "in another split" if pair.crosses else "in the same split"
        todo = "Keep one of the two." if fault else "Nothing, if frames of one flight may overlap."
        distance = f", {pair.distance:g} {_unit(pair.kind)}" if pair.distance else ""
        yield Flag(
            check=f"{pair.kind} across splits" if pair.crosses else f"{pair.kind} within a split",
            weight=Weight.FAULT if fault else Weight.REMARK,
            photo=pair.second,
            file=pair.second,
            what=f"{pair.kind} of {pair.first}, {where} ({' and '.join(dict.fromkeys(pair.splits))}){distance}.",
            todo=todo if not pair.crosses else "Keep one of the two, or both in one split: toeline split.",
            other=pair.first,
        )
    for line in leaks.shared:
        counts = ", ".join(f"{n} in {split}" for split, n in line.photographs.items())
        yield Flag(
            check="flight line in several splits",
            weight=Weight.REMARK,
            photo="",
            file="",
            what=f"photographs of {line.group!r} are {counts}.",
            todo="Split by flight line: toeline split --by flight. If the name means something else: --flight PATTERN.",
        )


def _unit(kind: Kind) -> str:
    return {Kind.MOMENT: "s apart", Kind.PLACE: "m apart"}.get(kind, "of 64 bits differ")


def to_csv(leaks: Leaks) -> str:
    """leaks.csv: one row a pair, then one a pair of splits that share a flight line."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["kind", "first", "second", "first_split", "second_split", "crosses_splits", "distance"])
    for p in leaks.pairs:
        rows.writerow([p.kind, p.first, p.second, *p.splits, "yes" if p.crosses else "no", f"{p.distance:g}"])
    for line in leaks.shared:
        for (a, _), (b, _) in combinations(line.photographs.items(), 2):
            rows.writerow(["flight line", line.group, line.group, a, b, "yes", ""])
    return text.getvalue()
