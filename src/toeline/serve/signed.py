"""What a sign-off says: the report of an inspection as it was decided, and whether it still holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Finding, graded
from toeline.core.taxonomy import Taxonomy
from toeline.report.draw import data_uri
from toeline.report.signed_page import PICTURE_PX, SignedFinding, SignedReport, render_signed, with_pictures
from toeline.serve.decisions import Refused, required
from toeline.serve.forms import SignForm
from toeline.serve.listing import JOINED, as_found
from toeline.serve.store import Row, Store, now

MARGIN = 0.4  # around an object on a picture, of its longer side


@dataclass(frozen=True)
class Draft:
    """A report that is ready to be signed, as long as `last_event` is the last of its inspection."""

    page: str
    time: str
    open: int
    last_event: int


def draft(state: Any, form: SignForm) -> Draft:
    """The page as it stands now, with pictures. Raises Refused where there is no such inspection."""
    store: Store = state.store
    known = store.row("SELECT * FROM inspections WHERE id = ?", form.inspection)
    inspection = required(known, "inspection", form.inspection)
    rows = store.rows(f"{JOINED} WHERE f.inspection = ? AND f.removed = 0 ORDER BY f.photo, f.id", form.inspection)
    answers = list(answers_of(store, rows, state.taxonomy))
    photos = {row["name"]: row for row in store.rows("SELECT * FROM photos WHERE inspection = ?", form.inspection)}
    at = now()
    report = SignedReport(
        title=f"Inspection {inspection['name']}", name=form.name, time=at, note=form.note, photographs=len(photos),
        answers=answers, taxonomy=state.taxonomy, facts=_facts(inspection),
    )  # fmt: skip

    def picture(answer: SignedFinding) -> str:
        finding = answer.finding
        try:
            found = state.pixels.crop(photos[finding.photo], finding.box, margin=MARGIN, size=PICTURE_PX, outlined=True)
        except Refused:  # not there any more, or another file: the page says so
            return ""
        return data_uri(found)

    page = render_signed(with_pictures(report, picture))
    return Draft(page, at, sum(not row["decided"] for row in rows), inspection["last_event"])


def _facts(inspection: Row) -> list[tuple[str, str]]:
    run = json.loads(inspection["run"])
    return [
        ("inspection", inspection["name"]),
        ("inspected", inspection["finished"]),
        ("models", inspection["model"]),
        ("run", inspection["run_sha256"]),
        ("toeline", run.get("versions", {}).get("toeline", "")),
    ]


def answers_of(store: Store, rows: Sequence[Row], taxonomy: Taxonomy) -> Iterator[SignedFinding]:
    """The rows as they are signed; what was decided is graded anew, beside what was decided of its neighbors."""
    by_photo: dict[int, list[Row]] = {}
    for row in rows:
        by_photo.setdefault(row["photo"], []).append(row)
    for its in by_photo.values():
        decided = {row["id"]: _decided(store, row, taxonomy) for row in its}
        there = [decided[row["id"]] for row in its if row["now_class"]]
        grades = {f.instance_id: f.grade for f in graded(there, [r for f in there for r in f.relations], taxonomy)}
        for row in its:
            finding = decided[row["id"]]
            if row["decided"] and row["now_class"]:
                finding = replace(finding, grade=grades[finding.instance_id])
            action = row["now_action"] if row["decided"] else ""
            known = (row["now_user"], row["now_time"], row["now_event"]) if action else ("", "", 0)
            yield SignedFinding(finding, "" if row["added"] else row["class"], action, *known)


def _decided(store: Store, row: Row, taxonomy: Taxonomy) -> Finding:
    """The finding with the class and the box that were decided."""
    found = replace(as_found(store, row), photo=row["photo_name"])
    if row["now_box"]:
        found = replace(found, box=Box(*json.loads(row["now_box"])), polygon=())
    if not row["decided"] or not row["now_class"]:
        return found
    true = taxonomy.class_of(row["now_class"])
    verdict = replace(found.verdict, class_name=true.name, condition=true.condition, review="")
    return replace(found, type_name=true.type, verdict=verdict)
