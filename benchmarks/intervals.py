"""How often the 95 % intervals of a scorecard hold what they should, where photographs are hard or easy as a whole.

    python benchmarks/intervals.py [--sets 1000] [--out benchmarks/results]

Simulated: each set has so many photographs with 1 to 8 objects; a photograph's chance to be judged rightly is drawn
from a beta distribution of mean `share` and intraclass correlation `alike`. Covered: how often the interval holds
`share`. Compared are the quoted interval (`Figure.interval`), the bootstrap alone, and Wilson's on all objects as if
they were independent. For differences, two judges are drawn on the same photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from results import write

from toeline.core.statistics import Interval, wilson
from toeline.evaluate.compare import difference_intervals
from toeline.evaluate.metric import ClusterBootstrap, ratio

SETTINGS = (
    (15, 0.85, 0.2),
    (25, 0.80, 0.3),
    (34, 0.95, 0.15),
    (47, 0.90, 0.1),
    (47, 0.90, 0.3),
    (60, 0.60, 0.5),
    (200, 0.90, 0.2),
)
DRAWS = 1000
GAIN = 0.24  # of what the first judge has wrong, the share that the second one gets right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="folder for intervals.json and intervals.md")
    args = parser.parse_args()
    rows = [measured(*setting, args.sets) for setting in SETTINGS]
    print(text := table(rows, args.sets))
    if args.out:
        write("intervals", f"# Do the intervals hold?\n\n{said()}\n\n{text}", rows, args.out)


def said() -> str:
    return (__doc__ or "").split("\n\n")[2]


def measured(photographs: int, share: float, alike: float, sets: int) -> dict[str, Any]:
    """Coverage and mean width of each method."""
    rng = np.random.default_rng(photographs)
    held: dict[str, list[tuple[bool, float]]] = {}
    for seed in range(sets):
        ground_truth, intervals = one_set(rng, photographs, share, alike, seed)
        for name, interval in intervals.items():
            true = ground_truth if name.startswith("difference") else share
            held.setdefault(name, []).append((interval.low <= true <= interval.high, interval.high - interval.low))
    means = {name: np.mean(rows, axis=0) for name, rows in held.items()}
    return {
        "photographs": photographs,
        "share": share,
        "alike": alike,
        **{name: {"covered": round(float(c), 3), "width": round(float(w), 3)} for name, (c, w) in means.items()},
    }


def one_set(
    rng: np.random.Generator, photographs: int, share: float, alike: float, seed: int
) -> tuple[float, dict[str, Interval]]:
    """The true difference of two judges, and every interval on one simulated set."""
    spread = (1 - alike) / alike  # of a beta distribution with this intraclass correlation
    objects = rng.integers(1, 9, photographs)
    photo = np.repeat(np.arange(photographs), objects)
    chance = rng.beta(share * spread, (1 - share) * spread, photographs)[photo]
    first, second = rng.random(len(photo)) < chance, rng.random(len(photo)) < chance + GAIN * (1 - chance)
    every = np.ones(len(photo), dtype=bool)
    bootstrap = ClusterBootstrap.of([str(p) for p in photo], draws=DRAWS, seed=seed)
    figure = ratio("", "", first, every, bootstrap)
    quoted, drawn = difference_intervals(first, second, every, bootstrap)
    return GAIN * (1 - share), {
        "quoted": figure.interval,
        "bootstrap": figure.clustered,
        "independent": wilson(int(first.sum()), len(photo)),
        "difference, quoted": quoted,
        "difference, bootstrap": drawn,
    }


def table(rows: list[dict[str, Any]], sets: int) -> str:
    """Coverage in percent, mean width in points, of the sets of each setting."""
    names = ("quoted", "bootstrap", "independent", "difference, quoted", "difference, bootstrap")
    cell: Callable[[dict[str, float]], str] = lambda r: f"{100 * r['covered']:.1f} ({100 * r['width']:.1f})"  # noqa: E731
    head = ["photographs", "share", "alike", *names]
    lines = [f"| {' | '.join(head)} |", f"|{'--:|' * len(head)}"]
    lines += [
        f"| {r['photographs']} | {r['share']} | {r['alike']} | {' | '.join(cell(r[n]) for n in names)} |" for r in rows
    ]
    return f"{sets} sets each; covered in percent, mean width in points in brackets.\n\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
