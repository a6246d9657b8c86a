"""What prior correction gives with the embedded judge: every prompt with and without it, on drawn and on real objects.

    python benchmarks/prior.py [--scenes 60] [--real ../shared/data/lagoon-dyke] [--out benchmarks/results]

The embedded judge was trained for these classes, on drawn scenes and on real photographs, so it is no zero-shot judge:
this shows what the correction does to one that has little to correct. docs/prompts.md says what it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import RESULTS, write

from evaluate import SEED
from toeline.synth.dataset import write_dataset

HEAD = "| prior | prompt | as scored | corrected | points | 95 % interval | McNemar's p | majority class | n |"
PRIORS = ("content-free", "split")


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        sets = {}
        if args.scenes:
            write_dataset(top / "drawn", scenes=2 * args.scenes, seed=SEED, parts=PARTS, masks=False)
            sets["drawn"] = top / "drawn"
        if (args.real / "data.yaml").is_file():
            sets["real"] = args.real.resolve()
        figures = {
            name: {prior: measured(top, data, f"{name}-{prior}", prior) for prior in PRIORS}
            for name, data in sets.items()
        }
    write("prior", "\n\n".join(["# Prior correction", WORDS, *(table(name, f) for name, f in figures.items())]),
          {name: {prior: kept(rows) for prior, rows in f.items()} for name, f in figures.items()}, args.out,
          all_of=figures)  # fmt: skip


PARTS = {"train": 0.5, "valid": 0.5}
WORDS = (
    "The embedded judge, condition given the type, true boxes of valid; `split` is the mean over train. That judge was "
    "trained for these classes, on other drawn scenes and on the real train split, so this is no zero-shot figure: it "
    "has little preference to take off, and what it knows of how common a class is goes too. Intervals are of paired "
    "differences. Made by `benchmarks/prior.py`."
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60, help="of valid, and as many of train; 0 leaves them out")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def measured(top: Path, data: Path, name: str, prior: str) -> list[dict[str, Any]]:
    """What scorecard.json says of a prior: with every prompt; of one that needs a pass of train, with the own one."""
    words = ["evaluate", str(data), "--split", "valid", "--judge", "embedded", "--spatial", "0", "--out", name]
    words += ["--prior", prior, *(["--prompt", "all"] if prior == PRIORS[0] else [])]
    subprocess.run([sys.executable, "-m", "toeline", *words], cwd=top, check=False)
    found: list[dict[str, Any]] = json.loads((top / name / "scorecard.json").read_text("utf-8"))["prior"]
    return found


def table(name: str, figures: dict[str, list[dict[str, Any]]]) -> str:
    rows = [row_of(prior, row) for prior, rows in figures.items() for row in rows]
    return f"## {name.capitalize()}\n\n{HEAD}\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(rows)


def row_of(prior: str, row: dict[str, Any]) -> str:
    before, after, change = row["without"], row["with"], row["difference"]
    low, high = change["interval"]
    shares = (f"{100 * f['value']:.1f} %" for f in (before, after))
    base = after["floor"]
    return (
        f"| {prior} | {row['prompt']} | {' | '.join(shares)} | {100 * change['value']:+.1f} | {100 * low:+.1f} to "
        f"{100 * high:+.1f} | {change['p']:.3f} | {'' if base is None else f'{100 * base:.1f} %'} | {after['n']} |"
    )


def kept(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each prompt what its row says; the prior itself of the first, the judge's own."""
    figures = ("value", "interval", "n", "floor")
    found: dict[str, Any] = {
        row["prompt"]: {
            **{side: {key: row[side][key] for key in figures} for side in ("without", "with")},
            "difference": row["difference"],
        }
        for row in rows
    }
    return {**found, "log_probabilities": rows[0]["log_probabilities"]}


if __name__ == "__main__":
    main()
