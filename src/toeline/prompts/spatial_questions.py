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
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.crop import whole
from toeline.prompts.relations import (
    END_REACH,
    every_two,
    gap_to_bottom,
    is_above,
    is_at_lower_end_of,
    is_below,
    is_left_of,
    is_right_of,
    may_relate,
)

CLEARLY_OFF = 2 * END_REACH
"""Least gap, a share of the diagonal, at which something is clearly not at the end of a drain."""
CLEARLY_NEARER = 0.1
"""Least difference of two gaps, a share of the diagonal, that is asked about."""
MOST_ASKED = 100
"""Objects of a photograph; of every three of them is asked, and marks among more of them cannot be read."""
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
    """Every clear question about a scene of at most MOST_ASKED objects, in both directions.

    >>> from pathlib import Path
    >>> from toeline.core.scene import Instance
    >>> instances = (Instance("1", "slope_drain", Box(45, 0, 50, 70)), Instance("2", "toe_drain", Box(0, 69, 100, 80)))
    >>> for p in probes(Scene(Path("a.jpg"), (100, 100), instances)):
    ...     print(p.template, p.marked, p.holds)
    above ('1', '2') True
    at_lower_end_of ('2', '1') True
    above ('2', '1') False
    """
    return (*_of_two(scene), *_nearer(scene)) if len(scene.instances) <= MOST_ASKED else ()


def _of_two(scene: Scene) -> Iterator[Probe]:
    pairs, boxes = every_two(scene)
    ends = is_at_lower_end_of(boxes)
    clearly_not = boxes.b_runs_down & (gap_to_bottom(boxes.a, boxes.b, boxes.diagonal_px) > CLEARLY_OFF)
    directions = [(is_above, is_below, "above"), (is_left_of, is_right_of, "left_of")]
    answers = [(name, yes(boxes), no(boxes)) for yes, no, name in directions]
    for i, (a, b) in enumerate(pairs):
        if may_relate("at_lower_end_of", a.type_name, b.type_name) and (ends[i] or clearly_not[i]):
            yield Probe("at_lower_end_of", (a.id, b.id), bool(ends[i]))
        for name, yes, no in answers:
            if yes[i] or no[i]:
                yield Probe(name, (a.id, b.id), bool(yes[i]))


def _nearer(scene: Scene) -> Iterator[Probe]:
    """Two objects of one type, so that the type does not tell, and a third of any."""
    pairs, boxes = every_two(scene)
    far = {(a.id, b.id): gap for (a, b), gap in zip(pairs, boxes.gap.tolist(), strict=True)}
    for a, b, c in permutations(scene.instances, 3):
        difference = far[a.id, c.id] - far[b.id, c.id]
        if a.type_name == b.type_name and abs(difference) >= CLEARLY_NEARER:
            yield Probe("nearer", (a.id, b.id, c.id), difference < 0)


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
