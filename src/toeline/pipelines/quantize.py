"""`toeline quantize`: a judge in 8 or 4 bits, held against the one it was made of before it may be called a model.

The new judge is written whole into `candidate` and becomes `model` when the gate lets it pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from toeline.core.provenance import settings_of, start_record, versions
from toeline.core.reading import read_json
from toeline.core.run_folder import begun_with, claimed, staged, write_run, write_whole, writing
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.errors import ModelError, SetupError
from toeline.evaluate.gate import GateRules
from toeline.evaluate.results import GateResult
from toeline.judge.load import require_judge
from toeline.pipelines.evaluate_run import Workbench
from toeline.pipelines.gate import asked_settings, hold, require_untrained
from toeline.pipelines.gate import summary as gate_summary
from toeline.pipelines.model_folder import JUDGE, MODEL
from toeline.pipelines.progress import Summary, bar, saying
from toeline.pipelines.settings import EvaluateRun, GateOptions, GateRun, QuantizeRun
from toeline.pipelines.trim import CONFIG
from toeline.report.quantization_page import size_words
from toeline.weights import disk_errors

if TYPE_CHECKING:
    from toeline.judge.judge import Judge

CANDIDATE, READY, MARK = "candidate", "model", "PROMOTED"
TRAIN = "train"  # the split whose photographs say how large activations are


@dataclass(frozen=True)
class QuantizeResult:
    """What was converted and left, as quantization.json holds it, where the judge is, and what the gate says."""

    made: Mapping[str, Any]
    folder: Path
    gate: GateResult


def quantize_into(run: QuantizeRun, how: GateOptions, out: Path) -> QuantizeResult:
    """Convert, measure, and promote or not; the same again continues where it stopped. Raises ToelineError."""
    from toeline.judge.quantize import RECORD, require_library

    require_usable(run)
    require_library(run.to)
    require_measurable(run, how)
    rules, words = GateRules.load(how.rules), Taxonomy.load(how.taxonomy)
    with claimed(out) as begun, writing(out):
        record = start_record("quantize", settings_of(run) | asked_settings(how), words, title="Quantizing")
        record = begun_with(out, record) if begun else record
        write_run(out, record)
        folder = candidate(run, how, out)
        made = read_json(folder / RECORD, ModelError, advice="Delete that folder, and run the command again.")
        asked = GateRun(judges=(str(folder),), against=run.judge, adapter=run.adapter)
        gate = hold(asked, how, rules, out, record, names=(run.judge, run.to))
        return QuantizeResult(made, promote(gate, folder, out), gate)


def require_usable(run: QuantizeRun) -> None:
    """Raises SetupError and ModelError for settings that contradict each other, and for judges that have no layers."""
    if run.smooth and run.to != "int8":
        raise SetupError("--smooth helps int8, whose activations are quantized too. Leave it out with --to int4.")
    if (Path(run.judge) / MODEL).is_file():
        raise ModelError(f"{run.judge} is a whole model folder. Name the judge in it: {Path(run.judge) / JUDGE}.")
    if run.judge.partition(":")[0] in ("baseline", "ensemble", "replay", "floor", "fuse", "openai"):
        raise ModelError(f"{run.judge} is no language model in a folder, so there is nothing to quantize. Name one.")
    require_judge(run.judge)


def require_measurable(run: QuantizeRun, how: GateOptions) -> None:
    """Raises LabelError for photographs that are not there, or that the judge was trained on: before hours of work."""
    asked = EvaluateRun(
        data=how.data, split=how.split, judge=run.judge, adapter=run.adapter, taxonomy=how.taxonomy, classes=how.classes
    )
    bench = Workbench(asked)
    bench.split(how.split)
    require_untrained(bench, [asked], how.split)
    if run.smooth:
        bench.split(TRAIN)


def candidate(run: QuantizeRun, how: GateOptions, out: Path) -> Path:
    """The converted judge, made unless it is there; one that was promoted before is measured in its place again."""
    folder = out / CANDIDATE
    if (out / READY).is_dir():
        (out / READY / MARK).unlink(missing_ok=True)
        (out / READY).rename(folder)
    if not (folder / CONFIG).is_file():
        with disk_errors(folder), staged(folder, last=CONFIG) as place:
            convert_into(run, how, place)
    return folder


def convert_into(run: QuantizeRun, how: GateOptions, place: Path) -> None:
    """Load, smooth, convert and write a judge."""
    from toeline.judge import lineage
    from toeline.judge import quantize as q
    from toeline.judge.checkpoint import find_folder
    from toeline.judge.judge import fingerprint
    from toeline.judge.load import source_of
    from toeline.train.finetune import release

    where = source_of(run.judge, "quantized")
    source = find_folder(where)
    with saying("Loading the judge"):
        judge = q.load_for_quantizing(where, to=run.to, device=how.device, adapter=run.adapter)
    smoothed = q.smooth(judge, partial(scored, run.smooth, how, judge)) if run.smooth else 0
    with saying(f"Converting to {run.to}"):
        judge.model.to(q.stored_dtype(source))
        counted = q.convert(judge.model, run.to)
        record = {
            "version": 1,
            "to": run.to,
            "by": q.LIBRARIES[run.to],
            "made_of": fingerprint(judge.info),
            "smoothed_norms": smoothed,
            "converted": [c._asdict() for c in counted if not c.why],
            "left": [c._asdict() for c in counted if c.why],
            "versions": versions(),
        }
        q.save(judge, source, place, record)
        step = {"step": lineage.QUANTIZE, "to": run.to}
        lineage.add_steps(source, place, *([lineage.merged(run.adapter)] if run.adapter else []), step)
    del judge
    release()


def scored(photographs: int, how: GateOptions, judge: Judge) -> Iterator[None]:
    """The judge asked about photographs of train, on true boxes, as inspection asks; one step for each."""
    from toeline.prompts.build import ask
    from toeline.prompts.relations import around

    bench = Workbench(EvaluateRun(data=how.data, split=TRAIN, taxonomy=how.taxonomy, classes=how.classes))
    scenes = bench.split(TRAIN).scenes
    chosen = list(islice(scenes, 0, None, max(1, len(scenes) // photographs)))[:photographs]
    with bar(f"Looking at photographs of {TRAIN}", total=len(chosen)) as step:
        for labeled in chosen:
            scene = labeled.scene
            relations = {instance.id: around(scene, instance.id) for instance in scene.instances}
            judge.score(ask(scene, read_photo(labeled.path), relations, bench.taxonomy, judge.view))
            step(())
            yield


def promote(gate: GateResult, folder: Path, out: Path) -> Path:
    """Where the judge lies after the gate: `model`, with a note of what it was promoted for, if it passes."""
    old, new = gate.variants
    if not (new.gate and new.gate.passes):
        return folder
    note = {
        "answer": new.gate.answer,
        "sentence": new.gate.sentence,
        "weights": dict(new.weights),
        "against": dict(old.weights),
    }
    write_whole(folder / MARK, json.dumps(note, indent=2, ensure_ascii=False) + "\n")
    folder.rename(out / READY)
    return out / READY


def summary(result: QuantizeResult) -> Summary:
    """What was converted, what the gate says, and where all of it is."""
    told = gate_summary(result.gate)
    old, new = result.gate.variants
    table = Table("modules", "in", "of", "parameters", "", box=SIMPLE_HEAD, pad_edge=False)
    for row in (*result.made["converted"], *result.made["left"]):
        what = f"left: {row['why']}" if row["why"] else f"converted to {result.made['to']}"
        table.add_row(str(row["modules"]), row["inside"], row["kind"], f"{row['parameters']:,}", what)
    sizes = f"Weights on the disk: {size_words(old.bytes)} before, {size_words(new.bytes)} now."
    record = {**result.made, "folder": str(result.folder), "gate": dict(told.record)}
    return replace(
        told, lines=[table, sizes, *told.lines], record=record, places={"judge": str(result.folder), **told.places}
    )
