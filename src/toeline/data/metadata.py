"""Where and when a photograph was taken, and how the camera looked: EXIF first, then DJI's XMP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from toeline.core.geo import CameraPose, Point, wrapped
from toeline.core.reading import plain_xml
from toeline.data.focal import focal_of, number
from toeline.data.images import Header, read_header
from toeline.data.mosaics import is_geotiff, map_corners
from toeline.errors import PhotoError, SetupError

LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE = 1, 2, 3, 4  # tags of the GPS part of EXIF 3.0
ALTITUDE_REF, ALTITUDE, TIME_STAMP, STATUS, DATE_STAMP = 5, 6, 7, 9, 29
TAKEN, DIGITIZED, TAKEN_ZONE = 0x9003, 0x9004, 0x9011
HIGHEST_M = 20_000.0  # no drone flies higher; the deepest sea and the highest mountain are within it too
NO_FIX = 1e-6  # degrees: 0, 0 is what receivers write before they know where they are
DJI_LATITUDE, DJI_LONGITUDE = ("GpsLatitude", "Latitude"), ("GpsLongitude", "GpsLongtitude", "Longitude")

TURNED = "it is upright and does not say that it was taken so, so which way is up and north in it is not known"


class Reading(NamedTuple):
    """What a file says of its place, what is wrong with that, and what was assumed; all empty when it says nothing."""

    place: CameraPose | None = None
    wrong: str = ""
    assumed: str = ""


NOWHERE = Reading()


def read_position(path: Path) -> Reading:
    """The place of a photograph; a file that cannot be read has none, which is for others to report."""
    if is_geotiff(path):
        try:
            return Reading(CameraPose.of_map(map_corners(path)))
        except (SetupError, ValueError) as why:
            return Reading(
                wrong=f"its own coordinates are not read: {why}" if isinstance(why, SetupError) else str(why)
            )
    try:
        return position_of(read_header(path))
    except PhotoError:
        return NOWHERE


def position_of(header: Header) -> Reading:
    """The place by the metadata of a file.

    A position of 0, 0 counts as none. Height and attitude are DJI's alone. A photograph that EXIF wants turned has no
    attitude here: cameras do not agree on whether theirs is that of the stored or of the turned picture. Neither has
    one whose pixels were turned since.
    """
    dji, wrong = _dji(header.xmp)
    points: list[Point] = []
    for find in (partial(_exif_point, header.gps), partial(_dji_point, dji)):
        try:
            points += filter(None, [find()])
        except ValueError as why:
            wrong = wrong or str(why)
    if not points:
        return Reading(wrong=wrong)
    focal = focal_of(header.exif, dji, header.size_wh)
    place = replace(_place(points[0], header, dji), focal=focal.share)
    wrong = "" if dji else wrong  # what one has wrong, the other may have right
    if None in (place.yaw, place.pitch, place.height_m):
        return Reading(place, wrong)  # without them a focal length is of no use
    if focal.turned:
        return Reading(replace(place, yaw=None, pitch=None, roll=None), wrong or focal.wrong or TURNED)
    return Reading(place, wrong or focal.wrong, focal.assumed)


def _place(point: Point, header: Header, dji: Mapping[str, str]) -> CameraPose:
    """Everything but the focal length."""
    upright = header.orientation == 1
    yaw, pitch, roll = (_within(dji.get(f"Gimbal{name}Degree"), 360) for name in ("Yaw", "Pitch", "Roll"))
    yaw = _within(dji.get("FlightYawDegree"), 360) if yaw is None else yaw
    return CameraPose(
        point.latitude,
        point.longitude,
        altitude_m=_altitude(header.gps, dji),
        height_m=_within(dji.get("RelativeAltitude"), HIGHEST_M),
        yaw=wrapped(yaw) if upright and yaw is not None else None,
        pitch=pitch if upright else None,
        roll=roll if upright else None,
        time=_time(header),
    )


def _within(value: Any, most: float) -> float | None:
    """A number that is not larger than it can be, whatever its sign, or None."""
    found = number(value)
    return found if found is not None and abs(found) <= most else None


def _dji(packet: bytes) -> tuple[dict[str, str], str]:
    try:
        return dji_fields(packet), ""
    except ValueError as why:
        return {}, f"its XMP packet cannot be read ({why}), so height and attitude are not known"


def _exif_point(gps: Mapping[int, Any]) -> Point | None:
    """The position by EXIF; None when there is none. Raises ValueError for one that makes no sense."""
    if _text(gps.get(STATUS)).upper() == "V":  # void: the receiver had lost its satellites
        return None
    if LATITUDE not in gps and LONGITUDE not in gps:
        return None
    latitude = _degrees(gps, LATITUDE, LATITUDE_REF, "NS", "latitude")
    longitude = _degrees(gps, LONGITUDE, LONGITUDE_REF, "EW", "longitude")
    return _on_earth(latitude, longitude)


def _degrees(gps: Mapping[int, Any], tag: int, ref_tag: int, signs: str, what: str) -> float:
    """Degrees, minutes and seconds with a hemisphere to signed degrees. Some writers leave minutes or seconds out."""
    held = gps.get(tag)
    parts = [number(part) for part in (held if isinstance(held, (tuple, list)) else (held,))]
    known = [part for part in parts if part is not None]
    if not 1 <= len(known) == len(parts) <= 3 or min(known) < 0 or max([0.0, *known[1:]]) > 60:
        raise ValueError(f"its GPS {what} cannot be read")
    ref = _text(gps.get(ref_tag)).upper()[:1]
    if not ref or ref not in signs:
        raise ValueError(f"its GPS {what} does not say on which side of the {_line(what)} it is")
    total = sum(part / 60.0**i for i, part in enumerate(known))
    return -total if ref == signs[1] else total


def _line(what: str) -> str:
    return "equator" if what == "latitude" else "meridian"


def _dji_point(dji: Mapping[str, str]) -> Point | None:
    """The position by DJI's XMP; None when there is none. Raises ValueError for one that makes no sense."""
    latitude, longitude = (
        next((dji[name] for name in names if name in dji), None) for names in (DJI_LATITUDE, DJI_LONGITUDE)
    )
    if latitude is None and longitude is None:
        return None
    degrees = number(latitude), number(longitude)
    if degrees[0] is None or degrees[1] is None:
        raise ValueError("the position in its XMP packet cannot be read")
    return _on_earth(degrees[0], degrees[1])


def _on_earth(latitude: float, longitude: float) -> Point | None:
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError(f"its position (latitude {latitude:g}, longitude {longitude:g}) is not on Earth")
    return None if max(abs(latitude), abs(longitude)) < NO_FIX else Point(latitude, longitude)


def _altitude(gps: Mapping[int, Any], dji: Mapping[str, str]) -> float | None:
    told = _within(dji.get("AbsoluteAltitude"), HIGHEST_M)
    if told is not None:
        return told
    altitude, ref = _within(gps.get(ALTITUDE), HIGHEST_M), gps.get(ALTITUDE_REF)
    below = ref in (1, b"\x01", 3, b"\x03")  # below the sea, or below the ellipsoid
    return -altitude if altitude is not None and below else altitude


def _text(value: Any) -> str:
    """ASCII tags as text, whether Pillow gives them as text or as bytes."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return text.strip("\x00 ")


def clock_time(header: Header) -> str:
    """When the shutter opened as the camera's clock stood, ISO 8601 without a zone, or empty."""
    return _moment(_text(header.exif.get(TAKEN)) or _text(header.exif.get(DIGITIZED)))


def _time(header: Header) -> str:
    """When the shutter opened: with its zone if EXIF has it, else by the satellites (UTC), else as the clock stood."""
    taken = clock_time(header)
    zone = _text(header.exif.get(TAKEN_ZONE))
    if taken and zone and (zoned := _zoned(f"{taken}{zone}")):
        return zoned
    held = header.gps.get(TIME_STAMP)
    clock = [number(part) for part in held] if isinstance(held, (tuple, list)) else []
    if len(clock) == 3 and None not in clock:
        h, m, s = (int(part or 0) for part in clock)
        if utc := _moment(f"{_text(header.gps.get(DATE_STAMP))} {h:02}:{m:02}:{s:02}"):
            return f"{utc}Z"
    return taken


def _moment(text: str) -> str:
    """EXIF's form of a time to ISO 8601, or empty.

    >>> _moment("2026:05:01 09:30:00"), _moment("0000:00:00 00:00:00")
    ('2026-05-01T09:30:00', '')
    """
    try:
        return datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _zoned(text: str) -> str:
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return ""


DJI = "drone-dji"  # in the namespace http://www.dji.com/drone-dji/1.0/, of whatever version


def dji_fields(packet: bytes) -> dict[str, str]:
    """DJI's fields by their plain names (GpsLatitude, GimbalYawDegree ...), as attributes or as elements.

    Empty when there are none. Raises ValueError for a packet that is not XML.

    >>> inside = b'<a xmlns:d="http://www.dji.com/drone-dji/1.0/" d:GimbalYawDegree="+12.5"><d:FlightYawDegree>3'
    >>> dji_fields(inside + b'</d:FlightYawDegree></a>')
    {'GimbalYawDegree': '+12.5', 'FlightYawDegree': '3'}
    """
    if DJI.encode() not in packet:
        return {}
    root = plain_xml(packet.strip(b"\x00 \r\n\t"))
    return {name.partition("}")[2]: text.strip() for name, text in _texts(root) if DJI in name.partition("}")[0]}


def _texts(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Every attribute and every element with its text, names as {namespace}name."""
    for element in root.iter():
        yield from element.attrib.items()
        if isinstance(element.tag, str) and element.text and element.text.strip():
            yield element.tag, element.text


XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="DJI Meta Data" '
    'xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" {}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
DIGITS = {"GpsLatitude": 8, "GpsLongitude": 8}  # after the point


def dji_packet(fields: Mapping[str, float]) -> bytes:
    """An XMP packet with these of DJI's fields: the reverse of `dji_fields`."""
    said = " ".join(f'drone-dji:{name}="{value:+.{DIGITS.get(name, 2)}f}"' for name, value in fields.items())
    return XMP.format(said).encode()


def gps_tags(place: CameraPose) -> dict[int, Any]:
    """A position as the GPS part of EXIF has it: the reverse of what is read here."""
    tags: dict[int, Any] = {
        LATITUDE_REF: "N" if place.latitude >= 0 else "S",
        LATITUDE: _sexagesimal(place.latitude),
        LONGITUDE_REF: "E" if place.longitude >= 0 else "W",
        LONGITUDE: _sexagesimal(place.longitude),
    }
    if place.altitude_m is not None:
        tags |= {ALTITUDE_REF: b"\x01" if place.altitude_m < 0 else b"\x00", ALTITUDE: abs(place.altitude_m)}
    return tags


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    """Whole degrees, whole minutes, seconds to a ten-thousandth (3 mm), without a sign."""
    ten_thousandths = round(abs(degrees) * 36_000_000)
    minutes, seconds = divmod(ten_thousandths, 600_000)
    return float(minutes // 60), float(minutes % 60), seconds / 10_000
