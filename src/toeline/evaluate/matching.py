"""Findings paired with true objects by overlap, within one label, and cases.jsonl: each object with what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.ground_truth import TrueInstance
from toeline.core.records import read_lines
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError

IOU = 0.5  # the least overlap that counts as found, as in mAP@0.5


@dataclass(frozen=True)
class Matched:
    """One photograph: findings paired with true objects of the same type, objects missed, findings of nothing.

    `right` counts the findings whose class and place are both right; a finding that is paired here may still have the
    wrong condition.
    """

    photo: str
    pairs: tuple[tuple[Finding, TrueInstance], ...]
    missed: tuple[TrueInstance, ...]
    extra: tuple[Finding, ...]
    right: int


def match(photo: str, findings: Sequence[Finding], true: Sequence[TrueInstance], *, iou: float = IOU) -> Matched:
    """Pair the findings of one photograph with its true objects."""
    order = sorted(findings, key=lambda f: -f.score)  # stable: equal scores stay in the order given
    boxes = [f.box for f in order]
    pairs = pair_up([(f.type_name, b) for f, b in zip(order, boxes, strict=True)], _labels(true, "type_name"), iou=iou)
    right = pair_up(
        [(f.verdict.class_name, b) for f, b in zip(order, boxes, strict=True)], _labels(true, "class_name"), iou=iou
    )
    return Matched(
        photo=photo,
        pairs=tuple((order[i], true[j]) for i, j in pairs.items()),
        missed=tuple(t for j, t in enumerate(true) if j not in pairs.values()),
        extra=tuple(f for i, f in enumerate(order) if i not in pairs),
        right=len(right),
    )


def _labels(true: Sequence[TrueInstance], name: str) -> list[tuple[str, Box]]:
    return [(getattr(t.ground_truth, name), t.instance.box) for t in true]


def pair_up(found: Sequence[tuple[str, Box]], true: Sequence[tuple[str, Box]], *, iou: float = IOU) -> dict[int, int]:
    """Index in `found` to index in `true`: each takes the free one of its label that it overlaps most, at least `iou`.

    `found` is in order of confidence; this is the matching of PASCAL VOC and COCO at one threshold.

    >>> pair_up([("a", Box(0, 0, 2, 2))], [("a", Box(0, 0, 1, 1)), ("a", Box(0, 0, 2, 1.8))])
    {0: 1}
    """
    if not true:
        return {}
    labels, corners = np.array([label for label, _ in true]), np.array([box.xyxy for _, box in true])
    pairs: dict[int, int] = {}
    free = np.ones(len(true), dtype=bool)
    for i, (label, box) in enumerate(found):
        overlaps = np.where(free & (labels == label), _ious(box, corners), -1.0)
        j = int(overlaps.argmax())  # the first of equals
        if overlaps[j] >= iou:
            pairs[i] = j
            free[j] = False
    return pairs


def _ious(box: Box, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """As Box.iou, with each of `others` (N, 4)."""
    low, high = np.maximum(others[:, :2], box.xyxy[:2]), np.minimum(others[:, 2:], box.xyxy[2:])
    shared = np.maximum(high - low, 0.0).prod(axis=1)
    union = box.area + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(len(others)), where=union > 0))


CASES = "cases.jsonl"
SAME_BOX = 0.9  # least overlap of one box written twice: label files and findings round their coordinates differently


@dataclass(frozen=True)
class Case:
    """One true object and the answer to it. `group` is its flight line; empty when none is known.

    `kind`, `box` (pixels), `true_class` and `true_condition` are the truth's, also where the judge saw a detected box;
    `instance_id` is the true object's. `probabilities` cover the class names that were legal. `asked` is False when the
    type left one answer. `readable` is False for a generated answer that is none of the class names: what was said is
    then empty, and it counts as wrong everywhere.
    """

    photo: str
    flight_line: str
    instance_id: str
    type_name: str
    box: Box
    true_class: str
    true_condition: str
    said_class: str
    said_condition: str
    probability: float
    probabilities: Mapping[str, float]
    asked: bool = True
    readable: bool = True

    @classmethod
    def without_box(
        cls, known: tuple[str, str, str], right: str, chances: Mapping[str, float], taxonomy: Taxonomy
    ) -> Case:
        """Of an answer about a true box whose place does not matter: `known` are photograph, flight line and object,
        `right` the true class, `chances` the probability of each class; the likeliest is what was said."""
        true, said = taxonomy.class_of(right), taxonomy.class_of(max(chances, key=chances.__getitem__))
        return cls(
            *known, true.type, Box(0, 0, 0, 0), true.name, true.condition, said.name, said.condition,
            chances[said.name], chances,
        )  # fmt: skip

    @property
    def right(self) -> bool:
        """Whether the class, and so the condition of that type, was said rightly."""
        return self.said_class == self.true_class

    @property
    def key(self) -> tuple[str, str]:
        """Which object this is: photograph and id."""
        return self.photo, self.instance_id

    @property
    def flight(self) -> str:
        """The flight line; the photograph itself where none is known."""
        return self.flight_line or self.photo


def unsaid(photo: str, true: TrueInstance, *, group: str = "") -> Case:
    """A true object of which nobody said anything: it is in no finding."""
    ground_truth = true.ground_truth
    return Case(
        photo=photo,
        flight_line=group,
        instance_id=true.instance.id,
        type_name=ground_truth.type_name,
        box=true.instance.box,
        true_class=ground_truth.class_name,
        true_condition=ground_truth.condition,
        said_class="",
        said_condition="",
        probability=0.0,
        probabilities={},
        asked=False,
    )


def judged(finding: Finding, true: TrueInstance, *, group: str = "") -> Case:
    """One finding beside its true object. A verdict without a class name is an unreadable answer."""
    verdict = finding.verdict
    return replace(
        unsaid(finding.photo, true, group=group),
        said_class=verdict.class_name,
        said_condition=verdict.condition,
        probability=verdict.probability,
        probabilities=dict(verdict.probabilities),
        asked=verdict.asked,
        readable=verdict.readable,
    )


def on_true_boxes(
    findings: Sequence[Finding], true: Sequence[TrueInstance], *, group: str = ""
) -> tuple[tuple[Case, ...], tuple[TrueInstance, ...]]:
    """One photograph whose findings stand on the true boxes: joined by id. Also gives true objects nobody judged.

    Raises OutputError for a finding that is on no true object, or on another box than the object of its id: then the
    findings were not made on these labels.
    """
    by_id = {t.instance.id: t for t in true}
    cases = tuple(judged(f, _owner(f, by_id), group=group) for f in findings)
    _require_once(cases)
    seen = {case.instance_id for case in cases}
    return cases, tuple(t for t in true if t.instance.id not in seen)


def _owner(finding: Finding, by_id: Mapping[str, TrueInstance]) -> TrueInstance:
    true = by_id.get(finding.instance_id)
    if true is None or (true.instance.box != finding.box and true.instance.box.iou(finding.box) < SAME_BOX):
        raise OutputError(
            f"{finding.photo}, object {finding.instance_id}: the labels have no such object in that place. Were the "
            f"findings made with --boxes on these labels? Findings on detected boxes are matched by overlap instead."
        )
    return true


def on_found_boxes(matched: Matched, *, group: str = "") -> tuple[Case, ...]:
    """One photograph whose findings stand on detected boxes: every true object that was found, with what was said."""
    return tuple(judged(finding, true, group=group) for finding, true in matched.pairs)


def undecided(cases: Iterable[Case], taxonomy: Taxonomy) -> list[Case]:
    """The cases whose type leaves a choice: vegetation, with its one legal class, is always right and is left out."""
    return [c for c in cases if len(taxonomy.answers(c.type_name)) > 1]


def case_record(case: Case) -> dict[str, Any]:
    """A case as cases.jsonl holds it, nothing rounded."""
    return {
        "photo": case.photo,
        "group": case.flight_line,
        "id": case.instance_id,
        "type": case.type_name,
        "box": list(case.box.xyxy),
        "true_class": case.true_class,
        "true_condition": case.true_condition,
        "said_class": case.said_class,
        "said_condition": case.said_condition,
        "probability": case.probability,
        "probabilities": dict(case.probabilities),
        "asked": case.asked,
        "readable": case.readable,
    }


def case_from(record: Mapping[str, Any]) -> Case:
    """The case of one line of cases.jsonl. Raises OutputError for a line that lacks something."""
    try:
        return Case(
            photo=record["photo"],
            flight_line=record["group"],
            instance_id=record["id"],
            type_name=record["type"],
            box=Box(*record["box"]),
            true_class=record["true_class"],
            true_condition=record["true_condition"],
            said_class=record["said_class"],
            said_condition=record["said_condition"],
            probability=float(record["probability"]),
            probabilities={name: float(p) for name, p in record["probabilities"].items()},
            asked=bool(record["asked"]),
            readable=bool(record["readable"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        name = f"{record.get('photo', '?')} {record.get('id', '?')}"
        raise OutputError(
            f"case {name}: {why!r} is missing or of the wrong form in {CASES}. Run toeline evaluate again."
        ) from None


def read_cases(folder: Path) -> tuple[Case, ...]:
    """The cases of an output folder of `toeline evaluate`. Raises OutputError when there are none."""
    cases = tuple(case_from(record) for record in read_lines(folder / CASES))
    if not cases:
        raise OutputError(f"{folder / CASES}: holds no judged object. Name an output folder of toeline evaluate.")
    _require_once(cases)
    return cases


def _require_once(cases: Sequence[Case]) -> None:
    twice = sorted(key for key, count in Counter(case.key for case in cases).items() if count > 1)
    if twice:
        raise OutputError(
            f"{twice[0][0]}, object {twice[0][1]}: was judged more than once. Run toeline evaluate again."
        )
