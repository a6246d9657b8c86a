"""A floor file: the model's tables as safetensors, everything else as JSON in its header. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toeline.errors import ModelError
from toeline.judge.floor.features import VERSION, measure_names
from toeline.judge.floor.model import FloorModel, Forest, TypeModel

KEY = "toeline_floor"
LINEAR = ("mean", "spread", "weights", "bias")  # all float64
FOREST = {
    "roots": np.int32,
    "feature": np.int32,
    "threshold": np.float64,
    "left": np.int32,
    "right": np.int32,
    "share": np.float32,
}
AGAIN = "Train it again with `toeline floor DATA --out FILE`."


def save_floor(model: FloorModel, file: Path) -> None:
    """Write a floor file, whole or not at all. The same model gives the same bytes."""
    from safetensors.numpy import save

    tensors: dict[str, Any] = {}
    for number, kind in enumerate(model.by_type):
        part = model.by_type[kind]
        tensors |= {f"{number}.{name}": getattr(part, name) for name in LINEAR}
        tensors |= {f"{number}.{name}": getattr(part.forest, name) for name in FOREST}
    head = {
        "version": VERSION,
        "kinds": model.kinds,
        "classes": model.classes,
        "names": model.names,
        "answers": {kind: part.answers for kind, part in model.by_type.items()},
        "temperature": model.temperature,
        "facts": model.facts,
        "out_of_fold": model.out_of_fold,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.part")
    plain = {name: np.ascontiguousarray(table) for name, table in tensors.items()}
    unfinished.write_bytes(save(plain, metadata={KEY: json.dumps(head, ensure_ascii=False, allow_nan=False)}))
    unfinished.replace(file)


def load_floor(file: Path) -> tuple[FloorModel, str]:
    """The model of a floor file and the file's SHA-256. Raises ModelError, saying what to do, for any other file."""
    try:
        raw = file.read_bytes()
    except OSError as why:
        raise ModelError(f"{file}: this floor file cannot be read ({why.strerror or why}). Check the path.") from None
    head, tensors = _parts(raw, file)
    if head.get("version") != VERSION:
        raise ModelError(f"{file}: holds measures of version {head.get('version')}; these are {VERSION}. {AGAIN}")
    try:
        model = _model(head, tensors)
        same = model.names == measure_names(model.kinds)
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise ModelError(f"{file}: is damaged ({why}). Copy it again, or train it again.") from None
    if not same:
        raise ModelError(f"{file}: was trained on other measures than this Toeline takes. {AGAIN}")
    return model, hashlib.sha256(raw).hexdigest()


def _parts(raw: bytes, file: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(raw)
        size = int.from_bytes(raw[:8], "little")
        head = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"][KEY])
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ModelError(f"{file}: is no floor file. {AGAIN}") from None
    if not isinstance(head, dict):
        raise ModelError(f"{file}: is no floor file. {AGAIN}")
    return head, tensors


def _model(head: Mapping[str, Any], tensors: Mapping[str, Any]) -> FloorModel:
    names = tuple(map(str, head["names"]))
    temperature = float(head["temperature"])
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}")
    parts = {kind: _type_model(i, tuple(said), tensors) for i, (kind, said) in enumerate(head["answers"].items())}
    for kind, part in parts.items():
        if len(part.weights) != len(names):
            raise ValueError(f"{kind} has {len(part.weights)} weights for {len(names)} measures")
        if part.answers != tuple(name for name, of in head["classes"].items() if of == kind):
            raise ValueError(f"{kind} has other answers than classes")
    return FloorModel(
        kinds=tuple(map(str, head["kinds"])),
        classes=dict(head["classes"]),
        names=names,
        by_type=parts,
        temperature=temperature,
        facts=dict(head["facts"]),
        out_of_fold=dict(head["out_of_fold"]),
    )


def _type_model(number: int, answers: tuple[str, ...], tensors: Mapping[str, Any]) -> TypeModel:
    linear = {name: _table(tensors[f"{number}.{name}"], np.float64) for name in LINEAR}
    forest = {name: _table(tensors[f"{number}.{name}"], kind) for name, kind in FOREST.items()}
    return TypeModel(answers, **linear, forest=Forest(**forest))


def _table(found: Any, kind: Any) -> Any:
    if found.dtype != kind:
        raise ValueError(f"a table is of {found.dtype}, not {np.dtype(kind)}")
    return found
