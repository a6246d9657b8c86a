"""`toeline inspect` of photographs with positions: files that standard readers open, a map, objects seen twice."""

from __future__ import annotations

import csv
import json
import re
import struct
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from tests.support.datasets import exit_code, write_labels, write_photo
from tests.support.flown import CAMERA, DOWN, gps_tags, write_flown
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.core.geo import Meters, Point, between, moved
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines import inspect as pipelines_inspect
from toeline.pipelines.inspector import Inspector
from toeline.report import inspection_page

CORNERS = {"ne": (23.51, 85.3), "se": (-33.92, 18.42), "sw": (-22.9, -43.2), "nw": (47.4, -122.3)}
FLYING = {"RelativeAltitude": "+40.00", "GimbalYawDegree": "+0.00", "GimbalPitchDegree": "-90.00"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    made = lambda *_, **given: fake_inspector(FakeJudge(), boxes=given["boxes"])  # noqa: E731
    monkeypatch.setattr(Inspector, "load", made)


def inspect(*words: str) -> int:
    return exit_code("inspect", "photos", "--out", "out", *words)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", name).read_text(encoding="utf-8").splitlines()]


def read_with_gdal(name: str) -> tuple[dict[str, Any], list[tuple[float, float]], dict[str, list[Any]]]:
    """Layer, points (x, y) and columns as OGR, which QGIS, ArcGIS Pro and geopandas use, sees them."""
    meta, _, geometry, columns = pyogrio.raw.read(Path("out", name))
    points = [struct.unpack("<dd", bytes(g)[5:21]) for g in geometry] if meta["geometry_type"] == "Point" else []
    return meta, points, dict(zip(meta["fields"], [list(c) for c in columns], strict=True))


def test_all_four_hemispheres_open_in_a_standard_reader_at_the_right_place() -> None:
    for name, at in CORNERS.items():
        write_flown(Path("photos", f"{name}.jpg"), at)
    assert inspect() == 0
    meta, points, columns = read_with_gdal("findings.geojson")
    assert (meta["geometry_type"], meta["crs"], len(points)) == ("Point", "EPSG:4326", 12)
    for (x, y), photo in zip(points, columns["photo"], strict=True):
        assert (y, x) == pytest.approx(CORNERS[photo[:2]], abs=1e-6)
    assert set(columns["position"]) == {"camera"}
    assert {"id", "type", "class", "condition", "probability", "review", "error_m", "time"} <= columns.keys()
    areas, _, _ = read_with_gdal("footprints.geojson")
    assert areas["fields"].tolist() == []


@pytest.mark.parametrize("name", CORNERS)
def test_with_height_and_attitude_findings_lie_on_the_ground_beside_the_camera(name: str) -> None:
    write_flown(Path("photos", "a.jpg"), CORNERS[name], DOWN)
    assert inspect() == 0
    _, points, columns = read_with_gdal("findings.geojson")
    ways = [between(Point(*CORNERS[name]), Point(y, x)) for x, y in points]
    meter_per_pixel = 40 / (24 / 43.2666 * 200**2 / 200 * (1 + 0.25) ** 0.5)
    drain = (-50 * meter_per_pixel, 15 * meter_per_pixel)  # its box is 40 to 60 by 0 to 70 of 200 x 100 pixels
    assert ways[0] == pytest.approx(drain, abs=0.05)
    assert set(columns["position"]) == {"ground"}
    assert all(3 < error < 6 for error in columns["error_m"])
    areas, _, about = read_with_gdal("footprints.geojson")
    assert (areas["geometry_type"], about["approximate"], about["height_m"]) == ("Polygon", [True], [40])
    x1, y1, x2, y2 = pyogrio.read_info(Path("out", "footprints.geojson"), force_total_bounds=True)["total_bounds"]
    assert x1 < CORNERS[name][1] < x2
    assert y1 < CORNERS[name][0] < y2


def test_table_records_and_page_say_where() -> None:
    write_flown(Path("photos", "a.jpg"), CORNERS["se"], DOWN)
    write_photo(Path("photos", "b.jpg"), (200, 100))
    assert inspect() == 0
    here, nowhere = lines("findings.jsonl")[0], lines("findings.jsonl")[3]
    assert here["position"]["kind"] == "ground"
    assert "position" not in nowhere
    rows = list(csv.DictReader(Path("out", "findings.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert float(rows[0]["latitude"]) == here["position"]["latitude"]
    assert (rows[0]["position"], rows[3]["position"], rows[3]["latitude"]) == ("ground", "", "")
    page = Path("out", "report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<path [^>]*class="c\d"', page)) == 3
    assert "33.91996° S" in page
    assert "1 photograph without a position" in page
    assert '<a href="#p1-1"><path' in page


def test_without_any_position_there_is_no_map_and_nothing_else_changes() -> None:
    write_photo(Path("photos", "a.jpg"), (200, 100))
    assert inspect() == 0
    assert not list(Path("out").glob("*.geojson"))
    assert 'id="map"' not in Path("out", "report.html").read_text(encoding="utf-8")
    assert "position" not in lines("findings.jsonl")[0]
    assert "place" not in lines("progress.jsonl")[0]


def labeled(name: str, at: Point, rows: list[str]) -> None:
    write_flown(Path("photos", f"{name}.jpg"), (at.latitude, at.longitude), FLYING, size_wh=(200, 150))
    write_labels(Path("labels", f"{name}.txt"), rows)
    Path("labels", "classes.txt").write_text("\n".join(Taxonomy.load().answers()))


def test_one_drain_on_two_photographs_is_one_object_and_two_drains_stay_two() -> None:
    """The second photograph was taken 10 m further east, so what both show lies that much to the left."""
    start = Point(*CORNERS["sw"])
    shift = 10 / (40 / (24 / 43.2666 * 250)) / 200  # of the width
    rows = ["5 0.5 0.5 0.05 0.4", "5 0.8 0.5 0.05 0.4", "8 0.5 0.5 0.1 0.1"]
    moved_rows = [f"5 {0.5 - shift} 0.5 0.05 0.4", f"5 {0.8 - shift} 0.5 0.05 0.4", f"3 {0.5 - shift} 0.5 0.1 0.1"]
    labeled("a", start, rows)
    labeled("b", moved(start, Meters(10, 0)), moved_rows)
    assert inspect("--boxes", "labels") == 0
    found = lines("findings.jsonl")
    groups = {(f["photo"], f["id"]): f["group"] for f in found}
    assert groups["a.jpg", "1"] == groups["b.jpg", "1"] == "g1"
    assert groups["a.jpg", "2"] == groups["b.jpg", "2"] == "g2"
    assert groups["a.jpg", "3"] is groups["b.jpg", "3"] is None
    assert [f["same_as"] for f in found] == [
        None, {"photo": "b.jpg", "id": "2"}, None, {"photo": "a.jpg", "id": "1"}, None, None,
    ]  # fmt: skip
    _, _, columns = read_with_gdal("findings.geojson")
    assert columns["same_as"][3] == "a.jpg 1"
    assert "2 objects likely seen on more than one photograph" in Path("out", "report.html").read_text(encoding="utf-8")


def test_a_run_that_is_taken_up_says_the_same_as_one_in_one_go() -> None:
    for name in "ab":
        labeled(name, Point(1, 2), ["5 0.5 0.5 0.05 0.4"])
    (Path("photos") / "b.jpg").rename("b.jpg")
    assert inspect("--boxes", "labels") == 0
    assert lines("findings.jsonl")[0]["group"] is None
    Path("b.jpg").rename(Path("photos", "b.jpg"))
    assert inspect("--boxes", "labels") == 0
    again = {n: Path("out", n).read_bytes() for n in ("findings.jsonl", "findings.csv", "findings.geojson")}
    assert lines("findings.jsonl")[0]["group"] == "g1"
    Path("out").rename("before")
    assert inspect("--boxes", "labels") == 0
    assert again == {n: Path("out", n).read_bytes() for n in again}


def test_nonsense_is_a_problem_of_one_photograph_and_no_fix_is_none() -> None:
    write_flown(Path("photos", "bad.jpg"), {**gps_tags(1, 2), 2: (95.0, 0.0, 0.0)}, DOWN)
    write_flown(Path("photos", "good.jpg"), CORNERS["nw"], DOWN, camera=CAMERA)
    write_flown(Path("photos", "zero.jpg"), (0.0, 0.0), DOWN)
    assert inspect() == 1
    (problem,) = lines("errors.jsonl")
    assert problem["photo"] == "bad.jpg"
    assert "not on Earth" in problem["what"]
    assert len(lines("findings.jsonl")) == 9
    assert {f["properties"]["photo"] for f in json.loads(Path("out/findings.geojson").read_text())["features"]} == {
        "good.jpg"
    }


def test_a_report_of_several_pages_has_one_map_that_leads_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pipelines_inspect, inspection_page):
        monkeypatch.setattr(module, "PAGE", 2)
    for i in range(5):
        write_flown(Path("photos", f"{i}.jpg"), (1 + i / 1000, 2.0), DOWN)
    assert inspect() == 0
    page = Path("out", "report.html").read_text(encoding="utf-8")
    assert 'id="map"' in page
    links = set(re.findall(r'href="(report/[^"]*#p[0-9]+)"', page))
    assert links == {"report/0001.html#p1", "report/0001.html#p2", "report/0002.html#p1", "report/0002.html#p2",
                     "report/0003.html#p1"}  # fmt: skip
    for number in (1, 2, 3):
        part = Path("out", f"report/000{number}.html").read_text(encoding="utf-8")
        assert 'id="map"' not in part
        assert "give or take" in part
    assert 'id="p2"' in Path("out/report/0002.html").read_text(encoding="utf-8")
