"""Draws findings on a photograph: a box and a name each, readable at 224 and at 6000 pixels. Pillow only.

Condition is told twice, so that nobody has to see color: by the taxonomy's color, and by the line (solid, dashed,
dotted, in the order of the taxonomy's conditions) together with the condition's name in the label.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFile, ImageFont

from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.taxonomy import Taxonomy

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FONT_SHARE, FONT_LEAST_PX = 1 / 52, 9  # of the longer side; under 9 px Pillow's bundled font cannot be read
LINE_SHARE, LINE_LEAST_PX = 1 / 270, 1.5
DASHES: tuple[tuple[int, int], ...] = (
    (1, 0),
    (7, 4),
    (2, 2),
    (12, 3),
)  # drawn and left out, in line widths; (1, 0) is solid
LINES = ("solid", "dashed", "dotted", "double")  # the CSS border of each line style of report/draw.py
CROWDED_PX = 300  # a photograph with a shorter side under this shows numbers beside the boxes instead of names


JPEG_MOST_PX, FINE_CHROMA_PX = 65_500, 2_000
JPEG_MOST_BYTES = 3  # of a pixel: noise in full color has 1.8 at quality 88
MARKED_MOST_PX = (
    4_096  # of a marked picture's longer side: boxes and names are read at that; originals stay as they are
)


@dataclass(frozen=True)
class Mark:
    """One thing as it is drawn: `text` beside `box`, in `color`, with line style number `style`.

    The line goes round `polygon` (pixels) if there is one, else round `box`. An empty text makes no label.
    """

    box: Box
    text: str
    color: str
    style: int
    polygon: tuple[tuple[float, float], ...] = ()

    def scaled(self, factor: float) -> Mark:
        """The same mark in a picture that was resized by `factor`."""
        polygon = tuple((x * factor, y * factor) for x, y in self.polygon)
        return replace(self, box=self.box.scaled(factor), polygon=polygon)


def marks_of(findings: Sequence[Finding], taxonomy: Taxonomy, *, short: bool = False) -> list[Mark]:
    """One mark per finding, under the id that tables and pages give it; `short` leaves the type's name out."""
    order = [c.name for c in taxonomy.conditions]
    return [
        Mark(
            f.box,
            _caption(f, taxonomy, short=short),
            taxonomy.color(f.verdict.condition),
            order.index(f.verdict.condition) % len(DASHES),
        )
        for f in findings
    ]


def _caption(finding: Finding, taxonomy: Taxonomy, *, short: bool) -> str:
    legal = {c.condition for c in taxonomy.classes if c.type == taxonomy.class_of(finding.verdict.class_name).type}
    condition = finding.verdict.condition if len(legal) > 1 else ""
    flag = ("!" if finding.grade.immediate else "") + ("?" if finding.verdict.review else "")
    if short:
        return f"{finding.instance_id}{condition[:1].upper()}{flag}"
    name = taxonomy.spoken(taxonomy.class_of(finding.verdict.class_name).type)
    return " ".join(part for part in (finding.instance_id, name, condition) if part) + flag


def draw(image: Image.Image, findings: Sequence[Finding], taxonomy: Taxonomy) -> Image.Image:
    """A copy of an RGB photograph with every finding marked, scaled down to MARKED_MOST_PX where it is larger."""
    short = min(image.size) < CROWDED_PX
    marks, scale = marks_of(findings, taxonomy, short=short), MARKED_MOST_PX / max(image.size)
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        marks = [mark.scaled(scale) for mark in marks]
    return draw_marks(image, marks)


def draw_marks(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """Boxes first, then the labels on top of them, so that no line crosses a name."""
    shown = image.convert("RGB")
    pen = ImageDraw.Draw(shown)
    longer = max(shown.size)
    width = max(LINE_LEAST_PX, longer * LINE_SHARE)
    font = _font(max(FONT_LEAST_PX, round(longer * FONT_SHARE)))
    for mark in marks:
        _outline(pen, mark, shown.size, width)
    named = [m for m in marks if m.text]
    places = place_labels([m.box for m in named], [_size(pen, m.text, font) for m in named], shown.size, gap=width)
    for mark, place in zip(named, places, strict=True):
        _label(pen, mark, place, font, width)
    return shown


def as_jpeg(image: Image.Image, *, quality: int = 88) -> bytes:
    """The bytes of a JPEG file; scaled down where a side is longer than the format can hold."""
    if max(image.size) > JPEG_MOST_PX:
        image = image.copy()
        image.thumbnail((JPEG_MOST_PX, JPEG_MOST_PX))
    chroma = 0 if max(image.size) < FINE_CHROMA_PX else 2  # 4:4:4 keeps small colored letters sharp, 4:2:0 saves space
    return jpeg_bytes(image, quality=quality, subsampling=chroma, optimize=chroma == 0)


def jpeg_bytes(image: Image.Image, *, quality: int, subsampling: int, optimize: bool = True) -> bytes:
    """The bytes of a JPEG file of any picture, however grainy: Pillow's own buffer has one byte a pixel."""
    if optimize:
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, JPEG_MOST_BYTES * image.width * image.height)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=optimize, subsampling=subsampling)
    return buffer.getvalue()


def data_uri(picture: bytes, form: str = "jpeg") -> str:
    """The bytes of a picture as a page holds them."""
    return f"data:image/{form};base64,{b64encode(picture).decode('ascii')}"


CONTEXT = 0.4  # of the box's longer side, on every side
LEAST_PX = 96  # of a crop's side in the photograph: less shows nothing but texture


def crop_window(box: Box, size_wh: tuple[int, int]) -> Box:
    """A square of the photograph around a box, with what is around it; moved and cut so that it lies in the frame.

    >>> crop_window(Box(10, 10, 20, 110), (400, 300)), crop_window(Box(0, 50, 400, 80), (400, 300))
    (Box(x1=0, y1=0, x2=180, y2=180), Box(x1=0, y1=0, x2=400, y2=300))
    """
    side = round(max(LEAST_PX, (1 + 2 * CONTEXT) * max(box.width, box.height)))
    starts = [
        max(0, min(round(middle - side / 2), frame - side)) for middle, frame in zip(box.center, size_wh, strict=True)
    ]
    (x, y), (wide, high) = starts, size_wh
    return Box(x, y, min(wide, x + side), min(high, y + side))


@cache
def _font(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


def _size(pen: ImageDraw.ImageDraw, text: str, font: Font) -> tuple[float, float]:
    """Width and height of a label with its padding; the height is that of a line, not of these letters."""
    x1, _, x2, _ = pen.textbbox((0, 0), text, font=font)
    _, y1, _, y2 = pen.textbbox((0, 0), "Ag", font=font)
    pad = (y2 - y1) * 0.25
    return x2 - x1 + 3 * pad, y2 - y1 + 2 * pad


def _outline(pen: ImageDraw.ImageDraw, mark: Mark, size_wh: tuple[int, int], width: float) -> None:
    """A dark line under a colored one: seen on grass, on concrete and on shadow."""
    half, (wide, high) = width / 2, size_wh  # half a line inside the frame, or what touches the border loses an edge

    def inside(x: float, y: float) -> Point:
        return max(half, min(x, wide - 1 - half)), max(half, min(y, high - 1 - half))

    x1, y1, x2, y2 = mark.box.xyxy
    corners = [inside(*corner) for corner in mark.polygon or ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    edges = list(pairwise((*corners, corners[0])))
    for a, b in edges:
        pen.line((a, b), fill="#10151c", width=round(max(2, width * 1.7)))
    done = 0.0
    for a, b in edges:
        for start, end in _dashes(a, b, mark.style, width, done):
            pen.line((start, end), fill=mark.color, width=max(1, round(width)))
        done += math.dist(a, b) if mark.polygon else 0  # a box's edges all begin with a dash


Point = tuple[float, float]


def _dashes(a: Point, b: Point, style: int, width: float, done: float = 0.0) -> Iterator[tuple[Point, Point]]:
    """Pieces of the edge from a to b that are drawn, when the pattern began `done` pixels before a."""
    on, off = DASHES[style]
    length = math.dist(a, b)
    if not off or length == 0:
        yield a, b
        return
    step, ink = (on + off) * max(width, 1.5), on * max(width, 1.5)
    for at in range(int(done // step), math.ceil((done + length) / step)):
        s, e = max(at * step - done, 0.0) / length, min((at * step - done + ink) / length, 1.0)
        if s < e:
            yield (
                (a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s),
                (a[0] + (b[0] - a[0]) * e, a[1] + (b[1] - a[1]) * e),
            )


def place_labels(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], frame: tuple[int, int], *, gap: float = 1.0
) -> list[Box]:
    """A place for each label near its box, inside the frame, and clear of the labels before it where there is room.

    Tried in turn: above the box, inside its top, below it, to the right, to the left; at the left, middle and right of
    the edge. Where every place is taken, the one that covers least of other labels wins. Small boxes are served first.
    """
    taken: dict[int, Box] = {}
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i].area):
        choices = (_inside(place, frame) for place in _around(boxes[i].clipped(frame), sizes[i], gap))
        taken[i] = _clearest(choices, list(taken.values()))
    return [taken[i] for i in range(len(boxes))]


def _clearest(places: Iterable[Box], taken: Sequence[Box]) -> Box:
    """The first place that covers nothing of what is taken, or the first of those that cover least of it."""
    best, least = None, math.inf
    for place in places:
        covered = sum(place.intersection(other) for other in taken)
        if covered < least:
            best, least = place, covered
        if covered == 0:
            break
    if best is None:
        raise ValueError("there is no place to choose from")
    return best


def _around(box: Box, size: tuple[float, float], gap: float) -> Iterator[Box]:
    wide, high = size
    middle_x, middle_y = box.center[0] - wide / 2, box.center[1] - high / 2
    xs = (box.x1 - gap, middle_x, box.x2 - wide + gap)
    for y in (box.y1 - high - gap, box.y1 + gap, box.y2 + gap, box.y2 - high - gap):
        yield from (Box(x, y, x + wide, y + high) for x in xs)
    for x in (box.x2 + gap, box.x1 - wide - gap):
        yield from (Box(x, y, x + wide, y + high) for y in (box.y1, middle_y, box.y2 - high))
    for turn in (1, 2, 3):  # a crowd: stacked lines below and above
        for y in (box.y2 + gap + turn * high, box.y1 - gap - (turn + 1) * high):
            yield from (Box(x, y, x + wide, y + high) for x in xs)


def _inside(box: Box, frame: tuple[int, int]) -> Box:
    """The same box moved into the frame; a label wider than the photograph starts at its left edge."""
    x = max(0.0, min(box.x1, frame[0] - box.width))
    y = max(0.0, min(box.y1, frame[1] - box.height))
    return Box(x, y, x + box.width, y + box.height)


def _label(pen: ImageDraw.ImageDraw, mark: Mark, place: Box, font: Font, width: float) -> None:
    pen.rounded_rectangle(
        place.xyxy, radius=place.height * 0.18, fill=mark.color, outline="#10151c", width=max(1, round(width / 2))
    )
    x, y = place.center
    pen.text((x, y), mark.text, fill=ink_on(mark.color), font=font, anchor="mm")


def ink_on(color: str) -> str:
    """Black or white, whichever is read more easily on `color` (#rrggbb), by the contrast ratio of WCAG 2.

    >>> ink_on("#f0a30a"), ink_on("#22304a")
    ('#10151c', '#ffffff')
    """
    light = luminance(color)
    return "#10151c" if (light + 0.05) / (luminance("#10151c") + 0.05) > 1.05 / (light + 0.05) else "#ffffff"


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb, 0 to 1 (WCAG 2.2, definition of relative luminance)."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def legend(taxonomy: Taxonomy) -> Mapping[str, tuple[str, int]]:
    """Color and line style number of each condition."""
    return {c.name: (c.color, n % len(DASHES)) for n, c in enumerate(taxonomy.conditions)}
