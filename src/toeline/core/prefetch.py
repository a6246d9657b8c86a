"""Work done by threads before it is asked for, or by processes, in order: `concurrent.futures` behind a generator.

What comes out does not depend on how many there are. With threads memory is bounded, and only the thread that reads a
generator pulls its items, so a chain of these needs no locks of its own.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")
Room = Callable[[], bool]


def always() -> bool:
    """There is room for another item."""
    return True


def ahead(
    work: Callable[[A], B],
    items: Iterable[A],
    *,
    workers: int,
    most: int,
    room: Room = always,
    greedy: bool = True,
    processes: bool = False,
) -> Iterator[B]:
    """`work(item)` for each item, in the order of the items; at most `most` of them are begun and not yet given.

    With `greedy`, the next items are pulled even if a result is ready: for items that cost little (files to read).
    Without it, a result that is ready goes first: for items that are costly themselves (verdicts to write down).
    While `room()` is False, nothing is pulled but the one item that is asked for. With 0 workers each is done when it
    is asked for, in this thread. What `work` raises is raised in its place; when pulling an item raises, the results
    before it are given first. With `processes` they are no threads, so that more than one works at a time in Python;
    `work`, items and results must be picklable then.

    >>> list(ahead(abs, [-3, 1, -2], workers=2, most=4))
    [3, 1, 2]
    """
    if workers < 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor  # late: --help does without
    from multiprocessing import get_context

    source, waiting = iter(items), deque["Future[B]"]()
    end: BaseException | None = None
    spawned = get_context("spawn")  # as in in_processes
    pool_of = partial(ProcessPoolExecutor, mp_context=spawned, initializer=gc.set_threshold, initargs=(SELDOM,))
    with (pool_of if processes else ThreadPoolExecutor)(workers) as pool:
        try:
            while end is None or waiting:
                while end is None and _wants(waiting, most, room, greedy=greedy):
                    try:
                        waiting.append(pool.submit(work, next(source)))
                    except BaseException as why:  # a stop by the user too: what is begun is finished and kept
                        end = why
                if waiting:
                    yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
    if not isinstance(end, StopIteration | None):
        raise end


def in_processes(work: Callable[[A], B], items: Iterable[A], *, workers: int) -> Iterator[B]:
    """`work(item)` for each item, in the order of the items, by processes; by this one with fewer than 2 workers.

    `work` and the items must be picklable. Processes are spawned, because a fork of torch's threads may hang.
    """
    if workers < 2:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, items, chunksize=4)


def _wants(waiting: deque[Future[B]], most: int, room: Room, *, greedy: bool) -> bool:
    """Whether to pull another item before the next result is given."""
    if not waiting:
        return True
    return len(waiting) < most and (greedy or not waiting[0].done()) and room()


def batches(items: Iterable[A], size: int, room: Room = always) -> Iterator[list[A]]:
    """Items in groups of `size`, or smaller ones while `room()` is False; the last holds what is left.

    >>> list(batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    source, group = iter(items), deque[A]()
    for item in source:
        group.append(item)
        del item  # or this frame would keep it while whoever asked works on the group
        if len(group) >= size or not room():
            yield [group.popleft() for _ in range(len(group))]
    if group:
        yield list(group)


SELDOM = 70_000  # objects more than before; of itself Python looks every 700


@contextmanager
def few_collections() -> Iterator[None]:
    """While records are made by the hundred thousand, look for cycles of objects a hundredth as often.

    There are none among records, and each look goes through all that were made lately: an eighth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Budget:
    """How much may be in memory at a time, in any unit; `room` is False while it is used up."""

    def __init__(self, most: int) -> None:
        self._most, self._used, self._lock = most, 0, RLock()  # R: the end of one thing may fall into taking another

    def take(self, amount: int) -> None:
        """Count what is about to be made; also when there is no room."""
        with self._lock:
            self._used += amount

    def give(self, amount: int) -> None:
        """It is gone, or was never made."""
        self.take(-amount)

    def give_with(self, instance: object, amount: int) -> None:
        """It is gone when `instance` is, whoever holds that."""
        weakref.finalize(instance, self.give, amount).atexit = False

    def room(self) -> bool:
        """Whether another one may be made ahead of time."""
        return self._used < self._most


def cores() -> int:
    """Cores that this process may use, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux says what a process may use
        return os.cpu_count() or 1
