"""YOLO to COCO and back: reads a data set of one format, writes it whole in the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import open_coco, read_coco
from toeline.data.label_lines import Problem
from toeline.data.labelled import LabelSet, folder_of, read_yolo
from toeline.data.write_coco import write_coco
from toeline.data.write_yolo import Carry, carry, data_yaml, require_apart, row, staged, write_rows
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError

NOTE = "convert.json"
SCHEMA = 1
Step = Callable[[Sequence[Problem]], None]


class Format(StrEnum):
    """What a data set is written as."""

    COCO = "coco"
    YOLO = "yolo"


def read_other(root: Path, to: Format, taxonomy: Taxonomy, *, step: Step = lambda _: None) -> LabelSet:
    """The data set in the format that is not `to`. Raises LabelError for one that is in `to` already."""
    if to is Format.YOLO:
        return read_coco(open_coco(root), root, step=step)
    data = open_yolo(root, taxonomy, any_class=True)
    if all(entry.labels is None for entries in data.splits.values() for entry in entries):
        raise LabelError(f"{root}: no photograph here has a YOLO label file. Name the top of a YOLO data set.")
    return read_yolo(data, step=step)


def write_as(data: LabelSet, to: Format, out: Path, how: Carry, *, step: Step = lambda _: None) -> dict[str, Any]:
    """Write the data set and return what convert.json holds. Raises OutputError for a folder that holds something else.

    `step` is called for every photograph. A folder that holds the same already is left as it is.
    """
    settings = {"schema": SCHEMA, "to": to.value, "carry": how.value, "data_sha256": data.sha256()}
    require_apart(out, [p.photo.parent for photos in data.splits.values() for p in photos])
    with staged(out, NOTE, settings) as stage:
        if stage is None:
            return {**json.loads((out / NOTE).read_text(encoding="utf-8")), "already": True}
        (write_coco if to is Format.COCO else write_yolo)(data, stage, how, step=step)
        record = {"settings": settings, **describe(data)}
        (stage / NOTE).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**record, "already": False}


def write_yolo(data: LabelSet, folder: Path, how: Carry, *, step: Step = lambda _: None) -> None:
    """Photographs, label files and data.yaml into `folder`; a photograph that nobody labelled gets no label file."""
    for split, photos in data.splits.items():
        place = folder / folder_of(split)
        for photo in photos:
            carry(photo.photo, place / "images" / photo.name, how)
            if photo.lines is not None:
                write_rows(place / "labels" / photo.name, [row(line, photo.size_wh) for line in photo.lines])
            step([])
    splits = [split for split in data.splits if folder_of(split) == split]
    (folder / "data.yaml").write_text(data_yaml(splits, data.names), encoding="utf-8")


def describe(data: LabelSet) -> dict[str, Any]:
    """Counts, classes, and what was left out or changed."""
    lines = [line for photos in data.splits.values() for p in photos for line in p.lines or ()]
    return {
        "photographs": {split: len(photos) for split, photos in data.splits.items()},
        "boxes": sum(not line.polygon for line in lines),
        "polygons": sum(bool(line.polygon) for line in lines),
        "classes": {str(i): name for i, name in sorted(data.names.items())},
        "notes": list(data.notes),
        "problems": [{"file": str(p.file), "line": p.line, "what": p.what} for p in data.problems],
    }
