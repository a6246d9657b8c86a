"""One fine-tuning from its folder to its report: train, add the adapter if asked, then evaluate before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem, grave
from toeline.core.provenance import most, now_words, peak_memory, start_record
from toeline.core.records import counted, join_lines, problem_record
from toeline.core.run_folder import (
    ERRORS,
    claim,
    claimed,
    read_run,
    require_same,
    require_same_command,
    write_run,
    write_whole,
    writing,
)
from toeline.core.words import some
from toeline.errors import OutputError
from toeline.evaluate.classification import score
from toeline.evaluate.compare import Run, compare
from toeline.evaluate.results import BeforeAfter, FinetuneResult
from toeline.pipelines.evaluate_run import EvaluateRun, Workbench, once
from toeline.pipelines.progress import Summary, escape, goes_on, is_first, tell_problems, training_bars
from toeline.train.config import CHANGE_NOTHING, LoraRun
from toeline.train.finetune import (
    CHECKPOINTS,
    DRAWN,
    TrainedAdapter,
    TrainingData,
    finetune,
    read_training_data,
    release,
)

MERGED, HTML, MARKDOWN = "merged", "report.html", "report.md"


def finetune_into(run: LoraRun, data: Path, out: Path, *, merge: bool, resume: bool) -> FinetuneResult:
    """Train, evaluate before and after, write everything into `out`. Raises ToelineError.

    Of several processes all train; the first alone opens the folder, evaluates and writes.
    """
    training_data = read_training_data(run, data)
    record = _record(run, data, training_data)
    with claimed(out, own=(DRAWN,)) if is_first() else nullcontext(), writing(out):
        if is_first():
            record = open_folder(out, record, resume=resume)
            _tell_problems(out, training_data.problems)
        with goes_on("the same command with --resume"), training_bars(run.epochs) as tell:
            trained = finetune(run, training_data, out, resume=resume, tell=tell)
        if not is_first():
            return FinetuneResult(record, problems=training_data.problems)
        record |= {"trained": dict(trained.facts), "memory": most(record.get("memory", {}), peak_memory())}
        record["photographs_sha256"] = list(training_data.train.photos_sha256)  # asked by evaluate --calibrate
        write_run(out, record)
        release()
        return _finish(run, data, out, record, training_data, trained, merge=merge)


def _record(run: LoraRun, data: Path, training_data: TrainingData) -> dict[str, Any]:
    """run.json as it begins; equal settings and data are the same run."""
    hashes = {a.name: a.sha256 for a in (training_data.train, training_data.valid) if a}
    return start_record(
        "finetune",
        {**run.record(), "data": str(data), "data_sha256": hashes},
        training_data.taxonomy,
        title="Fine-tuning",
    )


def open_folder(
    out: Path, record: dict[str, Any], *, resume: bool, free: Collection[str] = CHANGE_NOTHING
) -> dict[str, Any]:
    """Begin a run in an empty folder, or go on with the one that is there. Returns its record. Raises OutputError.

    `free` are settings with which a run may go on whatever they are: they change nothing in the result.
    """
    if claim(out, own=(DRAWN,)):
        before = read_run(out)
        require_same_command(out, before, record)
        begun = bool(before.get("trained")) or any((out / CHECKPOINTS).glob("checkpoint-*"))
        if begun:
            require_same(out, *(_lasting(r.get("settings", {}), free) for r in (before, record)))
        if begun and not resume:
            raise OutputError(f"{out}: holds a run already. Go on with it by --resume, or choose a new --out.")
        record = before if begun else record
    write_run(out, record)
    return record


def _lasting(settings: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Settings without those that change nothing in the result."""
    return {name: value for name, value in settings.items() if name not in free}


def _tell_problems(out: Path, problems: tuple[Problem, ...]) -> None:
    write_whole(out / ERRORS, join_lines(map(problem_record, problems)))
    tell_problems(problems)


def _finish(
    run: LoraRun,
    data: Path,
    out: Path,
    record: dict[str, Any],
    training_data: TrainingData,
    trained: TrainedAdapter,
    *,
    merge: bool,
) -> FinetuneResult:
    from toeline.report.document import render_html, render_markdown
    from toeline.report.training_page import page_of
    from toeline.train.callbacks import best_epoch

    written = {"model" if run.all_weights else "adapter": str(trained.folder)}
    if merge and not run.all_weights:
        from toeline.train.adapter import merge as add

        written["merged"] = str(add(run, trained.folder, out / MERGED))
    before_after = before_and_after(run, data, out, trained.folder) if training_data.valid else None
    record |= {"memory": most(record["memory"], peak_memory()), "finished": now_words()}
    if before_after:
        record["worth"] = before_after.record()
    problems = tuple(dict.fromkeys([*training_data.problems, *(before_after.problems if before_after else ())]))
    record |= counted(problems)
    write_run(out, record)
    outcome = FinetuneResult(record, tuple(trained.log.validations()), before_after, problems, written)
    page = page_of(outcome, trained.log.steps(), kept=best_epoch(outcome.validations))
    write_whole(out / HTML, render_html(page))
    write_whole(out / MARKDOWN, render_markdown(page))
    written |= {"report": str(out / HTML), "log": str(trained.log.path)}
    return outcome


def summary(outcome: FinetuneResult) -> Summary:
    """What it came to, and where it is."""
    trained, before_after = outcome.record["trained"], outcome.before_after
    lines = [
        f"Trained {trained['trained_parameters']:,} of {trained['parameters']:,} numbers on "
        f"{some(trained['data']['train']['photographs'], 'photograph')}."
    ]
    lines += [f"[bold]{escape(before_after.words)}[/]"] if before_after else []
    record = {
        "written": dict(outcome.written),
        "validations": list(outcome.validations),
        "worth": before_after.record() if before_after else None,
        "problems": len(grave(outcome.problems)),
        "memory": outcome.record["memory"],
    }
    return Summary(lines, outcome.written, record, outcome.problems)


BEFORE, AFTER = "before", "after"


def before_and_after(run: LoraRun, data: Path, out: Path, folder: Path) -> BeforeAfter:
    """Evaluate the judge as it was and as it is now on `run.valid`, into out/before and out/after. Raises ToelineError.

    Both are loaded as `toeline evaluate` loads them, the trained one from what was saved. With --qlora both keep their
    4-bit weights, because the others may not fit.
    """
    plain = EvaluateRun(
        data=str(data),
        split=run.valid,
        judge=run.judge,
        taxonomy=_typed(run.taxonomy),
        classes=_typed(run.classes),
        device=run.device,
    )
    trained = EvaluateRun(**{**vars(plain), "judge" if run.all_weights else "adapter": str(folder)})
    first, problems = _evaluated(run, plain, out / BEFORE)
    second, more = _evaluated(run, trained, out / AFTER)
    taxonomy = Workbench(plain).taxonomy
    return BeforeAfter(
        score(first, taxonomy),
        score(second, taxonomy),
        compare(Run(BEFORE, first), Run(AFTER, second), taxonomy),
        tuple(dict.fromkeys([*problems, *more])),
    )


def _typed(path: Path | None) -> str | None:
    return str(path) if path else None


def _evaluated(run: LoraRun, how: EvaluateRun, out: Path) -> tuple[Any, list[Problem]]:
    bench = Workbench(how)
    if run.qlora:
        bench.judge = _in_4_bits(run, how)
    done = once(bench, how, out)
    del bench
    release()
    return done.cases, done.folder.problems()


def _in_4_bits(run: LoraRun, how: EvaluateRun) -> Any:
    """The judge with 4-bit weights, with the adapter or without."""
    from dataclasses import replace

    from toeline.judge.adapter import add_adapter
    from toeline.train.adapter import load_judge

    judge = load_judge(run)
    if how.adapter is None:
        return judge
    return replace(judge, model=add_adapter(judge.model, Path(how.adapter)).eval(), adapter=Path(how.adapter))
