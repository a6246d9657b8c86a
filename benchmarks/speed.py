"""`toeline inspect` and its start, before and after a change, in pairs.

    python benchmarks/speed.py REAL --before CHECKOUT [--drawn 200] [--large 1] [--pairs 3] [--out benchmarks/results]

Whole commands as a user types them, each from a new process with a fresh folder: `toeline --help`, `inspect` of one
photograph, of the folder REAL, of drawn scenes of 640 x 640, and of drawn photographs of 6000 x 4000 pixels. Both
checkouts take turns, so that other programs disturb both alike; the median is told. CPU seconds are those of the
process and its children, and say more than time where other programs have a core. Findings are compared one by one.
Sets that are not run this time keep what was measured of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic import draw_mosaic
from PIL import Image
from results import RESULTS, write

from toeline.core.prefetch import cores
from toeline.core.provenance import machine, versions
from toeline.core.records import each_line
from toeline.data.images import find_photos
from toeline.synth.dataset import write_dataset

SEED, SIDE, LARGE_WH, GRID, OBJECTS = 81_900, 640, (6000, 4000), (9, 6), 60
HERE = Path(__file__).resolve().parents[1]
SAME = ("photo", "id", "type", "class", "condition", "review", "second")  # of a finding; second by its class alone


@dataclass(frozen=True)
class Took:
    """One run: seconds, CPU seconds, and what was found."""

    seconds: float
    cpu: float
    findings: list[dict[str, Any]]


def main() -> None:
    args = arguments()
    made, kept = {**machine(), "cores": cores(), **versions()}, args.out / "speed.json"
    rows = {r["set"]: r for r in json.loads(kept.read_text("utf-8"))["sets"]} if kept.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="toeline-") as folder:
        for number, (name, n, words) in enumerate(sets(args, Path(folder))):
            found = compared(words, args.before, Path(folder, f"out-{number}"), args.pairs)
            rows[name] = {"set": name, "photographs": n, "pairs": args.pairs, **found}
            figures = {"sets": list(rows.values()), "machine": made}
            write("speed", "\n".join(page(figures)), figures, args.out)  # each as it is done: all of it takes long
    print("\n".join(page(figures)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path, help="a folder of photographs")
    parser.add_argument("--before", type=Path, required=True, help="another checkout, which is compared with this one")
    parser.add_argument("--drawn", type=int, default=200)
    parser.add_argument("--large", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def sets(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """What is run: its name, how many photographs, and what is typed."""
    real = [photo.path for photo in find_photos([args.real])]
    yield "toeline --help", 0, ["--help"]
    yield "one real photograph", 1, ["inspect", str(real[0])]
    yield "real photographs", len(real), ["inspect", str(args.real)]
    if args.drawn:
        drawn = folder / "drawn"
        write_dataset(drawn, scenes=args.drawn, seed=SEED, size=SIDE, parts={"all": 1.0}, masks=False, workers=cores())
        yield f"drawn, {SIDE} x {SIDE}", args.drawn, ["inspect", str(drawn / "all" / "images")]
    if args.large:
        (folder / "large").mkdir()
        for n in range(args.large):
            image = draw_mosaic(SEED + n, size_wh=LARGE_WH, grid=GRID, objects=OBJECTS).image
            Image.fromarray(image).save(folder / "large" / f"{n}.jpg", quality=90)
        yield f"drawn, {LARGE_WH[0]} x {LARGE_WH[1]}", args.large, ["inspect", str(folder / "large")]


def compared(words: list[str], before: Path, out: Path, pairs: int) -> dict[str, Any]:
    """Both checkouts in turns."""
    took: dict[str, list[Took]] = {"before": [], "after": []}
    for n in range(pairs):
        order = list({"before": before.resolve(), "after": HERE}.items())
        for which, checkout in order if n % 2 else reversed(order):
            took[which].append(once(words, checkout, out / f"{which}-{n}"))
            print(which, words[:2], f"{took[which][-1].seconds:.2f} s, {took[which][-1].cpu:.2f} s of CPU", flush=True)
    middle = {
        f"{what}_{which}": round(statistics.median(getattr(one, what) for one in runs), 3)
        for what in ("seconds", "cpu")
        for which, runs in took.items()
    }
    return {**middle, **differences(took["before"][0].findings, took["after"][0].findings)}


def once(words: list[str], checkout: Path, out: Path) -> Took:
    """One command from a cold process, with the package of `checkout`."""
    more = ["--out", str(out)] if words[0] == "inspect" else []
    env = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-m", "toeline", *words, *more]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=env, cwd=checkout, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode > 1:
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = [record for _, record in each_line(out / "findings.jsonl")] if more else []
    return Took(seconds, cpu, found)


def differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """How many findings there are, how many say something else, and the largest change of a probability."""
    pairs = list(zip(before, after, strict=False))
    return {
        "findings": len(before),
        "other": abs(len(before) - len(after)) + sum(said(a) != said(b) for a, b in pairs),
        "drift": max((abs(x - y) for a, b in pairs for x, y in zip(numbers(a), numbers(b), strict=False)), default=0.0),
        "same_bytes": before == after,
    }


def said(finding: Mapping[str, Any]) -> list[Any]:
    second = (finding.get("second") or {}).get("class")
    return [second if name == "second" else finding.get(name) for name in SAME]


def numbers(finding: Mapping[str, Any]) -> list[float]:
    return [finding["detector_confidence"], *finding["probabilities"].values()]


def page(figures: dict[str, Any]) -> Iterator[str]:
    yield "# Before and after\n"
    yield (
        "Written by `python benchmarks/speed.py`: whole commands from a new process, the median of so many pairs of "
        "turns, models as shipped. `x` is how many times less it takes. `other` are findings of which photograph, "
        "object, type, class, condition, second class or review differ; `drift` is the largest change of a "
        "probability. Other programs had a large share of the cores: CPU seconds tell more than seconds.\n"
    )
    yield "| | photographs | pairs | s, before | after | x | CPU s, before | after | x | findings | other | drift |"
    yield "|---|" + "--:|" * 11
    for r in figures["sets"]:
        seconds, cpu = ((r[f"{what}_before"], r[f"{what}_after"]) for what in ("seconds", "cpu"))
        cells = [f"{a:.2f} | {b:.2f} | {a / max(b, 1e-9):.2f}" for a, b in (seconds, cpu)]
        drift = "same bytes" if r["same_bytes"] else f"{r['drift']:.1g}"
        counts = f"{r['photographs']} | {r['pairs']}"
        yield f"| {r['set']} | {counts} | {' | '.join(cells)} | {r['findings']} | {r['other']} | {drift} |"
    yield "\n- " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())


if __name__ == "__main__":
    main()
