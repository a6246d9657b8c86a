"""Yes/no questions about where things lie, with their answers: geometry of boxes, in which no condition takes part.

Only clear cases are asked about: for `above` a no means that it is below, and so on. A quiz is balanced in every cell
of template and types, so that neither a template nor a pair of types nor a coin gets more than half of it right.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from toeline.core.box import Box
from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.crop import whole
from toeline.prompts.relations import (
    END_REACH,
    BoxPair,
    gap,
    is_above,
    is_at_lower_end_of,
    is_below,
    is_left_of,
    is_right_of,
    may_relate,
    pair,
)

CLEARLY_OFF = 2 * END_REACH
"""Least gap, a share of the diagonal, at which something is clearly not at the end of a drain."""
CLEARLY_NEARER = 0.1
"""Least difference of two gaps, a share of the diagonal, that is asked about."""
TEMPLATES = ("at_lower_end_of", "above", "left_of", "nearer")
Cell = tuple[str, ...]  # a template and the types of the things that are marked


@dataclass(frozen=True)
class Probe:
    """One question: is `marked[0]` in relation `template` to `marked[1]`? `holds` is the answer.

    `nearer` marks three: is the first nearer to the third than the second is?
    """

    template: str
    marked: tuple[str, ...]
    holds: bool


def probes(scene: Scene) -> tuple[Probe, ...]:
    """Every clear question about a scene, in both directions.

    >>> from pathlib import Path
    >>> instances = (Instance("1", "slope_drain", Box(45, 0, 50, 70)), Instance("2", "toe_drain", Box(0, 69, 100, 80)))
    >>> for p in probes(Scene(Path("a.jpg"), (100, 100), instances)):
    ...     print(p.template, p.marked, p.holds)
    above ('1', '2') True
    at_lower_end_of ('2', '1') True
    above ('2', '1') False
    """
    found = [p for a, b in permutations(scene.instances, 2) for p in _of_two(a, b, scene.diagonal)]
    return (*found, *_nearer(scene))


def _of_two(a: Instance, b: Instance, diagonal_px: float) -> Iterator[Probe]:
    measured, marked = pair(a.box, b.box, diagonal_px=diagonal_px), (a.id, b.id)
    if may_relate("at_lower_end_of", a.type_name, b.type_name) and (at_end := _ends_at(measured)) is not None:
        yield Probe("at_lower_end_of", marked, at_end)
    if is_above(measured) or is_below(measured):
        yield Probe("above", marked, is_above(measured))
    if is_left_of(measured) or is_right_of(measured):
        yield Probe("left_of", marked, is_left_of(measured))


def _ends_at(p: BoxPair) -> bool | None:
    """None where the other does not run downhill, or where it is neither clearly so nor clearly not."""
    if is_at_lower_end_of(p):
        return True
    bottom = Box(p.b.x1, p.b.y2, p.b.x2, p.b.y2)
    clear = p.b.height > p.b.width and gap(p.a, bottom, diagonal_px=p.diagonal_px) > CLEARLY_OFF
    return False if clear else None


def _nearer(scene: Scene) -> Iterator[Probe]:
    """Two things of one type, so that the type does not tell, and a third of any."""
    for a, b in permutations(scene.instances, 2):
        if a.type_name != b.type_name:
            continue
        for c in scene.instances:
            if c.id in (a.id, b.id):
                continue
            far = [gap(t.box, c.box, diagonal_px=scene.diagonal) for t in (a, b)]
            if abs(far[0] - far[1]) >= CLEARLY_NEARER:
                yield Probe("nearer", (a.id, b.id, c.id), far[0] < far[1])


def cell(probe: Probe, scene: Scene) -> Cell:
    """The template and the types of what is marked: what a question gives away before anyone looks."""
    return (probe.template, *(scene.instance(i).type_name for i in probe.marked))


def quiz(scenes: Iterable[Scene], *, most_per_template: int = 150, seed: int = 0) -> dict[str, tuple[Probe, ...]]:
    """Probes by photograph (`str(scene.image)`): as many yes as no in every cell, spread over the photographs.

    In every cell the rarer answer decides how many are asked; a cell with one answer only is left out. At most
    `most_per_template` of a template are kept, in pairs of one yes and one no of the same cell.
    """
    rng = random.Random(seed)
    by_cell: dict[Cell, dict[bool, list[tuple[str, Probe]]]] = defaultdict(lambda: {True: [], False: []})
    for scene in scenes:
        for probe in probes(scene):
            by_cell[cell(probe, scene)][probe.holds].append((str(scene.image), probe))
    pairs: dict[str, list[tuple[tuple[str, Probe], ...]]] = defaultdict(list)
    for key in sorted(by_cell):
        yes, no = (_spread(by_cell[key][answer], rng) for answer in (True, False))
        pairs[key[0]] += zip(yes, no, strict=False)
    chosen = (asked for found in pairs.values() for asked in _some(found, most_per_template // 2, rng))
    return _by_photo(asked for two in chosen for asked in two)


def _spread(asked: Sequence[tuple[str, Probe]], rng: random.Random) -> list[tuple[str, Probe]]:
    """In an order in which every photograph gets its turn before any gets a second."""
    turns: dict[str, int] = defaultdict(int)
    ranked: list[tuple[int, int, tuple[str, Probe]]] = []
    for one in rng.sample(asked, len(asked)):
        ranked.append((turns[one[0]], len(ranked), one))
        turns[one[0]] += 1
    return [one for _, _, one in sorted(ranked, key=lambda row: row[:2])]


def _some(found: list[Any], most: int, rng: random.Random) -> list[Any]:
    return found if len(found) <= most else rng.sample(found, most)


def _by_photo(asked: Iterable[tuple[str, Probe]]) -> dict[str, tuple[Probe, ...]]:
    groups: dict[str, list[Probe]] = defaultdict(list)
    for photo, probe in asked:
        groups[photo].append(probe)
    return {photo: tuple(found) for photo, found in sorted(groups.items())}


def shares_of_yes(scenes: Mapping[str, Scene], asked: Mapping[str, Sequence[Probe]]) -> dict[Cell, tuple[int, int]]:
    """(yes, all) in every cell: the proof that a quiz is balanced."""
    counts: dict[Cell, tuple[int, int]] = {}
    for photo, found in asked.items():
        for probe in found:
            yes, n = counts.get(key := cell(probe, scenes[photo]), (0, 0))
            counts[key] = (yes + probe.holds, n + 1)
    return counts


YES, NO = "yes", "no"
LINE_SHARE, LINE_LEAST_PX = 1 / 100, 3  # of the picture's longer side: seen in patches of 14 pixels


class QuestionMark(NamedTuple):
    """A letter and a color, told in the text and drawn in the picture."""

    letter: str
    color: str
    ink: str


MARKS = (
    QuestionMark("A", "red", "#ff1f1f"),
    QuestionMark("B", "blue", "#1f5bff"),
    QuestionMark("C", "yellow", "#ffe11f"),
)
ASK: dict[str, str] = {
    "at_lower_end_of": "Is A at the lower end of B?",
    "above": "Is A above B?",
    "left_of": "Is A left of B?",
    "nearer": "Is A nearer to C than B is?",
}


def marked_picture(image: Image.Image, boxes: Sequence[Box], view: PromptBudget) -> Image.Image:
    """The photograph within `view.marked_tokens`, with the boxes (pixels of `image`) outlined in the colors of MARKS.

    The outline lies outside the box, so that a thin drain is not painted over.
    """
    shown = whole(image, replace(view, scene_tokens=view.marked_tokens))
    across, down = shown.width / image.width, shown.height / image.height
    width = max(LINE_LEAST_PX, round(LINE_SHARE * max(shown.size)))
    pen, font = ImageDraw.Draw(shown), ImageFont.load_default(4 * width)
    for box, mark in zip(boxes, MARKS, strict=False):
        x1, y1, x2, y2 = box.x1 * across - width, box.y1 * down - width, box.x2 * across + width, box.y2 * down + width
        edges = (max(x1, 0), max(y1, 0), min(x2, shown.width - 1), min(y2, shown.height - 1))
        pen.rectangle(edges, outline=mark.ink, width=width)
        pen.text(
            (edges[0] + width, edges[1] + width),
            mark.letter,
            fill=mark.ink,
            font=font,
            stroke_width=1,
            stroke_fill="black",
        )
    return shown


def ask_where(
    scene: Scene, image: Image.Image, asked: Sequence[tuple[str, Sequence[str]]], taxonomy: Taxonomy, view: PromptBudget
) -> QuestionSheet:
    """One sheet for one photograph: `asked` are templates of ASK with the ids of the things they mark.

    The questions' ids are their places in `asked`, from "0". Each has a marked picture of its own; no text holds a
    coordinate, a relation or a condition.
    """
    return QuestionSheet(
        str(scene.image),
        None,
        "",
        tuple(_question(str(n), a, scene, image, taxonomy, view) for n, a in enumerate(asked)),
    )


def _question(
    name: str,
    asked: tuple[str, Sequence[str]],
    scene: Scene,
    image: Image.Image,
    taxonomy: Taxonomy,
    view: PromptBudget,
) -> Question:
    template, ids = asked
    instances = [scene.instance(i) for i in ids]
    told = "; ".join(
        f"{mark.letter} ({mark.color}) {taxonomy.spoken(instance.type_name)}"
        for mark, instance in zip(MARKS, instances, strict=False)
    )
    picture = marked_picture(image, [t.box for t in instances], view)
    text = f"A drone photograph of an embankment. Marked in it: {told}.\n{ASK[template]} Answer {YES} or {NO}."
    return Question(name, text, picture, (YES, NO))
