"""Pixels to ground and back, in all hemispheres; what cannot be known stays at the camera."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.flown import POSE_DOWN as DOWN

from toeline.core.box import Box
from toeline.core.geo import CameraPose, Meters, Point, between, moved
from toeline.report.camera_geometry import clipped, error_m, foot, footprint, ground_position_of, sight, to_ground

SIZE = (4000, 3000)
MIDDLE = (2000.0, 1500.0)
FOCAL_PX = 0.6 * 5000
CORNERS = [(23.5, 85.25), (-33.75, 18.5), (-22.9, -43.2), (47.4, -122.3), (0.0, 180.0), (-17.0, -180.0)]

places = st.builds(
    CameraPose,
    latitude=st.floats(-70, 70),
    longitude=st.floats(-180, 180),
    height_m=st.floats(5, 120),
    yaw=st.floats(-180, 180),
    pitch=st.floats(-90, -35),
    roll=st.floats(-8, 8),
    focal=st.floats(0.5, 2),
)


def pixel_of(place: CameraPose, at: Point) -> tuple[float, float]:
    """The pinhole camera the other way round, written apart from it: a point on the ground to its pixel."""
    east, north = between(place.point, at)
    way = (east, north, -(place.height_m or 0))
    right, down, ahead = (sum(a * b for a, b in zip(axis, way, strict=True)) for axis in sight(place))
    focal_px = (place.focal or 0) * math.hypot(*SIZE)
    return SIZE[0] / 2 + focal_px * right / ahead, SIZE[1] / 2 + focal_px * down / ahead


@pytest.mark.parametrize(
    ("yaw", "pixel", "way"),
    [
        (0, MIDDLE, (0, 0)),
        (0, (3000, 1500), (1, 0)),  # right of the middle is east when the picture's top is north
        (0, (2000, 500), (0, 1)),
        (90, (2000, 500), (1, 0)),
        (90, (3000, 1500), (0, -1)),
        (180, (2000, 500), (0, -1)),
        (-90, (2000, 500), (-1, 0)),
    ],
)
def test_straight_down_the_top_of_the_picture_is_where_the_camera_heads(
    yaw: float, pixel: tuple[float, float], way: tuple[float, float]
) -> None:
    scale = 40 * 1000 / FOCAL_PX
    assert to_ground(replace(DOWN, yaw=yaw), SIZE, pixel) == pytest.approx((way[0] * scale, way[1] * scale), abs=1e-9)


def test_half_way_down_the_middle_is_as_far_as_the_camera_is_high() -> None:
    assert to_ground(replace(DOWN, pitch=-45, yaw=90), SIZE, MIDDLE) == pytest.approx((40, 0), abs=1e-9)


def test_straight_down_with_roll_180_is_the_other_yaw() -> None:
    """As DJI's H30T writes it, and orthority (issue 36) found it to mean."""
    a = to_ground(replace(DOWN, yaw=30, roll=180), SIZE, (2500, 700))
    assert a == pytest.approx(to_ground(replace(DOWN, yaw=-150), SIZE, (2500, 700)))


@given(places, st.floats(0, 4000), st.floats(0, 3000))
def test_a_pixel_comes_back_from_the_ground(place: CameraPose, x: float, y: float) -> None:
    way = to_ground(place, SIZE, (x, y))
    if way is not None:
        assert pixel_of(place, moved(place.point, way)) == pytest.approx((x, y), abs=0.3)
        assert math.hypot(*way) < 6 * (place.height_m or 0)


@given(places)
def test_a_level_camera_turned_clockwise_moves_what_it_sees_clockwise(place: CameraPose) -> None:
    level = replace(place, roll=0)
    way, turned = (to_ground(p, SIZE, MIDDLE) for p in (level, replace(level, yaw=(level.yaw or 0) + 10)))
    assert way is not None
    assert turned is not None
    assert way.north * turned.east - way.east * turned.north >= 0


@pytest.mark.parametrize("at", CORNERS)
def test_spots_lie_on_the_right_side_of_the_camera_in_every_hemisphere(at: tuple[float, float]) -> None:
    place = replace(DOWN, latitude=at[0], longitude=at[1])
    geo_position = ground_position_of(place, SIZE, Box(3400, 400, 3600, 600))  # up and to the right: north-east
    way = between(place.point, geo_position.point)
    assert way == pytest.approx((1500 * 40 / FOCAL_PX, 1000 * 40 / FOCAL_PX), abs=0.01)
    assert geo_position.kind == "ground"
    assert -180 <= geo_position.longitude <= 180


@pytest.mark.parametrize("missing", ["height_m", "yaw", "pitch", "focal"])
def test_what_is_not_known_leaves_the_finding_at_the_camera(missing: str) -> None:
    geo_position = ground_position_of(replace(DOWN, **{missing: None}), SIZE, Box(0, 0, 10, 10))
    assert (geo_position.kind, geo_position.error_m, geo_position.point) == ("camera", None, DOWN.point)


@pytest.mark.parametrize("change", [{"height_m": 0.0}, {"height_m": -3.0}, {"pitch": 10.0}, {"pitch": 0.0}])
def test_a_camera_that_does_not_look_down_on_the_ground_gives_no_ground(change: dict[str, float]) -> None:
    assert ground_position_of(replace(DOWN, **change), SIZE, Box(0, 0, 4000, 1500)).kind == "camera"


def test_the_error_is_that_of_gps_below_and_grows_with_the_distance() -> None:
    assert error_m(DOWN, SIZE, MIDDLE) == pytest.approx(math.hypot(3, 40 * math.tan(math.radians(1))), rel=1e-6)
    side = 1500 * 40 / FOCAL_PX
    parts = (3, 0.1 * side, 2 * side * math.sin(math.radians(1.5)))
    found = error_m(DOWN, SIZE, (3500, 1500))
    assert found == pytest.approx(math.hypot(*parts, 0.71), abs=0.03)
    far = error_m(replace(DOWN, pitch=-25), SIZE, MIDDLE)
    assert found is not None
    assert far is not None
    assert far > 2 * found


def test_the_error_covers_what_was_assumed() -> None:
    """Height 10 % off, pitch 1 degree, yaw 3 degrees: the true place is within the error, give or take a third."""
    told = replace(DOWN, pitch=-50, yaw=40)
    true = replace(told, height_m=44, pitch=-49, yaw=43)
    a, b, error = (to_ground(told, SIZE, MIDDLE), to_ground(true, SIZE, MIDDLE), error_m(told, SIZE, MIDDLE))
    assert a is not None
    assert b is not None
    assert error is not None
    assert 0.5 * error < math.dist(a, b) < 1.34 * error


def test_a_box_seen_from_the_side_stands_on_its_lower_edge() -> None:
    box = Box(10, 20, 30, 80)
    assert foot(replace(DOWN, pitch=-90), box) == (20, 50)
    assert foot(replace(DOWN, pitch=-40), box) == (20, 80)


@given(places)
def test_a_footprint_runs_counterclockwise_round_the_middle(place: CameraPose) -> None:
    ways = [between(place.point, p) for p in footprint(place, SIZE)]
    assert 3 <= len(ways) <= 5
    area = sum(a.east * b.north - b.east * a.north for a, b in zip(ways, [*ways[1:], ways[0]], strict=True)) / 2
    assert area > 0


def test_a_footprint_straight_down_is_the_picture() -> None:
    ways = [between(DOWN.point, p) for p in footprint(DOWN, SIZE)]
    x, y = 2000 * 40 / FOCAL_PX, 1500 * 40 / FOCAL_PX
    expected = [(-x, y), (-x, -y), (x, -y), (x, y)]
    for way, corner in zip(ways, expected, strict=True):
        assert way == pytest.approx(corner, abs=0.01)


def test_a_footprint_ends_where_the_rays_are_too_flat() -> None:
    ways = [between(DOWN.point, p) for p in footprint(replace(DOWN, pitch=-20), SIZE)]
    assert max(way.north for way in ways) == pytest.approx(40 / math.tan(math.radians(10)), rel=1e-3)
    assert footprint(replace(DOWN, pitch=45), SIZE) == []
    assert footprint(replace(DOWN, focal=None), SIZE) == []


def test_nothing_is_left_of_a_polygon_that_is_outside() -> None:
    assert clipped([(0, 0), (1, 0), (1, 1)], [-1, -1, -2]) == []


@given(st.floats(-80, 80), st.floats(-180, 180), st.floats(-900, 900), st.floats(-900, 900))
def test_a_way_and_back_is_the_same_way(latitude: float, longitude: float, east: float, north: float) -> None:
    start = Point(latitude, longitude)
    assert between(start, moved(start, Meters(east, north))) == pytest.approx((east, north), abs=1e-3)
