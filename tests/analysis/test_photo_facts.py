"""What is measured of a photograph: hashes that last, stretching that shows, EXIF in the right hemisphere."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from PIL.TiffImagePlugin import IFDRational
from tests.support.flown import DOWN, gps_tags, write_flown

from toeline.analysis.duplicates import CONFIRM_BITS, NEAR_BITS
from toeline.analysis.photo_facts import Camera, PhotoFacts, camera_of, hashes, look_at, look_at_all, stretch
from toeline.data.images import read_header
from toeline.data.metadata import read_position
from toeline.synth.scene import draw


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    return Image.fromarray(draw(5, size=224).image)


def apart(a: Image.Image, b: Image.Image) -> tuple[int, int]:
    (p, d, _), (q, e, _) = hashes(a.convert("L")), hashes(b.convert("L"))
    return (p ^ q).bit_count(), (d ^ e).bit_count()


def again(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: again(i, 60),
        lambda i: ImageEnhance.Brightness(i).enhance(1.1),
        lambda i: i.resize((160, 160)),
        lambda i: i.resize((448, 448)),
    ],
    ids=["re-encoded", "brighter", "smaller", "larger"],
)
def test_hashes_last(scene, change) -> None:
    bits, confirm = apart(scene, change(scene))
    assert bits <= NEAR_BITS
    assert confirm <= CONFIRM_BITS


def test_other_scenes_are_far() -> None:
    shown = [Image.fromarray(draw(seed, size=160).image) for seed in range(8)]
    for i, a in enumerate(shown):
        assert all(apart(a, b)[0] > NEAR_BITS for b in shown[i + 1 :])


def test_the_third_hash_is_that_of_the_mirror_image(scene) -> None:
    turned = scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert (hashes(scene.convert("L"))[2] ^ hashes(turned.convert("L"))[0]).bit_count() <= 2


def test_stretching_shows() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8), (0, 0), 2)
    assert 0.95 < stretch(noise) < 1.05
    assert stretch(cv2.resize(noise, (300, 300))) > 1.15  # 4:3 made square: squeezed across
    assert stretch(cv2.resize(noise, (400, 200))) < 0.85


def test_light_and_sharpness(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(60, 200, (120, 160, 3), dtype=np.uint8)
    files = {
        "sharp": noise,
        "blurred": cv2.GaussianBlur(noise, (0, 0), 3),
        "dark": noise // 40,
        "burnt": noise // 40 + 251,
    }
    facts = {}
    for name, pixels in files.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        facts[name] = look_at(tmp_path / f"{name}.png")
    assert facts["blurred"].sharpness < 0.05 * facts["sharp"].sharpness
    assert facts["dark"].dark == 1
    assert facts["burnt"].burnt == 1
    assert facts["sharp"].dark == facts["sharp"].burnt == 0
    assert 0.4 < facts["sharp"].brightness < 0.6


def with_exif(path: Path, south: bool, west: bool) -> Path:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "DJI", "FC6310"
    exif.get_ifd(0x8769).update({0x9003: "2024:03:05 10:11:12", 0xA002: 5472, 0xA003: 3648})
    exif.get_ifd(0x8825).update(
        {
            1: "S" if south else "N",
            2: (21.0, 30.0, 36.0),
            3: "W" if west else "E",
            4: (80.0, 15.0, 0.0),
            5: b"\x00",
            6: 312.5,
        }
    )
    Image.new("RGB", (40, 30), "gray").save(path, exif=exif)
    return path


@pytest.mark.parametrize(("south", "west"), [(False, False), (True, True)])
def test_what_the_camera_wrote(tmp_path, south, west) -> None:
    found = camera_of(with_exif(tmp_path / "a.jpg", south, west))
    assert found.size_wh == (5472, 3648)
    assert found.taken == datetime(2024, 3, 5, 10, 11, 12)
    assert found.place == pytest.approx((-21.51 if south else 21.51, -80.25 if west else 80.25))
    assert found.model == "DJI FC6310"


def test_no_exif_is_an_empty_record(tmp_path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert camera_of(tmp_path / "a.png") == type(camera_of(tmp_path / "a.png"))()


NORTH_WEST = gps_tags(21.5, -80.25)
XMP_PLACE = {"GpsLatitude": "-33.5", "GpsLongitude": "-70.5"}


@pytest.mark.parametrize(
    ("gps", "dji", "place", "told"),
    [
        (NORTH_WEST, None, (21.5, -80.25), ""),
        ({**NORTH_WEST, 9: "A"}, None, (21.5, -80.25), ""),
        ({**NORTH_WEST, 9: "V"}, None, None, ""),  # void: the receiver had lost its satellites
        (gps_tags(0, 0), None, None, ""),
        (gps_tags(0, -80.25), None, (0, -80.25), ""),
        ({}, None, None, ""),
        ({2: (21.0, 30.0, 0.0), 4: (80.0, 15.0, 0.0)}, None, None, "which side of the equator"),
        ({**NORTH_WEST, 3: ""}, None, None, "which side of the meridian"),
        ({**NORTH_WEST, 3: "X"}, None, None, "which side of the meridian"),
        ({1: "N", 2: (21.0, 0.0, 0.0), 3: "E"}, None, None, "longitude cannot be read"),
        ({**NORTH_WEST, 2: (99.0, 0.0, 0.0)}, None, None, "not on Earth"),
        ({**NORTH_WEST, 2: (IFDRational(21, 0), 0.0, 0.0)}, None, None, "latitude cannot be read"),
        ({**NORTH_WEST, 4: (80.0, IFDRational(0, 0), 0.0)}, None, None, "longitude cannot be read"),
        ({**NORTH_WEST, 2: (21.0, 99.0, 0.0)}, None, None, "latitude cannot be read"),
        (None, XMP_PLACE, (-33.5, -70.5), ""),
        ({**NORTH_WEST, 9: "V"}, XMP_PLACE, (-33.5, -70.5), ""),
        ({2: (21.0, 30.0, 0.0), 4: (80.0, 15.0, 0.0)}, XMP_PLACE, (-33.5, -70.5), ""),
        (NORTH_WEST, b"<a drone-dji", (21.5, -80.25), ""),  # the position is known; attitude is of no use here
        (None, b"<a drone-dji", None, "XMP packet cannot be read"),
        (None, {**XMP_PLACE, "GpsLatitude": "nan"}, None, "cannot be read"),
    ],
)
def test_a_position_is_the_one_that_inspection_reads(tmp_path, gps, dji, place, told) -> None:
    file = write_flown(tmp_path / "a.jpg", gps, dji)
    found, read = camera_of(file), read_position(file)
    assert found.place == (None if place is None else pytest.approx(place))
    assert found.place == (read.place and read.place.point)
    assert bool(found.wrong_place) == bool(told)
    assert told in found.wrong_place


def test_a_hemisphere_written_as_bytes_is_one(tmp_path) -> None:
    file = write_flown(tmp_path / "a.jpg", gps_tags(-21.5, -80.25))
    data = file.read_bytes()
    for tag in (1, 3):
        text, undefined = (struct.pack(">HHL", tag, kind, 2) for kind in (2, 7))  # the types of EXIF; 2 is text
        assert data.count(text) == 1
        data = data.replace(text, undefined)
    file.write_bytes(data)
    assert isinstance(read_header(file).gps[3], bytes)
    assert camera_of(file).place == pytest.approx((-21.5, -80.25))


@pytest.mark.parametrize("more", [{}, {0x9011: "+05:30"}, {0x9004: "2020:01:01 00:00:00"}])
@pytest.mark.parametrize("gps", [None, {**NORTH_WEST, 7: (4.0, 40.0, 9.0), 29: "2026:05:01"}])
def test_times_of_one_camera_compare_whether_or_not_their_zone_is_known(tmp_path, more, gps) -> None:
    file = write_flown(tmp_path / "a.jpg", gps, camera={0x9003: "2026:05:01 09:30:00", **more})
    assert camera_of(file).taken == datetime(2026, 5, 1, 9, 30)


def test_damaged_metadata_never_stop_an_analysis(tmp_path) -> None:
    whole = write_flown(tmp_path / "a.jpg", NORTH_WEST, {**XMP_PLACE, **DOWN}).read_bytes()
    for at in range(20, 1100, 7):
        for damage in (b"\xff", b"\x00"):
            (tmp_path / "a.jpg").write_bytes(whole[:at] + damage + whole[at + 1 :])
            (facts,) = look_at_all([tmp_path / "a.jpg"])
            assert isinstance(facts, (PhotoFacts, str))


def test_when_a_program_wrote_the_file_is_not_when_it_was_taken(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0132], exif[0x0110] = "2024:03:05 10:11:12", "FC6310"
    exif.get_ifd(0x8769).update({0xA002: 0, 0xA003: 0})
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert camera_of(tmp_path / "a.jpg") == Camera(model="FC6310")


def test_what_cannot_be_read_is_told_in_its_place(tmp_path) -> None:
    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (40, 30), (i * 10, 0, 0)).save(paths[-1])
    paths[7].write_bytes(b"no picture")
    found = list(look_at_all(paths))
    assert [isinstance(f, str) for f in found] == [i == 7 for i in range(20)]
    assert "7.png" in str(found[7])
