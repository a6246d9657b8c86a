"""Options of commands, made of the fields of settings records: one text for both. And options that several share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from toeline.core.run_folder import require_writable
from toeline.core.threads import take

Command = Callable[..., None]
OUT = ("out", "folder", "file")  # what a command calls the place that it writes to


THREADS = inspect.Parameter(
    "threads",
    inspect.Parameter.KEYWORD_ONLY,
    default=0,
    annotation=Annotated[
        int, typer.Option(min=0, help="CPU threads of each computation; 0: as many as there are cores.")
    ],
)  # of every command that has no setting of this name


def with_settings(command: Command, first: str = "") -> Command:
    """The command with every parameter that is a settings record typed as options: one for each field, in its place.

    `first` names those that --help lists first, where that is not the order of the signature.
    """
    own = inspect.signature(command, eval_str=True).parameters
    records: dict[str, Any] = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    spread = [fields_of(p.annotation) if name in records else [p] for name, p in own.items()]
    options = {p.name: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for some in spread for p in some}
    counted = "threads" in options
    options.setdefault("threads", THREADS)

    @wraps(command)
    def act(**typed: Any) -> None:
        take(typed["threads"] if counted else typed.pop("threads"))
        typed = {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}
        for name in OUT:
            if isinstance(place := typed.get(name), Path):
                require_writable(place)
        for name, record in records.items():
            typed[name] = record(**{f.name: typed.pop(f.name) for f in fields(record) if f.name in typed})
        command(**typed)

    signature = inspect.Signature([options[name] for name in dict.fromkeys([*first.split(), *options])])
    act.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
    act.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return act


def fields_of(record: type) -> list[inspect.Parameter]:
    """The options of a record's fields in their order, but for those of field(metadata={"option": False})."""
    hints = get_type_hints(record, include_extras=True)
    return [option_of(f, hints[f.name]) for f in fields(record) if f.metadata.get("option", True)]


def option_of(field: Field[Any], hint: Any) -> inspect.Parameter:
    """A field of a settings record as an option: `--field-name`, its default, and required when it has none.

    `hint` is the field's type, or Annotated[type, remark]: the help, or a typer.Option or Argument that says more.
    """
    kind, remark = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    option = copy(remark) if isinstance(remark, ParameterInfo) else typer.Option(help=remark)
    if isinstance(option, OptionInfo) and option.default is ...:  # where typer.Option("--from") has the name
        option.default = f"--{field.name.replace('_', '-')}"
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]  # the form that typer knows
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    annotation = Annotated[kind, option]  # type: ignore[valid-type]  # known when it runs
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
