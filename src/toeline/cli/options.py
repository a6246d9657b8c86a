"""Options that several commands share, and options made of the fields of a settings record: one text for both."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set in YOLO layout, or its data.yaml.")]
Classes = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="The file that names the class ids: data.yaml, classes.txt ..."),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", metavar="[TYPE=]0.4", help="Least confidence of the detector, for all types or one; repeatable."
    ),
]
Head = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What an .onnx ends with, if it is unclear: yolov8, yolov5, rows or rtdetr."),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let the detector's .pt or .bin run code as it is read: only from who you trust."),
]


def option_of(field: Field[Any], hint: Any, spelled: str | None = None) -> inspect.Parameter:
    """A field of a settings record as an option: `--field-name`, its default, and required when it has none.

    `hint` is the field's type, or Annotated[type, remark] with the remark as help. `spelled` replaces the name.
    """
    kind, remark = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    option = typer.Option(spelled or f"--{field.name.replace('_', '-')}", help=remark)
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    annotation = Annotated[kind, option]  # type: ignore[valid-type]  # known when it runs
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def fields_of(record: type, spelled: Mapping[str, str] | None = None) -> list[inspect.Parameter]:
    """The options of all fields of a record in their order; `spelled` gives those not spelled as their field is."""
    hints = get_type_hints(record, include_extras=True)
    return [option_of(f, hints[f.name], (spelled or {}).get(f.name)) for f in fields(record)]


def options_of(record: type, own: Mapping[str, Any], spelled: Mapping[str, str] | None = None) -> inspect.Signature:
    """DATA (or `own["data"]`) and `own["out"]` first, then the record's fields, then the other `own`: switches."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    places = {"data": own.get("data", Data), "out": own["out"]}
    first = [inspect.Parameter(name, keyword, annotation=kind) for name, kind in places.items()]
    switches = {name: option for name, option in own.items() if name not in places}
    last = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in switches.items()]
    return inspect.Signature([*first, *fields_of(record, spelled), *last])


def annotations_of(signature: inspect.Signature) -> dict[str, Any]:
    """What typer reads besides the signature."""
    return {p.name: p.annotation for p in signature.parameters.values()}
