"""What training a detector on real photographs gains: from the embedded one, and the same network from nothing.

    python benchmarks/detector_real.py --work DIR [--data ../shared/data/lagoon-dyke] [--collate] [--out DIR]

Each row is one `toeline train-detector` with its defaults in a folder of its own under --work, trained on `train`;
finished ones are kept, stopped ones go on. Then they are set side by side on `valid`, the same photographs drawn anew
for the intervals, as results/detector_real.json and .md. Training needs `pip install 'toeline[train-detector]'`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from results import RESULTS, write

from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo
from toeline.detect.detector import DetectorOptions
from toeline.evaluate.metric import metric_record
from toeline.evaluate.results import DetectorMeasurement
from toeline.pipelines.evaluate_detector import measure

BEGINNINGS = {"embedded": "from the embedded detector", "scratch": "from nothing"}


def train(begin: str, data: Path, out: Path, threads: int) -> None:
    """One training, or nothing where it is finished."""
    if (out / "scorecard.json").exists():
        return
    command = [sys.executable, "-m", "toeline", "train-detector", str(data), "--out", str(out), "--from", begin]
    resume = ["--resume"] if (out / "run.json").exists() else []
    subprocess.run([*command, "--threads", str(threads), *resume], check=False)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--work", type=Path, required=True, help="folder for the runs, outside the repository")
    options.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--collate", action="store_true", help="train nothing, only measure what is finished")
    given = options.parse_args()
    if not given.collate:
        for begin in BEGINNINGS:
            train(begin, given.data, given.work / begin, given.threads)
    return collate(given.work, given.data, given.out)


def collate(work: Path, data: Path, out: Path) -> int:
    """Measure the finished ones and the embedded detector on valid, in one go."""
    done = [begin for begin in BEGINNINGS if (work / begin / "scorecard.json").exists()]
    taxonomy = Taxonomy.load()
    split = read_split(open_yolo(data, taxonomy), "valid", taxonomy, conditions=False)
    device = DetectorOptions(device="cpu")
    untrained = measure("embedded", split, taxonomy, device, step=lambda _: None)
    trained = {b: measure(str(work / b), split, taxonomy, device, step=lambda _: None) for b in done}
    facts = {b: json.loads((work / b / "scorecard.json").read_text(encoding="utf-8"))["trained"] for b in done}
    runs = {b: json.loads((work / b / "run.json").read_text(encoding="utf-8")) for b in done}
    rows = [row("embedded, untrained on photographs", untrained, untrained)]
    rows += [row(f"trained {BEGINNINGS[b]}", m, untrained, facts[b]) for b, m in trained.items()]
    if len(trained) == len(BEGINNINGS):
        gain, interval = trained["embedded"].precision.gained_over(trained["scratch"].precision)
        rows[1]["over_scratch"] = {"value": gain, "interval": list(interval)}
    machine = {b: {k: r[k] for k in ("machine", "versions")} for b, r in runs.items()}
    text = page(rows, machine)
    write("detector_real", text, {"rows": rows, "machines": machine}, out)
    print(text)
    return 0 if len(done) == len(BEGINNINGS) else 1


def row(
    name: str, measured: DetectorMeasurement, before: DetectorMeasurement, facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One detector's figures, and what it has over the embedded one."""
    gain, interval = measured.precision.gained_over(before.precision)
    return {
        "detector": name,
        "photographs": len(measured.photos),
        "objects": sum(len(p.instances) for p in measured.photos),
        "figures": [metric_record(f) for f in measured.figures],
        "kinds": list(measured.kinds),
        "gained": {"value": gain, "interval": list(interval)},
        "trained": {k: facts[k] for k in ("epoch", "epochs", "seconds") if k in facts} if facts else None,
    }


def cells(row: dict[str, Any]) -> list[str]:
    """Average precision with its interval: over the types, of each type, and over IoU 0.5 to 0.95."""
    by_key = {f["key"]: f for f in row["figures"]}
    picked = [by_key[key] for key in ("map_50", *(f"ap_50/{kind}" for kind in row["kinds"]), "map_50_95")]
    return ["{:.3f} ({:.3f} to {:.3f})".format(f["value"], *f["interval"]) for f in picked]


def gained(more: dict[str, Any]) -> str:
    """A difference of two values of mAP with its interval."""
    low, high = more["interval"]
    return f"{more['value']:+.3f} ({low:+.3f} to {high:+.3f})"


PAGE = """# A detector trained on real photographs

Written by `python benchmarks/detector_real.py`: `toeline train-detector` with its defaults on the real train split,
measured on the real valid split ({photographs} photographs, {objects} objects). Average precision at an IoU of 0.5 by
pycocotools; 95 % intervals, photographs drawn anew.

{table}

The best epoch and the thresholds were chosen on this very split, so what stands here after training is flattered.{pair}

{facts}

{machines}
"""


def page(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    kinds = [k.replace("_", " ") for k in rows[0]["kinds"]]
    heads = ["detector", "mAP@0.5", *kinds, "mAP@0.5:0.95", "over the untrained"]
    table = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for r in rows:
        more = gained(r["gained"]) if r["trained"] else ""
        table.append(f"| {' | '.join([r['detector'], *cells(r), more])} |")
    pair = ""
    if over := rows[1].get("over_scratch") if len(rows) > 1 else None:
        pair = f" Beginning with the embedded detector gains {gained(over)} mAP@0.5 over beginning with nothing."
    facts = "\n".join(f"- {r['detector']}: {json.dumps(r['trained'])}" for r in rows if r["trained"])
    said = "\n".join(f"- {b}: {json.dumps(m)}" for b, m in machine.items())
    return PAGE.format(
        photographs=rows[0]["photographs"],
        objects=rows[0]["objects"],
        table="\n".join(table),
        pair=pair,
        facts=facts,
        machines=said,
    )


if __name__ == "__main__":
    sys.exit(main())
