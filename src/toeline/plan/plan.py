"""A plan: what a judge takes on a device for a task, and whether that fits. Joins the other files of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toeline.errors import SetupError
from toeline.plan import work as works
from toeline.plan.devices import ALLOWANCE, Device
from toeline.plan.memory import Line, Lora, language_lines, parameters_lines, total, training_lines, vision_lines
from toeline.plan.parts import PRECISIONS, QUANTIZED, Weights, load_bytes
from toeline.plan.shape import Model
from toeline.plan.work import Flop, Work

TASKS = ("inspect", "finetune")
TIGHT = 0.95  # share of the memory above which a plan that fits may not in practice


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be planned, as the user typed it; `image` in pixels, `trim` in tokens, `chunk` in objects (0: all)."""

    judge: str
    device: str = "auto"
    task: str = "inspect"
    objects: int = 5
    image: int | None = None
    dtype: str = "auto"
    trim: int = 0
    chunk: int = 0
    rank: int = 16
    checkpointing: bool = True
    cached_features: bool = False
    qlora: bool = False

    def __post_init__(self) -> None:
        """Raises SetupError for what cannot be planned."""
        if self.task not in TASKS:
            raise SetupError(f"unknown task {self.task!r}. Choose {' or '.join(TASKS)}.")
        if self.dtype not in ("auto", *PRECISIONS):
            raise SetupError(f"unknown dtype {self.dtype!r}. Choose auto, {', '.join(PRECISIONS)}.")
        if self.task == "finetune" and self.dtype in QUANTIZED:
            raise SetupError(f"LoRA is not trained on {self.dtype} weights. Choose --qlora, which holds them in NF4.")
        least = {"objects": self.objects, "rank": self.rank, "image": 1 if self.image is None else self.image}
        if wrong := [name for name, value in least.items() if value < 1]:
            raise SetupError(f"--{wrong[0]} must be 1 or more.")
        if self.trim < 0 or self.chunk < 0:
            raise SetupError("--trim and --chunk must be 0 or more.")


class Way(NamedTuple):
    """One way to do the task with its operations and seconds per photograph; None where the device is not known."""

    what: str
    flop: float
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """Everything that was planned. `load` are the weights, `at_work` the higher phase and `earlier` the lower one."""

    asked: Asked
    model: Model
    device: Device
    dtype: str
    weights: Weights
    work: Work
    parameters: tuple[Line, ...]
    load: tuple[Line, ...]
    at_work: tuple[Line, ...]
    earlier: tuple[Line, ...]
    allowance: Line
    ways: tuple[Way, ...]

    @property
    def total(self) -> int:
        """Bytes at the highest point."""
        return total(self.load) + total(self.at_work) + self.allowance.size

    @property
    def fits(self) -> bool:
        """Whether the device can hold it."""
        return self.total <= self.device.memory

    @property
    def tight(self) -> bool:
        """Whether it fits with so little to spare that only trying can tell."""
        return self.fits and self.total > TIGHT * self.device.memory


def make_plan(asked: Asked, model: Model, device: Device) -> Plan:
    """The plan for one judge, task and device. No weights are read, and nothing is loaded but numbers."""
    dtype = device.dtype if asked.dtype in ("auto", *QUANTIZED) else asked.dtype
    weights = _weights(asked, dtype)
    work = works.work_of(model, asked.objects, image=asked.image)
    work = works.in_chunks(work, asked.chunk) if asked.chunk else work
    load = _load(model, weights)
    phases = _phases(asked, model, device, dtype, work)
    vocab = min(asked.trim or model.shape.vocab, model.shape.vocab)
    return Plan(
        asked,
        model,
        device,
        dtype,
        weights,
        work,
        tuple(parameters_lines(model.shape, vocab)),
        load,
        *phases,
        Line("drivers, libraries, allocator", ALLOWANCE[asked.task][device.kind], "allowance"),
        tuple(_ways(asked, model, device, dtype, work, total(load))),
    )


def _weights(asked: Asked, dtype: str) -> Weights:
    held = asked.dtype if asked.dtype in QUANTIZED else dtype
    training = asked.task == "finetune"
    return Weights(
        language="nf4" if training and asked.qlora else held,
        vision="" if training and asked.cached_features else held,
        rest=dtype,
        vocab=asked.trim,
    )


def _load(model: Model, weights: Weights) -> tuple[Line, ...]:
    precision = {"language layers": weights.language, "vision tower": weights.vision}
    return tuple(
        Line(name, size, precision.get(name, weights.rest)) for name, size in load_bytes(model.shape, weights).items()
    )


def _phases(
    asked: Asked, model: Model, device: Device, dtype: str, work: Work
) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """The higher and the lower of the two phases: the vision tower, then the language model."""
    compute, shape = device.compute(dtype), model.shape
    vision = vision_lines(shape, work, compute)
    if asked.task == "inspect":
        language = language_lines(shape, work, compute)
    else:
        lora = Lora(asked.rank, asked.checkpointing, asked.qlora)
        language = training_lines(shape, work, compute, lora)
        vision = [language[0], *vision] if vision and not asked.cached_features else []
    high, low = sorted((vision, language), key=total, reverse=True)
    return tuple(high), tuple(low)


def _ways(asked: Asked, model: Model, device: Device, dtype: str, work: Work, weights: int) -> Sequence[Way]:
    shape = model.shape

    def way(what: str, flop: Flop, reads: int) -> Way:
        return Way(what, flop.total, seconds(flop, device, dtype, weights, reads=reads))

    if asked.task == "inspect":
        return [
            way("packed: one pass for all objects", works.packed(shape, work), work.sequences),
            way("generate 50 tokens per object", works.generate(shape, work), asked.objects),
            way("one sequence per answer", works.one_per_answer(shape, work), asked.objects * works.ANSWERS),
        ]
    spared = {"checkpointing": asked.checkpointing, "cached": asked.cached_features}
    return [
        way("packed: one step for all objects", works.training(shape, work, **spared), 3 * work.sequences),
        way("one sample per object", works.training_apart(shape, work, **spared), 3 * asked.objects),
    ]


def seconds(flop: Flop, device: Device, dtype: str, weights: int, *, reads: int) -> float | None:
    """The roofline: computing, or reading the weights `reads` times, whichever takes longer; and then each step.

    A step of decoding reads every weight once and computes next to nothing. None for a device of unknown speed.
    """
    rate, reading = device.rate(dtype), device.reading
    if not rate or not reading:
        return None
    return max(flop.total / rate, reads * weights / reading) + flop.steps * weights / reading
