"""Two visits of a site from a few numbers: photographs in a row, objects at meters east and north of a point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.datasets import write_photo

from toeline.core.box import Box
from toeline.core.finding import Finding, Result, Verdict, graded
from toeline.core.geo import CameraPose, GeoPosition, Meters, Point, moved, pose_from, pose_record
from toeline.core.reading import file_hash
from toeline.core.run_folder import RunFolder
from toeline.core.taxonomy import Taxonomy
from toeline.report.visits import Visit

ORIGIN = Point(51.0, 13.0)
SIZE = (400, 300)
WORDS = Taxonomy.load()


def at(east: float, north: float = 0.0, error_m: float = 3.0, group: str = "") -> GeoPosition:
    point = moved(ORIGIN, Meters(east, north))
    return GeoPosition(point.latitude, point.longitude, "ground", error_m, group)


def pose(east: float, north: float = 0.0) -> CameraPose:
    """A camera 40 m above the ground that looks straight down: it shows 53 m by 40 m."""
    point = moved(ORIGIN, Meters(east, north))
    return CameraPose(point.latitude, point.longitude, height_m=40, yaw=0, pitch=-90, roll=0, focal=0.6)


def shot(photo: str, place: CameraPose | None = None, **more: Any) -> dict[str, Any]:
    """A line of progress.jsonl."""
    known = {"photo": photo, "size": list(SIZE), "failed": False, "sha256": "", "problems": 0, "findings": 0}
    return {**known, **({"place": pose_record(place)} if place else {}), **more}


def said(
    photo: str,
    number: int | str,
    class_name: str,
    place: GeoPosition | None = None,
    *,
    p: float = 0.98,
    box: tuple[float, float, float, float] = (100, 100, 160, 140),
    review: str = "",
    score: float = 0.95,
) -> Finding:
    """A finding with the grade of the shipped taxonomy; the other answers share the rest of the probability."""
    c = WORDS.class_of(class_name)
    others = [name for name in WORDS.answers(c.type) if name != c.name]
    odds = {c.name: p, **{name: (1 - p) / len(others) for name in others}} if others else {c.name: 1.0}
    verdict = Verdict(c.name, c.condition, odds[c.name], odds, review=review)
    found = Finding(photo, str(number), c.type, Box(*box), score, verdict, geo_position=place)
    return graded([found], (), WORDS)[0]


def visit(name: str, shots: Sequence[dict[str, Any]], findings: Sequence[Finding], **more: Any) -> Visit:
    return Visit(name, more.pop("record", {"settings": {}}), WORDS, shots, findings, **more)


def write_visit(folder: Path, shots: Sequence[dict[str, Any]], findings: Sequence[Finding], **more: Any) -> Path:
    """A finished run of these, with its photographs beside it; they have other pixels in every folder."""
    photos, first = folder / "photos", sum(folder.name.encode())
    hashes = [file_hash(write_photo(photos / s["photo"], SIZE, seed=first + n)) for n, s in enumerate(shots)]
    record = {"command": "inspect", "settings": {"photos": [str(photos)], "taxonomy": None}, "finished": "x", **more}
    run = RunFolder.open(folder / "run", record)
    results = [
        Result(
            s["photo"], SIZE, tuple(f for f in findings if f.photo == s["photo"]), sha256=digest,
            failed=s["failed"], place=pose_from(s.get("place")),
        )
        for s, digest in zip(shots, hashes, strict=True)
    ]  # fmt: skip
    list(run.keep(results))
    return folder / "run"
