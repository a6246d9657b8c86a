"""Threads that wait asleep, and their number; set before libraries are loaded, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from toeline.core import threads
from toeline.weights import open_session


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*threads.SLEEPING, *threads.COUNTS):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_threads_sleep_while_they_wait_unless_the_user_wants_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN"] == "0"


def test_a_number_reaches_libraries_that_are_loaded_and_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=told.append))
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(setNumThreads=told.append))
    threads.take(0)
    assert (told, threads.taken()) == ([], 0)
    with threadpool_limits():  # so that it is put back
        threads.take(3)
        assert {pool["num_threads"] for pool in threadpool_info()} <= {3}
    assert told == [3, 3]
    assert {os.environ[name] for name in threads.COUNTS} == {"3"}
    assert threads.taken() == 3


def test_a_list_of_numbers_is_each_librarys_own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert threads.taken() == 0


def test_sessions_of_onnxruntime_do_not_spin() -> None:
    from toeline.data.feature_maps import EMBEDDED

    options = open_session(EMBEDDED, 2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2


def test_the_command_line_loads_nothing_that_computes_before_threads_are_told_to_sleep() -> None:
    code = (
        "import sys, toeline.cli as c; heavy = {'numpy', 'cv2', 'torch', 'sklearn', 'onnxruntime'} & {*sys.modules}\n"
        "assert not heavy, heavy\n"
        "import os; c.sleep_while_waiting(); assert os.environ['OPENBLAS_THREAD_TIMEOUT'] == '4'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
