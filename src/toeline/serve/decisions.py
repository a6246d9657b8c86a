"""Decisions as events: appended, chained by their hashes, never changed; what holds of a finding follows from them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toeline.core.taxonomy import Taxonomy
from toeline.errors import ToelineError
from toeline.serve.store import HEAD, Row, Store, dumps, now

ACTIONS = ("confirm", "change", "reject", "unsure", "skip", "box", "add")
DECIDES = ("confirm", "change", "reject", "unsure", "add")  # after these a finding is not open any more
LEAST_SIDE = 1.0  # pixels of a box that a person draws
LOCAL = "local"  # who decides at this machine, without an account


class Refused(ToelineError):
    """A decision that cannot be taken; `code` says why to programs, `status` is HTTP's, `more` goes into the answer."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        """`message` says what, where, and what to do."""
        super().__init__(message)
        self.status, self.code, self.more = status, code, more


def required(row: Row | None, what: str, number: object) -> Row:
    """A row that was asked for. Raises Refused where there is none."""
    if row is None:
        raise Refused(404, "missing", f"{what} {number}: there is none. Load the list again.")
    return row


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person says of one finding, or with `add` of a place where nothing was found."""

    action: str
    key: str
    finding: int | None = None
    version: int = 0
    class_name: str = ""
    box: tuple[float, float, float, float] | None = None
    photo: int | None = None
    seconds: float = 0.0

    @property
    def asked(self) -> str:
        """Everything that makes a repeated request the same one."""
        return dumps([self.action, self.finding, self.version, self.class_name, self.box, self.photo])


@dataclass(frozen=True)
class Done:
    """What came of a decision; `again` says that it had been taken before."""

    event: int
    finding: int
    version: int
    again: bool = False

    def record(self) -> dict[str, Any]:
        """As the API answers."""
        known = {"event": self.event, "finding": self.finding, "version": self.version}
        return {**known, "again": True} if self.again else known


@dataclass(frozen=True)
class WhatHolds:
    """What holds of a finding after its events."""

    event: int = 0
    action: str = ""
    class_name: str = ""
    condition: str = ""
    box: str | None = None
    user: str = ""
    time: str = ""
    seconds: float = 0.0
    decided: bool = False
    skipped: bool = False
    removed: bool = False


def standing_of(finding: Row, events: Iterable[Row], taxonomy: Taxonomy) -> WhatHolds:
    """The events of one finding, less those that were undone, oldest first, taken together."""
    standing = list(events)
    decision = next((e for e in reversed(standing) if e["action"] in DECIDES), None)
    shown = decision or (standing[-1] if standing else None)
    class_name, condition = finding["class"], finding["condition"]
    if decision is not None:
        class_name = decision["after"]
        condition = taxonomy.class_of(class_name).condition if class_name else ""
    return WhatHolds(
        event=shown["id"] if shown else 0,
        action=shown["action"] if shown else "",
        class_name=class_name,
        condition=condition,
        box=next((e["box"] for e in reversed(standing) if e["box"]), None),
        user=shown["user"] if shown else "",
        time=shown["time"] if shown else "",
        seconds=shown["seconds"] if shown else 0.0,
        decided=decision is not None,
        skipped=decision is None and any(e["action"] == "skip" for e in standing),
        removed=bool(finding["added"]) and not any(e["action"] == "add" for e in standing),
    )


class Decisions:
    """Takes decisions of people into a store."""

    def __init__(self, store: Store, taxonomy: Taxonomy) -> None:
        """`taxonomy` says which classes there are."""
        self.store, self.taxonomy = store, taxonomy

    def decide(self, user: str, decision: Decision) -> Done:
        """Take one decision. Raises Refused, StoreFull and StoreBusy: then nothing of it is kept."""
        with self.store.write() as db:
            return self.take(db, user, decision)

    def batch(self, user: str, decisions: Sequence[Decision]) -> list[Done | Refused]:
        """Take several in one transaction, each by itself: a refused one does not hold up the others."""
        results: list[Done | Refused] = []
        with self.store.write() as db:
            for decision in decisions:
                try:
                    results.append(self.take(db, user, decision))
                except Refused as why:  # raised before anything is written
                    results.append(why)
        return results

    def take(self, db: sqlite3.Connection, user: str, decision: Decision) -> Done:
        """Within a transaction: check everything, then append."""
        if before := known(db, user, decision.key, decision.asked):
            version = json.loads(before["more"]).get("version", 0)
            return Done(before["id"], before["finding"], version, again=True)
        class_name = self.class_named(decision)
        if decision.action == "add":
            return self._add(db, user, decision, class_name)
        finding = self._finding(db, decision)
        box = self._box(db, finding["photo"], decision)
        if decision.action == "confirm":
            class_name = self._confirmed(finding)
        version = finding["version"] + (decision.action != "skip")
        event = append(
            db,
            user=user,
            finding=finding["id"],
            action=decision.action,
            before=finding["now_class"],
            after=class_name,
            box=box,
            seconds=decision.seconds,
            model=model_of(db, finding["inspection"]),
            key=decision.key,
            asked=decision.asked,
            more={"version": version},
        )
        self.settle(db, finding["id"], version, event)
        return Done(event, finding["id"], version)

    def class_named(self, decision: Decision) -> str:
        """The class that a decision names, as the taxonomy writes it; empty where it names none."""
        if decision.action not in ("change", "add"):
            return ""
        names = self.taxonomy.answers()
        if decision.class_name not in names:
            raise Refused(
                422,
                "invalid",
                f"class: {decision.class_name!r} is no class. Send one of {', '.join(names)}.",
                where=["body", "class"],
            )
        return decision.class_name

    def _confirmed(self, finding: Row) -> str:
        """What a confirmation confirms: the model's answer, whatever was decided in between."""
        name = str(finding["class"])
        if name not in self.taxonomy.answers():
            raise Refused(
                422,
                "invalid",
                "action: there is no answer to confirm. Send change with a class.",
                where=["body", "action"],
            )
        return name

    def _finding(self, db: sqlite3.Connection, decision: Decision) -> Row:
        """The finding as it stands. Raises Refused for none, and for one that somebody decided first."""
        found = db.execute("SELECT * FROM findings WHERE id = ? AND removed = 0", [decision.finding]).fetchone()
        row = required(found, "finding", decision.finding)
        if row["version"] != decision.version and decision.action != "skip":
            raise stale(db, row["id"])
        return row

    def _box(self, db: sqlite3.Connection, photo: int, decision: Decision) -> str | None:
        """The box of a decision, cut at the frame of the photograph. Raises Refused for one that covers nothing."""
        if decision.action in ("box", "add") and decision.box is None:
            raise Refused(422, "invalid", "box: is missing. Send x1, y1, x2, y2 in pixels.", where=["body", "box"])
        if decision.box is None or decision.action not in ("box", "add", "confirm", "change"):
            return None
        row = db.execute("SELECT width, height FROM photos WHERE id = ?", [photo]).fetchone()
        x1, y1, x2, y2 = decision.box
        wide, high = row["width"] or x2, row["height"] or y2
        cut = [max(0.0, min(x1, wide)), max(0.0, min(y1, high)), max(0.0, min(x2, wide)), max(0.0, min(y2, high))]
        if cut[2] - cut[0] < LEAST_SIDE or cut[3] - cut[1] < LEAST_SIDE:
            raise Refused(
                422,
                "invalid",
                f"box: covers less than a pixel of the {wide} x {high} photograph. Draw it anew.",
                where=["body", "box"],
            )
        return dumps([round(v, 2) for v in cut])

    def _add(self, db: sqlite3.Connection, user: str, decision: Decision, class_name: str) -> Done:
        found = db.execute("SELECT * FROM photos WHERE id = ?", [decision.photo]).fetchone()
        photo = required(found, "photo", decision.photo)
        box = self._box(db, photo["id"], decision)
        x1, y1, x2, y2 = json.loads(str(box))
        kind = self.taxonomy.class_of(class_name)
        number = db.execute("SELECT COUNT(*) FROM findings WHERE photo = ? AND added", [photo["id"]]).fetchone()[0] + 1
        made = db.execute(
            "INSERT INTO findings (inspection, photo, object, type, class, condition, probability, probabilities,"
            " confidence, severity, severity_rank, action, immediate, review, review_reason, x1, y1, x2, y2, added,"
            " removed, urgent, doubt, disagree, alike, now_class, now_condition)"
            " VALUES (?,?,?,?,?,?,1,'{}',1,'',0,'','',0,'',?,?,?,?,1,1,0,0,0,0,?,?)",
            (
                photo["inspection"],
                photo["id"],
                f"+{number}",
                kind.type,
                class_name,
                kind.condition,
                x1,
                y1,
                x2,
                y2,
                class_name,
                kind.condition,
            ),
        )
        finding = int(made.lastrowid or 0)
        event = append(
            db,
            user=user,
            finding=finding,
            action="add",
            before="",
            after=class_name,
            box=box,
            seconds=decision.seconds,
            model=model_of(db, photo["inspection"]),
            key=decision.key,
            asked=decision.asked,
            more={"version": 1, "photo": photo["id"]},
        )
        self.settle(db, finding, 1, event)
        return Done(event, finding, 1)

    def undo(self, user: str, key: str) -> tuple[Done, int]:
        """Undo the last event of `user` that is not undone; the event that was undone. Raises Refused."""
        with self.store.write() as db:
            if before := known(db, user, key, "undo"):
                return Done(before["id"], before["finding"], json.loads(before["more"])["version"], again=True), before[
                    "undoes"
                ]
            last = db.execute("SELECT * FROM standing WHERE user = ? ORDER BY id DESC LIMIT 1", [user]).fetchone()
            if last is None:
                raise Refused(404, "nothing", "there is nothing of yours to undo.")
            later = db.execute(
                "SELECT 1 FROM standing WHERE finding = ? AND id > ? AND user != ? AND action != 'skip'",
                (last["finding"], last["id"], user),
            ).fetchone()
            if later:
                raise stale(db, last["finding"])
            row = db.execute("SELECT * FROM findings WHERE id = ?", [last["finding"]]).fetchone()
            version = row["version"] + 1
            event = append(
                db,
                user=user,
                finding=row["id"],
                action="undo",
                before=row["now_class"],
                after=last["before"],
                box=None,
                seconds=0.0,
                model=model_of(db, row["inspection"]),
                key=key,
                asked="undo",
                more={"version": version},
                undoes=last["id"],
            )
            self.settle(db, row["id"], version, event)
            return Done(event, row["id"], version), last["id"]

    def settle(self, db: sqlite3.Connection, finding: int, version: int, event: int) -> None:
        """Write what now holds of a finding beside it."""
        row = db.execute("SELECT * FROM findings WHERE id = ?", [finding]).fetchone()
        events = db.execute("SELECT * FROM standing WHERE finding = ? ORDER BY id", [finding]).fetchall()
        s = standing_of(row, events, self.taxonomy)
        db.execute(
            "UPDATE findings SET version = ?, decided = ?, skipped = ?, removed = ?, now_event = ?, now_action = ?,"
            " now_class = ?, now_condition = ?, now_box = ?, now_user = ?, now_time = ?, now_seconds = ? WHERE id = ?",
            (
                version,
                s.decided,
                s.skipped,
                s.removed,
                s.event,
                s.action,
                s.class_name,
                s.condition,
                s.box,
                s.user,
                s.time,
                s.seconds,
                finding,
            ),
        )
        db.execute("UPDATE inspections SET last_event = ? WHERE id = ?", (event, row["inspection"]))


def known(db: sqlite3.Connection, user: str, key: str, asked: str) -> Row | None:
    """The event that this request made before. Raises Refused for its key with another content."""
    row: Row | None = db.execute("SELECT * FROM events WHERE user = ? AND key = ?", (user, key)).fetchone()
    if row is not None and row["asked"] != asked:
        raise Refused(
            422, "invalid", f"key: {key!r} was used for another decision. Make a new one.", where=["body", "key"]
        )
    return row


def stale(db: sqlite3.Connection, finding: int) -> Refused:
    """Somebody was first, and who."""
    last = db.execute(
        "SELECT * FROM events WHERE finding = ? AND action NOT IN ('skip', 'blind') ORDER BY id DESC LIMIT 1", [finding]
    ).fetchone()
    if last is None:
        return Refused(
            409, "stale", "version: is not that of this finding. Load it again, then decide.", finding=finding
        )
    what = f"{last['action']} to {last['after']!r}" if last["after"] else last["action"]
    return Refused(
        409,
        "stale",
        f"{last['user']} decided this first: {what} at {last['time']}. Look again, then decide.",
        finding=finding,
        first={
            "event": last["id"],
            "user": last["user"],
            "action": last["action"],
            "class": last["after"],
            "time": last["time"],
        },
    )


def model_of(db: sqlite3.Connection, inspection: int) -> str:
    """Fingerprint of the models of an inspection."""
    return str(db.execute("SELECT model FROM inspections WHERE id = ?", [inspection]).fetchone()[0])


HASHED = (
    "id",
    "time",
    "user",
    "finding",
    "action",
    "before",
    "after",
    "box",
    "seconds",
    "model",
    "undoes",
    "key",
    "asked",
    "more",
)


def hash_of(prev: str, event: Mapping[str, Any]) -> str:
    """SHA-256 of an event with the hash of the one before, in hex."""
    return hashlib.sha256(dumps([prev, *(event[name] for name in HASHED)]).encode("utf-8", "surrogatepass")).hexdigest()


def append(
    db: sqlite3.Connection,
    *,
    user: str,
    action: str,
    finding: int | None = None,
    before: str = "",
    after: str = "",
    box: str | None = None,
    seconds: float = 0.0,
    model: str = "",
    key: str | None = None,
    asked: str = "",
    more: Mapping[str, Any] | None = None,
    undoes: int | None = None,
) -> int:
    """Append an event within a transaction, and return its id."""
    last = db.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    number, prev = (last["id"] + 1, last["hash"]) if last else (1, genesis(db))
    event = {
        "id": number,
        "time": now(),
        "user": user,
        "finding": finding,
        "action": action,
        "before": before,
        "after": after,
        "box": box,
        "seconds": round(float(seconds), 3),
        "model": model,
        "undoes": undoes,
        "key": key,
        "asked": asked,
        "more": dumps(more or {}),
    }
    values = [*event.values(), prev, hash_of(prev, event)]
    db.execute(f"INSERT INTO events ({', '.join(event)}, prev, hash) VALUES ({', '.join('?' * len(values))})", values)
    return number


def genesis(db: sqlite3.Connection) -> str:
    """What stands for the hash before the first event: of the store's id, so that chains cannot be exchanged."""
    store = db.execute("SELECT value FROM meta WHERE name = 'store'").fetchone()[0]
    return hashlib.sha256(f"toeline store {store}".encode()).hexdigest()


@dataclass
class Checked:
    """What a check of a store found. `head` is the hash of the last event, to be compared with that of a sign-off."""

    events: int = 0
    findings: int = 0
    head: str = ""
    faults: list[str] = field(default_factory=list)


def check(store: Store, taxonomy: Taxonomy, heads: Sequence[str] = ()) -> Checked:
    """Read every event and compare: hashes, order, what holds of each finding, and the heads that were signed.

    `heads` are hashes that were kept elsewhere: one that is no event of the chain shows that events were cut off.
    """
    db, note = store.reader, _note(store)
    db.execute("BEGIN")  # one state of the store, while others write
    try:
        return _checked(store, taxonomy, {*heads}, note)
    finally:
        db.execute("COMMIT")


def _checked(store: Store, taxonomy: Taxonomy, missing: set[str], note: dict[str, Any]) -> Checked:
    db = store.reader
    result = Checked(head=genesis(db))
    missing.discard(result.head)
    signed = {row["event"]: row for row in db.execute("SELECT id, event, chain, sha256 FROM signoffs")}
    for row in db.execute("SELECT * FROM events ORDER BY id"):
        result.events += 1
        if row["id"] != result.events:
            result.faults.append(f"event {result.events}: is missing; the next one is {row['id']}")
            result.events = row["id"]
        if row["prev"] != result.head or row["hash"] != hash_of(row["prev"], row):
            result.faults.append(f"event {row['id']}: its hash does not fit: it or the one before was changed")
        if (sign := signed.pop(row["id"], None)) and sign["chain"] != row["prev"]:
            result.faults.append(f"sign-off {sign['id']}: what was signed is not what the events say")
        result.head = row["hash"]
        missing.discard(row["hash"])
    for row in db.execute("SELECT s.id, s.page, s.sha256, e.more FROM signoffs s JOIN events e ON e.id = s.event"):
        if {hashlib.sha256(row["page"]).hexdigest(), row["sha256"]} != {json.loads(row["more"]).get("sha256")}:
            result.faults.append(f"sign-off {row['id']}: its report is not the one that was signed")
    result.faults += [f"sign-off {sign['id']}: its event {event} is gone" for event, sign in signed.items()]
    result.faults += (f"hash {head}: is of no event of this store: events were cut off" for head in sorted(missing))
    result.faults += _cut_off(store, result, note)
    result.faults += (f"SQLite: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok")
    _check_standing(db, taxonomy, result)
    return result


def _cut_off(store: Store, result: Checked, note: dict[str, Any]) -> Iterator[str]:
    """What the database and the note beside it remember of events that are not there any more."""
    ever = store.value("SELECT seq FROM sqlite_sequence WHERE name = 'events'") or 0
    if ever > result.events:
        yield f"events {result.events + 1} to {ever}: were there once, and were cut off"
    if note and note["store"] != store.meta("store"):
        yield f"{HEAD}: is of another store. Delete it if the database was put here on purpose."
    elif note and note["event"] and store.value("SELECT hash FROM events WHERE id = ?", note["event"]) != note["hash"]:
        yield f"{HEAD}: notes event {note['event']} with hash {note['hash']}, which is not there: events were cut off"


def _note(store: Store) -> dict[str, Any]:
    """What stands beside the store of its last event; empty where there is no note, or none that can be read."""
    try:
        note = json.loads((store.folder / HEAD).read_text(encoding="utf-8"))
        return {"store": str(note["store"]), "event": int(note["event"]), "hash": str(note["hash"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _check_standing(db: sqlite3.Connection, taxonomy: Taxonomy, result: Checked) -> None:
    """Whether what stands beside the findings is what their events come to."""
    events: dict[int, list[Row]] = {}
    for row in db.execute("SELECT * FROM standing ORDER BY id"):
        events.setdefault(row["finding"], []).append(row)
    for row in db.execute("SELECT * FROM findings"):
        result.findings += 1
        s = standing_of(row, events.get(row["id"], ()), taxonomy)
        said = (
            row["now_event"],
            row["now_class"],
            row["now_box"],
            bool(row["decided"]),
            bool(row["skipped"]),
            bool(row["removed"]),
        )
        if said != (s.event, s.class_name, s.box, s.decided, s.skipped, s.removed):
            result.faults.append(f"finding {row['id']}: what stands beside it is not what its events come to")
