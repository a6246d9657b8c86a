"""`evaluate --calibrate`: on answers to photographs that the judge was not trained on; what it makes worse is said.

A baseline keeps what it said in its cross-validation, which is calibrated in place of its answers. Fine-tuned weights
keep nothing of the kind: calibrating them on the photographs that they were trained on is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem
from toeline.core.reading import file_hash
from toeline.core.words import some
from toeline.errors import LabelError
from toeline.evaluate.calibration import calibrated, fit, reliability, review_at, review_curve
from toeline.evaluate.results import Evaluated, Trusted
from toeline.judge.judge import fingerprint
from toeline.judge.lineage import trainings
from toeline.pipelines.boxes import TRUTH
from toeline.pipelines.evaluate_run import Workbench, once
from toeline.pipelines.model_folder import MODEL, language_model_saw, trained_with
from toeline.pipelines.settings import EvaluateRun
from toeline.report.document import tenths

if TYPE_CHECKING:
    from toeline.judge.judge import Judge

OUT_OF_FOLD = "out of fold"
KEEPS_ANSWERS = ("baseline:", "floor:", "ensemble:", "fuse:")
SAID_ECE, GRAVE_ECE = 0.001, 0.01  # a worse calibration is said from the first digit that is printed, and from a
SAID_LOSS, GRAVE_LOSS = 0.001, 0.01  # point, or a hundredth of a nat, it is a problem: below, chance does that


def calibrated_on(bench: Workbench, run: EvaluateRun, out: Path) -> Evaluated:
    """The answers to calibrate with: those of `run.split`, out of fold where the judge was trained on it."""
    judge, known = (None, 0) if run.findings else out_of_fold(bench, run)
    if judge is None or not known:
        return once(bench, run, out)
    own = Workbench(run, bench.splits)
    own.judge = judge
    done = once(own, replace(run, boxes=TRUTH, answered=OUT_OF_FOLD), out)
    what = (
        f"the judge was trained on {known:,} of the {some(len(done.split.photos), 'photograph')} of {done.split.name}, "
        f"so what it said of them in its cross-validation, on true boxes, was calibrated in place of its answers."
    )
    done.folder.note([Problem("", run.judge, what, note=True)])
    return done


def out_of_fold(bench: Workbench, run: EvaluateRun) -> tuple[Judge | None, int]:
    """The judge, saying what it kept of its cross-validation, and how many photographs of the split that is known of.

    None for a judge that keeps nothing; it is not loaded then.
    """
    from toeline.judge.baseline.judge import BaselineJudge
    from toeline.judge.ensemble import EnsembleJudge

    if not run.judge.startswith(KEEPS_ANSWERS):
        return None, 0
    hashes = {p.name: file_hash(p.path) for p in bench.split(run.split).photos}
    known = {name for name, sha256 in hashes.items() for part in parts_of(bench.judge) if kept(part, sha256)}

    def unseen(part: Judge) -> Judge:
        return replace(part, held=hashes) if isinstance(part, BaselineJudge) else part

    if isinstance(bench.judge, EnsembleJudge):
        a, b = bench.judge.parts
        return replace(bench.judge, parts=(unseen(a), unseen(b))), len(known)
    return unseen(bench.judge), len(known)


def parts_of(judge: Judge) -> tuple[Judge, ...]:
    """The two judges of an ensemble, or the judge itself."""
    from toeline.judge.ensemble import EnsembleJudge

    return judge.parts if isinstance(judge, EnsembleJudge) else (judge,)


def kept(judge: Judge, sha256: str) -> bool:
    """Whether a judge was trained on a photograph, and keeps what it said before."""
    from toeline.judge.baseline.judge import BaselineJudge

    return isinstance(judge, BaselineJudge) and sha256 in judge.model.out_of_fold


def require_unseen(bench: Workbench, run: EvaluateRun, split: str) -> None:
    """Raise LabelError when the adapter or the weights were fine-tuned on photographs of the split."""
    for weights, where, record in training_records(run):
        seen = seen_in(bench, record, split)
        if seen:
            raise LabelError(
                f"--calibrate {split}: {weights} was trained on {seen} of that split ({where}), and is surer of them "
                f"than of any others. Name a split that it has not seen, or train it again on less of the data: "
                f"toeline split cuts by flight line."
            )


def training_records(run: EvaluateRun) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What is written of the training of the adapter or the weights of a run: by whom, and where."""
    if trained_on := language_model_saw(run.judge):
        yield run.judge, f"{MODEL} of the package", trained_on
    for weights in filter(None, (run.adapter, *re.split("[:,]", run.judge))):
        yield from ((str(weights), *found) for found in trainings(Path(weights)))
        if trained_on := trained_with(Path(weights)):
            yield str(weights), MODEL, trained_on


def seen_in(bench: Workbench, record: Mapping[str, Any], split: str) -> str:
    """How many photographs of a split a training has seen, in words, or empty for none."""
    from toeline.train.datasets import read_labeled_split

    settings, photos = record.get("settings", {}), bench.split(split).photos
    if (hashes := record.get("photographs_sha256")) is not None:
        seen = sum(file_hash(p.path) in hashes for p in photos)
        return f"{seen:,} of the {some(len(photos), 'photograph')}" if seen else ""
    then = settings.get("data_sha256", {}).get(settings.get("split"))  # earlier records have one hash of all of it
    same = then is not None and read_labeled_split(bench.dataset, split, bench.taxonomy).sha256 == then
    return f"all {some(len(photos), 'photograph')}" if same else ""


def trust_of(done: Evaluated, other: Evaluated | None, risk: float) -> Trusted:
    """Measure the probabilities of `done`; with the cases of another split, fit there and measure again here."""
    before = reliability(done.cases)
    if other is None:
        return Trusted(before, review_curve(done.cases))
    made = fit(other.cases, split=other.split.name, risk=risk)
    cases = calibrated(done.cases, made)
    after = reliability(cases)
    facts = {
        "answers": other.folder.run["settings"].get("answered") or "as given",
        "measured_on": done.split.name,
        "calibration_error": [before.ece, after.ece] if before.n else [],
        "log_loss": [before.log_loss, after.log_loss] if before.n else [],
    }
    owner = whose(other.folder.run.get("models", {}))
    made = replace(made, fitted_for=owner, fitted_on={**made.fitted_on, **facts})
    return Trusted(before, review_curve(cases), after, made, review_at(cases, made.step(risk).below))


def whose(models: Mapping[str, Any]) -> dict[str, Any]:
    """Whose answers they were, as `inspect --calibration` asks; nothing when only findings were there."""
    judge = models.get("judge")
    if not judge:
        return {}
    return {"judge": judge["model"], "fingerprint": fingerprint(judge), "prompt": judge["view"]["prompt"]}


def worse(trust: Trusted, file: Path, split: str) -> list[Problem]:
    """That a calibration makes things worse where it was measured, before anything of it is written."""
    before, after = trust.before, trust.after
    if after is None or not before.n:
        return []
    error, loss = after.ece - before.ece, after.log_loss - before.log_loss
    told = [f"the calibration error from {tenths(before.ece)} to {tenths(after.ece)}"] if error >= SAID_ECE else []
    told += [f"the log loss from {before.log_loss:.3f} to {after.log_loss:.3f}"] if loss >= SAID_LOSS else []
    if not told:
        return []
    fitted = trust.calibration.fitted_on["split"] if trust.calibration else ""
    what = (
        f"the calibration of {fitted} makes probabilities worse on {split}: it raises {' and '.join(told)} (by chance "
        f"alone the error is {tenths(after.ece_by_chance)})."
    )
    todo = f"If {split} is like what you will inspect, leave --calibration out, or calibrate on another split."
    return [Problem("", str(file), what, todo, note=error < GRAVE_ECE and loss < GRAVE_LOSS)]
