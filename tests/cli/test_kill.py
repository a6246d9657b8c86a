"""A real process, really killed: nothing is done twice and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.datasets import write_photo

from toeline.core.records import read_lines

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
from tests.support.stand_ins import FakeJudge, fake_inspector
from toeline.cli import main
from toeline.core.question import PromptBudget
from toeline.pipelines.inspector import Inspector
from toeline.core import run_folder as folder

folder.COMMIT_S = 0.05  # so that a kill comes in the middle, however quick the machine
view = PromptBudget(scene_tokens=0, crop_tokens=0)
Inspector.load = lambda *_, **__: fake_inspector(FakeJudge(seconds=float(sys.argv[1]), view=view))
main(["inspect", "photos", "--out", *sys.argv[2:]])
"""
PATIENCE_S = 60


def start(where: Path, seconds: float, *words: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds), *words],
        cwd=where,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def done(progress: Path) -> int:
    return progress.read_bytes().count(b"\n") if progress.exists() else 0


def kill_after(process: subprocess.Popen[bytes], progress: Path, photographs: int) -> None:
    """SIGKILL as soon as so many are done."""
    until = time.monotonic() + PATIENCE_S
    while done(progress) < photographs:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < until, "the run got nowhere"
        time.sleep(0.001)
    process.kill()
    process.wait(PATIENCE_S)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_200_photographs_killed_three_times_give_each_finding_once(tmp_path: Path) -> None:
    for i in range(200):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (48, 32), seed=i)
    assert start(tmp_path, 0, "whole", "--workers", "0").wait(PATIENCE_S) == 0
    progress, moments = tmp_path / "out" / "progress.jsonl", random.Random(6)
    for least in (10, 60, 110):
        with start(tmp_path, 0.01, "out", "--workers", "2", "--batch", "3") as process:
            kill_after(process, progress, least + moments.randrange(20))
    assert done(progress) < 200
    assert start(tmp_path, 0, "out", "--workers", "3", "--batch", "7").wait(PATIENCE_S) == 0
    for name in ("findings.jsonl", "findings.csv", "errors.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    seen = [(r["photo"], r["id"]) for r in read_lines(tmp_path / "out" / "findings.jsonl")]
    assert len(seen) == len(set(seen)) == 600
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    for i in range(6):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (120, 80), seed=i)
    assert start(tmp_path, 0, "whole").wait(PATIENCE_S) == 0
    progress = tmp_path / "out" / "progress.jsonl"
    with start(tmp_path, 0.2, "out") as process:
        kill_after(process, progress, 2)
    before = progress.read_bytes()
    assert 2 <= before.count(b"\n") < 6
    assert start(tmp_path, 0, "out").wait(PATIENCE_S) == 0
    assert progress.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    whole, again = ((tmp_path / name / "findings.jsonl").read_bytes() for name in ("whole", "out"))
    assert again == whole
