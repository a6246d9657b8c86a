"""Where the time of `toeline inspect` goes: stages, each beside the least that its main library call takes alone.

    python benchmarks/stages.py [--photographs 24] [--large 2] [--out benchmarks/results]

Drawn photographs, 640 x 640 and 5472 x 3648 pixels (20 megapixels), the models of the package, one photograph after
another in one thread (`--workers 0 --batch 1`), so that CPU time belongs to the stage that is at work. Stages are
functions of the package with a timer put around them here; what one calls that is a stage of its own is taken off.
The 640-pixel photographs are judged a second time by the embedded language model. The floor of a network is the same
number of runs of nothing but its session; of vision tower and language model the arithmetic of their linear layers at
the rate of one large matrix product; of decoding and encoding what Pillow takes for the same files, without more.
Wall time holds what other programs took of the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from mosaic import draw_mosaic
from PIL import Image
from results import RESULTS, write

from toeline.core.prefetch import cores
from toeline.core.provenance import machine, versions
from toeline.core.threads import SLEEPING
from toeline.synth.dataset import write_dataset

SEED, SIDE, LARGE_WH, GRID, OBJECTS = 81_950, 640, (5472, 3648), (8, 5), 50
STAGES = {  # where a function is looked up, and the stage that it is; "module:Class.method" or "module:function"
    "toeline.pipelines.inspect:load_inspector": "load the models",
    "toeline.pipelines.inspector:photo_size": "find and read files",
    "toeline.pipelines.inspector:file_hash": "find and read files",
    "toeline.pipelines.inspector:read_position": "find and read files",
    "toeline.pipelines.inspect:search": "find and read files",
    "toeline.pipelines.inspector:read_photo": "decode",
    "toeline.detect.tiling:cut": "letterbox and tiles",
    "toeline.detect.views:View.laid": "letterbox and tiles",
    "toeline.detect.onnx:OnnxDetector._run": "detector network",
    "toeline.detect.onnx:OnnxDetector.find": "boxes: joined, looked at again",
    "toeline.detect.tiling:TiledDetector.find": "boxes: joined, looked at again",
    "toeline.data.feature_maps:FeatureNetwork.maps": "feature network",
    "toeline.detect.rescore:pool": "features pooled in boxes",
    "toeline.judge.baseline.features:pool": "features pooled in boxes",
    "toeline.judge.baseline.features:measure": "219 measures",
    "toeline.judge.baseline.model:BaselineModel.log_probs": "linear models and trees",
    "toeline.pipelines.inspector:measures_of": "domain",
    "toeline.data.domain:DomainModel.standing": "domain",
    "toeline.pipelines.inspector:relate": "relations and prompts",
    "toeline.pipelines.inspector:ask": "relations and prompts",
    "toeline.prompts.build:cut": "crops",
    "toeline.prompts.build:whole": "crops",
    "toeline.judge.qwen_vl:patches": "crops",
    "toeline.judge.qwen_vl:image_features": "vision tower",
    "toeline.judge.qwen_vl:QwenVLJudge._run": "language model",
    "toeline.pipelines.inspect:draw": "draw",
    "toeline.pipelines.inspect:as_jpeg": "encode",
    "toeline.pipelines.inspect:write_whole": "write",
    "toeline.pipelines.inspect:finish": "tables and report",
}
ORDER = ["start: imports", *dict.fromkeys(STAGES.values()), "all else"]


@dataclass
class Clock:
    """CPU and wall seconds, runs of networks and operations by stage; an inner stage's time is not the outer one's."""

    spent: dict[str, list[float]] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    flop: Counter[str] = field(default_factory=Counter)
    open_: list[str] = field(default_factory=list)
    at: tuple[float, float] = (0.0, 0.0)

    def turn(self) -> None:
        """Count the time since the last turn for the stage that is at work."""
        now = time.process_time(), time.perf_counter()
        here = self.spent.setdefault(self.open_[-1] if self.open_ else "all else", [0.0, 0.0])
        for i in (0, 1):
            here[i] += now[i] - self.at[i]
        self.at = now

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the clock around it."""

        def act(*given: Any, **named: Any) -> Any:
            self.turn()
            self.open_.append(stage)
            try:
                return work(*given, **named)
            finally:
                self.turn()
                self.open_.pop()

        return act


def put(clock: Clock, judge: str) -> None:
    """A timer around each function of STAGES; those of the language model only where that is asked."""
    from importlib import import_module

    for place, stage in STAGES.items():
        module, _, name = place.partition(":")
        if "qwen_vl" in module and judge != "embedded":
            continue
        owner: Any = import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, last, clock.timed(stage, owner.__dict__[last]))
    count_runs(clock)
    if judge == "embedded":
        count_linear(clock)


def count_runs(clock: Clock) -> None:
    """Count the runs of onnxruntime's sessions for the stage that is at work."""
    from onnxruntime import InferenceSession

    plain = InferenceSession.run

    def run(session: Any, *given: Any, **named: Any) -> Any:
        clock.runs.update(clock.open_[-1:])
        return plain(session, *given, **named)

    InferenceSession.run = run


def count_linear(clock: Clock) -> None:
    """Count the operations of linear layers of torch for the stage that is at work."""
    import torch

    plain = torch.nn.Linear.forward

    def forward(layer: Any, rows: Any) -> Any:
        clock.flop[clock.open_[-1]] += 2 * rows.numel() * layer.out_features  # only the judge asks torch
        return plain(layer, rows)

    torch.nn.Linear.forward = forward  # type: ignore[method-assign]


def matmul_rate() -> float:
    """Operations a CPU second of a product of two large matrices."""
    import torch

    one, times = torch.ones(1024, 1024), 12
    one @ one
    began = time.process_time()
    for _ in range(times):
        one @ one
    return 2 * 1024**3 * times / (time.process_time() - began)


def child(photos: Path, judge: str) -> None:
    """One inspection in this process; its clock as JSON."""
    from toeline.pipelines.inspect import ALONE, Output, inspect_into
    from toeline.pipelines.settings import InspectRun

    clock = Clock()
    put(clock, judge)
    clock.spent["start: imports"] = [time.process_time(), time.process_time()]
    clock.at = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="toeline-") as folder:
        run = InspectRun(photos=(photos,), judge=judge)
        inspect_into(run, Output(out=Path(folder) / "out", command="inspect", pace=ALONE))
        clock.turn()
        marked = sorted((Path(folder) / "out" / "marked").rglob("*.jpg"))
        floors = {
            "detector network": session_floor("detector", clock.runs["detector network"], 384),
            "feature network": session_floor("features", clock.runs["feature network"], SIDE),
            "decode": pillow_floor(sorted(photos.iterdir())),
            "encode": pillow_floor(marked, again=True),
            **({stage: flop / matmul_rate() for stage, flop in clock.flop.items()}),
        }
    print(json.dumps({"spent": clock.spent, "floors": floors}))


def session_floor(name: str, runs: int, side: int) -> float:
    """CPU seconds of so many runs of a network of the package and nothing else."""
    from toeline.detect.load import EMBEDDED as DETECTOR
    from toeline.weights import open_session

    file = {"detector": DETECTOR, "features": DETECTOR.parents[1] / "features" / "features.onnx"}[name]
    session, photo = open_session(file, 1), np.full((1, side, side, 3), 90, np.uint8)
    session.run(None, {"photo": photo})
    some, began = min(runs, 20), time.process_time()
    for _ in range(some):
        session.run(None, {"photo": photo})
    return (time.process_time() - began) / max(some, 1) * runs


def pillow_floor(files: list[Path], *, again: bool = False) -> float:
    """CPU seconds of decoding files, or of encoding them once more as Pillow does it by itself."""
    total = 0.0
    for file in files:
        began = time.process_time()
        with Image.open(file) as image:
            image.load()
            if again:
                began = time.process_time()
                image.save(BytesIO(), "JPEG", quality=88)
        total += time.process_time() - began
    return total


def measured(photos: Path, judge: str) -> dict[str, Any]:
    """One inspection in a process of its own: by stage CPU and wall milliseconds a photograph, share, floor."""
    words = [sys.executable, __file__, "--child", str(photos), "--judge", judge]
    env = {**SLEEPING, **os.environ}
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout
    found, n = json.loads(said.splitlines()[-1]), sum(1 for _ in photos.iterdir())
    whole = sum(cpu for cpu, _ in found["spent"].values())
    rows = {
        stage: {
            "cpu_ms": round(1000 * cpu / n, 2),
            "wall_ms": round(1000 * wall / n, 2),
            "share": round(cpu / whole, 3),
            **({"floor_ms": round(1000 * found["floors"][stage] / n, 2)} if found["floors"].get(stage) else {}),
        }
        for stage in ORDER
        for cpu, wall in [found["spent"].get(stage, (0.0, 0.0))]
        if cpu
    }
    return {"photographs": n, "judge": judge, "cpu_seconds": round(whole, 2), "stages": rows}


def drawn(folder: Path, photographs: int, large: int) -> tuple[Path, Path]:
    """Folders of 640-pixel and of large photographs."""
    write_dataset(
        folder / "set", scenes=photographs, seed=SEED, size=SIDE, parts={"all": 1.0}, masks=False, workers=cores()
    )
    (folder / "large").mkdir()
    for n in range(large):
        image = draw_mosaic(SEED + n, size_wh=LARGE_WH, grid=GRID, objects=OBJECTS).image
        Image.fromarray(image).save(folder / "large" / f"{n}.jpg", quality=90)
    return folder / "set" / "all" / "images", folder / "large"


def page(figures: dict[str, Any]) -> Iterator[str]:
    yield "# Where the time of an inspection goes\n"
    yield (__doc__ or "").split("\n\n")[2] + "\n"
    for name, r in figures["sets"].items():
        yield f"## {name}, judge {r['judge']}: {r['photographs']} photographs, {r['cpu_seconds']} s of CPU in all\n"
        yield "| stage | CPU ms a photograph | wall ms | share | floor, CPU ms |"
        yield "|---|--:|--:|--:|--:|"
        for stage, row in sorted(r["stages"].items(), key=lambda item: -item[1]["cpu_ms"]):
            yield f"| {stage} | {row['cpu_ms']} | {row['wall_ms']} | {row['share']:.1%} | {row.get('floor_ms', '')} |"
        yield ""
    yield "- " + ", ".join(f"{k} {v}" for k, v in figures["machine"].items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=24)
    parser.add_argument("--large", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--judge", default="auto", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.judge)
        return
    with tempfile.TemporaryDirectory(prefix="toeline-") as folder:
        small, large = drawn(Path(folder), args.photographs, args.large)
        sets = {"640 x 640": measured(small, "auto"), "640 x 640, in words": measured(small, "embedded")}
        sets |= {"20 megapixels": measured(large, "auto")} if args.large else {}
    figures = {"sets": sets, "machine": {**machine(), "cores": cores(), **versions()}}
    text = "\n".join(page(figures))
    print(text)
    write("profile", text, figures, args.out)


if __name__ == "__main__":
    main()
