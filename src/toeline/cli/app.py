"""All commands, and how faults are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from toeline._version import __version__
from toeline.cli.data import analyze, convert, export, gallery, split, suggest, synth
from toeline.cli.evaluate import compare, evaluate, evaluate_detector, gate, quantize
from toeline.cli.inspect import demo, inspect, join, plan, revisit
from toeline.cli.serve import app as serve
from toeline.cli.serve import labels
from toeline.cli.train import baseline, bundle, ensemble, finetune, learn, merge, train_detector, train_embedded, trim
from toeline.errors import ExitCode, ToelineError, broken_library
from toeline.pipelines.progress import errors, escape, leave_output, take_any_name

app = typer.Typer(
    help="Reads photographs of embankments: what stands there, where, and in what condition.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `toeline demo`; then `toeline inspect PHOTOS --out runs/first`.",
)
app.command("inspect")(inspect)
app.command("join")(join)
app.command("analyze")(analyze)
app.command("demo")(demo)
app.command("plan")(plan)
app.command("evaluate")(evaluate)
app.command("evaluate-detector")(evaluate_detector)
app.command("compare")(compare)
app.command("revisit")(revisit)
app.command("quantize")(quantize)
app.command("gate")(gate)
app.command("synth")(synth)
app.command("learn")(learn)
app.command("finetune")(finetune)
app.command("train-detector")(train_detector)
app.command("merge")(merge)
app.command("trim")(trim)
app.command("bundle")(bundle)
app.command("gallery")(gallery)
app.command("suggest")(suggest)
app.command("split")(split)
app.command("convert")(convert)
app.command("export")(export)
app.command("baseline")(baseline)
app.add_typer(serve, name="serve")
app.command("labels")(labels)
app.command("ensemble")(ensemble)
app.command("floor", hidden=True)(baseline)  # what these two were called before
app.command("fuse", hidden=True)(ensemble)
app.command(
    "train-embedded",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(train_embedded)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"toeline {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and stop.")
    ] = False,
) -> None:
    """Options before the command."""


def run(args: Sequence[str] | None = None) -> None:
    """Run and exit. A ToelineError is told without a trace, with exit code 2; so is a disk that refuses, and a library
    that is installed and cannot be loaded.
    """
    take_any_name()
    try:
        app(args=None if args is None else list(args), prog_name="toeline")
    except Exception as why:
        if (fault := _fault(why)) is None:
            raise
        _refuse(fault)


def _fault(why: Exception) -> ToelineError | None:
    """What to say of an error; None for a mistake of ours."""
    if isinstance(why, ToelineError):
        return why
    if isinstance(why, OSError) and why.errno is not None:
        from toeline.core.run_folder import refused  # late: --help does without

        return refused(Path(str(why.filename or "standard output")), why)
    return broken_library(why)


def _refuse(fault: ToelineError) -> NoReturn:
    leave_output()
    errors.print(f"[bold red]Error:[/] {escape(str(fault))}")
    sys.exit(ExitCode.NOTHING)
