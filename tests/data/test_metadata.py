"""Positions from EXIF and XMP: right in every hemisphere, and nonsense is told or left out, never a crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL.TiffImagePlugin import IFDRational
from tests.support.datasets import write_photo
from tests.support.flown import CAMERA, DOWN, gps_tags, write_flown, xmp

from toeline.core.geo import CameraPose
from toeline.data.metadata import read_position

CORNERS = [(23.5, 85.25), (-33.75, 18.5), (-22.9, -43.2), (47.4, -122.3)]


def read(path: Path) -> CameraPose:
    reading = read_position(path)
    assert reading.place is not None, reading.wrong
    assert reading.wrong == ""
    return reading.place


@pytest.mark.parametrize("at", CORNERS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_alone_gives_a_position_in_every_hemisphere(tmp_path: Path, at: tuple[float, float], suffix: str) -> None:
    place = read(write_flown(tmp_path / f"a{suffix}", at))
    assert place.point == pytest.approx(at, abs=1e-7)
    assert (place.height_m, place.pitch, place.time) == (None, None, "2026-05-01T09:30:00+05:30")


@pytest.mark.parametrize("at", CORNERS)
@pytest.mark.parametrize("elements", [False, True])
@pytest.mark.parametrize("longitude", ["GpsLongitude", "GpsLongtitude"])
def test_djis_packet_alone_gives_it_too(
    tmp_path: Path, at: tuple[float, float], elements: bool, longitude: str
) -> None:
    fields = {"GpsLatitude": f"{at[0]:+.7f}", longitude: f"{at[1]:+.7f}", "AbsoluteAltitude": "+412.50", **DOWN}
    place = read(write_flown(tmp_path / "a.jpg", None, xmp(fields, elements=elements)))
    assert place.point == pytest.approx(at)
    assert (place.altitude_m, place.height_m) == (412.5, 40)
    assert (place.yaw, place.pitch, place.roll) == (0, -90, 0)
    assert place.focal == pytest.approx(24 / 43.2666, rel=1e-4)


def test_the_flights_yaw_stands_in_for_the_gimbals(tmp_path: Path) -> None:
    fields = {k: v for k, v in DOWN.items() if k != "GimbalYawDegree"} | {"FlightYawDegree": "+190.0"}
    assert read(write_flown(tmp_path / "a.jpg", (1, 2), fields)).yaw == -170


def test_altitude_below_the_sea_is_negative(tmp_path: Path) -> None:
    assert read(write_flown(tmp_path / "b.jpg", {**gps_tags(21.5, 80.25), 5: b"\x00", 6: 312.5})).altitude_m == 312.5
    assert read(write_flown(tmp_path / "a.jpg", {**gps_tags(31.5, 35.5), 5: b"\x01", 6: 400.0})).altitude_m == -400


def test_a_turned_photograph_has_no_attitude_but_a_position(tmp_path: Path) -> None:
    place = read(write_flown(tmp_path / "a.jpg", (1, 2), DOWN, orientation=6))
    assert (place.yaw, place.pitch, place.roll, place.height_m) == (None, None, None, 40)


@pytest.mark.parametrize(
    "gps",
    [
        None,
        {},
        (0.0, 0.0),
        {**gps_tags(10, 20), 9: "V"},
        {29: "2026:05:01"},
    ],
)
def test_no_fix_is_no_position_and_no_fault(tmp_path: Path, gps: Any) -> None:
    assert read_position(write_flown(tmp_path / "a.jpg", gps)) == (None, "", "")


@pytest.mark.parametrize(
    ("gps", "told"),
    [
        ({**gps_tags(10, 20), 2: (95.0, 0.0, 0.0)}, "latitude 95, longitude 20.*not on Earth"),
        ({**gps_tags(10, 20), 4: (181.0, 0.0, 0.0)}, "longitude 181"),
        ({1: "N", 2: (10.0, 0.0, 0.0)}, "longitude cannot be read"),
        ({3: "E", 4: (10.0, 0.0, 0.0)}, "latitude cannot be read"),
        ({2: (10.0, 0.0, 0.0), 4: (20.0, 0.0, 0.0)}, "which side of the equator"),
        ({**gps_tags(10, 20), 3: "X"}, "which side of the meridian"),
        ({**gps_tags(10, 20), 2: (10.0, 99.0, 0.0)}, "latitude cannot be read"),
        ({**gps_tags(10, 20), 2: (IFDRational(1, 0), 0.0, 0.0)}, "latitude cannot be read"),
        ({**gps_tags(10, 20), 2: (1.0, 2.0, 3.0, 4.0)}, "latitude cannot be read"),
    ],
)
def test_nonsense_in_exif_is_told_and_gives_none(tmp_path: Path, gps: dict[int, Any], told: str) -> None:
    reading = read_position(write_flown(tmp_path / "a.jpg", gps))
    assert reading.place is None
    assert reading.wrong
    assert re.search(told, reading.wrong), reading.wrong


def test_what_exif_has_wrong_xmp_may_have_right(tmp_path: Path) -> None:
    fields = {"GpsLatitude": "-33.5", "GpsLongitude": "-70.5"}
    assert read(write_flown(tmp_path / "a.jpg", {1: "N", 2: (10.0, 0.0, 0.0)}, fields)).latitude == -33.5
    assert read(write_flown(tmp_path / "a.jpg", (0.0, 0.0), fields)).longitude == -70.5


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (b"<a drone-dji", "XMP packet cannot be read"),
        (xmp(DOWN).replace(b"<x:", b"<!DOCTYPE a [<!ENTITY b 'c'>]><x:", 1), "document type"),
        (xmp({"GpsLatitude": "north", "GpsLongitude": "2"}), "XMP packet cannot be read"),
        (xmp({"GpsLatitude": "1"}), "XMP packet cannot be read"),
        (xmp({"GpsLatitude": "123", "GpsLongitude": "2"}), "not on Earth"),
        (xmp({"GpsLatitude": "nan", "GpsLongitude": "inf"}), "cannot be read"),
    ],
)
def test_a_bad_packet_is_told(tmp_path: Path, packet: bytes, told: str) -> None:
    reading = read_position(write_flown(tmp_path / "a.jpg", None, packet))
    assert reading.place is None
    assert told in reading.wrong


def test_a_bad_packet_leaves_the_position_of_exif(tmp_path: Path) -> None:
    reading = read_position(write_flown(tmp_path / "a.jpg", (-1.5, 2), b"<a drone-dji"))
    assert reading.place is not None
    assert reading.place.latitude == -1.5
    assert "height and attitude are not known" in reading.wrong


def test_nonsense_in_angles_and_heights_is_left_out(tmp_path: Path) -> None:
    fields = {**DOWN, "GimbalPitchDegree": "500", "RelativeAltitude": "1e308", "GimbalRollDegree": "nan"}
    fields |= {"AbsoluteAltitude": "high", "GimbalYawDegree": "1e300", "FlightYawDegree": ""}
    place = read(write_flown(tmp_path / "a.jpg", (1, 2), fields))
    assert (place.yaw, place.pitch, place.roll, place.height_m, place.altitude_m) == (None,) * 5


def test_a_damaged_file_and_one_without_metadata_have_no_position(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no photograph")
    whole = write_flown(tmp_path / "b.jpg", (1, 2), DOWN).read_bytes()
    assert read_position(tmp_path / "a.jpg") == (None, "", "")
    assert read_position(tmp_path / "gone.jpg") == (None, "", "")
    assert read_position(write_photo(tmp_path / "c.bmp")) == (None, "", "")
    for cut in range(20, 500, 7):
        (tmp_path / "b.jpg").write_bytes(whole[:cut])
        read_position(tmp_path / "b.jpg")
    for at in range(24, 600, 5):
        (tmp_path / "b.jpg").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        read_position(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("gps", "camera", "time"),
    [
        ({}, {0x9003: "2026:05:01 09:30:00"}, "2026-05-01T09:30:00"),
        ({7: (9.0, 30.0, 15.0), 29: "2026:05:01"}, {0x9003: "2026:05:01 15:00:15"}, "2026-05-01T09:30:15Z"),
        ({}, {0x9003: "2026:05:01 09:30:00", 0x9011: "-03:00"}, "2026-05-01T09:30:00-03:00"),
        ({}, {0x9003: "2026:05:01 09:30:00", 0x9011: "local"}, "2026-05-01T09:30:00"),
        ({}, {0x9003: "0000:00:00 00:00:00"}, ""),
        ({7: (25.0, 0.0, 0.0), 29: "2026:05:01"}, {0x9003: "yesterday"}, ""),
    ],
)
def test_times_have_their_zone_where_it_is_known(
    tmp_path: Path, gps: dict[int, Any], camera: dict[int, Any], time: str
) -> None:
    assert read(write_flown(tmp_path / "a.jpg", {**gps_tags(1, 2), **gps}, camera=camera)).time == time


@pytest.mark.parametrize(
    ("camera", "dji", "share"),
    [
        ({0xA405: 24}, {}, 24 / 43.2666),
        ({0x920A: 8.8, 0xA20E: 3030.3, 0xA20F: 3030.3, 0xA210: 3, 0xA002: 4000, 0xA003: 2000}, {}, 8.8 / 14.7580),
        ({0xA405: 24}, {"CalibratedFocalLength": "120"}, 120 / 223.607),
        ({0xA405: 24, 0xA002: 4000, 0xA003: 3000}, {}, None),  # the file shows another shape: it was cropped
        ({0xA405: 24, 0xA404: 2.0}, {}, None),  # digital zoom
        ({0xA405: 0}, {}, None),
        ({0x920A: 8.8}, {}, None),
        ({}, {"CalibratedFocalLength": "-3"}, None),
    ],
)  # fmt: skip
def test_focal_lengths_as_shares_of_the_diagonal(
    tmp_path: Path, camera: dict[int, Any], dji: dict[str, str], share: float | None
) -> None:
    place = read_position(write_flown(tmp_path / "a.jpg", (1, 2), {**DOWN, **dji}, camera=camera)).place
    assert place is not None
    assert place.focal == (share if share is None else pytest.approx(share, rel=1e-4))


TAKEN = (528, 396)  # a photograph as taken, its focal length in pixels 366.67: 20 m of ground from 30 m
COPY = (132, 99)
SIZE_OF = {wh: {0xA002: wh[0], 0xA003: wh[1]} for wh in (TAKEN, COPY, (264, 198), (396, 528), (99, 132))}
PIXELS = {"CalibratedFocalLength": "366.67"}
CENTER = {"CalibratedOpticalCenterX": "266.1", "CalibratedOpticalCenterY": "197.2"}
PITCH = {0x920A: 9.17, 0xA20E: 400.0, 0xA20F: 400.0, 0xA210: 3}  # 13.2 mm wide
MM = {0xA405: 24}


@pytest.mark.parametrize(
    ("size", "camera", "dji", "said"),
    [
        (TAKEN, {**MM, **SIZE_OF[TAKEN]}, PIXELS, ""),  # as taken
        (COPY, {**MM, **SIZE_OF[TAKEN]}, PIXELS, ""),  # size tags kept
        (COPY, {**MM, **SIZE_OF[COPY]}, PIXELS, "assumed"),  # rewritten
        (COPY, {**MM, **SIZE_OF[264, 198]}, PIXELS, "assumed"),  # rewritten by the first of two that scaled it
        (COPY, MM, PIXELS, "assumed"),  # dropped
        (COPY, MM, {}, ""),
        (COPY, SIZE_OF[TAKEN], PIXELS, ""),
        (COPY, SIZE_OF[COPY], {**PIXELS, **CENTER}, ""),  # the lens's center says how large it was
        (COPY, {}, {**PIXELS, **CENTER}, ""),
        (TAKEN, SIZE_OF[TAKEN], {**PIXELS, **CENTER}, ""),
        (COPY, {**PITCH, **SIZE_OF[TAKEN]}, {}, ""),
        (COPY, {**PITCH, **MM, **SIZE_OF[COPY]}, {}, "assumed"),
        (COPY, {**PITCH, **SIZE_OF[COPY]}, {}, "told in pixels"),
        (COPY, SIZE_OF[COPY], PIXELS, "told in pixels"),
        (COPY, {}, PIXELS, "told in pixels"),
        ((132, 74), {**MM, **SIZE_OF[TAKEN]}, PIXELS, "taken with 528 x 396 pixels and has 132 x 74: cropped"),
        ((64, 64), {**MM, **SIZE_OF[TAKEN]}, PIXELS, "taken with 528 x 396 pixels and has 64 x 64"),
        ((64, 64), {**MM, 0xA002: 64, 0xA003: 64}, PIXELS, "no camera takes"),
        ((64, 64), MM, {}, "no camera takes"),
        ((64, 64), MM, CENTER, "taken with 532 x 394 pixels and has 64 x 64"),
        ((64, 64), {**MM, 0xA002: 64, 0xA003: 64}, CENTER, "taken with 532 x 394 pixels"),
        (COPY, {**MM, **SIZE_OF[TAKEN], 0xA404: 2.0}, PIXELS, "digital zoom of 2"),
        ((99, 132), {**MM, **SIZE_OF[TAKEN]}, PIXELS, "which way is up"),  # turned by a tool
        ((99, 132), MM, PIXELS, "which way is up"),
        ((99, 132), {**MM, **SIZE_OF[396, 528]}, PIXELS, ""),  # a camera that stands upright
        (TAKEN, {**MM, 0xA002: 0, 0xA003: -5}, PIXELS, ""),
        (TAKEN, {0xA002: "wide", 0xA003: (1, 2)}, {"CalibratedFocalLength": "1e308"}, ""),
    ],
)  # fmt: skip
def test_what_was_done_to_a_photograph_since_the_flight_moves_nothing(
    tmp_path: Path, size: tuple[int, int], camera: dict[int, Any], dji: dict[str, str], said: str
) -> None:
    """Either the focal length is right, or the file has no attitude or focal length and it is said why."""
    found = read_position(write_flown(tmp_path / "a.jpg", (1, 2), {**DOWN, **dji}, camera=camera, size_wh=size))
    assert found.place is not None
    if said in ("", "assumed"):
        wanted = None if "wide" in map(str, camera.values()) else pytest.approx(0.5555, rel=0.02)
        assert (found.place.focal, found.wrong, bool(found.assumed)) == (wanted, "", said == "assumed")
    else:
        assert said in found.wrong
        assert None in (found.place.focal, found.place.yaw)


@pytest.mark.parametrize("camera", [{0x920A: 8.8}, {0x920A: 8.8, 0xA20E: 4145.0, 0xA20F: 2072.0, 0xA210: 3}])
def test_millimeters_without_a_sensor_give_no_place_on_the_ground_and_it_is_said(
    tmp_path: Path, camera: dict[int, Any]
) -> None:
    found = read_position(
        write_flown(tmp_path / "a.jpg", (1, 2), DOWN, camera={**camera, **SIZE_OF[TAKEN]}, size_wh=COPY)
    )
    assert found.place is not None
    assert found.place.focal is None
    assert "placed at the camera" in found.assumed


def test_a_smaller_copy_has_the_same_share(tmp_path: Path) -> None:
    camera = {**CAMERA, 0xA002: 4000, 0xA003: 2000}
    shares = {
        read(write_flown(tmp_path / f"{w}.jpg", (1, 2), camera=camera, size_wh=(w, w // 2))).focal for w in (60, 200)
    }
    assert len(shares) == 1
