"""One set of photographs by a single process, by parts that are joined, and by Ray, with an actor killed twice.

    python benchmarks/scale.py --work DIR [--photographs 200] [--out benchmarks/results]

Draws the photographs (kept in DIR for the next time) and inspects them four times with the model in the package: by a
single process; by four processes with --part, joined; by three actors of Ray; and by three actors of which one is
killed (SIGKILL) while it inspects, and once more when Ray has started it again. Files are compared byte by byte. CPU
seconds are those of all processes of a run, as looked up four times a second. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from results import RESULTS, write

from toeline.core.prefetch import cores
from toeline.core.provenance import machine, versions
from toeline.core.records import each_line
from toeline.synth.dataset import write_dataset

SEED, PARTS, ACTORS = 70_618, 4, 3
MIB = 1024 * 1024
TIMES = {"run.json", "progress.jsonl", "report.html"}  # in which two runs of one process differ, too
ROWS = {
    "single": "a single process",
    "parts": f"`--part`, {PARTS} processes side by side",
    "join": "... and `toeline join`",
    "ray": f"Ray, {ACTORS} actors",
    "killed": f"Ray, {ACTORS} actors, one killed twice",
}


def main() -> None:
    args = arguments()
    work: Path = args.work
    photos = work / "scenes" / "valid" / "images"
    write_dataset(work / "scenes", scenes=args.photographs, seed=SEED, parts={"valid": 1.0}, masks=False)
    for name in ("single", "joined", "ray", "killed", *(f"p{n}" for n in range(1, PARTS + 1))):
        shutil.rmtree(work / name, ignore_errors=True)
    killer = Killer(args.photographs)
    ray = ["--ray", "local", "--ray-actors", str(ACTORS)]
    parts = {f"p{n}": ["--part", f"{n}/{PARTS}"] for n in range(1, PARTS + 1)}
    rows = {
        "single": inspected(work, photos, {"single": []}),
        "parts": inspected(work, photos, parts),
        "join": watched(work, [["join", *parts, "--out", "joined"]], []),
        "ray": inspected(work, photos, {"ray": ray}),
        "killed": inspected(work, photos, {"killed": ray}, killer.look),
    }
    compared = {name: compare(work / "single", work / name) for name in ("joined", "ray", "killed")}
    figures = {
        "photographs": args.photographs,
        "rows": rows,
        "compared": compared,
        "kills": killer.kills,
        "cores": cores(),
        "machine": machine(),
        "versions": {**versions(), "ray": metadata.version("ray")},
    }
    text = page(figures)
    print(text)
    write("scale", text, figures, args.out)
    right = all(c["same"] for c in compared.values()) and len(killer.kills) == 2
    sys.exit(0 if right else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for photographs and runs")
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


@dataclass
class Killer:
    """Kills an actor that inspects when a twentieth of `photographs` is done, and again when it is back.

    That is when it inspects again, or when it still loads its models and half of the photographs are done.
    """

    photographs: int
    first: set[int] = field(default_factory=set)
    kills: list[dict[str, Any]] = field(default_factory=list)

    def look(self, processes: Sequence[psutil.Process], done: int, seconds: float) -> None:
        actors = {p.pid: title for p in processes if (title := title_of(p)).startswith("ray::RemoteInspector")}
        if not self.kills and (len(actors) < ACTORS or done < self.photographs / 20):
            return
        for process in processes:
            if process.pid not in actors or len(self.kills) > 1 or process.pid in self.first:
                continue
            busy = actors[process.pid].startswith("ray::RemoteInspector.inspect")
            if busy or (self.kills and done >= self.photographs / 2):
                process.kill()
                self.first = self.first or set(actors)
                self.kills.append({"done": done, "after_s": seconds, "inspecting": busy})
                return


def title_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


Look = Callable[[Sequence[psutil.Process], int, float], None]


def inspected(work: Path, photos: Path, runs: dict[str, list[str]], look: Look | None = None) -> dict[str, Any]:
    """`toeline inspect` into each folder of `runs`, side by side."""
    words = [["inspect", str(photos.relative_to(work)), "--out", out, *more] for out, more in runs.items()]
    return watched(work, words, [work / out for out in runs], look)


def watched(work: Path, runs: list[list[str]], outs: list[Path], look: Look | None = None) -> dict[str, Any]:
    """Seconds, CPU seconds and memory of these commands and all their processes, and when photographs were done."""
    load, start = os.getloadavg()[0], time.monotonic()
    begun = [subprocess.Popen([sys.executable, "-m", "toeline", *words], cwd=work, **SILENT) for words in runs]
    used: dict[tuple[int, float], float] = {}
    times: list[tuple[int, float, float]] = []  # photographs done, after seconds, with CPU seconds
    peak = 0
    while any(process.poll() is None for process in begun):
        time.sleep(0.25)
        processes = list(everyone(begun))
        peak = max(peak, looked_up(processes, used))
        times.append((sum(done(out) for out in outs), time.monotonic() - start, sum(used.values())))
        if look:
            look(processes, *times[-1][:2])
    seconds = time.monotonic() - start
    if wrong := [process.returncode for process in begun if process.returncode]:
        sys.exit(f"toeline ended with {wrong}")
    number = max(n for n, _, _ in times)
    first, last = (next((row for row in times if row[0] >= least), (0, 0.0, 0.0)) for least in (1, number))
    rate = (last[0] - first[0]) / (last[1] - first[1]) if number else None
    row = {"seconds": seconds, "first_s": first[1] or None, "first_cpu_s": first[2] or None, "per_s": rate}
    return {**row, "cpu_s": sum(used.values()), "peak_mib": peak / MIB, "load": [load, os.getloadavg()[0]]}


SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def everyone(begun: Sequence[subprocess.Popen[bytes]]) -> Iterator[psutil.Process]:
    for process in begun:
        with suppress(psutil.Error):
            one = psutil.Process(process.pid)
            yield from (one, *one.children(recursive=True))


def looked_up(processes: Sequence[psutil.Process], used: dict[tuple[int, float], float]) -> int:
    """Notes the CPU seconds of each process so far; bytes of resident memory of all of them."""
    memory = 0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            used[process.pid, process.create_time()] = times.user + times.system
            memory += process.memory_info().rss
    return memory


def done(out: Path) -> int:
    """Photographs that are done."""
    return (out / "progress.jsonl").read_bytes().count(b"\n") if (out / "progress.jsonl").exists() else 0


def compare(whole: Path, other: Path) -> dict[str, Any]:
    """What two folders have that differs, and whether each finding is there once."""
    files = [
        {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()} for folder in (whole, other)
    ]
    names = sorted(files[0].keys() | files[1].keys())
    one_sided = [name for name in names if (name in files[0]) != (name in files[1])]
    both = [name for name in names if name not in one_sided]
    differing = [name for name in both if files[0][name].read_bytes() != files[1][name].read_bytes()]
    counted = [Counter((r["photo"], r["id"]) for _, r in each_line(f / "findings.jsonl")) for f in (whole, other)]
    records = [[r | {"seconds": 0} for _, r in each_line(folder / "progress.jsonl")] for folder in (whole, other)]
    runs = [json.loads((folder / "run.json").read_text()) for folder in (whole, other)]
    same = set(differing) <= TIMES and not one_sided and counted[0] == counted[1] and records[0] == records[1]
    return {
        "same": same and max(counted[1].values()) == 1,
        "findings": counted[1].total(),
        "twice": sum(n - 1 for n in counted[1].values()),
        "missing": (counted[0] - counted[1]).total(),
        "files": len(both),
        "differing": differing,
        "in_one_alone": len(one_sided),
        "run_json": sorted(k for k in runs[0].keys() | runs[1].keys() if runs[0].get(k) != runs[1].get(k)),
    }


def page(f: dict[str, Any]) -> str:
    at = ("while it inspected" if k["inspecting"] else "while it loaded its models" for k in f["kills"])
    kills = " and ".join(f"{how} ({k['done']} photographs were done)" for k, how in zip(f["kills"], at, strict=True))
    return "\n".join(
        [
            f"# {f['photographs']} photographs by one process, by parts, and by Ray\n",
            f"Written by `python benchmarks/scale.py`: `toeline inspect` with the package's model, on {f['cores']} "
            "cores that other work shares, so CPU seconds compare and seconds hardly do. Started is when the first "
            "photograph was on the disk; photographs per second are counted from then on. Memory is the sum of what is "
            "resident in all processes, so that what they share counts several times.\n",
            "| | seconds | started after | CPU s until then | photographs/s | CPU s in all | memory, MiB | load |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
            *(measured(ROWS[name], row) for name, row in f["rows"].items()),
            f"\nThe actor was killed {kills}. Beside the single process:\n",
            "| | findings | there twice | missing | files the same | that differ | of run.json |",
            "|---|--:|--:|--:|--:|---|---|",
            *(beside(ROWS.get(name, "parts, joined"), c) for name, c in f["compared"].items()),
            "\nThe files that differ hold times: `progress.jsonl` the seconds of each photograph (without them it is "
            "the same), `report.html` and `run.json` when and how the run was made, and its seconds. All others are "
            "the same bytes: findings, problems, tables, marked pictures.\n",
            "- " + ", ".join(f"{k} {v}" for k, v in {**f["machine"], **f["versions"]}.items()),
        ]
    )


def measured(name: str, row: dict[str, Any]) -> str:
    started = " |  | "
    if row["first_s"]:
        started = f"{row['first_s']:.1f} s | {row['first_cpu_s']:.1f} | {row['per_s']:.2f}"
    load = f"{row['load'][0]:.1f} to {row['load'][1]:.1f}"
    return f"| {name} | {row['seconds']:.0f} | {started} | {row['cpu_s']:.0f} | {row['peak_mib']:.0f} | {load} |"


def beside(name: str, c: dict[str, Any]) -> str:
    same = f"{c['files'] - len(c['differing'])} of {c['files'] + c['in_one_alone']}"
    counts = f"{c['findings']} | {c['twice']} | {c['missing']} | {same}"
    return f"| {name} | {counts} | {', '.join(c['differing'])} | {', '.join(c['run_json'])} |"


if __name__ == "__main__":
    main()
