"""Scenes, photographs and YOLO folders from a few words, and a command run as it is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toeline.cli import main
from toeline.core.box import Box
from toeline.core.scene import Instance, Scene

NAMES = (
    "Toe drain",
    "Toe drain- Blocked",
    "Toe drain- Damaged",
    "rock toe",
    "rock toe damaged",
    "slope drain",
    "slope drain blocked",
    "slope drain damaged",
    "vegetation",
)


def make_scene(*rows: str, size_wh: tuple[int, int] = (100, 100), group: str = "") -> Scene:
    """make_scene("toe_drain 10 80 90 95") is a scene with one thing, called "1"; corners in pixels.

    >>> make_scene("toe_drain 10 80 90 95").instances[0].box
    Box(x1=10.0, y1=80.0, x2=90.0, y2=95.0)
    """
    words = [row.split() for row in rows]
    instances = [Instance(str(i), kind, Box(*map(float, xy))) for i, (kind, *xy) in enumerate(words, start=1)]
    return Scene(Path("memory.png"), size_wh, tuple(instances), group)


def make_photo(size_wh: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    """Colored noise, different for each seed."""
    wide, high = size_wh
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (high, wide, 3), dtype=np.uint8))


def write_photo(path: Path, size_wh: tuple[int, int] = (40, 30), seed: int = 0, orientation: int = 1) -> Path:
    """A photograph in the format of the path's suffix, stored as it is and marked as turned by `orientation`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    make_photo(size_wh, seed).save(path, exif=exif)
    return path


def write_labels(path: Path, rows: Sequence[str] | bytes) -> Path:
    """A label file of these rows, or of these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows if isinstance(rows, bytes) else "".join(f"{row}\n" for row in rows).encode())
    return path


def write_yolo(
    root: Path,
    splits: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    layout: str = "roboflow",
    names: Sequence[str] | None = NAMES,
    size_wh: tuple[int, int] = (40, 30),
) -> Path:
    """A YOLO data set: {"train": {"a.jpg": ["5 0.5 0.5 0.1 0.8"]}}; `layout` is roboflow, ultralytics or bare.

    The bare layout has one folder of photographs (all splits together) with `labels` inside it.
    """
    places = {
        "roboflow": ("{split}/images", "{split}/labels"),
        "ultralytics": ("images/{split}", "labels/{split}"),
        "bare": (".", "labels"),
    }[layout]
    for split, photos in splits.items():
        images, labels = (root / place.format(split=split) for place in places)
        for i, (photo, rows) in enumerate(photos.items()):
            write_photo(images / photo, size_wh, seed=i)
            write_labels(labels / f"{Path(photo).stem}.txt", rows)
    if names is not None:
        keys = {split: "val" if split == "valid" else split for split in splits} if layout != "bare" else {}
        listed = "".join(f"{key}: {places[0].format(split=split)}\n" for split, key in keys.items())
        named = ", ".join(repr(name) for name in names)
        (root / "data.yaml").write_text(f"{listed}names: [{named}]\n")
    return root


def exit_code(*words: str) -> int:
    """Run a command as it is typed, without the word toeline, in this process."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return int(stopped.value.code or 0)
