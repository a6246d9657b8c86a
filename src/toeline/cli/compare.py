"""Findings beside the truth of a data set, as figures for the terminal and notes for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toeline.core.finding import Finding
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import find_photos
from toeline.data.yolo import open_yolo, read_entry
from toeline.evaluate.cases import on_found_boxes
from toeline.evaluate.detection import detection_figures
from toeline.evaluate.figure import Figure
from toeline.evaluate.match import Matched, join, match
from toeline.evaluate.scorecard import score
from toeline.report.page import TruthFigure, TruthNotes
from toeline.report.table import by_photo


def matched_with(dataset: Path, findings: Sequence[Finding], taxonomy: Taxonomy) -> list[Matched]:
    """Findings on the photographs of a YOLO data set, matched with its objects, photograph by photograph."""
    opened, groups = open_yolo(dataset, taxonomy), by_photo(findings)
    entries = [entry for split in opened.splits.values() for entry in split]
    names = {p.path.resolve(): p.name for p in find_photos(sorted({e.photo.parent for e in entries}))}
    rows = []
    for entry in entries:
        labeled, name = read_entry(entry, taxonomy, opened.names), names[entry.photo.resolve()]
        rows.append(match(name, groups.get(name, []), join(labeled.scene.things, labeled.truths)))
    return rows


def notes_of(matched: Sequence[Matched], taxonomy: Taxonomy, *, note: str = "") -> TruthNotes:
    """What a page and a terminal show of it."""
    card = score([case for m in matched for case in on_found_boxes(m)], taxonomy)
    found, real, f1, *_ = detection_figures(matched)
    return TruthNotes(
        figures=tuple(map(_figure, (card.headline, card["accuracy"], found, real, f1))),
        note=note,
        wrong={
            (m.photo, f.thing_id): t.truth.class_name
            for m in matched
            for f, t in m.pairs
            if f.verdict.class_name != t.truth.class_name
        },
        extra=frozenset((m.photo, f.thing_id) for m in matched for f in m.extra),
        missed={m.photo: [t.truth.class_name for t in m.missed] for m in matched if m.missed},
    )


def _figure(figure: Figure) -> TruthFigure:
    value = figure.value if figure.n else 0.0
    return TruthFigure(figure.label, value, *figure.interval, figure.n, figure.floor)
