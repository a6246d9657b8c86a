"""The pages of a gallery: what stands on each, and how they lead to one another. Draws nothing, reads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from toeline.data.analyze.flag import Flag
from toeline.data.analyze.gallery_pictures import Look, looks
from toeline.report.draw import LINES
from toeline.report.style import environment

if TYPE_CHECKING:
    from toeline.data.analyze.gallery import Choice

MOST_ROWS = 1000  # problems that a page lists in words; the rest stands in problems.jsonl


@dataclass(frozen=True)
class Picture:
    """A file below the gallery's folder and its size in pixels."""

    place: str
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class Card:
    """Pictures and what is said of them; `href` is where a click leads, from pages/."""

    pictures: tuple[Picture, ...]
    title: str
    rows: tuple[str, ...] = ()
    href: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Page:
    """One page. `kind` is "class", "photographs" or "problem"; `said` says how much of what is shown."""

    name: str
    kind: str
    title: str
    said: str
    cards: tuple[Card, ...]
    slug: str = ""
    all: int = 0
    rows: tuple[Flag, ...] = ()

    @property
    def place(self) -> str:
        """The file below the gallery's folder."""
        return f"pages/{self.name}.html"


def render_pages(choice: Choice, pictures: Mapping[Any, Picture]) -> Iterator[tuple[str, str]]:
    """Place and text of every page, the index first."""
    look = looks(choice.data.names, choice.taxonomy)
    pages = [
        *_class_pages(choice, pictures, look),
        _photo_page(choice, pictures, look),
        *_problem_pages(choice, pictures),
    ]
    template = environment("toeline.data.analyze").get_template("gallery.html.j2")
    shared = {
        "pages": pages,
        "looks": [{"slug": f"k{i}", "color": one.color, "line": LINES[one.style]} for i, one in look.items()],
        "title": f"Gallery of {choice.data.root.resolve().name}",
        "tiles": _tiles(choice),
        "problems": choice.problems,
        "seed": choice.run.seed,
        "most": MOST_ROWS,
    }
    yield "index.html", template.render(**shared, page=None, top="")
    for page in pages:
        yield page.place, template.render(**shared, page=page, top="../")


def _tiles(choice: Choice) -> list[tuple[str, str]]:
    objects, found = choice.counts.total(), len(choice.flags)
    return [
        (f"{len(choice.entries):,}", "photographs"),
        (f"{objects:,}", "objects"),
        (f"{sum(n > 0 for n in choice.counts.values())}", "classes"),
        *([(f"{found:,}", "to look at")] if found else []),
    ]


def _class_pages(choice: Choice, pictures: Mapping[Any, Picture], look: Mapping[int, Look]) -> Iterator[Page]:
    for i, chosen in choice.objects.items():
        cards = tuple(
            Card((picture,), *_title_and_folder(c.labels, c.line.line), _photo_link(c.photo, pictures))
            for c in chosen
            if (picture := pictures.get((c.photo, c.line)))
        )
        said = _said(len(cards), choice.counts[i], "object")
        yield Page(f"class-{i}", "class", look[i].name, said, cards, f"k{i}", choice.counts[i])


def _title_and_folder(file: str, line: int) -> tuple[str, tuple[str, ...]]:
    folder, _, name = file.rpartition("/")
    return f"{name}, line {line}", (folder,)


def _photo_page(choice: Choice, pictures: Mapping[Any, Picture], look: Mapping[int, Look]) -> Page:
    cards = tuple(
        Card((picture,), name, href=f"../{quote(picture.place)}", anchor=_anchor(picture))
        for name in choice.photos
        if (picture := pictures.get((name,)))
    )
    said = _said(len(cards), len(choice.entries), "photograph")
    return Page("photographs", "photographs", "Whole photographs", said, cards, "", len(choice.entries))


def _problem_pages(choice: Choice, pictures: Mapping[Any, Picture]) -> Iterator[Page]:
    counts = Counter(f.check for f in choice.flags)
    for number, (check, flags) in enumerate(choice.pictured.items(), start=1):
        cards, bare = [], []
        for flag in flags:
            shown = tuple(p for name in (flag.photo, flag.other) if (p := pictures.get((name, flag))))
            if shown:
                cards.append(_problem_card(flag, shown, pictures))
            else:
                bare.append(flag)
        rest = [f for f in choice.flags if f.check == check and f not in set(flags)]
        said = _said(len(cards), counts[check], "case")
        yield Page(
            f"problem-{number}", "problem", check, said, tuple(cards), flags[0].weight, counts[check], (*bare, *rest)
        )


def _problem_card(flag: Flag, shown: tuple[Picture, ...], pictures: Mapping[Any, Picture]) -> Card:
    place = f"{flag.file}, line {flag.line}" if flag.line else flag.file
    return Card(shown, place, (flag.what, flag.todo), _photo_link(flag.photo, pictures))


def _photo_link(photo: str, pictures: Mapping[Any, Picture]) -> str:
    """To the photograph with all its labels, where that is shown."""
    picture = pictures.get((photo,))
    return f"photographs.html#{_anchor(picture)}" if picture else ""


def _anchor(picture: Picture) -> str:
    return f"p{picture.place[-10:-4]}"


def _said(shown: int, everything: int, what: str) -> str:
    """How many are shown of how many.

    >>> _said(60, 282, "object"), _said(1, 1, "object")
    ('60 of 282 objects, chosen by lot', '1 object')
    """
    noun = f"{what}{'' if everything == 1 else 's'}"
    return f"{everything:,} {noun}" if shown == everything else f"{shown:,} of {everything:,} {noun}, chosen by lot"
