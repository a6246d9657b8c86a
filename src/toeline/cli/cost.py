"""What a command took: the most memory of this process, and of the GPU where there is one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

KIB = 1024


def peak_memory() -> dict[str, Any]:
    """The most memory in use at any time so far, in bytes: `process` (resident), and `gpu` for CUDA devices.

    The process's figure includes its libraries and everything before the first photograph. Empty where the system does
    not say (Windows).
    """
    found: dict[str, Any] = {}
    try:
        import resource
    except ImportError:
        return found
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["process"] = most if sys.platform == "darwin" else most * KIB  # Linux counts KiB, macOS bytes
    torch: Any = sys.modules.get("torch")  # not imported for this: saved findings are scored without it
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated()
    return found


def most(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """The larger of each figure of two starts of one run.

    >>> most({"process": 7}, {"process": 5, "gpu": 3})
    {'gpu': 3, 'process': 7}
    """
    return {name: max(before.get(name, 0), now.get(name, 0)) for name in sorted({*before, *now})}
