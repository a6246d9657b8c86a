"""A report of several pages: one with the totals and a table of contents, and one for every PAGE photographs.

Each page stands by itself, so a browser opens any of them in a moment, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toeline.core.finding import Finding
from toeline.report.chapters import Chapter, Totals
from toeline.report.table import by_photo

PAGE = 200  # photographs on a page: with embedded pictures it has a few megabytes
PAGES = "report"  # the folder of the pages with photographs


@dataclass(frozen=True)
class Part:
    """A page of photographs, as the contents list it: its link, its first and last photograph, what they come to."""

    href: str
    first: str
    last: str
    totals: Totals


@dataclass(frozen=True)
class Book:
    """Where a page stands in its report. `totals` are of what it is about, `problems` how many there are.

    Pictures are embedded at `side` pixels at most. `up` leads from the page to the output folder. A page of photographs
    has `contents` (a link), and `before` and `after` (links or empty); the page with the contents has `parts`, the
    beginning of the work list in `worst`, and `links` to those by photograph and id.
    """

    totals: Totals
    problems: int = 0
    side: int = 0
    up: str = ""
    contents: str = ""
    before: str = ""
    after: str = ""
    parts: Sequence[Part] = ()
    worst: Sequence[Finding] = ()
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)


def page_name(number: int) -> str:
    """The file of a page, counted from 1.

    >>> page_name(7), page_name(1234)
    ('0007.html', '1234.html')
    """
    return f"{number:04}.html"


def links_of(chapter: Chapter, page: str) -> dict[tuple[str, str], str]:
    """Where each finding of a chapter stands on its page, and each photograph (with an empty id)."""
    card = {p["photo"]: n for n, p in enumerate(chapter.photos, start=1)}  # places are named as report/page.py does
    cards = {(photo, ""): f"{page}#p{n}" for photo, n in card.items()}
    return cards | {
        (f.photo, f.thing_id): f"{page}#p{card[f.photo]}-{n}"
        for group in by_photo(chapter.findings).values()
        for n, f in enumerate(group, start=1)
    }


def page_book(number: int, pages: int, totals: Totals, side: int) -> Book:
    """What page `number` of `pages` is told of its place."""
    return Book(
        totals,
        side=side,
        up="../",
        contents="../report.html",
        before=page_name(number - 1) if number > 1 else "",
        after=page_name(number + 1) if number < pages else "",
    )


def drop_pages(folder: Path, pages: int) -> None:
    """Remove pages of an earlier start that had more of them."""
    for page in (folder / PAGES).glob("*.html"):
        if page.name > page_name(pages):
            page.unlink()
