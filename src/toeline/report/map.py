"""A map of a run as inline SVG: flight path, footprints and findings. It needs no tiles, no script and no network."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from toeline.core.geo import Meters
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.report.camera_geometry import footprint
from toeline.report.document import percent
from toeline.report.draw import legend
from toeline.report.finding_rows import facets
from toeline.report.geolocate import Located, MapMark, Shot, position_words, same_words

WIDE, LEAST_HIGH, MOST_HIGH, RIM = 1000.0, 260.0, 640.0, 34.0  # units of the drawing
LEAST_M = 40.0  # a single photograph is not drawn larger than this many meters across
MOST_MARKS, MOST_SHOTS, MOST_AREAS = 3000, 3000, 400  # what a browser draws without a pause
LANDED = timedelta(minutes=10)  # a longer pause between photographs is another flight
SHAPES = 4  # circle, diamond, square, triangle: condition is told twice, as on the pictures
RING = 2.6  # findings that are only known to be at the camera stand round it, at so many radii

Links = Mapping[tuple[str, str], str]  # (photograph, finding id or empty) -> link
XY = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """From meters to units of the drawing; y goes down, north is up."""

    west: float
    north: float
    scale: float
    high: float

    def xy(self, at: Meters) -> XY:
        return round(RIM + (at.east - self.west) * self.scale, 1), round(RIM + (self.north - at.north) * self.scale, 1)


def map_section(located: Located | None, taxonomy: Taxonomy, links: Links) -> dict[str, Any] | None:
    """What the template draws, in units of the drawing; None when no photograph has a position."""
    if located is None:
        return None
    marks, shots = thinned(located.marks, taxonomy), located.shots[:MOST_SHOTS]
    areas = [[located.flat(p) for p in footprint(s.place, s.size_wh)] for s in located.shots[:MOST_AREAS]]
    frame = framed(
        [*(located.flat(s.place.point) for s in located.shots), *_geo_positions(located, marks), *_flatten(areas)]
    )
    radius = 7.0 if len(marks) < 300 else 5.0 if len(marks) < 1200 else 3.5
    at = placed(located, marks, frame, radius)
    return {
        "wide": WIDE,
        "high": frame.high,
        "radius": radius,
        "paths": [_line(frame.xy(located.flat(s.place.point)) for s in flight) for flight in flights(located.shots)],
        "areas": [_line(map(frame.xy, area)) for area in areas if area],
        "shots": [_shot(s, frame.xy(located.flat(s.place.point)), links) for s in shots],
        "same": list(_same(marks, at)),
        "marks": [_mark(m, at[m.photo, m.instance_id], radius, taxonomy, links) for m in marks],
        "key": [
            (name, f"c{n}", shape(0, 0, 6, n), color) for n, (name, (color, _)) in enumerate(legend(taxonomy).items())
        ],
        "bar": scale_bar(frame.scale),
        "notes": _notes(located, marks),
    }


def sketched(located: Located | None, taxonomy: Taxonomy) -> Located | None:
    """The same with no more findings than the map draws: of a million, the others take a gigabyte."""
    if located is None:
        return None
    return replace(located, marks=thinned(located.marks, taxonomy), counts=located.counted)


def on_map(located: Located | None) -> set[tuple[str, str]]:
    """What a sketched map can link to: findings, and photographs with an empty id."""
    if located is None:
        return set()
    return {(s.photo, "") for s in located.shots[:MOST_SHOTS]} | {(m.photo, m.instance_id) for m in located.marks}


def framed(points: Sequence[Meters]) -> Frame:
    """The frame that holds all points with a rim, as large as the drawing allows."""
    west, east = min(p.east for p in points), max(p.east for p in points)
    south, north = min(p.north for p in points), max(p.north for p in points)
    wide, high = max(east - west, LEAST_M), max(north - south, LEAST_M / 4)
    scale = min((WIDE - 2 * RIM) / wide, (MOST_HIGH - 2 * RIM) / high)
    tall = max(LEAST_HIGH, high * scale + 2 * RIM)
    spare_x = ((WIDE - 2 * RIM) / scale - (east - west)) / 2
    spare_y = ((tall - 2 * RIM) / scale - (north - south)) / 2
    return Frame(west - spare_x, north + spare_y, scale, round(tall, 1))


def _geo_positions(located: Located, marks: Sequence[MapMark]) -> list[Meters]:
    return [located.flat(m.geo_position.point) for m in marks]


def _flatten(areas: Iterable[Sequence[Meters]]) -> list[Meters]:
    return [point for area in areas for point in area]


def thinned(marks: Sequence[MapMark], taxonomy: Taxonomy) -> list[MapMark]:
    """At most MOST_MARKS, drawn in the order of the taxonomy's conditions, so that the first of them lies undermost.

    Where there are too many, what stands on another photograph as well goes first, then the first condition.
    """
    rank = {c.name: n for n, c in enumerate(taxonomy.conditions)}
    kept = sorted(marks, key=lambda m: (m.geo_position.same_as is not None, -rank[m.condition]))[:MOST_MARKS]
    return sorted(kept, key=lambda m: rank[m.condition])


def placed(located: Located, marks: Sequence[MapMark], frame: Frame, radius: float) -> dict[tuple[str, str], XY]:
    """Where each finding is drawn: on its ground, or round the camera that saw it."""
    at = {(m.photo, m.instance_id): frame.xy(located.flat(m.geo_position.point)) for m in marks}
    around: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for m in marks:
        if m.geo_position.kind == "camera":
            around[m.photo].append((m.photo, m.instance_id))
    for keys in around.values():
        for turn, key in enumerate(sorted(keys)):
            angle, out = 2 * math.pi * turn / len(keys), radius * RING * max(1.0, len(keys) / 7)
            x, y = at[key]
            at[key] = round(x + out * math.sin(angle), 1), round(y - out * math.cos(angle), 1)
    return at


def flights(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Photographs in the order of their times, cut where the drone had landed; in the order given without times."""
    times = [_moment(s.place.time) for s in shots]
    known = [t for t in times if t is not None]
    if len(known) < len(shots) or len({t.tzinfo is None for t in known}) > 1:
        return [list(shots)]
    order = sorted(range(len(shots)), key=lambda i: (known[i], i))
    lines = [[shots[order[0]]]]
    for before, i in pairwise(order):
        if known[i] - known[before] > LANDED:
            lines.append([])
        lines[-1].append(shots[i])
    return lines


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _line(points: Iterable[XY]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _shot(shot: Shot, at: XY, links: Links) -> dict[str, Any]:
    place = shot.place
    facts = [shot.photo, place.time.replace("T", " ")]
    facts.append(f"{place.height_m:.0f} m above take-off" if place.height_m is not None else "")
    return {"x": at[0], "y": at[1], "href": links.get((shot.photo, ""), ""), "title": _joined(facts)}


def _mark(mark: MapMark, at: XY, radius: float, taxonomy: Taxonomy, links: Links) -> dict[str, Any]:
    order = [c.name for c in taxonomy.conditions].index(mark.condition)
    kind, sure = taxonomy.spoken(mark.kind), percent(mark.probability) if mark.asked else "only answer"
    said = f"{kind} {mark.instance_id}: {mark.condition}, {sure}"
    review = "to review" if mark.review else ""
    found = {
        "d": shape(*at, radius, order),
        "slug": f"c{order}",
        "color": taxonomy.color(mark.condition),
        "camera": mark.geo_position.kind == "camera",
        "key": links.get((mark.photo, mark.instance_id), ""),
        "kind": kind,
        "condition": mark.condition,
        "review": mark.review,
        "immediate": mark.immediate,
        "asked": mark.asked,
        "title": _joined([said, mark.photo, position_words(mark.geo_position), same_words(mark.geo_position), review]),
    }
    return {**found, "facets": Markup(facets(found))}


def _joined(facts: Iterable[str]) -> str:
    return "\n".join(filter(None, facts))


def _same(marks: Sequence[MapMark], at: Mapping[tuple[str, str], XY]) -> Iterator[str]:
    """A line from each finding to the one that it is likely the same as."""
    for mark in marks:
        if mark.geo_position.same_as in at and mark.geo_position.same_as is not None:
            yield _line((at[mark.photo, mark.instance_id], at[mark.geo_position.same_as]))


def shape(x: float, y: float, r: float, number: int) -> str:
    """SVG path data of the mark of condition `number`: a circle, a diamond, a square, a triangle.

    >>> shape(0, 0, 2, 2)
    'M-1.8,-1.8H1.8V1.8H-1.8Z'
    """
    kind = number % SHAPES
    if kind == 0:
        return f"M{x - r:g},{y:g}a{r:g},{r:g} 0 1,0 {2 * r:g},0a{r:g},{r:g} 0 1,0 {-2 * r:g},0Z"
    s = r * (1.25 if kind == 1 else 0.9 if kind == 2 else 1.2)
    if kind == 1:
        return f"M{x:g},{y - s:g}L{x + s:g},{y:g}L{x:g},{y + s:g}L{x - s:g},{y:g}Z"
    if kind == 2:
        return f"M{x - s:g},{y - s:g}H{x + s:g}V{y + s:g}H{x - s:g}Z"
    return f"M{x:g},{y - s:g}L{x + s:g},{y + s:g}H{x - s:g}Z"


def scale_bar(scale: float) -> dict[str, Any]:
    """A length of 1, 2 or 5 times a power of ten that takes up to a quarter of the width.

    >>> scale_bar(2.0)["text"], scale_bar(0.01)["text"]
    ('100 m', '20 km')
    """
    most = WIDE / 4 / scale
    power = 10.0 ** math.floor(math.log10(most))
    length = next(step * power for step in (5, 2, 1) if step * power <= most)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return {"wide": round(length * scale, 1), "text": text}


def _notes(located: Located, marks: Sequence[MapMark]) -> list[str]:
    """What the map does not show, and how sure it is."""
    counts, without = located.counted, located.photographs - len(located.shots)
    notes = []
    if counts.ground:
        notes.append("Positions on the ground are approximate: flat ground at the height of take-off is assumed.")
    if counts.ground < counts.findings:
        alone = some(counts.findings - counts.ground, "finding")
        notes.append(f"{alone} drawn hollow round the camera: height or attitude is not known, or the view too flat.")
    if counts.groups:
        told = f"{some(counts.groups, 'object')} likely seen on more than one photograph, joined by lines"
        notes.append(f"{told}; judged differently: {counts.disputed}." if counts.disputed else f"{told}.")
    if without:
        notes.append(f"{some(without, 'photograph')} without a position.")
    if len(marks) < counts.findings:
        notes.append(f"{len(marks):,} of {counts.findings:,} findings are drawn; all are in findings.geojson.")
    return notes
