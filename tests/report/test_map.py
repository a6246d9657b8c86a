"""The map: inside its frame, north up, escaped, bounded, and honest about what it leaves out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.support.flown import POSE_DOWN as DOWN

from toeline.core.geo import GeoPosition, Meters, moved
from toeline.core.taxonomy import Taxonomy
from toeline.report import map as map_module
from toeline.report.document import environment
from toeline.report.geolocate import Located, MapMark, Shot, grouped
from toeline.report.map import WIDE, flights, map_section, scale_bar

TAXONOMY = Taxonomy.load()


def shot(name: str, east: float, north: float, time: str = "") -> Shot:
    at = moved(DOWN.point, Meters(east, north))
    return Shot(name, (4000, 3000), replace(DOWN, latitude=at.latitude, longitude=at.longitude, time=time))


def mark(
    photo: str, number: str, east: float, north: float, condition: str = "normal", kind: str = "ground"
) -> MapMark:
    at = moved(DOWN.point, Meters(east, north))
    geo_position = GeoPosition(
        at.latitude, at.longitude, "ground" if kind == "ground" else "camera", 4.0 if kind == "ground" else None
    )
    return MapMark(photo, number, "slope_drain", condition, 0.75, condition == "blocked", geo_position)


def located(*marks: MapMark, photographs: int = 2) -> Located:
    return Located((shot("a.jpg", 0, 0), shot("b.jpg", 100, 40)), marks, photographs)


def starts(section: dict[str, object]) -> list[tuple[float, float]]:
    marks: list[dict[str, str]] = section["marks"]  # type: ignore[assignment]
    return [tuple(map(float, re.findall(r"-?[\d.]+", m["d"])[:2])) for m in marks]  # type: ignore[misc]


def test_east_is_right_and_north_is_up_and_all_is_inside() -> None:
    section = map_section(located(mark("a.jpg", "1", 0, 0), mark("a.jpg", "2", 30, 20)), TAXONOMY, {})
    assert section is not None
    (x1, y1), (x2, y2) = starts(section)
    assert x2 > x1
    assert y2 < y1
    numbers = [float(n) for points in section["areas"] for pair in points.split() for n in pair.split(",")]
    assert min(numbers) >= 0
    assert max(numbers[::2]) <= WIDE
    assert max(numbers[1::2]) <= section["high"]


def test_names_from_outside_are_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    section = map_section(
        Located((shot(evil, 0, 0),), (mark(evil, "1", 0, 0),), 1), TAXONOMY, {(evil, ""): "#p1", (evil, "1"): "#p1-1"}
    )
    text = environment().get_template("map.html.j2").render(map=section)
    assert "<script" not in text
    assert text.count('href="#p1') == 2


def test_findings_at_one_camera_do_not_hide_each_other() -> None:
    marks = [mark("a.jpg", str(n), 0, 0, kind="camera") for n in range(9)]
    section = map_section(located(*marks), TAXONOMY, {})
    assert section is not None
    places = starts(section)
    apart = min(abs(a[0] - b[0]) + abs(a[1] - b[1]) for i, a in enumerate(places) for b in places[:i])
    assert apart > section["radius"]
    assert all(m["camera"] for m in section["marks"])
    assert any("hollow" in note for note in section["notes"])


def test_what_is_too_much_is_left_out_in_order_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_module, "MOST_MARKS", 2)
    marks = [mark("a.jpg", "1", 0, 0), mark("a.jpg", "2", 40, 0, "damaged"), mark("a.jpg", "3", 80, 0, "blocked")]
    section = map_section(located(*marks, photographs=3), TAXONOMY, {})
    assert section is not None
    assert [m["slug"] for m in section["marks"]] == ["c1", "c2"]
    assert "2 of 3 findings are drawn" in " ".join(section["notes"])
    assert "1 photograph without a position" in " ".join(section["notes"])


def test_objects_that_were_judged_differently_are_told() -> None:
    marks = grouped([mark("a.jpg", "1", 0, 0), mark("b.jpg", "1", 2, 0, "damaged")], TAXONOMY)
    section = map_section(located(*marks), TAXONOMY, {})
    assert section is not None
    assert len(section["same"]) == 1
    assert "judged differently: 1" in " ".join(section["notes"])
    assert marks[1].geo_position.conditions == ("normal", "damaged")


def test_a_pause_is_another_flight_and_without_times_the_order_stays() -> None:
    times = ["2026-05-01T10:00:00", "2026-05-01T09:00:00", "2026-05-01T09:00:05"]
    shots = [shot(str(i), i, 0, time) for i, time in enumerate(times)]
    assert [[s.photo for s in line] for line in flights(shots)] == [["1", "2"], ["0"]]
    assert [[s.photo for s in line] for line in flights([*shots, shot("3", 3, 0)])] == [["0", "1", "2", "3"]]
    assert len(flights([shots[0], shot("z", 1, 0, "2026-05-01T10:00:00+05:30")])) == 1


def test_one_photograph_alone_is_a_map_too() -> None:
    section = map_section(Located((shot("a.jpg", 0, 0),), (), 1), TAXONOMY, {})
    assert section is not None
    assert section["bar"]["text"].endswith(" m")
    assert map_section(None, TAXONOMY, {}) is None


@pytest.mark.parametrize("scale", [0.0001, 0.013, 0.4, 1.0, 7.7, 25.0])
def test_scale_bars_fit(scale: float) -> None:
    bar = scale_bar(scale)
    assert WIDE / 11 <= bar["wide"] <= WIDE / 4
