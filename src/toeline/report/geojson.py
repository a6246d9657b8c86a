"""GeoJSON as RFC 7946 has it: WGS 84, longitude before latitude, rings counterclockwise, nothing across 180 degrees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from toeline.core.place import Point, wrapped
from toeline.relate.ground import clipped

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


def feature(geometry: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """A feature; what is an empty text is null."""
    known = {name: None if value == "" else value for name, value in properties.items()}
    return {"type": "Feature", "geometry": geometry, "properties": known}


def collection(name: str, about: str, features: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The text of a file in pieces, one feature a line. `name` becomes the layer's, `about` is there for people."""
    head = f'"name": {json.dumps(name)}, "about": {json.dumps(about, ensure_ascii=False)}'
    yield f'{{"type": "FeatureCollection", {head}, "features": ['
    for number, one in enumerate(features):
        yield ("," if number else "") + "\n" + json.dumps(one, ensure_ascii=False, allow_nan=False)
    yield "\n]}\n"
