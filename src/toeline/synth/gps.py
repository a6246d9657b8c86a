"""A flight over drawn scenes: where each was "taken", and the metadata that says so, as a DJI drone writes it."""

from __future__ import annotations

from datetime import datetime, timedelta

from PIL import ExifTags, Image

from toeline.core.place import Meters, Place, Point, moved

HEIGHT_M, SEA_M = 40.0, 240.0  # of the drone above the take-off, and of the take-off above the sea
FOCAL_35MM, FOCAL_SHARE = 24, 24 / 43.2666
STEP_M = 60.0  # a square photograph shows 51 m from 40 m: scenes are drawn apart, so they must not overlap here
ROW = 10  # photographs in a flight line; the next line is flown back
START, PAUSE = datetime(2026, 1, 15, 4, 30), timedelta(seconds=6)  # UTC; of no meaning, and the same every time
XMP_HEAD, EXIF_MARKER = b"http://ns.adobe.com/xap/1.0/\x00", b"\xff\xe1"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="DJI Meta Data" '
    'xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" {}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def flown(start: Point, index: int) -> Place:
    """The place of scene `index` of a flight that begins at `start`: east, then back, line by line to the north.

    >>> place = flown(Point(-33.9, 18.4), 10)
    >>> place.yaw, place.time, place.latitude > -33.9
    (-90.0, '2026-01-15T04:31:00Z', True)
    """
    row, along = divmod(index, ROW)
    back = row % 2 == 1
    at = moved(start, Meters(STEP_M * (ROW - 1 - along if back else along), STEP_M * row))
    return Place(
        at.latitude,
        at.longitude,
        altitude_m=SEA_M + HEIGHT_M,
        height_m=HEIGHT_M,
        yaw=-90.0 if back else 90.0,
        pitch=-90.0,
        roll=0.0,
        focal=FOCAL_SHARE,
        time=f"{(START + index * PAUSE).isoformat()}Z",
    )


def stamped(jpeg: bytes, place: Place) -> bytes:
    """A JPEG with EXIF and DJI's XMP of `place` put in; its pixels are not touched."""
    exif, packet = _exif(place), XMP_HEAD + _packet(place).encode()
    segments = [EXIF_MARKER + (len(body) + 2).to_bytes(2, "big") + body for body in (exif, packet)]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def _exif(place: Place) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Toeline", "drawn scene"
    taken = datetime.fromisoformat(place.time)
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: f"{taken:%Y:%m:%d %H:%M:%S}",
            ExifTags.Base.OffsetTimeOriginal: "+00:00",
            ExifTags.Base.FocalLengthIn35mmFilm: FOCAL_35MM,
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "N" if place.latitude >= 0 else "S",
            ExifTags.GPS.GPSLatitude: _sexagesimal(place.latitude),
            ExifTags.GPS.GPSLongitudeRef: "E" if place.longitude >= 0 else "W",
            ExifTags.GPS.GPSLongitude: _sexagesimal(place.longitude),
            ExifTags.GPS.GPSAltitudeRef: b"\x00",
            ExifTags.GPS.GPSAltitude: place.altitude_m,
        }
    )
    return exif.tobytes()


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    """Whole degrees, whole minutes, seconds to a ten-thousandth (3 mm), without a sign."""
    ten_thousandths = round(abs(degrees) * 36_000_000)
    minutes, seconds = divmod(ten_thousandths, 600_000)
    return float(minutes // 60), float(minutes % 60), seconds / 10_000


def _packet(place: Place) -> str:
    fields = {
        "GpsLatitude": place.latitude,
        "GpsLongitude": place.longitude,
        "AbsoluteAltitude": place.altitude_m,
        "RelativeAltitude": place.height_m,
        "GimbalYawDegree": place.yaw,
        "GimbalPitchDegree": place.pitch,
        "GimbalRollDegree": place.roll,
        "FlightYawDegree": place.yaw,
    }
    digits = {"GpsLatitude": 8, "GpsLongitude": 8}
    return XMP.format(
        " ".join(f'drone-dji:{name}="{value:+.{digits.get(name, 2)}f}"' for name, value in fields.items())
    )
