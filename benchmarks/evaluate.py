"""Scorecards of the judges that need no download, the embedded one and the floor, through the commands themselves.

    pip install -e .
    python benchmarks/evaluate.py [--scenes 200] [--real ../shared/data/lagoon-dyke] [--out benchmarks/results/evaluate]

On drawn scenes of a seed that no training saw: the embedded judge with every prompt, and spatial reasoning. On the
real valid split, if it is there: the same, the floor trained on the real train split, and both judges compared. True
boxes and types. Nothing is chosen here. Reports are kept as the commands write them; docs/scorecard.md defines every
figure.
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

from toeline.synth.dataset import write_dataset

SEED = 20_261_121  # the drawn scenes of benchmarks/embedded.py: no training run, demo or test draws from it
KEPT = ("report.md", "scorecard.json", "prompts.json", "spatial.json", "compare.md", "compare.json")
LIBRARIES = ("toeline", "torch", "transformers", "numpy", "pillow", "scikit-learn", "opencv-python-headless")


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        measured: dict[str, Path] = {}
        if args.scenes:
            write_dataset(top / "drawn", scenes=args.scenes, seed=SEED, parts={"valid": 1.0}, masks=False)
            measured["drawn"] = evaluate(top, top / "drawn", "embedded-drawn", "--prompt", "all")
        if (args.real / "data.yaml").is_file():
            measured |= real(args.real.resolve(), top)
        for name, out in measured.items():
            keep(out, args.out / name)
    (args.out / "machine.json").write_text(json.dumps(machine(args), indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200, help="0 leaves drawn scenes out")
    parser.add_argument("--real", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evaluate"))
    return parser.parse_args()


def real(data: Path, top: Path) -> dict[str, Path]:
    """Both judges on the real valid split, and one beside the other."""
    toeline(top, "floor", data, "--out", "floor.safetensors", "--split", "train")
    more = ("--targets", "fine-tuned", "--calibrate", "train")
    found = {
        "real-embedded": evaluate(top, data, "embedded", *more, "--prompt", "all"),
        "real-floor": evaluate(top, data, "floor", *more[:2], "--judge", "floor:floor.safetensors"),
    }
    toeline(top, "compare", "embedded", "floor", "--out", "compare")
    return {**found, "real-compare": top / "compare"}


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


def keep(out: Path, where: Path) -> None:
    """What a command wrote, without the folder it stood in."""
    where.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (out / name).is_file():
            shutil.copyfile(out / name, where / name)


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
