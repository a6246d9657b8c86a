"""What the photographs are as pictures: sizes, shapes, and the odd ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.datasets import write_yolo
from tests.support.flown import gps_tags, write_flown
from tests.support.surveys import WORDS, make_row, make_table

from toeline.analysis.analyze import How, analyze
from toeline.analysis.duplicates import HashedPhoto, Kind
from toeline.analysis.image_quality import PLACE, image_flags, measure_images
from toeline.analysis.photo_facts import Camera, PhotoFacts
from toeline.data.yolo import open_yolo


def seen(name: str, size_wh: tuple[int, int] = (100, 100), **more: object) -> HashedPhoto:
    usual = {"sharpness": 400.0, "brightness": 0.5, "dark": 0.0, "burnt": 0.0, "camera": Camera()}
    hashes = {"phash": 0, "dhash": 0, "mirrored": 0}
    facts = PhotoFacts(sha256=name, bytes=1, size_wh=size_wh, stretch=1.0, **hashes, **{**usual, **more})  # type: ignore[arg-type]
    return HashedPhoto(name, "train", "", facts)


def test_odd_photographs_are_named_and_others_are_not() -> None:
    odd = [seen("blurred", sharpness=90), seen("dark", dark=0.6), seen("burnt", burnt=0.3)]
    cut = seen("cut", camera=Camera(size_wh=(4000, 3000)))
    fine = [seen("fine", sharpness=110, dark=0.5, burnt=0.2), seen("scaled", (400, 300), camera=Camera((4000, 3000)))]
    assert [f.photo for f in image_flags([*odd, cut, *fine])] == ["blurred", "dark", "burnt", "cut"]
    assert list(image_flags([])) == []


def test_shapes_are_compared_with_the_camera_lying_or_upright() -> None:
    camera = Camera(size_wh=(4000, 3000))
    sizes = [(3000, 4000), (400, 300), (401, 300), (300, 300)]
    table = make_table([make_row(f"{i}.jpg", "rock toe: 0 0 50 50", "vegetation: 0 0 100 90") for i in range(5)])
    found = measure_images([*(seen(str(wh), wh, camera=camera) for wh in sizes), seen("unknown")], table)
    assert (found.with_camera_size, found.as_taken, found.scaled, found.other_shape) == (4, 1, 2, 1)
    assert (found.distinct, found.filled) == (5, 5)
    assert found.boxes_fill.median == 0.25 + 0.9
    assert "3 of 4 have the camera's shape" in found.verdict
    assert found.stretching.startswith("Certain, from EXIF: 1 of 4")


@pytest.mark.parametrize(("size_wh", "word"), [((640, 640), "Likely: 2 of 2 are square"), ((640, 480), "Not known")])
def test_how_sure_stretching_is_without_exif(size_wh: tuple[int, int], word: str) -> None:
    table = make_table([make_row(f"{i}.jpg", "rock toe: 0 10 50 50", "vegetation: 20 20 40 40") for i in range(2)])
    found = measure_images([seen("a", size_wh), seen("b", size_wh)], table)
    assert found.stretching.startswith(word)
    assert "prove nothing" in found.stretching
    assert (found.touching, found.objects) == (2, 4)
    assert "2 of 4 objects reach the border" in found.verdict


def test_a_rejected_position_is_said_of_its_photograph_and_no_rejected_one_is_a_leak(tmp_path: Path) -> None:
    """Each of these lies in both splits on one place: only the one that is told by XMP is a place."""
    on_xmp = (None, {"GpsLatitude": "-33.5", "GpsLongitude": "-70.5"})
    void, no_side = ({**gps_tags(10, 20), 9: "V"}, None), ({2: (21.0, 30.0, 0.0), 4: (80.0, 15.0, 0.0)}, None)
    told = {"xmp": on_xmp, "void": void, "noside": no_side}
    splits = ("train", "valid")
    root = write_yolo(tmp_path, {s: {f"{n}_{s}.jpg": ["5 0.5 0.5 0.1 0.8"] for n in told} for s in splits})
    for day, split in enumerate(splits, start=1):
        for width, (name, (gps, dji)) in enumerate(told.items(), start=100 * day):
            camera = {0x9003: f"2026:05:0{day} 09:30:00"}
            file = root / split / "images" / f"{name}_{split}.jpg"
            write_flown(file, gps, dji, camera=camera, size_wh=(width, 90))
    found = analyze(open_yolo(root, WORDS), WORDS, How(pixels=True))
    assert found.leaks is not None
    assert [(p.kind, Path(p.first).name) for p in found.leaks.pairs] == [(Kind.PLACE, "xmp_train.jpg")]
    assert found.leaks.with_pose == 2
    flags = [f for f in found.flags if f.check == PLACE]
    assert [Path(f.photo).name for f in flags] == ["noside_train.jpg", "noside_valid.jpg"]
    assert flags[0].what == "its GPS latitude does not say on which side of the equator it is."
    assert any(f"2 × {PLACE}" in said.text for said in found.findings)
