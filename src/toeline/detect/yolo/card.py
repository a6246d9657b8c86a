"""What an `.onnx` that ultralytics exported says of itself: class names, task, input, and what was built into it.

The names of the entries and the form of their values (Python literals) are those of `ultralytics` 8.x, seen in exported
files; older versions lack some, and what can be read off the graph instead is.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.errors import ModelError

TASKS = ("detect", "segment", "obb")
AGAIN = "Export it again with ultralytics: yolo export model=best.pt format=onnx"
COEFFICIENTS = 32  # channels that mix the mask prototypes, in every segmentation head of ultralytics


@dataclass(frozen=True)
class ExportCard:
    """What must be known to run an export.

    `input_hw` is the size of the input in pixels: exact when not `dynamic`, otherwise the most that a photograph is
    laid into. `stride` is what both sides must be a multiple of. `batch` is the number of images that the graph takes
    at once, 0 for any. `rows` is true when the graph gives finished rows (built-in suppression of duplicates, or none
    needed) instead of raw predictions.
    """

    names: Mapping[int, str]
    task: str
    input_hw: tuple[int, int]
    stride: int
    dynamic: bool
    batch: int
    rows: bool

    @property
    def extra(self) -> int:
        """Numbers of a prediction behind its box and scores: mask coefficients, or an angle."""
        return {"segment": COEFFICIENTS, "obb": 1}.get(self.task, 0)


def read_card(said: Mapping[str, str], shape: Sequence[Any], path: Path) -> ExportCard:
    """Read the metadata `said` of the model `path`, whose input has `shape` (B, 3, H, W), names for free sizes.

    Raises ModelError when it is not an export of ultralytics, or not one of a detector.
    """
    if len(shape) != 4 or shape[1] != 3:
        raise ModelError(
            f"{path}: its input has the shape {list(shape)}; a detector of photographs takes (batch, 3, height, width)."
        )
    names = _names(said, path)
    task = said.get("task", "detect")
    if task not in TASKS or "RTDETR" in said.get("head", ""):
        raise ModelError(
            f"{path}: is made for {task!r} with the head {said.get('head', 'unknown')}. Toeline reads exports of the "
            f"YOLO heads for {', '.join(TASKS)}; give the .pt of another one."
        )
    built = _literal(said, "args", path) if "args" in said else {}
    built = built if isinstance(built, dict) else {}
    free = not all(isinstance(side, int) for side in shape[2:])
    nms = bool(built.get("nms"))
    return ExportCard(
        names=names,
        task=task,
        input_hw=_input_hw(said, shape, path),
        stride=_whole(said, "stride", path, 32),
        dynamic=free,
        batch=_batch(said, shape, path, looped=nms),
        rows=nms or said.get("end2end") == "True",
    )


def _names(said: Mapping[str, str], path: Path) -> Mapping[int, str]:
    if "names" not in said:
        raise ModelError(
            f"{path}: says nothing of its classes: it has neither detector.json beside it nor the metadata (`names`, "
            f"`imgsz`, `stride`, `task`) of an export of ultralytics. {AGAIN}"
        )
    names = _literal(said, "names", path)
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or sorted(names) != list(range(len(names))):
        raise ModelError(f"{path}: its class names are {said['names'][:200]!r}, not one name for each id. {AGAIN}")
    return {int(i): str(name) for i, name in names.items()}


def _input_hw(said: Mapping[str, str], shape: Sequence[Any], path: Path) -> tuple[int, int]:
    """The sides of the graph's input where they are fixed, those of the metadata otherwise."""
    if isinstance(shape[2], int) and isinstance(shape[3], int):
        return shape[2], shape[3]
    if "imgsz" not in said:
        raise ModelError(f"{path}: takes any size, and its metadata has no `imgsz` to say which is best. {AGAIN}")
    sides = _literal(said, "imgsz", path)
    pair = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(s, int) and s > 0 for s in pair):
        raise ModelError(f"{path}: its `imgsz` is {said['imgsz']!r}, which is not a size in pixels. {AGAIN}")
    return pair[0], pair[1]


def _batch(said: Mapping[str, str], shape: Sequence[Any], path: Path, *, looped: bool) -> int:
    """Images at once, 0 for any. Built-in suppression loops over as many as were there when the graph was made."""
    if isinstance(shape[0], int):
        return shape[0]
    return _whole(said, "batch", path, 1) if looped else 0


def _whole(said: Mapping[str, str], key: str, path: Path, default: int) -> int:
    value = _literal(said, key, path) if key in said else default
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{path}: its `{key}` is {said[key]!r}, not a whole number above zero. {AGAIN}")
    return value


def _literal(said: Mapping[str, str], key: str, path: Path) -> Any:
    """A value as Python would read it, without running anything. Raises ModelError."""
    try:
        return ast.literal_eval(said[key])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ModelError(f"{path}: its metadata `{key}` cannot be read ({said[key][:200]!r}). {AGAIN}") from None
