"""What a learned detector knows, by the share that the weights to begin with keep in it (`--keep`, WiSE-FT).

    python benchmarks/kept.py MODEL --from WEIGHTS [--scenes 60] [--out benchmarks/results]

MODEL is a folder of `toeline learn`; the detectors in its `steps/` are those of its folds, and each is measured on the
photographs of its fold, which it never saw, and on drawn scenes of a seed of their own. WEIGHTS are those it began
with. One view of a photograph, no second look. Needs the extra train-detector. Nothing here is chosen on valid.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results import RESULTS, write

from toeline.core.provenance import machine, versions
from toeline.evaluate.average_precision import average_precision, precision_record
from toeline.pipelines.learn import STEPS, Learning
from toeline.train.config import LearnRun
from toeline.train.detector_backends import own_learner
from toeline.train.detector_data import KINDS, SPARE, Pictures, Sample, fill_pool
from toeline.train.detector_loop import BEST, load_weights, pull

SHARES = (0.0, 0.1, 0.15, 0.2, 0.3, 0.5)
SEED = 5_500_000  # of drawn scenes that nothing else is trained or measured on


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("model", type=Path)
    options.add_argument("--from", dest="begin", required=True)
    options.add_argument("--scenes", type=int, default=60)
    options.add_argument("--out", type=Path, default=RESULTS)
    args = options.parse_args()
    settings = json.loads((args.model / "run.json").read_text(encoding="utf-8"))["settings"]
    run = LearnRun(begin=args.begin, folds=settings["folds"], split=settings["split"], valid=settings["valid"])
    learning = Learning.of(run, Path(settings["data"]), args.model)
    with tempfile.TemporaryDirectory() as pool:
        rows = [row for fold in learning.folds for row in of_fold(learning, fold, args.scenes, Path(pool))]
    figures = {"rows": rows, "scenes": args.scenes, "machine": {**machine(), **versions()}}
    write("kept", "\n".join(page(figures)), figures, args.out)


def of_fold(learning: Learning, fold: int, scenes: int, pool: Path) -> Iterator[dict[str, Any]]:
    """mAP@0.5 of a fold's detector, by share."""
    train, kinds = learning.boxes.train.scenes, learning.boxes.kinds
    seen = learning.outside(train, fold)
    learner = own_learner(
        learning.run.detector, kinds, lambda size: Pictures(seen, kinds, round(size * SPARE)), "cpu"
    )  # fmt: skip
    held = Pictures(learning.inside(train, fold), kinds, round(learner.size * SPARE))
    numbers = [kinds.index(kind) for kind in KINDS]
    drawn = [
        Sample(s.pixels, [(numbers[k], polygon) for k, polygon in s.objects])
        for s in fill_pool(pool, scenes=scenes, seed=SEED).read()
    ]
    begun = copy.deepcopy(learner.network.state_dict())
    for share in SHARES:
        load_weights(learner.network, learning.out / STEPS / f"detector-{fold + 1}" / BEST)
        pull(learner.network.state_dict(), begun, share)
        learner.network.eval()
        real, other = (
            precision_record(average_precision(*learner.find(learner.network, pictures), kinds))["map_50"]
            for pictures in (held, drawn)
        )
        yield {"fold": fold + 1, "share": share, "photographs": real, "drawn": other}
        print(f"fold {fold + 1}, share {share}: photographs {real:.3f}, drawn scenes {other:.3f}", flush=True)


def page(figures: dict[str, Any]) -> Iterator[str]:
    rows = figures["rows"]
    folds = sorted({r["fold"] for r in rows})
    yield "# What is kept of the weights to begin with"
    yield ""
    yield (
        f"Written by `python benchmarks/kept.py`: mAP@0.5 of one view by the detectors of {len(folds)} folds of the "
        f"real train split, each on photographs of flight lines that it never saw and on {figures['scenes']} drawn "
        f"scenes, by the share that the weights to begin with (drawn scenes only) have in those at the end. One "
        f"training for each fold, one seed. `toeline learn` keeps 0.15, chosen on the first two folds before the "
        f"third was looked at. Nothing was measured on valid."
    )
    yield ""
    yield f"| share | {' | '.join(f'photographs, fold {f}' for f in folds)} | mean | drawn scenes, mean |"
    yield f"|--:|{'--:|' * (len(folds) + 2)}"
    for share in SHARES:
        mine = [r for r in rows if r["share"] == share]
        real, drawn = ([r[what] for r in mine] for what in ("photographs", "drawn"))
        cells = " | ".join(f"{v:.3f}" for v in [*real, sum(real) / len(real), sum(drawn) / len(drawn)])
        yield f"| {share} | {cells} |"
    yield ""
    yield "- " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())


if __name__ == "__main__":
    main()
