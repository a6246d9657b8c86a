"""Scenes for the tests of relations: drawn in ASCII, or dealt by hypothesis."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from toeline.core.box import Box
from toeline.core.scene import Instance, Relation, Scene

CELL_PX = 10  # one character of a drawing is 10 by 10 pixels
KINDS = {"s": "slope_drain", "t": "toe_drain", "r": "rock_toe", "v": "vegetation"}
TYPES = (*KINDS.values(), "pipe")  # "pipe" is of another owner's taxonomy


def draw(*pictures: str, kinds: dict[str, str] | None = None) -> Scene:
    """A scene from ASCII pictures laid over one another: the cells of one letter span one box, in order of letters.

    The first letter of a name in KINDS gives the type; more things of a type take further letters through `kinds`.
    """
    kinds = {**KINDS, **(kinds or {})}
    cells: dict[str, list[tuple[int, int]]] = {}
    high, wide = 0, 0
    for picture in pictures:
        rows = [row.strip() for row in picture.strip().splitlines()]
        high, wide = max(high, len(rows)), max(wide, *(len(row) for row in rows))
        for y, row in enumerate(rows):
            for x, letter in enumerate(row):
                if letter != ".":
                    cells.setdefault(letter, []).extend([(x, y), (x + 1, y + 1)])
    instances = (
        Instance(letter, kinds[letter], Box.around((x * CELL_PX, y * CELL_PX) for x, y in corners))
        for letter, corners in sorted(cells.items())
    )
    return Scene(Path("drawn.png"), (wide * CELL_PX, high * CELL_PX), tuple(instances))


def said(relations: tuple[Relation, ...], subject: str, other: str) -> set[str]:
    return {r.name for r in relations if (r.subject, r.other) == (subject, other)}


def triples(relations: tuple[Relation, ...], *names: str) -> set[tuple[str, str, str]]:
    """(subject, name, other) of the relations, of these names only if any are given."""
    return {(r.subject, r.name, r.other) for r in relations if not names or r.name in names}


@st.composite
def scenes(draw_: st.DrawFn, most: int = 6) -> Scene:
    """Up to `most` boxes with whole-pixel corners, small enough to touch often; some have no width or height."""
    wide, high = draw_(st.integers(8, 64)), draw_(st.integers(8, 64))
    count = draw_(st.integers(0, most))
    instances = []
    for i in range(count):
        x1, x2 = sorted((draw_(st.integers(0, wide)), draw_(st.integers(0, wide))))
        y1, y2 = sorted((draw_(st.integers(0, high)), draw_(st.integers(0, high))))
        instances.append(Instance(f"t{i}", draw_(st.sampled_from(TYPES)), Box(x1, y1, x2, y2)))
    return Scene(Path("dealt.png"), (wide, high), tuple(instances))
