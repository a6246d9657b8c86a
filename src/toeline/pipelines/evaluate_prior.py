"""`evaluate --prior`: refused in time where there cannot be one, and every figure with and without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from toeline.core.run_folder import write_whole
from toeline.errors import ModelError
from toeline.evaluate.classification import Cluster, Scorecard
from toeline.evaluate.compare import Run, compare
from toeline.evaluate.results import Evaluated, PriorResult
from toeline.judge.prior import CONTENT_FREE, NOT_ASKED, OFF, SPLIT, is_split, load_prior
from toeline.pipelines.evaluate_run import TRAIN, UNCORRECTED, Workbench, once, prior_split, uncorrected_in
from toeline.pipelines.settings import EvaluateRun

PRIOR_FILE = "prior.json"
WORDLESS = {"baseline", "ensemble", "replay", "floor", "fuse", ""}


def reads_words(judge: str) -> bool:
    """Whether a judge of that name is asked in words, so that relations, questions and a prior can be put to it."""
    return judge.partition(":")[0] not in WORDLESS


def require_prior(bench: Workbench, run: EvaluateRun) -> None:
    """Raise ToelineError, before anything is asked, for a prior that there cannot be."""
    if run.prior == OFF:
        return
    if not reads_words(run.judge) or run.decide != "score":
        raise ModelError(NOT_ASKED)
    if is_split(run.prior):
        prior_split(bench, run.prior)
    elif run.prior != CONTENT_FREE:
        load_prior(Path(run.prior))
        if run.prompt == "all":
            raise ModelError(f"{run.prior}: is the prior of one prompt. With --prompt all give content-free or split.")


def prior_passes(run: EvaluateRun, prompts: Iterable[str]) -> list[str]:
    """What a prior needs the photographs for, one line a pass."""
    if run.prior == OFF:
        return []
    of = [f", prompt {prompt}" for prompt in prompts] or [""]
    over = run.prior.partition(":")[2] or TRAIN
    mean = [f"{over}: the mean that is the prior (--prior){prompt}" for prompt in of] if is_split(run.prior) else []
    return mean + [f"{run.split}: the answers without the prior, not asked again (--prior){prompt}" for prompt in of]


def prior_results(
    bench: Workbench,
    run: EvaluateRun,
    done: Sequence[Evaluated],
    score: Callable[[Evaluated], Scorecard],
    cluster: Cluster,
) -> tuple[PriorResult, ...]:
    """Every prompt that was asked, with and without the prior; prior.json is written, of the first.

    `done` are the corrected answers, those of `run` first.
    """
    if run.prior == OFF:
        return ()
    typed = [run, *(replace(run, prompt=one.folder.run["settings"]["prompt"]) for one in done[1:])]
    rows = tuple(_beside(bench, own, one, score, cluster) for own, one in zip(typed, done, strict=True))
    record = {name: value for name, value in rows[0].prior.items() if name != "mark"}
    write_whole(done[0].folder.path / PRIOR_FILE, json.dumps(record, indent=2) + "\n")
    return rows


def _beside(
    bench: Workbench, run: EvaluateRun, done: Evaluated, score: Callable[[Evaluated], Scorecard], cluster: Cluster
) -> PriorResult:
    """The answers of a run beside the same ones without its prior."""
    plain, judge = replace(run, prior=OFF), done.folder.run["models"]["judge"]
    without = once(bench, plain, uncorrected_in(bench, plain))
    asked = {f.type_name for f in done.folder.findings() if f.verdict.asked}
    both = Run(UNCORRECTED, without.cases), Run("corrected", done.cases)
    return PriorResult(
        prompt=judge["view"]["prompt"],
        prior=judge["prior"],
        without=score(without),
        card=score(done),
        against=compare(*both, bench.taxonomy, cluster=cluster),
        measured=judge["prior"]["source"] == f"{SPLIT} {done.split.name}",
        lacking=tuple(sorted(asked - judge["prior"]["log_probabilities"].keys())),
    )
