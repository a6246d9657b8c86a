"""Steps that are done once, in any number of processes, and processes that end with the one that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from toeline.errors import LabelError, SetupError
from toeline.pipelines.progress import bar
from toeline.pipelines.steps import DONE, Step, carry_out, seconds_left, side_by_side


def write(text: str, folder: Path) -> Mapping[str, Any]:
    """Facts of a step, a bar like a training has, and a line for each time it is done."""
    with bar("Writing", total=2) as step:
        step(())
        step(())
    with (folder / "lines.txt").open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    return {"text": text, "before": sorted(p.name for p in folder.parent.iterdir() if (p / DONE).exists())}


def refuse(folder: Path) -> Mapping[str, Any]:
    """A step that cannot be done."""
    raise LabelError(f"{folder.name}: no.")


def be_killed(folder: Path) -> Mapping[str, Any]:
    """A step whose process the system ends."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def sleep(folder: Path) -> Mapping[str, Any]:
    """A step that says which process it is, and then takes longer than any test."""
    (folder / "pid").write_text(str(os.getpid()), encoding="ascii")
    time.sleep(600)
    return {}


def step(name: str, *needs: str, act: Any = None) -> Step:
    """A step of a second."""
    return Step(name, f"the {name}", "write", 1.0, act or partial(write, name), needs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_step_is_done_once_and_after_what_it_needs(tmp_path: Path, jobs: int) -> None:
    steps = [step("a"), step("b"), step("c", "a", "b"), step("d", "c")]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / DONE).write_text('{"text": "long ago", "seconds": 1}', encoding="utf-8")
    found = carry_out(steps, tmp_path, jobs=jobs)
    assert [*found] == ["a", "b", "c", "d"]
    assert found["b"]["text"] == "long ago"
    assert {*found["c"]["before"]} == {"a", "b"}
    assert {*found["d"]["before"]} == {"a", "b", "c"}
    assert carry_out(steps, tmp_path, jobs=jobs) == found
    assert (tmp_path / "a" / "lines.txt").read_text(encoding="utf-8") == "a\n"


def test_a_step_that_cannot_be_done_ends_all_and_loses_nothing(tmp_path: Path) -> None:
    steps = [step("a"), step("b", "a", act=refuse), step("c", "a", act=sleep)]
    began = time.monotonic()
    with pytest.raises(LabelError, match=r"b: no\."):
        carry_out(steps, tmp_path, jobs=2)
    assert time.monotonic() - began < 120, "it waited for the step that was still under way"
    assert (tmp_path / "a" / DONE).exists()
    assert not (tmp_path / "b" / DONE).exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_the_system_ends_is_told_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--jobs 1"):
        carry_out([step("a", act=be_killed), step("b", "a")], tmp_path, jobs=2)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_no_process_outlives_the_one_that_began_it(tmp_path: Path) -> None:
    """Else the same command again would write the same files as a process that nobody knows of."""
    code = "import sys, pathlib, tests.pipelines.test_steps as t; t.carry_out([t.step(n, act=t.sleep) for n in 'ab'], "
    parent = subprocess.Popen([sys.executable, "-c", f"{code} pathlib.Path(sys.argv[1]), jobs=2)", str(tmp_path)])
    try:
        pids = [int(wait_for(tmp_path / name / "pid")) for name in "ab"]
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def wait_for(file: Path) -> str:
    """What a file holds, as soon as it holds something."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text(encoding="ascii")):
            return text
        time.sleep(0.05)
    raise AssertionError(f"{file} was never written")


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return False


def test_time_left_is_by_the_pace_of_the_same_kind() -> None:
    steps = [Step("a", "a", "x", 10.0, dict), Step("b", "b", "x", 20.0, dict), Step("c", "c", "y", 5.0, dict)]
    assert seconds_left(steps, {}) == 35.0
    assert seconds_left(steps, {"a": {"seconds": 30}}) == 75.0, "of a kind that is not known, by all that is"
    assert seconds_left(steps, {n: {"seconds": 1} for n in "abc"}) == 0.0


def test_a_gpu_takes_one_at_a_time_and_a_cpu_what_was_asked() -> None:
    assert side_by_side(4, "cuda") == 1
    assert side_by_side(3, "cpu") == 3
    assert side_by_side(0, "cpu") >= 1
