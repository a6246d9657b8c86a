"""What another program on one core costs `toeline inspect`, by number of threads.

    python benchmarks/busy.py PHOTOS [--judge auto] [--times 3] [--out benchmarks/results]

Inspects the folder alone, and again while a process of its own computes on one core without a break; with the default
and with each number of threads up to the number of cores. The order is drawn anew each time, and the median is told.
Findings must be the same bytes each time, or it ends with an error.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results import RESULTS, write

from toeline.core.prefetch import cores
from toeline.core.provenance import machine, versions
from toeline.data.images import find_photos

SPIN = "while True: pass"
ALONE, BUSY = "alone", "beside a busy process"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("photos", type=Path)
    options.add_argument("--judge", default="auto")
    options.add_argument("--times", type=int, default=3)
    options.add_argument("--out", type=Path, default=RESULTS)
    args = options.parse_args()
    runs = [(threads, where) for threads in range(cores() + 1) for where in (ALONE, BUSY)]
    seconds: dict[tuple[int, str], list[float]] = {run: [] for run in runs}
    found: set[str] = set()
    order = random.Random(0)
    for _ in range(args.times):
        for threads, where in order.sample(runs, len(runs)):
            took, digest = inspect(args.photos, args.judge, threads, busy=where == BUSY)
            seconds[threads, where].append(took)
            found.add(digest)
            print(f"{threads or 'default':>8} threads, {where}: {took:.1f} s", file=sys.stderr)
    if len(found) > 1:
        raise SystemExit(f"{len(found)} different findings.jsonl: the number of threads changes the answers.")
    photographs = len(list(find_photos([args.photos])))
    figures = {
        "photographs": photographs,
        "judge": args.judge,
        "times": args.times,
        "seconds": {f"{t or 'default'} {w}": statistics.median(s) for (t, w), s in seconds.items()},
        "machine": {**machine(), **versions()},
    }
    write("busy", "\n".join(page(figures, seconds)), figures, args.out)


def inspect(photos: Path, judge: str, threads: int, *, busy: bool) -> tuple[float, str]:
    """Seconds of one run from a cold process, and the hash of its findings."""
    with tempfile.TemporaryDirectory() as folder, neighbor(busy):
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "toeline", "inspect", str(photos), "--out", str(out), "--judge", judge]
        began = time.monotonic()
        done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        if done.returncode > 1:
            raise SystemExit(done.stderr)
        return took, hashlib.sha256((out / "findings.jsonl").read_bytes()).hexdigest()


@contextmanager
def neighbor(busy: bool) -> Iterator[None]:
    """Another program that takes all of a core."""
    if not busy:
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def page(figures: dict[str, Any], seconds: dict[tuple[int, str], list[float]]) -> Iterator[str]:
    medians = {run: statistics.median(s) for run, s in seconds.items()}
    best = min((t for t, where in medians if where == BUSY), key=lambda t: medians[t, BUSY])
    yield "# Beside another program"
    yield ""
    yield (
        f"Written by `python benchmarks/busy.py`: `toeline inspect` (judge {figures['judge']}) of "
        f"{figures['photographs']} photographs from a cold process, seconds, the median of {figures['times']}. Beside "
        f"a process that computes on one of {cores()} cores, the default takes "
        f"{medians[0, BUSY] / medians[best, BUSY]:.2f} times as long as the best number of threads there, and "
        f"{medians[0, BUSY] / medians[0, ALONE]:.2f} times as long as alone. Findings were the same bytes each time."
    )
    yield ""
    yield f"| threads | {ALONE} | {BUSY} |"
    yield "|---|--:|--:|"
    for threads in sorted({t for t, _ in medians}):
        yield f"| {threads or 'default'} | {medians[threads, ALONE]:.1f} | {medians[threads, BUSY]:.1f} |"
    yield ""
    yield "- " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())


if __name__ == "__main__":
    main()
