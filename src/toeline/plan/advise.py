"""What to change so that a plan fits, and what it takes to meet the limits of the project. Knows plans only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from toeline.plan.devices import KNOWN
from toeline.plan.memory import total
from toeline.plan.parts import QUANTIZED, Weights, load_bytes
from toeline.plan.plan import Asked, Plan, make_plan
from toeline.plan.shape import Model

TRIMMED = 4_096  # tokens that a trimmed vocabulary keeps at most: about 600 in a prototype, see docs/plan.md
GB, GIB = 10**9, 2**30


class Change(NamedTuple):
    """One change with the option that plans it, and how many bytes it saves after those before it."""

    what: str
    option: str
    saves: int


class Advice(NamedTuple):
    """The fewest changes that make a plan fit, in order, and the plan with them; or all, where nothing helps."""

    changes: tuple[Change, ...]
    plan: Plan


class _Can(NamedTuple):
    what: str
    option: str
    does: Callable[[Asked], Asked]


def advise(plan: Plan) -> Advice:
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


def _apply(plan: Plan, changes: tuple[_Can, ...]) -> Advice:
    made = []
    for what, option, does in changes:
        after = make_plan(does(plan.asked), plan.model, plan.device)
        made.append(Change(what, option, plan.total - after.total))
        plan = after
    return Advice(tuple(made), plan)


def _possible(plan: Plan) -> Iterator[_Can]:
    """Changes that this plan has not made yet: those that change no answer first, the coarsest numbers last."""
    asked, half = plan.asked, plan.device.half
    if asked.task == "finetune" and not asked.checkpointing:
        yield _Can("checkpointing", "--checkpointing", lambda a: replace(a, checkpointing=True))
    if asked.task == "finetune" and not asked.cached_features:
        yield _Can("image features cached on disk", "--cached-features", lambda a: replace(a, cached_features=True))
    if asked.task == "inspect" and not asked.trim and plan.model.shape.vocab > TRIMMED:
        yield _Can(f"vocabulary trimmed to {TRIMMED:,} tokens", f"--trim {TRIMMED}", lambda a: replace(a, trim=TRIMMED))
    if plan.work.chunk > 1:
        few = max(1, plan.work.chunk // 4)
        yield _Can(f"packed in chunks of {few}", f"--chunk {few}", lambda a: replace(a, chunk=few))
    if plan.dtype == "float32" and plan.device.kind != "cpu":
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
    """A limit of the project and what was tried against it, the least change first; the first is the whole model.

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
    card = make_plan(Asked(judge=model.name, device="a30", objects=objects), model, KNOWN["a30"])
    beside = total(card.at_work) + card.allowance.size

    def tries(name: str, more: int) -> tuple[Try, ...]:
        return tuple(Try(what, sum(load_bytes(model.shape, held).values()) + more) for what, held in FORMS[name])

    return [
        *(Limit(f"model size {name}", number, tries(name, 0)) for name, number in SIZES.items()),
        *(Limit(f"GPU memory {name}", number, tries(name, beside)) for name, number in MEMORY.items()),
    ]
