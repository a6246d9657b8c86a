"""Ray itself, where it is installed: really killed, on drawn scenes with the model in the package."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from tests.support.datasets import exit_code

from toeline.core.records import read_lines
from toeline.synth.dataset import write_dataset

ROOT = Path(__file__).parent.parent.parent
SCENES, ACTORS, PATIENCE_S = 24, 3, 120
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
    words = ["inspect", "valid/images", "--out", out, "--ray", "local", "--ray-actors", str(ACTORS), "--batch", "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return psutil.Popen([sys.executable, "-m", "toeline", *words], cwd=work, env=env)


def actors(process: psutil.Popen, doing: str = "") -> list[psutil.Process]:
    """The actors of a run; Ray writes into their titles what they are doing."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(child.cmdline()).startswith(f"ray::RemoteInspector{doing}"):
                found.append(child)
    return found


def inspecting(process: psutil.Popen, but: Sequence[psutil.Process] = ()) -> psutil.Process:
    """One that is inspecting, other than these; waits for it, and for all to be there."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, "the run ended by itself"
        found = [actor for actor in actors(process, ".inspect") if actor not in but]
        if found and len(actors(process)) == ACTORS:
            return found[0]
        time.sleep(0.05)
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


def test_an_actor_is_killed_and_the_one_in_its_place_too(work: Path) -> None:
    with start(work, "killed") as process:
        victim, first = inspecting(process), actors(process)
        others = [actor for actor in first if actor != victim]
        for other in others:
            other.suspend()  # so that something is left to do when the first is replaced
        victim.kill()
        inspecting(process, but=first).kill()
        for other in others:
            other.resume()
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
        mine = actors(process)
        process.kill()
        process.wait(PATIENCE_S)
    assert 5 <= len(read_lines(progress)) < SCENES
    _, alive = psutil.wait_procs(mine, timeout=PATIENCE_S)
    assert not alive
    monkeypatch.chdir(work)
    assert exit_code("inspect", "valid/images", "--out", "again") == 1
    same_but_for_times(work, "again")
