"""What machines can hold and do: known ones from public figures, this one by asking it and by a short test."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from toeline.core.words import unknown
from toeline.errors import SetupError
from toeline.plan.cost import Compute

Half = Literal["bfloat16", "float16"]
HERE = ("auto", "cpu", "cuda", "mps")
SHARE_OF_PEAK = 0.5  # of a maker's figure that real matrix products reach; an assumption, see docs/plan.md
SHARE_OF_TEST = 0.8  # of what a bare matrix product reached on this machine
SHARE_OF_BANDWIDTH = 0.75  # of a maker's figure that reading weights reaches; an assumption as well
# Bytes that are there beside torch's tensors: drivers, kernels, libraries, and for training what the allocator cannot
# use. Assumptions, but for the CPU: a process that has loaded torch, transformers and a judge. See docs/plan.md.
ALLOWANCE = {
    "inspect": {"cuda": 450_000_000, "mps": 500_000_000, "cpu": 700_000_000},
    "finetune": {"cuda": 1_000_000_000, "mps": 1_000_000_000, "cpu": 700_000_000},
}
TEST_SECONDS = 0.3


@dataclass(frozen=True)
class Device:
    """A machine that can run a judge. `kind` is cuda, mps or cpu; `memory` is what it can hold, in bytes.

    `flops` are dense operations per second by "float32" and "half", `bandwidth` bytes per second that can be read; what
    is not known is missing or 0. `half` is its half precision. `tested` says that both were measured here and now.
    """

    name: str
    title: str
    kind: str
    memory: int
    flops: Mapping[str, float] = field(default_factory=dict)
    bandwidth: float = 0.0
    half: Half = "bfloat16"
    tested: bool = False

    @property
    def dtype(self) -> str:
        """The precision that a judge takes here by itself: float32 on a CPU, else the half precision."""
        return "float32" if self.kind == "cpu" else self.half

    def compute(self, dtype: str) -> Compute:
        """How activations and attention are computed in this precision here."""
        cpu = self.kind == "cpu"
        return Compute(dtype, fused=self.kind != "mps", branches=cpu, keep=4 if cpu else 1)

    def rate(self, dtype: str) -> float:
        """Operations per second to count on; 0 where unknown."""
        peak = self.flops.get("float32" if dtype == "float32" else "half", 0.0)
        return peak * (SHARE_OF_TEST if self.tested else SHARE_OF_PEAK)

    @property
    def reading(self) -> float:
        """Bytes per second to count on; 0 where unknown."""
        return self.bandwidth * (1.0 if self.tested else SHARE_OF_BANDWIDTH)


def _card(name: str, title: str, gb: float, tflops: tuple[float, float], gb_s: float, **more: Any) -> Device:
    """A CUDA card in the units of its data sheet: GB of 1e9 bytes, dense TFLOP/s in half and in float32, GB/s."""
    half, single = (1e12 * rate for rate in tflops)
    return Device(name, title, "cuda", int(gb * 1e9), {"half": half, "float32": single}, gb_s * 1e9, **more)


# Makers' figures, dense (half of what is printed "with sparsity"); sources in docs/plan.md. A data sheet's GB are taken
# as 1e9 bytes, a little less than what the driver reports.
KNOWN = {
    device.name: device
    for device in (
        _card("a30", "NVIDIA A30 24 GB", 24, (165, 10.3), 933),
        _card("rtx3060", "NVIDIA GeForce RTX 3060 12 GB", 12, (25.5, 12.7), 360),
        _card("rtx3090", "NVIDIA GeForce RTX 3090 24 GB", 24, (71, 35.6), 936),
        _card("rtx4070", "NVIDIA GeForce RTX 4070 12 GB", 12, (58.3, 29.1), 504),
        _card("rtx4090", "NVIDIA GeForce RTX 4090 24 GB", 24, (165.2, 82.6), 1008),
        _card("t4", "NVIDIA T4 16 GB", 16, (65, 8.1), 320, half="float16"),
        _card("l4", "NVIDIA L4 24 GB", 24, (121, 30.3), 300),
        _card("a10", "NVIDIA A10 24 GB", 24, (125, 31.2), 600),
        _card("v100", "NVIDIA V100 SXM2 16 GB", 16, (125, 15.7), 900, half="float16"),
        _card("v100-32", "NVIDIA V100 SXM2 32 GB", 32, (125, 15.7), 900, half="float16"),
        _card("a100-40", "NVIDIA A100 40 GB", 40, (312, 19.5), 1555),
        _card("a100-80", "NVIDIA A100 80 GB", 80, (312, 19.5), 2039),
        _card("h100", "NVIDIA H100 SXM 80 GB", 80, (989, 67), 3350),
        _card("h200", "NVIDIA H200 141 GB", 141, (989, 67), 4800),
        Device(
            "m2max-42",
            "Apple M2 Max, 42 GB usable",
            "mps",
            42_000_000_000,
            {"half": 13.6e12, "float32": 13.6e12},
            400e9,
        ),
    )
}


def find_device(name: str) -> Device:
    """A known device by its name, or this machine: auto, cpu, cuda or mps. Raises SetupError for any other.

    >>> find_device("RTX 3060").name, find_device("3090").name, find_device("NVIDIA A100-80").name
    ('rtx3060', 'rtx3090', 'a100-80')
    """
    plain = {_plain(known): device for known, device in KNOWN.items()}
    if device := plain.get(_plain(name)):
        return device
    if name not in HERE:
        raise SetupError(unknown("unknown device", name, [*HERE, *KNOWN]))
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(k for k, here in there.items() if here) if name == "auto" else name
    if not there[kind]:
        raise SetupError(f"torch {torch.__version__} finds no {kind} on this machine. Choose auto or cpu.")
    return _this(kind)


def _plain(name: str) -> str:
    """A card's name as people write it, without its maker and its series."""
    return re.sub("nvidia|geforce|rtx|[^a-z0-9]", "", name.lower())


def find_devices(names: Sequence[str], memory_gb: float | None) -> list[Device]:
    """The devices of these names, with so much memory if that is given; for `auto` alone a card of unknown speed."""
    if memory_gb is None:
        return [find_device(name) for name in names]
    size = int(memory_gb * 1e9)
    if tuple(names) == ("auto",):
        return [Device("card", f"a CUDA card with {memory_gb:g} GB", "cuda", size)]
    return [replace(d, memory=size, title=f"{d.title} with {memory_gb:g} GB") for d in map(find_device, names)]


def _this(kind: str) -> Device:
    """This machine, as far as it can be asked; its speed is tested."""
    import torch

    half: Half = "bfloat16"
    title, memory = f"{os.cpu_count()} CPU cores", 0
    if kind == "cuda":
        about = torch.cuda.get_device_properties(0)
        title, memory = about.name, about.total_memory
        half = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    elif kind == "mps":
        title, memory = "Apple GPU", torch.mps.recommended_max_memory()
        half = "bfloat16" if torch.backends.mps.is_macos_or_newer(14, 0) else "float16"
    flops = {"float32": _flops(kind, "float32")}
    if kind != "cpu":  # a judge runs in float32 on a CPU
        flops["half"] = _flops(kind, half)
    title = f"this machine, {title}"
    return Device(kind, title, kind, memory or _ram(), flops, _bandwidth(kind), half, tested=True)


def _ram() -> int:
    """Bytes of main memory, or of what a container may use, whichever is less."""
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(file).is_file() and (limit := Path(file).read_text().strip()).isdigit():
            ram = min(ram, int(limit))
    return ram


def _flops(kind: str, dtype: str) -> float:
    """Operations per second of a square matrix product, the best of several."""
    import torch

    side = 1024 if kind == "cpu" else 4096
    a = torch.ones(side, side, dtype=getattr(torch, dtype), device=kind)
    return 2 * side**3 / _best(lambda: a @ a, kind)


def _bandwidth(kind: str) -> float:
    """Bytes per second that are read while memory is copied; as many are written."""
    import torch

    block = torch.zeros(32_000_000, device=kind)
    target = torch.empty_like(block)
    return 2 * block.numel() * block.element_size() / _best(lambda: target.copy_(block), kind)


def _best(call: Callable[[], object], kind: str) -> float:
    """Seconds of the quickest of at least three calls in about TEST_SECONDS."""
    import torch

    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(kind, lambda: None)
    call()
    wait()
    best, begin, calls = float("inf"), time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - begin < TEST_SECONDS:
        start = time.perf_counter()
        call()
        wait()
        best, calls = min(best, time.perf_counter() - start), calls + 1
    return best
