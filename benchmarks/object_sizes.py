"""How large the objects are that the embedded detector was trained on, written into its detector.json; and real ones.

    python benchmarks/object_sizes.py [--write] [--real ../shared/data/lagoon-dyke/train]

Plans of the scenes that `toeline synth --seed 1 --scenes 3000` draws (nothing is painted: 40 seconds), boxes of their
polygons as the detector was taught them. Sizes are roots of areas as shares of the frame. `--write` puts them into
src/toeline/models/detector/detector.json; `toeline train-embedded detector` does that for new weights by itself. The
median of the real labels is `TYPICAL` in src/toeline/detect/tiling.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toeline.detect.load import EMBEDDED
from toeline.synth.dataset import scene_seed
from toeline.synth.layout import sample_plan
from toeline.synth.plan import CANVAS
from toeline.train.detector_data import object_sizes

SEED, SCENES = 1, 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke/train"))
    args = parser.parse_args()
    drawn = object_sizes(drawn_boxes(args.scenes), frame_px=CANVAS)
    drawn["measured"] = f"benchmarks/object_sizes.py, {args.scenes} scenes of seed {SEED}"
    print("drawn", json.dumps(drawn))
    if args.real.is_dir():
        print("real", json.dumps(object_sizes(real_boxes(args.real / "labels"), frame_px=CANVAS)))
    if args.write:
        card = EMBEDDED.with_name("detector.json")
        said = json.loads(card.read_text(encoding="utf-8"))
        training = said.pop("training")
        text = json.dumps({**said, "objects": drawn, "training": training}, indent=1)
        card.write_text(text + "\n", encoding="utf-8")


def drawn_boxes(scenes: int) -> Iterator[tuple[float, float]]:
    for number in range(scenes):
        plan = sample_plan(scene_seed(SEED, number))
        for item, wanted in zip(plan.items, plan.labeled, strict=True):
            if wanted:
                wide, high = np.ptp(np.asarray(item.polygon), axis=0) / CANVAS
                yield float(wide), float(high)


def real_boxes(labels: Path) -> Iterator[tuple[float, float]]:
    """Boxes and polygons of YOLO label files; the photographs are square."""
    for file in sorted(labels.glob("*.txt")):
        for line in file.read_text(encoding="utf-8").splitlines():
            numbers = [float(word) for word in line.split()[1:]]
            if len(numbers) == 4:
                yield numbers[2], numbers[3]
            elif len(numbers) >= 6:
                wide, high = np.ptp(np.asarray(numbers).reshape(-1, 2), axis=0)
                yield float(wide), float(high)


if __name__ == "__main__":
    main()
