"""`toeline floor` and `toeline fuse`: judges that need no GPU, trained and fitted here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from toeline.cli.show import bar, errors, out, show_places, some
from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from toeline.data.yolo import Problem
    from toeline.evaluate.tally import Case, Figure

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
    from toeline.data.yolo import open_yolo
    from toeline.judge.floor.file import save_floor
    from toeline.train.floor import FloorRun, entries_of, train_floor

    words, run = Taxonomy.load(taxonomy), FloorRun(data=data, split=split, seed=seed, folds=folds)
    with bar("Measuring", total=len(entries_of(open_yolo(data, words), run))) as step:
        trained = train_floor(run, words, step=lambda faults: step([_told(f) for f in faults]))
    table = trained.table
    cases = cases_of(table.groups, table.kinds, table.classes, trained.said)
    figures = figures_of(cases, words)
    scored = {
        "cut_by": trained.cut_by,
        "folds": trained.folds,
        "log_loss": trained.log_loss,
        "figures": [plain(f) for f in figures],
    }
    model = replace(trained.model, facts={**trained.model.facts, "cross_validated": scored})
    save_floor(model, file)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **model.facts, "problems": len(trained.problems)}, indent=2))
    else:
        of = f"{some(len(cases), 'object')} of {some(len(set(table.groups)), trained.cut_by)}"
        show_figures(f"Cross-validated by {trained.cut_by} on {split}: {of}", {"": figures})
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
    from toeline.data.yolo import open_yolo
    from toeline.judge.choose import load_judge
    from toeline.judge.fuse import FuseJudge, save_fusion
    from toeline.train.fuse import ask_both, fit_on, fused_out_of_fold

    words = Taxonomy.load(taxonomy)
    joined = load_judge(f"fuse:{','.join(judge)}", device=device, adapter=adapter)
    assert isinstance(joined, FuseJudge)
    with bar("Asking both", total=len(open_yolo(data, words).splits.get(split, ()))) as step:
        answers = ask_both(data, split, joined, words, step=lambda faults: step([_told(f) for f in faults]))
    asked = answers.asked
    joined = replace(joined, mix=fit_on(asked))
    said = {joined.names[0]: [x.a for x in asked], joined.names[1]: [x.b for x in asked]}
    if (unseen := fused_out_of_fold(asked)) is not None:
        said["fused, fitted on other flight lines"] = unseen
    figures = {
        name: figures_of(
            cases_of([x.group for x in asked], [x.kind for x in asked], [x.right for x in asked], map(_best, scores)),
            words,
        )[1:]
        for name, scores in said.items()
    }
    facts = {
        "split": split,
        "objects": len(asked),
        "out_of_fold": answers.kept,
        "figures": {name: [plain(f) for f in rows] for name, rows in figures.items()},
    }
    save_fusion(file, joined, facts)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **asdict(joined.mix), **facts}, indent=2))
    else:
        show_figures(f"{split}: {some(len(asked), 'object')} with a choice of answers", figures)
        show_fusion(joined, answers.kept, str(file))
    raise typer.Exit(1 if answers.problems else 0)


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def cases_of(groups: Any, kinds: Any, right: Any, said: Any) -> list[Case]:
    """Objects as cases whose clusters are flight lines: photographs of one flight share light, season and site."""
    from toeline.evaluate.tally import Case

    return [Case(*map(str, row)) for row in zip(groups, kinds, right, said, strict=True)]


def figures_of(cases: Sequence[Case], taxonomy: Taxonomy) -> list[Figure]:
    """All classes, condition given type, and the first condition of the taxonomy (normal) against the others."""
    from toeline.evaluate.tally import condition_given_type, figure, nine_class

    sound = taxonomy.conditions[0].name

    def binary(name: str) -> str:
        return sound if taxonomy.class_of(name).condition == sound else f"not {sound}"

    two = [c._replace(true_class=binary(c.true_class), said_class=binary(c.said_class)) for c in cases]
    return [nine_class(cases), condition_given_type(cases, taxonomy), figure(f"{sound} or not", two)]


def plain(figure: Figure) -> dict[str, Any]:
    """A figure as JSON: shares, 95 % interval, n, and what a look-up without a pixel gets."""
    low, high = figure.interval
    return {
        "name": figure.name,
        "value": round(figure.value, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": figure.n,
        "without_a_pixel": round(figure.floor, 4),
    }


def show_figures(title: str, figures: Mapping[str, Sequence[Figure]]) -> None:
    """One row per figure, for each judge."""
    table = RichTable(title=title, title_justify="left", title_style="bold")
    table.add_column("measured", no_wrap=True)
    for name in ("right", "95 % interval", "objects", "without a pixel"):
        table.add_column(name, justify="right")
    for judge, rows in figures.items():
        for f in rows:
            label = f"{judge}: {f.name}" if judge else f.name
            table.add_row(label, f"[bold]{f.value:.1%}[/]", str(f.interval), str(f.n), f"{f.floor:.1%}")
    out.print(table)


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
