"""Long work in steps, each in a folder of its own: what is done is never done again, and several run side by side.

Trainings of small models gain little from a second thread (1.25 times on 2 cores), and all of it from a second process.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from toeline.core.prefetch import cores
from toeline.core.run_folder import write_whole
from toeline.core.threads import COUNTS
from toeline.errors import SetupError
from toeline.pipelines.progress import Board, board, errors, escape, report_to

DONE = "done.json"
Act = Callable[[Path], Mapping[str, Any]]
MEMORY_BYTES = 4e9  # that one training of a detector or an embedded judge may take; the most that was seen is 3.1 GB


@dataclass(frozen=True)
class Step:
    """One piece of work. `act` gets its folder and gives facts of it; with several processes it must be picklable.

    `usual_s` is how long steps of this `kind` usually take, in seconds that need only be right among each other. Steps
    that it `needs` are done before it.
    """

    name: str
    label: str
    kind: str
    usual_s: float
    act: Act
    needs: tuple[str, ...] = ()


def side_by_side(jobs: int, device: str) -> int:
    """How many steps run at a time: `jobs`, or for 0 one for each core, as far as memory goes. A GPU takes one."""
    if device != "cpu":
        return 1
    return jobs or max(1, min(cores(), int(_free_bytes() / MEMORY_BYTES)))


def threads_each(jobs: int) -> int:
    """The threads of each of so many steps at a time: an equal share of the cores."""
    return max(1, cores() // jobs)


def _free_bytes() -> float:
    """Main memory that nobody uses, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        return 2 * MEMORY_BYTES


def carry_out(steps: Sequence[Step], folder: Path, *, jobs: int = 1) -> dict[str, dict[str, Any]]:
    """Do every step that is not yet done, `jobs` at a time. The facts of each, and its seconds.

    A step is done when its folder holds DONE, so that a killed run continues with those that were under way.
    """
    done = {s.name: _read(folder / s.name) for s in steps if (folder / s.name / DONE).exists()}
    left = [s for s in steps if s.name not in done]
    if jobs < 2 or len(left) < 2:
        for step in left:
            errors.print(_heading(step, steps, done, 1))
            done[step.name] = _do(step, folder / step.name)
    else:
        with _processes(jobs) as (pool, told), board(told) as rows:
            _together(steps, folder, done, pool, jobs, rows)
    return {s.name: done[s.name] for s in steps}


def _do(step: Step, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    facts = dict(step.act(folder))
    facts["seconds"] = round(time.monotonic() - began, 1)
    write_whole(folder / DONE, json.dumps(facts, indent=1) + "\n")
    return facts


def _read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / DONE).read_text(encoding="utf-8")))


def _together(
    steps: Sequence[Step],
    folder: Path,
    done: dict[str, dict[str, Any]],
    pool: ProcessPoolExecutor,
    jobs: int,
    rows: Board,
) -> None:
    """Begin each step when what it needs is done and a process is free; steps that were named first come first."""
    running: dict[Future[dict[str, Any]], Step] = {}
    waiting = [s for s in steps if s.name not in done]
    while waiting or running:
        ready = [s for s in waiting if all(name in done for name in s.needs)]
        for step in ready[: jobs - len(running)]:
            waiting.remove(step)
            errors.print(_heading(step, steps, done, jobs))
            rows.begin(step.name, step.label)
            running[pool.submit(_in_process, step, folder / step.name)] = step
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            step = running.pop(future)
            rows.end(step.name)
            done[step.name] = future.result()


def _in_process(step: Step, folder: Path) -> dict[str, Any]:
    with report_to(lambda share: _told[-1].put((step.name, share))):
        return _do(step, folder)


_told: list[Any] = []  # in a process that was begun here: the queue to whoever shows its bars


@contextmanager
def _processes(jobs: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Processes with a share of the cores each, and the queue of what they tell.

    They end with this one, however that ends: else the same command again would write the same files beside them.
    """
    context = get_context("spawn")  # a fork of torch's threads may hang, and would hold what `kept` must hold alone
    watched, kept = context.Pipe(duplex=False)
    told = context.SimpleQueue()
    try:
        with (
            _environment(dict.fromkeys(COUNTS, str(threads_each(jobs)))),
            ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(watched, told)) as pool,
        ):
            try:
                yield pool, told
            except BaseException:
                kept.close()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool:
        raise SetupError(
            "A training process was ended from outside, as a system does that runs out of memory. What is done is "
            "kept: run the same again with --jobs 1."
        ) from None
    finally:
        kept.close()
        watched.close()


def _begin(watched: Connection, told: Any) -> None:
    """What each process does first: leave Ctrl-C to the one that began it, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _told.append(told)

    def leave() -> None:
        watched.poll(None)  # nothing is ever sent: the other end was closed
        os._exit(1)

    Thread(target=leave, daemon=True).start()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes begin with; what the user has set stays."""
    mine = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


def _heading(step: Step, steps: Sequence[Step], done: Mapping[str, Mapping[str, Any]], jobs: int) -> str:
    minutes = max(1, round(seconds_left(steps, done) / jobs / 60))
    number = [s.name for s in steps].index(step.name) + 1
    return f"[bold]Step {number} of {len(steps)}: {escape(step.label)}[/], about {minutes:,} min left in all"


def seconds_left(steps: Sequence[Step], done: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds of all steps that are not done, by what those that are took beside what is usual.

    >>> one, two = (Step(n, n, "train", 100, dict) for n in "ab")
    >>> seconds_left([one, two], {}), seconds_left([one, two], {"a": {"seconds": 150}})
    (200.0, 150.0)
    """
    known = [(s.kind, float(done[s.name]["seconds"]), s.usual_s) for s in steps if s.name in done]

    def pace(kinds: Container[str]) -> float | None:
        usual = sum(u for kind, _, u in known if kind in kinds)
        return sum(seconds for kind, seconds, _ in known if kind in kinds) / usual if usual else None

    every = pace({kind for kind, _, _ in known}) or 1.0
    return sum(s.usual_s * (pace({s.kind}) or every) for s in steps if s.name not in done)
