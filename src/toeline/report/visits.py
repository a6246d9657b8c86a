"""One inspection of a site as a visit: its objects, each once, what is known of each, and the ground that was seen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict
from toeline.core.geo import CameraPose, Meters, Point, between, pose_from
from toeline.core.severity import UNGRADED
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import natural
from toeline.errors import TaxonomyError
from toeline.report.camera_geometry import footprint, ground_position_of
from toeline.report.geolocate import MOST_ERROR_M, MapMark, flat_from, grouped

LEAST_ERROR_M = 0.1  # nothing is known better than this; accuracies of 0 would divide by it
SAME_VIEW_M = 20.0  # photographs of one name that were taken farther apart do not show the same place
MODEL = "model"


@dataclass(frozen=True)
class PersonsAnswer:
    """What a person decided of one finding, or of a place where nothing was found (`action` add).

    `class_name` is empty for what is no object and for what nobody could judge; `box` is the one that was drawn.
    """

    photo: str
    instance_id: str
    action: str
    class_name: str = ""
    box: Box | None = None
    user: str = ""
    time: str = ""

    @property
    def decides(self) -> bool:
        """Whether it says anything of the class: a corrected box alone does not."""
        return self.action in ("confirm", "change", "add", "unsure")


@dataclass(frozen=True)
class Visit:
    """A finished run: its record, photographs (lines of progress.jsonl) and findings.

    `reviewed` is what people decided of it; None where nobody was asked.
    """

    name: str
    record: Mapping[str, Any]
    taxonomy: Taxonomy
    progress: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]
    reviewed: Sequence[PersonsAnswer] | None = None


@dataclass(frozen=True)
class SiteObject:
    """One object of a visit. `members` are its findings, on one or several photographs, the best placed first.

    `odds` are the probabilities of the classes: the mean of its photographs, or 1 for what a person decided (`by`).
    `class_name` is empty where there is no answer. `review` is why a person should look. `at` is None where no position
    is known well enough to be compared.
    """

    members: tuple[Finding, ...]
    type_name: str
    class_name: str
    condition: str
    odds: Mapping[str, float]
    review: str = ""
    by: str = MODEL
    severity: str = ""
    rank: int | None = None
    action: str = ""

    @property
    def finding(self) -> Finding:
        """The finding that stands for it."""
        return self.members[0]

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What objects are sorted by, whatever order they came in."""
        return natural(self.finding.photo), natural(self.finding.instance_id)

    @property
    def probability(self) -> float:
        """Of its class."""
        return self.odds.get(self.class_name, 0.0)

    @property
    def exists(self) -> float:
        """How sure it is that there is an object: the detector's best confidence, 1 for what a person saw."""
        return 1.0 if self.by != MODEL else max(f.score for f in self.members)

    @property
    def at(self) -> Point | None:
        """Where it stands on the ground, if that is known to MOST_ERROR_M."""
        place = self.finding.geo_position
        known = place is not None and place.kind == "ground" and (place.error_m or 0.0) <= MOST_ERROR_M
        return place.point if known and place else None

    @property
    def error_m(self) -> float:
        """How far off `at` may be, one standard deviation."""
        place = self.finding.geo_position
        return max((place.error_m if place else None) or 0.0, LEAST_ERROR_M)


def objects_of(visit: Visit, words: Taxonomy) -> list[SiteObject]:
    """The objects of a visit, in the order of their photographs; `words` names and grades the classes.

    Findings of one group are one object, and so are those of one box on copies of a photograph; what people decided
    stands in the place of the model's answer.
    """
    groups: dict[tuple[Any, ...], list[tuple[Finding, PersonsAnswer | None]]] = defaultdict(list)
    on_copies = _on_copies(visit)
    for finding, said in _overlaid(visit, words):
        place, own = finding.geo_position, (finding.photo, finding.instance_id)
        group = (place.group,) if place and place.group else on_copies.get(own, own)
        groups[group].append((finding, said))
    return sorted((_object(members, words) for members in groups.values()), key=lambda o: o.key)


def _on_copies(visit: Visit) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What findings of one box on photographs of one content have in common, by photograph and number."""
    content = {str(r["photo"]): str(r.get("sha256", "")) for r in visit.progress}
    return {
        (f.photo, f.instance_id): (content[f.photo], f.type_name, f.instance_id, f.box.xyxy)
        for f in visit.findings
        if content.get(f.photo)
    }


def _overlaid(visit: Visit, words: Taxonomy) -> list[tuple[Finding, PersonsAnswer | None]]:
    """Findings in the names of `words` with what was decided of each; rejected ones are left out, added ones there."""
    known = {(r.photo, r.instance_id): r for r in visit.reviewed or ()}
    out: list[tuple[Finding, PersonsAnswer | None]] = []
    for finding in visit.findings:
        said = known.pop((finding.photo, finding.instance_id), None)
        if said is None or said.action != "reject":
            named = finding if visit.taxonomy is words else _renamed(finding, words)
            out.append((_decided(named, said, words), said))
    out += ((_added(said, words), said) for said in known.values() if said.action == "add" and said.box)
    moved = {i for i, (_, said) in enumerate(out) if said and said.box}
    return _placed_anew(out, moved, visit, words) if moved else out


def _renamed(finding: Finding, words: Taxonomy) -> Finding:
    """Type and classes as `words` spells them; names that it does not know stay as they are."""
    verdict = finding.verdict
    odds = {class_in(name, words): p for name, p in verdict.probabilities.items()}
    name = class_in(verdict.class_name, words) if verdict.class_name else ""
    return replace(
        finding,
        type_name=type_in(finding.type_name, words),
        verdict=replace(verdict, class_name=name, probabilities=odds),
    )


def class_in(name: str, words: Taxonomy) -> str:
    """A class by its name in `words`, or as it is."""
    with suppress(TaxonomyError):
        return words.class_of(name).name
    return name


def type_in(name: str, words: Taxonomy) -> str:
    """A type by its name in `words`, or as it is."""
    with suppress(TaxonomyError):
        return words.type_of(name).name
    return name


def condition_in(class_name: str, words: Taxonomy) -> str:
    """The condition of a class; the name itself for one that `words` does not know, so that it equals no other."""
    with suppress(TaxonomyError):
        return words.class_of(class_name).condition
    return class_name


def _decided(finding: Finding, said: PersonsAnswer | None, words: Taxonomy) -> Finding:
    if said is None:
        return finding
    finding = replace(finding, box=said.box) if said.box else finding
    if not said.decides:
        return finding
    kind = type_in(said.class_name, words) if said.class_name else finding.type_name
    place = finding.geo_position
    if place and kind != finding.type_name:  # its group was one of another type
        place = replace(place, group="", same_as=None, conditions=())
    return replace(finding, type_name=kind, verdict=_verdict(said, words), geo_position=place)


def _verdict(said: PersonsAnswer, words: Taxonomy) -> Verdict:
    if not said.class_name:
        return Verdict("", "", 0.0, {})
    name = class_in(said.class_name, words)
    return Verdict(name, condition_in(name, words), 1.0, {name: 1.0})


def _added(said: PersonsAnswer, words: Taxonomy) -> Finding:
    kind = type_in(said.class_name, words)
    return Finding(said.photo, said.instance_id, kind, said.box or Box(0, 0, 0, 0), 1.0, _verdict(said, words))


def _placed_anew(
    found: list[tuple[Finding, PersonsAnswer | None]], moved: set[int], visit: Visit, words: Taxonomy
) -> list[tuple[Finding, PersonsAnswer | None]]:
    """With positions of the boxes that people drew, and the groups that follow from them."""
    shots = {str(r["photo"]): (place_of(r), size_of(r)) for r in visit.progress}
    there = [i for i, (finding, _) in enumerate(found) if shots.get(finding.photo, (None,))[0]]
    marks = []
    for i in there:
        finding = found[i][0]
        place, size = shots[finding.photo]
        if i in moved or finding.geo_position is None:
            assert place is not None
            finding = replace(finding, geo_position=ground_position_of(place, size, finding.box))
        assert finding.geo_position is not None
        alone = replace(finding.geo_position, group="", same_as=None, conditions=())
        verdict = finding.verdict
        marks.append(
            MapMark(finding.photo, str(i), finding.type_name, verdict.condition, verdict.probability, False, alone)
        )
    by_number = {int(mark.instance_id): mark.geo_position for mark in grouped(marks, words)}
    return [(replace(f, geo_position=by_number.get(i, f.geo_position)), said) for i, (f, said) in enumerate(found)]


def place_of(record: Mapping[str, Any]) -> CameraPose | None:
    """Where a photograph was taken, if its size is known too: saved findings of other programs have none."""
    return pose_from(record.get("place")) if all(size_of(record)) else None


def size_of(record: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels of a photograph by its line of progress.jsonl."""
    wide, high = record["size"]
    return int(wide), int(high)


def _object(members: list[tuple[Finding, PersonsAnswer | None]], words: Taxonomy) -> SiteObject:
    """One object of its findings; where people decided some of them, these alone say what it is."""
    if len(members) > 1:
        members = sorted(members, key=lambda m: (_error(m[0]), natural(m[0].photo), natural(m[0].instance_id)))
    findings = [finding for finding, _ in members]
    decided = [(f, said) for f, said in members if said and said.decides]
    answered = [(f, said) for f, said in decided if said.class_name] or decided
    if answered:
        best, last = max(answered, key=lambda m: m[1].time)
        odds, by = dict(best.verdict.probabilities), f"{last.user}, {last.time}"
        review = _disputed([f for f, _ in answered], "people judged its photographs differently")
        findings.sort(key=lambda f: f is not best)  # what is shown is what was judged
    else:
        odds, by = mean_odds([f.verdict.probabilities for f in findings if f.verdict.readable]), MODEL
        review = next(filter(None, (f.verdict.review for f in findings)), "")
        review = review or _disputed(findings, "its photographs are judged differently")
    name = max(odds, key=lambda n: (odds[n], n == findings[0].verdict.class_name, n), default="")
    if not answered and len({f.verdict.class_name for f in findings}) == 1:
        name = findings[0].verdict.class_name  # a judge that writes its answer need not give the likeliest
    severity, rank, action = graded_in(name, words)
    if rank is None and findings[0].verdict.class_name == name and findings[0].grade != UNGRADED:
        severity, action = findings[0].grade.severity, findings[0].grade.action
    condition = condition_in(name, words) if name else ""
    return SiteObject(tuple(findings), findings[0].type_name, name, condition, odds, review, by, severity, rank, action)


def _error(finding: Finding) -> float:
    """What the best placed finding of a group is chosen by; those without a position are last."""
    place = finding.geo_position
    return math.inf if place is None or place.error_m is None else place.error_m


def _disputed(findings: Sequence[Finding], what: str) -> str:
    names = sorted({f.verdict.class_name for f in findings if f.verdict.class_name})
    return f"{what}: {' and '.join(names)}" if len(names) > 1 else ""


def mean_odds(odds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several vectors of probabilities; a class that one of them does not name has 0 there.

    >>> mean_odds([{"a": 1.0}, {"a": 0.5, "b": 0.5}])
    {'a': 0.75, 'b': 0.25}
    """
    names = dict.fromkeys(name for one in odds for name in one)
    return {name: math.fsum(one.get(name, 0.0) for one in odds) / len(odds) for name in names}


def graded_in(class_name: str, words: Taxonomy) -> tuple[str, int | None, str]:
    """Severity, its rank (None where nothing grades it) and what to do."""
    advice = words.grading.of(class_name)
    return (advice.severity, words.grading.rank(advice.severity), advice.action) if advice.severity else ("", None, "")


@dataclass(frozen=True)
class Area:
    """The ground that one photograph shows, a convex polygon in meters from a start that all share."""

    photo: str
    corners: NDArray[np.float64]

    def depth(self, at: Meters) -> float:
        """Meters from a point to the nearest edge; below 0 outside.

        >>> square = Area("a", np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]))
        >>> square.depth(Meters(5, 2)), square.depth(Meters(-1, 5))
        (2.0, -1.0)
        """
        edges = np.roll(self.corners, -1, axis=0) - self.corners
        ways = np.array(at) - self.corners
        cross = edges[:, 0] * ways[:, 1] - edges[:, 1] * ways[:, 0]
        around = float(np.sum(self.corners[:, 0] * edges[:, 1] - self.corners[:, 1] * edges[:, 0]))
        lengths = np.hypot(edges[:, 0], edges[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(lengths > 0, cross / lengths, math.inf)
        return float(away.min() if around >= 0 else (-away).min())


@dataclass(frozen=True)
class Seen:
    """What a visit looked at: its photographs by name and by content, those that failed, and the ground in them.

    `blind` are photographs whose ground is not known; `placed` says whether any has a position at all.
    """

    photos: Mapping[str, Mapping[str, Any]]
    failed: frozenset[str]
    by_content: Mapping[str, tuple[str, ...]]
    areas: tuple[Area, ...]
    blind: int
    placed: bool
    start: Point
    _low: NDArray[np.float64] = field(repr=False)
    _high: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, visit: Visit, start: Point) -> Seen:
        """Of a visit; `start` is any point that is near or not."""
        good = {str(r["photo"]): r for r in visit.progress if not r.get("failed")}
        failed = frozenset(str(r["photo"]) for r in visit.progress if r.get("failed"))
        by_content: dict[str, list[str]] = defaultdict(list)
        for name in sorted(good, key=natural):
            by_content[str(good[name].get("sha256", ""))].append(name)
        by_content.pop("", None)
        areas = tuple(_areas(good, start))
        low = np.array([a.corners.min(axis=0) for a in areas]).reshape(-1, 2)
        high = np.array([a.corners.max(axis=0) for a in areas]).reshape(-1, 2)
        contents = {digest: tuple(names) for digest, names in by_content.items()}
        placed = any(r.get("place") for r in good.values())
        return cls(good, failed, contents, areas, len(good) - len(areas), placed, start, low, high)

    def covering(self, at: Point) -> list[tuple[float, str]]:
        """Photographs that show a point, the one with the most ground around it first: depth in meters and name."""
        flat = flat_from(self.start, at)
        near = np.flatnonzero(((self._low <= flat) & (flat <= self._high)).all(axis=1)) if self.areas else ()
        depths = [(self.areas[i].depth(flat), self.areas[i].photo) for i in near]
        return sorted((d for d in depths if d[0] >= 0), key=lambda d: (-d[0], natural(d[1])))

    def views(self, record: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Photographs of this visit that are the same as one of the other, with how that is known: content, name.

        A photograph of the same name that was taken elsewhere is another one: cameras count from 1 on every flight.
        """
        digest, name = str(record.get("sha256", "")), str(record["photo"])
        same = [(photo, "content") for photo in self.by_content.get(digest, ())] if digest else []
        there = self.photos.get(name)
        if there is not None and name not in dict(same) and _may_be_one_view(record, there):
            same.append((name, "name"))
        return same


def _areas(photos: Mapping[str, Mapping[str, Any]], start: Point) -> Iterator[Area]:
    for name in sorted(photos, key=natural):
        place = place_of(photos[name])
        corners = footprint(place, size_of(photos[name])) if place else []
        if corners:
            yield Area(name, np.array([flat_from(start, corner) for corner in corners], dtype=np.float64))


def _may_be_one_view(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether positions, where both photographs have one, do not speak against it."""
    places = pose_from(a.get("place")), pose_from(b.get("place"))
    if places[0] is None or places[1] is None:
        return True
    return math.hypot(*between(places[0].point, places[1].point)) <= SAME_VIEW_M


def start_of(visits: Iterable[Visit]) -> Point:
    """A point that all distances of these visits are measured from: where their first photograph was taken."""
    places: Iterator[CameraPose | None] = (pose_from(r.get("place")) for visit in visits for r in visit.progress)
    known = sorted(place.point for place in places if place)
    return known[0] if known else Point(0.0, 0.0)
