"""How many cores a command takes, and that its threads sleep while they wait.

Threads of torch, OpenCV, scikit-learn and onnxruntime spin while they wait for each other. On an idle machine that
gains a little; where another program has a core, each of them burns the time that the one it waits for would need.
"""

from __future__ import annotations

import os
import sys

SLEEPING = {  # read once, when the library is loaded
    "OMP_WAIT_POLICY": "PASSIVE",  # torch and scikit-learn, by OpenMP
    "KMP_BLOCKTIME": "0",  # the same, of Intel's OpenMP
    "OPENBLAS_THREAD_TIMEOUT": "4",  # numpy; 2 to this power are the cycles that it waits awake
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "0",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "0",
}
COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def sleep_while_waiting() -> None:
    """Let threads wait asleep, but for what the user has set. To be called before any library is loaded."""
    for name, value in SLEEPING.items():
        os.environ.setdefault(name, value)


def take(threads: int) -> None:
    """Let this process, and those that it begins, compute with that many threads; 0 leaves each library's choice."""
    if not threads:
        return
    from threadpoolctl import threadpool_limits

    for name in COUNTS:
        os.environ[name] = str(threads)
    threadpool_limits(threads)  # of what is loaded; the rest reads the variables when it is
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(threads)


def taken() -> int:
    """How many threads `take` was told; 0: each library's choice."""
    try:
        return max(0, int(os.environ.get(COUNTS[0], "0")))
    except ValueError:  # a list, one number for each level
        return 0
