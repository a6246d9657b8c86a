"""Where a photograph was taken, and where on Earth an object is. Degrees and meters; WGS 84."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from toeline.core.reading import number, word

EQUATOR_M, FLATTENING = 6_378_137.0, 1 / 298.257223563  # of the ellipsoid of WGS 84
ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)
LEAST_COSINE = 1e-6  # nearer to a pole than half a meter, east has no meaning


class Point(NamedTuple):
    """Degrees north (-90 to 90) and degrees east (-180 to 180)."""

    latitude: float
    longitude: float


class Meters(NamedTuple):
    """A way on the ground."""

    east: float
    north: float


@dataclass(frozen=True)
class CameraPose:
    """Where a photograph was taken and how the camera looked; what the file does not say is None.

    `altitude_m` is above the sea as the camera says, `height_m` above the point of take-off. `yaw` is in degrees
    clockwise from north, `pitch` 0 at the horizon and -90 straight down, `roll` clockwise as the camera sees it: turned
    in this order, of the photograph as it is stored. `focal` is the focal length as a share of the photograph's
    diagonal, so that it holds for a copy of any size. `time` is ISO 8601, with its zone if that is known, or empty.
    A map (a part of an orthomosaic) has no camera: its `corners` are there instead, latitude and longitude of upper
    left, upper right, lower right and lower left, and its position is their middle.
    Raises ValueError for a position that is not on Earth.
    """

    latitude: float
    longitude: float
    altitude_m: float | None = None
    height_m: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    focal: float | None = None
    time: str = ""
    corners: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of_map(cls, corners: Sequence[tuple[float, float]]) -> CameraPose:
        """The place of a map by its four corners."""
        latitude = sum(at for at, _ in corners) / len(corners)
        first = corners[0][1]
        longitude = first + sum(wrapped(at - first) for _, at in corners) / len(corners)
        return cls(latitude, wrapped(longitude), corners=tuple(corners))

    def __post_init__(self) -> None:
        if not (abs(self.latitude) <= 90 and abs(self.longitude) <= 180):  # not: NaN compares as False
            raise ValueError(f"latitude {self.latitude:g}, longitude {self.longitude:g} is not on Earth")

    @property
    def point(self) -> Point:
        return Point(self.latitude, self.longitude)


@dataclass(frozen=True, slots=True)
class GeoPosition:
    """Where the object of one finding is: on the ground, or only at the camera that saw it.

    `error_m` is how far off a position on the ground may be, about one standard deviation; None at the camera.
    Findings that are likely the same object, seen in several photographs, share a `group`; all but one of them say by
    photo and id which one they are `same_as`. `conditions` are those that the group was given, each once.
    """

    latitude: float
    longitude: float
    kind: Literal["ground", "camera"]
    error_m: float | None = None
    group: str = ""
    same_as: tuple[str, str] | None = None
    conditions: tuple[str, ...] = ()

    @property
    def point(self) -> Point:
        return Point(self.latitude, self.longitude)

    @property
    def disputed(self) -> bool:
        """Whether the photographs of one object disagree on its condition."""
        return len(self.conditions) > 1


def moved(start: Point, way: Meters) -> Point:
    """The point at the end of a way of at most some kilometers.

    By the two radii of curvature at `start` (Torge and Mueller, Geodesy, 4th edition, section 4.1.3); at 2 km off by
    less than a meter up to 60 degrees of latitude. Passes the 180th meridian.

    >>> moved(Point(0.0, 179.9999), Meters(22.26, 0))
    Point(latitude=0.0, longitude=-179.9999...)
    """
    meridian, parallel = _radii(start.latitude)
    latitude = start.latitude + math.degrees(way.north / meridian)
    longitude = start.longitude + math.degrees(way.east / parallel)
    return Point(round(max(-90.0, min(90.0, latitude)), 9), round(wrapped(longitude), 9))


def between(start: Point, end: Point) -> Meters:
    """The way from one point to another that is near: the reverse of `moved`.

    >>> between(Point(-33.0, 18.0), Point(-33.001, 18.0)).north
    -110.9...
    """
    meridian, parallel = _radii(start.latitude)
    east = math.radians(wrapped(end.longitude - start.longitude)) * parallel
    return Meters(east, math.radians(end.latitude - start.latitude) * meridian)


def wrapped(degrees: float) -> float:
    """An angle or a longitude brought to -180 up to 180.

    >>> wrapped(190.0), wrapped(-180.0), wrapped(180.0), wrapped(12.5)
    (-170.0, -180.0, 180.0, 12.5)
    """
    return degrees if -180 <= degrees <= 180 else (degrees + 180) % 360 - 180


@lru_cache(maxsize=256)  # of one camera for all that it sees, of one start for all ways from there
def _radii(latitude: float) -> tuple[float, float]:
    """Meters per radian of latitude, and of longitude, at a latitude in degrees."""
    sine, cosine = math.sin(math.radians(latitude)), math.cos(math.radians(latitude))
    w = 1 - ECCENTRICITY_2 * sine * sine
    normal = EQUATOR_M / math.sqrt(w)
    return normal * (1 - ECCENTRICITY_2) / w, normal * max(cosine, LEAST_COSINE)


def pose_record(place: CameraPose) -> dict[str, Any]:
    """A place as progress.jsonl holds it: what is known of it."""
    return {name: value for name, value in asdict(place).items() if value not in (None, "", ())}


def pose_from(record: Mapping[str, Any] | None) -> CameraPose | None:
    """The place of a line of progress.jsonl, or None where there is none that can be used."""
    if not isinstance(record, Mapping):
        return None
    try:
        known = {f.name: record[f.name] for f in fields(CameraPose) if f.name in record}
        time = word(known.pop("time", ""), "time")
        ends = [(number(y, "corners"), number(x, "corners")) for y, x in known.pop("corners", ())]
        if len(ends) not in (0, 4):
            return None
        return CameraPose(**{name: number(v, name) for name, v in known.items()}, time=time, corners=tuple(ends))
    except (TypeError, ValueError):
        return None


def geo_position_record(geo_position: GeoPosition) -> dict[str, Any]:
    """What findings.jsonl says of where an object is."""
    same = dict(zip(("photo", "id"), geo_position.same_as, strict=True)) if geo_position.same_as else None
    return {
        "position": {
            "latitude": round(geo_position.latitude, 7),
            "longitude": round(geo_position.longitude, 7),
            "kind": geo_position.kind,
            "error_m": None if geo_position.error_m is None else round(geo_position.error_m, 1),
        },
        "group": geo_position.group or None,
        "same_as": same,
        "group_conditions": list(geo_position.conditions),
    }


def geo_position_from(record: Mapping[str, Any]) -> GeoPosition | None:
    """The position in a line of findings.jsonl, if it has one. Raises KeyError, TypeError and ValueError."""
    at, same = record.get("position"), record.get("same_as")
    if not at:
        return None
    return GeoPosition(
        number(at["latitude"], "latitude", low=-90, high=90),
        number(at["longitude"], "longitude", low=-180, high=180),
        "ground" if at["kind"] == "ground" else "camera",
        None if at["error_m"] is None else number(at["error_m"], "error_m", low=0),
        word(record.get("group") or "", "group"),
        (word(same["photo"], "same_as"), word(same["id"], "same_as")) if same else None,
        tuple(word(name, "group_conditions") for name in record.get("group_conditions", ())),
    )
