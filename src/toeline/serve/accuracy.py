"""The running accuracy of the models whose findings are in a store, of what people decided: joined, grouped, said.

Each model by itself (by its fingerprint), and each kind of decision by itself: see GROUPS.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import Metric, judge_target, metric_record
from toeline.evaluate.reviewed import (
    ACCURACY,
    BOTH_STAGES,
    GIVEN_TYPE,
    UNSEEN,
    AccuracyChange,
    DriftAnswer,
    Reviewed,
    ReviewScore,
    class_given_type,
    proof_of,
    score_reviewed,
)
from toeline.pipelines.promoted import Promoted
from toeline.serve.imports import promoted_in
from toeline.serve.store import Row, Store

SLOW_S, TIMES = 5.0, 10
HOLD = 0.95  # of the promoted accuracy: the target where none is named
SEEN, BLIND, WHOLE, PHOTOS = "seen", "blind", "whole_inspections", "whole_photographs"
GROUPS: Mapping[str, tuple[str, str]] = {
    BLIND: (
        "Blind sample, answered without seeing the model's answer or the first one",
        "The fairest figure. It is a random share of what was decided, so of what the review had come to by then.",
    ),
    SEEN: (
        "All decisions, taken while the model's answer was seen",
        "Too good: who sees an answer tends to confirm it, and an error that looks right is confirmed too. And no "
        "random sample: the review begins with what is urgent or least sure, where the model errs more often.",
    ),
    WHOLE: (
        "Inspections of which every finding is decided",
        "Not bent by the order of the review, for nothing was left out; the model's answer was seen all the same.",
    ),
    PHOTOS: (
        "Photographs of which every finding is decided",
        "Less bent by the order of the review: on these photographs nothing was left out. Which ones they are is still "
        "no accident, and the model's answer was seen.",
    ),
}
CALLED = {
    SEEN: "All decisions (too good)",
    BLIND: "Blind sample",
    WHOLE: "Whole inspections",
    PHOTOS: "Whole photographs",
}
ROWS = """
SELECT f.id, f.object, f.type, f.class, f.probability, f.probabilities, f.review, f.added, f.now_class, f.now_action,
       f.inspection, f.photo, i.model, CASE p.sha256 WHEN '' THEN 'photo ' || p.id ELSE p.sha256 END AS cluster
FROM findings f JOIN photos p ON p.id = f.photo JOIN inspections i ON i.id = f.inspection
"""
DECIDED = f"{ROWS} WHERE f.removed = 0 AND f.decided = 1 ORDER BY f.id"
OPEN = "SELECT inspection, photo, COUNT(*) AS n FROM findings WHERE removed = 0 AND decided = 0 GROUP BY 1, 2"
# The first answer of somebody who did not see one; events of the blind review are never undone.
ANSWERED = """
SELECT finding, after, more FROM events WHERE id IN (SELECT MIN(id) FROM events WHERE action = 'blind' GROUP BY finding)
"""


@dataclass(frozen=True)
class Decided:
    """What was decided of one model's findings: rows of DECIDED, and the first blind answer of those that have one."""

    rows: Sequence[Row]
    blind: Mapping[int, tuple[str, str]]
    open_photos: frozenset[int]
    open_inspections: frozenset[int]

    def items(self, group: str, taxonomy: Taxonomy) -> list[Reviewed]:
        """What one kind of decisions says; what nobody could judge says nothing."""
        said = ((row, *self._answer(row, group)) for row in self.rows)
        return [_reviewed(row, answer, taxonomy) for row, action, answer in said if action not in ("", "unsure")]

    def _answer(self, row: Row, group: str) -> tuple[str, str]:
        """Action and class; an empty action where the group does not hold the finding."""
        if group == BLIND:
            return self.blind.get(row["id"], ("", ""))
        left_out = (group == WHOLE and row["inspection"] in self.open_inspections) or (
            group == PHOTOS and row["photo"] in self.open_photos
        )
        return ("", "") if left_out else (row["now_action"], row["now_class"])


def _reviewed(row: Row, answer: str, taxonomy: Taxonomy) -> Reviewed:
    """`answer` is the class that a person said, empty for no object."""
    said = "" if row["added"] or row["class"] not in taxonomy.answers() else row["class"]
    case = None
    if answer:
        true = taxonomy.class_of(answer)
        chances = json.loads(row["probabilities"])
        case = Case(
            row["cluster"], "", str(row["id"]), true.type, Box(0, 0, 0, 0), true.name, true.condition, said,
            taxonomy.class_of(said).condition if said else "", row["probability"], chances, readable=bool(said),
        )  # fmt: skip
    kind = "" if row["added"] else row["type"]
    return Reviewed(row["cluster"], case, kind, said, added=bool(row["added"]), sent=bool(row["review"]))


def decided_of(store: Store) -> dict[str, Decided]:
    """What was decided, by the fingerprint of the model."""
    rows, left = store.rows(DECIDED), store.rows(OPEN)
    blind = {r["finding"]: (json.loads(r["more"])["answer"], r["after"]) for r in store.rows(ANSWERED)}
    photos, inspections = (frozenset(r[name] for r in left) for name in ("photo", "inspection"))
    models = dict.fromkeys(r["model"] for r in store.rows("SELECT model FROM inspections ORDER BY id DESC"))
    return {m: Decided([r for r in rows if r["model"] == m], blind, photos, inspections) for m in models}


@dataclass(frozen=True)
class ModelAccuracy:
    """Everything that is said of one model."""

    model: str
    decided: Decided
    inspections: Sequence[Row]
    promoted: Promoted | None
    taxonomy: Taxonomy

    @cached_property
    def scores(self) -> dict[str, ReviewScore]:
        """Of each group that holds something; photographs only where they are not those of whole inspections."""
        items = {group: self.decided.items(group, self.taxonomy) for group in GROUPS}
        if len(items[PHOTOS]) == len(items[WHOLE]):
            items[PHOTOS] = []
        return {group: score_reviewed(its, self.taxonomy) for group, its in items.items() if its}

    def target(self, named: float | None) -> float | None:
        """What is to be shown: as it was named, else 95 % of the promoted accuracy."""
        was = self.promoted.figures.get(GIVEN_TYPE) if self.promoted else None
        return named if named is not None else HOLD * was.value if was else None

    @property
    def best(self) -> str:
        """The group that is quoted: the blind sample where there is one."""
        return BLIND if BLIND in self.scores else SEEN

    def change(self, key: str, running: Metric, group: str) -> AccuracyChange | None:
        """Beside the promoted figure, where both are known. Only a blind answer is not drawn to the model's."""
        was = self.promoted.figures.get(key) if self.promoted else None
        return AccuracyChange.of(was, running, at_most=group != BLIND) if was and was.n and running.n else None

    def drifts(self) -> Iterator[tuple[str, AccuracyChange]]:
        """Each comparison with the promoted accuracy that can be made, with its group.

        Of both stages together only where all of a photograph is decided: else nobody looked for what was not found.
        """
        for group, key in ((BLIND, GIVEN_TYPE), (SEEN, GIVEN_TYPE), (WHOLE, BOTH_STAGES), (PHOTOS, BOTH_STAGES)):
            if (score := self.scores.get(group)) and (change := self.change(key, score[key], group)):
                yield group, change

    def record(self, named: float | None) -> dict[str, Any]:
        """As JSON; `named` is the target that somebody asks for."""
        target = self.target(named)
        return {
            "model": self.model,
            "decisions": self._counts(),
            "quoted": self.best if self.scores else None,
            "groups": [self._group(group, score) for group, score in self.scores.items()],
            "promoted": self.promoted.record() if self.promoted else None,
            "drift": [{"group": group, **change.record()} for group, change in self.drifts()],
            "target": target,
            "proof": list(self._proofs(target)),
            "risk": self._risk(),
            "over_time": self.over_time,
        }

    def _counts(self) -> dict[str, int]:
        actions = [row["now_action"] for row in self.decided.rows]
        return {"decided": len(actions), **{name: actions.count(name) for name in sorted({*actions})}}

    def _group(self, name: str, score: ReviewScore) -> dict[str, Any]:
        title, caution = GROUPS[name]
        return {"name": name, "title": title, "caution": caution, "words": _words(score), **score.record()}

    def _proofs(self, target: float | None) -> Iterator[dict[str, Any]]:
        for group in (BLIND, SEEN):
            if target and group in self.scores:
                yield {"group": group, **proof_of(self.scores[group][GIVEN_TYPE], target)}

    def _risk(self) -> dict[str, Any] | None:
        """Whether at most the promised share is wrong of what was not sent to review, by the best group."""
        run = json.loads(self.inspections[0]["run"])
        promised = run.get("models", {}).get("review", {}).get("risk")
        group = next((g for g in (BLIND, SEEN) if g in self.scores and self.scores[g][UNSEEN].n), None)
        if group is None:
            return None
        figure = self.scores[group][UNSEEN]
        verdict = judge_target(figure.interval, figure.n, promised, lower_is_better=True) if promised else ""
        told = f" At most {100 * promised:g} % was promised: {verdict}." if promised else ""
        words = f"{figure}.{told}"
        return {
            "group": group, "promised": promised, "verdict": verdict, "words": words, "figure": metric_record(figure),
        }  # fmt: skip

    @cached_property
    def over_time(self) -> list[dict[str, Any]]:
        """Each inspection of the model by itself, the oldest first, of the decisions that saw the answer."""
        items = self.decided.items(SEEN, self.taxonomy)
        of = {i["id"]: i for i in self.inspections}
        seen = [r["inspection"] for r in self.decided.rows if r["now_action"] != "unsure"]
        found = []
        for number in sorted(of, key=lambda n: (of[n]["finished"], n)):
            its = [item for item, where in zip(items, seen, strict=True) if where == number]
            if its and (figure := class_given_type(its, self.taxonomy)).n:
                change = self.change(GIVEN_TYPE, figure, SEEN)
                found.append({
                    "inspection": number, "name": of[number]["name"], "finished": of[number]["finished"],
                    "figure": metric_record(figure), "words": str(figure), "drift": change.record() if change else None,
                })  # fmt: skip
        return found


def _words(score: ReviewScore) -> str:
    """The accuracy with its interval, and what the most common class of each type would get."""
    figure = score[ACCURACY]
    if not figure.n:
        return "Every one is no object: there is no class to be right about."
    base = figure.majority_baseline
    told = f"; the most common class of each type is right for {100 * base:.1f} %" if base is not None else ""
    return f"{figure}{told}, on {some(score.photographs, 'photograph')}."


def accuracies(store: Store, taxonomy: Taxonomy) -> list[ModelAccuracy]:
    """Of each model of a store, the latest first."""
    by_model: dict[str, list[Row]] = {}
    for row in store.rows("SELECT * FROM inspections ORDER BY id DESC"):
        by_model.setdefault(row["model"], []).append(row)
    decided = decided_of(store)
    return [
        ModelAccuracy(model, decided[model], rows, promoted_in(store, rows[0]), taxonomy)
        for model, rows in by_model.items()
    ]


def accuracy_record(models: Sequence[ModelAccuracy], last_event: int, target: float | None = None) -> dict[str, Any]:
    """As the API answers, and as `toeline serve accuracy --json` prints."""
    every = [m.record(target) for m in models]
    every = [{**m, "sentences": list(spoken(m))} for m in every]
    mixed = "" if len(every) < 2 else f"{len(every)} models are in the store: each is counted by itself."
    return {"last_event": last_event, "models": every, "words": mixed, "groups": {k: v[0] for k, v in GROUPS.items()}}


def spoken(model: Mapping[str, Any]) -> Iterator[str]:
    """What the record of one model says besides its figures, in sentences."""
    if model["promoted"] is None:
        yield "What the model was promoted with is not known here: name its folder with toeline serve accuracy --model."
    for drift in model["drift"]:
        yield f"{CALLED[drift['group']]}: {drift['running']['label']}. {drift['words']}"
    if model["target"] is None:
        yield "No target: name one."
    for proof in model["proof"]:
        only = " Only a blind sample proves it." if proof["group"] == SEEN else ""
        yield f"{CALLED[proof['group']]}: {proof['words']}{only}"
    if model["risk"]:
        yield f"{CALLED[model['risk']['group']]}: {model['risk']['words']}"
    for row in model["over_time"]:
        yield f"{row['name']}: {(row['drift'] or row)['words']}"


def worse(record: Mapping[str, Any]) -> Iterator[str]:
    """Drift to the worse that is shown: what a command that runs every night should end with."""
    for model in record["models"]:
        yield from (f"model {model['model']}: {d['words']}" for d in model["drift"] if d["answer"] == DriftAnswer.WORSE)


class LastCount:
    """The last count, for as long as nothing is decided: a page that is loaded again counts nothing again.

    A large store, whose count takes more than SLOW_S, is counted again only when TIMES as long has passed.
    """

    def __init__(self) -> None:
        """Holds none yet."""
        self._lock = threading.Lock()
        self._of: tuple[int, ...] = ()
        self._models: list[ModelAccuracy] = []
        self._until = 0.0

    def get(self, store: Store, taxonomy: Taxonomy, target: float | None) -> dict[str, Any]:
        """The record, with the event up to which it was counted."""
        with self._lock:
            last = store.value("SELECT COALESCE(MAX(id), 0) FROM events")
            now = (last, store.value("SELECT COUNT(*) FROM inspections"))
            start = time.monotonic()
            if now != self._of and start >= self._until:
                self._models = accuracies(store, taxonomy)
                self._of = now
                accuracy_record(self._models, last)  # counts
                took = time.monotonic() - start
                self._until = start + took * (1 + TIMES) if took > SLOW_S else 0.0
            return accuracy_record(self._models, self._of[0], target)
