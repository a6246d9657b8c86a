"""Scorecards of the judges that need no download, the embedded one and the baseline, by the commands themselves.

    pip install -e .
    python benchmarks/evaluate.py [--scenes 200] [--real ../shared/data/lagoon-dyke] [--out benchmarks/results]

On drawn scenes of a seed that no training saw: the embedded judge with every prompt, and spatial reasoning. On the
real valid split, if it is there: the same, and the baseline trained on the real train split. True boxes and types.
Nothing is chosen here. Pages are those of the commands without their lists of single objects; all that the commands
wrote goes to runs/benchmarks/evaluate, where `toeline compare` sets both judges side by side. docs/scorecard.md
defines every figure.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from results import RESULTS, shortened_page, uncut, write

from toeline.synth.dataset import write_dataset

SEED = 20_261_121  # the drawn scenes of benchmarks/embedded.py: no training run, demo or test draws from it
KEPT = ("scorecard", "prompts")
LIBRARIES = ("toeline", "torch", "transformers", "numpy", "pillow", "scikit-learn", "opencv-python-headless")


def main() -> None:
    args = arguments()
    made = machine(args)
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        measured: dict[str, Path] = {}
        if args.scenes:
            write_dataset(top / "drawn", scenes=args.scenes, seed=SEED, parts={"valid": 1.0}, masks=False)
            measured["drawn"] = evaluate(top, top / "drawn", "embedded-drawn", "--prompt", "all")
        if (args.real / "data.yaml").is_file():
            measured |= real(args.real.resolve(), top)
        for name, out in measured.items():
            shutil.copytree(out, uncut(args.out) / "evaluate" / name, dirs_exist_ok=True)
            page = shortened_page((out / "report.md").read_text("utf-8"))
            write(f"evaluate/{name}", "\n\n".join(filter(None, (args.note, page))), figures(out, made), args.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200, help="0 leaves drawn scenes out")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="a sentence above each page, such as what else the machine did")
    return parser.parse_args()


def real(data: Path, top: Path) -> dict[str, Path]:
    """Both judges on the real valid split."""
    toeline(top, "baseline", data, "--out", "baseline.safetensors", "--split", "train")
    more = ("--targets", "fine-tuned")  # no calibration: the judge in the package has seen all of the train split
    return {
        "real-embedded": evaluate(top, data, "embedded", *more, "--prompt", "all"),
        "real-baseline": evaluate(top, data, "baseline", *more, "--judge", "baseline:baseline.safetensors"),
    }


def evaluate(top: Path, data: Path, out: str, *more: str) -> Path:
    toeline(top, "evaluate", data, "--split", "valid", "--out", out, *more)
    return top / out


def toeline(top: Path, *words: Any) -> None:
    """One command in the folder `top`, so that results name no path; 1 means that some input had problems."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "toeline", *map(str, words)], check=False, cwd=top)
    print(f"toeline {words[0]}: exit {done.returncode}, {time.perf_counter() - start:.0f} s", flush=True)
    if done.returncode > 1:
        sys.exit(done.returncode)


def figures(out: Path, made: dict[str, Any]) -> dict[str, Any]:
    """What a command measured: its JSON files as one. Of other relations in the prompt only the headline is kept."""
    read = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(out.glob("*.json")) if file.stem in KEPT}
    run = json.loads((out / "run.json").read_text("utf-8"))
    read["run"] = {key: run[key] for key in ("settings", "scoring", "data_sha256") if key in run}
    read["run"]["settings"]["data"] = Path(run["settings"]["data"]).name  # not where it lay
    if spatial := read.get("scorecard", {}).get("spatial"):
        spatial["relations"] = {r["second"]: r["differences"][0] for r in spatial["relations"]}
    return {"machine": made, **read}


def machine(args: argparse.Namespace, libraries: Sequence[str] = LIBRARIES) -> dict[str, Any]:
    """What the figures depend on; no host names, no paths."""
    return {
        "cpu": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "drawn": {"scenes": args.scenes, "seed": SEED},
    }


if __name__ == "__main__":
    main()
