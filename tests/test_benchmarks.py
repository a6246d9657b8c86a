"""Benchmarks that need a machine of their own are run here on small models, so that they work when they get it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.helpers import write_yolo

ROOT = Path(__file__).parent.parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_7b_benchmark_runs_on_a_small_model(tmp_path: Path) -> None:
    done = run("benchmarks/gpu_7b.py", "--tiny", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "gpu_7b-tiny.json").read_text())["rows"]
    measured = {(r["what"], r["objects"]) for r in rows if "seconds" in r}
    assert {("packed", 1), ("packed", 5), ("packed", 18), ("generate 50 per object", 5)} <= measured
    assert {("step, packed", 5), ("step, packed", 18), ("step, per object", 5)} <= measured
    assert "| packed | 18 |" in (tmp_path / "gpu_7b-tiny.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
def test_the_7b_benchmark_says_when_there_is_no_card(tmp_path: Path) -> None:
    done = run("benchmarks/gpu_7b.py", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "There is no CUDA card" in done.stdout
    assert not list(tmp_path.iterdir())


COUNT = """
import sys
sys.path.insert(0, "benchmarks")
import torch
from gpu_7b import SHAPE_7B
from packed_model import make_judge
with torch.device("meta"):
    judge = make_judge(SHAPE_7B, dtype=torch.bfloat16, by_branch=False)
print(sum(w.numel() for w in judge.model.parameters()))
"""


def test_the_random_7b_has_as_many_weights_as_the_real_one() -> None:
    done = run("-c", COUNT)
    assert done.stdout.split() == ["8291375616"], done.stderr[-2000:]


def test_overlaps_are_counted_on_a_small_data_set(tmp_path: Path) -> None:
    beside, under = "7 0.5 0.5 0.4 0.4", "8 0.5 0.45 0.4 0.4"  # an IoU of 0.78, of two types
    write_yolo(tmp_path / "data", {"train": {"a.jpg": [beside, under, "7 0.1 0.1 0.1 0.1"], "b.jpg": [beside]}})
    done = run("benchmarks/overlaps.py", str(tmp_path / "data"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    different, same = json.loads((tmp_path / "overlaps.json").read_text())["true"]
    assert (different["pairs"], different["over"]["0.7"], different["over"]["0.8"]) == (2, 1, 0)
    assert (same["pairs"], same["over"]["0.3"]) == (1, 0)
    assert "| train | 4 | different | 2 |" in (tmp_path / "overlaps.md").read_text()
