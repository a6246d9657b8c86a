"""Findings beside the truth of a data set, as figures for the terminal and notes for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toeline.core.finding import Finding
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import find_photos
from toeline.data.yolo import open_yolo, read_entry
from toeline.evaluate.match import Matched, join, match
from toeline.evaluate.tally import Figure, both, cases_of, condition_given_type, nine_class, precision, recall
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
    cases, together = cases_of(matched), both(matched)
    findings = sum(len(m.pairs) + len(m.extra) for m in matched)
    return TruthNotes(
        figures=(
            _figure("condition, given type", condition_given_type(cases, taxonomy)),
            _figure("class, every type", nine_class(cases)),
            _figure("objects found", recall(matched)),
            _figure("findings that are real", precision(matched)),
            TruthFigure("class and place (F1)", together.f1, *together.clustered, findings),
        ),
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


def _figure(label: str, figure: Figure) -> TruthFigure:
    floor = None if figure.floor != figure.floor else figure.floor  # NaN: no look-up can find objects
    value = figure.value if figure.n else 0.0
    return TruthFigure(label, value, *figure.interval, figure.n, floor)
