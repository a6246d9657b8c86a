"""Photographs with a position in EXIF and in DJI's XMP, as drones write them, for all tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tests.support.datasets import make_photo

from toeline.core.geo import CameraPose

GPS, EXIF = 0x8825, 0x8769
CAMERA = {0xA405: 24, 0x9003: "2026:05:01 09:30:00", 0x9011: "+05:30"}
DOWN = {"RelativeAltitude": "+40.00", "GimbalYawDegree": "+0.00", "GimbalPitchDegree": "-90.00",
        "GimbalRollDegree": "+0.00", "FlightYawDegree": "+1.00"}  # fmt: skip
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def gps_tags(latitude: float, longitude: float) -> dict[int, Any]:
    """The tags of a position as EXIF has them: without a sign, with a hemisphere."""
    return {
        1: "N" if latitude >= 0 else "S",
        2: _sexagesimal(abs(latitude)),
        3: "E" if longitude >= 0 else "W",
        4: _sexagesimal(abs(longitude)),
    }


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    minutes = degrees % 1 * 60
    return float(int(degrees)), float(int(minutes)), round(minutes % 1 * 60, 6)


def xmp(fields: Mapping[str, str], *, elements: bool = False) -> bytes:
    """DJI's packet with these fields as attributes, or as elements."""
    inner = "".join(f"<drone-dji:{k}>{v}</drone-dji:{k}>" for k, v in fields.items()) if elements else ""
    attributes = "" if elements else "".join(f' drone-dji:{k}="{v}"' for k, v in fields.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="DJI Meta Data" '
        f'xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"{attributes}>{inner}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()


def write_flown(
    path: Path,
    gps: Mapping[int, Any] | tuple[float, float] | None = None,
    dji: Mapping[str, str] | bytes | None = None,
    *,
    camera: Mapping[int, Any] = CAMERA,
    size_wh: tuple[int, int] = (200, 100),
    orientation: int = 1,
) -> Path:
    """A JPEG with these GPS tags (or this latitude and longitude), DJI fields (or this packet) and camera tags."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(EXIF).update(camera)
    if gps is not None:
        exif.get_ifd(GPS).update(gps_tags(*gps) if isinstance(gps, tuple) else gps)
    packet = dji if isinstance(dji, bytes) else xmp(dji) if dji else b""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_photo(size_wh).save(path, exif=exif.tobytes(), xmp=packet)
    return path


POSE_DOWN = CameraPose(23.5, 85.25, height_m=40, yaw=0, pitch=-90, roll=0, focal=0.6)
