"""Acceptance: planted faults are each found and named by file and line; nothing else is called a fault."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from tests.support.datasets import NAMES, write_labels
from tests.support.surveys import WORDS
from typer.testing import CliRunner

from toeline.analysis.analyze import How, analyze
from toeline.analysis.table import Weight
from toeline.cli.app import app
from toeline.data.yolo import open_yolo

GOOD = [f"{i} {0.15 + 0.08 * i:.2f} {0.2 + 0.07 * i:.2f} 0.05 0.06" for i in range(9)]  # one of every class, apart
BAD = [
    "9 0.5 0.5 0.1 0.1",
    "5 0.5 0.5 0.1",
    "5 0.5 0.5 0.1 x",
    "5 1.5 0.5 0.1 0.1",
    "5 0.95 0.5 0.2 0.1",
    "5 0.3 0.5 0 0.1",
]
CONTRADICTIONS = {
    "one object, two conditions": ["3 0.5 0.5 0.4 0.2", "4 0.5 0.5 0.4 0.2"],
    "one object, two types": ["2 0.5 0.8 0.8 0.1", "5 0.5 0.8 0.8 0.1"],
    "object drawn twice": ["6 0.5 0.4 0.1 0.5", "6 0.501 0.4 0.1 0.5"],
}
CROSSED = ["8 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9"]
TRAIN = 25
Place = tuple[str, int | None]


def scenery(seed: int) -> Image.Image:
    """Soft blotches, different for each seed, as unlike as two places are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC)


def put(root: Path, split: str, name: str, picture: Image.Image, rows: list[str]) -> Path:
    place = root / split / "images" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place, quality=92)
    write_labels(root / split / "labels" / f"{place.stem}.txt", rows)
    return place


def put_copies(root: Path, sources: list[Path]) -> dict[Place, tuple[str, str]]:
    """10 near copies, 5 exact ones, and a second export of one source; where they must be found, as what, of what."""
    found: dict[Place, tuple[str, str]] = {}
    for i in range(10):
        near = scenery(i).crop((4, 4, 156, 156)).resize((150, 150 + i))  # so much that the hashes differ by 2 to 6 bits
        near = ImageEnhance.Brightness(near).enhance(1.06 if i % 2 else 0.95)
        place = put(root, "valid", f"V{i}_1.jpg", near, GOOD[:8])  # valid has no vegetation
        found[place.relative_to(root).as_posix(), None] = "near copy across splits", f"train/images/T{i}_1.jpg"
    for i in range(10, 15):
        copy = put(root, "test", f"C{i}_1.jpg", scenery(i), GOOD)
        shutil.copy(sources[i], copy)
        found[copy.relative_to(root).as_posix(), None] = "exact copy across splits", f"train/images/T{i}_1.jpg"
    one, other = "train/images/R1_1_jpg.rf.aaaa.jpg", "test/images/R1_1_jpg.rf.bbbb.jpg"
    for name, seed in ((one, 100), (other, 101)):  # another cut of the same source looks like another place
        put(root, name.split("/")[0], Path(name).name, scenery(seed), GOOD)
    return {**found, (other, None): ("export of one source across splits", one)}


def put_bad_labels(root: Path) -> dict[Place, tuple[str, str]]:
    """6 lines that cannot be used, 3 contradictions and a polygon that crosses itself; where they must be found."""
    put(root, "train", "B_1.jpg", scenery(102), BAD)
    kinds = ["label line that cannot be used"] * 3 + ["box or polygon outside the photograph"] * 2
    found = {("train/labels/B_1.txt", n): kind for n, kind in enumerate([*kinds, "box or polygon of no size"], start=1)}
    for i, (kind, rows) in enumerate(CONTRADICTIONS.items()):
        put(root, "train", f"X{i}_1.jpg", scenery(103 + i), rows)
        found[f"train/labels/X{i}_1.txt", 2] = kind
    put(root, "train", "Y_1.jpg", scenery(110), CROSSED)
    found["train/labels/Y_1.txt", 1] = "polygon that crosses itself"
    return {place: (kind, "") for place, kind in found.items()}


def planted(root: Path) -> dict[Place, tuple[str, str]]:
    """Writes the data set; what must be called a fault, by file and line: its kind, and the other photograph."""
    (root / "data.yaml").write_text(f"names: {list(NAMES)!r}\n")
    sources = [put(root, "train", f"T{i}_1.jpg", scenery(i), GOOD) for i in range(TRAIN)]
    return {**put_copies(root, sources), **put_bad_labels(root)}


def test_planted_faults_are_found_and_nothing_else_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    expected, out = planted(tmp_path / "set"), tmp_path / "out"
    done = CliRunner().invoke(app, ["analyze", str(tmp_path / "set"), "--out", str(out), "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in (out / "problems.jsonl").read_text("utf-8").splitlines()]
    faults = [f for f in told if f["weight"] == "fault"]
    assert {(f["file"], f["line"]): (f["check"], f["other"]) for f in faults} == expected
    assert len(faults) == len(expected) == json.loads(done.stdout)["faults"]
    assert Counter(kind for kind, _ in expected.values()) == {
        "near copy across splits": 10,
        "exact copy across splits": 5,
        "export of one source across splits": 1,
        "label line that cannot be used": 3,
        "box or polygon outside the photograph": 2,
        "box or polygon of no size": 1,
        **dict.fromkeys(CONTRADICTIONS, 1),
        "polygon that crosses itself": 1,
    }
    found = json.loads((out / "analysis.json").read_text("utf-8"))
    the_numbers_say_the_same(found)
    page = (out / "report.html").read_text("utf-8")
    assert [file for file, _ in expected if file not in page] == []


def the_numbers_say_the_same(found: dict[str, Any]) -> None:
    """analysis.json: pairs by kind, label checks by kind, and the split without a class."""
    crossing = {kind: n["across"] for kind, n in found["leaks"]["pairs"].items() if n["across"]}
    assert crossing == {"near copy": 10, "exact copy": 5, "export of one source": 1}
    assert not any(n["within"] for n in found["leaks"]["pairs"].values())
    assert "10 near copies" in found["leaks"]["verdict"]
    checks = {c["check"]: c["found"] for c in found["labels"]["checks"] if c["found"] and c["weight"] == "fault"}
    assert (checks.pop("label line that cannot be used"), sum(checks.values())) == (3, 2 + 1 + 3 + 1)
    assert found["counts"]["lacking"] == {"train": [], "valid": ["vegetation"], "test": []}
    bad = [f["text"] for f in found["findings"] if f["mood"] == "bad"]
    assert bad[0] == found["leaks"]["verdict"]
    assert "valid has none of 'vegetation'." in bad


def test_pixels_that_cannot_be_decoded_are_told_and_their_labels_count(tmp_path: Path) -> None:
    torn = put(tmp_path, "train", "a_1.jpg", scenery(1), GOOD)
    torn.write_bytes(torn.read_bytes()[:1500])
    (tmp_path / "train/images/gone_1.jpg").write_bytes(b"")
    put(tmp_path, "train", "b_1.jpg", scenery(2), GOOD)
    found = analyze(open_yolo(tmp_path, WORDS), WORDS, How(pixels=True))
    assert [f.file for f in found.flags if f.weight is Weight.FAULT] == [
        "train/images/a_1.jpg",
        "train/images/gone_1.jpg",
    ]
    assert (found.unread, found.counts.photos, found.counts.objects) == (2, 2, 18)
