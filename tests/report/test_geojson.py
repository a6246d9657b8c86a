"""GeoJSON by the letter of RFC 7946, and by a reader that others use."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pyogrio
import pytest

from toeline.core.geo import Meters, Point, moved
from toeline.report.geolocate import area_geometry, collection, feature, point_geometry


def square(middle: Point, half: float = 50.0) -> list[Point]:
    """Corners counterclockwise."""
    ways = [(-half, -half), (half, -half), (half, half), (-half, half)]
    return [moved(middle, Meters(*way)) for way in ways]


def area(ring: list[list[float]]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


@pytest.mark.parametrize("middle", [(23.5, 85.3), (-33.9, 18.4), (-22.9, -43.2), (47.4, -122.3)])
def test_a_ring_is_closed_and_counterclockwise_in_every_hemisphere(middle: tuple[float, float]) -> None:
    geometry = area_geometry(square(Point(*middle)))
    assert geometry["type"] == "Polygon"
    (ring,) = geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert area(ring) > 0
    assert all(abs(x - middle[1]) < 0.01 and abs(y - middle[0]) < 0.01 for x, y in ring)


@pytest.mark.parametrize("longitude", [179.9999, -179.9999, 180.0, -180.0])
def test_what_crosses_the_180th_meridian_is_two_polygons_of_one_feature(longitude: float) -> None:
    geometry = area_geometry(square(Point(-17.0, longitude)))
    assert geometry["type"] == "MultiPolygon"
    rings = [part[0] for part in geometry["coordinates"]]
    assert {round(max(abs(x) for x, _ in ring)) for ring in rings} == {180}
    assert sorted(ring[0][0] > 0 for ring in rings) == [False, True]
    assert all(area(ring) > 0 and max(x for x, _ in ring) - min(x for x, _ in ring) < 0.01 for ring in rings)
    whole = area(area_geometry(square(Point(-17.0, 10.0)))["coordinates"][0])
    assert sum(map(area, rings)) == pytest.approx(whole, rel=1e-3)


def test_texts_that_hurt_are_read_back(tmp_path: Path) -> None:
    name = 'berm "1"/é\\\n<b>.jpg'
    one = feature(point_geometry(Point(-1.25, -2.5)), {"photo": name, "time": ""})
    (tmp_path / "x.geojson").write_text("".join(collection("x", "é", [one, one])), encoding="utf-8")
    read = json.loads((tmp_path / "x.geojson").read_text(encoding="utf-8"))
    assert read["features"][0]["properties"] == {"photo": name, "time": None}
    meta, _, _, (photos, *_) = pyogrio.raw.read(tmp_path / "x.geojson")
    assert (list(photos), meta["geometry_type"]) == ([name, name], "Point")


def test_no_feature_is_still_a_collection() -> None:
    assert json.loads("".join(collection("x", "y", [])))["features"] == []
