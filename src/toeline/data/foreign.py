"""Annotations in formats that are not read, known by what stands in them, so that a message can say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

EXPORT = "Export them as COCO or YOLO from there."
HEAD = 200_000  # bytes of a file that are looked at
MOST_FILES = 2000  # that are looked at
ENDINGS = (".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tfrecord", ".record")


def other_formats(root: Path) -> str:
    """What a file, or the first such file of a folder, holds, and what to do; empty where nothing is known."""
    for file in islice([root] if root.is_file() else _files(root), MOST_FILES):
        if name := format_of(file):
            return f"{file.name} holds annotations of {name}, which is not read. {EXPORT}"
    return ""


def _files(root: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, n) for n in sorted(names) if n.lower().endswith(ENDINGS) and not n.startswith("."))


def format_of(file: Path) -> str:
    """The format's name, by its first HEAD bytes; empty for one that is not known."""
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as stream:
            text = stream.read(HEAD).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
    if file.suffix.lower() in (".tfrecord", ".record"):
        return "TensorFlow (TFRecord)"
    return next((name for name, words in FORMATS if all(word in text for word in words)), "")


# A format and what stands in its files, all of it; the first that fits counts.
FORMATS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("CVAT for images (XML)", ("<annotations", "<image ")),
    ("CVAT for video (XML)", ("<annotations", "<track ")),
    ("Pascal VOC (XML)", ("<annotation", "<object", "<name")),
    ("Pascal VOC (XML)", ("<annotation", "<filename")),
    ("VGG Image Annotator (VIA)", ('"_via_',)),
    ("VGG Image Annotator (VIA)", ('"region_attributes"',)),
    ("VGG Image Annotator (VIA)", ("region_shape_attributes",)),
    ("LabelMe (JSON)", ('"shapes"', '"imagePath"')),
    ("Label Studio (JSON)", ('"annotations"', '"completed_by"')),
    ("Label Studio (JSON)", ('"annotations"', '"from_name"')),
    *(("Label Studio (JSON-MIN)", (f'"{kind}labels"',)) for kind in ("rectangle", "polygon", "brush")),
    ("Label Studio (JSON-MIN)", ('"annotation_id"',)),
    ("VoTT (JSON)", ('"assets"', '"tags"')),
    ("VoTT (JSON)", ('"asset"', '"regions"')),
    ("Labelbox (JSON)", ('"data_row"',)),
    ("Supervisely (JSON)", ('"classTitle"',)),
    ("V7 Darwin (JSON)", ('"bounding_box"', '"item"')),
    ("CreateML (JSON)", ('"annotations"', '"coordinates"', '"label"')),
    ("Datumaro (JSON)", ('"items"', '"label_id"')),
    ("a table (CSV)", ("xmin", "ymin", "xmax")),
    ("a table (CSV)", ("x_min", "y_min", "x_max")),
    ("a table (CSV)", ("x1,", "y1,", "x2,")),
)
