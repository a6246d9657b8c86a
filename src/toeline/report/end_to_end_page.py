"""Sections of a report on both stages: detected boxes beside true ones, and pictures of the worst of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.evaluate.classification import HEADLINE, Scorecard
from toeline.evaluate.end_to_end import FINDINGS, OBJECTS, StageError
from toeline.evaluate.metric import Metric
from toeline.evaluate.results import Evaluated, Stages
from toeline.report.document import Grid, Mistake, MistakeGroup, Section, interval_words, tenths
from toeline.report.draw import Mark, as_jpeg, crop_window, data_uri, draw_marks
from toeline.report.experiments_page import points, span
from toeline.report.judge_page import LONGER_PX, LOSSES, QUALITY

TRUE_COLOR, FOUND_COLOR = "#4fa3ff", "#ffb020"  # told apart by the line too: solid and dashed
MOST_SHOWN = 6  # pictures of one kind of mistake


class Beside(NamedTuple):
    """One metric measured three ways, and what detected boxes cost: points with their interval, ready-made."""

    both: Metric
    found: Metric | None
    true_boxes: Metric | None
    cost: str = ""


def worst_section(worst: Mapping[str, Sequence[StageError]], files: Mapping[str, Path]) -> Section:
    """Pictures of every kind of mistake, under the titles of OBJECTS and FINDINGS. `files` are the photographs by name.

    `worst` maps what went wrong to the mistakes, the worst first (evaluate.end_to_end.worst_of).
    """
    titles = {**OBJECTS, **FINDINGS}
    groups = tuple(
        MistakeGroup(
            "", "", len(ones), tuple(_mistake(one, files) for one in ones[:MOST_SHOWN]), titles[name].capitalize()
        )
        for name, ones in worst.items()
        if ones
    )
    text = (
        "Solid blue: the true box. Dashed yellow: what was found. Objects that were not found are ordered by how "
        "severe the taxonomy calls them, then by size; the judge's mistakes by its probability, the rest by the "
        "detector's confidence, which stands beside what was said."
    )
    return Section("The worst of each stage", (text if groups else "There are no mistakes.",), mistakes=groups)


def _mistake(one: StageError, files: Mapping[str, Path]) -> Mistake:
    said = ((one.said, one.sure),) if one.said else ()
    note = f"is {one.is_class}" if one.is_class else "nothing is there"
    return Mistake(one.photo, one.instance_id, picture_of(one, files[one.photo]), said, note)


def picture_of(one: StageError, file: Path) -> str:
    """A data URI of the place with both boxes, or empty when the photograph cannot be read."""
    try:
        picture = both_marked(read_photo(file), one.true, one.found)
    except PhotoError:
        return ""
    return data_uri(as_jpeg(picture, quality=QUALITY))


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
    return (
        row.both.caption,
        str(row.both.n),
        _said(row.both),
        _said(row.true_boxes),
        row.cost,
        _said(row.found),
        found,
    )


def _said(metric: Metric | None) -> str:
    """A value with its interval."""
    if metric is None or not metric.n:
        return ""
    low, high = metric.interval
    return f"{tenths(metric.value)} ({100 * low:.1f} to {100 * high:.1f})"


HEADS = {
    "": "",
    "condition": "By condition",
    "condition_given_type": "By condition",
    "type": "By type",
    "class": "By class",
}


def stage_sections(done: Evaluated, found: Stages, beside: Scorecard, taxonomy: Taxonomy) -> list[Section]:
    """Four sections; `beside` is the card over objects that were found."""
    return [
        _as_one(found),
        _errors_section(found, taxonomy),
        beside_section(_beside(found, beside), _boxes_off(found)),
        worst_section(found.worst(taxonomy), {photo.name: photo.path for photo in done.split.photos}),
    ]


def _as_one(found: Stages) -> Section:
    overall = [f for f in found.card.figures if "/" not in f.key]
    figures = [*overall, *found.error_breakdown.trust, *found.detector]
    text = (
        "Every true object counts. One that was not found, or whose box overlaps by less than IoU 0.5, has no answer: "
        "it is wrong everywhere, and if it is not normal, it is a defect missed. Majority class: the detector's boxes, "
        "each with the most common class of its type. Alarms on a defect: findings called anything but normal that "
        "stand on an object that is not normal."
    )
    return Section("Both stages as one", (text,), tuple(figures))


def _errors_section(found: Stages, taxonomy: Taxonomy) -> Section:
    counts = found.error_breakdown.counts
    rows = tuple((LOSSES[name], str(getattr(counts, name))) for name in LOSSES)
    kinds = tuple(
        (taxonomy.spoken(kind), *(str(getattr(b, name)) for name in LOSSES))
        for kind, b in found.error_breakdown.by_type.items()
    )
    head = ("type", "right", "wrong condition", "wrong type", "badly placed", "not found", "double", "of nothing")
    text = (
        "Each true object and each finding has one name, so the counts add up. Shares of errors are of true objects, "
        "those of findings too many of all findings."
    )
    ideal_head = ("class and place right", "share", "95 % interval", "n")
    return Section(
        "Errors by stage",
        (text,),
        found.error_breakdown.errors,
        grids=(
            Grid("What one stage without a mistake would give", ideal_head, _ideal(found)),
            Grid("Where objects and findings went", ("what", "how many"), rows),
            Grid("By type; findings too many by the type that they say", head, kinds),
        ),
    )  # fmt: skip


def _ideal(found: Stages) -> tuple[tuple[str, ...], ...]:
    """What is right as it is, without one stage's mistakes, and without a judge."""
    perfect = (
        [("if the detector made no mistake (true boxes)", found.true_boxes["accuracy"])] if found.true_boxes else []
    )
    steps = [*((f.label, f) for f in found.error_breakdown.ceilings), *perfect]
    rows = [(label, tenths(f.value), interval_words(f.interval), str(f.n)) for label, f in steps if f.n]
    both = found.card["accuracy"]
    majority_baselines = [("here", both.majority_baseline), ("in the train split", both.train_majority_baseline)]
    rows += [
        (f"without a judge: the most common class of each type {where}", tenths(value), "", str(both.n))
        for where, value in majority_baselines
        if value is not None
    ]
    return tuple(rows)


def _boxes_off(found: Stages) -> list[str]:
    """What boxes that are a little off do to the judge, on the same objects."""
    if found.off is None or not found.off[HEADLINE].n:
        return []
    d = found.off[HEADLINE]
    return [
        f"Of the same {d.n} objects that were found and leave a choice, the judge is right on {tenths(d.second)} with "
        f"their found boxes and {tenths(d.first)} with their true ones: {points(d.difference)} points ({span(d)})."
    ]


def _beside(found: Stages, beside: Scorecard) -> dict[str, list[Beside]]:
    """Every figure under its heading."""
    rows: dict[str, list[Beside]] = {}
    for figure in found.card.figures:
        prefix = figure.key.partition("/")[0] if "/" in figure.key else ""
        if figure.n:
            rows.setdefault(HEADS[prefix], []).append(_row(found, figure, beside))
    return rows


def _row(found: Stages, figure: Metric, beside: Scorecard) -> Beside:
    """A figure that only some objects have is left out where they were not found."""
    where_found = _named(beside).get(figure.key)
    true_boxes = _named(found.true_boxes).get(figure.key) if found.true_boxes else None
    differences = {d.key: d for d in found.cost.differences} if found.cost else {}
    d = differences.get(figure.key)
    return Beside(figure, where_found, true_boxes, f"{points(d.difference)} ({span(d)})" if d else "")


def _named(card: Scorecard) -> dict[str, Metric]:
    return {f.key: f for f in card.figures}
