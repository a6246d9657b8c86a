"""`toeline baseline` and `toeline ensemble`: judges that need no GPU, trained and fitted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toeline.core.finding import grave, kinds_of
from toeline.core.records import counted
from toeline.core.run_folder import replacing
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.pipelines.progress import bar, errors, out, show_places, tell_kinds

if TYPE_CHECKING:
    from toeline.core.finding import Problem
    from toeline.evaluate.metric import Metric
    from toeline.judge.ensemble import EnsembleJudge, Scores
    from toeline.train.config import BaselineRun, EnsembleRun
    from toeline.train.ensemble import AnsweredCase


SHOWN = ("condition_given_type", "accuracy", "balanced_accuracy", "normal_or_not")
ENSEMBLE = "fused, fitted on other flight lines"


class Said(NamedTuple):
    """One object, its true class, and the answer."""

    photo: str
    flight_line: str
    instance_id: str
    right: str
    answer: str


def compared(joined: EnsembleJudge, asked: Sequence[AnsweredCase], taxonomy: Taxonomy) -> dict[str, list[Metric]]:
    """Metrics of both judges, and of their fusion with weights fitted on other flight lines, on the same objects."""
    from toeline.train.ensemble import ensemble_out_of_fold

    by_judge: dict[str, Sequence[Scores]] = {
        joined.names[0]: [x.a for x in asked],
        joined.names[1]: [x.b for x in asked],
    }
    if (unseen := ensemble_out_of_fold(asked)) is not None:
        by_judge[ENSEMBLE] = unseen
    return {
        name: measured(
            (
                Said(x.photo, x.flight_line, x.instance_id, x.right, _best(s))
                for x, s in zip(asked, scores, strict=True)
            ),
            taxonomy,
        )
        for name, scores in by_judge.items()
    }


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def measured(said: Iterable[Said], taxonomy: Taxonomy) -> list[Metric]:
    """The figures SHOWN, clustered by flight line: photographs of one flight share light, season and site."""
    from toeline.evaluate.classification import score
    from toeline.evaluate.matching import Case

    cases = [
        Case.without_box((s.photo, s.flight_line, s.instance_id), s.right, {s.answer: 1.0}, taxonomy) for s in said
    ]
    card = score(cases, taxonomy, targets={}, cluster="group")
    return [card[key] for key in SHOWN]


class Trained(NamedTuple):
    """A baseline that was written to `file`."""

    file: Path
    split: str
    cut_by: str
    objects: int
    groups: int
    figures: list[Metric]
    facts: Mapping[str, Any]
    problems: tuple[Problem, ...]

    @property
    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"out": str(self.file), **self.facts, **counted(self.problems), "problems": len(grave(self.problems))}


def baseline_into(run: BaselineRun, file: Path, *, drawn: Path | None = None) -> Trained:
    """Train a baseline, measure it by cross-validation, and write both to `file`. Raises ToelineError.

    Drawn scenes that are mixed in are kept in the folder `drawn`, where one is given.
    """
    from toeline.judge.baseline.model import is_baseline

    with replacing(file, is_baseline, "file of `toeline baseline`"):
        return _baseline_into(run, file, Taxonomy.load(run.taxonomy), drawn)


def _baseline_into(run: BaselineRun, file: Path, words: Taxonomy, drawn: Path | None) -> Trained:
    from toeline.data.yolo import open_yolo
    from toeline.evaluate.metric import metric_record
    from toeline.judge.baseline.model import save_baseline
    from toeline.train.baseline import train_baseline

    photographs = len(open_yolo(run.data, words, classes=run.classes).split(run.split)[1])
    with bar("Measuring", total=photographs) as step:
        trained = train_baseline(run, words, step=step, drawn=drawn)
    table = trained.table
    rows = zip(table.photos, table.groups, table.instances, table.classes, trained.said, strict=True)
    figures = measured((Said(*map(str, row)) for row in rows), words)
    scored = {"cut_by": trained.cut_by, "folds": trained.folds, "log_loss": trained.log_loss}
    facts = {**trained.model.facts, "cross_validated": {**scored, "figures": [metric_record(f) for f in figures]}}
    save_baseline(replace(trained.model, facts=facts), file)
    counts = (len(trained.said), len(set(table.groups)))
    return Trained(file, run.split, trained.cut_by, *counts, figures, facts, trained.problems)


def tell_baseline(trained: Trained) -> None:
    """The cross-validated figures, and how the file is used."""
    from toeline.pipelines.evaluate import metric_table

    of = f"{some(trained.objects, 'object')} of {some(trained.groups, trained.cut_by)}"
    title = f"[bold]Cross-validated by {trained.cut_by} on {trained.split}[/]: {of}"
    out.print(f"\n{title}", metric_table(trained.figures))
    use = f"toeline inspect PHOTOS --judge baseline:{trained.file} --out runs/baseline"
    show_places({"written": str(trained.file), "next": use})
    tell_kinds(kinds_of(trained.problems), "--json for all of them")


class Fitted(NamedTuple):
    """An ensemble that was written to `file`; `kept` counts each judge's scores that were kept out of fold."""

    file: Path
    split: str
    joined: EnsembleJudge
    kept: tuple[int, int]
    figures: Mapping[str, list[Metric]]
    facts: Mapping[str, Any]
    problems: tuple[Problem, ...]

    @property
    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"out": str(self.file), **asdict(self.joined.mix), **self.facts}


def ensemble_into(run: EnsembleRun, file: Path) -> Fitted:
    """Ask both judges about a split, fit weight and temperatures, and write them to `file`. Raises ToelineError."""
    from toeline.judge.ensemble import is_ensemble

    with replacing(file, is_ensemble, "file of `toeline ensemble`"):
        return _ensemble_into(run, file, Taxonomy.load(run.taxonomy))


def _ensemble_into(run: EnsembleRun, file: Path, words: Taxonomy) -> Fitted:
    from toeline.data.yolo import open_yolo
    from toeline.evaluate.metric import metric_record
    from toeline.judge.ensemble import EnsembleJudge, save_ensemble
    from toeline.judge.load import load_judge
    from toeline.train.ensemble import ask_both, fit_on

    joined = load_judge(f"ensemble:{','.join(run.judges)}", device=run.device, adapter=run.adapter)
    assert isinstance(joined, EnsembleJudge)
    photographs = len(open_yolo(run.data, words, classes=run.classes).splits.get(run.split, ()))
    with bar("Asking both", total=photographs) as step:
        answers = ask_both(run.data, run.split, joined, words, classes=run.classes, step=step)
    joined = replace(joined, mix=fit_on(answers.asked))
    figures = compared(joined, answers.asked, words)
    facts = {
        "split": run.split,
        "objects": len(answers.asked),
        "out_of_fold": answers.kept,
        "figures": {name: [metric_record(f) for f in rows] for name, rows in figures.items()},
    }
    save_ensemble(file, joined, facts)
    return Fitted(file, run.split, joined, answers.kept, figures, facts, answers.problems)


def tell_ensemble(fitted: Fitted) -> None:
    """The figures, weight and temperatures, whose scores were kept out of fold, and where it is."""
    from toeline.pipelines.evaluate import metric_table

    for name, rows in fitted.figures.items():
        out.print(f"\n[bold]{name}[/] on {fitted.split}", metric_table(rows))
    mix = fitted.joined.mix
    weights = (1 - mix.weight, mix.weight)
    for name, weight, t, n in zip(fitted.joined.names, weights, mix.temperatures, fitted.kept, strict=True):
        how = f", {some(n, 'score')} kept from its cross-validation" if n else ""
        out.print(f"{name}: weight {weight:.2f}, temperature {t:.2f}{how}")
    if not all(fitted.kept):
        errors.print("[dim]A judge that was trained on these photographs gets too much weight; Toeline cannot know.[/]")
    use = f"toeline inspect PHOTOS --judge ensemble:{fitted.file} --out runs/ensemble"
    show_places({"written": str(fitted.file), "next": use})
    tell_kinds(kinds_of(fitted.problems), "--json for all of them")
