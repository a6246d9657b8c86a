"""Drawn flights: what is written is what is read, pixels are untouched, settings without --gps stay as they were."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from PIL import Image

from toeline.cli import main
from toeline.core.geo import Meters, Point, between
from toeline.data.metadata import read_position
from toeline.synth.dataset import ROW, STEP_M, flown, write_dataset


@pytest.mark.parametrize("at", [(23.51, 85.3), (-33.92, 18.42), (-22.9, -43.2), (47.4, -122.3)])
def test_a_drawn_photograph_says_where_it_was_taken(tmp_path: Path, at: tuple[float, float]) -> None:
    write_dataset(tmp_path / "with", scenes=2, seed=3, size=160, parts={"valid": 1.0}, masks=False, gps=Point(*at))
    for index in range(2):
        reading = read_position(tmp_path / f"with/valid/images/scene_{index:06d}.jpg")
        assert reading.wrong == ""
        assert reading.place is not None
        told, meant = asdict(reading.place), asdict(flown(Point(*at), index))
        assert told.pop("time") == meant.pop("time").replace("Z", "+00:00")
        assert told.pop("corners") == meant.pop("corners") == ()
        assert told == pytest.approx(meant, abs=1e-6)


def test_pixels_labels_and_the_note_without_gps_stay_as_they_were(tmp_path: Path) -> None:
    kind = {"scenes": 1, "seed": 3, "size": 160, "parts": {"valid": 1.0}, "masks": False}
    write_dataset(tmp_path / "without", **kind)  # type: ignore[arg-type]
    write_dataset(tmp_path / "with", **kind, gps=Point(1, 2))  # type: ignore[arg-type]
    a, b = (tmp_path / f"{name}/valid/images/scene_000000.jpg" for name in ("without", "with"))
    assert a.read_bytes() != b.read_bytes()
    assert Image.open(a).tobytes() == Image.open(b).tobytes()
    assert "gps" not in json.loads((tmp_path / "without/synth.json").read_text())
    assert json.loads((tmp_path / "with/synth.json").read_text())["gps"] == [1, 2]


def test_flight_lines_go_there_and_back_and_never_overlap() -> None:
    start = Point(-10.0, 179.999)
    ways = [between(start, flown(start, i).point) for i in range(3 * ROW)]
    assert all(abs(a - b) < 0.1 for a, b in zip(ways[ROW], Meters(STEP_M * (ROW - 1), STEP_M), strict=True))
    apart = [max(abs(a.east - b.east), abs(a.north - b.north)) for i, a in enumerate(ways) for b in ways[:i]]
    assert min(apart) > STEP_M - 0.1


@pytest.mark.parametrize("typed", ["north", "95,10", "10", "10,20,30", "nan,1", "10,181"])
def test_no_position_is_refused(tmp_path: Path, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["synth", str(tmp_path / "x"), "--scenes", "1", "--seed", "1", "--gps", typed])
    assert stopped.value.code == 2
    assert "--gps" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_southern_hemisphere_can_be_typed(tmp_path: Path) -> None:
    words = ["synth", str(tmp_path / "x"), "--scenes", "1", "--seed", "1", "--size", "160", "--gps", "-33.9,-70.6"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--workers", "1"])
    assert not stopped.value.code
    (photo,) = (tmp_path / "x").rglob("*.jpg")
    place = read_position(photo).place
    assert place is not None
    assert place.point == pytest.approx((-33.9, -70.6), abs=1e-7)
