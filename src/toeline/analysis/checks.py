"""What is wrong, or odd, with labels: each check has a threshold, a weight and the reason for both.

A fault is what cannot be right whatever the photograph shows; everything else is a remark, which a person looks at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from toeline.analysis.relations import RelationSection
from toeline.analysis.table import Flag, PlainRow, SurveyRow, Weight, below, row_of
from toeline.core.box import Box
from toeline.core.finding import Problem
from toeline.core.polygon import crossing, polygon_iou, touching
from toeline.core.scene import Instance
from toeline.core.taxonomy import Meanings, Taxonomy, meanings
from toeline.data.images import photo_size
from toeline.data.labels import PlainLabels, apart, read_plain
from toeline.data.yolo import Entry, YoloSet, flight_line
from toeline.errors import PhotoError
from toeline.prompts.relations import may_relate

SAME = 0.9  # IoU from which two outlines are one object drawn twice
CLOSE = 0.5  # IoU that a detector is scored at: above it, no detector can be asked to tell the two apart
MOST_DOUBLES = 5  # earlier objects on the place of one; a file of one box a thousand times has half a million pairs
LOOP = 0.01  # share of a polygon's area in its smaller loop: less is a slip of a pixel
LEAST_SIDE_PX = 2.0  # thinner than the error of an edge
WHOLE = 0.95  # share of the photograph
LONG = 2.0  # times as long one way as the other
LIES = {"toe_drain": "wide", "slope_drain": "tall"}  # how drains lie in a picture with the crest on top


@dataclass(frozen=True)
class Check:
    """One kind of finding, with the reason for its threshold and weight."""

    name: str
    weight: Weight
    why: str
    todo: str


_DELETE = "Delete the one that is wrong."
CHECKS: dict[str, Check] = {
    key: Check(name, weight, why, todo)
    for key, name, weight, why, todo in (
        (
            "repeated",
            "label line that stands there twice",
            Weight.FAULT,
            "Both lines are the same to the last digit; counting both would count one object twice.",
            "Delete one of the two lines.",
        ),
        (
            "outside",
            "box or polygon outside the photograph",
            Weight.FAULT,
            "Labels are shares of the photograph from 0 to 1; a thousandth beyond is rounding, more is not.",
            "Draw it again within the photograph.",
        ),
        (
            "flat",
            "box or polygon of no size",
            Weight.FAULT,
            "Without an area there is nothing to look at.",
            "Draw it again, or delete the line.",
        ),
        (
            "unusable",
            "label line that cannot be used",
            Weight.FAULT,
            "It is no line of a class and a box or polygon, or its class is not known.",
            "Correct the line; the rest of the file was used.",
        ),
        (
            "unreadable",
            "label file that cannot be read",
            Weight.FAULT,
            "Nothing in it could be counted.",
            "Export the file again as plain text.",
        ),
        (
            "absent",
            "photograph without a label file",
            Weight.REMARK,
            "Some tools write no file for a photograph with nothing in it, so it may be right.",
            "Label it, or add an empty file if nothing is there.",
        ),
        (
            "data_set",
            "data set that contradicts itself",
            Weight.FAULT,
            "A label file without a photograph, two photographs with one label file, or a class name that is unknown.",
            "Correct data.yaml, or move the file to where it belongs.",
        ),
        (
            "partly",
            "data set that is read in part or by a guess",
            Weight.REMARK,
            "No file names the classes, a place that data.yaml lists is not there, or a label file may be of several.",
            "Say it in data.yaml, or with --classes FILE.",
        ),
        (
            "aside",
            "beside the data set, or read in a way to know of",
            Weight.REMARK,
            "Photographs that data.yaml does not list, places found again on this computer, and the like.",
            "Nothing, if that is meant.",
        ),
        (
            "duplicate",
            "object drawn twice",
            Weight.FAULT,
            f"Same class and IoU {SAME:g} or more, of polygons where there are polygons: two things side by side would "
            f"have to lie within a twentieth of their size of one another.",
            "Delete one of the two lines.",
        ),
        (
            "two_conditions",
            "one object, two conditions",
            Weight.FAULT,
            f"Same type, IoU {SAME:g} or more, different classes: a thing has one condition.",
            _DELETE,
        ),
        (
            "two_types",
            "one object, two types",
            Weight.FAULT,
            f"Different types and IoU {SAME:g} or more, where neither can lie on the other.",
            _DELETE,
        ),
        (
            "covered",
            "object and what covers it, drawn alike",
            Weight.REMARK,
            f"IoU {SAME:g} or more, but one type can cover the other whole, as bushes cover a drain.",
            "Look whether both are there.",
        ),
        (
            "overlap",
            "two types on one place",
            Weight.REMARK,
            f"IoU over {CLOSE:g}: the same strip may be labeled twice, or a slanting drain has a box far larger than "
            f"itself.",
            "Look whether both are there; polygons in place of boxes would tell.",
        ),
        (
            "crowded",
            "two of one type on one place",
            Weight.REMARK,
            f"IoU from {CLOSE:g} to {SAME:g}: one object in two pieces, or two that lie close.",
            "Look whether these are two.",
        ),
        (
            "crossed",
            "polygon that crosses itself",
            Weight.FAULT,
            f"The smaller loop is {LOOP:.0%} of the area or more: tools disagree on what is inside.",
            "Draw the polygon again.",
        ),
        (
            "nicked",
            "polygon with a tiny loop",
            Weight.REMARK,
            f"It crosses itself, but the loop is under {LOOP:.0%} of the area: a slip that changes nothing.",
            "Nothing, or pull the corner straight.",
        ),
        (
            "thin",
            "very thin box",
            Weight.REMARK,
            f"A side under {LEAST_SIDE_PX:g} pixels: less than people can place an edge.",
            "Look whether something is there.",
        ),
        (
            "whole",
            "box as large as the photograph",
            Weight.REMARK,
            f"{WHOLE:.0%} of the photograph or more: often a label of the picture and not of a thing in it.",
            "Look whether the box is meant.",
        ),
        (
            "lying",
            "slope drain that lies flat, or toe drain that stands",
            Weight.REMARK,
            f"In what docs/relations.md was measured on, 98.7 % of the slope drains are taller than wide and "
            f"97.5 % of the toe drains are not; this one is {LONG:g} times as long the other way.",
            "Look at the type; a photograph that was turned does this too.",
        ),
        (
            "order",
            "order on the face is turned round",
            Weight.REMARK,
            "The rock toe or slope drain lies below its nearest toe drain. Right where two berms are in the picture "
            "and the lower toe drain is cut off; otherwise a type is wrong.",
            "Look at the types of both.",
        ),
    )
}

# The words of data/labels.py that tell the kinds of bad lines apart, most telling first.
_LINE_KINDS = (
    ("the same as line", "repeated"),
    ("outside 0..1", "outside"),
    ("beyond its border", "outside"),
    ("has no area", "flat"),
)


_CONTRADICTIONS = ("no photograph belongs to", "have no photograph", "alike, so", "is not in the taxonomy")


def flag(
    key: str, photo: str, file: str, what: str, line: int | None = None, instances: Iterable[Instance] = ()
) -> Flag:
    """A flag of the check `key`."""
    check = CHECKS[key]
    boxes = tuple(t.box for t in instances)
    return Flag(check.name, check.weight, photo, file, what, check.todo, line, boxes=boxes)


@dataclass
class Checks:
    """Takes rows one by one and keeps what should be looked at."""

    taxonomy: Taxonomy
    root: Path
    flags: list[Flag] = field(default_factory=list)

    def add(self, row: SurveyRow) -> None:
        """Check one photograph's labels."""
        self.flags += [problem_flag(problem, self.root, row.name) for problem in row.problems]
        file = below(self.root, row.entry.labels) if row.entry.labels else row.name
        for key, what, instances in (*_doubles(row, self.taxonomy), *_shapes(row, self.taxonomy)):
            self.flags.append(flag(key, row.name, file, what, row.lines[instances[0].id], instances))


def problem_flag(problem: Problem, root: Path, photo: str = "") -> Flag:
    """A problem of data/ as a flag; without `photo` it is one of the data set as a whole."""
    file = below(root, Path(problem.file))
    if problem.note or not photo:
        contradicts = any(words in problem.what for words in _CONTRADICTIONS)
        key = "aside" if problem.note else "data_set" if contradicts else "partly"
        found = flag(key, photo, file, problem.what, problem.line)
        return replace(found, todo=problem.todo or found.todo)
    if problem.line is None:
        return flag("absent" if file == photo else "unreadable", photo, file, problem.what)
    key = next((key for words, key in _LINE_KINDS if words in problem.what), "unusable")
    return flag(key, photo, file, problem.what, problem.line)


def order_flags(relations: RelationSection) -> list[Flag]:
    """Counterexamples of the named relations that are turned round."""
    return [
        Flag(
            check.name,
            check.weight,
            c.photo,
            c.file,
            f"{c.why[0].upper()}{c.why[1:]}; that is in line {c.other_line}.",
            check.todo,
            c.line,
            boxes=c.boxes,
        )
        for check in (CHECKS["order"],)
        for named in relations.named
        for c in named.counterexamples
        if c.turned_round
    ]


Found = tuple[str, str, tuple[Instance, ...]]


def _doubles(row: SurveyRow, taxonomy: Taxonomy) -> Iterator[Found]:
    """Two objects on one place. The later line is what the flag is about; it is held against MOST_DOUBLES at most."""
    seen: Counter[int] = Counter()
    for i, j in close_pairs([t.box for t in row.instances], CLOSE):
        seen[j] += 1
        if seen[j] > MOST_DOUBLES:
            continue
        first, second = row.instances[i], row.instances[j]
        iou = shared(first, second)
        key = _double_kind(first, second, iou, same_class=_label(row, first) == _label(row, second))
        if key:
            names = [_label(row, t) or taxonomy.spoken(t.type_name) for t in (second, first)]
            where = f"{names[0]!r} shares {iou:.0%} (IoU) with {names[1]!r} in line {row.lines[first.id]}."
            yield key, where, (second, first)


def _label(row: SurveyRow, instance: Instance) -> str:
    ground_truth = row.ground_truths.get(instance.id)
    return ground_truth.class_name if ground_truth else ""


def _double_kind(a: Instance, b: Instance, iou: float, *, same_class: bool) -> str:
    if iou <= CLOSE:
        return ""
    if a.type_name == b.type_name:
        return "crowded" if iou < SAME else "duplicate" if same_class else "two_conditions"
    if iou < SAME:
        return "overlap"
    on_top = may_relate("covers", a.type_name, b.type_name) or may_relate("covers", b.type_name, a.type_name)
    return "covered" if on_top else "two_types"


def _shapes(row: SurveyRow, taxonomy: Taxonomy) -> Iterator[Found]:
    """Objects that are odd by themselves."""
    whole = row.size_wh[0] * row.size_wh[1]
    for instance in row.instances:
        x1, y1, x2, y2 = instance.box.xyxy
        wide, high = x2 - x1, y2 - y1
        if min(wide, high) < LEAST_SIDE_PX:
            yield "thin", f"The {taxonomy.spoken(instance.type_name)} is {wide:.1f} x {high:.1f} pixels.", (instance,)
        if wide * high >= WHOLE * whole:
            share = f"{wide * high / whole:.0%} of the photograph"
            yield "whole", f"The box of the {taxonomy.spoken(instance.type_name)} covers {share}.", (instance,)
        if instance.type_name in LIES and _lies_wrong(instance.type_name, wide, high):
            yield "lying", f"The {taxonomy.spoken(instance.type_name)} is {wide:.0f} x {high:.0f} pixels.", (instance,)
        if instance.polygon and (loop := crossing(instance.polygon)) is not None:
            name = taxonomy.spoken(instance.type_name)
            what = f"The border of the {name} crosses itself; the smaller loop is {loop:.1%} of it."
            yield "crossed" if loop >= LOOP else "nicked", what, (instance,)


def _lies_wrong(kind: str, wide: float, high: float) -> bool:
    return wide >= LONG * high if LIES[kind] == "tall" else high >= LONG * wide


def survey_quickly(
    opened: YoloSet,
    taxonomy: Taxonomy,
    *,
    group_of: Callable[[Path], str] = flight_line,
    unread: Callable[[Flag], None] = lambda _: None,
) -> Iterator[SurveyRow | PlainRow]:
    """As survey.survey, photographs with plain labels as such."""
    meaning = meanings(opened.names, taxonomy)
    for split, entries in opened.splits.items():
        for entry in entries:
            plain = _plain_row(below(opened.root, entry.photo), split, entry, meaning, group_of)
            row = plain or row_of(entry, split, opened, taxonomy, meaning, group_of=group_of, unread=unread)
            if row:
                yield row


def _plain_row(
    name: str, split: str, entry: Entry, meaning: Meanings, group_of: Callable[[Path], str]
) -> PlainRow | None:
    if entry.labels is None:
        return None
    try:
        size = photo_size(entry.photo)
    except PhotoError:
        return None
    labels = read_plain(entry.labels, size, meaning.kinds)
    if labels is None or not nothing_odd(labels, meaning, size):
        return None
    return PlainRow(name, split, entry, size, group_of(entry.photo), labels)


def nothing_odd(labels: PlainLabels, meaning: Meanings, size_wh: tuple[int, int]) -> bool:
    """Whether no check of checks.py would say anything of these boxes; when in doubt False."""
    x1, y1, x2, y2 = labels.boxes.T
    wide, high = x2 - x1, y2 - y1
    lies = [LIES.get(meaning.kinds[i], "") for i in labels.class_ids]
    tall, flat = (np.array([lie == way for lie in lies]) for way in ("tall", "wide"))
    odd = (
        min(wide.min(), high.min()) < LEAST_SIDE_PX
        or (wide * high).max() >= WHOLE * (size_wh[0] * size_wh[1])
        or (tall & (wide >= LONG * high)).any()
        or (flat & (high >= LONG * wide)).any()
    )
    return not odd and apart(labels.boxes, CLOSE)


def close_pairs(boxes: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Positions i < j of boxes whose IoU is `least` or more, which is above 0.

    >>> close_pairs([Box(0, 0, 2, 2), Box(5, 5, 6, 6), Box(0, 0, 2, 1)], 0.5)
    [(0, 2)]
    """
    return [(i, j) for i, j in touching(boxes) if boxes[i].iou(boxes[j]) >= least]


def shared(a: Instance, b: Instance) -> float:
    """Intersection over union, 0 to 1: of the polygons when both have one, else of the boxes."""
    return polygon_iou(a.polygon, b.polygon) if a.polygon and b.polygon else a.box.iou(b.box)
