"""The 7B on one CUDA card: packed scoring beside the usual ways, and one step of LoRA, in time and memory.

    python benchmarks/gpu_7b.py [--out DIR] [--tiny] [--device auto|cuda|cpu] [--plan]

The weights are random and are made on the card in bfloat16, in the shapes of Qwen2-VL-7B-Instruct: nothing is
downloaded, and nothing here speaks of accuracy. Without a CUDA card it says so and ends with exit code 2. `--tiny` runs
the same code on a small model on any machine, to test it. `--plan` measures nothing: it writes what `toeline plan` says
of an A30 into the page, beside what was measured before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from packed import generate, machine, one_by_one, sizes
from packed_model import make_judge, make_sheet
from results import RESULTS, rounded, write
from torch import nn
from tuning_step import make_learner, rows_of, step_of

from toeline.judge.low_bits import settle
from toeline.judge.quantize import LIBRARIES, convert
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.plan.devices import KNOWN
from toeline.plan.model_shape import find_model
from toeline.plan.plan import MEMORY, SIZES, TRIMMED, make_plan, total
from toeline.plan.request import PlanRequest
from toeline.train.finetune import release
from toeline.weights import quiet

SHAPE = {"hidden": 3584, "layers": 28, "mlp": 18944, "heads": 28, "kv_heads": 4, "vocabulary": 152_064}
SHAPE_7B = {**SHAPE, "vision": 1280, "vision_heads": 16, "depth": 32, "tied": False}
TINY = {"hidden": 64, "layers": 1, "mlp": 128, "heads": 4, "vocabulary": 2000, "vision": 64, "depth": 1}
COUNTS = (1, 5, 18)  # objects per photograph; 18 is the most in the real data
USUAL = 5
REPEATS = 3
GB, GIB = 1e9, 2**30  # figures are in 10^9 bytes
PLANNED_FOR = "a30"
Row = dict[str, Any]


class Form(NamedTuple):
    """A trimmed 7B: how its layers are held, as `toeline plan` calls it, and which limits of the project it has."""

    what: str
    dtype: str
    limit: str
    compiled: bool = False


FORMS = (
    Form("packed, trimmed", "auto", "FP16"),
    Form("packed, trimmed, W8A8", "int8", "INT8"),
    Form("packed, trimmed, W8A8, compiled", "int8", "INT8", compiled=True),
    Form("packed, trimmed, NF4", "int4", "INT4"),
)


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measured(name: str, objects: int, run: Callable[[], object], device: str, note: str = "") -> Row:
    """Median seconds of REPEATS runs after one that warms up, and the most memory meanwhile; running out is told."""
    row: Row = {"what": name, "objects": objects, "note": note}
    try:
        if device == "cuda":
            run()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(REPEATS if device == "cuda" else 1):
            synchronize(device)
            begun = time.perf_counter()
            run()
            synchronize(device)
            seconds.append(time.perf_counter() - begun)
        row["seconds"] = round(statistics.median(seconds), 4)
        if device == "cuda":
            row["allocated_gb"] = round(torch.cuda.max_memory_allocated() / GB, 2)
            row["reserved_gb"] = round(torch.cuda.max_memory_reserved() / GB, 2)
    except torch.OutOfMemoryError:
        row["note"] = f"{note}; out of memory".removeprefix("; ")
        torch.cuda.empty_cache()
    print(f"  {name}, {objects} objects: {row.get('seconds', row['note'])}", flush=True)
    return row


def random_judge(device: str, tiny: bool, *, trimmed: bool = False) -> QwenVLJudge:
    """A judge with random weights on the device: bfloat16 on a card, float32 when it is a test on the CPU."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    shape = {**(TINY if tiny else SHAPE_7B), **({"vocabulary": TRIMMED} if trimmed and not tiny else {})}
    with torch.device(device):
        return make_judge(shape, dtype=dtype, by_branch=device == "cpu")


def scoring(judge: QwenVLJudge, device: str) -> list[Row]:
    """Packed scoring for each count of objects; beside it one tree per object, and 50 and 4 generated tokens each."""
    rows = []
    with torch.inference_mode():
        for count in COUNTS:
            sheet = make_sheet(count)
            rows.append(measured("packed", count, partial(judge.score, sheet), device))
        sheet = make_sheet(USUAL)
        singles = one_by_one(sheet)
        for name, each in (
            ("one tree per object", judge.score),
            ("generate 50 per object", partial(generate, judge, tokens=50)),
            ("generate 4 per object", partial(generate, judge, tokens=4)),
        ):
            rows.append(measured(name, USUAL, lambda each=each: [each(s) for s in singles], device))  # type: ignore[misc]
    return rows


def steps(judge: QwenVLJudge, device: str, kind: str) -> list[Row]:
    """One step of LoRA, packed and per object, with checkpointing and (packed only) without."""
    rows = []
    learner = make_learner(judge, checkpointing=True)
    for count in COUNTS[1:]:
        rows.append(measured(f"step, packed{kind}", count, step_of(learner, rows_of(count, apart=False)), device))
    apart = step_of(learner, rows_of(USUAL, apart=True))
    rows.append(measured(f"step, per object{kind}", USUAL, apart, device))
    with quiet():  # its newer name is not there in transformers 5.17
        judge.model.gradient_checkpointing_disable()
    packed = step_of(learner, rows_of(USUAL, apart=False))
    rows.append(measured(f"step, packed{kind}, activations kept", USUAL, packed, device))
    return rows


def in_4_bits(judge: QwenVLJudge, device: str) -> QwenVLJudge:
    """The language model's linear layers in NF4 with double quantization, one after the other."""
    import bitsandbytes as bnb

    for layer in judge.model.model.language_model.layers:
        for name, linear in [(n, m) for n, m in layer.named_modules() if type(m) is nn.Linear]:
            small = bnb.nn.Linear4bit(
                linear.in_features,
                linear.out_features,
                bias=linear.bias is not None,
                compute_dtype=linear.weight.dtype,
                compress_statistics=True,
                quant_type="nf4",
                device="meta",
            )
            small.weight = bnb.nn.Params4bit(
                linear.weight.detach().cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
            )
            if linear.bias is not None:
                small.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
            layer.set_submodule(name, small.to(device))
            linear.weight = None
    judge.model.is_loaded_in_4bit = True  # what peft asks before it puts LoRA on such layers
    if device == "cuda":
        torch.cuda.empty_cache()
    return judge


def smaller(form: Form, device: str, tiny: bool) -> list[Row]:
    """One form of the trimmed model, made as `toeline quantize` makes it: its bytes on the disk, and packed scoring."""
    if (library := LIBRARIES.get(form.dtype)) and find_spec(library) is None:
        note = f"{library} is not installed: pip install 'toeline[quantize]'"
        return [{"what": form.what, "objects": USUAL, "note": note}]
    judge = random_judge(device, tiny, trimmed=True)
    dtype = judge.model.dtype
    if library:
        judge.model.to(torch.bfloat16)  # as it is saved
        convert(judge.model, form.dtype)  # type: ignore[arg-type]
    disk = round(saved_bytes(judge.model) / GB, 6 if tiny else 2)
    if library:
        settle(judge.model, dtype)
    if form.compiled:
        backend = "inductor" if device == "cuda" else "eager"  # a CPU may have no compiler
        judge.model.model.language_model.compile(dynamic=False, backend=backend)
    note = "compiled for each length" if form.compiled else ""
    with torch.inference_mode():
        rows = [measured(form.what, n, partial(judge.score, make_sheet(n)), device, note) for n in COUNTS]
    return [{**row, "disk_gb": rounded(disk)} for row in rows]  # as the JSON keeps it, for --plan to print it again


def saved_bytes(model: Any) -> int:
    """Bytes of the weights of a model as it is saved."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        model.save_pretrained(folder)
        return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))


def planned() -> list[Row]:
    """What `toeline plan` says of the same forms on the project's card; it knows nothing of compiling."""
    model, rows = find_model("Qwen/Qwen2-VL-7B-Instruct"), []
    for form in (form for form in FORMS if not form.compiled):
        for count in COUNTS:
            asked = PlanRequest(judge=model.name, objects=count, dtype=form.dtype, trim=TRIMMED)  # type: ignore[arg-type]
            plan = make_plan(asked, model, KNOWN[PLANNED_FOR])
            row = {"what": form.what, "objects": count, "seconds": round(plan.ways[0].seconds or 0, 2)}
            rows.append({**row, "memory_gb": round(plan.total / GB, 2), "disk_gb": round(total(plan.load) / GB, 2)})
    return rows


def all_rows(device: str, tiny: bool) -> tuple[list[Row], dict[str, float]]:
    """Everything, each model made anew: LoRA layers are not taken out of one again."""
    judge = random_judge(device, tiny)
    sized, rows = sizes(judge.model), scoring(judge, device)
    rows += steps(judge, device, "")
    del judge
    release()  # a model whose forward was replaced refers to itself: 16.6 GB would stay until Python looks for cycles
    for form in FORMS:
        rows += smaller(form, device, tiny)
        torch.compiler.reset()
        release()
    if find_spec("bitsandbytes") is None:
        rows.append(
            {"what": "NF4", "objects": USUAL, "note": "bitsandbytes is not installed: pip install bitsandbytes"}
        )
        return rows, sized
    judge = in_4_bits(random_judge(device, tiny), device)
    with torch.inference_mode():
        rows.append(measured("packed, NF4", USUAL, partial(judge.score, make_sheet(USUAL)), device))
    rows += steps(judge, device, ", NF4")
    return rows, sized


def card(device: str) -> dict[str, Any]:
    """The card, its memory, and the CUDA that torch was built for."""
    if device != "cuda":
        return {"device_name": "no card"}
    about = torch.cuda.get_device_properties(0)
    can = f"compute capability {about.major}.{about.minor}, CUDA {torch.version.cuda}"
    return {"device_name": f"{about.name} ({about.total_memory / GB:.1f} GB, {can})"}


def libraries() -> str:
    """What trains, with versions."""
    names = [name for name in ("peft", "bitsandbytes", "torchao") if find_spec(name)]
    return ", ".join(f"{name} {version(name)}" for name in names)


PAGE = """# The 7B on one card

Written by `python benchmarks/gpu_7b.py{tiny}`. Random weights in the shapes of {shape}:
nothing here speaks of accuracy.

{table}

- Seconds by the wall clock, the card synchronized before and after, median of {repeats} after a run that warms up; from
  pictures to scores, or a whole step of LoRA (rank 16 on q, k, v, o; forward, backward, AdamW).
- Memory as torch counts it, in GB of 10^9 bytes: the most allocated, and the most reserved from the driver.
- {smaller} NF4 without "trimmed" is QLoRA's, of the language layers alone.
- A 640 x 640 photograph as 529 image tokens, crops of 64, nine answers per object. Steps compute activations twice
  (checkpointing) unless they say that activations are kept.
- Weights: {language_layers_m:.0f} M in language layers, {embedding_m:.0f} M embedding, {vision_m:.0f} M vision, in
  {dtype}.
- Machine: {device_name}; {cpu}. Python {python}, torch {torch}, transformers {transformers}, {libraries}.

## Planned, not measured: the trimmed 7B on an A30

What `toeline plan --device a30 --trim {trimmed}` says ([docs/plan.md](../../docs/plan.md)): bytes are exact by shapes,
memory adds 0.45 GB of driver and libraries, and seconds are a roofline at half of the card's figure in half precision.
What int8 products gain and what NF4 costs is not in it, nor the 0.2 GB that W8A8 without compilation writes between.

{planned}

Limits: < 14, 7 and 4 on the disk (FP16, INT8, INT4), < 16 and 8 on the card (FP16, INT8); of the unit nothing was said.
"""


def table(rows: list[Row]) -> str:
    columns = {
        "what": "what", "objects": "objects", "seconds": "seconds", "allocated_gb": "allocated GB",
        "reserved_gb": "reserved GB", "memory": "limit", "disk_gb": "on the disk GB", "disk": "limit", "note": "note",
    }  # fmt: skip
    return in_columns([{**row, **limits_of(row, "reserved_gb")} for row in rows], columns)


def planned_table(rows: list[Row]) -> str:
    columns = {
        "what": "what", "objects": "objects", "seconds": "seconds", "disk_gb": "on the disk GB", "disk": "limit",
        "memory_gb": "memory GB", "memory": "limit",
    }  # fmt: skip
    return in_columns([{**row, **limits_of(row, "memory_gb")} for row in rows], columns)


def in_columns(rows: list[Row], columns: dict[str, str]) -> str:
    columns = {name: head for name, head in columns.items() if any(row.get(name, "") != "" for row in rows)}
    lines = [f"| {' | '.join(columns.values())} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def limits_of(row: Row, memory: str) -> dict[str, str]:
    """Whether a row is under the project's limits, in words."""
    limit = next((form.limit for form in FORMS if form.what == row["what"]), "")
    return {"disk": under(row.get("disk_gb"), SIZES.get(limit)), "memory": under(row.get(memory), MEMORY.get(limit))}


def under(gb: float | None, limit: int | None) -> str:
    """Whether a figure is under a limit, whose unit may be GB or GiB."""
    if gb is None or limit is None:
        return ""
    fits = [name for name, unit in (("GB", GB), ("GiB", GIB)) if gb * GB < limit * unit]
    return f"< {limit} {' and '.join(fits)}" if fits else f"not < {limit}"


MEASURED = """On the disk: the *.safetensors as they are saved. The trimmed model has {trimmed:,} tokens; its W8A8 and
  NF4 are as `toeline quantize` makes them, the vision tower included."""
WAITING = "The trimmed model, W8A8 and its NF4 were not measured yet: what is planned of them stands below."


def page(result: dict[str, Any]) -> str:
    """The page of all figures, those that were measured before included."""
    tiny = result["tiny"]
    return PAGE.format(
        tiny=" --tiny" if tiny else "",
        shape="a small model" if tiny else "Qwen2-VL-7B-Instruct",
        table=table(result["rows"]),
        planned=planned_table(result["planned"]),
        repeats=REPEATS,
        trimmed=TRIMMED,
        smaller=(MEASURED if any("disk_gb" in row for row in result["rows"]) else WAITING).format(trimmed=TRIMMED),
        dtype="float32" if result["machine"]["device_name"] == "no card" else "bfloat16",
        **result["model"],
        **result["machine"],
    )


def measure(device: str, tiny: bool) -> dict[str, Any]:
    """All rows, and what they depend on."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.cuda.device(0) if device == "cuda" else nullcontext():
        rows, sized = all_rows(device, tiny)
    facts = {**machine(), **card(device), "libraries": libraries()}
    return {"tiny": tiny, "machine": facts, "model": sized, "rows": rows}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--tiny", action="store_true", help="a small model on any machine, to test this script")
    options.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="cpu with --tiny alone")
    options.add_argument("--plan", action="store_true", help="measure nothing; plan, beside what the page has")
    given = options.parse_args()
    name = "gpu_7b-tiny" if given.tiny else "gpu_7b"
    if given.plan:
        result = json.loads((given.out / f"{name}.json").read_text(encoding="utf-8"))
    elif not given.tiny and (given.device == "cpu" or not torch.cuda.is_available()):
        print("There is no CUDA card here that torch can use, so nothing was measured. --tiny tests the script.")
        return 2
    else:
        result = measure(given.device, given.tiny)
    result["planned"] = planned()
    write(name, text := page(result), result, given.out)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
