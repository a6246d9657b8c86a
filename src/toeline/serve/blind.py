"""The blind second review: a random share of what was decided is answered again by others, and both are compared."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toeline.evaluate.metric import ClusterBootstrap, divided
from toeline.serve.decisions import DECIDES, Decision, Decisions, Done, Refused, append, known, model_of
from toeline.serve.listing import JOINED, Listing
from toeline.serve.store import Row, Store, now

SPOKEN = {"reject": "not an object", "unsure": "cannot judge"}
SHOWN_IN_BOTH = (
    "id",
    "object",
    "photo_id",
    "photo",
    "inspection",
    "type",
    "confidence",
    "box",
    "position",
    "version",
    "added",
    "removed",
)
HIDDEN: dict[str, Any] = {
    "class": "",
    "condition": "",
    "probability": None,
    "probabilities": {},
    "severity": "",
    "severity_rank": 0,
    "action": "",
    "immediate": "",
    "review": False,
    "review_reason": "",
    "decision": None,
    "blind": True,
}


@dataclass(frozen=True)
class Pair:
    """Two answers to one finding; `first` is the decision at the time when it was drawn."""

    finding: int
    photo: str
    first: tuple[str, str]
    second: tuple[str, str]


class Blind:
    """The second review of a store."""

    def __init__(self, store: Store, decisions: Decisions) -> None:
        """`decisions` checks classes."""
        self.store, self.decisions = store, decisions

    def draw(self, user: str, share: float, seed: int | None) -> dict[str, int]:
        """Add a random share of the decided findings that were not drawn before."""
        chance = random.Random(seed) if seed is not None else random.SystemRandom()
        with self.store.write() as db:
            rows = db.execute(
                "SELECT id, now_event FROM findings WHERE decided = 1 AND removed = 0 AND added = 0"
                " AND id NOT IN (SELECT finding FROM blind) ORDER BY id"
            ).fetchall()
            drawn = chance.sample(rows, round(share * len(rows)))
            db.executemany("INSERT INTO blind VALUES (?, ?, ?)", [(r["id"], now(), r["now_event"]) for r in drawn])
            append(
                db,
                user=user,
                action="draw",
                more={"share": share, "seed": seed, "findings": sorted(r["id"] for r in drawn)},
            )
        return {"sampled": len(drawn), "total": len(rows)}

    def queue(self, user: str, listing: Listing, page: int, per_page: int) -> dict[str, Any]:
        """What `user` is to answer: drawn, decided by somebody else, not answered yet; the answers hidden."""
        where = (
            "f.id IN (SELECT finding FROM blind) AND f.removed = 0"
            " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.finding = f.id AND e.user = ? AND e.action != 'skip')"
        )
        total = self.store.value(f"SELECT COUNT(*) FROM findings f WHERE {where}", user)
        rows = self.store.rows(
            f"{JOINED} WHERE {where} ORDER BY f.id LIMIT ? OFFSET ?", user, per_page, (page - 1) * per_page
        )
        items = [{**{n: v for n, v in listing.item(row).items() if n in SHOWN_IN_BOTH}, **HIDDEN} for row in rows]
        return {"total": total, "page": page, "per_page": per_page, "items": items}

    def answer(self, user: str, given: Decision) -> Done:
        """Keep an answer; nothing of the finding changes. Raises Refused."""
        with self.store.write() as db:
            if before := known(db, user, given.key, given.asked):
                return Done(before["id"], before["finding"], json.loads(before["more"])["version"], again=True)
            row = db.execute(
                "SELECT f.* FROM findings f JOIN blind b ON b.finding = f.id WHERE f.id = ?", [given.finding]
            ).fetchone()
            if row is None:
                raise Refused(
                    404, "missing", f"finding {given.finding}: is not in the blind sample. Load the queue again."
                )
            said = db.execute(
                "SELECT 1 FROM events WHERE finding = ? AND user = ? AND action != 'skip'", (row["id"], user)
            ).fetchone()
            if said:
                raise Refused(
                    409, "answered", f"finding {given.finding}: you have answered it before. Load the queue again."
                )
            class_name = self.decisions.class_named(given)
            event = append(
                db,
                user=user,
                finding=row["id"],
                action="blind",
                after=class_name,
                seconds=given.seconds,
                model=model_of(db, row["inspection"]),
                key=given.key,
                asked=given.asked,
                more={"version": row["version"], "answer": given.action},
            )
        return Done(event, row["id"], row["version"])

    def pairs(self) -> list[Pair]:
        """All findings that two people answered."""
        rows = self.store.rows(
            "SELECT s.finding, p.name AS photo, d.user AS u1, d.action AS a1, d.after AS c1,"
            " s.user AS u2, s.after AS c2, s.more AS m2"
            " FROM events s JOIN blind b ON b.finding = s.finding JOIN events d ON d.id = b.event"
            " JOIN findings f ON f.id = s.finding JOIN photos p ON p.id = f.photo"
            " WHERE s.action = 'blind' ORDER BY s.id"
        )
        return [
            Pair(r["finding"], r["photo"], (r["u1"], _answer(r["a1"], r["c1"])), (r["u2"], _second(r))) for r in rows
        ]

    def agreement(self) -> dict[str, Any]:
        """How often both agree, Cohen's kappa with its interval, and where they do not."""
        pairs = self.pairs()
        agreed = sum(p.first[1] == p.second[1] for p in pairs)
        kappa = cohens_kappa([(p.first[1], p.second[1]) for p in pairs], [p.photo for p in pairs])
        differ = [p for p in pairs if p.first[1] != p.second[1]]
        return {
            "pairs": len(pairs),
            "agreed": agreed,
            "share": agreed / len(pairs) if pairs else None,
            **dict(zip(("kappa", "low", "high"), kappa or (None, None, None), strict=True)),
            "disagreements": [
                {
                    "finding": p.finding,
                    "photo": p.photo,
                    "first": {"user": p.first[0], "answer": p.first[1]},
                    "second": {"user": p.second[0], "answer": p.second[1]},
                }
                for p in differ
            ],
        }


def _answer(action: str, class_name: str) -> str:
    return class_name if action in DECIDES and class_name else SPOKEN.get(action, action)


def _second(row: Row) -> str:
    return _answer(json.loads(row["m2"])["answer"], row["c2"])


def cohens_kappa(answers: Sequence[tuple[str, str]], groups: Sequence[str]) -> tuple[float, float, float] | None:
    """Agreement beyond chance (Cohen 1960) and its 95 % interval, drawn over `groups`; None where it is not defined.

    >>> kappa, low, high = cohens_kappa([("a", "a"), ("a", "a"), ("b", "b"), ("b", "a")], list("wxyz"))
    >>> kappa
    0.5
    """
    names = sorted({name for pair in answers for name in pair})
    if len(answers) < 2 or len(names) < 2:
        return None
    place = {name: i for i, name in enumerate(names)}
    cells = np.zeros((len(answers), len(names) ** 2))
    for row, (a, b) in enumerate(answers):
        cells[row, place[a] * len(names) + place[b]] = 1

    def kappa(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        table = sums.reshape(-1, len(names), len(names))
        n = table.sum(axis=(1, 2))
        same = divided(np.trace(table, axis1=1, axis2=2), n)
        chance = divided((table.sum(axis=2) * table.sum(axis=1)).sum(axis=1), n * n)
        return divided(same - chance, 1 - chance)

    value = float(kappa(cells.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return None
    from toeline.core.statistics import Interval

    low, high = ClusterBootstrap.of(groups).interval(cells, kappa, limits=Interval(-1.0, 1.0))
    return value, min(low, value), max(high, value)
