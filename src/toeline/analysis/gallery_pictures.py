"""The pictures of a gallery: whole photographs with all labels, objects with what is around them, marked problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from toeline.core.box import Box
from toeline.core.taxonomy import Names, Taxonomy, meanings
from toeline.data.labels import LabelLine
from toeline.report.draw import Mark, draw_marks, jpeg_bytes, legend
from toeline.report.plots import COLORS

WHOLE_PX, LEAST_PX = 840, 560  # the longer side of a whole photograph; enlarged where labels would cover objects
CROP_PX = 240
AROUND, LEAST_SHARE = (
    0.45,
    0.16,
)  # of context on each side, in object sides; the least side of a view, of the photograph
QUALITY = 72
Size = tuple[int, int]
PROBLEM_COLORS = ("#d6336c", "#f0a30a")  # what a problem is about, and what else is part of it


@dataclass(frozen=True)
class ClassStyle:
    """How a class is drawn."""

    name: str
    color: str
    style: int


def looks(names: Names, taxonomy: Taxonomy) -> Mapping[int, ClassStyle]:
    """By class id: color and line of the condition; a color of its own where the names say nothing of conditions."""
    known, styles = meanings(names, taxonomy).classes, legend(taxonomy)
    return {
        i: ClassStyle(name, *(styles[known[i].condition] if i in known else (COLORS[i % len(COLORS)], 0)))
        for i, name in names.items()
    }


def whole_picture(photo: Image.Image, lines: Sequence[LabelLine], look: Mapping[int, ClassStyle]) -> tuple[bytes, Size]:
    """JPEG of the photograph with every label line, under its number in the file, and its size in pixels."""
    shown, factor = _scaled(photo, whole_px(photo))
    marks = [_mark(line, look[line.class_id], factor, f"{line.line} {look[line.class_id].name}") for line in lines]
    return _jpeg(shown, marks)


def whole_px(photo: Image.Image) -> int:
    """The longer side that a whole photograph is shown with."""
    return min(WHOLE_PX, max(LEAST_PX, *photo.size))


def _jpeg(shown: Image.Image, marks: Sequence[Mark]) -> tuple[bytes, Size]:
    return jpeg_bytes(draw_marks(shown, marks), quality=QUALITY, subsampling=2), shown.size


def crop_picture(photo: Image.Image, line: LabelLine, look: ClassStyle) -> tuple[bytes, Size]:
    """JPEG of one object with what is around it, and its size in pixels."""
    view = view_around(line.box, photo.size)
    cut = photo.crop(tuple(map(round, view.xyxy)))  # type: ignore[arg-type]
    shown, factor = _scaled(cut, CROP_PX)
    return _jpeg(shown, [_mark(line, look, factor, "", view)])


def problem_picture(photo: Image.Image, boxes: Sequence[Box]) -> tuple[bytes, Size]:
    """JPEG of the photograph with the boxes of a problem: the first is what it is about."""
    shown, factor = _scaled(photo, whole_px(photo))
    several = len(boxes) > 1
    marks = [
        Mark(box.scaled(factor), str(i + 1) if several else "", PROBLEM_COLORS[min(i, 1)], 0)
        for i, box in enumerate(boxes)
    ]
    return _jpeg(shown, marks)


def view_around(box: Box, size_wh: tuple[int, int]) -> Box:
    """A square around the object where the photograph has room, moved inside it; whole pixels.

    >>> view_around(Box(0, 40, 20, 60), (100, 100))
    Box(x1=0, y1=31, x2=38, y2=69)
    """
    side = max(max(box.width, box.height) * (1 + 2 * AROUND), LEAST_SHARE * max(size_wh), 8)
    spans = []
    for middle, length in zip(box.center, size_wh, strict=True):
        extent = min(round(side), length)
        start = min(max(round(middle - extent / 2), 0), length - extent)
        spans.append((start, start + extent))
    (x1, x2), (y1, y2) = spans
    return Box(x1, y1, x2, y2)


def _scaled(image: Image.Image, longer_px: int) -> tuple[Image.Image, float]:
    """The picture with that longer side, and the factor."""
    factor = longer_px / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), factor


def _mark(line: LabelLine, look: ClassStyle, factor: float, text: str, view: Box | None = None) -> Mark:
    """The line's mark in a scaled picture, of the part `view` if one is given."""
    x0, y0 = (view.x1, view.y1) if view else (0.0, 0.0)
    box = Box(line.box.x1 - x0, line.box.y1 - y0, line.box.x2 - x0, line.box.y2 - y0).scaled(factor)
    polygon = tuple(((x - x0) * factor, (y - y0) * factor) for x, y in line.polygon)
    return Mark(box, text, look.color, look.style, polygon)
