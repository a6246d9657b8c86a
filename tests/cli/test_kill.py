"""A real process, really killed: nothing is done twice and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.helpers import write_photo

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
from tests.fakes import FakeJudge, fake_inspector
from toeline.cli import main
from toeline.inspector import Inspector

Inspector.load = lambda *_, **__: fake_inspector(FakeJudge(seconds=float(sys.argv[1])))
main(["inspect", "photos", "--out", sys.argv[2]])
"""
PATIENCE_S = 60


def start(where: Path, seconds: float, out: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds), out],
        cwd=where,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    for i in range(6):
        write_photo(tmp_path / "photos" / f"{i}.jpg", (120, 80), seed=i)
    assert start(tmp_path, 0, "whole").wait(PATIENCE_S) == 0
    progress = tmp_path / "out" / "progress.jsonl"
    with start(tmp_path, 0.2, "out") as process:
        until = time.monotonic() + PATIENCE_S
        while not (progress.exists() and progress.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < until, "the run got nowhere"
            time.sleep(0.01)
        process.kill()
    before = progress.read_bytes()
    assert 2 <= before.count(b"\n") < 6
    assert start(tmp_path, 0, "out").wait(PATIENCE_S) == 0
    assert progress.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    whole, again = ((tmp_path / name / "findings.jsonl").read_bytes() for name in ("whole", "out"))
    assert again == whole
