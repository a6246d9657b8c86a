"""`toeline floor` and `toeline fuse`: judges that need no GPU, trained and fitted here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from toeline.cli.options import annotations_of, options_of
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.pipelines.baseline import Said, compared, measured, show_ensemble
from toeline.pipelines.progress import bar, is_first, out, show_places, tell
from toeline.train.config import DetectorFit, LoraRun

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
    from toeline.evaluate.metric import metric_record
    from toeline.judge.baseline.model import save_baseline
    from toeline.pipelines.evaluate import metric_table
    from toeline.train.baseline import BaselineRun, train_baseline

    words, run = Taxonomy.load(taxonomy), BaselineRun(data=data, split=split, seed=seed, folds=folds)
    with bar("Measuring", total=len(open_yolo(data, words).split(split)[1])) as step:
        trained = train_baseline(run, words, step=step)
    table = trained.table
    rows = zip(table.photos, table.groups, table.instances, table.classes, trained.said, strict=True)
    figures = measured((Said(*map(str, row)) for row in rows), words)
    scored = {"cut_by": trained.cut_by, "folds": trained.folds, "log_loss": trained.log_loss}
    facts = {**trained.model.facts, "cross_validated": {**scored, "figures": [metric_record(f) for f in figures]}}
    save_baseline(replace(trained.model, facts=facts), file)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **facts, "problems": len(trained.problems)}, indent=2))
    else:
        of = f"{some(len(trained.said), 'object')} of {some(len(set(table.groups)), trained.cut_by)}"
        out.print(f"\n[bold]Cross-validated by {trained.cut_by} on {split}[/]: {of}", metric_table(figures))
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
    from toeline.evaluate.metric import metric_record
    from toeline.judge.ensemble import EnsembleJudge, save_ensemble
    from toeline.judge.load import load_judge
    from toeline.pipelines.evaluate import metric_table
    from toeline.train.ensemble import ask_both, fit_on

    words = Taxonomy.load(taxonomy)
    joined = load_judge(f"fuse:{','.join(judge)}", device=device, adapter=adapter)
    assert isinstance(joined, EnsembleJudge)
    with bar("Asking both", total=len(open_yolo(data, words).split(split)[1])) as step:
        answers = ask_both(data, split, joined, words, step=step)
    joined = replace(joined, mix=fit_on(answers.asked))
    figures = compared(joined, answers.asked, words)
    facts = {
        "split": split,
        "objects": len(answers.asked),
        "out_of_fold": answers.kept,
        "figures": {name: [metric_record(f) for f in rows] for name, rows in figures.items()},
    }
    save_ensemble(file, joined, facts)
    if as_json:
        typer.echo(json.dumps({"out": str(file), **asdict(joined.mix), **facts}, indent=2))
    else:
        for name, rows in figures.items():
            out.print(f"\n[bold]{name}[/] on {split}", metric_table(rows))
        show_ensemble(joined, answers.kept, str(file))
    raise typer.Exit(1 if answers.problems else 0)


OWN = {  # what is no part of the settings: where it goes, and what else is done
    "out": Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    "merge": Annotated[bool, typer.Option("--merge", help="Also write the judge with the adapter added to it.")],
    "resume": Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last checkpoint.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")],
}


def finetune(data: Path, out: Path, merge: bool, resume: bool, as_json: bool, **settings: Any) -> None:
    """Fine-tune a judge with LoRA on labeled photographs, and say whether it was worth it.

    Writes adapter/ (plain peft), report.html, report.md, log.jsonl, run.json, errors.jsonl, and before/ and after/ with
    what both judges said on the validation split, into DIR. Killed, the same command with --resume goes on to the same
    result. On several GPUs: accelerate launch -m toeline finetune ... Exit code 0: all done; 1: some photographs or
    labels have problems; 2: nothing could be trained.

    Example: toeline finetune dataset --judge Qwen/Qwen2-VL-7B-Instruct --out runs/lora
    """
    from toeline.pipelines.finetune import finetune_into, summary

    outcome = finetune_into(LoraRun(**settings), data, out, merge=merge, resume=resume)
    if is_first():
        tell(summary(outcome), as_json=as_json)
    raise typer.Exit(0 if outcome.fine else 1)


finetune.__signature__ = options_of(LoraRun, OWN)  # type: ignore[attr-defined]
finetune.__annotations__ = annotations_of(finetune.__signature__)  # type: ignore[attr-defined]

DETECTOR_OWN = {  # what is no part of the settings
    "out": Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the detector and the report.")],
    "resume": Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last checkpoint.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")],
}
SPELLED = {"begin": "--from"}  # a Python word


def train_detector(data: Path, out: Path, resume: bool, as_json: bool, **settings: Any) -> None:
    """Train a detector on labeled photographs, and measure it on the validation split.

    Classes are folded to their types and polygons to boxes. Writes model.onnx and detector.json (with --model what
    transformers loads), report.html, report.md, scorecard.json, log.jsonl, run.json, errors.jsonl, worst/ and
    checkpoints into DIR; inspect with --detector DIR. Killed, the same command with --resume goes on to the same
    result. Exit code 0: all done; 1: some photographs or labels have problems; 2: nothing could be trained. The
    embedded network needs the extra train-detector.

    Example: toeline train-detector dataset --out runs/detector --epochs 60
    """
    from toeline.pipelines.train_detector import summary, train_into

    outcome = train_into(DetectorFit(**settings), data, out, resume=resume)
    tell(summary(outcome), as_json=as_json)
    raise typer.Exit(1 if outcome.problems else 0)


train_detector.__signature__ = options_of(DetectorFit, DETECTOR_OWN, SPELLED)  # type: ignore[attr-defined]
train_detector.__annotations__ = annotations_of(train_detector.__signature__)  # type: ignore[attr-defined]

EXAMPLE = "Example: toeline train-embedded {name} --out runs/{name} --seed 1"


def train_embedded(context: typer.Context) -> None:
    """Train the judge or the detector that Toeline ships, from scratch, on drawn scenes.

    Example: toeline train-embedded judge --out runs/judge; see toeline train-embedded judge --help
    """
    training()(args=context.args, prog_name="toeline train-embedded", standalone_mode=False)


def training() -> typer.Typer:
    """The commands `judge` and `detector`. Built late: their settings stand in files that load torch."""
    from toeline.train.config import DetectorRun
    from toeline.train.detector import train_detector
    from toeline.train.embedded_judge import JudgeRun, train_judge

    app = typer.Typer(
        help=flowing(train_embedded),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    add_command(app, "judge", JudgeRun, train_judge)
    add_command(app, "detector", DetectorRun, train_detector)
    return app


def add_command(app: typer.Typer, name: str, settings: type[Any], act: Callable[[Any], Any]) -> None:
    """A command whose options are the fields of a settings dataclass and whose help is its docstring."""

    def command(**options: Any) -> None:
        written = act(settings(**options))
        typer.echo(f"Written: {written if isinstance(written, Path) else options.get('out', '')}")

    hints = get_type_hints(settings)
    command.__doc__ = "\n\n".join(
        (f"Train the {name} from scratch on drawn scenes.", flowing(settings), EXAMPLE.format(name=name))
    )
    command.__signature__ = inspect.Signature([_option(f, hints[f.name]) for f in fields(settings)])  # type: ignore[attr-defined]
    command.__annotations__ = {f.name: Annotated[hints[f.name], typer.Option()] for f in fields(settings)}
    app.command(name)(command)


def flowing(documented: object) -> str:
    """A docstring with each paragraph on one line, so that the terminal can break it where it likes.

    >>> flowing(flowing).splitlines()[0]
    'A docstring with each paragraph on one line, so that the terminal can break it where it likes.'
    """
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _option(field: Any, kind: Any) -> inspect.Parameter:
    """`--field-name`, with the field's default, and required when it has none."""
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(f"--{field.name.replace('_', '-')}", show_default=True)],
    )
