"""What one packed forward per photograph costs beside the usual ways to ask a Qwen2-VL model about every object.

    python benchmarks/packed.py [--quick] [--out DIR]

Random weights, so nothing here speaks of accuracy; all ways see the same photograph, crops and questions. The unit is
CPU seconds over all threads, because wall time depends on what else the machine does. Ways that treat one object at a
time are measured for three objects and scaled, which favors none of them: their cost is the same for every object.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a waiting thread must not count as work

import numpy as np
import torch
import transformers
from packed_model import FULL, QUICK, make_judge, make_sheet
from results import RESULTS, write

from toeline.core.question import QuestionSheet
from toeline.judge.packing import branch, lay_out, trunk
from toeline.judge.qwen_vl import QwenVLJudge, image_features, patches

COUNTS = (1, 5, 10, 18)  # objects per photograph; 18 is the most in the real data
USUAL = 5  # objects on a photograph, on average, and the count that the requirement names
MEASURED = 3  # objects that the ways which take one at a time are measured on
REQUIRED = {"generate 50": 5.0, "nine sequences": 14.0}  # at 5 objects: packed must be this much cheaper


class Way(NamedTuple):
    """One way to ask: CPU seconds for each number of objects, tokens through the language model at 5, patches at 5."""

    name: str
    seconds: dict[int, float]
    tokens: int
    patches: int
    note: str


def one_by_one(sheet: QuestionSheet) -> list[QuestionSheet]:
    return [QuestionSheet(sheet.photo, sheet.picture, sheet.text, (question,)) for question in sheet.questions]


def prompt_ids(judge: QwenVLJudge, sheet: QuestionSheet) -> torch.Tensor:
    """(1, S): the prompt of a sheet with one question."""
    pieces = trunk(sheet, judge.alphabet).ids, branch(sheet.questions[0], judge.alphabet).ids
    return torch.from_numpy(np.concatenate(pieces))[None].to(judge.device)


def generate(judge: QwenVLJudge, sheet: QuestionSheet, tokens: int) -> None:
    """Stock generation of `tokens` tokens after the prompt of one object."""
    ids = prompt_ids(judge, sheet)
    pixels, grids = patches([sheet.picture, sheet.questions[0].crop], judge.processor)  # type: ignore[list-item]
    judge.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == judge.alphabet.image).int(),
        pixel_values=pixels.to(judge.device),
        image_grid_thw=grids.to(judge.device),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
    )


def nine_sequences(judge: QwenVLJudge, sheet: QuestionSheet) -> list[float]:
    """Log-probabilities of one object's answers from a batch of full sequences, positions made by the model.

    Kind to this way: the pictures pass the vision tower once, and only the answers' logits are computed.
    """
    abc, model, answers = judge.alphabet, judge.model, sheet.questions[0].answers
    prompt = prompt_ids(judge, sheet)[0].tolist()
    spelled = [[*abc.encode(answer), abc.end] for answer in answers]
    longest = max(map(len, spelled))
    ids = torch.tensor([prompt + row + [0] * (longest - len(row)) for row in spelled])
    pixels, grids = patches([sheet.picture, sheet.questions[0].crop], judge.processor)  # type: ignore[list-item]
    pictures = (ids == abc.image).int()
    places, _ = model.model.get_rope_index(ids, mm_token_type_ids=pictures, image_grid_thw=grids.repeat(len(ids), 1))
    embedded = model.get_input_embeddings()(ids)
    features = torch.cat(image_features(model, pixels, grids)).repeat(len(ids), 1)
    embedded = embedded.masked_scatter(pictures.bool()[..., None], features)
    keep = torch.arange(len(prompt) - 1, len(prompt) + longest - 1)
    seen = torch.ones_like(ids)
    done = model(inputs_embeds=embedded, attention_mask=seen, position_ids=places, use_cache=False, logits_to_keep=keep)
    return [over_the_tree(row, done.logits[i], spelled) for i, row in enumerate(spelled)]


def over_the_tree(row: Sequence[int], logits: torch.Tensor, spelled: Sequence[Sequence[int]]) -> float:
    """One answer's log-probability, normalized at every fork over the tokens with which some answer goes on."""
    total = 0.0
    for depth, token in enumerate(row):
        rivals = sorted({other[depth] for other in spelled if other[:depth] == row[:depth] and len(other) > depth})
        total += float(logits[depth, token] - logits[depth, rivals].logsumexp(0))
    return total


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure_each(
    name: str, run: Callable[[QuestionSheet], object], sheets: Sequence[QuestionSheet]
) -> dict[int, float]:
    """Seconds for every count of objects, from one run per object: the median object times the count."""
    each = []
    for sheet in sheets:
        each.append(cpu_seconds(lambda sheet=sheet: run(sheet)))  # type: ignore[misc]
        print(f"  {name}: object {len(each)}, {each[-1]:.2f} s", flush=True)
    return {count: statistics.median(each) * count for count in COUNTS}


def measure_packed(judge: QwenVLJudge, repeats: int) -> dict[int, float]:
    found = {}
    for count in COUNTS:
        sheet = make_sheet(count)
        found[count] = statistics.median(cpu_seconds(lambda sheet=sheet: judge.score(sheet)) for _ in range(repeats))  # type: ignore[misc]
        print(f"  packed: {count} objects, {found[count]:.2f} s", flush=True)
    return found


def furthest(alone: Sequence[Sequence[float]], packed: Sequence[Mapping[str, float]]) -> float:
    """The largest difference between log-probabilities of separate sequences and packed ones of the same objects."""
    return max(abs(a - p) for x, y in zip(alone, packed, strict=False) for a, p in zip(x, y.values(), strict=True))


def compare(judge: QwenVLJudge, repeats: int) -> tuple[list[Way], float]:
    """All ways on the same photograph, and how far packed scores are from those of separate sequences."""
    sheet = make_sheet(USUAL)
    singles, abc = one_by_one(sheet), judge.alphabet
    alone: list[list[float]] = []
    judge.score(singles[0])  # the first run pays for memory
    prompt = sum(len(prompt_ids(judge, single)[0]) for single in singles)
    longest = max(len(abc.encode(answer)) + 1 for answer in sheet.questions[0].answers)
    once, often = 2116 + 256 * USUAL, (2116 + 256) * USUAL
    trees = sum(len(layout.ids) for single in singles for layout in lay_out(single, abc))
    packed = sum(len(layout.ids) for layout in lay_out(sheet, abc))
    scaled = f"measured for {MEASURED} objects, the median object scaled"
    runs: list[tuple[str, Callable[[QuestionSheet], object], int]] = [
        ("nine sequences", lambda s: alone.append(nine_sequences(judge, s)), 9 * (prompt + USUAL * longest)),
        ("generate 50", lambda s: generate(judge, s, 50), prompt + 49 * USUAL),
        ("generate 4", lambda s: generate(judge, s, 4), prompt + 3 * USUAL),
        ("one tree per object", judge.score, trees),
    ]
    with torch.inference_mode():
        some = singles[:MEASURED]
        ways = [Way(name, measure_each(name, run, some), tokens, often, scaled) for name, run, tokens in runs]
        note = f"every count measured, median of {repeats}"
        ways.append(Way("packed", measure_packed(judge, repeats), packed, once, note))
        return ways, furthest(alone, judge.score(sheet))


def machine() -> dict[str, Any]:
    """What the figures depend on; no host names, no paths."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.exists() else []
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


PAGE = """# Packed scoring: CPU seconds per photograph

Written by `python benchmarks/packed.py{quick}`. Random weights: nothing here speaks of accuracy.

{table}

Required at 5 objects: {required}: **{verdict}**.
Packed log-probabilities differ from those of separate sequences by at most {difference:.1e}.

- CPU seconds (`time.process_time`) over {threads} thread(s), from pictures to scores. Packed: {packed_note}.
  All other ways: {other_note}.
- **nine sequences**: a batch of nine full sequences per object, the pictures encoded once per object.
- **generate 50**: stock `generate`, 50 new tokens per object. **generate 4**: the same for a model that stops right
  after its answer; it gives one answer and no probabilities.
- **one tree per object**: this project's layout, one object at a time. **packed**: all objects in one forward pass.
- A 640 x 640 photograph as 529 image tokens, crops of 64, nine answers per object. A stand-in tokenizer, one token a
  word.
- Model: {language_layers_m:.0f} M in language layers, {embedding_m:.0f} M embedding (tied), {vision_m:.0f} M vision.
  float32; torch's scaled dot-product attention, packed branch by branch.
- Machine: {cpu} ({capability}), {cores} cores, {usable_cores} of them usable here.
  Python {python}, torch {torch}, transformers {transformers}.
"""


def table(ways: dict[str, Any]) -> str:
    """One row per way; the factor is how much cheaper packed is at 5 objects."""
    counts = [str(count) for count in COUNTS]
    packed = ways["packed"]["cpu_seconds"]["5"]
    heads = ["way", *(f"{c} objects" for c in counts), "packed is cheaper at 5", "tokens at 5", "patches at 5"]
    rows = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    for name, way in ways.items():
        seconds = [f"{way['cpu_seconds'][c]:.1f}" for c in counts]
        more = [f"{way['cpu_seconds']['5'] / packed:.1f} x", f"{way['tokens_at_5']:,}", f"{way['patches_at_5']:,}"]
        rows.append(f"| {' | '.join([name, *seconds, *more])} |")
    return "\n".join(rows)


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    return PAGE.format(
        quick=" --quick" if result["quick"] else "",
        table=table(result["ways"]),
        required="; ".join(f"{name} at least {least:.0f} x" for name, least in REQUIRED.items()),
        verdict="not asked of this small model" if result["quick"] else "met" if result["met"] else "NOT met",
        difference=result["largest_difference"],
        packed_note=result["ways"]["packed"]["note"],
        other_note=result["ways"]["generate 50"]["note"],
        **result["model"],
        **result["machine"],
    )


def sizes(model: Any) -> dict[str, float]:
    """Millions of parameters by part."""
    count = lambda part: sum(weight.numel() for weight in part.parameters()) / 1e6  # noqa: E731
    return {
        "language_layers_m": count(model.model.language_model.layers),
        "embedding_m": count(model.get_input_embeddings()),
        "vision_m": count(model.model.visual),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--quick", action="store_true", help="a small model: seconds instead of minutes")
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--repeats", type=int, default=3, help="runs per count of the packed way")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    judge = make_judge(QUICK if given.quick else FULL)
    ways, difference = compare(judge, given.repeats)
    packed = ways[-1].seconds[USUAL]
    result = {
        "quick": given.quick,
        "machine": machine(),
        "model": sizes(judge.model),
        "ways": {
            way.name: {
                "cpu_seconds": {str(count): round(s, 3) for count, s in way.seconds.items()},
                "tokens_at_5": way.tokens,
                "patches_at_5": way.patches,
                "note": way.note,
            }
            for way in ways
        },
        "largest_difference": difference,
        "met": all(way.seconds[USUAL] >= REQUIRED.get(way.name, 0.0) * packed for way in ways),
    }
    write("packed-quick" if given.quick else "packed", page(result), result, given.out)
    print(page(result))


if __name__ == "__main__":
    main()
