"""The report of an inspection, on one page or several; nothing is loaded from outside, so it can be mailed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from PIL import Image

from toeline.core.box import Box
from toeline.core.finding import Finding, Problem, ProblemKind, by_photo, kinds_of
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.metric import Metric
from toeline.report.document import environment, run_facts
from toeline.report.draw import LINES, crop_window, data_uri, jpeg_bytes, legend
from toeline.report.finding_rows import chip, photo_entry, steps, table_row, work_row
from toeline.report.geolocate import Located, position_words, same_words
from toeline.report.map import map_section
from toeline.report.tables import (
    MOST_SHOWN,
    Chapter,
    Totals,
    marked_of,
    names_in,
    others_words,
    relation_words,
    shown_facts,
    work_section,
    worklist,
)

# The longest side of an embedded picture by the number of photographs: the page stays quick to open and to mail.
SIDES_PX: tuple[tuple[int, int], ...] = ((24, 1280), (80, 960), (250, 720), (1000, 512))
SMALLEST_PX = 384
MOST_EMBEDDED = 20_000  # photographs; pages of more link to the marked pictures, or they would take gigabytes and hours
FINE_PX = 720  # below it a picture is there to recognize, and its link to look closely
MOST_BYTES = 24_000_000  # of embedded pictures; what comes after is linked, not embedded
MOST_PRINTED, PRINT_PX = 60, 640  # findings with a picture on paper, two a page; side of these
CUT_FROM_PX, CROP_QUALITY = 1600, 60
CROP_PX = 96  # of an object in the work list, square: 2 kB each
MOST_PROBLEMS = 200  # told on the page; the rest is in errors.jsonl
BARS = 4  # answers shown per finding, best first
LEAST_SHOWN = 0.005  # an answer under half a percent gets no bar


@dataclass(frozen=True)
class TruthNotes:
    """What is known to be right or wrong, in plain words, for runs with ground truth (the demo).

    `wrong` maps (photo, finding id) to the true class name, `extra` holds the findings of nothing, `missed` maps a
    photo to the class names of objects that were not found.
    """

    figures: tuple[Metric, ...]
    note: str = ""
    wrong: Mapping[tuple[str, str], str] = field(default_factory=dict)
    extra: frozenset[tuple[str, str]] = frozenset()
    missed: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class PageInput:
    """Everything a page says. `photos` holds the progress records in order; marked pictures lie under `folder`."""

    folder: Path
    photos: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]
    problems: Sequence[Problem]
    run: Mapping[str, Any]
    taxonomy: Taxonomy
    ground_truth: TruthNotes | None = None
    book: Book | None = None  # for a report of several pages; without it all is on this one
    located: Located | None = None
    told: Sequence[ProblemKind] = ()  # problems and notes by their kinds

    @property
    def place(self) -> Book:
        """Where this page stands; alone, unless `book` says otherwise."""
        side = side_for(len(self.photos))
        return self.book or Book(Totals.of(self.photos, self.findings), len(self.problems), side)


def render_page(given: PageInput) -> str:
    """The page's text. Marked pictures that are missing are named and left out."""
    given = replace(given, book=given.place)
    cards, book = _cards(given), given.place
    shown = [f for card in cards for f in card["findings"]]
    links = book.links or _links(cards)
    todo = book.worst or worklist(given.findings)[:MOST_SHOWN]
    crops = book.crops or (crops_of(given.folder, given.photos, todo) if book.side else {})
    work = work_section(todo, book.totals, given.taxonomy, links, crops)
    told = {"boxes": bool(_labels(given)), "truth": given.ground_truth is not None}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            **_summary(given, links),
            facts=[] if book.contents else run_facts(given.run),
            book=book,
            tally=_tally(book.totals, given.taxonomy) if book.parts else [],
            cards=cards,
            shown=shown,
            table=Markup("".join(table_row(f, **told) for f in shown)),
            work=work,
            work_rows=Markup("".join(map(work_row, work.get("rows", ())))),
            **{made.__name__: _as_markup(made) for made in (chip, steps)},
            kinds=[t.spoken for t in given.taxonomy.types if book.totals.count(type_name=t.name)],
            single=_single(book.totals, given.taxonomy),
            problems=given.problems,
            most_problems=MOST_PROBLEMS,
            truth=given.ground_truth,
            review={"calibration": None, "risk": None, **given.run.get("models", {}).get("review", {})},
            embedded=sum(bool(card["picture"]) for card in cards),
            pictures=sum(not card["failed"] for card in cards),
            side=book.side,
        )
    )


def render_print(given: PageInput) -> str:
    """The text of a page for paper: cover, summary, the worst findings two on a page, the rest as a table.

    The work list is in `given.book`, and `given.photos` are those of its findings. Types that leave one answer stand in
    the table.
    """
    given = replace(given, book=given.place)
    book, words = given.place, given.taxonomy
    todo = list(book.worst or worklist(given.findings)[:MOST_SHOWN])
    shown = [f for f in todo if f.verdict.asked][:MOST_PRINTED]
    crops = crops_of(given.folder, given.photos, shown, PRINT_PX)
    slugs = {c["name"]: c["slug"] for c in condition_styles(words)}
    work = work_section(todo, book.totals, words, {}, crops)
    told = {(f.photo, f.instance_id): f for f in shown}
    shown_rows, rest = [], []
    for row in work.get("rows", ()):
        f = told.get((row["photo"], row["number"]))
        if f is None:
            rest.append(row)
        else:
            where = {"where": position_words(f.geo_position), "same": same_words(f.geo_position)}
            shown_rows.append({**row, **where, "bars": bars(f), "slug": slugs[f.verdict.condition]})
    photos = shorten(", ".join(map(str, given.run.get("settings", {}).get("photos", ()))), 120)
    more = _summary(given, {})
    return (
        environment()
        .get_template("print.html.j2")
        .render(**more, work=work, shown=shown_rows, rest=rest, photos=photos)
    )


def _as_markup(made: Callable[..., str]) -> Callable[..., Markup]:
    """HTML of finding_rows for a template, which would write its signs out."""
    return lambda *given: Markup(made(*given))


def _summary(given: PageInput, links: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """What both forms of the report begin with."""
    return {
        "title": _title(given),
        "run": given.run,
        "tiles": _tiles(given),
        "matrix": matrix(given.place.totals, given.taxonomy),
        "conditions": condition_styles(given.taxonomy),
        "boxes": _labels(given),
        "map": map_section(given.located, given.taxonomy, links),
        "told": given.told or kinds_of(given.problems),
        "domain": {"said": "", "beyond": 0, **(given.run.get("domain") or {})},
        "unproven": given.run.get("unproven", ""),
    }


def _labels(given: PageInput) -> str:
    """Whose boxes it were, if they were given; empty for a detector's."""
    return str(given.run.get("models", {}).get("detector", {}).get("labels", ""))


def _links(cards: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Where photographs (with an empty id) and findings stand on this page."""
    found = {(c["photo"], f["number"]): f"#{f['anchor']}" for c in cards for f in c["findings"]}
    return {**{(c["photo"], ""): f"#{c['anchor']}" for c in cards}, **found}


def _title(given: PageInput) -> str:
    title = str(given.run.get("title") or f"Inspection of {some(given.place.totals.photographs, 'photograph')}")
    return f"{given.photos[0]['photo']} to {given.photos[-1]['photo']}" if given.place.contents else title


def _tiles(given: PageInput) -> list[tuple[str, str, str, str]]:
    """Headline counts: (number, what, CSS class of the condition or empty, which findings it counts)."""
    totals, problems = given.place.totals, given.place.problems
    tiles = [
        (
            f"{totals.photographs - totals.failed:,}",
            "photographs inspected",
            "",
            "" if given.place.parts else "photographs",
        ),
        (f"{totals.findings:,}", "objects", "", "all"),
        *(
            (f"{totals.count(condition=c['name']):,}", c["name"], c["slug"], c["name"])
            for c in condition_styles(given.taxonomy)
        ),
        (f"{totals.review:,}", "to review", "", "review"),
        *([(f"{totals.immediate:,}", "immediate", "", "immediate")] if given.taxonomy.grading.rules else []),
    ]
    if given.place.contents:  # problems are told with the totals of all pages
        return tiles
    return [*tiles, (f"{problems:,}", "problem" if problems == 1 else "problems", "", "")]


def _tally(totals: Totals, taxonomy: Taxonomy) -> list[list[Any]]:
    """Counts by what a page filters by, for one that does not hold the findings themselves."""
    return [[taxonomy.spoken(f.type_name), *f[1:], n] for f, n in totals.facets.items()]


def _single(totals: Totals, taxonomy: Taxonomy) -> str:
    """The types there that leave one answer, such as vegetation: folded away at first."""
    of_type = [c.type for c in taxonomy.classes]
    single = [t for t in taxonomy.types if of_type.count(t.name) == 1 and totals.count(type_name=t.name)]
    return ", ".join(t.spoken for t in single)


def matrix(totals: Totals, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """One row per type: its spoken name, total, to review, and a count for each condition (None where it cannot be)."""
    legal = {(c.type, c.condition) for c in taxonomy.classes}
    return [
        {
            "kind": t.spoken,
            "total": totals.count(type_name=t.name),
            "review": totals.count(type_name=t.name, review=True),
            "cells": [
                (c.name, totals.count(type_name=t.name, condition=c.name) if (t.name, c.name) in legal else None)
                for c in taxonomy.conditions
            ],
        }
        for t in taxonomy.types
    ]


def condition_styles(taxonomy: Taxonomy) -> list[dict[str, str]]:
    """Name, color, line and CSS class of each condition."""
    return [
        {"name": name, "color": color, "line": LINES[style], "slug": f"c{n}"}
        for n, (name, (color, style)) in enumerate(legend(taxonomy).items())
    ]


def _cards(given: PageInput) -> list[dict[str, Any]]:
    groups, left, cards = by_photo(given.findings), MOST_BYTES, []
    for number, record in enumerate(given.photos, start=1):
        photo = record["photo"]
        marked = marked_of(record)
        picture = "" if not marked or left <= 0 else thumbnail(given.folder / marked, given.place.side)
        left -= len(picture)
        findings = groups.get(photo, [])
        cards.append(
            {
                "photo": photo,
                "anchor": f"p{number}",
                "size": record["size"],
                "failed": record["failed"],
                "picture": picture,
                "href": given.place.up + quote(marked) if marked else "",
                "findings": (shown := _shown(findings, f"p{number}", given)),
                "lists": list(_lists(shown)),
                "missed": list(given.ground_truth.missed.get(photo, ())) if given.ground_truth else [],
            }
        )
    return cards


def _lists(shown: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The findings beside a photograph: first those that were asked about, then those of types with one answer."""
    for single in (False, True):
        if some_of := [f for f in shown if f["asked"] != single]:
            yield {
                "single": single,
                "count": len(some_of),
                "kinds": dict.fromkeys(f["kind"] for f in some_of),
                "entries": Markup("".join(map(photo_entry, some_of))),
            }


def _shown(findings: Sequence[Finding], card: str, given: PageInput) -> list[dict[str, Any]]:
    names, words = names_in(findings, given.taxonomy), given.taxonomy
    slugs = {c["name"]: c["slug"] for c in condition_styles(words)}
    return [
        {
            **shown_facts(f, words),
            "anchor": f"{card}-{number}",
            "key": f"#{card}-{number}",
            "card": card,
            "slug": slugs[f.verdict.condition],
            "bars": bars(f),
            "second": f.verdict.second,
            "score": f.score,
            "detector_class": f.detector_class,
            "detector_others": others_words(f, words),
            "around": relation_words(f, names),
            "grade": f.grade,
            "where": position_words(f.geo_position),
            "same": same_words(f.geo_position),
            "truth": truth_of(f, given.ground_truth),
        }
        for number, f in enumerate(findings, start=1)
    ]


def truth_of(finding: Finding, ground_truth: TruthNotes | None) -> str:
    """What is wrong with a finding, in words, or empty when it is right or nothing is known."""
    if ground_truth is None:
        return ""
    key = (finding.photo, finding.instance_id)
    if key in ground_truth.extra:
        return "nothing is there"
    return f"is {ground_truth.wrong[key]}" if key in ground_truth.wrong else ""


def bars(finding: Finding) -> list[tuple[str, float, bool]]:
    """The answers that are shown, best first: name, probability, and whether it is the one that was given."""
    ranked = sorted(finding.verdict.probabilities.items(), key=lambda pair: -pair[1])
    kept = [(n, p) for n, p in ranked if p >= LEAST_SHOWN or n == finding.verdict.class_name][:BARS]
    return [(name, p, name == finding.verdict.class_name) for name, p in kept]


def side_for(photographs: int) -> int:
    """The longest side in pixels at which pictures are embedded; 0 where they are linked only.

    >>> side_for(12), side_for(500), side_for(5000), side_for(50_000)
    (1280, 512, 384, 0)
    """
    if photographs > MOST_EMBEDDED:
        return 0
    return next((side for most, side in SIDES_PX if photographs <= most), SMALLEST_PX)


def thumbnail(path: Path, side: int) -> str:
    """A data URI of at most `side` pixels, or empty when the picture is not there or `side` is 0."""
    small = _opened(path, side) if side else None
    if small is None:
        return ""
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return data_uri(jpeg_bytes(small, quality=78 if side >= FINE_PX else 66, subsampling=2))


def _opened(path: Path, side: int) -> Image.Image | None:
    """A picture with at least `side` pixels if it has them, or None when it is not there."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))  # lets the JPEG decoder skip pixels: four times quicker on large pictures
            return image.convert("RGB")
    except OSError:
        return None


def crops_of(
    folder: Path, photos: Iterable[Mapping[str, Any]], findings: Iterable[Finding], side: int = CROP_PX
) -> dict[tuple[str, str], str]:
    """Pictures of findings as data URIs, cut out of the marked pictures; each of these is opened once."""
    groups, made = by_photo(findings), dict[tuple[str, str], str]()
    for record in photos:
        group, marked = groups.get(record["photo"], ()), marked_of(record)
        image = _opened(folder / marked, CUT_FROM_PX) if group and marked else None
        if image is not None:
            scale = image.width / record["size"][0]
            made |= {(f.photo, f.instance_id): _crop(image, f.box.scaled(scale), side) for f in group}
    return made


def _crop(image: Image.Image, box: Box, side: int) -> str:
    window = crop_window(box, image.size)
    scale = side / max(window.width, window.height)
    size = max(1, round(window.width * scale)), max(1, round(window.height * scale))
    cut = image.resize(size, Image.Resampling.BICUBIC, box=window.xyxy, reducing_gap=2.0)
    return data_uri(jpeg_bytes(cut, quality=CROP_QUALITY, subsampling=2))


PAGE = 200  # photographs on a page: with embedded pictures it has a few megabytes
PAGES = "report"  # the folder of the pages with photographs


@dataclass(frozen=True)
class PagePart:
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
    beginning of the work list in `worst`, `links` to those by photograph and id, and small pictures of them in `crops`.
    """

    totals: Totals
    problems: int = 0
    side: int = 0
    up: str = ""
    contents: str = ""
    before: str = ""
    after: str = ""
    parts: Sequence[PagePart] = ()
    worst: Sequence[Finding] = ()
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)
    crops: Mapping[tuple[str, str], str] = field(default_factory=dict)


def page_name(number: int) -> str:
    """The file of a page, counted from 1.

    >>> page_name(7), page_name(1234)
    ('0007.html', '1234.html')
    """
    return f"{number:04}.html"


def links_of(chapter: Chapter, page: str) -> dict[tuple[str, str], str]:
    """Where each finding of a chapter stands on its page, and each photograph (with an empty id)."""
    card = {
        p["photo"]: n for n, p in enumerate(chapter.photos, start=1)
    }  # places are named as report/inspection_page.py does
    cards = {(photo, ""): f"{page}#p{n}" for photo, n in card.items()}
    return cards | {
        (f.photo, f.instance_id): f"{page}#p{card[f.photo]}-{n}"
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
