"""`toeline train-embedded`: options are made from the settings' own fields, so there is no second list."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

EXAMPLE = "Example: toeline train-embedded {name} --out runs/{name} --seed 1"


def train_embedded(context: typer.Context) -> None:
    """Train the judge or the detector that Toeline ships, from scratch, on drawn scenes.

    Example: toeline train-embedded judge --out runs/judge; see toeline train-embedded judge --help
    """
    training()(args=context.args, prog_name="toeline train-embedded", standalone_mode=False)


def training() -> typer.Typer:
    """The commands `judge` and `detector`. Built late: their settings stand in files that load torch."""
    from toeline.train.detector import DetectorRun, train_detector
    from toeline.train.embedded import JudgeRun, train_judge

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
