"""What the API says of findings, photographs and progress: filters, orders, and records as JSON."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toeline.core.finding import Finding
from toeline.core.geo import Point, between
from toeline.core.records import finding_from
from toeline.core.taxonomy import Taxonomy
from toeline.serve.imports import path_of
from toeline.serve.store import Row, Store

ORDERS = {
    "urgent": "f.skipped, f.urgent, f.id",
    "least_sure": "f.skipped, f.doubt, f.id",
    "disagree": "f.skipped, f.disagree, f.id",
    "alike": "f.skipped, f.alike, f.id",
    "photo": "f.skipped, f.photo, f.id",
}
STATES = {"open": "f.decided = 0", "decided": "f.decided = 1", "all": "f.decided IN (0, 1)"}
NEIGHBOURS, SAME_OBJECT = 20, 8
STATE = "SELECT date('now'), (SELECT MAX(id) FROM events), (SELECT MAX(id) FROM inspections)"
MOST_KEPT = 500
SLOW_S = 0.01  # of a core, for counting: a store of some ten thousand findings
JOINED = "SELECT f.*, p.name AS photo_name FROM findings f JOIN photos p ON p.id = f.photo"
# The first decision on an inspection after an event; skipping, and the blind review, change nothing of what was signed.
REOPENS = (
    "SELECT e.* FROM events e CROSS JOIN findings f ON f.id = e.finding WHERE e.id > ? AND f.inspection = ?"
    " AND e.action NOT IN ('skip', 'blind')"
    " AND NOT EXISTS (SELECT 1 FROM events s WHERE s.id = e.undoes AND s.action = 'skip') ORDER BY e.id LIMIT 1"
)
SIGNED = "SELECT id, inspection, event, user, name, note, time, chain, sha256, open FROM signoffs"  # without the page


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which findings; what is empty or None filters nothing."""

    state: str = "open"
    type: str = ""
    class_name: str = ""
    condition: str = ""
    review: bool | None = None
    severity: str = ""
    inspection: int | None = None
    photo: int | None = None
    q: str = ""
    action: str = ""
    user: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its values: no text of a user's is ever part of the first."""
        equal = {
            "f.type": self.type,
            "f.now_class": self.class_name,
            "f.now_condition": self.condition,
            "f.severity": self.severity,
            "f.inspection": self.inspection,
            "f.photo": self.photo,
            "f.now_action": self.action,
            "f.now_user": self.user,
            "f.review": None if self.review is None else int(self.review),
        }
        known = {name: value for name, value in equal.items() if value not in (None, "")}
        parts = ["f.removed = 0", STATES[self.state], *(f"{name} = ?" for name in known)]
        values = list(known.values())
        if self.q:
            like = "%" + "".join(f"\\{c}" if c in "%_\\" else c for c in self.q) + "%"
            named = "SELECT id FROM photos WHERE name LIKE ? ESCAPE '\\'"
            # two look-ups by index; an OR of both would read every finding
            of = f"SELECT id FROM findings WHERE object = ? UNION SELECT id FROM findings WHERE photo IN ({named})"
            parts.append(f"f.id IN ({of})")
            values += [self.q, like]
        return " AND ".join(parts), values


# What each new event adds to the decisions of its user, and what an undo takes from those of the one it undoes.
CHANGES = """
    SELECT e.user, SUM(n * decides) AS decisions, SUM(n * decides * e.seconds) AS seconds, SUM(n * counts) AS today
    FROM (
        SELECT id, 1 AS n FROM events WHERE id > :after AND id <= :last AND undoes IS NULL
        UNION ALL SELECT undoes, -1 FROM events WHERE id > :after AND id <= :last AND undoes IS NOT NULL
    ) c JOIN (
        SELECT *, action IN ('confirm', 'change', 'reject', 'unsure', 'add') AS decides,
            action IN ('confirm', 'change', 'reject', 'unsure', 'add', 'box') AND time >= :day AS counts FROM events
    ) e ON e.id = c.id
    WHERE :inspection IS NULL OR (SELECT inspection FROM findings WHERE id = e.finding) = :inspection GROUP BY e.user
"""


class Tally:
    """How much each person decided, and all of them today: only events since it was asked the last time are read."""

    def __init__(self, store: Store, inspection: int | None) -> None:
        """Of one inspection, or of all."""
        self.store, self.inspection = store, inspection
        self._lock = threading.Lock()
        self._day, self._last, self._today = "", 0, 0
        self._users: dict[str, tuple[int, float]] = {}

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Decisions and seconds of each, the busiest first; decisions of all today."""
        with self._lock:
            day, last = self.store.reader.execute("SELECT date('now'), COALESCE(MAX(id), 0) FROM events").fetchone()
            if day != self._day:
                self._day, self._last, self._today, self._users = day, 0, 0, {}
            told = {"after": self._last, "last": last, "day": day, "inspection": self.inspection}
            for row in self.store.reader.execute(CHANGES, told) if last > self._last else ():
                before = self._users.get(row["user"], (0, 0.0))
                self._users[row["user"]] = before[0] + row["decisions"], before[1] + row["seconds"]
                self._today += row["today"]
            self._last = last
            users = sorted(((n, s, user) for user, (n, s) in self._users.items() if n), reverse=True)
            return [{"user": user, "decisions": n, "seconds": round(s, 1)} for n, s, user in users], self._today


class Listing:
    """Reads a store for the API."""

    def __init__(self, store: Store, taxonomy: Taxonomy) -> None:
        """`taxonomy` gives conditions and severities of classes."""
        self.store, self.taxonomy = store, taxonomy
        self.tallies: dict[int | None, Tally] = {}
        self._kept: dict[str, tuple[Any, float, float, Any]] = {}
        self._counting = threading.Lock()

    def page(self, chosen: Filter, *, sort: str = "urgent", page: int = 1, per_page: int = 60) -> dict[str, Any]:
        """One page of findings, and how many there are."""
        where, values = chosen.where()
        count = f"SELECT COUNT(*) FROM findings f WHERE {where}"
        total = self._counted(f"{where} {values}", lambda: self.store.value(count, *values))
        # their numbers first, which an index of the order gives; only rows that are shown are read
        ids = f"SELECT f.id FROM findings f WHERE {where} ORDER BY {ORDERS[sort]} LIMIT ? OFFSET ?"
        rows = self.store.rows(
            f"{JOINED} WHERE f.id IN ({ids}) ORDER BY {ORDERS[sort]}", *values, per_page, (page - 1) * per_page
        )
        return {"total": total, "page": page, "per_page": per_page, "items": [self.item(row) for row in rows]}

    def finding(self, number: int) -> Row | None:
        """One finding with the name of its photograph; None for one that is not there or was taken back."""
        return self.store.row(f"{JOINED} WHERE f.id = ? AND f.removed = 0", number)

    def item(self, row: Row) -> dict[str, Any]:
        """A finding as the API gives it."""
        named = {"id": row["id"], "object": row["object"], "photo_id": row["photo"], "photo": row["photo_name"]}
        same = ("inspection", "type", "class", "condition", "probability", "confidence", "severity", "severity_rank")
        return {
            **named,
            **{name: row[name] for name in same},
            "probabilities": json.loads(row["probabilities"]),
            "action": row["action"],
            "immediate": row["immediate"],
            "review": bool(row["review"]),
            "review_reason": row["review_reason"],
            "box": [row["x1"], row["y1"], row["x2"], row["y2"]],
            "position": _position(row),
            "version": row["version"],
            "added": bool(row["added"]),
            "removed": bool(row["removed"]),
            "decision": _decision(row),
        }

    def details(self, row: Row) -> dict[str, Any]:
        """A finding with what stands around it and what was decided of it."""
        around = self.store.rows(f"{JOINED} WHERE f.photo = ? AND f.id != ? AND f.removed = 0", row["photo"], row["id"])
        near = sorted(around, key=lambda other: _apart(row, other))[:NEIGHBOURS]
        return {
            "item": self.item(row),
            "photo": self.photo(self.photo_row(row["photo"])),
            "relations": list(self._relations(row, around)),
            "neighbours": [self.item(other) for other in near],
            "same_object": self._same(row),
            "events": self.events(finding=row["id"], limit=500)["items"],
        }

    def _relations(self, row: Row, around: list[Row]) -> Iterator[dict[str, Any]]:
        kept = self.store.value("SELECT record FROM records WHERE finding = ?", row["id"])
        ids = {other["object"]: other["id"] for other in around}
        for relation in json.loads(kept)["relations"] if kept else ():
            yield {**relation, "other_id": ids.get(relation["other"])}

    def _same(self, row: Row) -> list[dict[str, Any]]:
        """The same object on other photographs, as `toeline inspect` grouped them by where they lie."""
        if not row["same"]:
            return []
        others = self.store.rows(
            f"{JOINED} WHERE f.same = ? AND f.photo != ? AND f.removed = 0", row["same"], row["photo"]
        )
        apart = {other["id"]: between(_point(row), _point(other)) for other in others}
        far = {i: (way.east**2 + way.north**2) ** 0.5 for i, way in apart.items()}
        near = sorted(others, key=lambda other: (far[other["id"]], other["id"]))[:SAME_OBJECT]
        return [{**self.item(other), "distance_m": round(far[other["id"]], 1)} for other in near]

    def photo_row(self, number: int) -> Row | None:
        """A photograph of the store."""
        return self.store.row("SELECT * FROM photos WHERE id = ?", number)

    def photo(self, row: Row | None) -> dict[str, Any]:
        """A photograph as the API gives it, with those before and after it in its inspection."""
        assert row is not None, "findings name photographs that are there"
        path = path_of(row)
        beside = "SELECT {}(id) FROM photos WHERE inspection = ? AND id {} ?"
        return {
            **{name: row[name] for name in ("id", "name", "inspection", "width", "height", "sha256")},
            "there": path is not None and path.is_file(),
            "previous": self.store.value(beside.format("MAX", "<"), row["inspection"], row["id"]),
            "next": self.store.value(beside.format("MIN", ">"), row["inspection"], row["id"]),
        }

    def photo_page(self, *, inspection: int | None, q: str, page: int, per_page: int) -> dict[str, Any]:
        """One page of photographs."""
        like = "%" + "".join(f"\\{c}" if c in "%_\\" else c for c in q) + "%"
        where = "name LIKE ? ESCAPE '\\' AND (? IS NULL OR inspection = ?)"
        values = (like, inspection, inspection)
        total = self.store.value(f"SELECT COUNT(*) FROM photos WHERE {where}", *values)
        rows = self.store.rows(
            f"SELECT * FROM photos WHERE {where} ORDER BY id LIMIT ? OFFSET ?", *values, per_page, (page - 1) * per_page
        )
        return {"total": total, "page": page, "per_page": per_page, "items": [self.photo(row) for row in rows]}

    def on_photo(self, number: int) -> list[dict[str, Any]]:
        """Everything on a photograph."""
        rows = self.store.rows(f"{JOINED} WHERE f.photo = ? AND f.removed = 0 ORDER BY f.id", number)
        return [self.item(row) for row in rows]

    def _counted(self, name: str, count: Callable[[], Any]) -> Any:
        """What `count` says of the store as it is; where it takes long, of how it was a moment ago.

        Of many who ask at once one counts, and what took long is counted anew after 20 times as long at the earliest.
        """
        with self._counting:
            state = tuple(self.store.rows(STATE)[0])
            before, at, took, found = self._kept.get(name, (None, 0.0, 0.0, None))
            if before == state or (took > SLOW_S and time.monotonic() - at < 20 * took):
                return found
            start = time.thread_time()  # of this thread alone, however busy the machine is
            found = count()
            if len(self._kept) >= MOST_KEPT:  # filters are typed by people
                self._kept.clear()
            self._kept[name] = (state, time.monotonic(), time.thread_time() - start, found)
            return found

    def inspections(self) -> list[dict[str, Any]]:
        """All inspections, the latest first."""
        found: list[dict[str, Any]] = self._counted("inspections", self._inspections)
        return found

    def _inspections(self) -> list[dict[str, Any]]:
        rows = self.store.rows(
            "SELECT i.*, (SELECT COUNT(*) FROM photos p WHERE p.inspection = i.id) AS photographs,"
            " COUNT(f.id) AS findings, COALESCE(SUM(f.decided), 0) AS decided,"
            " (SELECT MAX(s.id) FROM signoffs s WHERE s.inspection = i.id) AS signed"
            " FROM inspections i LEFT JOIN findings f ON f.inspection = i.id AND f.removed = 0"
            " GROUP BY i.id ORDER BY i.id DESC"
        )
        names = ("id", "name", "imported", "finished", "photographs", "findings", "decided", "model")
        return [{**{n: r[n] for n in names}, **self._signed(r["signed"])} for r in rows]

    def _signed(self, signoff: int | None) -> dict[str, Any]:
        """The last sign-off of an inspection, and whether it still holds."""
        row = self.store.row(f"{SIGNED} WHERE id = ?", signoff)
        last = said_of(self.store, row) if row else None
        return {"signed": bool(last and last["valid"]), "signoff": last}

    def events(self, *, finding: int | None = None, user: str = "", after: int = 0, limit: int = 100) -> dict[str, Any]:
        """Events in their order; `last` is where the next page begins."""
        asked: dict[str, Any] = {"e.id > ?": after}
        if finding is not None:
            asked["e.finding = ?"] = finding  # not "? IS NULL OR ...", which would read every event
        if user:
            asked["e.user = ?"] = user
        rows = self.store.rows(
            "SELECT e.*, EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.id) AS undone FROM events e"
            f" WHERE {' AND '.join(asked)} ORDER BY e.id LIMIT ?",
            *(*asked.values(), limit),
        )
        return {"items": [_event(row) for row in rows], "last": rows[-1]["id"] if rows else after}

    def progress(self, inspection: int | None = None) -> dict[str, Any]:
        """How far the review is."""
        found: dict[str, Any] = self._counted(f"progress {inspection}", lambda: self._progress(inspection))
        return found

    def _progress(self, inspection: int | None) -> dict[str, Any]:
        of, values = ("AND f.inspection = ?", [inspection]) if inspection is not None else ("", [])
        rows = self.store.rows(
            "SELECT f.type, f.decided, f.skipped, f.now_action AS did, COUNT(*) AS n FROM findings f"
            f" WHERE f.removed = 0 {of} GROUP BY 1, 2, 3, 4",
            *values,
        )
        types = [
            {"type": t.name, "total": _sum(rows, type=t.name), "decided": _sum(rows, type=t.name, decided=1)}
            for t in self.taxonomy.types
        ]
        actions = sorted({row["did"] for row in rows if row["decided"]})
        tally = self.tallies.setdefault(inspection, Tally(self.store, inspection))
        users, _ = tally.read()
        _, today = self.tallies.setdefault(None, Tally(self.store, None)).read()
        total, decided = _sum(rows), _sum(rows, decided=1)
        return {
            "total": total,
            "decided": decided,
            "open": total - decided,
            "skipped": _sum(rows, skipped=1),
            "by_action": {did: _sum(rows, did=did, decided=1) for did in actions},
            "by_type": [row for row in types if row["total"]],
            "by_user": users,
            "today": today,
            "last_event": self.store.value("SELECT COALESCE(MAX(id), 0) FROM events"),
        }


def _sum(rows: list[Row], **only: Any) -> int:
    return sum(row["n"] for row in rows if all(row[name] == value for name, value in only.items()))


def _point(row: Row) -> Point:
    return Point(row["latitude"], row["longitude"])


def _position(row: Row) -> dict[str, Any] | None:
    if row["latitude"] is None:
        return None
    return {
        "latitude": round(row["latitude"], 7),
        "longitude": round(row["longitude"], 7),
        "accuracy_m": row["accuracy_m"],
    }


def _decision(row: Row) -> dict[str, Any] | None:
    if not row["now_event"]:
        return None
    return {
        "event": row["now_event"],
        "action": row["now_action"],
        "class": row["now_class"] if row["decided"] else "",
        "condition": row["now_condition"] if row["decided"] else "",
        "box": json.loads(row["now_box"]) if row["now_box"] else None,
        "user": row["now_user"],
        "time": row["now_time"],
        "seconds": row["now_seconds"],
    }


def _event(row: Row) -> dict[str, Any]:
    names = ("id", "time", "user", "finding", "action", "seconds", "model", "undoes", "prev", "hash")
    box = json.loads(row["box"]) if row["box"] else None
    told = {"from": row["before"], "to": row["after"], "box": box, "undone": bool(row["undone"])}
    return {**{name: row[name] for name in names}, **told}


def _apart(a: Row, b: Row) -> tuple[float, int]:
    """Distance of the middles of two boxes, in pixels."""
    x, y = (a["x1"] + a["x2"] - b["x1"] - b["x2"]) / 2, (a["y1"] + a["y2"] - b["y1"] - b["y2"]) / 2
    return x * x + y * y, b["id"]


def as_found(store: Store, row: Row) -> Finding:
    """The finding of a row as `toeline inspect` wrote it; an added one as it would have."""
    kept = store.value("SELECT record FROM records WHERE finding = ?", row["id"])
    return finding_from(json.loads(kept) if kept else _added(row))


def _added(row: Row) -> Mapping[str, Any]:
    """The record of an object that a person added."""
    return {
        "photo": row["photo_name"],
        "id": row["object"],
        "type": row["type"],
        "box": [row["x1"], row["y1"], row["x2"], row["y2"]],
        "detector_confidence": 1.0,
        "class": row["class"],
        "condition": row["condition"],
        "probability": 1.0,
        "probabilities": {row["class"]: 1.0},
        "asked": False,
        "review": False,
        "review_reason": "",
        "relations": [],
    }


def said_of(store: Store, row: Row) -> dict[str, Any]:
    """A sign-off; `reopened_by` is the first decision after it that touched its inspection."""
    of = store.row("SELECT name, last_event FROM inspections WHERE id = ?", row["inspection"])
    assert of is not None, "sign-offs are of inspections that are there"
    later = store.row(REOPENS, row["event"], row["inspection"]) if of["last_event"] > row["event"] else None
    names = ("id", "inspection", "name", "user", "time", "event", "chain", "sha256", "open", "note")
    return {
        **{n: row[n] for n in names},
        "inspection_name": of["name"],
        "valid": later is None,
        "reopened_by": later["id"] if later else None,
        "reopened": {n: later[n] for n in ("id", "user", "action", "time", "finding")} if later else None,
        "report": f"/api/v1/signoffs/{row['id']}/report.html",
        "pdf": f"/api/v1/signoffs/{row['id']}/report.pdf",
    }
