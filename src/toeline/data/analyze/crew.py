"""Several processes that do one thing to many: results in order, and never more of them waiting than a few."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import TypeVar

from toeline.errors import LabelError

AHEAD = 4  # jobs of each process that are begun before a result is taken: none is idle, and memory does not grow
Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass
class Crew:
    """`workers` processes, started when there is first enough to do: each takes a second. With one there are none.

    To be used in a `with` block, at the end of which the processes are gone.
    """

    workers: int = 1
    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    @property
    def at_work(self) -> bool:
        """Whether processes were started."""
        return self._pool is not None

    def map(self, do: Callable[[Job], Done], jobs: Iterable[Job], *, worth: bool = True) -> Iterator[Done]:
        """`do` of each job in the order of the jobs; in this process unless it is `worth` it. All must be picklable.

        Raises what `do` raises, and LabelError when a process is killed: so a machine runs out of memory.
        """
        if self.workers <= 1 or not (worth or self.at_work):
            yield from map(do, jobs)
            return
        waiting: deque[Future[Done]] = deque()
        try:
            for job in jobs:
                waiting.append(self._started().submit(do, job))
                if len(waiting) >= AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            text = f"One of {self.workers} processes was killed while it read; likely memory ran out. Use --workers 1."
            raise LabelError(text) from None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_quietly)
        return self._pool

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def beside(crew: Crew, do: Callable[[Job], Done], job: Job) -> Iterator[Callable[[], Done]]:
    """A function that gives `do(job)`, which is at work while the block runs when the block leaves that to a crew."""
    if not crew.at_work:
        yield lambda: do(job)
        return
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(do, job).result


def _quietly() -> None:
    """One thread a worker: the workers are the threads."""
    import cv2

    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
