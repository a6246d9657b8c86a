"""Joins judge, drawn scenes and plan for `toeline plan --check`: one photograph is run and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from toeline.core.words import some
from toeline.errors import SetupError
from toeline.pipelines.progress import escape, out, saying, tell_json
from toeline.plan.cost import Line, total
from toeline.plan.plan import GB, GIB, Limit, PlanAdvice

if TYPE_CHECKING:
    from PIL import Image

    from toeline.core.question import PromptBudget, QuestionSheet
    from toeline.core.scene import Scene
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.plan.model_shape import Model
    from toeline.plan.plan import Plan
    from toeline.plan.request import PlanDevices, PlanRequest


SEED = 71_021  # a dozen objects to ask about; of the check alone, no training run and no benchmark draws from it


class CheckRow(NamedTuple):
    """One quantity, planned and measured, in `unit`."""

    what: str
    planned: float
    measured: float
    unit: str


@dataclass(frozen=True)
class PlanCheck:
    """What was measured, and who counted the bytes."""

    rows: tuple[CheckRow, ...]
    how: str

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": [row._asdict() for row in self.rows], "how": self.how}


def run_check(plan: Plan) -> PlanCheck:
    """Load the judge, ask one drawn photograph, and set what it took beside the plan. Raises ToelineError."""
    from toeline.judge.load import EMBEDDED
    from toeline.judge.packing import lay_out
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.plan.cost import total
    from toeline.plan.measure import measure

    refuse(plan)
    where = EMBEDDED if plan.asked.judge == "embedded" else plan.asked.judge
    judge = QwenVLJudge.load(where, device=plan.device.kind, dtype=plan.dtype)
    judge = fitted(judge, plan)
    sheet = sheet_of(plan.asked.objects, judge.view)
    took = measure(lambda: judge.score(sheet), plan.device.kind)
    longest = max(len(layout.ids) for layout in lay_out(sheet, judge.alphabet, max_tokens=judge.max_tokens))
    loaded = sum(weight.numel() * weight.element_size() for weight in judge.model.parameters())
    rows = (
        CheckRow("weights", total(plan.load) / 1e6, loaded / 1e6, "MB"),
        CheckRow("longest sequence", plan.work.length, longest, "tokens"),
        CheckRow("peak beside the weights", total(plan.at_work) / 1e6, took.peak / 1e6, "MB"),
        CheckRow("one photograph", plan.ways[0].seconds or 0.0, took.seconds, "s"),
    )
    return PlanCheck(rows, took.how)


def refuse(plan: Plan) -> None:
    """Raise SetupError for a plan that cannot be run here as it is."""
    from toeline.plan.devices import HERE
    from toeline.plan.model_shape import QUANTIZED

    asked = plan.asked
    if asked.device not in HERE:
        raise SetupError(f"--check runs on this machine, and {asked.device} is another. Choose --device auto.")
    if asked.task != "inspect" or asked.dtype in QUANTIZED or asked.trim:
        raise SetupError("--check runs the judge as it is on disk. Leave --task, --trim and quantized --dtype out.")
    if not plan.fits:
        raise SetupError(f"{plan.model.name} does not fit {plan.device.title}, so it is not loaded. Leave --check out.")


def fitted(judge: QwenVLJudge, plan: Plan) -> QwenVLJudge:
    """The judge as it was planned: shown pictures of that size, in sequences of that length, all bytes in sight."""
    view = judge.view
    if plan.asked.image is not None:
        view = replace(view, scene_tokens=plan.work.photo)
    most = plan.work.length + plan.work.branch // 2 if plan.asked.chunk else judge.max_tokens
    return replace(judge, view=view, max_tokens=most, processor=_OwnPixels(judge.processor))


@dataclass(frozen=True)
class _OwnPixels:
    """A processor whose patches lie in torch's memory, where they are counted, and not in numpy's."""

    processor: Any

    def __call__(self, **given: Any) -> Any:
        done = self.processor(**given)
        done["pixel_values"] = done["pixel_values"].clone()
        return done


def sheet_of(objects: int, view: PromptBudget) -> QuestionSheet:
    """A sheet of `objects` questions about a drawn photograph; where it has fewer, they are asked about again.

    What is asked twice costs as much as two objects do, and nothing else is measured here.
    """
    from toeline.core.taxonomy import Taxonomy
    from toeline.prompts.build import ask, legal
    from toeline.prompts.relations import around

    taxonomy, (scene, image) = Taxonomy.load(), drawn(SEED)
    asked = [t for t in scene.instances if len(legal(t, taxonomy, "type")) > 1]
    instances = tuple(replace(asked[n % len(asked)], id=str(n + 1)) for n in range(objects))
    scene = replace(scene, instances=instances)
    return ask(scene, image, {t.id: around(scene, t.id) for t in instances}, taxonomy, view)


def drawn(seed: int) -> tuple[Scene, Image.Image]:
    """A drawn photograph, with the boxes of what is on it."""
    from PIL import Image

    from toeline.core.box import Box
    from toeline.core.scene import Instance, Scene
    from toeline.synth.scene import draw

    drawing = draw(seed)
    corners = [tuple(zip(*o.polygon, strict=True)) for o in drawing.objects]
    instances = [
        Instance(str(n), o.kind, Box(min(xs), min(ys), max(xs), max(ys)))
        for n, (o, (xs, ys)) in enumerate(zip(drawing.objects, corners, strict=True), start=1)
    ]
    image = Image.fromarray(drawing.image)
    return Scene(Path(f"drawn-{seed}.jpg"), image.size, tuple(instances)), image


YES, NO, NEARLY = "green", "red", "yellow"
NO_BFLOAT16 = (
    "This device has no bfloat16. In float16 some activations of Qwen2-VL overflow; the judge says so if they do."
)


def show(plan: Plan, advice: PlanAdvice, bounds: Sequence[Limit]) -> None:
    """The answer in a sentence, then the sums behind it."""
    out.print(answer(plan, advice))
    if plan.dtype == "float16" and plan.asked.dtype == "auto":
        out.print(NO_BFLOAT16, style=NEARLY)
    tables = [changes(plan, advice)] if advice.changes else []
    if advice.changes and advice.plan.fits:
        show_commands(plan, advice)
    tables += [memory(plan), times(plan)]
    if any(bound.meets(GB) != bound.tries[0] for bound in bounds):
        tables.append(bounds_table(bounds))
    for table in tables:
        out.print()
        out.print(table)
    if bounds:
        out.print(said_of(bounds))
    out.print()
    out.print(parameters(plan))
    out.print(WORDS, style="dim")


WORDS = (
    "Weights are the numbers that a model consists of; parameters are how many there are. Half precision (bfloat16, "
    "float16) holds each in 2 bytes, int8 in 1, 4-bit (NF4) in half of one. A token is a piece of a word or of a "
    "picture; a trimmed vocabulary lacks the tokens that no prompt needs. Packed: all objects of a photograph in one "
    "pass. TFLOP: 10¹² operations. LoRA trains a few added weights; QLoRA does so with the others in 4 bits. "
    "docs/plan.md"
)


def commands(plan: Plan, advice: PlanAdvice) -> list[str]:
    """What to type for the changes, in order; each command takes what the one before wrote."""
    judge, found, options = plan.asked.judge, list[str](), list[str]()
    for change in advice.changes:
        name, _, value = change.option.partition(" ")
        if plan.asked.task == "finetune":
            options.append(FINETUNE.get(name, change.option).format(value=value, tokens=advice.plan.work.length))
        elif name == "--trim":
            found.append(f"toeline trim {judge} --rows {value} --out runs/trimmed")
            judge = "runs/trimmed"
        elif to := QUANTIZE.get(value):
            found.append(f"toeline quantize {judge} --to {to} --data DATA --split valid --out runs/{to}")
            judge = f"runs/{to}/model"
    last = f"inspect PHOTOS --judge {judge} --out runs/first"
    if plan.asked.task == "finetune":
        last = " ".join(["finetune DATA --judge", judge, *options, "--out runs/lora"])
    return [*found, f"toeline {last}"]


QUANTIZE = {"int8": "int8", "nf4": "int4"}  # --dtype of plan -> --to of quantize
FINETUNE = {  # options of plan -> those of finetune, where they are called otherwise
    "--checkpointing": "--checkpointing on",
    "--cached-features": "--cache-features runs/features",
    "--chunk": "--max-tokens {tokens}",
}


def show_commands(plan: Plan, advice: PlanAdvice) -> None:
    """The commands, one a line."""
    out.print()
    out.print("[bold]What to type[/]")
    for command in commands(plan, advice):
        out.print(f"  {escape(command)}")


def show_devices(plans: Sequence[tuple[Plan, PlanAdvice]]) -> None:
    """One judge on several devices: a row each, and what would make it fit."""
    first = plans[0][0]
    what = "inspected" if first.asked.task == "inspect" else "fine-tuned"
    table = _table(f"{first.model.name}, {what}", "device", "memory GB", "needs GB", "fits", "each", "option")
    table.columns[-1].header, table.columns[0].no_wrap = "with", True
    for plan, advice in plans:
        color, said = (NEARLY, "barely") if plan.tight else (YES, "yes") if plan.fits else (NO, "no")
        changed = _list([change.what for change in advice.changes]) if advice.changes else ""
        after = f"{changed}: {advice.plan.total / GB:.1f} GB" if advice.plan.fits else "nothing that was tried"
        sizes = (f"{plan.device.memory / GB:.1f}", f"{plan.total / GB:.1f}")
        took = duration(plan.ways[0].seconds)
        table.add_row(escape(plan.device.title), *sizes, f"[{color}]{said}[/]", took, after if advice.changes else "")
    out.print(table)
    out.print("For what to type, and the sums, plan one device by itself.", style="dim")


def answer(plan: Plan, advice: PlanAdvice) -> str:
    """One sentence, in rich's markup.

    GB are 1e9 bytes and GiB 2^30: makers count in one, drivers in the other.
    """
    color, verdict = (NEARLY, "Fits, barely.") if plan.tight else (YES, "Fits.") if plan.fits else (NO, "Does not fit.")
    asked = plan.asked
    what = "inspect a photograph with" if asked.task == "inspect" else "fine-tune on photographs with"
    took = next(iter(plan.ways)).seconds
    pace = f", about {duration(took)} each" if took else ""
    more = ""
    if advice.changes:
        names = _list([change.what for change in advice.changes])
        after = both(advice.plan.total)
        more = f" With {names} it takes {after} and fits." if advice.plan.fits else f" Even with {names}: {after}."
    return (
        f"[bold {color}]{verdict}[/] [bold]{escape(plan.model.name)}[/] in {precision(plan)} needs "
        f"[bold]{both(plan.total)}[/] of {both(plan.device.memory)} on {escape(plan.device.title)} to {what} "
        f"{some(asked.objects, 'object')}{pace}.{more}"
    )


def precision(plan: Plan) -> str:
    """How the weights are held, in words."""
    held = plan.weights
    trimmed = f", {held.vocab:,} tokens" if held.vocab else ""
    return (held.language if held.language == held.rest else f"{held.language} and {held.rest}") + trimmed


def both(size: float) -> str:
    """Bytes in both units.

    >>> both(16_582_751_232), both(38_473_728)
    ('16.58 GB (15.44 GiB)', '38.47 MB (36.69 MiB)')
    """
    (ten, a), (two, b) = units(size)
    return f"{size / a:.2f} {ten} ({size / b:.2f} {two})"


def units(size: float) -> tuple[tuple[str, int], tuple[str, int]]:
    """The decimal and the binary unit, with their bytes, in which a size is read best."""
    return (("GB", GB), ("GiB", GIB)) if size >= GB else (("MB", 10**6), ("MiB", 2**20))


def duration(seconds: float | None) -> str:
    """Seconds with two figures that matter.

    >>> duration(0.0123), duration(0.31), duration(25.5), duration(1713.0), duration(None)
    ('0.012 s', '0.31 s', '26 s', '29 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is text, the last too where it is called "how", and the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    for n, name in enumerate(columns):
        words = n == 0 or name in ("how", "option")
        table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    return table


def parameters(plan: Plan) -> Table:
    """Parameters by part."""
    table = _table("Parameters", "part", "count", "how")
    for what, size, how in plan.parameters:
        table.add_row(what, f"{size:,}", how)
    table.add_section()
    table.add_row("[bold]all[/]", f"[bold]{total(plan.parameters):,}[/]", "")
    return table


def memory(plan: Plan) -> Table:
    """The sum of bytes: weights, what is at work beside them, the allowance, and the device."""
    (ten, _), (two, _) = scale = units(plan.total)
    table = _table("Memory", "what", ten, two, "how")
    for lines in (plan.load, plan.at_work, (plan.allowance,)):
        for line in lines:
            table.add_row(*_row(line, scale))
        table.add_section()
    many = f"{plan.work.length:,} tokens in a sequence"
    table.add_row(*_row(Line("all", plan.total, many), scale, style="bold"))
    left = plan.device.memory - plan.total
    color = NEARLY if plan.tight else YES if plan.fits else NO
    table.add_row(*_row(Line("left" if left >= 0 else "too much", abs(left), plan.device.title), scale, style=color))
    if plan.earlier:
        lower = "before" if plan.at_work[-1].what != "one vision block" else "after"
        table.caption = f"The other phase, {lower} this one and not at the same time: {both(total(plan.earlier))}"
        table.caption_justify = "left"
    return table


def _row(line: Line, scale: tuple[tuple[str, int], ...], style: str = "") -> list[str]:
    sizes = [f"{line.size / unit:,.3f}" for _, unit in scale]
    cells = [line.what, *sizes, escape(line.how)]
    return [f"[{style}]{cell}[/]" if style and cell else cell for cell in cells]


def times(plan: Plan) -> Table:
    """Operations and seconds of each way to do it."""
    table = _table("Time per photograph, expected", "way", "TFLOP", "time", "of packed")
    first = plan.ways[0].seconds
    for n, (what, flop, seconds) in enumerate(plan.ways):
        ratio = f"{seconds / first:.1f} ×" if seconds and first and n else ""
        cells = (what, f"{flop / 1e12:,.3g}", duration(seconds), ratio)
        table.add_row(*cells, style="" if n else "bold")
    return table


def changes(plan: Plan, advice: PlanAdvice) -> Table:
    """What to change, and what each change brings."""
    table = _table(
        "What makes it fit" if advice.plan.fits else "Not enough, even together", "change", "saves GB", "option"
    )
    for what, option, saves in advice.changes:
        table.add_row(what, f"{saves / GB:.2f}", option)
    table.add_section()
    color = YES if advice.plan.fits else NO
    table.add_row(
        f"[{color}]then it takes[/]",
        f"[{color}]{advice.plan.total / GB:.2f}[/]",
        f"of {plan.device.memory / GB:.2f} GB",
    )
    return table


def bounds_table(bounds: Sequence[Limit]) -> Table:
    """The targets: the whole model, and the first form that is under the number in each unit."""
    table = _table("Targets for size and memory, on an A30", "target", "whole, GB", "GiB")
    table.columns[0].no_wrap = True
    for name in ("meets it in GiB", "meets it in GB"):
        table.add_column(name, overflow="fold")
    for limit in bounds:
        whole = limit.tries[0]
        size = [_colored(whole.size, limit.number, unit) for unit in (GB, GIB)]
        table.add_row(f"{limit.what} < {limit.number}", *size, *(_meets(limit, unit) for unit in (GIB, GB)))
    return table


def _colored(size: int, number: int, unit: int) -> str:
    return f"[{YES if size < number * unit else NO}]{size / unit:.2f}[/]"


def _meets(limit: Limit, unit: int) -> str:
    found = limit.meets(unit)
    return f"[{YES}]{found.what}[/] ({found.size / unit:.2f})" if found else f"[{NO}]nothing that was tried[/]"


def said_of(bounds: Sequence[Limit]) -> str:
    """Which limits the whole vocabulary cannot meet, and where GB and GiB give different answers."""
    over = [f"{b.what} < {b.number}" for b in bounds if b.tries[0].size >= b.number * GIB]
    apart = [f"{b.what} < {b.number}" for b in bounds if b.meets(GB) != b.meets(GIB)]
    if not over:
        return f"[{YES}]All five targets for size and for the memory of an A30 are met with the whole vocabulary.[/]"
    units = f" Which unit is meant decides what it takes for {_list(apart)}." if apart else ""
    return f"[{NO}]Cannot be met with the whole vocabulary[/], in either unit: {_list(over)}.{units}"


def show_check(checked: PlanCheck) -> None:
    """Measured beside planned."""
    table = _table("Measured here", "what", "planned", "measured", "measured of planned")
    for what, planned, measured, unit in checked.rows:
        ratio = f"{measured / planned:.2f}" if planned else ""
        table.add_row(what, *(f"{value:,.4g} {unit}" for value in (planned, measured)), ratio)
    out.print()
    out.print(table)
    out.print(f"Bytes counted by {checked.how}.", style="dim")


def record(plan: Plan, advice: PlanAdvice, bounds: Sequence[Limit], checked: PlanCheck | None) -> dict[str, Any]:
    """The plan as JSON: bytes, seconds, operations; `fits` is the answer."""
    return {
        "fits": plan.fits,
        "tight": plan.tight,
        "total_bytes": plan.total,
        "total_gb": round(plan.total / GB, 3),
        "total_gib": round(plan.total / GIB, 3),
        "load_bytes": total(plan.load),
        "asked": asdict(plan.asked),
        "compute_dtype": plan.dtype,
        "parameters": {"all": total(plan.parameters), **_sizes(plan.parameters)},
        "memory": {
            "load": _sizes(plan.load),
            "at_work": _sizes(plan.at_work),
            "at_another_time": _sizes(plan.earlier),
            "allowance": plan.allowance.size,
        },
        "device": {**asdict(plan.device), "flops": dict(plan.device.flops)},
        "sequence": {"tokens": plan.work.length, "sequences": plan.work.sequences, "patches": plan.work.patches},
        "time": [{"way": w.what, "tflop": w.flop / 1e12, "seconds": w.seconds} for w in plan.ways],
        "changes": [c._asdict() for c in advice.changes],
        "commands": commands(plan, advice) if advice.changes and advice.plan.fits else [],
        "after_changes": {"fits": advice.plan.fits, "total_bytes": advice.plan.total},
        "limits": [_limit(bound) for bound in bounds],
        "check": None if checked is None else checked.record(),
    }


def _sizes(lines: Sequence[Line]) -> dict[str, int]:
    return {line.what: line.size for line in lines}


def _limit(bound: Limit) -> dict[str, Any]:
    meets = {name: bound.meets(unit) for name, unit in (("gb", GB), ("gib", GIB))}
    return {
        "limit": bound.what,
        "number": bound.number,
        "whole_bytes": bound.tries[0].size,
        "meets": {name: found._asdict() if found else None for name, found in meets.items()},
    }


def tell_plan(asked: PlanRequest, wanted: PlanDevices, *, check: bool, as_json: bool) -> None:
    """Plan, and say it; with `check` load and run the judge as well. Raises ToelineError."""
    from toeline.plan.plan import advise, limits

    model, plans = _plans(asked, wanted)
    if len(plans) > 1:
        if check:
            raise SetupError("--check runs on this machine. Give one --device, auto.")
        advised = [(plan, advise(plan)) for plan in plans]
        if as_json:
            tell_json({"plans": [record(plan, advice, [], None) for plan, advice in advised]})
        else:
            show_devices(advised)
        return
    planned = plans[0]
    advice = advise(planned)
    bounds = limits(model, objects=asked.objects) if asked.task == "inspect" else []
    if not as_json:
        show(planned, advice, bounds)
    checked = None
    if check:
        with saying("Loading the judge and running one photograph"):
            checked = run_check(planned)
    if as_json:
        tell_json(record(planned, advice, bounds, checked))
    elif checked:
        show_check(checked)


def _plans(asked: PlanRequest, wanted: PlanDevices) -> tuple[Model, list[Plan]]:
    from toeline.judge.load import EMBEDDED
    from toeline.plan.devices import find_devices
    from toeline.plan.model_shape import find_model
    from toeline.plan.plan import make_plan

    model = find_model(asked.judge, embedded=EMBEDDED)
    devices = find_devices(wanted.devices, wanted.memory)
    names = wanted.devices if wanted.memory is None else [device.name for device in devices]
    return model, [
        make_plan(replace(asked, device=name), model, device) for name, device in zip(names, devices, strict=True)
    ]
