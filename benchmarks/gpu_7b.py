"""The 7B on one CUDA card: packed scoring beside the usual ways, and one step of LoRA, in time and memory.

    python benchmarks/gpu_7b.py [--out DIR] [--tiny]

The weights are random and are made on the card in bfloat16, in the shapes of Qwen2-VL-7B-Instruct: nothing is
downloaded, and nothing here speaks of accuracy. Without a CUDA card it says so and ends with exit code 2. `--tiny` runs
the same code on a small model on any machine, to test it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from packed import generate, machine, one_by_one, sizes
from packed_model import make_judge, make_sheet
from results import RESULTS, write
from torch import nn
from tuning_step import make_learner, rows_of, step_of

from toeline.judge.qwen_vl import QwenVLJudge
from toeline.train.finetune import release
from toeline.weights import quiet

SHAPE = {"hidden": 3584, "layers": 28, "mlp": 18944, "heads": 28, "kv_heads": 4, "vocabulary": 152_064}
SHAPE_7B = {**SHAPE, "vision": 1280, "vision_heads": 16, "depth": 32, "tied": False}
TINY = {"hidden": 64, "layers": 1, "mlp": 128, "heads": 4, "vocabulary": 2000, "vision": 64, "depth": 1}
COUNTS = (1, 5, 18)  # objects per photograph; 18 is the most in the real data
USUAL = 5
REPEATS = 3
GB = 1e9  # figures are in 10^9 bytes
Row = dict[str, Any]


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


def random_judge(device: str, tiny: bool) -> QwenVLJudge:
    """A judge with random weights on the device: bfloat16 on a card, float32 when it is a test on the CPU."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        return make_judge(TINY if tiny else SHAPE_7B, dtype=dtype, by_branch=device == "cpu")


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


def all_rows(device: str, tiny: bool) -> tuple[list[Row], dict[str, float]]:
    """Everything, each model made anew: LoRA layers are not taken out of one again."""
    judge = random_judge(device, tiny)
    sized, rows = sizes(judge.model), scoring(judge, device)
    rows += steps(judge, device, "")
    if find_spec("bitsandbytes") is None:
        rows.append(
            {"what": "NF4", "objects": USUAL, "note": "bitsandbytes is not installed: pip install bitsandbytes"}
        )
        return rows, sized
    del judge
    release()  # a model whose forward was replaced refers to itself: 16.6 GB would stay until Python looks for cycles
    judge = in_4_bits(random_judge(device, tiny), device)
    with torch.inference_mode():
        rows.append(measured("packed, NF4", USUAL, partial(judge.score, make_sheet(USUAL)), device))
    return [*rows, *steps(judge, device, ", NF4")], sized


def card(device: str) -> dict[str, Any]:
    """The card, its memory, and the CUDA that torch was built for."""
    if device != "cuda":
        return {"device_name": "no card"}
    about = torch.cuda.get_device_properties(0)
    can = f"compute capability {about.major}.{about.minor}, CUDA {torch.version.cuda}"
    return {"device_name": f"{about.name} ({about.total_memory / GB:.1f} GB, {can})"}


def libraries() -> str:
    """What trains, with versions."""
    names = [name for name in ("peft", "bitsandbytes") if find_spec(name)]
    return ", ".join(f"{name} {version(name)}" for name in names)


PAGE = """# The 7B on one card

Written by `python benchmarks/gpu_7b.py{tiny}`. Random weights in the shapes of {shape}:
nothing here speaks of accuracy.

{table}

- Seconds by the wall clock, the card synchronized before and after, median of {repeats} after a run that warms up; from
  pictures to scores, or a whole step of LoRA (rank 16 on q, k, v, o; forward, backward, AdamW).
- Memory as torch counts it, in GB of 10^9 bytes: the most allocated, and the most reserved from the driver.
- A 640 x 640 photograph as 529 image tokens, crops of 64, nine answers per object. Steps compute activations twice
  (checkpointing) unless they say that activations are kept. NF4: the language model's linear layers.
- Weights: {language_layers_m:.0f} M in language layers, {embedding_m:.0f} M embedding, {vision_m:.0f} M vision, in
  {dtype}.
- Machine: {device_name}; {cpu}. Python {python}, torch {torch}, transformers {transformers}, {libraries}.
"""


def table(rows: list[Row]) -> str:
    heads = ("what", "objects", "seconds", "allocated GB", "reserved GB", "note")
    lines = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|---|"]
    for row in rows:
        cells = (row.get(k, "") for k in ("what", "objects", "seconds", "allocated_gb", "reserved_gb", "note"))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--tiny", action="store_true", help="a small model on any machine, to test this script")
    given = options.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        print("There is no CUDA card here that torch can use, so nothing was measured. --tiny tests the script.")
        return 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.cuda.device(0) if device == "cuda" else nullcontext():
        rows, sized = all_rows(device, given.tiny)
    facts = {**machine(), **card(device), "libraries": libraries()}
    result = {"tiny": given.tiny, "machine": facts, "model": sized, "rows": rows}
    text = PAGE.format(
        tiny=" --tiny" if given.tiny else "",
        shape="a small model" if given.tiny else "Qwen2-VL-7B-Instruct",
        table=table(rows),
        repeats=REPEATS,
        dtype="bfloat16" if device == "cuda" else "float32",
        **sized,
        **facts,
    )
    write("gpu_7b-tiny" if given.tiny else "gpu_7b", text, result, given.out)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
