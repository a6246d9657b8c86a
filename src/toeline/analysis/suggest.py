"""Which photographs, classes and flight lines more labels would help most.

The doubt about an object is the 1-vs-2 margin, (1 - (p1 - p2))², and a photograph's uncertainty the sum over its
objects. Of the sum, mean and maximum that Brust, Käding and Denzler measured for detectors (Active Learning for Deep
Object Detection, VISAPP 2019) the sum taught most for a photograph; it prefers photographs with many objects.

The list is filled one by one, always with what adds most to those that are taken already: ranked batch-mode
sampling (Cardoso et al., Information Sciences 379, 2017), with flight lines in place of the clusters of Cluster-Margin
(Citovsky et al., Batch Active Learning at Scale, NeurIPS 2021). What a photograph adds is uncertainty * (1 - alike) /
(1 + taken from its flight line): the divisor is D'Hondt's, so that a line gets places in proportion to its
uncertainty.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toeline.analysis.duplicates import on_the_globe
from toeline.analysis.power import FEW, more_photos
from toeline.analysis.table import Floats, ObjectTable
from toeline.core.geo import Point
from toeline.core.statistics import least_n
from toeline.core.words import some
from toeline.data.yolo import frame_number

UNKNOWN = 1.0  # uncertainty of a photograph without a detection, or that nobody looked at: that of one undecided object
TOLD = 0.25  # doubt from which an object is named: a margin under one half
NEAR_FRAMES, NEAR_M = 5, 20.0  # frames of a flight line, or meters, from which two photographs have nothing in common
ALIKE = 0.8  # how much two of the same number or place have: that they are copies only their pixels could show


@dataclass(frozen=True)
class SeenObject:
    """What models said of one object; `name` is what people call it.

    `confidence` is the detector's, `threshold` the least that it would have shown. `answers` are the probabilities of
    the legal class names, calibrated where that is possible; none or one where nobody was asked. An answer that was no
    class name is not `readable`. `rival` is the strongest other type on the same place with its confidence.
    """

    name: str
    confidence: float = 1.0
    threshold: float = 0.0
    answers: Mapping[str, float] = field(default_factory=dict)
    readable: bool = True
    rival: tuple[str, float] | None = None


@dataclass(frozen=True)
class SeenPhoto:
    """A photograph and what models said of it: no object if nothing was found, None if none has looked at it.

    `name` is its path with slashes; a frame number at its end tells which ones were taken one after the other.
    """

    name: str
    flight_line: str
    objects: tuple[SeenObject, ...] | None = None
    position: Point | None = None


@dataclass(frozen=True)
class Suggestion:
    """A photograph to label: its `uncertainty` alone, what it `adds` to those before it, and why, the most first."""

    photo: str
    flight_line: str
    uncertainty: float
    adds: float
    why: tuple[str, ...]


def suggestions(photos: Iterable[SeenPhoto], n: int, *, labeled: Iterable[SeenPhoto] = ()) -> list[Suggestion]:
    """The `n` photographs of which labels would help most, the first first; of equals the first by name.

    `labeled` are not suggested; they count as taken. Out-of-fold answers do for `photos` as well as those on new ones.

    >>> sure, torn = {"normal": 0.95, "blocked": 0.05}, {"normal": 0.5, "blocked": 0.5}
    >>> seen = [SeenPhoto(f"{n}.jpg", "B0", (SeenObject("drain", answers=a),)) for n, a in (("a", sure), ("b", torn))]
    >>> [(s.photo, round(s.uncertainty, 2), s.why) for s in suggestions(seen, 1)]
    [('b.jpg', 1.0, ('1 close answer: drain is blocked 0.50 or normal 0.50',))]
    """
    done, left = (sorted(them, key=lambda p: p.name) for them in (labeled, photos))
    everyone, taken = [*done, *left], _Taken([*done, *left])
    for i in range(len(done)):
        taken.add(i)
    labels, total = (Counter(p.flight_line for p in them) for them in (done, everyone))
    judged = [assess(p) for p in left]
    uncertainty = np.array([0.0] * len(done) + [value for value, _ in judged])
    open_ = np.arange(len(everyone)) >= len(done)
    found: list[Suggestion] = []
    while len(found) < min(n, len(left)):
        adds = np.where(~open_, -1.0, np.round(uncertainty * taken.share(), 9))  # equal on every machine
        at = int(adds.argmax())
        photo, (value, why), like = everyone[at], judged[at - len(done)], int(taken.likest[at])
        if photo.objects is None:
            line = photo.flight_line
            why = (f"{total[line] - labels[line]} of {total[line]} of its flight line are not labeled",)
        if like >= 0:
            why += (f"near {everyone[like].name}, {'labeled' if like < len(done) else 'suggested'} already",)
        found.append(Suggestion(photo.name, photo.flight_line, value, float(adds[at]), why))
        taken.add(at)
        open_[at] = False
    return found


def assess(photo: SeenPhoto) -> tuple[float, tuple[str, ...]]:
    """The uncertainty of a photograph by itself, and its doubts by their kind in words, the largest first."""
    if not photo.objects:
        return UNKNOWN, ("nothing was found: it is empty, or all was overlooked",)
    every = [list(_doubts(seen)) for seen in photo.objects]
    uncertainty = sum(max(value for value, _, _ in its) for its in every)
    told = sorted((d for its in every for d in its if d[0] >= TOLD), key=lambda d: -d[0])
    number, first = Counter(kind for _, kind, _ in told), {kind: words for _, kind, words in reversed(told)}
    kinds = dict.fromkeys(kind for _, kind, _ in told)
    return uncertainty, tuple(f"{some(number[k], k)}: {first[k]}" for k in kinds) or ("nothing on it is in doubt",)


def _doubts(seen: SeenObject) -> Iterator[tuple[float, str, str]]:
    """About one object, each with its kind: whether it is there, of which type it is, and which class.

    At the detector's threshold there are even odds that it is there; above, they grow as those of its confidence do.
    """
    odds = _odds(seen.confidence) / max(_odds(seen.threshold), 1e-9)
    there = f"{seen.name} at {seen.confidence:.2f}"
    yield doubt(odds / (1 + odds), 1 / (1 + odds)), "weak detection", f"{there} (threshold {seen.threshold:.2f})"
    if seen.rival:
        name, confidence = seen.rival
        yield doubt(seen.confidence, confidence), "close type", f"{there}, {name} at {confidence:.2f}"
    if len(seen.answers) > 1:
        (a, p), (b, q) = sorted(seen.answers.items(), key=lambda pair: (-pair[1], pair[0]))[:2]
        yield doubt(p, q), "close answer", f"{seen.name} is {a} {p:.2f} or {b} {q:.2f}"
    if not seen.readable:
        yield 1.0, "unreadable answer", seen.name


def _odds(p: float) -> float:
    return p / max(1 - p, 1e-9)


def doubt(first: float, second: float) -> float:
    """The 1-vs-2 margin of the two best answers, 0 (sure) to 1 (a tie).

    >>> doubt(0.5, 0.5), doubt(1, 0)
    (1.0, 0.0)
    """
    return float((1 - min(max(first - second, 0.0), 1.0)) ** 2)


class _Taken:
    """What of P photographs is taken: `count` by flight line, `alike` (P,) to the one that is the most alike, `likest`.

    `frame` (P,) and `place` (P, 3), in meters, are NaN where they are not known.
    """

    def __init__(self, photos: Sequence[SeenPhoto]) -> None:
        lines = {name: i for i, name in enumerate(dict.fromkeys(p.flight_line for p in photos))}
        self.line = np.array([lines[p.flight_line] for p in photos], dtype=np.int64)
        self.frame = np.array([frame_number(Path(p.name)) for p in photos], dtype=np.float64)  # None becomes NaN
        self.place = on_the_globe(np.array([p.position or (np.nan, np.nan) for p in photos]).reshape(-1, 2))
        self.count = np.zeros(len(lines), dtype=np.int64)
        self.alike, self.likest = np.zeros(len(photos)), np.full(len(photos), -1)

    def add(self, i: int) -> None:
        """Take one. Positions say how near two are; where one has none, frames of one flight line do."""
        self.count[self.line[i]] += 1
        frames = np.where(self.line == self.line[i], abs(self.frame - self.frame[i]) / NEAR_FRAMES, np.nan)
        meters = np.linalg.norm(self.place - self.place[i], axis=1) / NEAR_M
        gap = np.where(np.isnan(meters), frames, meters)
        alike = ALIKE * np.clip(1 - np.where(np.isnan(gap), 1.0, gap), 0, 1)
        nearer = alike > self.alike
        self.alike[nearer], self.likest[nearer] = alike[nearer], i

    def share(self) -> Floats:
        """(P,) how much of its uncertainty each photograph adds to what is taken."""
        return np.asarray((1 - self.alike) / (1 + self.count[self.line]))


@dataclass(frozen=True)
class Need:
    """What a class or flight line has, and in `words` what it lacks or what is in doubt; empty where nothing is.

    `spread` counts the flight lines of a class, or the classes on a flight line.
    """

    name: str
    n: int
    photos: int
    spread: int
    words: str


def doubted(photos: Iterable[SeenPhoto]) -> tuple[list[Need], list[Need]]:
    """The classes that were answered, and the flight lines: those with the most objects in doubt first."""
    groups: dict[tuple[int, str], list[tuple[str, str, str, bool]]] = defaultdict(list)
    for p in photos:
        for seen in p.objects or ():
            best = max(seen.answers, key=lambda name: seen.answers[name], default="(no class name)")
            row = p.name, best, p.flight_line, max(value for value, _, _ in _doubts(seen)) >= TOLD
            groups[1, best].append(row)
            groups[2, p.flight_line].append(row)
    needs: dict[int, list[tuple[int, Need]]] = {1: [], 2: []}
    for (column, name), rows in groups.items():
        doubts, spread = sum(row[3] for row in rows), len({row[3 - column] for row in rows})
        words = f"{doubts} of {len(rows)}" if doubts else ""
        needs[column].append((-doubts, Need(name, len(rows), len({row[0] for row in rows}), spread, words)))
    by_class, by_line = (
        [n for _, n in sorted(its, key=lambda pair: (pair[0], pair[1].name))] for its in needs.values()
    )
    return by_class, by_line


def class_needs(table: ObjectTable, target: float) -> list[Need]:
    """Each class, or each type where labels name types only: the fewest objects first."""
    words, code = table.taxonomy, table.cls if (table.cls >= 0).any() else table.kind
    shown = [(c.name, target if len(words.answers(c.type)) > 1 else 0.0) for c in words.classes]
    found = []
    for at, (name, goal) in enumerate(shown if code is table.cls else [(t.name, 0.0) for t in words.types]):
        mine = code == at
        photo = np.unique(table.photo[mine])
        lines = len(np.unique(table.group[photo]))
        counts = {s: int((table.object_split[mine] == i).sum()) for i, s in enumerate(table.splits)}
        said = "; ".join(_class_words(len(photo), lines, counts, goal))
        found.append(Need(name, int(mine.sum()), len(photo), lines, said))
    return sorted(found, key=lambda need: (need.n, need.name))


def _class_words(photos: int, lines: int, counts: Mapping[str, int], target: float) -> Iterator[str]:
    """What is lacking of one class: to learn it, to keep it apart, to show the target. `counts` are by split.

    A `target` of 0 means that there is nothing to show: the type has one class, or classes are not labeled.
    """
    n = sum(counts.values())
    if not n:
        yield "none at all: photograph it first, it cannot be learned"
        return
    if lines == 1:
        yield "on one flight line: label another, or it cannot be learned and measured apart"
    if more := more_photos(n, photos):
        yield f"about {some(more, 'photograph')} more with it, for {FEW} objects"
    for split, there in counts.items() if target and len(counts) > 1 else ():
        if split != "train" and there < least_n(target):
            yield f"{least_n(target) - there} more in {split}, to show {100 * target:g} %"


def line_needs(table: ObjectTable) -> list[Need]:
    """Each flight line, `photos` of which are labeled: the least labeled first."""
    code = table.cls if (table.cls >= 0).any() else table.kind
    group = table.group[table.photo]
    total = Counter(table.group.tolist())
    labeled = Counter(table.group[table.known].tolist())
    found = []
    for at, name in enumerate(table.groups):
        lacking = total[at] - labeled[at]
        words = "" if not lacking else f"{lacking} of {total[at]} are not labeled"
        found.append(Need(name, int((group == at).sum()), labeled[at], len(np.unique(code[group == at])), words))
    return sorted(found, key=lambda need: (need.photos, need.n, need.name))
