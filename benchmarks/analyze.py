"""What `toeline analyze` takes: photographs a second, memory from 1,000 to 20,000 photographs, a million label lines.

    python benchmarks/analyze.py [--out benchmarks/results] [--parts speed memory labels] [--before CHECKOUT]

Whole commands, as a user starts them, with a fresh folder for the results. Photographs are JPEG files, each put
together from four quarters of drawn scenes, so that no two are alike: 640 x 640 for the speed, 160 x 160 where memory
is compared (what is kept of a photograph does not depend on its size). Labels are small objects in cells of a grid. The
million label lines lie beside one photograph under many names, and pixels are not looked at (`--no-pixels`).
Photographs a second are of the whole command, start and plots and gallery included, and the requirement is asked of the
largest set. Start, plots and gallery take the same time however many photographs there are (the gallery shows a fixed
number of them): each further photograph is the slope between the two largest sets, and what is the same for every set
is what that leaves of the largest. Peak memory is what the kernel notes as the high-water mark of resident memory of
each process (VmHWM), so this runs on Linux only. Other programs may keep the cores busy: CPU seconds tell more than
time then, how many cores were free is in the table, and a requirement of time that was missed on less than 1.8 free
cores is neither met nor missed. Memory counts as flat when 20 times the photographs take at most half as much again: a
photograph's pixels are let go of, its name, hashes and numbers are kept. `--before` runs the program of another
checkout over the same sets, in turn with this one, and compares the smallest of each: what other programs take only
adds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from results import write

from toeline.synth.scene import draw

PARTS = ("speed", "memory", "labels")
SCENES, SIDE, SMALL_SIDE, QUALITY, WORKERS = 40, 640, 160, 80, 2
LEAST_PER_SECOND, MOST_GROWTH, MOST_LINES_SECONDS, CORES = 150, 1.5, 60, 1.8  # what is required; cores to judge by
PAIRS, MOST_SLOWER = 4, 1.05  # runs of each program; how many times as long as the program of before
PER_PHOTO, LINES_PER_PHOTO = 5, 20
FLIGHT = 50  # photographs of one flight line
TWO_WORKERS = ("--workers", str(WORKERS))
PACKAGES = ("toeline", "numpy", "pillow", "opencv-python-headless", "imagehash", "matplotlib")
SHAPES = ((0.12, 0.03), (0.12, 0.03), (0.12, 0.03), (0.1, 0.05), (0.1, 0.05), (0.03, 0.12), (0.03, 0.12), (0.03, 0.12))
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Took:
    """One command. Memory in MB (1e6 bytes): of the main process, and of the largest worker."""

    photographs: int
    side_px: int
    lines: int
    seconds: float
    cpu_seconds: float
    cores_free: float
    main_mb: float
    worker_mb: float
    workers: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for analyze.json and analyze.md; parts not run are kept there")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--speed", type=int, nargs="+", default=[1000, 5000], help="photographs of 640 x 640")
    parser.add_argument("--memory", type=int, nargs="+", default=[1000, 5000, 20000], help="photographs of 160 x 160")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with; its package is in src/")
    args = parser.parse_args()
    kept = args.out / "analyze.json" if args.out else None
    results: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept and kept.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="toeline-") as folder:
        parts: dict[str, Callable[[], list[Took]]] = {
            "speed": lambda: with_photographs(Path(folder), sorted(args.speed), SIDE),
            "memory": lambda: with_photographs(Path(folder), sorted(args.memory), SMALL_SIDE),
            "labels": lambda: [with_labels(Path(folder), args.lines)],
        }
        results |= {part: [asdict(took) for took in parts[part]()] for part in args.parts} | {"machine": machine()}
        if args.before:
            results["pairs"] = in_pairs(Path(folder), max(args.speed), args.lines, args.before)
    results["requirements"] = requirements(results)
    text = page(results)
    print(text)
    if kept:
        write("analyze", text, results, kept.parent)


def machine() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0))
    packages = {name: version(name) for name in PACKAGES}
    return {"processor": processor(), "usable_cores": usable, "python": platform.python_version(), **packages}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def with_photographs(top: Path, sizes: list[int], side: int) -> list[Took]:
    took = []
    for size in grown(top / "set", sizes, side):
        took.append(command(top / "set", size, size * PER_PHOTO, side, *TWO_WORKERS))
        print(took[-1], flush=True)
    shutil.rmtree(top / "set")
    return took


def grown(data: Path, sizes: list[int], side: int) -> Iterator[int]:
    """The same data set growing; files are written once."""
    rng, quarters, there = np.random.default_rng(0), drawn_quarters(side), 0
    for size in sizes:
        for number in range(there, size):
            put(data, number, encoded(quarters, rng), rng, PER_PHOTO)
        yield (there := size)


def with_labels(top: Path, lines: int) -> Took:
    photos = put_labels(top / "labels", lines)
    took = command(top / "labels", photos, photos * LINES_PER_PHOTO, SIDE, "--no-pixels")
    print(took, flush=True)
    shutil.rmtree(top / "labels")  # a file system allows one file only so many names
    return took


def put_labels(data: Path, lines: int) -> int:
    """Photographs are names of one small file: only their size is read. How many photographs it wrote."""
    one, rng = data.parent / "one.jpg", np.random.default_rng(1)
    cv2.imwrite(str(one), np.full((SIDE, SIDE, 3), 128, np.uint8))
    photos = lines // LINES_PER_PHOTO
    for number in range(photos):
        put(data, number, one, rng, LINES_PER_PHOTO)
    return photos


def in_pairs(top: Path, photos: int, lines: int, before: Path) -> list[dict[str, Any]]:
    """Both programs over photographs and over label lines; which of them goes first changes with each pair."""
    (number,) = grown(top / "pixels", [photos], SIDE)
    many = put_labels(top / "lines", lines)
    tasks = {
        "pixels": (number, number * PER_PHOTO, SIDE, *TWO_WORKERS),
        "lines": (many, many * LINES_PER_PHOTO, SIDE, "--no-pixels"),
    }
    rows = []
    for name, task in tasks.items():
        took: dict[str, list[Took]] = {"before": [], "now": []}
        for pair in range(PAIRS):
            for which in ("before", "now")[:: 1 if pair % 2 else -1]:
                took[which].append(command(top / name, *task, source=before / "src" if which == "before" else None))
                print(which, took[which][-1], flush=True)
        for key in ("seconds", "cpu_seconds"):
            all_of = {which: [getattr(each, key) for each in took[which]] for which in took}
            ratio = round(min(all_of["now"]) / min(all_of["before"]), 3)
            rows.append({"set": name, "photographs": task[0], "what": key, **all_of, "ratio": ratio})
    return rows


def drawn_quarters(side: int) -> list[Pixels]:
    half = side // 2
    scenes = [draw(seed, size=side).image[..., ::-1] for seed in range(SCENES)]
    return [scene[y : y + half, x : x + half] for scene in scenes for y in (0, half) for x in (0, half)]


def encoded(quarters: list[Pixels], rng: np.random.Generator) -> bytes:
    a, b, c, d = (quarters[i] for i in rng.choice(len(quarters), 4, replace=False))
    whole = np.vstack([np.hstack([a, b[:, ::-1]]), np.hstack([c[::-1], d])])
    return cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def put(root: Path, number: int, photo: bytes | Path, rng: np.random.Generator, lines: int) -> None:
    """A photograph with its labels; flight lines are whole in a split: 70 % train, 20 % valid, 10 % test."""
    flight, frame = divmod(number, FLIGHT)
    split = "train" if flight % 10 < 7 else "valid" if flight % 10 < 9 else "test"
    images, labels = root / split / "images", root / split / "labels"
    if not labels.is_dir():
        images.mkdir(parents=True)
        labels.mkdir()
        names = "[Toe drain, Toe drain- Blocked, Toe drain- Damaged, rock toe, rock toe damaged, slope drain, "
        (root / "data.yaml").write_text(f"names: {names}slope drain blocked, slope drain damaged, vegetation]\n")
    place = images / f"L{flight}_{frame:04d}.jpg"
    if isinstance(photo, Path):
        os.link(photo, place)
    else:
        place.write_bytes(photo)
    (labels / f"{place.stem}.txt").write_text(objects(rng, lines))


def objects(rng: np.random.Generator, lines: int) -> str:
    """Small boxes in cells of a grid of 5 x 5, a toe drain never above what runs into it."""
    cells = np.sort(rng.choice(25, lines, replace=False))
    classes = np.sort(rng.integers(0, len(SHAPES), lines))[::-1]
    rows = []
    for cell, c in zip(cells, classes, strict=True):
        x, y = (cell % 5 + rng.uniform(0.45, 0.55)) / 5, (cell // 5 + rng.uniform(0.45, 0.55)) / 5
        wide, high = SHAPES[c]
        rows.append(f"{c} {x:.6f} {y:.6f} {wide * rng.uniform(0.9, 1.1):.6f} {high * rng.uniform(0.9, 1.1):.6f}\n")
    return "".join(rows)


def command(data: Path, photographs: int, lines: int, side: int, *options: str, source: Path | None = None) -> Took:
    """Run the command, and watch its processes. `source` holds the package of another checkout."""
    out = data.parent / "out"
    words = [sys.executable, "-m", "toeline", "analyze", str(data), "--out", str(out), "--json", *options]
    before, busy, start = resource.getrusage(resource.RUSAGE_CHILDREN), all_cores(), time.perf_counter()
    peaks: dict[int, float] = {}
    env = os.environ | ({"PYTHONPATH": str(source.resolve())} if source else {})
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as running:
        while running.poll() is None:
            for pid in (running.pid, *children(running.pid)):
                peaks[pid] = max(peaks.get(pid, 0.0), high_water_mb(pid))
            time.sleep(0.05)
        said = json.loads(running.stdout.read()) if running.stdout else {}
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert running.returncode == 0, running.returncode
    assert said["photographs"] == photographs, said
    print({key: said[key] for key in ("photographs", "objects", "faults", "remarks")}, flush=True)
    shutil.rmtree(out)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    main_mb = peaks.pop(running.pid)
    others = max(0.0, all_cores() - busy - cpu) / seconds
    return Took(
        photographs=photographs,
        side_px=side,
        lines=lines,
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu, 1),
        cores_free=round((os.cpu_count() or 1) - others, 2),
        main_mb=round(main_mb, 1),
        worker_mb=round(max(peaks.values(), default=0.0), 1),
        workers=WORKERS if "--workers" in options else 0,
    )


def all_cores() -> float:
    """CPU seconds that all programs of the machine have used so far."""
    user, nice, system, *_ = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []


def high_water_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), 0.0)


def page(results: dict[str, Any]) -> str:
    rows = ["# `toeline analyze`\n", "\n\n".join((__doc__ or "").split("\n\n")[2:]).strip() + "\n"]
    rows += [", ".join(f"{what} {value}" for what, value in results["machine"].items()) + ".\n"]
    rows += [
        "| part | photographs | side, pixels | label lines | workers | seconds | photographs/s | CPU seconds "
        "| photographs per CPU second | cores free | main process, peak MB | worker, peak MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for part in filter(results.get, PARTS):
        for r in results[part]:
            n = r["photographs"]
            rows.append(
                f"| {part} | {n:,} | {r['side_px']} | {r['lines']:,} | {r['workers'] or 'no pixels'} | {r['seconds']} "
                f"| {n / r['seconds']:.0f} | {r['cpu_seconds']} | {n / r['cpu_seconds']:.0f} | {r['cores_free']} "
                f"| {r['main_mb']:.0f} | {r['worker_mb']:.0f} |"
            )
    rows += ["", *(slope(*results[part][-2:]) for part in PARTS[:2] if len(results.get(part, [])) > 1), ""]
    if pairs := results.get("pairs"):
        rows += ["| in turn | photographs | | before, smallest (largest) | now, smallest (largest) | now / before |"]
        rows += ["|---|--:|---|--:|--:|--:|"]
        for r in pairs:
            both = " | ".join(f"{min(r[which])} ({max(r[which])})" for which in ("before", "now"))
            what = r["what"].replace("_", " ").replace("cpu", "CPU")
            rows.append(f"| {r['set']} | {r['photographs']:,} | {what} | {both} | {r['ratio']:.3f} |")
        rows.append("")
    rows += ["| required | measured | |", "|---|---|---|"]
    rows += [f"| {r['required']} | {r['measured']} | {r['verdict']} |" for r in results["requirements"]]
    return "\n".join(rows) + "\n"


def requirements(results: dict[str, Any]) -> list[dict[str, str]]:
    """What is required of each part that was run, what it came to, and whether that is enough."""
    found = []
    if speed := results.get("speed"):
        rate = speed[-1]["photographs"] / speed[-1]["seconds"]
        said = f"{rate:.0f}, of {speed[-1]['photographs']:,} photographs in {speed[-1]['seconds']} s"
        required = (
            f"at least {LEAST_PER_SECOND} photographs/s of the whole command, {SIDE} x {SIDE}, {WORKERS} processes"
        )
        found.append((required, said, in_time(rate >= LEAST_PER_SECOND, speed[-1])))
    if len(memory := results.get("memory", [])) > 1:
        sizes, peaks = ([r[key] for r in (memory[0], memory[-1])] for key in ("photographs", "main_mb"))
        required = f"the peak of the main process at most {MOST_GROWTH} times as high, {sizes[0]:,} to {sizes[1]:,}"
        said = f"{peaks[1] / peaks[0]:.2f} times: {peaks[0]:.0f} MB, {peaks[1]:.0f} MB"
        found.append((required, said, "met" if peaks[1] <= MOST_GROWTH * peaks[0] else "missed"))
        workers = [r["worker_mb"] for r in (memory[0], memory[-1])]
        said = f"{workers[1] / workers[0]:.2f} times: {workers[0]:.0f} MB, {workers[1]:.0f} MB"
        enough = "met" if workers[1] <= MOST_GROWTH * workers[0] else "missed"
        found.append(("the same of the largest worker", said, enough))
    if labels := results.get("labels"):
        took = labels[-1]
        said, enough = f"{took['lines']:,} in {took['seconds']} s", took["seconds"] < MOST_LINES_SECONDS
        found.append((f"a million label lines in less than {MOST_LINES_SECONDS} s", said, in_time(enough, took)))
    for r in (pair for pair in results.get("pairs", []) if pair["what"] == "cpu_seconds"):
        required = f"at most {MOST_SLOWER} times the CPU seconds of the program of before, {r['set']}"
        found.append((required, f"{r['ratio']:.3f} times", "met" if r["ratio"] <= MOST_SLOWER else "missed"))
    return [{"required": r, "measured": m, "verdict": v} for r, m, v in found]


def in_time(enough: bool, took: dict[str, Any]) -> str:
    """Busy cores only make it slower: what was met on them is met."""
    return "met" if enough else "missed" if took["cores_free"] >= CORES else "not decided: the cores were busy"


def slope(a: dict[str, Any], b: dict[str, Any]) -> str:
    n = b["photographs"] - a["photographs"]
    seconds, cpu = (b[key] - a[key] for key in ("seconds", "cpu_seconds"))
    same, same_cpu = (
        b[key] - more * b["photographs"] / n for key, more in (("seconds", seconds), ("cpu_seconds", cpu))
    )
    kilobytes = (b["main_mb"] - a["main_mb"]) * 1000 / n
    return (
        f"At {a['side_px']} pixels each further photograph takes {1000 * seconds / n:.2f} ms and "
        f"{1000 * cpu / n:.2f} ms of CPU ({n / seconds:.0f} photographs/s; {n / cpu:.0f} per CPU second), and "
        f"{kilobytes:.2f} kB of the main process; the same for every set are {same:.1f} s and {same_cpu:.1f} s of CPU."
    )


if __name__ == "__main__":
    main()
