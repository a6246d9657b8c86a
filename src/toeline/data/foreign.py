"""Annotations in formats that are not read, known by what stands in them, so that a message can say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
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
    return next((name for name, pattern in FORMATS.items() if re.search(pattern, text)), "")


# Name -> what stands in its files and in no other's; the first that is found counts.
FORMATS: Mapping[str, str] = {
    "CVAT for images (XML)": r"<annotations>[\s\S]*<(image|track)\b",
    "Pascal VOC (XML)": r"<annotation\b[\s\S]*<(object|filename|folder)\b",
    "VGG Image Annotator (VIA)": r'"_via_\w+"|"region_attributes"|region_shape_attributes',
    "LabelMe (JSON)": r'"shapes"[\s\S]*"imagePath"|"imagePath"[\s\S]*"shapes"|"shape_type"',
    "Label Studio (JSON)": r'"annotations"[\s\S]*"(from_name|rectanglelabels|polygonlabels|brushlabels|completed_by)"',
    "Label Studio (JSON-MIN)": r'"(rectanglelabels|polygonlabels|brushlabels|annotation_id|original_width)"',
    "Labelbox (JSON)": r'"(data_row|labeling_service|featureId)"',
    "Supervisely (JSON)": r'"classTitle"',
    "V7 Darwin (JSON)": r'"bounding_box"[\s\S]*"team"|darwin',
    "CreateML (JSON)": r'"coordinates"\s*:\s*\{[^}]*"(x|width)"',
    "Datumaro (JSON)": r'"items"\s*:[\s\S]*"label_id"|"dm_format_version"',
    "a table (CSV)": r"^[^\n]*\b(xmin|x_min|x1)\b[^\n]*(,|;)",
}
