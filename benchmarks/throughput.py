"""Many photographs in one run: speed, memory on the way, and what three kills do (nothing).

    python benchmarks/throughput.py --work DIR [--photographs 10000] [--out benchmarks/results]

Draws the photographs (kept in DIR for the next time) and trains a baseline, the small judge of `toeline baseline`, on
120 other scenes. Inspects them once without a break, and looks at the process's resident memory after every 100
photographs. Then inspects them again, kills that process three times (SIGKILL) at moments drawn from a seed, takes it
up again, and compares both runs' findings, byte by byte. Stages are timed one by one in one thread, in CPU time.

10,000 photographs need 8 GB in DIR, and on 2 cores about a quarter of an hour to draw, and as long for each run.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from results import write
from throughput_page import page

from toeline.core.prefetch import cores
from toeline.core.provenance import machine, versions
from toeline.core.records import each_line
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, find_photos, read_photo
from toeline.pipelines.inspector import Inspector
from toeline.report.draw import as_jpeg, draw
from toeline.synth.dataset import write_dataset

SEED, BASELINE_SEED, BASELINE_SCENES = 70_600, 70_601, 120  # no model was trained on these
EVERY = 100  # photographs between two looks at the memory
MIB = 1024 * 1024
STAGED = 60  # photographs whose stages are timed


@dataclass
class Watched:
    """A run of `toeline inspect` as seen from outside; memory in MiB after so many photographs, CPU in seconds."""

    out: Path
    seconds: float = 0.0
    cpu: float = 0.0
    memory: dict[int, float] = field(default_factory=dict)
    peak: float = 0.0
    peak_after: float = 0.0  # while tables and report are written


def main() -> None:
    args = arguments()
    work: Path = args.work
    photos = drawn(work, args.photographs, args.size)
    baseline = trained(work)
    options = ["--judge", f"baseline:{baseline.name}", "--workers", str(args.workers), "--batch", str(args.batch)]
    for name in ("whole", "killed"):
        shutil.rmtree(work / name, ignore_errors=True)
    whole = watched(work, photos, "whole", options)
    kills = killed(work, photos, args, options)
    results = {
        "photographs": args.photographs,
        "size": args.size,
        "workers": args.workers,
        "batch": args.batch,
        "cores": cores(),
        "run": speed(whole, args.photographs),
        "memory_mib": memory(whole),
        "stages_cpu_ms": stages(photos, work / baseline),
        "kills": kills,
        "compared": compared(work / "whole", work / "killed"),
        "machine": machine(),
        "versions": versions(),
    }
    text = page(results, (__doc__ or "").split("\n\n")[2])
    print(text)
    if args.out:
        write("throughput", text, results, args.out)
    if not args.keep:
        for name in ("whole", "killed"):
            shutil.rmtree(work / name)
    sys.exit(0 if results["compared"]["same"] else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for photographs and runs")
    parser.add_argument("--photographs", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=640, help="side of the photographs in pixels")
    parser.add_argument("--workers", type=int, default=min(8, cores()))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=6, help="of the moments of the kills")
    parser.add_argument("--keep", action="store_true", help="keep the folders of both runs")
    parser.add_argument("--out", type=Path, help="folder for throughput.json and throughput.md")
    return parser.parse_args()


def drawn(work: Path, number: int, size: int) -> Path:
    """The folder of photographs; what an earlier start has drawn is kept."""
    folder = work / f"drawn-{number}-{size}"
    told = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{done} of {of} drawn", flush=True)

    write_dataset(
        folder, scenes=number, seed=SEED, size=size, parts={"all": 1.0}, masks=False, workers=cores(), progress=tell
    )
    return folder / "all" / "images"


def trained(work: Path) -> Path:
    """The file of the baseline, called as the runs call it, below `work`."""
    file, data = Path("baseline.safetensors"), work / "baseline-scenes"
    if not (work / file).exists():
        write_dataset(
            data, scenes=BASELINE_SCENES, seed=BASELINE_SEED, parts={"train": 1.0}, masks=False, workers=cores()
        )
        toeline(work, "baseline", data.name, "--out", str(file)).wait()
    return file


def toeline(work: Path, *words: str) -> subprocess.Popen[bytes]:
    """The command in `work`; what it says goes to a log there."""
    with (work / "log.txt").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "toeline", *words], cwd=work, stdout=log, stderr=log)


def started(work: Path, photos: Path, name: str, options: Sequence[str]) -> subprocess.Popen[bytes]:
    return toeline(work, "inspect", str(photos.relative_to(work)), "--out", name, *options)


class Counter:
    """Photographs done so far, by the lines of a file that grows."""

    def __init__(self, file: Path) -> None:
        self._file, self._at, self.done = file, 0, 0

    def look(self) -> int:
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._at)
                new = file.read()
            self._at += len(new)
            self.done += new.count(b"\n")
        return self.done


def watched(work: Path, photos: Path, name: str, options: Sequence[str]) -> Watched:
    """One run from beginning to end."""
    seen, counter = Watched(work / name), Counter(work / name / "progress.jsonl")
    total = sum(1 for _ in photos.iterdir())
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = started(work, photos, name, options)
    held = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            rss = held.memory_info().rss / MIB
        except psutil.NoSuchProcess:
            break
        done = counter.look()
        look(seen, done, total, rss)
        time.sleep(0.02)
    seen.seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seen.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode != 0:
        raise SystemExit(f"the run ended with {process.returncode}; see log.txt")
    return seen


def look(seen: Watched, done: int, total: int, rss: float) -> None:
    step = done // EVERY * EVERY
    if step and step not in seen.memory and rss:
        seen.memory[step] = round(rss, 1)
        if step % 1000 == 0:
            print(f"{step} photographs, {rss:.0f} MiB", flush=True)
    if done < total:
        seen.peak = max(seen.peak, rss)
    else:
        seen.peak_after = max(seen.peak_after, rss)


def speed(seen: Watched, photographs: int) -> dict[str, float]:
    return {
        "seconds": round(seen.seconds, 1),
        "photographs_per_second": round(photographs / seen.seconds, 2),
        "cpu_seconds_per_photograph": round(seen.cpu / photographs, 4),
        "cores_used": round(seen.cpu / seen.seconds, 2),
    }


def memory(seen: Watched) -> dict[str, Any]:
    """At 100, 1,000 and so on, and how fast it grows after the first tenth, by a straight line."""
    steps = sorted(seen.memory)
    later = [n for n in steps if n >= steps[-1] / 10]
    slope = float(np.polyfit(later, [seen.memory[n] for n in later], 1)[0]) if len(later) > 2 else 0.0
    shown = {100 * 10**k for k in range(6)} | {steps[-1]}
    return {
        "at": {str(n): seen.memory[n] for n in steps if n in shown},
        "most": round(seen.peak, 1),
        "most_while_reports_are_written": round(seen.peak_after, 1),
        "growth_per_1000_photographs": round(1000 * slope, 2),
        "every_100": [seen.memory[n] for n in steps],
    }


def killed(work: Path, photos: Path, args: argparse.Namespace, options: Sequence[str]) -> list[dict[str, int]]:
    """The same run, killed at moments drawn from the seed and taken up each time; one record for each kill."""
    moments = random.Random(args.seed)
    at = sorted(moments.sample(range(args.photographs // 20, args.photographs * 19 // 20), args.kills))
    folder, told = work / "killed", []
    for least in at:
        process, counter = started(work, photos, "killed", options), Counter(folder / "progress.jsonl")
        while counter.look() < least and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.wait()
        told.append(left_by(folder))
        print(f"killed: {told[-1]}", flush=True)
    if started(work, photos, "killed", options).wait():
        raise SystemExit("the run that was killed and taken up again failed; see log.txt")
    return told


def left_by(folder: Path) -> dict[str, int]:
    """What lay there after a kill: photographs done, and findings of others, which will be dropped and found again."""
    done = {r["photo"] for _, r in each_line(folder / "progress.jsonl")}
    loose = sum(r["photo"] not in done for _, r in each_line(folder / "findings.jsonl"))
    return {"photographs_done": len(done), "findings_half_done": loose}


def compared(whole: Path, again: Path) -> dict[str, Any]:
    """Findings of both runs by photograph and id."""
    keys = [[(r["photo"], r["id"]) for _, r in each_line(run / "findings.jsonl")] for run in (whole, again)]
    first, second = map(set, keys)
    names = ("findings.jsonl", "findings.csv", "errors.jsonl")
    return {
        "findings": len(keys[0]),
        "duplicates": len(keys[1]) - len(second),
        "missing": len(first - second),
        "extra": len(second - first),
        "same": all((whole / name).read_bytes() == (again / name).read_bytes() for name in names),
        "pages": len(list((again / "report").glob("*.html"))),
        "largest_page_mb": round(
            max((p.stat().st_size for p in (again / "report").glob("*.html")), default=0) / 1e6, 1
        ),
    }


def stages(photos: Path, baseline: Path) -> dict[str, float]:
    """Milliseconds of CPU time a photograph, stage by stage, with warm models and files."""
    taxonomy = Taxonomy.load()
    inspector = Inspector.load(judge=f"baseline:{baseline}", taxonomy=taxonomy)
    spent: dict[str, float] = dict.fromkeys(("decode", "detect", "detect, relate and judge", "draw", "encode"), 0.0)
    some = find_photos([photos])[: STAGED + 1]
    for n, photo in enumerate(some):
        took = staged(inspector, taxonomy, photo)
        if n:  # the first one warms up
            spent = {name: spent[name] + took[name] for name in spent}
    judge = spent.pop("detect, relate and judge") - spent["detect"]
    spent = {"decode": spent["decode"], "detect": spent["detect"], "relate and judge": judge, **spent}
    return {name: round(1000 * value / max(len(some) - 1, 1), 2) for name, value in spent.items()}


def staged(inspector: Inspector, taxonomy: Taxonomy, photo: Photo) -> dict[str, float]:
    took: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        done = work()
        took[name] = time.process_time() - start
        return done

    image = timed("decode", lambda: read_photo(photo.path))
    detector = inspector.detector
    if detector is not None:
        timed("detect", lambda: detector.find([image]))
    findings = timed("detect, relate and judge", lambda: inspector.inspect(image))
    marked = timed("draw", lambda: draw(image, findings, taxonomy))
    timed("encode", lambda: as_jpeg(marked))
    return took


if __name__ == "__main__":
    main()
