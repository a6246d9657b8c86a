"""Work ahead of time: the order stays, memory is bounded, and what goes wrong comes out where it belongs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from toeline.core.prefetch import Budget, ahead, batches, cores


def slow_first(number: int) -> int:
    """The first takes longest, so that threads finish in another order."""
    time.sleep(0.03 if number == 0 else 0)
    return number * number


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("greedy", [True, False])
def test_the_order_stays(workers: int, greedy: bool) -> None:
    found = ahead(slow_first, range(20), workers=workers, most=5, greedy=greedy)
    assert list(found) == [n * n for n in range(20)]


def test_no_more_than_most_are_pulled_ahead() -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for n in range(50):
            pulled.append(n)
            yield n

    for done, _ in enumerate(ahead(abs, items(), workers=2, most=5), start=1):
        assert len(pulled) <= done + 4
    assert len(pulled) == 50


def test_while_there_is_no_room_one_at_a_time_is_pulled() -> None:
    pulled: list[int] = []
    items = (pulled.append(n) or n for n in range(6))  # type: ignore[func-returns-value]
    for done, _ in enumerate(ahead(abs, items, workers=2, most=5, room=lambda: False), start=1):
        assert len(pulled) == done
    assert len(pulled) == 6


def test_what_is_ready_goes_first_where_items_are_costly() -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for n in range(5):
            time.sleep(0.05)  # a judge thinks
            pulled.append(n)
            yield n

    first = next(ahead(abs, items(), workers=1, most=5, greedy=False))
    assert (first, len(pulled) <= 2) == (0, True)


def test_threads_do_the_work_and_this_one_pulls() -> None:
    here = threading.get_ident()
    by: list[int] = []
    items = (by.append(threading.get_ident()) or n for n in range(3))  # type: ignore[func-returns-value]
    done = list(ahead(lambda _: threading.get_ident(), items, workers=2, most=3))
    assert set(by) == {here}
    assert here not in done


def test_what_the_work_raises_comes_in_its_place() -> None:
    found = ahead(lambda n: 1 // n, [1, 1, 0, 1], workers=2, most=4)
    assert [next(found), next(found)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_a_stop_while_an_item_is_made_gives_what_was_begun_before() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise KeyboardInterrupt

    found = ahead(abs, items(), workers=2, most=8)
    assert [next(found) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        next(found)


def test_whoever_stops_reading_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    found = ahead(slow_first, range(100), workers=3, most=10)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_groups_close_early_while_there_is_no_room() -> None:
    assert list(batches(range(3), 2, lambda: False)) == [[0], [1], [2]]
    assert list(batches([], 2)) == []


def test_what_lives_is_counted_and_what_is_gone_is_not() -> None:
    class Picture:
        pass

    budget, first, second = Budget(100), Picture(), Picture()
    for picture in (first, second):
        budget.take(60)
        budget.give_with(picture, 60)
    assert not budget.room()
    del picture, second
    assert budget.room()
    budget.take(40)
    assert not budget.room()
    budget.give(40)
    del first
    assert budget.room()


def test_there_is_a_core() -> None:
    assert cores() >= 1


def test_processes_give_the_same_in_order() -> None:
    assert list(ahead(abs, [-3, 1, -2, 5], workers=2, most=3, processes=True)) == [3, 1, 2, 5]
