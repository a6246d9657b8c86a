"""What `toeline analyze` takes: photographs a second, memory from 1,000 to 20,000 photographs, a million label lines.

    python benchmarks/analyze.py [--out benchmarks/results] [--sizes 1000 5000 20000] [--lines 1000000] [--only labels]

Whole commands, as a user starts them, with a fresh folder for the results. Photographs are 640 x 640 JPEG files, each
put together from four quarters of drawn scenes, so that no two are alike; labels are the small objects of a grid. The
million label lines lie beside photographs of one file under many names, and pixels are not looked at (`--no-pixels`).
Photographs a second are of the whole command, start and plots and gallery included; "each further one" is the slope
between the two largest sets. Peak memory is what the kernel notes as the high-water mark of resident memory of each
process (VmHWM), so this runs on Linux only. Other programs may keep the cores busy: CPU seconds tell more than time
then, and how many cores were free is in the table.
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
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from toeline.synth import draw

SCENES, SIDE, QUALITY, WORKERS = 40, 640, 80, 2
PER_PHOTO, LINES_PER_PHOTO = 5, 20
FLIGHT = 50  # photographs of one flight line
PACKAGES = ("toeline", "numpy", "pillow", "opencv-python-headless", "imagehash", "matplotlib")
SHAPES = ((0.12, 0.03), (0.12, 0.03), (0.12, 0.03), (0.1, 0.05), (0.1, 0.05), (0.03, 0.12), (0.03, 0.12), (0.03, 0.12))
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Took:
    """One command. Memory in MB (1e6 bytes): of the main process, and of the largest worker."""

    photographs: int
    lines: int
    seconds: float
    cpu_seconds: float
    cores_free: float
    main_mb: float
    worker_mb: float
    workers: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for analyze.json and analyze.md")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("photographs", "labels"))
    args = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "photographs": [], "labels": None}
    with tempfile.TemporaryDirectory(prefix="toeline-") as folder:
        top = Path(folder)
        if args.only != "labels":
            results["photographs"] = [asdict(took) for took in with_photographs(top, sorted(args.sizes))]
        if args.only != "photographs":
            results["labels"] = asdict(with_labels(top, args.lines))
    text = page(results)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "analyze.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        (args.out / "analyze.md").write_text(text, encoding="utf-8")


def machine() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0))
    packages = {name: version(name) for name in PACKAGES}
    return {"processor": processor(), "usable_cores": usable, "python": platform.python_version(), **packages}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def with_photographs(top: Path, sizes: list[int]) -> list[Took]:
    """The same data set growing; files are written once."""
    rng, quarters, took, there = np.random.default_rng(0), drawn_quarters(), [], 0
    for size in sizes:
        for number in range(there, size):
            put(top / "set", number, encoded(quarters, rng), rng, PER_PHOTO)
        there = size
        took.append(command(top / "set", size, size * PER_PHOTO, "--workers", str(WORKERS)))
        print(took[-1], flush=True)
    shutil.rmtree(top / "set")
    return took


def with_labels(top: Path, lines: int) -> Took:
    """Photographs are names of one small file: only their size is read."""
    one, rng = top / "one.jpg", np.random.default_rng(1)
    cv2.imwrite(str(one), np.full((SIDE, SIDE, 3), 128, np.uint8))
    photos = lines // LINES_PER_PHOTO
    for number in range(photos):
        put(top / "labels", number, one, rng, LINES_PER_PHOTO)
    took = command(top / "labels", photos, photos * LINES_PER_PHOTO, "--no-pixels")
    print(took, flush=True)
    return took


def drawn_quarters() -> list[Pixels]:
    half = SIDE // 2
    scenes = [draw(seed, size=SIDE).image[..., ::-1] for seed in range(SCENES)]
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


def command(data: Path, photographs: int, lines: int, *options: str) -> Took:
    """Run the command, and watch its processes."""
    out = data.parent / "out"
    words = [sys.executable, "-m", "toeline", "analyze", str(data), "--out", str(out), "--json", *options]
    before, busy, start = resource.getrusage(resource.RUSAGE_CHILDREN), all_cores(), time.perf_counter()
    peaks: dict[int, float] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
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
        "| photographs | label lines | workers | seconds | photographs/s | CPU seconds | photographs per CPU second "
        "| cores free | main process, peak MB | worker, peak MB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in [*results["photographs"], *filter(None, [results["labels"]])]:
        n = r["photographs"]
        rows.append(
            f"| {n:,} | {r['lines']:,} | {r['workers'] or 'no pixels'} | {r['seconds']} | {n / r['seconds']:.0f} "
            f"| {r['cpu_seconds']} | {n / r['cpu_seconds']:.0f} | {r['cores_free']} | {r['main_mb']:.0f} "
            f"| {r['worker_mb']:.0f} |"
        )
    if len(results["photographs"]) > 1:
        rows.append("\n" + slope(*results["photographs"][-2:]))
    return "\n".join(rows) + "\n"


def slope(a: dict[str, Any], b: dict[str, Any]) -> str:
    n = b["photographs"] - a["photographs"]
    seconds, cpu = (b[key] - a[key] for key in ("seconds", "cpu_seconds"))
    kilobytes = (b["main_mb"] - a["main_mb"]) * 1000 / n
    return (
        f"Each further photograph takes {1000 * seconds / n:.2f} ms and {1000 * cpu / n:.2f} ms of CPU "
        f"({n / seconds:.0f} photographs/s; {n / cpu:.0f} per CPU second), and {kilobytes:.2f} kB of the main process."
    )


if __name__ == "__main__":
    main()
