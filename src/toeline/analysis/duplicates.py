"""What one split can know of another: copies, near copies, exports of one source, flight lines, one moment or place.

Works on what photos.py kept of each photograph; opens none.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toeline.analysis.photo_facts import PhotoFacts
from toeline.analysis.table import Flag, Weight
from toeline.data.split import roboflow_source

NEAR_BITS, CONFIRM_BITS = 10, 12
"""Most bits of 64 by which the perceptual and the difference hash of near copies differ; both must agree. Measured on
168 real train photographs: unrelated ones (other flight lines, 12,000 pairs) differ in 16 bits or more, re-encoded,
resized, brightened or contrasted copies in 2 (difference hash 5), copies with 2 % of the border cut off in 12 (10)."""
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


@dataclass(frozen=True, slots=True)
class HashedPhoto:
    """One photograph as leaks are looked for: `name` below the data set's root, `group` its flight line."""

    name: str
    split: str
    group: str
    facts: PhotoFacts


@dataclass(frozen=True)
class DuplicatePair:
    """Two photographs that are one, in the order of the data set.

    `distance`: bits of 64 for near and mirrored copies, seconds, meters, else 0.
    """

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
    """What was found, and of how many photographs time and place were there to be compared.

    `pairs` hold each photograph with the nearest of its likes in every split, not with all of them: no photograph that
    has its like in another split goes untold, and ten thousand frames of one film are no million pairs.
    """

    pairs: tuple[DuplicatePair, ...]
    shared: tuple[Shared, ...]
    splits: tuple[str, ...]
    with_time: int
    with_pose: int

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


def find_leaks(photos: Sequence[HashedPhoto]) -> Leaks:
    """Every pair once, under the first kind that applies, in the order of the kinds and of the photographs."""
    numbers = {split: number for number, split in enumerate(dict.fromkeys(p.split for p in photos))}
    parts = np.array([numbers[p.split] for p in photos], np.intp)
    pairs: dict[tuple[int, int], DuplicatePair] = {}
    for kind, found in (
        (Kind.EXACT, _equal([p.facts.sha256 for p in photos], parts)),
        (Kind.SOURCE, _equal([roboflow_source(Path(p.name)) for p in photos], parts)),
        (Kind.NEAR, _near(photos, parts)),
        (Kind.MIRRORED, _mirrored(photos, parts)),
        (Kind.MOMENT, _moments(photos, parts)),
        (Kind.PLACE, _places(photos, parts)),
    ):
        for i, j, distance in found:
            a, b = photos[i], photos[j]
            pairs.setdefault((i, j), DuplicatePair(a.name, b.name, kind, distance, (a.split, b.split)))
    return Leaks(
        pairs=tuple(pairs.values()),
        shared=tuple(_shared(photos)),
        splits=tuple(numbers),
        with_time=sum(p.facts.camera.taken is not None for p in photos),
        with_pose=sum(p.facts.camera.place is not None for p in photos),
    )


def _equal(keys: Sequence[str], parts: NDArray[np.intp]) -> Found:
    """Each photograph with the first before it of the same key in every split; an empty key has no equal."""
    first: dict[str, dict[int, int]] = defaultdict(dict)
    often = {key for key, n in Counter(keys).items() if key and n > 1}  # few: the others need no place in `first`
    for j, (key, part) in enumerate(zip(keys, parts.tolist(), strict=True)):
        if key in often:
            yield from ((i, j, 0.0) for i in first[key].values())
            first[key].setdefault(part, j)


def _hashes(photos: Sequence[HashedPhoto], name: str) -> NDArray[np.uint64]:
    return np.array([getattr(p.facts, name) for p in photos], np.uint64)


def _near(photos: Sequence[HashedPhoto], parts: NDArray[np.intp]) -> Found:
    phash, dhash = _hashes(photos, "phash"), _hashes(photos, "dhash")
    return nearest_before(phash, phash, parts, NEAR_BITS, agree=(dhash, CONFIRM_BITS))


def _mirrored(photos: Sequence[HashedPhoto], parts: NDArray[np.intp]) -> Found:
    """The difference hash of a mirror image is another one, and is not kept: half the bits are asked for instead."""
    phash, mirrored = _hashes(photos, "phash"), _hashes(photos, "mirrored")
    return nearest_before(phash, mirrored, parts, NEAR_BITS // 2, agree=(phash, 64))


def _moments(photos: Sequence[HashedPhoto], parts: NDArray[np.intp]) -> Found:
    """Photographs of different splits within SECONDS of each other, by cameras of one model."""
    by_model: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, photo in enumerate(photos):
        if (taken := photo.facts.camera.taken) is not None:
            by_model[photo.facts.camera.model].append((number, (taken - datetime(2000, 1, 1)).total_seconds()))
    for timed in by_model.values():
        index = np.array([i for i, _ in timed])
        seconds = np.array([[second] for _, second in timed])
        yield from ((int(index[i]), int(index[j]), d) for i, j, d in nearest_elsewhere(seconds, parts[index], SECONDS))


def _places(photos: Sequence[HashedPhoto], parts: NDArray[np.intp]) -> Found:
    """Photographs of different splits within METERS of each other."""
    index = np.array([i for i, p in enumerate(photos) if p.facts.camera.place is not None], np.intp)
    degrees = np.array([photos[i].facts.camera.place or (0.0, 0.0) for i in index]).reshape(-1, 2)
    found = nearest_elsewhere(on_the_globe(degrees), parts[index], METERS)
    yield from ((int(index[i]), int(index[j]), d) for i, j, d in found)


def on_the_globe(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latitude and longitude (N, 2) to meters from the center of a round earth (N, 3): near points' chord is their way.

    >>> east = on_the_globe(np.array([[60.0, 179.99999], [60.0, -179.99999]]))
    >>> round(float(np.linalg.norm(east[0] - east[1])), 2)
    1.11
    """
    latitude, longitude = np.radians(degrees).T
    flat = np.cos(latitude)
    return EARTH_M * np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def _shared(photos: Sequence[HashedPhoto]) -> Iterator[Shared]:
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


BLOCK = 128  # photographs compared with all others at a time: at 20,000 photographs 3 MB
ROWS = 16  # of them whose hashes lie side by side: 64 bits each, where only their number is kept

Hashes = NDArray[np.uint64]
Found = Iterator[tuple[int, int, float]]
_FAR = np.uint8(255)  # more than the 64 bits that can differ


def nearest_before(a: Hashes, b: Hashes, parts: NDArray[np.intp], most: int, *, agree: tuple[Hashes, int]) -> Found:
    """(i, j, bits), i < j: for each j and each part, the i of that part with the fewest bits between `a[i]` and `b[j]`.

    All (N,). Of equals the first. At most `most` bits, and `agree` must not differ in more than its number either.

    >>> a = np.array([0, 1, 2**40 - 1, 3], np.uint64)
    >>> list(nearest_before(a, a, np.array([0, 0, 0, 1]), 2, agree=(a, 64)))
    [(0, 1, 1.0), (1, 3, 1.0)]
    """
    confirm, limit = agree
    for begin in range(0, len(a), BLOCK):
        stop = min(begin + BLOCK, len(a))
        bits = _differing(a[:stop], b[begin:stop])
        bits[:, begin:][np.triu_indices(stop - begin)] = _FAR
        near = np.flatnonzero((bits <= most).any(axis=1))
        bits, rows = bits[near], near + begin
        bits[(bits > most) | (_differing(confirm[:stop], confirm[rows]) > limit)] = _FAR
        yield from _least(bits, rows, parts[:stop])


def _differing(a: Hashes, b: Hashes) -> NDArray[np.uint8]:
    """(len(b), len(a)): in how many bits they differ."""
    out = np.empty((len(b), len(a)), np.uint8)
    for at in range(0, len(b), ROWS):
        np.bitwise_count(a[None] ^ b[at : at + ROWS, None], out=out[at : at + ROWS])
    return out


def _least(bits: NDArray[np.uint8], rows: NDArray[np.intp], parts: NDArray[np.intp]) -> Found:
    """The least of each row (photograph `rows[k]`) of `bits` in each part, where there is one."""
    for part in np.unique(parts):
        columns = np.flatnonzero(parts == part)
        least = bits[:, columns].argmin(axis=1)
        for j, i, found in zip(rows, columns[least], bits[np.arange(len(rows)), columns[least]], strict=True):
            if found != _FAR:
                yield int(i), int(j), float(found)


def nearest_elsewhere(points: NDArray[np.float64], parts: NDArray[np.intp], most: float) -> Found:
    """(i, j, distance), i < j: for each point (N, D) and each other part, the nearest there within `most`.

    >>> list(nearest_elsewhere(np.array([[0.0], [1.0], [1.5], [9.0]]), np.array([0, 1, 1, 1]), 2.0))
    [(0, 1, 1.0), (0, 2, 1.5)]
    """
    from scipy.spatial import KDTree

    found: dict[tuple[int, int], float] = {}
    for part in np.unique(parts):
        here, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        if not len(others):
            continue
        apart, at = KDTree(points[here]).query(points[others], distance_upper_bound=np.nextafter(most, np.inf))
        for j, i, distance in zip(others, np.append(here, -1)[at], apart, strict=True):
            if i >= 0:
                found[min(int(i), int(j)), max(int(i), int(j))] = float(distance)
    yield from ((i, j, distance) for (i, j), distance in sorted(found.items()))
