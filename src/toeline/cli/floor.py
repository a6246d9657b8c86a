"""`toeline floor` and `toeline fuse`: judges that need no GPU, trained and fitted here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from toeline.cli.show import bar, errors, out, show_places, some
from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from toeline.data.yolo import Problem
    from toeline.evaluate.cases import Judged
    from toeline.evaluate.figure import Figure
    from toeline.judge.fuse import FuseJudge, Scores
    from toeline.train.fuse import Asked

SHOWN = ("condition_given_type", "accuracy", "balanced_accuracy", "normal_or_not")
FUSED = "fused, fitted on other flight lines"
NOWHERE = Box(0, 0, 0, 0)  # these figures ask for no place


class Said(NamedTuple):
    """One object, its true class, and the answer."""

    photo: str
    group: str
    thing_id: str
    right: str
    answer: str


Data = Annotated[Path, typer.Argument(metavar="DATA", help="YOLO data set: its folder, or its data.yaml.")]
Words = Annotated[Path | None, typer.Option("--taxonomy", help="Types, conditions and classes of another owner.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")]


def floor(
    data: Data,
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the trained floor is written.")],
    split: Annotated[str, typer.Option(help="The only split that is looked at.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Same data and seed, same file.")] = 0,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation, cut by flight line.")] = 5,
    taxonomy: Words = None,
    as_json: AsJson = False,
) -> None:
    """Train the floor: a judge without a language model, whose accuracy a language model has to beat.

    Example: toeline floor data/lagoon-dyke --out runs/floor.safetensors; then --judge floor:runs/floor.safetensors
    """
    from toeline.cli.evaluate_score import figure_table
    from toeline.data.yolo import open_yolo
    from toeline.evaluate.figure import figure_record
    from toeline.judge.floor.file import save_floor
    from toeline.train.floor import FloorRun, entries_of, train_floor

    words, run = Taxonomy.load(taxonomy), FloorRun(data=data, split=split, seed=seed, folds=folds)
    with bar("Measuring", total=len(entries_of(open_yolo(data, words), run))) as step:
        trained = train_floor(run, words, step=lambda faults: step([_told(f) for f in faults]))
    table = trained.table
    rows = zip(table.photos, table.groups, table.things, table.classes, trained.said, strict=True)
    figures = measured((Said(*map(str, row)) for row in rows), words)
    scored = {"cut_by": trained.cut_by, "folds": trained.folds, "log_loss": trained.log_loss}
    facts = {**trained.model.facts, "cross_validated": {**scored, "figures": [figure_record(f) for f in figures]}}
    save_floor(replace(trained.model, facts=facts), file)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **facts, "problems": len(trained.problems)}, indent=2))
    else:
        of = f"{some(len(trained.said), 'object')} of {some(len(set(table.groups)), trained.cut_by)}"
        out.print(f"\n[bold]Cross-validated by {trained.cut_by} on {split}[/]: {of}", figure_table(figures))
        show_places({"written": str(file), "next": f"toeline inspect PHOTOS --judge floor:{file} --out runs/floor"})
    raise typer.Exit(1 if trained.problems else 0)


def fuse(
    data: Data,
    judge: Annotated[list[str], typer.Option(help="A judge, twice: --judge embedded --judge floor:FILE.")],
    file: Annotated[
        Path, typer.Option("--out", metavar="FILE.json", help="Where weight and temperatures are written.")
    ],
    split: Annotated[
        str, typer.Option(help="Photographs to fit on; no judge may have been trained on them.")
    ] = "valid",
    adapter: Annotated[Path | None, typer.Option(help="Peft adapter of the judge that is a language model.")] = None,
    taxonomy: Words = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit how two judges are joined: a temperature for each and a weight, on a split that neither was trained on.

    Example: toeline fuse data/lagoon-dyke --judge embedded --judge floor:runs/floor.safetensors --out runs/fuse.json
    """
    from toeline.cli.evaluate_score import figure_table
    from toeline.data.yolo import open_yolo
    from toeline.evaluate.figure import figure_record
    from toeline.judge.choose import load_judge
    from toeline.judge.fuse import FuseJudge, save_fusion
    from toeline.train.fuse import ask_both, fit_on

    words = Taxonomy.load(taxonomy)
    joined = load_judge(f"fuse:{','.join(judge)}", device=device, adapter=adapter)
    assert isinstance(joined, FuseJudge)
    with bar("Asking both", total=len(open_yolo(data, words).splits.get(split, ()))) as step:
        answers = ask_both(data, split, joined, words, step=lambda faults: step([_told(f) for f in faults]))
    joined = replace(joined, mix=fit_on(answers.asked))
    figures = compared(joined, answers.asked, words)
    facts = {
        "split": split,
        "objects": len(answers.asked),
        "out_of_fold": answers.kept,
        "figures": {name: [figure_record(f) for f in rows] for name, rows in figures.items()},
    }
    save_fusion(file, joined, facts)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **asdict(joined.mix), **facts}, indent=2))
    else:
        for name, rows in figures.items():
            out.print(f"\n[bold]{name}[/] on {split}", figure_table(rows))
        show_fusion(joined, answers.kept, str(file))
    raise typer.Exit(1 if answers.problems else 0)


def compared(joined: FuseJudge, asked: Sequence[Asked], taxonomy: Taxonomy) -> dict[str, list[Figure]]:
    """Figures of both judges, and of their fusion with weights fitted on other flight lines, on the same objects."""
    from toeline.train.fuse import fused_out_of_fold

    by_judge: dict[str, Sequence[Scores]] = {
        joined.names[0]: [x.a for x in asked],
        joined.names[1]: [x.b for x in asked],
    }
    if (unseen := fused_out_of_fold(asked)) is not None:
        by_judge[FUSED] = unseen
    return {
        name: measured(
            (Said(x.photo, x.group, x.thing_id, x.right, _best(s)) for x, s in zip(asked, scores, strict=True)),
            taxonomy,
        )
        for name, scores in by_judge.items()
    }


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def measured(said: Iterable[Said], taxonomy: Taxonomy) -> list[Figure]:
    """The figures SHOWN, clustered by flight line: photographs of one flight share light, season and site."""
    from toeline.evaluate.scorecard import score

    card = score([_case(row, taxonomy) for row in said], taxonomy, targets={}, cluster="group")
    return [card[key] for key in SHOWN]


def _case(said: Said, taxonomy: Taxonomy) -> Judged:
    from toeline.evaluate.cases import Judged

    true, answer = taxonomy.class_of(said.right), taxonomy.class_of(said.answer)
    return Judged(
        photo=said.photo,
        group=said.group,
        thing_id=said.thing_id,
        kind=true.type,
        box=NOWHERE,
        true_class=true.name,
        true_condition=true.condition,
        said_class=answer.name,
        said_condition=answer.condition,
        probability=1.0,
        probabilities={answer.name: 1.0},
    )


def show_fusion(joined: Any, kept: tuple[int, int], file: str) -> None:
    """Weight and temperatures, whose scores were kept out of fold, and where it is."""
    for name, weight, t, n in zip(
        joined.names, (1 - joined.mix.weight, joined.mix.weight), joined.mix.temperatures, kept, strict=True
    ):
        how = f", {some(n, 'score')} kept from its cross-validation" if n else ""
        out.print(f"{name}: weight {weight:.2f}, temperature {t:.2f}{how}")
    if not all(kept):
        errors.print("[dim]A judge that was trained on these photographs gets too much weight; Toeline cannot know.[/]")
    show_places({"written": file, "next": f"toeline inspect PHOTOS --judge fuse:{file} --out runs/fused"})


def _told(problem: Problem) -> Any:
    from toeline.core.result import Problem as Told

    return Told(problem.file.name, str(problem.file), problem.what, "Mend the file; it was left out.", problem.line)
