"""A data set whose conditions can be seen from the color of a box, so that a few trees learn it in no time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tests.support.datasets import NAMES

COLORS: Mapping[str, tuple[int, int, int]] = {
    "slope drain": (150, 150, 150),
    "slope drain blocked": (60, 160, 50),
    "slope drain damaged": (170, 70, 50),
    "rock toe": (120, 110, 100),
    "rock toe damaged": (70, 60, 110),
    "vegetation": (40, 120, 40),
}
PLACES = ((4, 4, 12, 40), (20, 4, 28, 40), (40, 6, 60, 20))  # x1, y1, x2, y2 in pixels


def write_colored(root: Path, *, lines: int = 4, per_line: int = 4, split: str = "train", first: int = 0) -> Path:
    """`lines` flight lines of `per_line` photographs, 64 x 48 pixels, three objects on each; the `first` is A for 0."""
    rng = np.random.default_rng(7)
    classes = list(COLORS)
    for line in range(first, first + lines):
        for frame in range(per_line):
            pixels = rng.normal(190, 12, (48, 64, 3))
            rows = []
            for i, (x1, y1, x2, y2) in enumerate(PLACES):
                name = classes[(line + frame + 2 * i) % len(classes)]
                pixels[y1:y2, x1:x2] = np.array(COLORS[name]) + rng.normal(0, 12, (y2 - y1, x2 - x1, 3))
                center = f"{(x1 + x2) / 128} {(y1 + y2) / 96} {(x2 - x1) / 64} {(y2 - y1) / 48}"
                rows.append(f"{NAMES.index(name)} {center}")
            stem = f"Line{'ABCDEFGH'[line]}_{frame}_V"
            photo = root / split / "images" / f"{stem}.png"
            labels = root / split / "labels" / f"{stem}.txt"
            photo.parent.mkdir(parents=True, exist_ok=True)
            labels.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(photo)
            labels.write_text("\n".join(rows) + "\n")
    keys = {"train": "train", "valid": "val"}
    places = "".join(f"{key}: {part}/images\n" for part, key in keys.items() if (root / part).is_dir())
    (root / "data.yaml").write_text(f"{places}names: {list(NAMES)!r}\n")
    return root
