"""The report as sections of blocks, written once and printed twice: as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toeline.data.analyze.flag import Flag


@dataclass(frozen=True)
class Words:
    """A paragraph, or with `items` a list under it."""

    text: str = ""
    items: tuple[str, ...] = ()
    kind: str = "words"


@dataclass(frozen=True)
class Grid:
    """A table. The first `left` columns are text and stand to the left, the others to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    left: int = 1
    kind: str = "grid"


@dataclass(frozen=True)
class Plot:
    """An <svg> element with the sentence under it; `wide` ones scroll sideways on a telephone and are never shrunk."""

    svg: str
    caption: str
    wide: bool = False
    kind: str = "plot"


@dataclass(frozen=True)
class Flags:
    """What should be looked at, of one kind; `hidden` more are in the list of problems."""

    title: str
    weight: str
    flags: tuple[Flag, ...]
    hidden: int = 0
    kind: str = "flags"


Block = Words | Grid | Plot | Flags


@dataclass(frozen=True)
class Section:
    """A chapter; `anchor` is its id in the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)


def grid(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", *, left: int = 1) -> Grid:
    """A table of whatever prints."""
    return Grid(tuple(head), tuple(tuple(map(str, row)) for row in rows), caption, left)


def figure(value: float | None, digits: int = 3) -> str:
    """A number in a table, a dash where there is none.

    >>> figure(0.12345), figure(None), figure(3.0, 1)
    ('0.123', '–', '3.0')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share with one digit, a dash where there is none.

    >>> percent(0.4567), percent(None)
    ('45.7 %', '–')
    """
    return "–" if share is None else f"{100 * share:.1f} %"
