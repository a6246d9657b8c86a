"""Writes COCO JSON beside the photographs, as Roboflow does: `SPLIT/_annotations.coco.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from toeline.data.class_names import Names
from toeline.data.label_lines import LabelLine, Points, Problem
from toeline.data.labelled import LabelledPhoto, LabelSet, folder_of
from toeline.data.write_yolo import Carry, carry

ANNOTATIONS = "_annotations.coco.json"
OURS = "toeline"  # info.contributor; class ids of such a file are YOLO's, whatever holes they have


def write_coco(
    data: LabelSet, folder: Path, how: Carry, *, step: Callable[[Sequence[Problem]], None] = lambda _: None
) -> None:
    """Photographs and annotations into `folder`."""
    for split, photos in data.splits.items():
        place = folder / folder_of(split)
        for photo in photos:
            carry(photo.photo, place / photo.name, how)
            step([])
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(coco_record(photos, data.names), ensure_ascii=False, allow_nan=False)
        (place / ANNOTATIONS).write_text(text + "\n", encoding="utf-8")


def coco_record(photos: Sequence[LabelledPhoto], names: Names) -> dict[str, Any]:
    """One split as a COCO file holds it. Category ids are the class ids; ids of annotations begin at 1, because
    pycocotools takes 0 for "no match"."""
    annotations = [
        annotation(line, image_id) for image_id, photo in enumerate(photos, start=1) for line in photo.lines or ()
    ]
    return {
        "info": {"description": "class ids are those of the YOLO data set", "contributor": OURS},
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": "none"} for i, name in sorted(names.items())],
        "images": [_image(i, photo) for i, photo in enumerate(photos, start=1)],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, start=1)],
    }


def _image(image_id: int, photo: LabelledPhoto) -> dict[str, Any]:
    """`labelled: false` is ours: COCO cannot tell a photograph without objects from one that nobody looked at."""
    wide, high = photo.size_wh
    record = {"id": image_id, "file_name": photo.name, "width": wide, "height": high}
    return record if photo.lines is not None else {**record, "labelled": False}


def annotation(line: LabelLine, image_id: int) -> Mapping[str, Any]:
    """A box line has no `segmentation`, so that it is a box line again on the way back; pixels, x y width height."""
    box = line.box
    record = {
        "image_id": image_id,
        "category_id": line.class_id,
        "bbox": [box.x1, box.y1, box.width, box.height],
        "area": _area(line.polygon) if line.polygon else box.area,
        "iscrowd": 0,
    }
    if line.polygon:
        record["segmentation"] = [[v for point in line.polygon for v in point]]
    return record


def _area(polygon: Points) -> float:
    """Pixels squared, by the shoelace formula."""
    return abs(sum(ax * by - ay * bx for (ax, ay), (bx, by) in pairwise((*polygon, polygon[0])))) / 2
