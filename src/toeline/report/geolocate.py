"""Where findings are: positions from those of the photographs, likely the same objects, and the GeoJSON of both.

Works on a run's folder when the last photograph is done: only then is it known what was seen twice. Of a finding no
more than its Mark is in memory.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from sys import intern
from typing import IO, Any

import numpy as np

from toeline.core.box import Box
from toeline.core.geo import CameraPose, GeoPosition, Meters, Point, between, geo_position_record, pose_from, wrapped
from toeline.core.reading import number, whole, word
from toeline.core.records import ENCODED, each_line, finding_from, to_line
from toeline.core.run_folder import FINDINGS, PROGRESS, written
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut
from toeline.data.images import natural
from toeline.errors import OutputError
from toeline.report.camera_geometry import clipped, footprint, ground_position_of

POINTS, AREAS = "findings.geojson", "footprints.geojson"
GRADES = ("severity", "severity_rank", "action", "immediate", "immediate_reason")  # passed on where a run has them
ABOUT_POINTS = (
    "Positions are approximate. position 'ground': the box projected on flat ground at the height of take-off, off by "
    "about error_m (GPS 3 m, height 10 %, pitch 1 degree, yaw 3 degrees assumed). position 'camera': where the "
    "photograph was taken from, because its height or attitude is not known. Without same_as, each object once."
)
ABOUT_AREAS = (
    "Approximate ground of each photograph: flat ground at the height of take-off, a pinhole camera, cut off where the "
    "view is flatter than 10 degrees."
)


@dataclass(frozen=True)
class Shot:
    """A photograph whose position is known, `size_wh` in pixels upright."""

    photo: str
    size_wh: tuple[int, int]
    place: CameraPose


@dataclass(frozen=True, slots=True)
class MapMark:
    """What a map says of a finding; slots, because a run may have a million."""

    photo: str
    instance_id: str
    kind: str
    condition: str
    probability: float
    review: bool
    geo_position: GeoPosition
    immediate: bool = False
    asked: bool = True


@dataclass(frozen=True)
class MarkCounts:
    """How many findings have a position, how many of them on the ground; objects seen more than once, and disputed."""

    findings: int
    ground: int
    groups: int
    disputed: int

    @classmethod
    def of(cls, marks: Sequence[MapMark]) -> MarkCounts:
        """Counted."""
        places = [m.geo_position for m in marks]
        return cls(
            findings=len(places),
            ground=sum(p.kind == "ground" for p in places),
            groups=len({p.group for p in places if p.group}),
            disputed=len({p.group for p in places if p.disputed}),
        )


@dataclass(frozen=True)
class Located:
    """Photographs and findings with a position, in the run's order; `photographs` counts all of the run.

    `counts` are of all findings where `marks` holds only those that a map draws.
    """

    shots: tuple[Shot, ...]
    marks: Sequence[MapMark]
    photographs: int
    counts: MarkCounts | None = None

    @property
    def counted(self) -> MarkCounts:
        """What the findings with a position come to."""
        return self.counts or MarkCounts.of(self.marks)

    def flat(self, at: Point) -> Meters:
        """East and north of the first photograph, for distances between near points, wherever on Earth they are."""
        return flat_from(self.shots[0].place.point, at)


def locate(folder: Path, taxonomy: Taxonomy) -> Located | None:
    """Write the positions into findings.jsonl, and findings.geojson and footprints.geojson beside it.

    None, and no such files, when no photograph of the run has a position.
    """
    number, shots = 0, dict[str, Shot]()
    for _, record in each_line(folder / PROGRESS):
        number += 1
        if shot := _shot(record):
            shots[shot.photo] = shot
    if not shots:
        for name in (POINTS, AREAS):
            (folder / name).unlink(missing_ok=True)
        return None
    records = (record for _, record in each_line(folder / FINDINGS))
    marks = grouped([_mark(r, shots[r["photo"]]) for r in records if r["photo"] in shots], taxonomy)
    located = Located(tuple(shots.values()), marks, number)
    _write(folder, located)
    return located


def _write(folder: Path, located: Located) -> None:
    times = {s.photo: s.place.time for s in located.shots}
    with written(folder / FINDINGS) as file:
        points = _positioned(folder, times, iter(located.marks), file)
        write_collection(folder / POINTS, collection("findings", ABOUT_POINTS, points))
    write_collection(folder / AREAS, collection("footprints", ABOUT_AREAS, _areas(located)))


def _positioned(
    folder: Path, times: Mapping[str, str], marks: Iterator[MapMark], file: IO[bytes]
) -> Iterator[dict[str, Any]]:
    """Write each line of findings.jsonl with its position into `file`, and give those that have one as features."""
    for line, record in each_line(folder / FINDINGS):
        if record["photo"] not in times:
            file.write(line)
            continue
        position = geo_position_record(next(marks).geo_position)
        file.write(_with_position(line, record, position))
        record |= position
        yield finding_feature(record, times[record["photo"]])


def _with_position(line: bytes, record: Mapping[str, Any], position: Mapping[str, Any]) -> bytes:
    """The line with this position at its end, in place of one of before."""
    if "position" in record:
        kept = {name: value for name, value in record.items() if name not in position}
        return to_line({**kept, **position}).encode("utf-8")
    return line.rstrip()[:-1] + b", " + to_line(position).encode("utf-8")[1:]


def write_collection(path: Path, parts: Iterable[str]) -> None:
    """Write the pieces of a `collection`."""
    with written(path) as file:
        file.writelines(part.encode("utf-8") for part in parts)


def _shot(record: Mapping[str, Any]) -> Shot | None:
    place = pose_from(record.get("place"))
    if place is None:
        return None
    try:
        wide, high = (whole(side, "size", low=0, high=1_000_000) for side in record["size"])
        return Shot(word(record["photo"], "photo"), (wide, high), place)
    except (KeyError, TypeError, ValueError) as why:
        raise OutputError(f"{PROGRESS}: a line is damaged ({cut(str(why))}). Use another output folder.") from None


def _mark(record: Mapping[str, Any], shot: Shot) -> MapMark:
    """What the map needs of a line, with texts that many share; the rest of it is checked where it is used."""
    try:
        return MapMark(
            shot.photo,
            intern(record["id"]),
            intern(record["type"]),
            intern(record["condition"]),
            number(record["probability"], "probability", low=0, high=1),
            bool(record["review_reason"]),
            ground_position_of(shot.place, shot.size_wh, Box(*(number(v, "box") for v in record["box"]))),
            bool(record.get("immediate_reason")),
            bool(record["asked"]),
        )
    except (KeyError, TypeError, ValueError):
        finding_from(record)  # says what is wrong
        raise


def grouped(marks: list[MapMark], taxonomy: Taxonomy) -> list[MapMark]:
    """The same list, with a group for those that are likely one object. The one that is placed best stands for all.

    The marks are exchanged in the list itself: of a million, a second one takes a quarter of a gigabyte. Groups are
    found and numbered in the natural order of the photographs, so that they are the same whichever photograph was done
    first.
    """
    ranks = {photo: rank for rank, photo in enumerate(sorted({m.photo for m in marks}, key=natural))}
    ground = (i for i, mark in enumerate(marks) if mark.geo_position.kind == "ground")
    seen = sorted(ground, key=lambda i: ranks[marks[i].photo])
    start = marks[seen[0]].geo_position.point if seen else Point(0, 0)
    groups = groups_of([_seen(marks[i], start) for i in seen])
    told: dict[frozenset[str], tuple[str, ...]] = {}  # conditions of a group, in their order, once for all groups
    for n, group in enumerate(groups, start=1):
        members = [seen[i] for i in group]
        best = min(members, key=lambda i: marks[i].geo_position.error_m or 0.0)
        given = frozenset(marks[i].condition for i in members)
        if given not in told:
            told[given] = tuple(c.name for c in taxonomy.conditions if c.name in given)
        name, other = f"g{n}", (marks[best].photo, marks[best].instance_id)
        for i in members:
            at, same = marks[i].geo_position, None if i == best else other
            placed = GeoPosition(at.latitude, at.longitude, at.kind, at.error_m, name, same, told[given])
            marks[i] = replace(marks[i], geo_position=placed)
    return marks


def _seen(mark: MapMark, start: Point) -> LocatedFinding:
    return LocatedFinding(
        mark.photo, mark.kind, flat_from(start, mark.geo_position.point), mark.geo_position.error_m or 0.0
    )


def flat_from(start: Point, at: Point) -> Meters:
    """Meters from `start`, east at the latitude of `at` itself: near points keep their distance, however far away."""
    return Meters(between(Point(at.latitude, start.longitude), at).east, between(start, at).north)


def finding_feature(record: Mapping[str, Any], time: str = "") -> dict[str, Any]:
    """A line of findings.jsonl as a feature; without a geometry where no position is known (RFC 7946, section 3.2)."""
    at, same = record.get("position"), record.get("same_as")
    properties = {
        "photo": record["photo"],
        "id": record["id"],
        "type": record["type"],
        "class": record["class"],
        "condition": record["condition"],
        "probability": record["probability"],
        "review": record["review"],
        "review_reason": record["review_reason"],
        **{name: record[name] for name in GRADES if name in record},
        "position": at["kind"] if at else None,
        "error_m": at["error_m"] if at else None,
        "time": time,
        "group": record.get("group"),
        "same_as": f"{same['photo']} {same['id']}" if same else None,
        "group_conditions": ", ".join(record.get("group_conditions", ())),
    }
    return feature(point_geometry(Point(at["latitude"], at["longitude"])) if at else None, properties)


def _areas(located: Located) -> Iterator[dict[str, Any]]:
    """One feature for each photograph of which the ground is known; the others have none."""
    for shot in located.shots:
        corners, place = footprint(shot.place, shot.size_wh), shot.place
        if corners:
            properties = {
                "photo": shot.photo,
                "approximate": True,
                "latitude": place.latitude,
                "longitude": place.longitude,
                "altitude_m": place.altitude_m,
                "height_m": place.height_m,
                "yaw": place.yaw,
                "pitch": place.pitch,
                "roll": place.roll,
                "time": place.time,
            }
            yield feature(area_geometry(corners), properties)


def position_words(geo_position: GeoPosition | None) -> str:
    """Where a thing is, for people: degrees with hemispheres, and how certain.

    >>> position_words(GeoPosition(-33.9, 18.4, "ground", 4.2)), position_words(None)
    ('33.90000° S, 18.40000° E, give or take 4 m', '')
    """
    if geo_position is None:
        return ""
    at = (
        f"{abs(geo_position.latitude):.5f}° {'S' if geo_position.latitude < 0 else 'N'}, "
        f"{abs(geo_position.longitude):.5f}° {'W' if geo_position.longitude < 0 else 'E'}"
    )
    return (
        f"{at}, give or take {geo_position.error_m:.0f} m"
        if geo_position.error_m is not None
        else f"{at}, where the camera was"
    )


def same_words(geo_position: GeoPosition | None) -> str:
    """Which other findings are likely of the same object, and whether they agree; empty for one that stands alone."""
    if geo_position is None or not geo_position.group:
        return ""
    which = (
        f"Likely the same as {' '.join(geo_position.same_as)}"
        if geo_position.same_as
        else "Likely seen on other photographs too"
    )
    judged = f"; judged differently there: {' and '.join(geo_position.conditions)}" if geo_position.disputed else ""
    return f"{which} ({geo_position.group}){judged}"


DIGITS = 7  # of degrees: a centimeter
Ring = list[tuple[float, float]]  # longitude, latitude


def point_geometry(at: Point) -> dict[str, Any]:
    """A point.

    >>> point_geometry(Point(-33.9, 18.4))
    {'type': 'Point', 'coordinates': [18.4, -33.9]}
    """
    return {"type": "Point", "coordinates": _position((at.longitude, at.latitude))}


def area_geometry(corners: Sequence[Point]) -> dict[str, Any]:
    """A polygon of corners counterclockwise; two, of one feature, where it crosses the 180th meridian (section 3.1.9).

    >>> ring = [Point(0, 179.5), Point(0, -179.5), Point(1, -179.5)]
    >>> [sorted({x for x, _ in part[0]}) for part in area_geometry(ring)["coordinates"]]
    [[179.5, 180.0], [-180.0, -179.5]]
    """
    ring = _unrolled(corners)
    edge = 180.0 if max(x for x, _ in ring) > 180 else -180.0
    if all(abs(x) <= 180 for x, _ in ring):
        return {"type": "Polygon", "coordinates": [_closed(ring)]}
    parts = [(clipped(ring, [side * (x - edge) for x, _ in ring]), side) for side in (-1, 1)]
    beyond = 1 if edge > 0 else -1  # the part on this side of the edge belongs on the other side of the map
    moved = [[(x - 2 * edge, y) if side == beyond else (x, y) for x, y in part] for part, side in parts]
    return {"type": "MultiPolygon", "coordinates": [[_closed(part)] for part in moved]}


def _unrolled(corners: Sequence[Point]) -> Ring:
    """Longitudes without a jump: they go on beyond 180 where the ring does."""
    ring = [(corners[0].longitude, corners[0].latitude)]
    for before, corner in pairwise(corners):
        ring.append((ring[-1][0] + wrapped(corner.longitude - before.longitude), corner.latitude))
    return ring


def _closed(ring: Ring) -> list[list[float]]:
    return [_position(corner) for corner in (*ring, ring[0])]


def _position(at: tuple[float, float]) -> list[float]:
    return [round(at[0], DIGITS), round(at[1], DIGITS)]


def feature(geometry: Mapping[str, Any] | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A feature; what is an empty text is null."""
    known = {name: None if value == "" else value for name, value in properties.items()}
    return {"type": "Feature", "geometry": geometry, "properties": known}


def collection(name: str, about: str, features: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The text of a file in pieces, one feature a line. `name` becomes the layer's, `about` is there for people."""
    head = f'"name": {json.dumps(name)}, "about": {json.dumps(about, ensure_ascii=False)}'
    yield f'{{"type": "FeatureCollection", {head}, "features": ['
    for n, one in enumerate(features):
        yield ("," if n else "") + "\n" + ENCODED(one)
    yield "\n]}\n"


MOST_ERROR_M = 20.0  # what is less certain than this is not compared: around it too much is "near"


@dataclass(frozen=True, slots=True)
class LocatedFinding:
    """One thing as one photograph shows it: `at` in meters from any point that all share, right to about `error_m`."""

    photo: str
    type_name: str
    at: Meters
    error_m: float


def groups_of(seen: Sequence[LocatedFinding]) -> list[list[int]]:
    """Groups of two or more places in `seen`, each sorted, in the order of their first.

    In a group all are of one type, each from another photograph, and any two lie within their combined error. The
    nearest pairs are joined first (complete linkage), equal ones by their order, so that the same list gives the same
    groups.
    """
    group_of: dict[int, list[int]] = {}
    for i, j in _near(seen):
        a, b = group_of.setdefault(i, [i]), group_of.setdefault(j, [j])
        if a is not b and _may_join(seen, a, b):
            a.extend(b)
            group_of.update(dict.fromkeys(b, a))
    whole = {id(group): sorted(group) for group in group_of.values() if len(group) > 1}
    return sorted(whole.values())


def _may_join(seen: Sequence[LocatedFinding], a: Sequence[int], b: Sequence[int]) -> bool:
    photos = {seen[i].photo for i in a}
    return all(seen[j].photo not in photos and all(within(seen[i], seen[j]) for i in a) for j in b)


def within(a: LocatedFinding, b: LocatedFinding) -> bool:
    """Whether two positions differ by no more than both may be off together.

    >>> a, b = (LocatedFinding(p, "toe_drain", Meters(x, 0), 3) for p, x in (("a", 0), ("b", 4)))
    >>> within(a, b), within(a, LocatedFinding("c", "toe_drain", Meters(5, 0), 3))
    (True, False)
    """
    return math.dist(a.at, b.at) <= math.hypot(a.error_m, b.error_m)


def _near(seen: Sequence[LocatedFinding]) -> Iterator[tuple[int, int]]:
    """Pairs of one type that may be the same, the nearest first; of equal distance, the first first."""
    by_type: dict[str, list[int]] = defaultdict(list)
    for i, s in enumerate(seen):
        if s.error_m <= MOST_ERROR_M:
            by_type[s.type_name].append(i)
    found = [pairs for members in by_type.values() for pairs in _pairs(seen, np.array(members))]
    if not found:
        return
    distance, first, second = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((second, first, distance))
    for start in range(0, len(order), CHUNK):  # in pieces: as numbers of Python they take ten times the memory
        some = order[start : start + CHUNK]
        yield from zip(first[some].tolist(), second[some].tolist(), strict=True)


CHUNK = 20_000
Pairs = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


def _pairs(seen: Sequence[LocatedFinding], members: np.ndarray[Any, Any]) -> Iterator[Pairs]:
    """Distances and indices of all pairs of `members` that may lie within their errors; which do, `within` says."""
    from scipy.spatial import KDTree

    at = np.array([seen[i].at for i in members])
    error = np.array([seen[i].error_m for i in members])
    tree, farthest = KDTree(at), error.max()
    for start in range(0, len(members), CHUNK):
        some = slice(start, start + CHUNK)
        near = tree.query_ball_point(at[some], NEARLY * np.hypot(error[some], farthest))
        i = np.repeat(np.arange(start, start + len(near)), [len(one) for one in near])
        j = np.fromiter(chain.from_iterable(near), dtype=np.int64, count=len(i))
        i, j = i[i < j], j[i < j]
        distance = np.hypot(*(at[i] - at[j]).T)
        kept = distance <= NEARLY * np.hypot(error[i], error[j])
        yield distance[kept], members[i[kept]], members[j[kept]]


NEARLY = 1 + 1e-9  # more than what two ways to compute a distance differ by
