"""GeoTIFFs in parts: their pixels, their coordinates, what is marked as no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.datasets import write_photo

pytest.importorskip("rasterio")
from tests.support.surveyed import write_mosaic

from toeline.core.box import Box
from toeline.core.geo import CameraPose, Point, between, pose_from, pose_record
from toeline.data import mosaics
from toeline.data.images import read_photo
from toeline.data.metadata import read_position
from toeline.data.mosaics import cut_mosaic, is_geotiff, map_corners, parts_of
from toeline.errors import PhotoError, SetupError
from toeline.report.camera_geometry import footprint, ground_position_of

# Latitude of (500 000, 2 600 000) in EPSG:32645: 87 E is its central meridian. By the series of Karney (2011).
ORIGIN = Point(23.5103, 87.0)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaics, "PART_PX", 100)
    monkeypatch.setattr(mosaics, "MARGIN_PX", 20)


def test_the_corners_are_where_the_coordinate_system_says(tmp_path: Path) -> None:
    upper_left, upper_right, lower_right, lower_left = (
        Point(*at) for at in map_corners(write_mosaic(tmp_path / "m.tif"))
    )
    assert upper_left == pytest.approx(ORIGIN, abs=5e-4)
    for corner, east, north in ((upper_right, 10, 0), (lower_right, 10, -5), (lower_left, 0, -5)):
        way = between(upper_left, corner)
        assert way == pytest.approx((east, north), abs=0.01)  # meters: 200 x 100 pixels of 5 cm; UTM shrinks by 0.04 %


def test_a_box_on_a_map_is_at_its_center(tmp_path: Path) -> None:
    place = read_position(write_mosaic(tmp_path / "m.tif")).place
    assert place is not None
    at = ground_position_of(place, (200, 100), Box(40, 50, 60, 70))
    way = between(Point(*place.corners[0]), at.point)
    assert (at.kind, at.error_m) == ("ground", 1.0)
    assert way == pytest.approx((2.5, -3.0), abs=0.01)
    assert [between(Point(*place.corners[0]), p).east for p in footprint(place, (200, 100))] == pytest.approx(
        [0, 0, 10, 10], abs=0.01
    )
    assert pose_from(pose_record(place)) == place


def test_a_map_across_the_180th_meridian_stays_together() -> None:
    place = CameraPose.of_map([(1.0, 179.99), (1.0, -179.99), (0.98, -179.99), (0.98, 179.99)])
    assert place.point == pytest.approx((0.99, 180.0))
    at = ground_position_of(place, (100, 100), Box(70, 40, 80, 60))
    assert (at.latitude, at.longitude) == pytest.approx((0.99, -179.995))


def test_parts_have_every_pixel_and_cores_each_once(tmp_path: Path, small_parts: None) -> None:
    size = (250, 130)
    seen = np.zeros(size[::-1], int)
    file = write_mosaic(tmp_path / "m.tif", size)
    (tmp_path / "out").mkdir()
    made = cut_mosaic(file, tmp_path / "out")
    whole = np.asarray(read_photo(file))
    parts = {part.name: part for part in parts_of("m", size)}
    assert [name for name, _ in made.photos] == list(parts)
    assert len(parts) == 6
    for name, core in made.photos:
        part = parts[name]
        x1, y1, x2, y2 = part.window
        assert (np.asarray(read_photo(tmp_path / "out" / name)) == whole[y1:y2, x1:x2]).all()
        assert core is not None
        assert part.core == (core[0] + x1, core[1] + y1, core[2] + x1, core[3] + y1)
        seen[part.core[1] : part.core[3], part.core[0] : part.core[2]] += 1
    assert (seen == 1).all()
    assert made.problems == []


def test_a_part_has_the_coordinates_of_its_place_in_the_mosaic(tmp_path: Path, small_parts: None) -> None:
    file = write_mosaic(tmp_path / "m.tif", (250, 130))
    (tmp_path / "out").mkdir()
    cut_mosaic(file, tmp_path / "out")
    whole, part = read_position(file).place, read_position(tmp_path / "out" / "m_r02_c03.tif").place
    assert whole is not None
    assert part is not None
    by_whole = ground_position_of(whole, (250, 130), Box(200, 100, 210, 110))
    x, y, x2, y2 = next(p.window for p in parts_of("m", (250, 130)) if p.name == "m_r02_c03.tif")
    by_part = ground_position_of(part, (x2 - x, y2 - y), Box(200 - x, 100 - y, 210 - x, 110 - y))
    assert between(by_whole.point, by_part.point) == pytest.approx((0, 0), abs=0.001)


def test_no_data_is_white_left_out_and_said(tmp_path: Path, small_parts: None) -> None:
    empty = (slice(None), slice(0, 150))  # the first column of parts wholly, half of the second
    file = write_mosaic(tmp_path / "m.tif", (300, 100), empty=empty)
    (tmp_path / "out").mkdir()
    made = cut_mosaic(file, tmp_path / "out")
    assert [name for name, _ in made.photos] == ["m_r01_c02.tif", "m_r01_c03.tif"]
    assert "50.0% of it is marked as no data and was not inspected" in str(made.problems[0])
    assert made.problems[0].note
    assert (np.asarray(read_photo(tmp_path / "out" / "m_r01_c02.tif"))[:, :70] == 255).all()


def test_without_a_coordinate_system_it_is_told_once_and_still_read(tmp_path: Path) -> None:
    file = write_mosaic(tmp_path / "m.tif", crs=None)
    (tmp_path / "out").mkdir()
    made = cut_mosaic(file, tmp_path / "out")
    assert "names no coordinate system" in str(made.problems[0])
    assert not made.problems[0].note
    part = tmp_path / "out" / made.photos[0][0]
    assert (np.asarray(read_photo(part)) == np.asarray(read_photo(file))).all()
    assert read_position(part) == (None, "", "")
    assert "names no coordinate system" in read_position(file).wrong


def test_what_is_no_picture_or_nothing_but_no_data_is_refused(tmp_path: Path) -> None:
    heights = write_mosaic(tmp_path / "dem.tif", dtype="float32")
    with pytest.raises(PhotoError, match="measurements"):
        cut_mosaic(heights, tmp_path)
    with pytest.raises(PhotoError, match="every pixel"):
        cut_mosaic(write_mosaic(tmp_path / "e.tif", empty=slice(None)), tmp_path)
    (tmp_path / "m.tif").write_bytes(write_mosaic(tmp_path / "w.tif").read_bytes()[:900])
    assert not is_geotiff(tmp_path / "gone.tif")
    assert not is_geotiff(write_photo(tmp_path / "plain.tif"))
    assert is_geotiff(tmp_path / "w.tif")


def test_without_rasterio_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise SetupError(f"{module} is missing: {extra}")

    file = write_mosaic(tmp_path / "m.tif")
    monkeypatch.setattr(mosaics, "need", missing)
    assert "rasterio is missing: geo" in read_position(file).wrong
