"""What fine-tuning the embedded judge gains on real photographs, in several ways, and the same from random weights.

    python benchmarks/finetune_real.py --work DIR [--data ../shared/data/lagoon-dyke] [--jobs 1] [--only NAME ...]

Each row of `RUNS` is one `toeline finetune` in a folder of its own under --work, trained on `train` and measured on
`valid`; finished ones are kept, stopped ones go on. Then everything finished is put into results/finetune_real.json and
.md. The epoch that is kept is the best one on valid, and the rows are many: the best of them is flattered by both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from results import RESULTS, write

from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import HEADLINE
from toeline.evaluate.compare import Difference, compare
from toeline.pipelines.compare import read_run_cases

FULL, SCRATCH = ("--full", "--lr", "1e-4"), ("--from-scratch", "--lr", "3e-4")
SHORT = ("--epochs", "12")
FINE = ("--crop-tokens", "100")
RUNS: dict[str, tuple[str, ...]] = {
    "full, finer crops": (*FULL, *SHORT, *FINE),
    "full, drawn scenes mixed in": (*FULL, *SHORT, "--mix-drawn", "168"),
    "full": (*FULL, *SHORT),
    "full, another seed": (*FULL, *SHORT, "--seed", "1"),
    "full, dense": (*FULL, *SHORT, "--dense", "1"),
    "from nothing": (*SCRATCH, *SHORT),
    "from nothing, dense": (*SCRATCH, *SHORT, "--dense", "1"),
    "LoRA, 12 epochs": SHORT,
    "LoRA, as by default": (),
}
UNCUT_ONLY = ("valid_by_epoch", "machine", "versions", "judge", "words")  # the page says the last ones in a line
PAIRS = (  # the second against the first
    ("from nothing", "full"),
    ("from nothing, dense", "full, dense"),
    ("full", "full, dense"),
    ("full", "full, drawn scenes mixed in"),
    ("full", "full, finer crops"),
    ("full", "full, another seed"),
    ("LoRA, as by default", "full"),
)


def folder_of(name: str) -> str:
    return name.replace(",", "").replace(" ", "-").lower()


def options_of(name: str) -> list[str]:
    patience = ["--patience", "0"] if RUNS[name] else []  # the default run stays what a user gets
    return [*RUNS[name], *patience, "--dtype", "float32"]


def finished(folder: Path) -> dict[str, Any] | None:
    """run.json of a finished run, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("finished") and record.get("worth") else None


def run_one(name: str, data: Path, work: Path, device: str) -> bool:
    """One fine-tuning, or nothing where it is finished. Its output goes to NAME.log."""
    out = work / folder_of(name)
    if finished(out):
        return True
    command = [sys.executable, "-m", "toeline", "finetune", str(data), "--out", str(out), "--device", device]
    resume = ["--resume"] if (out / "run.json").exists() else []
    with out.with_suffix(".log").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            [*command, *options_of(name), *resume],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            check=False,
        )
    print(f"{'done' if finished(out) else f'FAILED ({done.returncode})'}: {name}", flush=True)
    return finished(out) is not None


def row_of(name: str, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What one run came to."""
    before_after = record["worth"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    validations = [line for line in lines if "valid" in line]
    best = [line for line in validations if line.get("best")][-1]
    nine = {side: figure(before_after[side], "accuracy") for side in ("before", "after")}
    return {
        "run": name,
        "options": " ".join(options_of(name)),
        "headline": next(d for d in before_after["comparison"]["differences"] if d["key"] == HEADLINE),
        "floor": figure(before_after["after"], HEADLINE)["floor"],
        "accuracy": nine,
        "photographs": before_after["comparison"]["photographs"],
        "best_epoch": best["epoch"],
        "epochs": validations[-1]["epoch"],
        "valid_by_epoch": [
            [v["epoch"], round(v["valid"]["accuracy"], 4), round(v["valid"]["loss"], 4)] for v in validations
        ],
        "trained_parameters": record["trained"]["trained_parameters"],
        "minutes": round(lines[-1]["seconds"] / 60, 1),
        "machine": record["machine"],
        "versions": record["versions"],
        "judge": record["trained"]["judge"],
    }


def figure(card: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in card["figures"] if f["key"] == key)
    return found


def pair_of(first: str, second: str, work: Path, taxonomy: Taxonomy) -> Difference:
    """The second run beside the first on the same objects, both after training."""
    runs = [read_run_cases(work / folder_of(name) / "after") for name in (first, second)]
    return compare(*runs, taxonomy)[HEADLINE]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def difference_words(d: dict[str, Any]) -> str:
    low, high = d["interval"]
    return f"{100 * d['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


PAGE = """# Fine-tuning on real photographs

Written by `python benchmarks/finetune_real.py`: `toeline finetune` of the embedded judge (9.6 M parameters, trained on
drawn scenes only) on the real train split, measured on the real valid split ({n} objects on {photographs}
photographs; boxes and types are the true ones). The headline is the condition given the type; the majority-class
baseline (for each type the most common condition among these same objects) gets {floor} %.
Intervals are 95 % and clustered by photograph.

{table}

The epoch that is kept is the best of its run on valid, so all figures after training are flattered, and the best of
{count} rows is flattered once more. Differences of a few points between rows are within what another seed does.

## Pairs, object by object

{pairs}

"From nothing" is the same shape with random weights: what it lacks is what the drawn scenes had taught.

Options beside the defaults:

{options}

Machines and versions:

{machine}
"""


def page(rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> str:
    heads = (
        "| run | before % | after % | difference in points (95 %) | nine classes after % | best epoch | train minutes |"
    )
    table = [heads, "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        d = row["headline"]
        nine, low, high = (
            percent(v) for v in (row["accuracy"]["after"]["value"], *row["accuracy"]["after"]["interval"])
        )
        table.append(
            f"| {row['run']} | {percent(d['first'])} | {percent(d['second'])} | {difference_words(d)} | "
            f"{nine} ({low} to {high}) | {row['best_epoch']} of {row['epochs']} | {row['minutes']} |"
        )
    lines = ["| first | second | % | % | difference in points (95 %) |", "|---|---|--:|--:|--:|"]
    for p in pairs:
        cells = (p["first_run"], p["second_run"], percent(p["first"]), percent(p["second"]), difference_words(p))
        lines.append(f"| {' | '.join(cells)} |")
    kinds = dict.fromkeys(row["words"] for row in rows)
    return PAGE.format(
        n=rows[0]["headline"]["n"],
        photographs=rows[0]["photographs"],
        floor=percent(rows[0]["floor"]),
        table="\n".join(table),
        pairs="\n".join(lines),
        count=len(rows),
        options="\n".join(f"- {r['run']}: `{r['options']}`" for r in rows),
        machine="\n".join(f"- {'; '.join(r['run'] for r in rows if r['words'] == words)}: {words}" for words in kinds),
    )


def machine_words(record: dict[str, Any]) -> str:
    """Machine and versions of a run in one line."""
    said = {**record["machine"], **record["versions"], "device": record["trained"]["judge"].get("device", "")}
    return f"{', '.join(f'{name} {value}' for name, value in said.items() if value)}."


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--work", type=Path, required=True, help="folder for the runs, outside the repository")
    options.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--jobs", type=int, default=1, help="how many at once")
    options.add_argument("--device", default="auto")
    options.add_argument("--only", nargs="*", choices=list(RUNS), default=list(RUNS))
    options.add_argument("--collate", action="store_true", help="train nothing, only put together what is finished")
    given = options.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if not given.collate:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda name: run_one(name, given.data, given.work, given.device), given.only))
    return collate(given.work, given.out)


def collate(work: Path, out: Path) -> int:
    done = {name: record for name in RUNS if (record := finished(work / folder_of(name)))}
    if not done:
        print("No run is finished.")
        return 1
    rows = [{**row_of(n, work / folder_of(n), r), "words": machine_words(r)} for n, r in done.items()]
    taxonomy = Taxonomy.load()
    pairs = [
        {"first_run": a, "second_run": b, **vars(pair_of(a, b, work, taxonomy))}
        for a, b in PAIRS
        if {a, b} <= set(done)
    ]
    text = page(rows, pairs)
    short = [{k: v for k, v in row.items() if k not in UNCUT_ONLY} for row in rows]
    write("finetune_real", text, {"runs": short, "pairs": pairs}, out, all_of={"runs": rows, "pairs": pairs})
    print(text)
    return 0 if len(done) == len(RUNS) else 1


if __name__ == "__main__":
    sys.exit(main())
