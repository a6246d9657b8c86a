"""toeline.toml: settings of commands in a file, one table for a command, options called as they are typed.

    [inspect]
    judge = "auto"
    threshold = ["toe_drain=0.4", "0.3"]

What is typed on the command line wins. A name that is no option of its command is refused, so that none is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from toeline.core.reading import is_file, read_toml
from toeline.core.words import cut
from toeline.errors import SetupError
from toeline.pipelines.progress import errors, escape

FILE = "toeline.toml"
TYPED_ONLY = {"trust"}  # it lets a file run code, and a settings file may have come with somebody's photographs
ADVICE = 'A settings file has a table for each command, as [inspect] with judge = "auto".'


class FileOption(NamedTuple):
    """An option that a file may set: the parameter's name, and what its key means there.

    `flag` is the value that `true` gives, None for an option with a value. `many` may be a list.
    """

    parameter: str
    flag: bool | None = None
    many: bool = False


Commands = Mapping[str, Mapping[str, FileOption]]  # command -> option as it is typed, without dashes


def settings_from(typed: Path | None, command: str, known: Commands) -> tuple[Path | None, dict[str, Any]]:
    """The file that is named, or toeline.toml in the working directory, and what it says of `command`, by parameter.

    Values are texts, as if they had been typed. Raises SetupError for a file that cannot be read or that says
    something that no command knows, and for a named file that is not there.
    """
    file = typed or Path(FILE)
    if typed is None and not is_file(file):
        return None, {}
    tables = read_toml(file, SetupError, advice=ADVICE)
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise SetupError(f"{file}: {cut(name)!r} stands in no table. {ADVICE}")
        if name not in known:
            raise SetupError(f"{file}: [{cut(name)}] is no command that takes settings.{_meant(name, known)}")
        for key in table:
            _require_known(file, name, key, known[name])
    own = known.get(command, {})
    said = tables.get(command, {})
    return file, {own[key].parameter: _value(file, f"[{command}] {key}", said[key], own[key]) for key in said}


def _require_known(file: Path, command: str, key: str, known: Mapping[str, FileOption]) -> None:
    if key in TYPED_ONLY:
        raise SetupError(f"{file}: [{command}] {key} can only be typed, as --{key}: no file may switch it on.")
    if key not in known:
        raise SetupError(f"{file}: [{command}] {cut(key)} is no option of toeline {command}.{_meant(key, known)}")


def _meant(name: str, known: Mapping[str, object]) -> str:
    """The names that are most alike."""
    near = get_close_matches(name.replace("_", "-"), known)
    return f" Did you mean {' or '.join(near)}?" if near else f" Known: {', '.join(sorted(known))}."


def _value(file: Path, where: str, value: Any, known: FileOption) -> Any:
    """A value as if it had been typed. Raises SetupError for one that could not be."""
    if known.flag is not None:
        if not isinstance(value, bool):
            raise SetupError(f"{file}: {where} is {cut(repr(value))}, and must be true or false.")
        return known.flag == value
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not known.many:
        raise SetupError(f"{file}: {where} is a list, and can be given once only.")
    if odd := [part for part in parts if isinstance(part, bool) or not isinstance(part, str | int | float)]:
        raise SetupError(f"{file}: {where} is {cut(repr(odd[0]))}, and must be a text or a number.")
    return [str(part) for part in parts] if known.many else str(value)


def tell_settings(file: Path, used: Mapping[str, Any]) -> None:
    """Say in one line what was taken from a file."""
    said = ", ".join(f"{name} = {' '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in used.items())
    errors.print(escape(f"Settings from {file}: {said}."))
