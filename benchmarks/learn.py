"""What `toeline learn` makes of real photographs: one command on the train split, measured on the valid split.

    python benchmarks/learn.py --model DIR [--data ../shared/data/lagoon-dyke] [--out DIR] [more options of learn]

Runs `toeline learn DATA --out DIR` with what else is given (`--judge-epochs 0`, say), or goes on with it; a folder that
is finished is read as it is. Needs `pip install 'toeline[train-detector]'`. Writes results/learn.json and .md. Epochs,
thresholds, weights and temperatures are chosen inside train, by folds of flight lines; nothing is chosen on valid.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results import RESULTS, write

SHOWN = (  # of train's own setting; the rest are the command's defaults
    "folds", "epochs", "judge_epochs", "budget", "risk", "seed", "mix_drawn",
)  # fmt: skip
COUNTS = {
    "right": "right", "wrong_condition": "wrong condition", "wrong_type": "wrong type", "misplaced": "badly placed",
    "missed": "not found", "double": "double", "false": "of nothing",
}  # fmt: skip


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--model", type=Path, required=True, help="folder of the model, outside the repository")
    options.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--note", default="", help="what else is to be known of the run")
    given, more = options.parse_known_args()
    command = [sys.executable, "-m", "toeline", "learn", str(given.data), "--out", str(given.model), *more]
    if not (given.model / "model.json").exists() and (done := subprocess.run(command, check=False).returncode) > 1:
        return done
    record = {"note": given.note, **read(given.model)}
    write("learn", "\n".join(page(record, given.model)), record, given.out)
    return 0


def read(model: Path) -> dict[str, Any]:
    """Everything that the page tells, of the folder."""
    run, scores, both = (
        json.loads((model / name).read_text(encoding="utf-8"))
        for name in ("run.json", "scorecard.json", "evaluation/integration.json")
    )
    for kind in ("before", "after"):
        scores["probabilities"][kind].pop("bins")
    trained_on = json.loads((model / "model.json").read_text(encoding="utf-8"))["trained_on"]
    return {
        "settings": {**{name: run["settings"][name] for name in SHOWN}, "jobs": run.get("jobs")},
        "trained_on": {k: v for k, v in trained_on.items() if k in ("photographs", "objects", "folds")},
        "flight_lines": len(trained_on["flight_lines"]),
        "scores": scores,
        "by_type": {kind: {k: counts[k] for k in COUNTS} for kind, counts in both["by_type"].items()},
        "seconds": {name: step["seconds"] for name, step in run["steps"].items()},
        "machine": {**run["machine"], **run["versions"]},
    }


def page(record: dict[str, Any], model: Path) -> Iterator[str]:
    """The figures as Markdown: the headline and the table of the report, errors by type, time."""
    on = record["trained_on"]
    report = (model / "report.md").read_text(encoding="utf-8")
    yield "# A model learned from real photographs"
    yield ""
    yield (
        f"Written by `python benchmarks/learn.py`: one `toeline learn` on the train split of `lagoon-dyke` "
        f"({on['photographs']} photographs, {on['objects']} objects, {record['flight_lines']} flight lines; "
        f"{', '.join(f'{k} {v}' for k, v in record['settings'].items() if v is not None)}). [docs/learn.md](../../docs/"
        f"learn.md) says what is chosen by what. {record['note']}"
    )
    yield ""
    for title in ("How good each step is", "Detector", "Probabilities"):
        yield from (f"## {title}", "")
        yield from section(report, title)
    yield from ("## Both stages as one, by type", "")
    yield f"| type | {' | '.join(COUNTS.values())} |"
    yield f"|---|{'--:|' * len(COUNTS)}"
    for kind, counts in {**record["by_type"], "all": record["scores"]["counts"]}.items():
        yield f"| {kind.replace('_', ' ')} | {' | '.join(str(counts[k]) for k in COUNTS)} |"
    seconds = sum(record["seconds"].values())
    steps = ", ".join(f"{name} {value:,.0f}" for name, value in record["seconds"].items())
    yield from ("", f"The steps took {seconds / 60:,.0f} minutes together; seconds of each: {steps}.")
    machine = {k: v for k, v in record["machine"].items() if not isinstance(v, dict)}
    yield from ("", "- " + ", ".join(f"{k} {v}" for k, v in machine.items()))


def section(report: str, title: str) -> Iterator[str]:
    """The text and tables of a section of report.md, less what is below its own headings."""
    body = report.partition(f"\n## {title}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    yield from (*body.strip("\n").splitlines(), "")


if __name__ == "__main__":
    sys.exit(main())
