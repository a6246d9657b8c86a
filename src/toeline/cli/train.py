"""Commands that train or rewrite models: `toeline baseline`, `ensemble`, `finetune`, `learn`, `merge`, `bundle` ..."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from toeline.cli.options import with_settings
from toeline.errors import ExitCode, SetupError
from toeline.pipelines.next_folder import NEXT
from toeline.pipelines.progress import is_first, tell, tell_json
from toeline.pipelines.settings import BundleRun, Data, MergeRun, TrimRun
from toeline.train.config import BaselineRun, DetectorFit, EnsembleRun, LearnRun, LoraRun

AsJson = Annotated[bool, typer.Option("--json", help="Print a summary as JSON on standard output.")]


@partial(with_settings, first="data")
def baseline(
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the trained baseline is written.")],
    run: BaselineRun,
    as_json: AsJson = False,
) -> None:
    """Train the baseline: a judge without a language model, whose accuracy a language model has to beat.

    Example: toeline baseline dataset --out runs/baseline.safetensors; then --judge baseline:runs/baseline.safetensors
    """
    from toeline.core.finding import grave
    from toeline.pipelines.baseline import baseline_into, tell_baseline

    trained = baseline_into(run, file)
    tell_json(trained.record, indent=2) if as_json else tell_baseline(trained)
    raise typer.Exit(ExitCode.of(fine=not grave(trained.problems)))


@partial(with_settings, first="data judges")
def ensemble(
    file: Annotated[
        Path, typer.Option("--out", metavar="FILE.json", help="Where weight and temperatures are written.")
    ],
    run: EnsembleRun,
    as_json: AsJson = False,
) -> None:
    """Fit how two judges are joined: a temperature for each and a weight, on a split that neither was trained on.

    Example: toeline ensemble dataset --judge embedded --judge baseline:runs/baseline.safetensors --out runs/both.json
    """
    from toeline.core.finding import grave
    from toeline.pipelines.baseline import ensemble_into, tell_ensemble

    fitted = ensemble_into(run, file)
    tell_json(fitted.record, indent=2) if as_json else tell_ensemble(fitted)
    raise typer.Exit(ExitCode.of(fine=not grave(fitted.problems)))


Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")]
NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the new judge.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last checkpoint.")]
Merge = Annotated[bool, typer.Option("--merge", help="Also write the judge with the adapter added to it.")]


@with_settings
def finetune(
    data: Data,
    *,
    out: Folder = NEXT,
    run: LoraRun,
    merge: Merge = False,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a judge with LoRA on labeled photographs, and say whether it was worth it.

    Writes adapter/ (plain peft), report.html, report.md, log.jsonl, run.json, errors.jsonl, and before/ and after/ with
    what both judges said on the validation split, into DIR. Killed, the same command with --resume continues to the
    same result. On several GPUs: accelerate launch -m toeline finetune ... Exit code 0: all done; 1: some photographs
    or labels have problems; 2: nothing could be trained.

    Example: toeline finetune dataset --judge Qwen/Qwen2-VL-7B-Instruct --out runs/lora
    """
    from toeline.pipelines.finetune import finetune_into, summary

    outcome = finetune_into(run, data, out, merge=merge, resume=resume)
    if is_first():
        tell(summary(outcome), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=outcome.fine))


@with_settings
def train_detector(
    data: Data,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the detector and the report.")] = NEXT,
    run: DetectorFit,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Train a detector on labeled photographs, and measure it on the validation split.

    Classes are folded to their types and polygons to boxes. Writes model.onnx and detector.json (with --model what
    transformers loads), report.html, report.md, scorecard.json, log.jsonl, run.json, errors.jsonl, worst/ and
    checkpoints into DIR; inspect with --detector DIR. Killed, the same command with --resume continues to the same
    result. Exit code 0: all done; 1: some photographs or labels have problems; 2: nothing could be trained. The
    embedded network needs the extra train-detector.

    Example: toeline train-detector dataset --out runs/detector --epochs 60
    """
    from toeline.pipelines.train_detector import summary, train_into

    outcome = train_into(run, data, out, resume=resume)
    tell(summary(outcome), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=outcome.fine))


@with_settings
def learn(
    data: Data,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the model; the same again continues.")
    ] = NEXT,
    run: LearnRun,
    as_json: AsJson = False,
) -> None:
    """From labeled photographs to a model of your own: detector, judge, and how sure they are, in one folder.

    Trains the detector, the baseline and the embedded judge, each also without every fold of train (cut by flight
    line), and sets thresholds, weights and calibration by what these say of photographs they never saw. The validation
    split is measured on at the end and chooses nothing. Writes model.json with its parts, report.html, report.md,
    scorecard.json, errors.jsonl and run.json into DIR; inspect with --model DIR. Stopped or killed, the same command
    continues where it stopped. Exit code 0: all done; 1: some photographs or labels have problems; 2: nothing could be
    done. Needs the extra train-detector.

    Example: toeline learn dataset --out models/lagoon
    """
    from toeline.pipelines.learn import learn_into, summary

    result = learn_into(run, data, out)
    tell(summary(result), as_json=as_json)
    raise typer.Exit(ExitCode.of(fine=result.fine))


@with_settings
def merge(out: NewFolder, run: MergeRun, as_json: AsJson = False) -> None:
    """Add an adapter to the weights of its judge: one folder for stock transformers, as trim and quantize take it.

    Scores with the adapter and without it are compared on some photographs; the largest change is said and written.
    Writes the judge and run.json into DIR. Exit code 0: done; 2: nothing was written.

    Example: toeline merge Qwen/Qwen2-VL-7B-Instruct --adapter runs/lora/adapter --out runs/merged
    """
    from toeline.pipelines.trim import merge_into, merge_summary

    tell(merge_summary(merge_into(run, out)), as_json=as_json)


@with_settings
def trim(out: NewFolder, run: TrimRun, as_json: AsJson = False) -> None:
    """Drop the tokens that no prompt and no answer can need: 2.1 GB of a 7B in half precision. Scores stay the same.

    Keeps all words of every prompt for the nine classes and for each --taxonomy, in every case and beside every
    punctuation mark. A trimmed judge refuses a text that it cannot read as it is written, and names the word. Writes
    the judge, with its former tokenizer in original/, trim.json and run.json into DIR. Exit code 0: done; 2: nothing
    was written.

    Example: toeline trim runs/merged --out runs/trimmed
    """
    from toeline.pipelines.trim import trim_into, trim_summary

    tell(trim_summary(trim_into(run, out)), as_json=as_json)


@partial(with_settings, first="out")
def bundle(
    run: BundleRun,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the model.")] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="DIR", help="Check a folder, make none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put all parts of a model into one folder, as inspect --model takes it, and check that they belong together.

    Copies detector, judge, adapter, baseline, ensemble, calibration, domain and taxonomy into DIR, with the scorecards
    they were promoted with, and writes model.json: what was trained on what, and a hash of each file. A folder whose
    files were changed since is refused. Quantized weights that no gate has promoted need --allow-unproven. Exit code 0:
    made, or whole; 2: nothing was written, or the folder is not whole.

    Example: toeline bundle --judge runs/int4/model --scorecard runs/int4 --out models/qwen2vl_int4
    """
    from toeline.pipelines.bundle import bundle_into, check_folder, summary

    if (out is None) == (check is None):
        raise SetupError("give --out DIR to make a folder, or --check DIR to check one.")
    done = check_folder(check) if check else bundle_into(run, out or Path())
    tell(summary(done), as_json=as_json)


EXAMPLE = "Example: toeline train-embedded {name} --out runs/{name} --seed 1"


def train_embedded(context: typer.Context) -> None:
    """Train the judge or the detector that Toeline ships, from scratch, on drawn scenes.

    Example: toeline train-embedded judge --out runs/judge; see toeline train-embedded judge --help
    """
    training()(args=context.args, prog_name="toeline train-embedded", standalone_mode=False)


def training() -> typer.Typer:
    """The commands `judge` and `detector`. Built late: their settings stand in files that load torch."""
    from toeline.pipelines.train_embedded import shipped

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

    def command(run: Any) -> None:
        written = act(run)
        typer.echo(f"Written: {written if isinstance(written, Path) else getattr(run, 'out', '')}")

    command.__doc__ = "\n\n".join(
        (f"Train the {name} from scratch on drawn scenes.", flowing(settings), EXAMPLE.format(name=name))
    )
    command.__annotations__ = {"run": settings}
    app.command(name)(with_settings(command, config=False))


def flowing(documented: object) -> str:
    """A docstring with each paragraph on one line, so that the terminal can break it where it likes.

    >>> flowing(flowing).splitlines()[0]
    'A docstring with each paragraph on one line, so that the terminal can break it where it likes.'
    """
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
