"""What is undecided goes into annotation tools, and what was decided too; references say what a tool gives back.

A reference holds the id of its store, a finding with the version that was shown, or a photograph with the last event
that was seen: what was shown follows from the events, so that nothing about it must survive in the tool.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from toeline.core.box import Box
from toeline.core.finding import Problem
from toeline.core.records import counted
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.annotation_tools import PredictedObject, PredictedPhoto
from toeline.data.datasets import LabeledPhoto, LabelSet, apart
from toeline.data.export import Format, write_as
from toeline.data.labels import LabelLine
from toeline.errors import OutputError
from toeline.pipelines.datasets import carrying
from toeline.pipelines.export import CVAT, LABEL_STUDIO, beside, fiftyone_extra, write_cvat, write_label_studio
from toeline.pipelines.progress import Summary, saying
from toeline.pipelines.settings import ExportRun
from toeline.serve.decisions import ACTIONS, WhatHolds, standing_of
from toeline.serve.imports import gone, is_same, path_of, store_taxonomy
from toeline.serve.listing import JOINED, as_found
from toeline.serve.store import Row, Store

TOOLS = ("labelstudio", "cvat", "fiftyone")  # what `toeline export` writes of a store
SPLIT = "open"


class Reference(NamedTuple):
    """A finding at a version, or a photograph at an event.

    >>> str(Reference("0a1b2c3d", 41, 2)), refer("0a1b2c3d-photo7-120"), refer("t5sp3TyXPo")
    ('0a1b2c3d-41-2', Reference(store='0a1b2c3d', number=7, at=120, of_photo=True), None)
    """

    store: str
    number: int
    at: int
    of_photo: bool = False

    def __str__(self) -> str:
        return f"{self.store}-{'photo' if self.of_photo else ''}{self.number}-{self.at}"


def refer(text: str) -> Reference | None:
    """The reference that a text is, or None."""
    found = re.fullmatch(r"([0-9a-f]{8})-(photo)?([0-9]{1,15})-([0-9]{1,15})", text, re.ASCII)
    return Reference(found[1], int(found[3]), int(found[4]), bool(found[2])) if found else None


def store_mark(store: Store) -> str:
    """By what references know their store."""
    return store.meta("store")[:8]


@dataclass(frozen=True)
class Shown:
    """A finding as a tool shows it: class and box as they stood at a version."""

    row: Row
    version: int
    class_name: str
    box: Box
    decided: bool
    unsure: bool

    def reference(self, mark: str) -> str:
        """What the tool gives back."""
        return str(Reference(mark, self.row["id"], self.version))


class TaskPhoto:
    """A photograph with its findings and all their events: what was shown of it at any time."""

    def __init__(self, store: Store, taxonomy: Taxonomy, row: Row) -> None:
        """Reads the findings and their events."""
        self.row, self.taxonomy = row, taxonomy
        self.findings = {one["id"]: one for one in store.rows(f"{JOINED} WHERE f.photo = ? ORDER BY f.id", row["id"])}
        self.events: dict[int, list[Row]] = defaultdict(list)
        for event in store.rows(
            "SELECT e.* FROM events e JOIN findings f ON f.id = e.finding WHERE f.photo = ? AND e.action != 'blind'"
            " ORDER BY e.id",
            row["id"],
        ):
            self.events[event["finding"]].append(event)

    def shown_at(self, event: int) -> list[Shown]:
        """All that was shown when `event` was the last one."""
        found = (self._shown(number, [e for e in self.events[number] if e["id"] <= event]) for number in self.findings)
        return [one for one in found if one]

    def at_version(self, number: int, version: int) -> Shown | None:
        """One finding as it stood at a version; None for one that was not shown."""
        return self._shown(number, [e for e in self.events[number] if _version(e) <= version])

    def _shown(self, number: int, events: Sequence[Row]) -> Shown | None:
        row = self.findings[number]
        s = self._standing(row, events)
        unsure = s.decided and s.action == "unsure"
        class_name = row["class"] if unsure else s.class_name  # '' where it was rejected
        if s.removed or class_name not in self.taxonomy.answers():
            return None
        box = Box(*json.loads(s.box)) if s.box else Box(row["x1"], row["y1"], row["x2"], row["y2"])
        version = _version(events[-1]) if events else 0
        return Shown(row, version, class_name, box, s.decided, unsure)

    def _standing(self, row: Row, events: Sequence[Row]) -> WhatHolds:
        undone = {e["undoes"] for e in events}
        stand = (e for e in events if e["undoes"] is None and e["action"] in ACTIONS and e["id"] not in undone)
        return standing_of(row, stand, self.taxonomy)


def _version(event: Row) -> int:
    return int(json.loads(event["more"]).get("version", 0))


@contextmanager
def snapshot(store: Store) -> Iterator[int]:
    """While the block lasts, this thread reads the store as it is now; gives the last event."""
    store.reader.execute("BEGIN")
    try:
        yield int(store.value("SELECT COALESCE(MAX(id), 0) FROM events"))
    finally:
        store.reader.execute("ROLLBACK")


def open_photos(store: Store, taxonomy: Taxonomy, problems: list[Problem]) -> Iterator[tuple[Row, PredictedPhoto]]:
    """Photographs with something undecided, and all that is on them: who does not see an object draws it anew."""
    mark = store_mark(store)
    with snapshot(store) as last:
        rows = store.rows(
            "SELECT * FROM photos WHERE id IN (SELECT photo FROM findings WHERE removed = 0 AND decided = 0)"
            " ORDER BY id"
        )
        for row in rows:
            photo = TaskPhoto(store, taxonomy, row)
            shown = photo.shown_at(last)
            hidden = [f for f in photo.findings.values() if not f["decided"] and not f["removed"]]
            hidden = [f for f in hidden if f["id"] not in {one.row["id"] for one in shown}]
            what = "finding {} is left out: the judge's answer is none. Decide it on the page."
            problems += [Problem(row["name"], row["name"], what.format(f["object"]), note=True) for f in hidden]
            if not all(one.decided for one in shown):
                yield from _for_tool(store, taxonomy, row, shown, str(Reference(mark, row["id"], last, True)), problems)


def _for_tool(
    store: Store, taxonomy: Taxonomy, row: Row, shown: Sequence[Shown], reference: str, problems: list[Problem]
) -> Iterator[tuple[Row, PredictedPhoto]]:
    if not row["width"] or not row["height"]:
        problems.append(Problem(row["name"], row["name"], "its size is not known, so it is left out."))
        return
    mark, size = store_mark(store), (row["width"], row["height"])
    objects = [
        PredictedObject(
            LabelLine(at, taxonomy.class_id(one.class_name), one.box),
            as_found(store, one.row),
            one.reference(mark),
            one.unsure,
        )
        for at, one in enumerate(shown, start=1)
    ]
    yield row, PredictedPhoto(row["name"], size, tuple(objects), reference)


def export_store(run: ExportRun, out: Path) -> Summary:
    """Write what is undecided in a store for an annotation tool. Raises OutputError."""
    if run.to not in TOOLS:
        raise OutputError(
            f"{run.run}: of a store, --to is one of {', '.join(TOOLS)}. What was decided is written by toeline labels."
        )
    if run.taxonomy is not None or run.shapes == "polygons":
        raise OutputError(f"{run.run}: a store has its own taxonomy, and boxes. Leave --taxonomy and --shapes out.")
    problems: list[Problem] = []
    with closing(Store.open(run.run, make=False)) as store, saying("Writing"):
        taxonomy = store_taxonomy(store)
        found = list(open_photos(store, taxonomy, problems))
        if not found:
            raise OutputError(f"{run.run}: nothing is undecided. Write what was decided with toeline labels.")
        place = _write(run, out, found, taxonomy, problems)
    number = sum(len(photo.objects) for _, photo in found)
    lines = [f"[bold]{some(number, 'object')}[/] on {some(len(found), 'photograph')}, as {run.to}"]
    record = {"to": run.to, "out": str(place), "objects": number, "photographs": len(found), **counted(problems)}
    return Summary(lines, {"written": str(place), **beside(run.to, place)}, record, problems, "the lines above")


def _write(
    run: ExportRun, out: Path, found: Sequence[tuple[Row, PredictedPhoto]], taxonomy: Taxonomy, problems: list[Problem]
) -> Path:
    photos = [photo for _, photo in found]
    if run.to == "fiftyone":
        return _write_fiftyone(run, out, found, taxonomy, problems)
    with (LABEL_STUDIO if run.to == "labelstudio" else CVAT).into(out) as file:
        if run.to == "labelstudio":
            write_label_studio(photos, taxonomy, file, run.url)
        else:
            write_cvat(photos, taxonomy, file, problems)
    return file


def _write_fiftyone(
    run: ExportRun, out: Path, found: Sequence[tuple[Row, PredictedPhoto]], taxonomy: Taxonomy, problems: list[Problem]
) -> Path:
    """The photographs that are there, each object with its reference."""
    kept = [(path, photo) for row, photo in found if (path := path_of(row)) is not None and is_same(path, row)]
    lost = {photo.name for _, photo in found} - {photo.name for _, photo in kept}
    problems += [Problem(name, name, f"left out, since it {gone(run.run)}") for name in sorted(lost)]
    if not kept:
        raise OutputError(f"{run.run}: each of its photographs {gone(run.run)}")
    places = apart((photo.name, SPLIT) for _, photo in kept)
    labeled = [
        LabeledPhoto(path, place, photo.size_wh, tuple(one.line for one in photo.objects))
        for (path, photo), place in zip(kept, places, strict=True)
    ]
    data = LabelSet(run.run, {i: c.name for i, c in enumerate(taxonomy.classes)}, {SPLIT: tuple(labeled)})
    more = [fiftyone_extra(one, reference=one.reference) for _, photo in kept for one in photo.objects]
    write_as(data, Format.FIFTYONE, out, carrying(run.link), more=more)
    return out


def decided_photos(
    store: Store,
    taxonomy: Taxonomy,
    rows: Mapping[tuple[str, str], tuple[Row, Sequence[Row]]],
    data: LabelSet,
    last: int | None,
) -> list[PredictedPhoto]:
    """The photographs of a data set of decisions, in its order, with references.

    `rows` has the photograph and the findings of each by split and place; `last` is the last event where nothing on a
    photograph was left out, so that what is missing later was deleted.
    """
    mark, photos = store_mark(store), []
    for split, its in data.splits.items():
        for labeled in its:
            photo, found = rows[split, labeled.name]
            objects = tuple(
                PredictedObject(line, as_found(store, row), str(Reference(mark, row["id"], row["version"])))
                for row, line in zip(found, labeled.lines or (), strict=True)
            )
            reference = "" if last is None else str(Reference(mark, photo["id"], last, True))
            photos.append(PredictedPhoto(photo["name"], labeled.size_wh, objects, reference))
    return photos
