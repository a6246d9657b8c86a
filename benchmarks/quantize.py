"""A judge in half precision, trimmed, in 8 and in 4 bits, on drawn scenes and on real photographs: the gate's answers.

    pip install -e '.[quantize,adapter]'
    python benchmarks/quantize.py JUDGE --work DIR [--adapter DIR] [--real ../shared/data/lagoon-dyke] [--limit N]

What a user would type, in this order: `toeline merge` (with --adapter), `trim` (where the vocabulary is larger than
what trimming keeps), `quantize --to int8` and `--to int4`, and `gate` of all of them against the whole judge on each
data set's valid split. Everything is kept in folders under --work: steps that are finished and photographs that a judge
has answered are not done again. --limit takes that many photographs of each data set, to try it. Writes
results/quantize.json and .md.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packed import machine
from results import RESULTS, write

from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.yolo import open_yolo
from toeline.evaluate.gate import GateRules
from toeline.evaluate.results import GateResult, Variant
from toeline.judge.checkpoint import find_folder, load_tokenizer
from toeline.judge.lineage import steps_of
from toeline.judge.load import source_of
from toeline.judge.quantize import require_library
from toeline.pipelines import quantize
from toeline.pipelines.gate import gate_into
from toeline.pipelines.settings import GateOptions, GateRun, MergeRun, QuantizeRun, TrimRun
from toeline.pipelines.trim import merge_into, trim_into
from toeline.report.quantization_page import side_by_side
from toeline.synth.dataset import write_dataset

SEED = 20_261_128  # of this benchmark alone: no training run, demo or test draws from it
SPLIT = "valid"
WHOLE = "half precision"
REAL = Path("../shared/data/lagoon-dyke")


def main() -> int:
    given = arguments()
    judges = smaller(given)
    results = {name: gate_of(judges, data, name, given) for name, data in data_sets(given).items()}
    figures = {"sets": {name: figures_of(result) for name, result in results.items()}, "machine": facts()}
    figures["judge"] = {"steps": [step["step"] for step in steps_of(folder_of(judges[WHOLE]))], "limit": given.limit}
    text = "\n".join(page(results, figures))
    write("quantize", text, figures, given.out, all_of={name: r.summary() for name, r in results.items()})
    print(text)
    return 0


def arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("judge", help="embedded, or a directory or hub id, in half precision or whole")
    options.add_argument("--adapter", type=Path, help="added to its weights first")
    options.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    options.add_argument("--real", type=Path, default=REAL, help="a data set whose valid split is asked about")
    options.add_argument("--scenes", type=int, default=100, help="drawn scenes")
    options.add_argument("--limit", type=int, help="photographs of each data set, to try it")
    options.add_argument("--device", default="auto")
    options.add_argument("--out", type=Path, default=RESULTS)
    given = options.parse_args()
    given.real = given.real if (given.real / "data.yaml").is_file() else None
    return given


def folder_of(judge: str) -> Path:
    return find_folder(source_of(judge, "measured"))


def smaller(given: argparse.Namespace) -> dict[str, str]:
    """The judges by what they are called on the page, the whole one first; each is made unless it is there."""
    judge: str = given.judge
    if given.adapter:
        print("Adding the adapter", flush=True)
        merge_into(MergeRun(judge=judge, adapter=given.adapter, device=given.device), given.work / "merged")
        judge = str(given.work / "merged")
    made = {WHOLE: judge}
    if len(load_tokenizer(folder_of(judge))) > (run := TrimRun(judge=judge, device=given.device)).rows:
        print("Trimming the vocabulary", flush=True)
        trim_into(run, given.work / "trimmed")
        judge = made["trimmed"] = str(given.work / "trimmed")
    for to in ("int8", "int4"):
        print(f"Converting to {to}", flush=True)
        require_library(to)  # type: ignore[arg-type]
        how = GateOptions(data=given.work, device=given.device)  # without --smooth nothing is read of data
        run_to = QuantizeRun(judge=judge, to=to)  # type: ignore[arg-type]
        made[to] = str(quantize.candidate(run_to, how, given.work / to))
    return made


def data_sets(given: argparse.Namespace) -> dict[str, Path]:
    """Drawn scenes, and the real data set where it is, or the first photographs of both."""
    scenes = min(given.scenes, given.limit or given.scenes)
    drawn = given.work / f"drawn-{scenes}"
    if not (drawn / "data.yaml").is_file():
        print(f"Drawing {some(scenes, 'scene')}", flush=True)
        write_dataset(drawn, scenes=scenes, seed=SEED, parts={SPLIT: 1.0}, masks=False)
    found = {f"{some(scenes, 'drawn scene')}": drawn}
    if given.real:
        some_of = given.real if given.limit is None else first_of(given.real, given.limit, given.work)
        found["real photographs"] = some_of
    return found


def first_of(data: Path, limit: int, work: Path) -> Path:
    """A copy of the first photographs of a data set's split, with their labels."""
    whole, out = open_yolo(data, Taxonomy.load()), work / f"real-{limit}"
    for entry in whole.splits[SPLIT][:limit]:
        for file, kind in ((entry.photo, "images"), (entry.labels, "labels")):
            if file is not None:
                (out / SPLIT / kind).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, out / SPLIT / kind / file.name)
    (out / "data.yaml").write_text(f"val: {SPLIT}/images\nnames: {dict(whole.names)!r}\n", encoding="utf-8")
    return out


def gate_of(judges: Mapping[str, str], data: Path, name: str, given: argparse.Namespace) -> GateResult:
    """All of them against the first on one data set."""
    print(f"Asking {some(len(judges), 'judge')} about {name}", flush=True)
    whole, *others = judges.values()
    run, how = GateRun(judges=tuple(others), against=whole), GateOptions(data=data, split=SPLIT, device=given.device)
    return gate_into(run, how, given.work / f"gate-{data.name}", names=tuple(judges))


def figures_of(result: GateResult) -> dict[str, Any]:
    """What the JSON holds of each judge."""
    return {variant.name: variant_of(variant) for variant in result.variants}


def variant_of(variant: Variant) -> dict[str, Any]:
    told = variant.record()
    gate = told.pop("gate")
    kept = ("bytes", "memory", "seconds_per_photograph", "device", "dtype", "accuracy", "class")
    found: dict[str, Any] = {name: told[name] for name in kept}
    if gate:
        found |= {name: gate[name] for name in ("answer", "kept", "changed")}
        found["log_probabilities"] = {k: gate["log_probabilities"][k] for k in ("n", "largest", "mean")}
        found["rules"] = {rule["rule"]: [rule["answer"], rule["needed"]] for rule in gate["answers"]}
    return found


def facts() -> dict[str, Any]:
    names = ("torchao", "bitsandbytes", "peft")
    return {**machine(), **{name: version(name) for name in names if find_spec(name)}}


def page(results: Mapping[str, GateResult], figures: Mapping[str, Any]) -> Iterator[str]:
    """The table of each gate's report, with its sentences; rules and machine below."""
    steps, limit = figures["judge"]["steps"], figures["judge"]["limit"]
    yield "# Smaller weights\n"
    yield "Written by `python benchmarks/quantize.py`. One judge in several forms, each asked the same about the same"
    yield f"objects (true boxes). It was made by: {', '.join(steps) or 'training alone'}."
    if limit:
        yield f"\n**A trial: {some(limit, 'photograph')} of each data set prove nothing.**"
    for name, result in results.items():
        photos = next(v.gate.comparison.photographs for v in result.variants if v.gate)
        yield f"\n## {name} ({some(photos, 'photograph')}, {SPLIT})\n"
        for grid in side_by_side(result):
            yield f"| {' | '.join(grid.head)} |\n|{'---|' * grid.words}{'--:|' * (len(grid.head) - grid.words)}"
            yield from (f"| {' | '.join(row)} |" for row in grid.rows)
            yield ""
        yield from (f"- {v.gate.sentence}" for v in result.variants if v.gate)
    rules = GateRules.load()
    yield f"\nRules: {', '.join(f'{k} {v:g}' for k, v in vars(rules).items() if v is not None)}"
    yield "([docs/quantize.md](../../docs/quantize.md#the-gate)). Probabilities are as they are, without a calibration."
    yield f"Machine: {', '.join(f'{k} {v}' for k, v in figures['machine'].items())}."


if __name__ == "__main__":
    raise SystemExit(main())
