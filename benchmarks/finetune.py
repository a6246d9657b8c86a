"""What one step of LoRA costs: per object, packed, with kept image features, and with checkpointing.

    python benchmarks/finetune.py [--quick] [--out DIR]

Random weights, so nothing here speaks of accuracy; all ways train on the same photograph of five objects and end with
the same loss. Each way is a process of its own, because memory that one has used another would not be seen to need.
The unit is CPU seconds over all threads: wall time depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import RESULTS, write

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a waiting thread must not count as work

OBJECTS = 5  # on a photograph, on average in the real data
REQUIRED = 3.5  # packed with kept features must be so much cheaper than per object
WAYS = {  # way -> each object apart, features kept, activations computed twice
    "per object": (True, False, False),
    "per object, kept features": (True, True, False),
    "packed": (False, False, False),
    "packed, kept features": (False, True, False),
    "packed, kept features, checkpointing": (False, True, True),
}
STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Begin counting the most memory anew, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident(name: str) -> float:
    """VmRSS (now) or VmHWM (at most) of this process in MB (10^6 bytes); 0 where the system does not say."""
    rows = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(row.split()[1]) * 1024 / 1e6 for row in rows if row.startswith(f"{name}:")), 0.0)


def measure(way: str, quick: bool, threads: int, repeats: int) -> dict[str, Any]:
    """One way in this process: the first step warms up, the median of the others counts."""
    import torch
    from packed_model import FULL, QUICK, make_judge
    from tuning_step import keep_features, make_learner, rows_of, step_of, tokens_of

    from toeline.train.feature_cache import FeatureStore

    torch.set_num_threads(threads)
    apart, kept, checkpointing = WAYS[way]
    learner = make_learner(make_judge(QUICK if quick else FULL), checkpointing=checkpointing)
    rows = rows_of(OBJECTS, apart=apart)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder), "benchmark") if kept else None
        if store:
            keep_features(learner.judge, rows, store)
            learner.judge.model.model.visual = torch.nn.Identity()
        step = step_of(learner, rows, store)
        loss = step()
        reset_peak()
        before, cpu, wall = resident("VmRSS"), [], []
        for _ in range(repeats):
            begun, begun_wall = time.process_time(), time.perf_counter()
            step()
            cpu.append(time.process_time() - begun)
            wall.append(time.perf_counter() - begun_wall)
    return {
        "cpu_seconds": round(statistics.median(cpu), 3),
        "photographs_per_second": round(1 / statistics.median(wall), 4),
        "peak_mb_above": round(resident("VmHWM") - before),
        "peak_mb": round(resident("VmHWM")),
        "tokens": tokens_of(learner, rows),
        "loss": loss,
    }


PAGE = """# One step of LoRA, per photograph of {objects} objects

Written by `python benchmarks/finetune.py{quick}`. Random weights: nothing here speaks of accuracy.

{table}

Required: packed with kept features at least {required} x cheaper than per object: **{verdict}**.
All ways end with the same loss: they differ by at most {difference:.1e}.

- A whole step: pictures to patches, forward, backward, AdamW. LoRA of rank 16 on q, k, v, o; the vision tower is
  frozen and, with kept features, not there. CPU seconds (`time.process_time`) over {threads} thread(s), median of
  {repeats} after one that warms up. Photographs per second are by the wall clock: other work on the machine shows.
- Memory is the process's resident memory (MB = 10^6 bytes): the most in a step above what it holds between steps, and
  the most in all. It depends on the allocator, so differences of a sixth mean nothing.
- A 640 x 640 photograph as 529 image tokens, crops of 64, nine answers per object, float32.
- Model: {language_layers_m:.0f} M in language layers, {embedding_m:.0f} M embedding (tied), {vision_m:.0f} M vision.
- Machine: {cpu} ({capability}), {cores} cores, {usable_cores} of them usable here.
  Python {python}, torch {torch}, transformers {transformers}.
"""


def table(ways: dict[str, Any]) -> str:
    first = ways["per object"]["cpu_seconds"]
    heads = ["way", "CPU s", "cheaper than per object", "photographs/s", "peak MB above", "peak MB", "tokens"]
    rows = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    for name, way in ways.items():
        cells = [f"{way['cpu_seconds']:.1f}", f"{first / way['cpu_seconds']:.1f} x"]
        cells += [f"{way['photographs_per_second']:.2f}", f"{way['peak_mb_above']:,}", f"{way['peak_mb']:,}"]
        rows.append(f"| {' | '.join([name, *cells, format(way['tokens'], ',')])} |")
    return "\n".join(rows)


def in_own_process(way: str, given: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--threads", str(given.threads), "--repeats", str(given.repeats)]
    done = subprocess.run([*command, *(["--quick"] if given.quick else [])], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {way}: {found['cpu_seconds']:.2f} CPU s, {found['peak_mb_above']} MB above", flush=True)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--quick", action="store_true", help="a small model: seconds instead of minutes")
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--way", choices=WAYS, help="measure this one here and print it as JSON")
    given = options.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.quick, given.threads, given.repeats)))
        return
    from packed import machine, sizes
    from packed_model import FULL, QUICK, make_judge

    ways = {way: in_own_process(way, given) for way in WAYS}
    losses = [way["loss"] for way in ways.values()]
    cheaper = ways["per object"]["cpu_seconds"] / ways["packed, kept features"]["cpu_seconds"]
    result = {
        "quick": given.quick,
        "machine": {**machine(), "threads": given.threads},
        "model": sizes(make_judge(QUICK if given.quick else FULL).model),
        "repeats": given.repeats,
        "ways": ways,
        "largest_difference": max(losses) - min(losses),
        "cheaper": round(cheaper, 2),
        "met": cheaper >= REQUIRED,
    }
    text = PAGE.format(
        objects=OBJECTS,
        quick=" --quick" if given.quick else "",
        table=table(ways),
        required=REQUIRED,
        verdict="not asked of this small model" if given.quick else "met" if result["met"] else "NOT met",
        difference=result["largest_difference"],
        repeats=given.repeats,
        **result["model"],
        **result["machine"],
    )
    write("finetune-quick" if given.quick else "finetune", text, result, given.out)
    print(text)


if __name__ == "__main__":
    main()
