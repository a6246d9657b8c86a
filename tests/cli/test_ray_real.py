"""Ray itself, where it is installed: really killed, on drawn scenes with the model in the package."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from tests.support.datasets import exit_code

from toeline.core.records import read_lines
from toeline.synth.dataset import write_dataset

ROOT = Path(__file__).parent.parent.parent
SCENES, PATIENCE_S = 24, 120
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra ray)")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, one of them damaged, and `whole`, what a single process writes of them."""
    work = tmp_path_factory.mktemp("ray")
    write_dataset(work, scenes=SCENES, seed=18, parts={"valid": 1.0}, masks=False)
    (work / "valid" / "images" / "bad.jpg").write_bytes(b"none")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        assert exit_code("inspect", "valid/images", "--out", "whole") == 1
    return work


def start(work: Path, out: str) -> psutil.Popen:
    """Three actors that are given one photograph at a time."""
    words = ["inspect", "valid/images", "--out", out, "--ray", "local", "--ray-actors", "3", "--batch", "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return psutil.Popen([sys.executable, "-m", "toeline", *words], cwd=work, env=env)


def working(process: psutil.Popen) -> Iterator[psutil.Process]:
    """The actors that are inspecting; Ray writes it into their title."""
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(child.cmdline()).startswith("ray::RemoteInspector.inspect"):
                yield child


def kill_one(process: psutil.Popen) -> None:
    """SIGKILL for an actor that is inspecting."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, "the run ended by itself"
        for actor in working(process):
            actor.kill()
            actor.wait(PATIENCE_S)
            return
        time.sleep(0.01)
    raise AssertionError("no actor inspects")


def same_but_for_times(work: Path, out: str) -> None:
    whole = sorted(f.relative_to(work / "whole") for f in (work / "whole").rglob("*") if f.is_file())
    assert whole == sorted(f.relative_to(work / out) for f in (work / out).rglob("*") if f.is_file())
    differing = [str(f) for f in whole if (work / "whole" / f).read_bytes() != (work / out / f).read_bytes()]
    assert set(differing) <= {"progress.jsonl", "report.html", "run.json"}
    found = [(f["photo"], f["id"]) for f in read_lines(work / out / "findings.jsonl")]
    assert len(found) == len(set(found)) > SCENES
    models = [json.loads((work / name / "run.json").read_text())["models"] for name in ("whole", out)]
    assert models[0] == models[1]


def test_actors_are_killed_twice(work: Path) -> None:
    with start(work, "killed") as process:
        kill_one(process)
        kill_one(process)
        assert process.wait(PATIENCE_S) == 1  # bad.jpg
    same_but_for_times(work, "killed")


def test_a_killed_command_continues_in_a_single_process(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = work / "again" / "progress.jsonl"
    with start(work, "again") as process:
        until = time.monotonic() + PATIENCE_S
        while not progress.exists() or progress.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        actors = list(working(process))
        process.kill()
        process.wait(PATIENCE_S)
    assert 5 <= len(read_lines(progress)) < SCENES
    _, alive = psutil.wait_procs(actors, timeout=PATIENCE_S)
    assert not alive
    monkeypatch.chdir(work)
    assert exit_code("inspect", "valid/images", "--out", "again") == 1
    same_but_for_times(work, "again")
