"""Predictions for annotation tools: CVAT for images 1.1 (XML), and Label Studio's tasks with their labeling interface.

Both give objects in pixels or percent of the upright photograph, and find the photograph by its name. Formats:
docs.cvat.ai (XML annotation format) and labelstud.io (Import pre-annotated data).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from toeline._version import __version__
from toeline.core.finding import Finding
from toeline.core.taxonomy import Names, Taxonomy
from toeline.data.labels import LabelLine

TITLE = "Toeline findings"
ATTRIBUTES = {"id": "text", "probability": "text", "detector_confidence": "text", "review": "checkbox"}
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
MODEL = f"toeline {__version__}"


@dataclass(frozen=True)
class PredictedObject:
    """One object for an annotation tool: its class id and place as a label line, and what was said of it."""

    line: LabelLine
    finding: Finding


@dataclass(frozen=True)
class PredictedPhoto:
    """A photograph by its name below the folder that was inspected, its size in upright pixels, and what is on it."""

    name: str
    size_wh: tuple[int, int]
    objects: tuple[PredictedObject, ...]


def xml_text(text: str) -> str:
    r"""A text as XML can hold it: control characters, which it cannot, become the sign for an unknown character.

    >>> xml_text("a & b\x01.jpg")
    'a & b�.jpg'
    """
    return NO_XML.sub("\ufffd", text)


def xml_file(root: ElementTree.Element) -> bytes:
    """A whole XML file, one element a line."""
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def child(parent: ElementTree.Element, name: str, text: str = "", /, **attributes: str) -> ElementTree.Element:
    """A new element at the end of `parent`."""
    element = ElementTree.SubElement(parent, name, {key: xml_text(value) for key, value in attributes.items()})
    element.text = xml_text(text) or None
    return element


def cvat_xml(photos: Sequence[PredictedPhoto], names: Names) -> bytes:
    """annotations.xml of "CVAT for images 1.1": every class as a label, every object a box or a polygon."""
    root = ElementTree.Element("annotations")
    child(root, "version", "1.1")
    task = child(child(root, "meta"), "task")
    for name, text in (("name", TITLE), ("size", str(len(photos))), ("mode", "annotation"), ("overlap", "0")):
        child(task, name, text)
    child(task, "bugtracker")
    child(task, "flipped", "False")
    labels = child(task, "labels")
    for name in names.values():
        label = child(labels, "label")
        child(label, "name", name)
        attributes = child(label, "attributes")
        for attribute, kind in ATTRIBUTES.items():
            _attribute(attributes, attribute, kind)
    for number, photo in enumerate(photos):
        wide, high = photo.size_wh
        image = child(root, "image", id=str(number), name=photo.name, width=str(wide), height=str(high))
        for order, one in enumerate(photo.objects):
            _shape(image, one, names[one.line.class_id], order)
    return xml_file(root)


def _attribute(parent: ElementTree.Element, name: str, kind: str) -> None:
    """What a label's attribute is like, as a task of CVAT defines it."""
    element = child(parent, "attribute")
    default = "false" if kind == "checkbox" else ""
    for key, text in (("name", name), ("mutable", "False"), ("input_type", kind), ("default_value", default)):
        child(element, key, text)
    child(element, "values", default)


def _shape(image: ElementTree.Element, one: PredictedObject, label: str, order: int) -> None:
    box, common = one.line.box, {"label": label, "occluded": "0"}
    if one.line.polygon:
        points = ";".join(f"{_number(x)},{_number(y)}" for x, y in one.line.polygon)
        shape = child(image, "polygon", **common, points=points, z_order=str(order))
    else:
        corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(_number, box.xyxy), strict=True))
        shape = child(image, "box", **common, **corners, z_order=str(order))
    for name, value in _said(one.finding).items():
        child(shape, "attribute", value, name=name)


def _said(finding: Finding) -> Mapping[str, str]:
    """The values of ATTRIBUTES."""
    return {
        "id": finding.instance_id,
        "probability": f"{finding.verdict.probability:.4f}",
        "detector_confidence": f"{finding.score:.4f}",
        "review": "true" if finding.verdict.review else "false",
    }


def _number(pixels: float) -> str:
    return f"{pixels:.2f}"


def label_studio_tasks(photos: Sequence[PredictedPhoto], names: Names, prefix: str) -> Iterator[dict[str, Any]]:
    """One task for each photograph, its objects as one prediction, which Label Studio shows for correction.

    `prefix` stands before the photograph's name, which is quoted as a URL.
    """
    for number, photo in enumerate(photos, start=1):
        results = [
            _result(one, photo.size_wh, names[one.line.class_id], f"{number}-{at}")
            for at, one in enumerate(photo.objects, start=1)
        ]
        least = min((one.finding.verdict.probability for one in photo.objects), default=1.0)
        prediction = {"model_version": MODEL, "score": round(least, 4), "result": results}
        data = {"image": f"{prefix}{quote(photo.name)}", "photo": photo.name}
        yield {"predictions": [prediction], "data": data}


def _result(one: PredictedObject, size_wh: tuple[int, int], label: str, number: str) -> dict[str, Any]:
    """One region; places in percent of the photograph."""
    across, down = (100 / side for side in size_wh)
    kind, control = ("polygonlabels", "polygon") if one.line.polygon else ("rectanglelabels", "label")
    box, review = one.line.box, one.finding.verdict.review
    place: dict[str, Any] = {
        "x": box.x1 * across,
        "y": box.y1 * down,
        "width": box.width * across,
        "height": box.height * down,
        "rotation": 0,
    }
    if one.line.polygon:
        place = {"points": [[x * across, y * down] for x, y in one.line.polygon], "closed": True}
    return {
        "id": number,
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "original_width": size_wh[0],
        "original_height": size_wh[1],
        "image_rotation": 0,
        "value": {**place, kind: [label]},
        "score": round(one.finding.verdict.probability, 4),
        **({"meta": {"text": [review]}} if review else {}),
    }


def label_studio_interface(taxonomy: Taxonomy) -> bytes:
    """The labeling interface to which the tasks belong: the classes in the colors of their conditions."""
    root = ElementTree.Element("View")
    child(root, "Image", name="image", value="$image")
    for control, name in (("RectangleLabels", "label"), ("PolygonLabels", "polygon")):
        labels = child(root, control, name=name, toName="image")
        for c in taxonomy.classes:
            child(labels, "Label", value=c.name, background=taxonomy.color(c.condition))
    return xml_file(root)
