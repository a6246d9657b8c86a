"""Two visits of one site: which objects are the same, and what became of each. No model, no pixel."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from toeline.core.box import Box
from toeline.core.finding import Finding, Problem
from toeline.core.geo import Meters, Point
from toeline.core.provenance import models_fingerprint
from toeline.core.run_folder import differing
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.report.geolocate import flat_from
from toeline.report.visits import (
    Seen,
    SiteObject,
    Visit,
    condition_in,
    graded_in,
    objects_of,
    size_of,
    start_of,
    type_in,
)

# Two positions of one object differ by less than this many times their joint accuracy in 98 % of all cases (the
# distance of two errors that are normal and independent follows Rayleigh: 1 - exp(-2 * 2)).
GATE = 2.0
RIVAL = 1.0  # another pair whose square of that ratio is less than this much larger may as well be the right one
LEAST_IOU = 0.3  # of two boxes on photographs of one name: the camera stood about where it did, not exactly there
INSTEAD_IOU = 0.5
TIE, TINY_TIE = 1e-6, 1e-9  # of equally good pairs those with one class, then those with one name, are taken
SURE = 0.8
FEW_PAIRED, LEAST_TO_SAY = 0.2, 5  # less than this share of the objects paired: are these of one site?

CHANGED = ("worse", "new", "changed", "unclear", "gone", "better")
UNSEEN = ("not seen again", "first seen")
STATUSES = (*CHANGED, *UNSEEN, "same")
MEANS = {
    "worse": "a severer condition than before",
    "new": "where the first visit looked and found nothing",
    "changed": "another condition, of the same severity or of none",
    "unclear": "no answer in one of the visits",
    "gone": "where the second visit looked and found nothing",
    "better": "a less severe condition than before",
    "not seen again": "not photographed in the second visit, or not known",
    "first seen": "not photographed in the first visit, or not known",
    "same": "the same condition",
}
WAYS = {
    "position": "by position",
    "content": "by boxes on the same photograph",
    "name": "by boxes on photographs of one name",
}


@dataclass(frozen=True)
class VisitChange:
    """What became of one object. `before` is None for what is there for the first time, `after` for what was not found.

    `p_differs` is the probability that the condition truly differs, `p_told` that what `status` says is so; None where
    two probabilities do not tell. `perhaps` are the reasons why it is not certain. `why` says where it was looked for.
    `place` is a photograph of the other visit that shows the place of what was not found there.
    """

    status: str
    before: SiteObject | None
    after: SiteObject | None
    way: str = ""
    distance_m: float | None = None
    overlap: float | None = None
    p_differs: float | None = None
    p_told: float | None = None
    perhaps: tuple[str, ...] = ()
    why: str = ""
    place: str = ""

    @property
    def either(self) -> SiteObject:
        """The object as it is now, or as it was."""
        known = self.after or self.before
        assert known is not None
        return known

    @property
    def words(self) -> str:
        """The status, with "perhaps" where it is not certain."""
        return f"perhaps {self.status}" if self.perhaps else self.status


@dataclass(frozen=True)
class Revisit:
    """All changes, the gravest first. `differences` is what else differs between the visits than the site.

    `shift` is by how much, in the median, positions of the second visit lie off those of the first.
    """

    before: Visit
    after: Visit
    changes: tuple[VisitChange, ...]
    seen: tuple[Seen, Seen]
    words: Taxonomy
    sure: float
    differences: tuple[str, ...]
    shift: Meters | None = None
    problems: tuple[Problem, ...] = ()
    objects: tuple[int, int] = (0, 0)

    def count(self, status: str, *, perhaps: bool | None = None) -> int:
        """Objects of a status; the certain ones, or the others, alone where `perhaps` says so."""
        return sum(c.status == status and perhaps in (None, bool(c.perhaps)) for c in self.changes)

    @property
    def ways(self) -> Counter[str]:
        """How many objects were paired in which way."""
        return Counter(c.way for c in self.changes if c.before and c.after)


@dataclass(frozen=True)
class VisitPair:
    """Two objects that may be the same: their places in the two lists, how they were found, what it costs (0 to 1)."""

    i: int
    j: int
    cost: float
    way: str
    distance_m: float | None = None
    overlap: float | None = None


def compared(before: Visit, after: Visit, *, words: Taxonomy | None = None, sure: float = SURE) -> Revisit:
    """What changed from one visit to the next. `words` grades the classes of both, by default as the second visit."""
    words = words or after.taxonomy
    start = start_of((before, after))
    old, new = objects_of(before, words), objects_of(after, words)
    seen = Seen.of(before, start), Seen.of(after, start)
    pairs, candidates = paired(old, new, seen, start)
    rivals = _rivals(pairs, candidates, old, new)
    changes = [_paired_change(p, old[p.i], new[p.j], p in rivals, words, sure) for p in pairs]
    lost, found = sorted({*range(len(old))} - {p.i for p in pairs}), sorted({*range(len(new))} - {p.j for p in pairs})
    instead = _instead([old[i] for i in lost], [new[j] for j in found], seen, start)
    names = [{type_in(t.name, words) for t in visit.taxonomy.types} for visit in (before, after)]
    for n, i in enumerate(lost):
        change = VisitChange("gone", old[i], None)
        changes.append(_alone(change, seen, "second", names[1], sure, instead[0].get(n)))
    for n, j in enumerate(found):
        change = VisitChange("new", None, new[j])
        changes.append(_alone(change, (seen[1], seen[0]), "first", names[0], sure, instead[1].get(n)))
    told = Revisit(
        before, after, tuple(sorted(changes, key=_gravity)), seen, words, sure, tuple(differences(before, after)),
        _shift(changes, start), objects=(len(old), len(new)),
    )  # fmt: skip
    return replace(told, problems=tuple(_problems(told)))


def _gravity(change: VisitChange) -> tuple[Any, ...]:
    """What the list is sorted by: status, certain ones first, the severest, then the photograph."""
    rank = max((o.rank or 0 for o in (change.before, change.after) if o), default=0)
    side = change.before is None
    return STATUSES.index(change.status), bool(change.perhaps), -rank, change.either.type_name, side, change.either.key


def paired(
    old: Sequence[SiteObject], new: Sequence[SiteObject], seen: tuple[Seen, Seen], start: Point
) -> tuple[list[VisitPair], list[VisitPair]]:
    """One-to-one pairs of the least cost in all, and all candidates: by positions, then by boxes for what has none."""
    near = list(_near(old, new, start, GATE))
    first = assigned(near, old, new)
    taken = {p.i for p in first}, {p.j for p in first}
    boxes = [p for p in _overlapping(old, new, seen, LEAST_IOU) if p.i not in taken[0] and p.j not in taken[1]]
    return first + assigned(boxes, old, new), near + boxes


def _near(
    old: Sequence[SiteObject], new: Sequence[SiteObject], start: Point, gate: float, *, alike: bool = True
) -> Iterator[VisitPair]:
    """Pairs of one type (or with `alike` False of two) whose positions lie within `gate` of their joint accuracy."""
    from scipy.spatial import cKDTree

    placed = [
        [(i, o.type_name, flat_from(start, o.at), o.error_m) for i, o in enumerate(objects) if o.at]
        for objects in (old, new)
    ]
    if not placed[0] or not placed[1]:
        return
    reach = gate * math.hypot(*(max(error for *_, error in side) for side in placed))
    trees = [cKDTree(np.array([at for _, _, at, _ in side])) for side in placed]
    for a, others in enumerate(trees[0].query_ball_tree(trees[1], reach)):
        i, kind, at, error = placed[0][a]
        for j, other_kind, there, other_error in (placed[1][b] for b in sorted(others)):
            distance, joint = math.dist(at, there), math.hypot(error, other_error)
            if (kind == other_kind) == alike and distance <= gate * joint:
                yield VisitPair(i, j, (distance / joint / gate) ** 2, "position", distance_m=distance)


def _overlapping(
    old: Sequence[SiteObject], new: Sequence[SiteObject], seen: tuple[Seen, Seen], least: float, *, alike: bool = True
) -> Iterator[VisitPair]:
    """Pairs of one type (or of two) whose boxes overlap by `least` on photographs of one content or name.

    Where both have a position, that tells, and no box.
    """
    on: dict[str, list[tuple[int, Finding]]] = defaultdict(list)
    for j, other in enumerate(new):
        for finding in other.members:
            on[finding.photo].append((j, finding))
    for i, one in enumerate(old):
        best: dict[int, tuple[float, str]] = {}
        for finding in one.members:
            record = seen[0].photos.get(finding.photo)
            for photo, way in seen[1].views(record) if record else ():
                for j, there in on.get(photo, ()):
                    if (one.type_name == new[j].type_name) == alike and None in (one.at, new[j].at):
                        overlap = _shares(finding, record).iou(_shares(there, seen[1].photos[photo]))
                        best[j] = max(best.get(j, (0.0, "")), (overlap, way), key=lambda b: (b[0], b[1] == "content"))
        for j, (overlap, way) in sorted(best.items()):
            if overlap >= least:
                yield VisitPair(i, j, (1 - overlap) / (1 - least), way, overlap=overlap)


def _shares(finding: Finding, record: Mapping[str, Any] | None) -> Box:
    """A box in shares of its photograph, whose size may be another one the next time."""
    wide, high = size_of(record) if record else (0, 0)
    x1, y1, x2, y2 = finding.box.xyxy
    return Box(x1 / wide, y1 / high, x2 / wide, y2 / high) if wide and high else finding.box


def assigned(candidates: Sequence[VisitPair], old: Sequence[SiteObject], new: Sequence[SiteObject]) -> list[VisitPair]:
    """The one-to-one choice of candidates that costs least, where an object that is left alone costs 1.

    Objects that no candidates join are independent of each other, so that each cluster is solved by itself.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not candidates:
        return []
    rows, columns = [p.i for p in candidates], [len(old) + p.j for p in candidates]
    size = len(old) + len(new)
    joined = coo_matrix((np.ones(len(candidates)), (rows, columns)), shape=(size, size))
    _, cluster_of = connected_components(joined, directed=False)
    clusters: dict[int, list[VisitPair]] = defaultdict(list)
    for pair in candidates:
        clusters[int(cluster_of[pair.i])].append(pair)
    chosen = []
    for cluster in clusters.values():
        sides = ({p.i for p in cluster}, {p.j for p in cluster})
        left, right = ({number: at for at, number in enumerate(sorted(side))} for side in sides)
        cost = np.ones((len(left), len(right)))
        by_place = {(left[p.i], right[p.j]): p for p in cluster}
        for (a, b), p in by_place.items():
            cost[a, b] = min(p.cost, 1.0) - 4 * TIE + _tie(old[p.i], new[p.j])  # a candidate is better than none
        chosen += [by_place[a, b] for a, b in zip(*linear_sum_assignment(cost), strict=True) if (a, b) in by_place]
    return sorted(chosen, key=lambda p: (p.i, p.j))


def _tie(a: SiteObject, b: SiteObject) -> float:
    same = a.finding.photo == b.finding.photo, a.finding.instance_id == b.finding.instance_id
    return TIE * (a.class_name != b.class_name) + TINY_TIE * (2 - sum(same))


def _paired_change(
    pair: VisitPair, a: SiteObject, b: SiteObject, rival: bool, words: Taxonomy, sure: float
) -> VisitChange:
    """What became of an object; `rival` says that another one may be meant."""
    status = _status(a, b)
    differs, told = chances(a, b, status, words)
    sides = (("first", a), ("second", b))
    reasons = [f"the {which} visit's answer is to be reviewed ({o.review})" for which, o in sides if o.review]
    if status in CHANGED and told is not None and told < sure:
        reasons.append(f"the two answers make it {_percent(told)} likely, less than {_percent(sure)}")
    if status in CHANGED and rival:
        reasons.append(f"another {words_of(a.type_name, words)} in another condition lies about as near")
    perhaps = tuple(reasons) if status != "unclear" else ()
    why = "" if status != "unclear" else _unclear(a, b)
    return VisitChange(status, a, b, pair.way, pair.distance_m, pair.overlap, differs, told, perhaps, why)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def words_of(kind: str, words: Taxonomy) -> str:
    """A type as people call it; as it is written where the taxonomy does not know it."""
    return next((t.spoken for t in words.types if t.name == kind), kind.replace("_", " "))


def _status(a: SiteObject, b: SiteObject) -> str:
    if not a.class_name or not b.class_name:
        return "unclear"
    if a.class_name == b.class_name:
        return "same"
    if a.rank is None or b.rank is None or a.rank == b.rank:
        return "changed"
    return "worse" if b.rank > a.rank else "better"


def _unclear(a: SiteObject, b: SiteObject) -> str:
    which = " and ".join(name for name, o in (("first", a), ("second", b)) if not o.class_name)
    return f"there is no answer in the {which} visit: the judge gave none, or nobody could judge it"


def chances(a: SiteObject, b: SiteObject, status: str, words: Taxonomy) -> tuple[float | None, float | None]:
    """Probabilities that the conditions differ, and that what `status` says is so, the two answers being independent.

    Each is the sum of the products of the two visits' probabilities over the pairs of classes of which it is true.
    """
    if status == "unclear":
        return None, None
    sides = [_conditions(o, words) for o in (a, b)]
    together = [(x, y, p * q) for x, p in sides[0].items() for y, q in sides[1].items()]
    total = math.fsum(p for *_, p in together) or 1.0
    differs = math.fsum(p for x, y, p in together if x[0] != y[0]) / total
    rises = {"worse": 1, "better": -1}.get(status)
    if rises is None:
        return differs, 1 - differs if status == "same" else differs
    ranked = ((x[1], y[1], p) for x, y, p in together)
    return differs, math.fsum(p for x, y, p in ranked if None not in (x, y) and (y - x) * rises > 0) / total


def _conditions(o: SiteObject, words: Taxonomy) -> dict[tuple[str, Any], float]:
    """Probability of each condition with its rank."""
    found: dict[tuple[str, Any], float] = defaultdict(float)
    for name, p in o.odds.items():
        found[condition_in(name, words), graded_in(name, words)[1]] += p
    return found


def _rivals(
    pairs: Sequence[VisitPair], candidates: Sequence[VisitPair], old: Sequence[SiteObject], new: Sequence[SiteObject]
) -> set[VisitPair]:
    """Pairs of which one side fits another object about as well, with which the change would be another one."""
    of_old: dict[int, list[VisitPair]] = defaultdict(list)
    of_new: dict[int, list[VisitPair]] = defaultdict(list)
    for candidate in candidates:
        if candidate.way == "position":
            of_old[candidate.i].append(candidate)
            of_new[candidate.j].append(candidate)

    def has_rival(pair: VisitPair) -> bool:
        limit = pair.cost + RIVAL / GATE**2
        others = [c for c in of_old[pair.i] if new[c.j].class_name != new[pair.j].class_name]
        others += [c for c in of_new[pair.j] if old[c.i].class_name != old[pair.i].class_name]
        return pair.way == "position" and any(c.cost <= limit for c in others)

    return {pair for pair in pairs if has_rival(pair)}


def _instead(
    lost: Sequence[SiteObject], found: Sequence[SiteObject], seen: tuple[Seen, Seen], start: Point
) -> tuple[dict[int, str], dict[int, str]]:
    """Types that stand in the place of what is lost, and of what is found: another type may be another answer."""
    here: dict[int, str] = {}
    there: dict[int, str] = {}
    near = [*_near(lost, found, start, 1.0, alike=False), *_overlapping(lost, found, seen, INSTEAD_IOU, alike=False)]
    for pair in sorted(near, key=lambda p: (p.cost, p.i, p.j)):
        here.setdefault(pair.i, found[pair.j].type_name)
        there.setdefault(pair.j, lost[pair.i].type_name)
    return here, there


def _alone(
    change: VisitChange, seen: tuple[Seen, Seen], which: str, types: set[str], sure: float, instead: str | None
) -> VisitChange:
    """What became of an object that is in one visit only; `seen` is what its own visit looked at, and the `which` one.

    Only what was looked at can be gone, or new.
    """
    there = change.either
    if there.type_name in types:
        looked = looked_at(there, *seen, which)
    else:
        looked = Looked(f"the taxonomy of the {which} visit has no such type", found=False)
    if not looked.found:
        return replace(change, status="not seen again" if change.before else "first seen", why=looked.why)
    reasons = [f"its answer is to be reviewed ({there.review})"] if there.review else []
    if there.exists < sure:
        reasons.append(f"the detector was {_percent(there.exists)} sure of it, less than {_percent(sure)}")
    reasons += [looked.doubt] if looked.doubt else []
    reasons += [f"a {instead.replace('_', ' ')} was found in its place"] if instead else []
    return replace(change, p_told=there.exists, perhaps=tuple(reasons), why=looked.why, place=looked.photo)


OF_NAME = {"content": "", "name": " of this name"}


@dataclass(frozen=True)
class Looked:
    """Whether a visit looked at a place: how that is known, on which photograph, and what is doubtful of it."""

    why: str
    photo: str = ""
    doubt: str = ""
    found: bool = True


def looked_at(there: SiteObject, own: Seen, other: Seen, which: str) -> Looked:
    """Whether the `which` visit looked at the place of an object of the other: by positions, else by photographs."""
    visit = f"the {which} visit"
    if there.at is not None and other.areas:
        if covering := other.covering(there.at):
            depth, photo = covering[0]
            edge = "its place is at the edge of what was photographed" if depth < there.error_m else ""
            return Looked(f"{some(len(covering), 'photograph')} of {visit} looked at its place", photo, edge)
        if not other.blind:
            return Looked(f"not photographed: no photograph of {visit} shows its place", found=False)
    views = [(f, view) for f in there.members if f.photo in own.photos for view in other.views(own.photos[f.photo])]
    if views:
        photo, way = views[0][1]
        return Looked(
            f"{visit} has {'the same photograph' if way == 'content' else 'a photograph of this name'}", photo
        )
    if any(f.photo in other.failed for f in there.members):
        return Looked(f"its photograph could not be inspected in {visit}", found=False)
    if there.at is not None and other.areas:
        what = f"{some(other.blind, 'photograph')} of {visit} may show it: of these it is not known what they show"
        return Looked(f"not known: {what}", found=False)
    if own.placed or other.placed:
        what = f"the position of the object, or the ground in the photographs of {visit}, is not known"
        return Looked(f"not known: {what}, and no photograph of it has this name and place", found=False)
    return Looked(f"not photographed: {visit} has no photograph of this name", found=False)


def _shift(changes: Sequence[VisitChange], start: Point) -> Meters | None:
    """By how much second positions lie off the first, in the median; None below LEAST_TO_SAY."""
    ways = [
        (flat_from(start, c.before.at), flat_from(start, c.after.at))
        for c in changes
        if c.way == "position" and c.before and c.after and c.before.at and c.after.at
    ]
    if len(ways) < LEAST_TO_SAY:
        return None
    return Meters(median(b.east - a.east for a, b in ways), median(b.north - a.north for a, b in ways))


# What a run's settings say that can change an answer, whatever the site does.
DECIDING = (
    *("detector", "thresholds", "head", "judge", "adapter", "answers", "prior", "model", "tile"),
    *("review_below", "risk", "weights"),
)
HASHED = {
    "calibration_sha256": "the calibration is another one",
    "domain_sha256": "what the models were measured on is another domain",
    "taxonomy_sha256": "the taxonomy has other words",
    "grading_sha256": "severities are others",
}


def differences(before: Visit, after: Visit) -> list[str]:
    """What differs between two visits besides the site, in words: then a change may be the model's."""
    records = before.record, after.record
    told = []
    prints = [models_fingerprint(record) for record in records]
    if prints[0] != prints[1]:
        told.append(f"the models or the rules for review are others (fingerprint {prints[0]}, then {prints[1]})")
    settings = [record.get("settings") or {} for record in records]
    told += differing(*({name: one.get(name) for name in DECIDING} for one in settings))
    boxes = [bool(one.get("boxes")) for one in settings]
    if boxes[0] != boxes[1]:
        told.append(f"the boxes of the {'first' if boxes[0] else 'second'} visit are from label files")
    for key, what in HASHED.items():
        hashes = [str(one.get(key) or "none")[:16] for one in settings]
        if all(key in one for one in settings) and hashes[0] != hashes[1]:
            told.append(f"{what} (fingerprint {hashes[0]}, then {hashes[1]})")
    versions = [str((record.get("versions") or {}).get("toeline", "")) for record in records]
    if all(versions) and versions[0] != versions[1]:
        told.append(f"Toeline was {versions[0]}, then {versions[1]}")
    if (before.reviewed is None) != (after.reviewed is None):
        told.append(
            f"decisions of people are known of the {'second' if before.reviewed is None else 'first'} visit alone"
        )
    return told


def _problems(told: Revisit) -> Iterator[Problem]:
    """What makes the comparison less than it should be: problems, and notes."""
    for which, visit in (("first", told.before), ("second", told.after)):
        failed = sum(bool(r.get("failed")) for r in visit.progress)
        if failed:
            what = f"{some(failed, 'photograph')} of the {which} visit could not be inspected: they count as not taken."
            yield Problem(visit.name, visit.name, what, "Repair them, and run the same toeline inspect again.")
    fewer, paired_ = min(told.objects), sum(told.ways.values())
    if fewer >= LEAST_TO_SAY and paired_ < FEW_PAIRED * fewer:
        looked = sum(told.count(status) for status in ("gone", "new"))
        by_name = told.ways["name"] >= told.ways["position"] and looked > 0
        why = "photographs of one name may not show the same place" if by_name else "the flights may not overlap"
        what = f"only {paired_} of {some(fewer, 'object')} were found in both visits: {why}."
        yield Problem("", told.after.name, what, "Check that both are inspections of one site.")
    if not told.words.grading:
        what = "the taxonomy has no severities, so no change is told as worse or better."
        yield Problem("", told.after.name, what, note=True)
