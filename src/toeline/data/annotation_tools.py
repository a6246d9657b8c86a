"""Objects for annotation tools: CVAT for images 1.1 (XML), and Label Studio's tasks with their labeling interface.

Both give objects in pixels or percent of the upright photograph, and find the photograph by its name. What comes out of
a store carries references, so that it can come back (answers.py). Formats: docs.cvat.ai (XML annotation format) and
labelstud.io (Import pre-annotated data).
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
# What a person can say of what comes back, besides class and place: attributes of CVAT, a choice of Label Studio.
SEEN, CANNOT_JUDGE, PHOTO = "seen", "cannot_judge", "photo"
BACK = {SEEN: "checkbox", CANNOT_JUDGE: "checkbox"}
WHOLE = "whole photograph"  # CVAT's tag of a photograph: `photo` is its reference, `seen` that all on it was looked at
ANSWER, UNSURE = "answer", "cannot judge"  # Label Studio's choice for a region
REFERENCE = "toeline"  # the key in the data of a task of Label Studio


@dataclass(frozen=True)
class PredictedObject:
    """One object for an annotation tool: its class id and place as a label line, and what was said of it.

    `reference` is what the tool gives back of it; `unsure` that a person could not judge it.
    """

    line: LabelLine
    finding: Finding
    reference: str = ""
    unsure: bool = False


@dataclass(frozen=True)
class PredictedPhoto:
    """A photograph by its name below the folder that was inspected, its size in upright pixels, and what is on it.

    `reference` is what the tool gives back of it: with it, what is missing was deleted.
    """

    name: str
    size_wh: tuple[int, int]
    objects: tuple[PredictedObject, ...]
    reference: str = ""


def xml_text(text: str) -> str:
    r"""A text as XML can hold it: control characters, which it cannot, become the sign for an unknown character.

    >>> xml_text("a & b\x01.jpg")
    'a & b�.jpg'
    """
    return NO_XML.sub("\ufffd", text)


def xml_file(root: ElementTree.Element, *, declared: bool = True) -> bytes:
    """A whole XML file, one element a line."""
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=declared)
    return written + b"\n"


def child(parent: ElementTree.Element, name: str, text: str = "", /, **attributes: str) -> ElementTree.Element:
    """A new element at the end of `parent`."""
    element = ElementTree.SubElement(parent, name, {key: xml_text(value) for key, value in attributes.items()})
    element.text = xml_text(text) or None
    return element


def comes_back(photos: Sequence[PredictedPhoto]) -> bool:
    """Whether anything of them has a reference."""
    return any(photo.reference or any(one.reference for one in photo.objects) for photo in photos)


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
    for own in cvat_labels(names, back=comes_back(photos)):
        label = child(labels, "label")
        child(label, "name", own["name"])
        attributes = child(label, "attributes")
        for attribute in own["attributes"]:
            _attribute(attributes, attribute)
    for number, photo in enumerate(photos):
        wide, high = photo.size_wh
        image = child(root, "image", id=str(number), name=photo.name, width=str(wide), height=str(high))
        if photo.reference:
            tag = child(image, "tag", label=whole_of(names), source="manual")
            child(tag, "attribute", photo.reference, name=PHOTO)
            child(tag, "attribute", "false", name=SEEN)
        for order, one in enumerate(photo.objects):
            _shape(image, one, names[one.line.class_id], order)
    return xml_file(root)


def cvat_labels(names: Names, *, back: bool, taxonomy: Taxonomy | None = None) -> list[dict[str, Any]]:
    """The labels of a task as CVAT's constructor takes them (Raw); with `back`, what a person can answer with."""

    def label(name: str, kind: str, attributes: Mapping[str, str]) -> dict[str, Any]:
        color = {"color": taxonomy.color(taxonomy.class_of(name).condition)} if taxonomy and kind == "any" else {}
        return {"name": name, **color, "type": kind, "attributes": [_definition(*pair) for pair in attributes.items()]}

    whole = [label(whole_of(names), "tag", {PHOTO: "text", SEEN: "checkbox"})] if back else []
    own = {**ATTRIBUTES, **(BACK if back else {})}
    return [*(label(name, "any", own) for name in names.values()), *whole]


def whole_of(names: Names) -> str:
    """The name of the tag; a class may have it already."""
    return WHOLE if WHOLE not in names.values() else f"{WHOLE} (toeline)"


def _definition(name: str, kind: str) -> dict[str, Any]:
    """What a label's attribute is like."""
    default = "false" if kind == "checkbox" else ""
    return {"name": name, "mutable": False, "input_type": kind, "default_value": default, "values": [default]}


def _attribute(parent: ElementTree.Element, own: Mapping[str, Any]) -> None:
    """The same in the XML of a task."""
    element = child(parent, "attribute")
    for key, value in own.items():
        child(element, key, value[0] if isinstance(value, list) else str(value))


def _shape(image: ElementTree.Element, one: PredictedObject, label: str, order: int) -> None:
    box, common = one.line.box, {"label": label, "occluded": "0"}
    if one.line.polygon:
        points = ";".join(f"{_number(x)},{_number(y)}" for x, y in one.line.polygon)
        shape = child(image, "polygon", **common, points=points, z_order=str(order))
    else:
        corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(_number, box.xyxy), strict=True))
        shape = child(image, "box", **common, **corners, z_order=str(order))
    for name, value in _said(one).items():
        child(shape, "attribute", value, name=name)


def _said(one: PredictedObject) -> Mapping[str, str]:
    """The values of ATTRIBUTES, and of BACK."""
    finding = one.finding
    back = {SEEN: "false", CANNOT_JUDGE: "true" if one.unsure else "false"} if one.reference else {}
    return {
        "id": one.reference or finding.instance_id,
        "probability": f"{finding.verdict.probability:.4f}",
        "detector_confidence": f"{finding.score:.4f}",
        "review": "true" if finding.verdict.review else "false",
        **back,
    }


def _number(pixels: float) -> str:
    return f"{pixels:.2f}"


def label_studio_tasks(
    photos: Sequence[PredictedPhoto], names: Names, prefix: str, *, decided: bool = False
) -> Iterator[dict[str, Any]]:
    """One task for each photograph, its objects as one prediction, which Label Studio shows for correction.

    `prefix` stands before the photograph's name, which is quoted as a URL. `decided` makes annotations of them.
    """
    for number, photo in enumerate(photos, start=1):
        results = [
            result
            for at, one in enumerate(photo.objects, start=1)
            for result in _results(one, photo.size_wh, names[one.line.class_id], one.reference or f"{number}-{at}")
        ]
        least = min((one.finding.verdict.probability for one in photo.objects), default=1.0)
        data = {"image": f"{prefix}{quote(photo.name)}", "photo": photo.name}
        data |= {REFERENCE: photo.reference} if photo.reference else {}
        prediction = {"model_version": MODEL, "score": round(least, 4), "result": results}
        said = {"annotations": [{"result": results}]} if decided else {"predictions": [prediction]}
        yield {**said, "data": data}


def _results(one: PredictedObject, size_wh: tuple[int, int], label: str, number: str) -> Iterator[dict[str, Any]]:
    """The region of an object, and with it the choice that it could not be judged."""
    region = _result(one, size_wh, label, number)
    yield region
    if one.unsure:
        place = {key: value for key, value in region["value"].items() if key != region["type"]}
        own = {"type": "choices", "from_name": ANSWER, "value": {**place, "choices": [UNSURE]}}
        yield {key: value for key, value in region.items() if key not in ("score", "meta")} | own


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


def label_studio_interface(taxonomy: Taxonomy, *, back: bool = False) -> bytes:
    """The labeling interface to which the tasks belong: the classes in the colors of their conditions.

    `back` adds the choice for regions that nobody can judge.
    """
    root = ElementTree.Element("View")
    child(root, "Image", name="image", value="$image")
    for control, name in (("RectangleLabels", "label"), ("PolygonLabels", "polygon")):
        labels = child(root, control, name=name, toName="image")
        for c in taxonomy.classes:
            child(labels, "Label", value=c.name, background=taxonomy.color(c.condition))
    if back:
        choices = child(root, "Choices", name=ANSWER, toName="image", perRegion="true", showInline="true")
        child(choices, "Choice", value=UNSURE)
    return xml_file(root, declared=False)  # Label Studio refuses a pasted text that names its encoding
