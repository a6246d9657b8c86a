"""What changed between two visits, as a page, as rows for spreadsheets and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toeline.core.provenance import models_fingerprint, now_words
from toeline.core.words import some
from toeline.report.document import Card, Cards, Grid, Highlight, ScorecardPage, Section, Side, Words, percent
from toeline.report.geolocate import position_words
from toeline.report.revisit import (
    CHANGED,
    GATE,
    LEAST_IOU,
    MEANS,
    STATUSES,
    UNSEEN,
    WAYS,
    Revisit,
    VisitChange,
    words_of,
)
from toeline.report.revisit_map import changes_map
from toeline.report.visits import MODEL, SAME_VIEW_M, SiteObject, Visit

CSV, JSON, HTML = "changes.csv", "changes.json", "changes.html"
SIGNS = {
    "worse": "▼", "new": "+", "changed": "↔", "unclear": "?", "gone": "−", "better": "▲", "not seen again": "◌",
    "first seen": "◍", "same": "=",
}  # fmt: skip
MOODS = {"worse": "bad", "new": "bad", "better": "good"}
MOST_CARDS = 120  # of a status with two pictures each, about 25 kB; the file holds all
MOST_ROWS = 500
ITS = ("class", "condition", "severity", "probability", "review", "by", "photo", "id", "photographs")
COLUMNS = (
    "n", "change", "perhaps", "perhaps_why", "type",
    *(f"{side}_{name}" for side in ("before", "after") for name in ITS),
    "differs_probability", "told_probability", "paired_by", "distance_m", "overlap", "latitude", "longitude", "error_m",
    "action", "why",
)  # fmt: skip


def rows(told: Revisit) -> list[dict[str, Any]]:
    """One flat row for each object, with the keys of COLUMNS."""
    return [_row(n, change) for n, change in enumerate(told.changes, start=1)]


def _row(n: int, change: VisitChange) -> dict[str, Any]:
    its = change.either
    at = its.at
    values = (
        n, change.status, "perhaps" if change.perhaps else "", "; ".join(change.perhaps), its.type_name,
        *_cells(change.before), *_cells(change.after), _rounded(change.p_differs, 4), _rounded(change.p_told, 4),
        change.way, _rounded(change.distance_m, 1), _rounded(change.overlap, 3),
        *((round(at.latitude, 7), round(at.longitude, 7), round(its.error_m, 1)) if at else ("", "", "")),
        change.after.action if change.after else "", change.why,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _cells(its: SiteObject | None) -> tuple[Any, ...]:
    if its is None:
        return ("",) * len(ITS)
    photo, number, seen_on = its.finding.photo, its.finding.instance_id, len({f.photo for f in its.members})
    said = its.class_name, its.condition, its.severity, round(its.probability, 4) if its.class_name else ""
    return (*said, its.review, its.by, photo, number, seen_on)


def _rounded(value: float | None, digits: int) -> Any:
    return "" if value is None else round(value, digits)


def record(told: Revisit) -> dict[str, Any]:
    """changes.json: everything that the page says, without the time at which it was made."""
    return {
        "before": _visit(told.before, told.objects[0]),
        "after": _visit(told.after, told.objects[1]),
        "sure": told.sure,
        "counts": {
            s: {"certain": told.count(s, perhaps=False), "perhaps": told.count(s, perhaps=True)} for s in STATUSES
        },
        "paired_by": {way: told.ways[way] for way in WAYS},
        "differences": list(told.differences),
        "shift_m": None if told.shift is None else {k: round(v, 1) for k, v in told.shift._asdict().items()},
        "problems": [f"{p} {p.todo}".rstrip() for p in told.problems],
        "changes": [{k: v for k, v in row.items() if v != ""} for row in rows(told)],
    }


def _visit(visit: Visit, objects: int) -> dict[str, Any]:
    return {
        "name": visit.name,
        "finished": visit.record.get("finished"),
        "photographs": len(visit.progress),
        "findings": len(visit.findings),
        "objects": objects,
        "decisions": None if visit.reviewed is None else len(visit.reviewed),
        "models": models_fingerprint(visit.record),
    }


def headline(told: Revisit) -> str:
    """What changed, in a sentence: of each status what is certain, then what is perhaps so."""
    said = []
    for status in CHANGED:
        certain, doubtful = told.count(status, perhaps=False), told.count(status, perhaps=True)
        if certain:
            said.append(f"{certain:,} {status}" + (f" and perhaps {doubtful:,} more" if doubtful else ""))
        elif doubtful:
            said.append(f"perhaps {doubtful:,} {status}")
    compared = some(sum(told.ways.values()), "object")
    said[:1] = [f"{first[:1].upper()}{first[1:]}" for first in said[:1]]
    if not said and not told.ways.total():
        return _unpaired(told)
    if not said:
        return f"Nothing changed: {compared} seen in both visits, all as they were."
    return f"{', '.join(said)}; {told.count('same'):,} of {compared} seen in both visits are as they were."


def _unpaired(told: Revisit) -> str:
    """The headline where nothing was seen twice: of nothing it cannot be said that it is as it was."""
    nothing = "Nothing changed: nothing was found in either visit."
    return "Not known: no object was seen in both visits." if any(told.objects) else nothing


def page_of(told: Revisit, pictures: Mapping[tuple[int, str], str]) -> ScorecardPage:
    """The page. `pictures` are data URIs by the number of the change (from 0) and "before" or "after"."""
    unseen = sum(told.count(status) for status in UNSEEN)
    return ScorecardPage(
        title=f"{told.before.name} and {told.after.name}: what changed",
        headline=headline(told),
        sections=[
            Section("Overview", plots=tuple(filter(None, [changes_map(told, SIGNS, MOODS)])), grids=(_overview(told),)),
            *filter(None, (_section(told, status, pictures) for status in CHANGED)),
            *filter(None, (_listed(told, status) for status in (*UNSEEN, "same"))),
            _method(told),
        ],
        run=_facts(told),
        tiles=[
            *(_tile(told, status) for status in (*CHANGED, "same") if told.count(status) or status != "unclear"),
            (f"{unseen:,}", f"{SIGNS[UNSEEN[0]]} where one visit did not look"),
        ],
        problems=told.problems,
        files=(CSV, JSON),
        points=list(_points(told)),
        foot=(
            f"The sign and the word say what became of an object; a dashed edge and “perhaps” say that it is not "
            f"certain. The same rows: {CSV} and {JSON}."
        ),
    )


def _tile(told: Revisit, status: str) -> tuple[str, str]:
    doubtful = told.count(status, perhaps=True)
    return f"{told.count(status):,}", f"{SIGNS[status]} {status}" + (f", {doubtful:,} perhaps" if doubtful else "")


def _points(told: Revisit) -> list[Highlight]:
    """What must be known before anything else is read."""
    found = []
    if told.differences:
        what = "; ".join(told.differences)
        text = f"A change may come from what differs between the visits, not from the site: {what}."
        found.append(Highlight("careful", text, "how-it-was-compared"))
    if by_name := told.ways["name"]:
        text = f"{some(by_name, 'object')} paired by boxes on photographs that are taken as one view for their name."
        found.append(Highlight("careful", text, "how-it-was-compared"))
    lost = told.count("not seen again")
    if lost:
        text = f"{some(lost, 'object')} of the first visit not seen again: not photographed, or not known to be."
        found.append(Highlight("careful", text, "not-seen-again"))
    return found


def _overview(told: Revisit) -> Grid:
    """Statuses by type: certain ones, and in brackets the others."""
    kinds = sorted({c.either.type_name for c in told.changes})
    head = ("", *(words_of(kind, told.words) for kind in kinds), "all")
    lines = []
    for status in STATUSES:
        its = [c for c in told.changes if c.status == status]
        if its:
            cells = [_count([c for c in its if c.either.type_name == kind]) for kind in kinds]
            lines.append((f"{SIGNS[status]} {status}", *cells, _count(its)))
    return Grid("", head, tuple(lines), caption="Certain ones; + more that are perhaps so.")


def _count(changes: Sequence[VisitChange]) -> str:
    doubtful = sum(bool(c.perhaps) for c in changes)
    return "–" if not changes else f"{len(changes) - doubtful:,}" + (f" + {doubtful:,}" if doubtful else "")


def _section(told: Revisit, status: str, pictures: Mapping[tuple[int, str], str]) -> Section | None:
    """The cards of one status."""
    its = [(n, c) for n, c in enumerate(told.changes) if c.status == status]
    if not its:
        return None
    cards = tuple(
        replace(_card(c, told, {side: pictures.get((n, side), "") for side in SIDES}), anchor=f"change-{n + 1}")
        for n, c in its[:MOST_CARDS]
    )
    text = f"{MEANS[status][:1].upper()}{MEANS[status][1:]}: {some(len(its), 'object')}."
    return Section(_title(status), (text,), blocks=(Cards(cards, len(its) - len(cards), CSV),))


def _title(status: str) -> str:
    return f"{status[:1].upper()}{status[1:]}"


SIDES = ("before", "after")


def _card(change: VisitChange, told: Revisit, pictures: Mapping[str, str]) -> Card:
    visits = {"before": told.before, "after": told.after}
    sides = [_side(side, getattr(change, side), change, visits[side], pictures[side]) for side in SIDES]
    odds = f"Probability that the condition differs {percent(change.p_differs)}" if change.p_differs is not None else ""
    if change.status in ("worse", "better") and change.p_told is not None:
        odds += f", that it is {change.status} {percent(change.p_told)}"
    apart = f"; {change.distance_m:.1f} m apart" if change.distance_m is not None else ""
    paired = f"Paired {WAYS[change.way]}{apart}." if change.way else ""
    where = position_words(change.either.finding.geo_position)
    notes = [f"Perhaps, because {'; '.join(change.perhaps)}."] if change.perhaps else []
    todo = change.after.action if change.after and change.status != "better" else ""
    facts = (f"{odds}." if odds else "", _sentence(change.why), f"{paired} {where}".strip())
    return Card(
        SIGNS[change.status], change.words, words_of(change.either.type_name, told.words), (sides[0], sides[1]),
        tuple([todo, *notes] if todo else notes), tuple(filter(None, facts)), MOODS.get(change.status, "careful"),
        bool(change.perhaps),
    )  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _side(side: str, its: SiteObject | None, change: VisitChange, visit: Visit, picture: str) -> Side:
    if its is None:
        what = "nothing found there" if change.status in ("new", "gone") else "not photographed"
        return Side(f"{side}: {visit.name}", (what, *filter(None, [change.place])), picture)
    said = its.class_name or "no answer"
    sure = "" if not its.class_name else percent(its.probability) if its.by == MODEL else f"decided by {its.by}"
    grade = f"severity {its.severity}" if its.severity else ""
    others = len({f.photo for f in its.members}) - 1
    more = f" and {some(others, 'photograph')} more" if others else ""
    lines = (said, ", ".join(filter(None, (sure, grade))), f"{its.finding.photo}, {its.finding.instance_id}{more}")
    return Side(f"{side}: {visit.name}", tuple(filter(None, lines)), picture)


def _listed(told: Revisit, status: str) -> Section | None:
    """A status as a table, without pictures."""
    its = [c for c in told.changes if c.status == status]
    if not its:
        return None
    head = ("photograph", "object", "type", "class", "why" if status in UNSEEN else "paired")
    lines = tuple(
        (
            c.either.finding.photo, c.either.finding.instance_id, words_of(c.either.type_name, told.words),
            c.either.class_name or "no answer", c.why if status in UNSEEN else _how(c),
        )
        for c in its[:MOST_ROWS]
    )  # fmt: skip
    left = f" The first {MOST_ROWS} of them; all are in {CSV}." if len(its) > MOST_ROWS else ""
    grid = Grid(some(len(its), "object"), head, lines, folded=len(its) > 12, words=5)
    return Section(_title(status), (f"{_title(MEANS[status])}.{left}",), grids=(grid,))


def _how(change: VisitChange) -> str:
    doubt = f"; perhaps: {'; '.join(change.perhaps)}" if change.perhaps else ""
    apart = f", {change.distance_m:.1f} m apart" if change.distance_m is not None else ""
    return f"{WAYS[change.way]}{apart}{doubt}"


PAIRING = (
    "An object that several photographs of a visit show counts once. Two objects are the same when their types agree "
    "and their positions differ by at most {gate:g} times what both may be off together, which holds for 98 % of all "
    "objects if both errors are normal and independent. Pairs are one-to-one, chosen together so that the distances "
    "are least.{shift} Where a position is missing, boxes of one type are paired that overlap by at least {iou:g} "
    "(intersection over union) on the same photograph, or on photographs of one name that were not taken more than "
    "{apart:g} m apart."
)
SHIFT = " Positions of the second visit lie {east:+.1f} m east and {north:+.1f} m north of the first, in the median."
CERTAINTY = (
    "Only what the other visit photographed can be gone or new: its place lies in the ground of a photograph, or the "
    "same photograph, or one of its name, is there. The probability that a condition differs is the sum of the "
    "products of both visits' probabilities over all pairs of conditions that differ. It takes the two answers as "
    "independent: a judge that errs alike on both visits makes it too high. What is to be reviewed in a visit, is "
    "less likely than {sure}, or has a neighbor that fits about as well, is called perhaps. That the detector misses "
    "objects is not in these numbers: look at what is gone, and at what is new."
)


def _method(told: Revisit) -> Section:
    """How objects were paired, and what the probabilities rest on."""
    ways = tuple((WAYS[way], f"{told.ways[way]:,}") for way in WAYS)
    shift = SHIFT.format(**told.shift._asdict()) if told.shift else ""
    text = PAIRING.format(gate=GATE, shift=shift, iou=LEAST_IOU, apart=SAME_VIEW_M)
    grid = Grid("Objects seen in both visits", ("paired", "objects"), ways)
    lists = Words("What differs between the visits besides the site:", told.differences)
    certainty = CERTAINTY.format(sure=percent(told.sure))
    blocks = (lists,) if told.differences else ()
    return Section("How it was compared", (text, certainty), grids=(grid,), blocks=blocks)


def _facts(told: Revisit) -> dict[str, Any]:
    now = now_words()
    facts = {"finished": now, "started_words": now[:16].replace("T", ", "), "sure": told.sure}
    for side, visit, objects in zip(SIDES, (told.before, told.after), told.objects, strict=True):
        facts[side] = {k: v for k, v in _visit(visit, objects).items() if v is not None}
    return facts
