"""Options that several commands share, so that each has one spelling and one help text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", metavar="[TYPE=]0.4", help="Least confidence of the detector, for all types or one; repeatable."
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let the detector's .pt or .bin run code as it is read: only from who you trust."),
]


def options_of(record: type, own: Mapping[str, Any], spelled: Mapping[str, str] | None = None) -> inspect.Signature:
    """DATA and `own["out"]` first, then the record's fields in their order, then the other `own`, which are switches.

    Each field is Annotated[type, remark]. `spelled` gives the options that are not spelled as their field is.
    """
    hints = get_type_hints(record, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    found = [inspect.Parameter("data", keyword, annotation=Data)]
    found.append(inspect.Parameter("out", keyword, annotation=own["out"]))
    for field in fields(record):
        kind, remark = get_args(hints[field.name])[:2]
        name = (spelled or {}).get(field.name, f"--{field.name.replace('_', '-')}")
        option = Annotated[kind, typer.Option(name, help=remark)]  # type: ignore[valid-type]  # known when it runs
        found.append(inspect.Parameter(field.name, keyword, default=field.default, annotation=option))
    switches = {name: option for name, option in own.items() if name != "out"}
    found += [inspect.Parameter(name, keyword, default=False, annotation=option) for name, option in switches.items()]
    return inspect.Signature(found)


def annotations_of(signature: inspect.Signature) -> dict[str, Any]:
    """What typer reads besides the signature."""
    return {p.name: p.annotation for p in signature.parameters.values()}
