"""How much a model was trained to be shown: read from and written to toeline.json beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from toeline.core.question import View
from toeline.errors import ModelError

VIEW_FILE = "toeline.json"


def read_view(folders: list[Path], *, cell: int) -> View:
    """The view in the first folder that has a toeline.json, else the default view of Qwen2-VL. Raises ModelError."""
    for file in (folder / VIEW_FILE for folder in folders):
        if file.is_file():
            view = _view_of(read_json(file).get("view", {}), file)
            if view.cell != cell:
                raise ModelError(
                    f"{file}: cell is {view.cell}, but this model's is {cell}. It belongs to another model."
                )
            return view
    return replace(View(), cell=cell)


def _view_of(raw: Any, file: Path) -> View:
    kinds = {name: type(value) for name, value in asdict(View()).items()}
    if not isinstance(raw, dict) or (odd := [k for k, v in raw.items() if k not in kinds or not _is(v, kinds[k])]):
        what = "view is no object" if not isinstance(raw, dict) else f"view has a wrong {', '.join(map(str, odd))}"
        raise ModelError(
            f"{file}: {what}. A view may have: {', '.join(f'{k} ({t.__name__})' for k, t in kinds.items())}."
        )
    return View(**raw)


def _is(value: object, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def write_view(folder: Path, view: View) -> None:
    """Save the view that a model or adapter is trained for beside its weights."""
    (folder / VIEW_FILE).write_text(json.dumps({"view": asdict(view)}, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises ModelError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as why:
        raise ModelError(f"{path} cannot be read as JSON ({why}). Copy or download the model again.") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object. Copy or download the model again.")
    return found
