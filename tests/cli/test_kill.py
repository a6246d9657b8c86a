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
from tests.support.datasets import exit_code, write_photo
from tests.support.stand_ins import FakeJudge, fake_inspector

from toeline.core.question import PromptBudget
from toeline.core.records import read_lines
from toeline.pipelines.inspector import Inspector

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


def finish(where: Path, patch: pytest.MonkeyPatch, *words: str) -> None:
    """The same to its end, in this process: one that was not killed is another than the killed ones in any case."""
    view = PromptBudget(scene_tokens=0, crop_tokens=0)
    patch.chdir(where)
    patch.setattr(Inspector, "load", lambda *_, **__: fake_inspector(FakeJudge(view=view)))
    assert exit_code("inspect", "photos", "--out", *words) == 0


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
def test_200_photographs_killed_three_times_give_each_finding_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(200):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (48, 32), seed=i)
    finish(tmp_path, monkeypatch, "whole", "--workers", "0")
    progress, moments = tmp_path / "out" / "progress.jsonl", random.Random(6)
    for least in (10, 60, 110):
        with start(tmp_path, 0.01, "out", "--workers", "2", "--batch", "3") as process:
            kill_after(process, progress, least + moments.randrange(20))
    assert done(progress) < 200
    finish(tmp_path, monkeypatch, "out", "--workers", "3", "--batch", "7")
    for name in ("findings.jsonl", "findings.csv", "errors.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    seen = [(r["photo"], r["id"]) for r in read_lines(tmp_path / "out" / "findings.jsonl")]
    assert len(seen) == len(set(seen)) == 600
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (120, 80), seed=i)
    finish(tmp_path, monkeypatch, "whole")
    progress = tmp_path / "out" / "progress.jsonl"
    with start(tmp_path, 0.2, "out") as process:
        kill_after(process, progress, 2)
    before = progress.read_bytes()
    assert 2 <= before.count(b"\n") < 6
    finish(tmp_path, monkeypatch, "out")
    assert progress.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    whole, again = ((tmp_path / name / "findings.jsonl").read_bytes() for name in ("whole", "out"))
    assert again == whole
