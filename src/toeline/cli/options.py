"""Options of commands, made of the fields of settings records: one text for both. And what all commands share.

That is `--config` (pipelines/settings_file.py), and the folder of a run that is told none (pipelines/next_folder.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from toeline.core.threads import take
from toeline.pipelines.next_folder import NEXT, next_folder
from toeline.pipelines.settings import OnRay, Pace
from toeline.pipelines.settings_file import Commands, FileOption, settings_from, tell_settings

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
NO_RESULT = {"out", "as_json", "resume", "jobs", *(f.name for f in (*fields(Pace), *fields(OnRay)))}  # of no effect


def with_settings(command: Command, first: str = "", *, config: bool = True) -> Command:
    """The command with every parameter that is a settings record typed as options: one for each field, in its place.

    `first` names those that --help lists first, where that is not the order of the signature. Settings files are read
    unless `config` is False. An `out` that is NEXT becomes the folder of the next run. A `context` is typer's.
    """
    own = inspect.signature(command, eval_str=True).parameters
    records: dict[str, Any] = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    spread = [fields_of(p.annotation) if name in records else [p] for name, p in own.items()]
    options = {p.name: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for some in spread for p in some}
    wanted = options.pop("context", None) is not None
    counted = "threads" in options
    options.setdefault("threads", THREADS)

    @wraps(command)
    def act(context: typer.Context, config: Path | None = None, **typed: Any) -> None:
        from toeline.core.run_folder import require_writable  # late: --help does without

        typed |= _begin(context, typed, NO_RESULT if counted else NO_RESULT | {"threads"})
        take(typed["threads"] if counted else typed.pop("threads"))
        typed = {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}
        for name in OUT:
            if isinstance(place := typed.get(name), Path):
                require_writable(place)
        for name, record in records.items():
            typed[name] = record(**{f.name: typed.pop(f.name) for f in fields(record) if f.name in typed})
        command(**typed, **({"context": context} if wanted else {}))

    listed = [options[name] for name in dict.fromkeys([*first.split(), *options])]
    signature = inspect.Signature([CONTEXT, *listed, *([CONFIG] if config else [])])
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


def _take_settings(context: typer.Context, typed: Path | None) -> Path | None:
    """What a settings file says becomes the defaults of the command."""
    group: Any = context.parent.command if context.parent else None
    known: Commands = {
        name: {key: one for parameter in command.params for key, one in _keys(parameter)}
        for name, command in getattr(group, "commands", {}).items()
        if any(parameter.name == "config" for parameter in command.params)
    }
    file, said = settings_from(typed, context.info_name or "", known)
    context.default_map = said
    return file


def _keys(parameter: Any) -> list[tuple[str, FileOption]]:
    """What an option is called in a settings file: as it is typed; `--link/--copy` is two of them."""
    many = bool(parameter.multiple) if hasattr(parameter, "multiple") else False
    switch = bool(getattr(parameter, "is_flag", False))
    names = [(name, True) for name in parameter.opts] + [(name, False) for name in parameter.secondary_opts]
    return [
        (name.removeprefix("--"), FileOption(parameter.name, on if switch else None, many))
        for name, on in names
        if name.startswith("--") and parameter.name not in ("config", "help")
    ]


KEYWORD = inspect.Parameter.KEYWORD_ONLY
CONTEXT = inspect.Parameter("context", KEYWORD, annotation=typer.Context)
CONFIG = inspect.Parameter(
    "config",
    KEYWORD,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            is_eager=True,
            callback=_take_settings,
            show_default="toeline.toml",
            help="Settings of commands, as TOML; what is typed wins.",
        ),
    ],
)


def _begin(context: typer.Context, typed: dict[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Say what a settings file gave, note for run.json how the command was called, and settle where results go.

    `free` are options that change nothing of what comes out. Returns the parameters that are not as they were typed.
    """
    from toeline.core.provenance import called_with

    sources = {name: getattr(context.get_parameter_source(name), "name", "") for name in typed}
    names = {p.name: next((o.lstrip("-") for o in p.opts), p.name) for p in context.command.params}
    file, used = context.params.get("config"), [name for name in typed if sources[name] == "DEFAULT_MAP"]
    from_file = {names[name]: typed[name] for name in used}
    if file and used:
        tell_settings(file, from_file)
    given = [name for name in typed if name not in free and sources[name] in ("COMMANDLINE", "DEFAULT_MAP")]
    options = called_with({names[name]: typed[name] for name in given}, file if used else None, from_file)
    if typed.get("out") != NEXT:
        return {}
    folder, goes_on = next_folder(str(context.info_name), options)
    return {"out": folder, **({"resume": True} if goes_on and "resume" in typed else {})}
