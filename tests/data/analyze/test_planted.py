"""Acceptance: planted faults are each found and named by file and line; nothing else is called a fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from tests.data.analyze.drawing import WORDS
from tests.helpers import NAMES, write_labels

from toeline.data.analyze.analysis import analyze
from toeline.data.analyze.flag import Weight
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
CONTRADICTIONS = [
    ["3 0.5 0.5 0.4 0.2", "4 0.5 0.5 0.4 0.2"],
    ["6 0.5 0.4 0.1 0.5", "6 0.501 0.4 0.1 0.5"],
    ["8 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9"],
]


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


def planted(root: Path) -> dict[tuple[str, int | None], str]:
    """Writes the data set; what must be called a fault, by file and line."""
    (root / "data.yaml").write_text(f"names: {list(NAMES)!r}\n")
    sources = [put(root, "train", f"T{i}_1.jpg", scenery(i), GOOD) for i in range(25)]
    found: dict[tuple[str, int | None], str] = {}
    for i in range(10):
        near = ImageEnhance.Brightness(scenery(i)).enhance(1.06)
        put(root, "valid", f"V{i}_1.jpg", near.resize((150, 150)), GOOD[:8])  # valid has no vegetation
        found[f"valid/images/V{i}_1.jpg", None] = "near copy across splits"
    for i in range(10, 15):
        copy = put(root, "test", f"C{i}_1.jpg", scenery(i), GOOD)
        shutil.copy(sources[i], copy)
        found[f"test/images/C{i}_1.jpg", None] = "exact copy across splits"
    put(root, "train", "R1_1_jpg.rf.aaaa.jpg", scenery(100), GOOD)
    put(root, "test", "R1_1_jpg.rf.bbbb.jpg", scenery(101), GOOD)  # another cut of the same source
    found["test/images/R1_1_jpg.rf.bbbb.jpg", None] = "export of one source across splits"
    put(root, "train", "B_1.jpg", scenery(102), BAD)
    found |= dict.fromkeys([("train/labels/B_1.txt", n) for n in (1, 2, 3)], "label line that cannot be used")
    found |= dict.fromkeys([("train/labels/B_1.txt", n) for n in (4, 5)], "box or polygon outside the photograph")
    found["train/labels/B_1.txt", 6] = "box or polygon of no size"
    for i, rows in enumerate(CONTRADICTIONS):
        put(root, "train", f"X{i}_1.jpg", scenery(103 + i), rows)
    found["train/labels/X0_1.txt", 2] = "one object, two conditions"
    found["train/labels/X1_1.txt", 2] = "object drawn twice"
    found["train/labels/X2_1.txt", 1] = "polygon that crosses itself"
    return found


def test_planted_faults_are_found_and_nothing_else_is_called_one(tmp_path: Path) -> None:
    expected = planted(tmp_path)
    assert len(expected) == 10 + 5 + 1 + 6 + 3
    found = analyze(open_yolo(tmp_path, WORDS), WORDS, workers=1)
    faults = [((f.file, f.line), f.check) for f in found.flags if f.weight is Weight.FAULT]
    assert dict(faults) == expected
    assert len(faults) == len(expected)
    assert found.counts.lacking == {"train": (), "valid": ("vegetation",), "test": ()}
    assert any(f.mood == "bad" and "valid has none of 'vegetation'" in f.text for f in found.findings)
    assert found.findings[0].mood == "bad"
    assert "10 near copies" in found.findings[0].text


def test_pixels_that_cannot_be_decoded_are_told_and_their_labels_count(tmp_path: Path) -> None:
    torn = put(tmp_path, "train", "a_1.jpg", scenery(1), GOOD)
    torn.write_bytes(torn.read_bytes()[:1500])
    (tmp_path / "train/images/gone_1.jpg").write_bytes(b"")
    put(tmp_path, "train", "b_1.jpg", scenery(2), GOOD)
    found = analyze(open_yolo(tmp_path, WORDS), WORDS, workers=1)
    assert [f.file for f in found.flags if f.weight is Weight.FAULT] == [
        "train/images/a_1.jpg",
        "train/images/gone_1.jpg",
    ]
    assert (found.unread, found.counts.photos, found.counts.objects) == (2, 2, 18)
