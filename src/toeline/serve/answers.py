"""What people did in an annotation tool becomes decisions: `toeline serve answers`.

Nothing becomes a decision that nobody looked at: in Label Studio an annotation must be submitted, in CVAT a photograph
or a shape must be ticked as seen, unless it was changed. What somebody decided in the store meanwhile stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Problem
from toeline.core.records import told_record
from toeline.core.words import cut, some
from toeline.data.answers import PERCENT, AnsweredPhoto, Answers, Region, read_answers
from toeline.data.coco import SAME_SHAPE
from toeline.data.coco_photos import spellings
from toeline.data.images import read_header
from toeline.data.matching import folded
from toeline.errors import PhotoError, SetupError, TaxonomyError
from toeline.pipelines.progress import Summary, saying
from toeline.serve.decisions import LEAST_SIDE, LOCAL, Decision, Decisions, Refused
from toeline.serve.imports import path_of, store_taxonomy
from toeline.serve.store import Row, Store, dumps
from toeline.serve.tasks import Reference, Shown, TaskPhoto, refer, store_mark

MOVED_PX = 0.5  # a side that is off by less was not moved: tools round
SAME_PLACE = 0.8  # intersection over union from which a new box is an object that is there already
BACK = "back"  # how keys of these decisions begin
ALL_SEEN = "all in it counts as looked at, since --all-seen says so: what is unchanged is confirmed."
UNSEEN = (
    "{} unchanged, and not ticked as seen: not taken as confirmed. Tick `seen` at the shape or at the tag of its "
    "photograph, or say --all-seen."
)
UNANSWERED = "without a submitted annotation: predictions that nobody submitted are no answers"
NOTHING_NEW = "No class, box or object in the file differs from what is decided in the store already"
NO_PHOTOS = "The file holds no photograph"
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class WantedDecision:
    """A decision that follows from a file; `what` says of which object. Its version is that which was shown.

    `place` is where the box lies now, also where it was not moved.
    """

    decision: Decision
    what: str
    place: Corners | None = None


@dataclass
class Taken:
    """What came of a file; `unseen` findings were left as they are, and nobody said to have looked at them."""

    photographs: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    again: int = 0
    unseen: int = 0
    problems: list[Problem] = field(default_factory=list)


def answers_into(store_dir: Path, file: Path, *, user: str, annotator: str = "", all_seen: bool = False) -> Summary:
    """Take what was done in Label Studio or CVAT into a store, as decisions of `user`. Raises ToelineError."""
    with closing(Store.open(store_dir, make=False)) as store:
        require_reviewer(store, user)
        with saying("Reading the answers"):
            found = read_answers(file, annotator)
        taker = Taker(store, file, user, found.tool, all_seen=all_seen)
        with saying("Taking the answers"):
            for answered in found.photos:
                taker.take(answered)
        taken = taker.taken
    taken.problems += [Problem("", f"{file}, {where}", what) for where, what in found.faults]
    if all_seen:
        taken.problems.append(Problem.in_file(file, ALL_SEEN, note=True))
    elif taken.unseen:
        taken.problems.append(Problem.in_file(file, UNSEEN.format(some(taken.unseen, "finding")), note=True))
    taken.problems += [Problem("", f"{file}, {where}", what, note=True) for where, what in found.notes]
    return _summary(taken, found, store_dir, user)


def _summary(taken: Taken, found: Answers, store_dir: Path, user: str) -> Summary:
    number = sum(taken.actions.values())
    kinds = ", ".join(f"{n:,} {action}" for action, n in taken.actions.most_common())
    photographs = some(taken.photographs, "photograph")
    lines = [f"[bold]{some(number, 'decision')}[/] of {photographs} in {found.tool}: {kinds or 'none'}"]
    lines += [f"{some(taken.again, 'answer')} had been taken before"] if taken.again else []
    lines += [f"{some(found.unanswered, 'task')} {UNANSWERED}"] if found.unanswered else []
    if not (number or taken.again or taken.problems or found.unanswered):
        lines.append(NOTHING_NEW if found.photos else NO_PHOTOS)
    record = {
        "tool": found.tool,
        "unanswered": found.unanswered,
        "user": user,
        "photographs": taken.photographs,
        "decisions": dict(taken.actions),
    }
    record |= {"again": taken.again, **told_record(taken.problems)}
    return Summary(lines, {"store": str(store_dir)}, record, taken.problems, "the lines above")


def require_reviewer(store: Store, user: str) -> None:
    """Raise SetupError for a name that may not decide."""
    role = store.value("SELECT role FROM users WHERE name = ?", user)
    if user != LOCAL and role not in ("reviewer", "engineer"):
        why = "is no account of the store" if role is None else "may only read"
        raise SetupError(
            f"--user {cut(user)!r} {why}. Make it a reviewer: toeline serve user add NAME --store {store.folder}; "
            f"without accounts, name {LOCAL!r}."
        )


class Taker:
    """Takes one file into a store."""

    def __init__(self, store: Store, file: Path, user: str, tool: str, *, all_seen: bool = False) -> None:
        """`all_seen`: somebody says that all in the file was looked at."""
        self.store, self.file, self.user, self.tool, self.all_seen = store, file, user, tool, all_seen
        self.taxonomy = store_taxonomy(store)
        self.mark, self.decisions, self.taken = store_mark(store), Decisions(store, self.taxonomy), Taken()
        self._named: dict[str, list[Row]] = defaultdict(list)
        for row in store.rows("SELECT * FROM photos ORDER BY id"):
            self._named[folded(row["name"].rsplit("/", 1)[-1])].append(row)

    def take(self, answered: AnsweredPhoto) -> None:
        """Take one photograph: all of it that can be, in one transaction."""
        try:
            row = self._photo(answered)
            place = upright(answered, row)
        except ValueError as why:
            self._say(answered.where, f"{why}. Nothing of it was taken")
            return
        self.taken.photographs += 1
        photo = TaskPhoto(self.store, self.taxonomy, row)
        wanted = list(_Compared(self, answered, photo, place).wanted())
        share = round(answered.seconds / len(wanted), 3) if wanted else 0.0
        if wanted:
            with self.store.write() as db:
                for one in wanted:
                    self._decide(db, replace(one, decision=replace(one.decision, seconds=share)), row["name"])

    def _say(self, where: str, what: str, *, photo: str = "", note: bool = False) -> None:
        self.taken.problems.append(Problem(photo, f"{self.file}, {where}", f"{what}.", note=note))

    def _photo(self, answered: AnsweredPhoto) -> Row:
        """The photograph that is meant. Raises ValueError for none, and for one of several."""
        known = [refer(text) for text in (answered.reference, *(g.id for g in answered.regions))]
        ours = [one for one in known if one is not None]
        if other := next((one.store for one in ours if one.store != self.mark), ""):
            raise ValueError(f"it was exported from another store ({other}, this one is {self.mark})")
        of_photo = refer(answered.reference)
        numbers = {of_photo.number} if of_photo and of_photo.of_photo else self._photos_of(ours)
        if len(numbers) != 1:
            return self._by_name(answered.name)
        row = self.store.row("SELECT * FROM photos WHERE id = ?", numbers.pop())
        if row is None:
            raise ValueError(f"the photograph {cut(answered.name)!r} is not in the store")
        if answered.name and not any(_same(row["name"], spelled) for spelled in _names(answered.name)):
            raise ValueError(f"its reference is of {row['name']!r}, and it is called {cut(answered.name)!r}")
        return row

    def _photos_of(self, references: Iterable[Reference]) -> set[int]:
        numbers = {one.number for one in references if not one.of_photo}
        found = (self.store.value("SELECT photo FROM findings WHERE id = ?", number) for number in numbers)
        return {photo for photo in found if photo is not None}

    def _by_name(self, name: str) -> Row:
        """The one photograph whose name ends as this one, or this one's as its. Raises ValueError."""
        for spelled in _names(name):
            near = [row for row in self._named[folded(spelled.rsplit("/", 1)[-1])] if _same(row["name"], spelled)]
            equal = [row for row in near if folded(row["name"]) == folded(spelled)] or near
            if len(equal) == 1:
                return equal[0]
            if equal:
                places = " and ".join(f"{row['name']!r} of inspection {row['inspection']}" for row in equal[:3])
                raise ValueError(f"{cut(name)!r} may be {places}. Export the tasks with toeline export STORE")
        raise ValueError(f"the photograph {cut(name)!r} is not in the store")

    def _decide(self, db: sqlite3.Connection, wanted: WantedDecision, photo: str) -> None:
        """Take one decision, unless it was taken before or somebody else was first."""
        made = wanted.decision
        if db.execute("SELECT 1 FROM events WHERE user = ? AND key = ?", (self.user, made.key)).fetchone():
            self.taken.again += 1
            return
        if made.finding is not None and (last := self.own_last(db, made.finding, made.key)):
            row = db.execute("SELECT * FROM findings WHERE id = ?", [made.finding]).fetchone()
            if made.action in ("confirm", "change") and wanted.place and _moved(_now(row), wanted.place):
                made = replace(made, box=wanted.place)  # an earlier export had it elsewhere
            after = row["class"] if made.action == "confirm" else made.class_name
            box = dumps(list(made.box)) if made.box else None
            if (last["action"], last["after"], last["box"]) == (made.action, after, box):
                self.taken.again += 1
                return
            made = replace(made, version=row["version"])
        try:
            self.decisions.take(db, self.user, made)
        except Refused as why:
            self._say(wanted.what, f"not taken: {str(why).rstrip('.')}", photo=photo)
        else:
            self.taken.actions[made.action] += 1

    def own_last(self, db: sqlite3.Connection, finding: int, key: str) -> Row | None:
        """The last event of a finding, if it is of an earlier export: same user, annotator, and version shown."""
        last: Row | None = db.execute(
            "SELECT * FROM events WHERE finding = ? AND action NOT IN ('skip', 'blind') ORDER BY id DESC LIMIT 1",
            [finding],
        ).fetchone()
        begins = key.rpartition("-")[0]
        fits = last is not None and last["user"] == self.user and str(last["key"]).rpartition("-")[0] == begins
        return last if fits else None


def _now(row: Row) -> Corners:
    """Where a finding is, as it stands."""
    x1, y1, x2, y2 = json.loads(row["now_box"]) if row["now_box"] else (row[k] for k in ("x1", "y1", "x2", "y2"))
    return float(x1), float(y1), float(x2), float(y2)


def _moved(one: Corners, other: Corners) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) > MOVED_PX


def _names(name: str) -> list[str]:
    return [str(path).lstrip("/") for path in spellings(name) if str(path) not in ("", ".")]


def _same(one: str, other: str) -> bool:
    """Whether the shorter of two paths is the end of the longer one.

    >>> _same("day 1/a.jpg", "A.JPG"), _same("a.jpg", "flights/day 1/a.jpg"), _same("day 1/a.jpg", "day 2/a.jpg")
    (True, True, False)
    """
    a, b = ([folded(part) for part in text.split("/")] for text in (one, other))
    shorter = min(len(a), len(b))
    return a[-shorter:] == b[-shorter:]


Place = Callable[[Box], Box]


def upright(answered: AnsweredPhoto, row: Row) -> Place:
    """What brings a box of the file into pixels of the upright photograph. Raises ValueError for another picture.

    Tools that do not heed EXIF show a photograph as it is stored: then the sides are exchanged, and EXIF says how.
    """
    wide, high = row["width"], row["height"]
    if not wide or not high:
        raise ValueError("the size of the photograph is not known")
    w, h = answered.size_wh or PERCENT
    if answered.size_wh is None or abs(w * high / (h * wide) - 1) <= SAME_SHAPE:
        return lambda box: Box(box.x1 * wide / w, box.y1 * high / h, box.x2 * wide / w, box.y2 * high / h)
    turn = TURNED.get(_orientation(row)) if abs(w * wide / (h * high) - 1) <= SAME_SHAPE else None
    if turn is None:
        raise ValueError(f"it is {w} x {h} pixels there, and {wide} x {high} when upright: another picture")

    def turned(box: Box) -> Box:
        corners = [turn(x / w, y / h) for x, y in box.corners]
        return Box.around([(x * wide, y * high) for x, y in corners])

    return turned


# EXIF orientation -> where a point of the stored picture is in the upright one; both in shares of its sides.
TURNED: Mapping[int, Callable[[float, float], tuple[float, float]]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}


def _orientation(row: Row) -> int:
    path = path_of(row)
    try:
        return read_header(path).orientation if path is not None and path.is_file() else 1
    except PhotoError:
        return 1


class _Compared:
    """One photograph of a file beside what was shown of it."""

    def __init__(self, taker: Taker, answered: AnsweredPhoto, photo: TaskPhoto, place: Place) -> None:
        self.taker, self.answered, self.photo, self.place = taker, answered, photo, place
        self.size: tuple[int, int] = (photo.row["width"], photo.row["height"])
        reference = refer(answered.reference)
        self.shown = photo.shown_at(reference.at) if reference and reference.of_photo else None
        self.seen = answered.seen or taker.all_seen

    def wanted(self) -> Iterator[WantedDecision]:
        """The decisions that follow; what cannot be taken is said."""
        if self.answered.skipped:
            yield from self._skipped()
            return
        own, new = self._sorted()
        begun = self.answered.begun or bool(own) or self.taker.all_seen
        if self.shown and not begun:
            self._say(
                self.answered.where,
                f"it was begun empty, so nobody knows whether {some(len(self.shown), 'finding')} were seen: nothing "
                f"was taken. Begin with the predictions, or say --all-seen",
            )
            return
        for shown, region in own:
            yield from self._changed(shown, region)
        gone = self._missing(own) if self.shown is not None else ()
        yield from (self._want("reject", one, f"{self.answered.where}, deleted there") for one in gone)
        yield from self._added(new, {one.row["id"] for one in (*gone, *(shown for shown, _ in own))})

    def _say(self, where: str, what: str, *, note: bool = False) -> None:
        self.taker._say(where, what, photo=self.photo.row["name"], note=note)

    def _skipped(self) -> Iterator[WantedDecision]:
        for one in self.shown or ():
            if not one.decided and not self.photo.findings[one.row["id"]]["decided"]:
                yield self._want("skip", one, self.answered.where)

    def _missing(self, own: Sequence[tuple[Shown, Region]]) -> list[Shown]:
        kept = {shown.row["id"] for shown, _ in own}
        return [one for one in self.shown or () if one.row["id"] not in kept]

    def _sorted(self) -> tuple[list[tuple[Shown, Region]], list[Region]]:
        """Regions that are findings, and new ones. Of copies of a region, the one that lies nearest is the finding."""
        copies: dict[int, list[tuple[Shown, Region]]] = defaultdict(list)
        new = []
        for region in self.answered.regions:
            shown = self._shown_as(region)
            if shown is None:
                new.append(region)
            else:
                copies[shown.row["id"]].append((shown, region))
        own = []
        for pairs in copies.values():
            pairs.sort(key=lambda pair: -self._overlap(*pair))
            own.append(pairs[0])
            new += [region for _, region in pairs[1:]]
        return own, new

    def _overlap(self, shown: Shown, region: Region) -> float:
        return 2.0 if region.box is None else self.place(region.box).iou(shown.box)

    def _shown_as(self, region: Region) -> Shown | None:
        """The finding that a region is: by its reference, or one that was added from here before."""
        reference = refer(region.id)
        if reference is not None and not reference.of_photo and reference.number in self.photo.findings:
            return self.photo.at_version(reference.number, reference.at)
        added = self.taker.store.value(
            "SELECT finding FROM events WHERE user = ? AND key = ?", self.taker.user, self._key_of_new(region)
        )
        return self.photo.at_version(added, 1) if added is not None and region.id else None

    def _usable(self, region: Region) -> tuple[Box, str] | None:
        """Where it is on the upright photograph, and its class; None, and why is said, where either is not known."""
        fault, box = region.fault, region.box
        if box is not None:
            box = Box(*(round(float(v), 2) for v in self.place(box).clipped(self.size).xyxy))
            if min(box.width, box.height) < LEAST_SIDE:
                fault = "it covers less than a pixel of the photograph"
        try:
            class_name = self.taker.taxonomy.class_of(region.label).name
        except TaxonomyError as why:
            fault = fault or str(why).rstrip(".")
        if fault or box is None:
            self._say(region.where, f"not taken: {fault}")
            return None
        if region.note:
            self._say(region.where, region.note, note=True)
        return box, class_name

    def _changed(self, shown: Shown, region: Region) -> Iterator[WantedDecision]:
        """What a person said of a finding, if anything."""
        if (found := self._usable(region)) is None:
            return
        box, class_name = found
        corners = box.xyxy if _moved(box.xyxy, shown.box.clipped(self.size).xyxy) else None
        seen = self.seen or region.seen
        if region.unsure:
            if not shown.unsure:
                yield self._want("unsure", shown, region.where)
        elif class_name != shown.class_name:
            yield self._want("change", shown, region.where, class_name, corners, box.xyxy)
        elif shown.unsure or (not shown.decided and seen):
            action = "confirm" if class_name == shown.row["class"] else "change"
            yield self._want(action, shown, region.where, class_name if action == "change" else "", corners, box.xyxy)
        elif corners:
            yield self._want("box", shown, region.where, "", corners)
        else:
            self._say_undone(shown, region, class_name, box)
        self.taker.taken.unseen += not (seen or shown.decided or region.unsure or class_name != shown.class_name)

    def _say_undone(self, shown: Shown, region: Region, class_name: str, box: Box) -> None:
        """Say where it is as it was shown, and what was taken from an earlier export is not."""
        row = shown.row
        other = row["now_class"] != class_name or _moved(_now(row), box.xyxy)
        if other and self.taker.own_last(self.taker.store.reader, row["id"], self._key(shown.version, "")):
            told = "is as it was shown, and an earlier export had it otherwise: decide it on the page"
            self._say(region.where, f"object {row['object']} {told}")

    def _added(self, regions: Sequence[Region], known: set[int]) -> Iterator[WantedDecision]:
        """New objects, unless one is there that this person did not see; `known` are the findings of this file."""
        shown = {one.row["id"] for one in self.shown or ()} | known
        unseen = [f for f in self.photo.findings.values() if not f["removed"] and f["id"] not in shown]
        for region in regions:
            if region.unsure:
                self._say(region.where, "not taken: a new object that cannot be judged teaches nothing", note=True)
                continue
            if (found := self._usable(region)) is None:
                continue
            box, class_name = found
            key = self._key_of_new(region, class_name, box)
            there = self._there(box, unseen, key)
            if there is not None:
                self._say(region.where, f"not taken: object {there['object']} is there already. Look at it on the page")
                continue
            number = self.photo.row["id"]
            made = Decision(action="add", key=key, class_name=class_name, box=box.xyxy, photo=number)
            yield WantedDecision(made, f"{region.where}, a new object ({class_name})")

    def _there(self, box: Box, unseen: Iterable[Row], key: str) -> Row | None:
        """An object in the same place that the person did not see, unless it was added with this key."""
        own = self.taker.store.value("SELECT finding FROM events WHERE user = ? AND key = ?", self.taker.user, key)
        for row in unseen:
            if row["id"] != own and Box(*_now(row)).iou(box) >= SAME_PLACE:
                return row
        return None

    def _key_of_new(self, region: Region, class_name: str = "", box: Box | None = None) -> str:
        """Equal for one region of one photograph: by the tool's id, and in CVAT, which has none, by content."""
        lasting = region.id if region.id and refer(region.id) is None else [class_name, box.xyxy if box else None]
        return self._key(1, [self.taker.mark, self.photo.row["id"], lasting])

    def _want(
        self,
        action: str,
        shown: Shown,
        where: str,
        class_name: str = "",
        box: Corners | None = None,
        place: Corners | None = None,
    ) -> WantedDecision:
        """A decision about a finding at the version that was shown."""
        row = shown.row
        content = [self.taker.mark, row["id"], action, class_name, box, self.answered.stamp]
        made = Decision(
            action=action,
            key=self._key(shown.version, content),
            finding=row["id"],
            version=shown.version,
            class_name=class_name,
            box=box,
        )
        return WantedDecision(
            made, f"{where}, object {row['object']} ({shown.class_name}) of {row['photo_name']}", place
        )

    def _key(self, version: int, content: Any) -> str:
        """Equal for the same content; begins alike for what one annotator says of one version."""
        who, what = (
            hashlib.sha256(dumps(one).encode("utf-8", "surrogatepass")).hexdigest()
            for one in ([self.taker.tool, self.answered.who], content)
        )
        return f"{BACK}-{who[:8]}-{version}-{what[:40]}"
