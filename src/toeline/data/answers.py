"""What people left in annotation tools, read back: JSON of Label Studio, and "CVAT for images 1.1" as XML or in a zip.

Shapes become boxes here, the smallest that hold them, since what is reviewed has boxes. Nothing is known here of a
store: references are handed on as the texts that they are.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from toeline.core.box import Box
from toeline.core.reading import is_file, number, parse_xml, read_bytes, read_json
from toeline.core.taxonomy import fold
from toeline.core.words import cut, some
from toeline.data.annotation_tools import CANNOT_JUDGE, PHOTO, REFERENCE, SEEN, UNSURE
from toeline.data.coco_shapes import turned
from toeline.data.foreign import format_of
from toeline.data.images import SUFFIXES
from toeline.data.labels import MOST_OBJECTS, over
from toeline.errors import LabelError

MOST_BYTES = 256 << 20  # of the text of an export; in a zip, of annotations.xml alone
XML_NAME = "annotations.xml"
ADVICE = "Export it again: Label Studio as JSON, CVAT as CVAT for images 1.1."
AREAS = ("rectangle", "polygon", "ellipse", "brush", "bitmask")  # how types of results begin that are regions
PERCENT = (100, 100)  # the size that shares are given for, where a result has no size


@dataclass(frozen=True)
class Region:
    """One shape as a person left it; `box` is in pixels of Answered.size_wh. With a `fault` it cannot be used.

    `id` is the reference that the shape was exported with, or the tool's own. `seen` that the person says to have
    looked at it, `unsure` that nobody can judge it. `note` says what was made of it.
    """

    where: str
    label: str = ""
    box: Box | None = None
    id: str = ""
    seen: bool = False
    unsure: bool = False
    fault: str = ""
    note: str = ""


@dataclass(frozen=True)
class AnsweredPhoto:
    """One photograph as one person left it.

    `reference` is that of the photograph, or empty. `seen`: the person finished all of it; `skipped`: put it off. Only
    what `begun` with the shapes of its reference can tell by what is missing. `size_wh` is None for shares in percent.
    `who` made it and `stamp` is when it was saved last, as the tool says it.
    """

    where: str
    name: str
    reference: str = ""
    size_wh: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()
    seen: bool = False
    skipped: bool = False
    begun: bool = False
    who: str = ""
    stamp: str = ""
    seconds: float = 0.0


@dataclass
class Answers:
    """All of a file. `faults` and `notes` are of what became no `photos`, each with its place in the file.

    `unanswered` tasks have no annotation at all.
    """

    tool: str
    photos: list[AnsweredPhoto] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    unanswered: int = 0


def read_answers(file: Path, annotator: str = "") -> Answers:
    """An export, known by what stands in it. `annotator` takes what that one made in Label Studio, by id or e-mail.

    Raises LabelError for a file that is neither.
    """
    if not is_file(file):
        raise LabelError(f"{file}: there is no such file. Name what the tool exported.")
    if zipfile.is_zipfile(file):
        return _cvat(parse_xml(_unpacked(file), f"{file}/{XML_NAME}", LabelError, advice=ADVICE), file)
    with file.open("rb") as stream:
        head = stream.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \r\n\t")
    if head.startswith(b"<"):
        raw = read_bytes(file, LabelError, advice=ADVICE, most=MOST_BYTES)
        return _cvat(parse_xml(raw, str(file), LabelError, advice=ADVICE), file)
    return _label_studio(read_json(file, LabelError, advice=ADVICE, most=MOST_BYTES), file, annotator)


def _unpacked(file: Path) -> bytes:
    """annotations.xml of a zip, within MOST_BYTES; nothing else of it is unpacked. Raises LabelError."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = [one for one in archive.infolist() if one.filename.rsplit("/", 1)[-1] == XML_NAME]
            if len(found) != 1:
                raise LabelError(f"{file}: has {some(len(found), f'file {XML_NAME}', f'files {XML_NAME}')}. {ADVICE}")
            with archive.open(found[0]) as stream:
                raw = stream.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as why:
        raise LabelError(f"{file}: cannot be unpacked ({cut(str(why), 200)}). {ADVICE}") from None
    if len(raw) > MOST_BYTES:
        raise LabelError(f"{file}: {XML_NAME} has more than {MOST_BYTES:,} bytes when unpacked. {ADVICE}")
    return raw


# --- CVAT ---

SHAPES = ("box", "polygon", "ellipse", "mask")
OTHERS = ("polyline", "points", "cuboid", "skeleton")


def _cvat(root: ElementTree.Element, file: Path) -> Answers:
    """Photographs of <image>; a task on a video has <track> in their place."""
    if root.tag != "annotations" or (root.find("image") is None and root.find("track") is not None):
        what = "is CVAT for video" if root.find("track") is not None else f"its first element is <{cut(str(root.tag))}>"
        raise LabelError(f"{file}: {what}. {ADVICE}")
    found = Answers("CVAT")
    stamp = root.findtext("meta/*/updated") or ""
    for image in root.iterfind("image"):
        where = f"image {cut(image.get('name', ''))!r}"
        if many := over(MOST_OBJECTS, len(image), "shapes"):
            found.faults.append((where, f"has {many}."))
            continue
        try:
            found.photos.append(_cvat_image(image, where, stamp))
        except ValueError as why:
            found.faults.append((where, f"{why}."))
    return found


def _cvat_image(image: ElementTree.Element, where: str, stamp: str) -> AnsweredPhoto:
    """Raises ValueError for an image without a size."""
    size = _side(image, "width"), _side(image, "height")
    tags = [said for tag in image.iterfind("tag") if PHOTO in (said := _attributes(tag))]
    regions = [
        _cvat_region(shape, f"{where}, {shape.tag} {at}")
        for at, shape in enumerate((one for one in image if one.tag in SHAPES + OTHERS), start=1)
    ]
    reference = next((tag[PHOTO].strip() for tag in tags), "")
    return AnsweredPhoto(
        where,
        image.get("name", ""),
        reference,
        size,
        tuple(regions),
        seen=any(_ticked(tag, SEEN) for tag in tags),
        begun=bool(reference),
        stamp=stamp,
    )


def _side(image: ElementTree.Element, name: str) -> int:
    value = image.get(name, "")
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1_000_000:
        raise ValueError(f"its {name} is {cut(value)!r}, which is no number of pixels")
    return int(value)


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    return {one.get("name", ""): one.text or "" for one in element.iterfind("attribute")}


def _ticked(said: Mapping[str, str], name: str) -> bool:
    return said.get(name, "").strip().lower() == "true"


def _cvat_region(shape: ElementTree.Element, where: str) -> Region:
    said = _attributes(shape)
    common: dict[str, Any] = {
        "label": shape.get("label", ""),
        "id": said.get("id", "").strip(),
        "seen": _ticked(said, SEEN),
        "unsure": _ticked(said, CANNOT_JUDGE),
    }
    if shape.tag in OTHERS:
        return Region(where, **common, fault=f"a {shape.tag} covers no area that can be taken. Draw a rectangle")
    try:
        box, note = _cvat_box(shape)
    except ValueError as why:
        return Region(where, **common, fault=str(why))
    return Region(where, **common, box=box, note=note)


def _cvat_box(shape: ElementTree.Element) -> tuple[Box, str]:
    """The box of a shape, and what was made of it. Raises ValueError."""

    def value(name: str, text: str | None = None) -> float:
        return number(_as_float(shape.get(name, "") if text is None else text), f"its {name}", low=-1e6, high=1e6)

    degrees = value("rotation", shape.get("rotation", "0")) % 360
    if shape.tag == "box":
        return _boxed(Box(value("xtl"), value("ytl"), value("xbr"), value("ybr")), degrees)
    if shape.tag == "ellipse":
        return _around_ellipse(value("cx"), value("cy"), value("rx"), value("ry"), degrees)
    if shape.tag == "mask":
        left, top = value("left"), value("top")
        return Box(left, top, left + value("width"), top + value("height")), _made("mask")
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"its points are {cut(shape.get('points', ''))!r}, which are no pairs of numbers")
    return Box.around([(value("points", x), value("points", y)) for x, y in pairs]), _made("polygon")


def _as_float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _made(what: str) -> str:
    return f"the box around the {what} was taken"


def _boxed(box: Box, degrees: float, about: tuple[float, float] | None = None) -> tuple[Box, str]:
    """A rectangle that may be turned: CVAT turns about the center, Label Studio about the upper left corner."""
    if not degrees:
        return box, ""
    return Box.around(turned(box, degrees, about)), _made(f"rectangle that is turned by {degrees:.0f} degrees")


def _around_ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float) -> tuple[Box, str]:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    wide, high = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    return Box(cx - wide, cy - high, cx + wide, cy + high), _made("ellipse")


# --- Label Studio ---


def _label_studio(raw: Any, file: Path, annotator: str) -> Answers:
    tasks = raw if isinstance(raw, list) else []
    if not tasks or not all(isinstance(task, Mapping) and isinstance(task.get("data"), Mapping) for task in tasks):
        kind = format_of(file)
        what = f"holds {kind}" if kind else "holds no tasks"
        raise LabelError(f"{file}: {what}, and not tasks of Label Studio with their annotations. {ADVICE}")
    found = Answers("Label Studio")
    for at, task in enumerate(tasks, start=1):
        where = f"task {cut(str(task.get('id', at)))}"
        try:
            chosen, others = _of_one(task, annotator)
            found.photos += [_annotation(task, one, where) for one in chosen]
        except ValueError as why:
            found.faults.append((where, f"{why}."))
        else:
            found.unanswered += not (chosen or others)
            if others:
                said = "another one counts" if chosen else f"none is of {cut(annotator)}"
                found.notes.append((where, f"{some(others, 'annotation')} not read: {said}."))
    if annotator and not (found.photos or found.faults):
        found.faults.append(("--annotator", f"{cut(annotator)} annotated none of these tasks. Name an id or e-mail."))
    return found


def _mappings(value: Any, what: str) -> list[Mapping[str, Any]]:
    """A list of mappings, or ValueError."""
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ValueError(f"its {what} are {cut(repr(value))}, and must be a list of objects")
    return value


def _of_one(task: Mapping[str, Any], annotator: str) -> tuple[list[Mapping[str, Any]], int]:
    """The annotation that counts, at most one, and how many others there are. Raises ValueError where two could.

    A person's last one counts; one that answers counts before one that was skipped; the one with a star (ground truth)
    before all.
    """
    every = _mappings(task.get("annotations", []), "annotations")
    latest: dict[str, Mapping[str, Any]] = {}
    for one in sorted(every, key=lambda one: (not one.get("was_cancelled"), str(one.get("updated_at") or ""))):
        who = _who(one.get("completed_by"))
        if not annotator or fold(annotator) in map(fold, who):
            latest[who[0]] = one
    answered = [one for one in latest.values() if not one.get("was_cancelled")]
    starred = [one for one in answered if one.get("ground_truth") is True]
    kept = starred or answered or list(latest.values())[:1]
    if len({_content(one) for one in kept}) > 1:
        names = " and ".join(sorted(cut(name, 30) for name, one in latest.items() if one in kept))
        raise ValueError(f"{names} answered it differently. Name one with --annotator")
    return kept[:1], len(every) - len(kept[:1])


def _who(completed_by: Any) -> tuple[str, ...]:
    """By what an annotator can be named: the id, and the e-mail where the export has it."""
    if isinstance(completed_by, Mapping):
        return tuple(str(completed_by[key]) for key in ("id", "email") if completed_by.get(key)) or ("",)
    return ("" if completed_by is None else str(completed_by),)


def _content(annotation: Mapping[str, Any]) -> str:
    """Equal for annotations that say the same."""
    rows = [
        (g.id, g.label, g.unsure, g.fault, g.box and [round(v, 1) for v in g.box.xyxy])
        for g in _regions(annotation, "")
    ]
    return repr(sorted(rows, key=repr))


def _annotation(task: Mapping[str, Any], one: Mapping[str, Any], where: str) -> AnsweredPhoto:
    data = task["data"]
    skipped = bool(one.get("was_cancelled"))
    here = f"{where}, annotation {cut(str(one.get('id', '')))}" if one.get("id") else where
    seconds = one.get("lead_time")
    size = _size(one)
    return AnsweredPhoto(
        here,
        _name(data),
        str(data.get(REFERENCE) or ""),
        size,
        () if skipped else tuple(_regions(one, here)),
        seen=not skipped,
        skipped=skipped,
        begun=bool(one.get("parent_prediction") or one.get("parent_annotation")),
        who=_who(one.get("completed_by"))[0],
        stamp=str(one.get("updated_at") or ""),
        seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 86_400 else 0.0,
    )


def _name(data: Mapping[str, Any]) -> str:
    """How the task calls its photograph: in our key, in `image`, or in any that ends as a photograph does."""
    texts = [data.get("photo"), data.get("image"), *data.values()]
    known = [text for text in texts if isinstance(text, str) and text]
    return next((t for t in known if Path(t.partition("?")[0]).suffix.lower() in SUFFIXES or "?d=" in t), "")


def _size(annotation: Mapping[str, Any]) -> tuple[int, int] | None:
    """What the percents are of; None where no result says it. Raises ValueError where results disagree."""
    results = _mappings(annotation.get("result", []), "results")
    sizes = Counter(
        (int(number(r["original_width"], "original_width", low=1, high=1e6)),
         int(number(r["original_height"], "original_height", low=1, high=1e6)))
        for r in results
        if r.get("original_width") is not None and r.get("original_height") is not None
    )  # fmt: skip
    if len(sizes) > 1:
        raise ValueError("its regions are of photographs of several sizes")
    return next(iter(sizes), None)


def _regions(annotation: Mapping[str, Any], where: str) -> Iterator[Region]:
    """Results of one id are one region: its place, its label, what was chosen for it. Raises ValueError."""
    results = _mappings(annotation.get("result", []), "results")
    size = _size(annotation)
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for at, result in enumerate(results):
        if result.get("type") != "relation":
            groups[str(result.get("id") or f"#{at}")].append(result)
    if many := over(MOST_OBJECTS, len(groups), "regions"):
        raise ValueError(f"has {many}")
    for key, its in groups.items():
        region = _region(key, its, f"{where}, region {cut(key, 40)}", size)
        if region is not None:
            yield region


def _region(key: str, results: Sequence[Mapping[str, Any]], where: str, size: tuple[int, int] | None) -> Region | None:
    """None for what is of the whole photograph, such as a comment."""
    values = [v for r in results if isinstance(v := r.get("value"), Mapping)]
    labels = [str(one) for v in values for k, its in v.items() if k.endswith("labels") for one in _texts(its)]
    chosen = [fold(str(one)) for v in values for one in _texts(v.get("choices"))]
    common: dict[str, Any] = {"id": key, "unsure": fold(UNSURE) in chosen, "label": labels[0] if labels else ""}
    kinds = [str(r.get("type")) for r in results]
    if not labels and not any(
        k.rstrip("s").endswith(("label", "rectangle", "polygon", "ellipse", "brush")) for k in kinds
    ):
        return None
    if len(set(labels)) != 1:
        fault = f"it has the labels {cut(', '.join(labels), 200)}" if labels else "it has no label"
        return Region(where, **common, fault=f"{fault}. Give it one")
    if any(_turned(r.get("image_rotation")) for r in results):
        return Region(where, **common, fault="the photograph was turned in Label Studio. Turn it back, and save again")
    if any(r.get("item_index") for r in results):
        return Region(where, **common, fault="the task has several photographs. Make a task of each")
    try:
        places = [v for v in values if "x" in v or "points" in v]
        place = places[0] if places else {}
        box, note = _place(place, size or PERCENT, sized=size is not None)
    except ValueError as why:
        return Region(where, **common, fault=str(why))
    return Region(where, **common, box=box, note=note)


def _texts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _turned(value: Any) -> bool:
    return isinstance(value, int | float) and bool(value % 360)


def _place(value: Mapping[str, Any], size: tuple[int, int], *, sized: bool) -> tuple[Box, str]:
    """The box of a region in pixels of `size`. Raises ValueError."""

    def share(name: str, side: int, given: Any = None) -> float:
        return (
            number(value.get(name) if given is None else given, f"its {name}", low=-1000, high=1000) * size[side] / 100
        )

    degrees = number(value.get("rotation") or 0, "its rotation", low=-1e4, high=1e4) % 360
    if degrees and not sized:
        raise ValueError("it is turned, and nothing says how wide and high the photograph is")
    if "points" in value:
        points = [p for p in _texts(value["points"]) if isinstance(p, list) and len(p) == 2]
        if len(points) < 3:
            raise ValueError("it has no three points")
        return Box.around([(share("points", 0, x), share("points", 1, y)) for x, y in points]), _made("polygon")
    if "radiusX" in value:
        radii = share("radiusX", 0), share("radiusY", 1)
        return _around_ellipse(share("x", 0), share("y", 1), *radii, degrees)
    if "width" not in value:
        raise ValueError("only rectangles, polygons and ellipses can be taken. Draw a rectangle")
    x, y = share("x", 0), share("y", 1)
    return _boxed(Box(x, y, x + share("width", 0), y + share("height", 1)), degrees, (x, y))
