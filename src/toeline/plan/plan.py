"""A plan: what a judge takes on a device for a task, and whether that fits. Joins the other files of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from toeline.plan import cost as works
from toeline.plan.cost import (
    Flop,
    Line,
    Lora,
    Work,
    language_lines,
    parameters_lines,
    total,
    training_lines,
    vision_lines,
)
from toeline.plan.devices import ALLOWANCE, KNOWN, Device
from toeline.plan.model_shape import QUANTIZED, Model, Weights, load_bytes
from toeline.plan.request import PlanRequest

TIGHT = 0.95  # share of the memory above which a plan that fits may not in practice


class Way(NamedTuple):
    """One way to do the task with its operations and seconds per photograph; None where the device is not known."""

    what: str
    flop: float
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """Everything that was planned. `load` are the weights, `at_work` the higher phase and `earlier` the lower one."""

    asked: PlanRequest
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


def make_plan(asked: PlanRequest, model: Model, device: Device) -> Plan:
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


def _weights(asked: PlanRequest, dtype: str) -> Weights:
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
    asked: PlanRequest, model: Model, device: Device, dtype: str, work: Work
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


def _ways(asked: PlanRequest, model: Model, device: Device, dtype: str, work: Work, weights: int) -> Sequence[Way]:
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


TRIMMED = 4_096  # tokens that `toeline trim` keeps; the nine classes need 2,767, see docs/quantize.md
GB, GIB = 10**9, 2**30


class Change(NamedTuple):
    """One change with the option that plans it, and how many bytes it saves after those before it."""

    what: str
    option: str
    saves: int


class PlanAdvice(NamedTuple):
    """The fewest changes that make a plan fit, in order, and the plan with them; or all, where nothing helps."""

    changes: tuple[Change, ...]
    plan: Plan


class _Can(NamedTuple):
    what: str
    option: str
    does: Callable[[PlanRequest], PlanRequest]


def advise(plan: Plan) -> PlanAdvice:
    """The shortest list of changes after which the plan fits; of equally short ones the one that costs least accuracy.

    `advice.plan.fits` is False when even all of them together are not enough.
    """
    can = list(_possible(plan))
    for many in range(len(can) + 1):
        for some in combinations(can, many):
            if _agree(some) and (then := _apply(plan, some)).plan.fits:
                return then
    coarsest = {change.option.split()[0]: change for change in can}  # of several precisions the last
    return _apply(plan, tuple(coarsest.values()))


def _agree(changes: tuple[_Can, ...]) -> bool:
    """Whether no option is given twice: weights have one precision."""
    options = [change.option.split()[0] for change in changes]
    return len(set(options)) == len(options)


def _apply(plan: Plan, changes: tuple[_Can, ...]) -> PlanAdvice:
    made = []
    for what, option, does in changes:
        after = make_plan(does(plan.asked), plan.model, plan.device)
        made.append(Change(what, option, plan.total - after.total))
        plan = after
    return PlanAdvice(tuple(made), plan)


def _possible(plan: Plan) -> Iterator[_Can]:
    """Changes that this plan has not made yet: those that change no answer first, the coarsest numbers last."""
    asked, half = plan.asked, plan.device.half
    if asked.task == "finetune" and not asked.checkpointing:
        yield _Can("checkpointing", "--checkpointing", lambda a: replace(a, checkpointing=True))
    if asked.task == "finetune" and not asked.cached_features:
        yield _Can("image features cached on disk", "--cached-features", lambda a: replace(a, cached_features=True))
    if asked.task == "inspect" and not asked.trim and plan.model.shape.vocab > TRIMMED:
        yield _Can(f"vocabulary trimmed to {TRIMMED:,} tokens", f"--trim {TRIMMED}", lambda a: replace(a, trim=TRIMMED))
    if asked.task == "finetune" and plan.work.chunk > 1:  # inspection has no option for it
        few = max(1, plan.work.chunk // 4)
        yield _Can(f"packed in chunks of {few}", f"--chunk {few}", lambda a: replace(a, chunk=few))
    if plan.dtype == "float32" and plan.device.kind != "cpu":  # a judge that is inspected with loads so by itself
        yield _Can("half precision", f"--dtype {half}", lambda a: replace(a, dtype=half))
    if asked.task == "finetune" and not asked.qlora:
        yield _Can("NF4 weights (QLoRA)", "--qlora", lambda a: replace(a, qlora=True))
    if asked.task == "inspect" and asked.dtype not in QUANTIZED:
        yield _Can("8-bit weights", "--dtype int8", lambda a: replace(a, dtype="int8"))
        yield _Can("4-bit weights (NF4)", "--dtype nf4", lambda a: replace(a, dtype="nf4"))


class Try(NamedTuple):
    """One form of the model with its bytes."""

    what: str
    size: int


@dataclass(frozen=True)
class Limit:
    """A target for size or memory and what was tried against it, the least change first; the first is the whole model.

    `number` is in GB or GiB: which of the two is meant decides some of them, so both are answered.
    """

    what: str
    number: int
    tries: tuple[Try, ...]

    def meets(self, unit: int) -> Try | None:
        """The first form under the limit when its number is in units of `unit` bytes."""
        return next((t for t in self.tries if t.size < self.number * unit), None)


def _forms(language: str, *, whole: str) -> list[tuple[str, Weights]]:
    """The model in one precision, and smaller and smaller; embedding, norms and head in half precision."""
    full = Weights(language, language)
    found = [(whole, full), (f"{whole}, trimmed", replace(full, vocab=TRIMMED))]
    finer = {"bfloat16": ("int8", "int4"), "int8": ("int4",), "int4": ()}[language]
    return found + [
        (f"{whole}, trimmed, vision tower {vision}", replace(full, vocab=TRIMMED, vision=vision)) for vision in finer
    ]


FORMS = {
    "FP16": _forms("bfloat16", whole="half precision"),
    "INT8": _forms("int8", whole="int8"),
    "INT4": [
        ("int4, vision tower in half precision", Weights("int4", "bfloat16")),
        ("int4, trimmed, vision tower in half precision", Weights("int4", "bfloat16", vocab=TRIMMED)),
        ("int4, trimmed, vision tower int8", Weights("int4", "int8", vocab=TRIMMED)),
        ("int4, trimmed, vision tower int4", Weights("int4", "int4", vocab=TRIMMED)),
    ],
}
SIZES = {"FP16": 14, "INT8": 7, "INT4": 4}  # the project's targets: model size and GPU memory on an A30
MEMORY = {"FP16": 16, "INT8": 8}


def limits(model: Model, *, objects: int) -> list[Limit]:
    """The project's five limits on size and on memory while inspecting on an A30, with what meets each."""
    card = make_plan(PlanRequest(judge=model.name, device="a30", objects=objects), model, KNOWN["a30"])
    beside = total(card.at_work) + card.allowance.size

    def tries(name: str, more: int) -> tuple[Try, ...]:
        return tuple(Try(what, sum(load_bytes(model.shape, held).values()) + more) for what, held in FORMS[name])

    return [
        *(Limit(f"model size {name}", number, tries(name, 0)) for name, number in SIZES.items()),
        *(Limit(f"GPU memory {name}", number, tries(name, beside)) for name, number in MEMORY.items()),
    ]
