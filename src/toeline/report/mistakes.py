"""The worst mistakes by pair of classes, as crops with their surroundings that sit in a page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from toeline.core.box import Box
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.report.draw import as_jpeg
from toeline.report.scorecard_page import Mistake, MistakeGroup

CONTEXT = 0.4  # of the box's longer side, on every side
LEAST_PX = 96  # of a crop's side in the photograph: less shows nothing but texture
LONGER_PX = 420  # of the embedded picture
QUALITY = 76
WIDTH_PX = 2
MOST_IN_GROUP, MOST_CROPS = 6, 72  # some 20 kB each, so that the page stays under two megabytes
ANSWERS = 3  # shown with each, best first


@dataclass(frozen=True)
class Wrong:
    """A wrong answer to one object: `box` in pixels of the photograph at `file`, `said` empty if it was unreadable."""

    photo: str
    file: Path
    thing_id: str
    box: Box
    true: str
    said: str
    probabilities: Mapping[str, float]
    note: str = ""

    @property
    def confidence(self) -> float:
        """Probability of what was said."""
        return self.probabilities.get(self.said, 0.0)


def mistake_groups(wrong: Iterable[Wrong], color_of: Mapping[str, str]) -> tuple[MistakeGroup, ...]:
    """Mistakes by pair of classes, the most frequent pair first, and the most confident mistakes of each with a crop.

    `color_of` gives the color (#rrggbb) of the box for each true class.
    """
    pairs: dict[tuple[str, str], list[Wrong]] = {}
    for one in sorted(wrong, key=lambda w: (-w.confidence, w.photo, w.thing_id)):
        pairs.setdefault((one.true, one.said), []).append(one)
    groups, left = [], MOST_CROPS
    for (true, said), ones in sorted(pairs.items(), key=lambda pair: -len(pair[1])):
        shown = ones[: min(MOST_IN_GROUP, left)]
        left -= len(shown)
        groups.append(MistakeGroup(true, said, len(ones), tuple(_mistake(w, color_of[true]) for w in shown)))
    return tuple(groups)


def _mistake(wrong: Wrong, color: str) -> Mistake:
    """The best answers, what was said first; the true one is always among them."""
    ranked = sorted(wrong.probabilities.items(), key=lambda pair: (pair[0] != wrong.said, -pair[1]))
    shown = ranked[:ANSWERS]
    if wrong.true in wrong.probabilities and wrong.true not in dict(shown):
        shown[-1] = (wrong.true, wrong.probabilities[wrong.true])
    return Mistake(wrong.photo, wrong.thing_id, crop_uri(wrong.file, wrong.box, color), tuple(shown), wrong.note)


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


def marked_crop(image: Image.Image, box: Box, color: str) -> Image.Image:
    """The window around `box`, enlarged to LONGER_PX, with the box drawn in `color` over a dark line."""
    window = crop_window(box, image.size)
    scale = LONGER_PX / max(window.width, window.height)
    shown = image.resize(
        (max(1, round(window.width * scale)), max(1, round(window.height * scale))),
        Image.Resampling.LANCZOS,
        box=window.xyxy,
    )
    x1, x2 = ((x - window.x1) * scale for x in (box.x1, box.x2))
    y1, y2 = ((y - window.y1) * scale for y in (box.y1, box.y2))
    pen = ImageDraw.Draw(shown)
    pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline="#10151c", width=WIDTH_PX + 2)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=color, width=WIDTH_PX)
    return shown


def crop_uri(photo: Path, box: Box, color: str) -> str:
    """A data URI of the marked crop, or empty when the photograph cannot be read."""
    try:
        picture = marked_crop(read_photo(photo), box, color)
    except PhotoError:
        return ""
    return "data:image/jpeg;base64," + b64encode(as_jpeg(picture, quality=QUALITY)).decode("ascii")
