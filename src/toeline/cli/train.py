"""Commands that train: `toeline baseline`, `ensemble`, `finetune`, `train-detector` and `train-embedded`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from toeline.cli.options import Classes, annotations_of, fields_of, options_of
from toeline.core.finding import grave
from toeline.pipelines.baseline import (
    baseline_into,
    ensemble_into,
    tell_baseline,
    tell_ensemble,
)
from toeline.pipelines.progress import is_first, tell, tell_json
from toeline.pipelines.train_embedded import shipped
from toeline.train.config import DetectorFit, Features, LoraRun

Data = Annotated[Path, typer.Argument(metavar="DATA", help="YOLO data set: its folder, or its data.yaml.")]
Words = Annotated[Path | None, typer.Option("--taxonomy", help="Types, conditions and classes of another owner.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")]


def baseline(
    data: Data,
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the trained baseline is written.")],
    split: Annotated[str, typer.Option(help="The only split that is looked at.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Same data and seed, same file.")] = 0,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation, cut by flight line.")] = 5,
    features: Annotated[Features, typer.Option(help="What is read: also an ImageNet network's, with pretrained.")] = (
        "measures"
    ),
    taxonomy: Words = None,
    classes: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Train the baseline: a judge without a language model, whose accuracy a language model has to beat.

    Example: toeline baseline dataset --out runs/baseline.safetensors; then --judge baseline:runs/baseline.safetensors
    """
    trained = baseline_into(
        data, file, split=split, seed=seed, folds=folds, taxonomy=taxonomy, classes=classes, features=features
    )
    tell_json(trained.record, indent=2) if as_json else tell_baseline(trained)
    raise typer.Exit(1 if grave(trained.problems) else 0)


def ensemble(
    data: Data,
    judge: Annotated[list[str], typer.Option(help="A judge, twice: --judge embedded --judge baseline:FILE.")],
    file: Annotated[
        Path, typer.Option("--out", metavar="FILE.json", help="Where weight and temperatures are written.")
    ],
    split: Annotated[
        str, typer.Option(help="Photographs to fit on; no judge may have been trained on them.")
    ] = "valid",
    adapter: Annotated[Path | None, typer.Option(help="Peft adapter of the judge that is a language model.")] = None,
    taxonomy: Words = None,
    classes: Classes = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit how two judges are joined: a temperature for each and a weight, on a split that neither was trained on.

    Example: toeline ensemble dataset --judge embedded --judge baseline:runs/baseline.safetensors --out runs/both.json
    """
    fitted = ensemble_into(
        data, judge, file, split=split, adapter=adapter, taxonomy=taxonomy, device=device, classes=classes
    )
    tell_json(fitted.record, indent=2) if as_json else tell_ensemble(fitted)
    raise typer.Exit(1 if grave(fitted.problems) else 0)


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
    raise typer.Exit(0 if outcome.fine else 1)


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
    app = typer.Typer(
        help=flowing(train_embedded),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    for name, (settings, act) in shipped().items():
        add_command(app, name, settings, act)
    return app


def add_command(app: typer.Typer, name: str, settings: type[Any], act: Callable[[Any], Any]) -> None:
    """A command whose options are the fields of a settings dataclass and whose help is its docstring."""

    def command(**options: Any) -> None:
        written = act(settings(**options))
        typer.echo(f"Written: {written if isinstance(written, Path) else options.get('out', '')}")

    command.__doc__ = "\n\n".join(
        (f"Train the {name} from scratch on drawn scenes.", flowing(settings), EXAMPLE.format(name=name))
    )
    command.__signature__ = inspect.Signature(fields_of(settings))  # type: ignore[attr-defined]
    command.__annotations__ = annotations_of(command.__signature__)  # type: ignore[attr-defined]
    app.command(name)(command)


def flowing(documented: object) -> str:
    """A docstring with each paragraph on one line, so that the terminal can break it where it likes.

    >>> flowing(flowing).splitlines()[0]
    'A docstring with each paragraph on one line, so that the terminal can break it where it likes.'
    """
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
