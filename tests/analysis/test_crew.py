"""Results come in order whoever does the work, and a process that dies is told."""

from __future__ import annotations

import os
from itertools import count, islice

import pytest

from toeline.analysis.analyze import AHEAD, Crew, beside
from toeline.errors import LabelError


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    with Crew(workers) as crew:
        assert list(crew.map(hex, range(30))) == [hex(i) for i in range(30)]
        assert list(crew.map(str, [])) == []
        with beside(crew, abs, -3) as told:
            assert list(crew.map(abs, [-1])) == [1]
        assert told() == 3
    assert not crew.at_work


def test_little_work_starts_no_process() -> None:
    with Crew(2) as crew:
        assert list(crew.map(abs, [-1], in_processes=False)) == [1]
        assert not crew.at_work


def test_only_a_few_jobs_are_begun_ahead() -> None:
    jobs = count()
    with Crew(2) as crew:
        assert list(islice(crew.map(abs, jobs), 3)) == [0, 1, 2]
    assert next(jobs) <= 3 + 2 * AHEAD


def test_a_killed_process_is_told() -> None:
    with Crew(2) as crew, pytest.raises(LabelError, match="--workers 1"):
        list(crew.map(os._exit, [9, 9]))
