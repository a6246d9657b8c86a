"""Sections of a report on both stages: detected boxes beside true ones, and pictures of the worst of each stage."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from toeline.core.box import Box
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.report.draw import Mark, as_jpeg, draw_marks
from toeline.report.mistakes import LONGER_PX, QUALITY, crop_window
from toeline.report.page import TruthFigure
from toeline.report.scorecard_page import Grid, Mistake, MistakeGroup, Section
from toeline.report.style import tenths

TRUE_COLOR, FOUND_COLOR = "#4fa3ff", "#ffb020"  # told apart by the line too: solid and dashed
MOST_SHOWN = 6  # pictures of one kind of mistake


@dataclass(frozen=True)
class Blamed:
    """One mistake of a stage: boxes in pixels of the photograph at `file`, None where there is none.

    `is_class` is empty for a finding of nothing, `said` for an object that was not found. `sure` is the probability of
    the judge's answer for its mistakes, else the detector's confidence.
    """

    photo: str
    file: Path
    thing_id: str
    true: Box | None
    found: Box | None
    is_class: str
    said: str
    sure: float


@dataclass(frozen=True)
class Beside:
    """One figure measured three ways, and what detected boxes cost: points with their interval, ready-made."""

    both: TruthFigure
    found: TruthFigure | None
    true_boxes: TruthFigure | None
    cost: str = ""


def worst_section(worst: Mapping[str, Sequence[Blamed]]) -> Section:
    """Pictures of every kind of mistake. `worst` maps what went wrong to the mistakes, the worst first."""
    groups = tuple(
        MistakeGroup("", "", len(ones), tuple(map(_mistake, ones[:MOST_SHOWN])), title=title.capitalize())
        for title, ones in worst.items()
        if ones
    )
    text = (
        "Solid blue: the true box. Dashed yellow: what was found. Objects that were not found are ordered by how "
        "severe the taxonomy calls them, then by size; the judge's mistakes by its probability, the rest by the "
        "detector's confidence, which stands beside what was said."
    )
    return Section("The worst of each stage", (text if groups else "There are no mistakes.",), mistakes=groups)


def _mistake(one: Blamed) -> Mistake:
    said = ((one.said, one.sure),) if one.said else ()
    note = f"is {one.is_class}" if one.is_class else "nothing is there"
    return Mistake(one.photo, one.thing_id, picture_of(one), said, note)


def picture_of(one: Blamed) -> str:
    """A data URI of the place with both boxes, or empty when the photograph cannot be read."""
    try:
        picture = both_marked(read_photo(one.file), one.true, one.found)
    except PhotoError:
        return ""
    return "data:image/jpeg;base64," + b64encode(as_jpeg(picture, quality=QUALITY)).decode("ascii")


def both_marked(image: Image.Image, true: Box | None, found: Box | None) -> Image.Image:
    """The window around the boxes that there are, enlarged to LONGER_PX, the true one solid, the found one dashed."""
    styled = [(box, color, style) for box, color, style in ((true, TRUE_COLOR, 0), (found, FOUND_COLOR, 1)) if box]
    sides = [box.xyxy for box, _, _ in styled]
    around = Box(*(min(s[i] for s in sides) for i in (0, 1)), *(max(s[i] for s in sides) for i in (2, 3)))
    window = crop_window(around, image.size)
    scale = LONGER_PX / max(window.width, window.height)
    size = (max(1, round(window.width * scale)), max(1, round(window.height * scale)))
    shown = image.resize(size, Image.Resampling.LANCZOS, box=window.xyxy)
    return draw_marks(shown, [Mark(_moved(box, window, scale), "", color, style) for box, color, style in styled])


def _moved(box: Box, window: Box, scale: float) -> Box:
    x1, x2 = ((x - window.x1) * scale for x in (box.x1, box.x2))
    y1, y2 = ((y - window.y1) * scale for y in (box.y1, box.y2))
    return Box(x1, y1, x2, y2)


def beside_section(rows: Mapping[str, Sequence[Beside]], more: Sequence[str]) -> Section:
    """The same figures on detected boxes, on those objects that were found, and on true boxes; `rows` by heading."""
    head = ("measured", "n", "both stages", "true boxes", "points", "where found", "n")
    grids = tuple(Grid(title, head, tuple(map(_beside_cells, ones))) for title, ones in rows.items() if ones)
    text = (
        "Both stages: every true object, a miss is wrong. Where found: the judge's answers to objects that were found. "
        "True boxes: the same judge given every true box and type. Points: what detected boxes cost, both stages less "
        "true boxes on the same objects. In brackets: 95 % intervals."
    )
    return Section("Beside true boxes", (text, *more), grids=grids)


def _beside_cells(row: Beside) -> tuple[str, ...]:
    found = str(row.found.n) if row.found else "0"
    return (row.both.label, str(row.both.n), _said(row.both), _said(row.true_boxes), row.cost, _said(row.found), found)


def _said(figure: TruthFigure | None) -> str:
    """A value with its interval.

    >>> _said(TruthFigure("x", 0.5, 0.41, 0.59, 100))
    '50.0% (41.0 to 59.0)'
    """
    if figure is None or not figure.n:
        return ""
    return f"{tenths(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
