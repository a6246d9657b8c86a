"""`toeline inspect` on orthomosaics and videos, with a detector and a judge that stand in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code, write_photo
from tests.support.stand_ins import FakeJudge, stand_in

pytest.importorskip("rasterio")
from tests.support.surveyed import write_mosaic, write_srt, write_video

from toeline.core.records import read_lines
from toeline.data import mosaics
from toeline.data.extracted import EXTRACTED


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeJudge:
    monkeypatch.chdir(tmp_path)
    judge = FakeJudge()
    stand_in(monkeypatch, judge)
    monkeypatch.setattr(mosaics, "PART_PX", 100)
    monkeypatch.setattr(mosaics, "MARGIN_PX", 0)
    return judge


def inspect(*words: str) -> int:
    return exit_code("inspect", "site", "--out", "out", "--workers", "0", "--judge", "embedded", *words)


def found() -> Counter[str]:
    return Counter(str(r["photo"]) for r in read_lines(Path("out/findings.jsonl")))


def test_a_mosaic_becomes_parts_with_positions_and_goes_on(judge: FakeJudge, capsys: Any) -> None:
    write_mosaic(Path("site/day 1/dam.tif"), (200, 100), empty=(slice(None), slice(0, 20)))
    write_photo(Path("site/a.jpg"), (60, 40))
    assert inspect() == 0
    first, second = (f"day 1/dam.tif/dam_r01_c0{n}.tif" for n in (1, 2))
    assert found() == {"a.jpg": 3, first: 3, second: 3}
    said = " ".join(capsys.readouterr().out.split())
    assert "10.0% of it is marked as no data" in said
    points = json.loads(Path("out/findings.geojson").read_text(encoding="utf-8"))["features"]
    east = sorted(f["geometry"]["coordinates"][0] for f in points)
    assert len(points) == 6
    assert 87.0 < east[0] < east[-1] < 87.0 + 10 / 100_000  # 10 m of longitude
    made = Path("out", EXTRACTED, first).stat().st_mtime_ns
    asked = len(judge.asked)
    assert inspect() == 0
    assert (len(judge.asked), Path("out", EXTRACTED, first).stat().st_mtime_ns) == (asked, made)
    assert exit_code("export", "out", "--to", "yolo", "--out", "labels") == 0
    assert len(list(Path("labels").rglob("dam_*.tif"))) == 2


def test_objects_of_the_overlap_belong_to_one_part(judge: FakeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaics, "MARGIN_PX", 60)  # each part shows 160 pixels of 200
    write_mosaic(Path("site/dam.tif"), (200, 100))
    assert inspect() == 0
    left, right = (f"dam.tif/dam_r01_c0{n}.tif" for n in (1, 2))
    # The drain lies at 0.25 of the width (pixel 40 of 160), the stones at 0.5, the plant at 0.75 (pixel 120): the core
    # of the left part is 0 to 100, that of the right one 60 to 160.
    assert found() == {left: 2, right: 2}


def test_videos_are_told_without_an_interval_and_inspected_with_one(judge: FakeJudge, capsys: Any) -> None:
    write_video(Path("site/DJI_7.avi"), 3)
    write_srt(Path("site/DJI_7.SRT"), *(f"[latitude: 1.00{n}] [longitude: 2.5]" for n in range(3)))
    write_photo(Path("site/a.jpg"), (60, 40))
    assert inspect() == 0
    assert "inspect --every 5" in capsys.readouterr().out
    assert exit_code("inspect", "site", "--out", "frames", "--workers", "0", "--judge", "embedded", "--every", "2") == 0
    rows = read_lines(Path("frames/findings.jsonl"))
    assert {r["photo"] for r in rows} == {"a.jpg", "DJI_7.avi/DJI_7_00m00s.jpg", "DJI_7.avi/DJI_7_00m02s.jpg"}
    at = {r["photo"]: r["position"] for r in rows if "position" in r}
    assert at["DJI_7.avi/DJI_7_00m02s.jpg"]["latitude"] == pytest.approx(1.002)
    assert at["DJI_7.avi/DJI_7_00m02s.jpg"]["kind"] == "camera"


def test_a_video_alone_that_cannot_be_read_is_told(judge: FakeJudge, capsys: Any) -> None:
    Path("site").mkdir()
    Path("site/a.mp4").write_bytes(b"no video")
    assert inspect("--every", "1") == 2
    assert "no video that can be read" in capsys.readouterr().err


def test_without_rasterio_the_picture_is_inspected_and_the_mend_is_said(
    judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from toeline.errors import SetupError
    from toeline.pipelines import extraction

    def missing(module: str, *, extra: str) -> None:
        raise SetupError(f"{module} is not installed: {extra}")

    write_mosaic(Path("site/dam.tif"))
    monkeypatch.setattr(mosaics, "need", missing)
    monkeypatch.setattr(extraction, "find_spec", lambda _: None)
    assert inspect() == 1
    assert found() == {"dam.tif": 3}
    assert "rasterio is not installed: geo" in capsys.readouterr().out
