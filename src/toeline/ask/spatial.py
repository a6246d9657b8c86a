"""Asks where things lie without saying it: they are pointed at by marks in the picture, their coordinates are withheld.

The text names marks, colors and types; everything that the answer depends on has to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from toeline.ask.crop import whole
from toeline.core.box import Box
from toeline.core.question import Question, Sheet, View
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy

YES, NO = "yes", "no"
LINE_SHARE, LINE_LEAST_PX = 1 / 100, 3  # of the picture's longer side: seen in patches of 14 pixels


class Mark(NamedTuple):
    """A letter and a color, told in the text and drawn in the picture."""

    letter: str
    color: str
    ink: str


MARKS = (Mark("A", "red", "#ff1f1f"), Mark("B", "blue", "#1f5bff"), Mark("C", "yellow", "#ffe11f"))
ASK: dict[str, str] = {
    "at_lower_end_of": "Is A at the lower end of B?",
    "above": "Is A above B?",
    "left_of": "Is A left of B?",
    "nearer": "Is A nearer to C than B is?",
}


def marked_picture(image: Image.Image, boxes: Sequence[Box], view: View) -> Image.Image:
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
    scene: Scene, image: Image.Image, asked: Sequence[tuple[str, Sequence[str]]], taxonomy: Taxonomy, view: View
) -> Sheet:
    """One sheet for one photograph: `asked` are templates of ASK with the ids of the things they mark.

    The questions' ids are their places in `asked`, from "0". Each has a marked picture of its own; no text holds a
    coordinate, a relation or a condition.
    """
    return Sheet(
        str(scene.image),
        None,
        "",
        tuple(_question(str(n), a, scene, image, taxonomy, view) for n, a in enumerate(asked)),
    )


def _question(
    name: str, asked: tuple[str, Sequence[str]], scene: Scene, image: Image.Image, taxonomy: Taxonomy, view: View
) -> Question:
    template, ids = asked
    things = [scene.thing(i) for i in ids]
    told = "; ".join(
        f"{mark.letter} ({mark.color}) {taxonomy.spoken(thing.kind)}"
        for mark, thing in zip(MARKS, things, strict=False)
    )
    picture = marked_picture(image, [t.box for t in things], view)
    text = f"A drone photograph of an embankment. Marked in it: {told}.\n{ASK[template]} Answer {YES} or {NO}."
    return Question(name, text, picture, (YES, NO))
