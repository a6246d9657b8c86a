"""What a call takes at its highest point: bytes and seconds. Knows torch; knows no model."""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Measurement(NamedTuple):
    """`peak` bytes above what was there before, `seconds` of a second, unobserved run, and who counted the bytes."""

    peak: int
    seconds: float
    how: str


def measure(call: Callable[[], object], device: str) -> Measurement:
    """Run `call` three times: to warm up, for its memory, and for its time. `device` is cpu, cuda or mps.

    What earlier work left to Python's collector is collected first: freed in between, it would hide part of the peak.

    On a CPU torch's profiler reports every allocation of its tensors, inside operations too; the resident size of the
    process would be rounded to what the C library keeps, which for a small model is more than all activations. Buffers
    of the matrix library (oneDNN, MKL) are not seen. CUDA has its own peak counter. MPS has none, so the growth of what
    the driver holds is taken, which is never given back between steps and so ends at the peak.
    """
    call()
    gc.collect()
    peak, how = {"cpu": _cpu_peak, "cuda": _cuda_peak, "mps": _mps_peak}[device](call)
    begin = time.perf_counter()
    call()
    _wait(device)
    return Measurement(peak, time.perf_counter() - begin, how)


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _cpu_peak(call: Callable[[], object]) -> tuple[int, str]:
    from torch.profiler import ProfilerActivity, profile

    with _silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as observed:
        call()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        observed.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    memory = [(e["ts"], e["args"]) for e in events if e.get("name") == "[memory]"]
    moves = sorted((ts, move["Ev Idx"], move["Addr"], move["Bytes"]) for ts, move in memory)
    return _highest(move[2:] for move in moves), "torch's profiler, every allocation of a tensor"


def _highest(moves: Iterable[tuple[int, int]]) -> int:
    """The most bytes at once, of blocks allocated within `moves` (address, bytes; freed when below 0), in their order.

    What was allocated before is not ours, freed or not. The profiler names such a free only when it had seen the
    block in an earlier session, so that a peak would depend on when Python collects what an earlier call left.
    """
    ours: dict[int, int] = {}
    live = peak = 0
    for address, size in moves:
        if size > 0:
            ours[address] = size
            live += size
            peak = max(peak, live)
        else:
            live -= ours.pop(address, 0)
    return peak


def _cuda_peak(call: Callable[[], object]) -> tuple[int, str]:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before, "torch.cuda.max_memory_allocated"


def _mps_peak(call: Callable[[], object]) -> tuple[int, str]:
    import torch

    torch.mps.empty_cache()
    before = torch.mps.current_allocated_memory()
    call()
    torch.mps.synchronize()
    return torch.mps.driver_allocated_memory() - before, "torch.mps.driver_allocated_memory, pools included"


@contextmanager
def _silent() -> Iterator[None]:
    """The profiler's library writes when it starts and stops to the standard error of the process, past Python."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
