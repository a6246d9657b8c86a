"""The report of an inspection, on one page or several; nothing is loaded from outside, so it can be mailed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from toeline.core.finding import Finding, Problem, ProblemKind, by_photo, kinds_of
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.metric import Metric
from toeline.report.document import environment, run_facts
from toeline.report.draw import LINES, jpeg_bytes, legend
from toeline.report.geolocate import Located, position_words, same_words
from toeline.report.map import map_section
from toeline.report.tables import (
    Chapter,
    Totals,
    marked_of,
    names_in,
    others_words,
    relation_words,
    work_section,
    worklist,
)

# The longest side of an embedded picture by the number of photographs: the page stays quick to open and to mail.
SIDES_PX: tuple[tuple[int, int], ...] = ((24, 1280), (80, 960), (250, 720), (1000, 512))
SMALLEST_PX = 384
FINE_PX = 720  # below it a picture is there to recognize, and its link to look closely
MOST_BYTES = 24_000_000  # of embedded pictures; what comes after is linked, not embedded
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
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=_title(given),
            run=given.run,
            facts=[] if book.contents else run_facts(given.run),
            book=book,
            tiles=_tiles(given),
            matrix=matrix(book.totals, given.taxonomy),
            conditions=_condition_styles(given.taxonomy),
            cards=cards,
            shown=shown,
            work=work_section(worklist(book.worst or given.findings), book.totals, given.taxonomy, links),
            kinds=[t.spoken for t in given.taxonomy.types if any(f["kind"] == t.spoken for f in shown)],
            map=map_section(given.located, given.taxonomy, links),
            problems=given.problems,
            told=given.told or kinds_of(given.problems),
            most_problems=MOST_PROBLEMS,
            truth=given.ground_truth,
            domain={"said": "", "beyond": 0, **(given.run.get("domain") or {})},
            unproven=given.run.get("unproven", ""),
            review={"calibration": None, "risk": None, **given.run.get("models", {}).get("review", {})},
            embedded=sum(bool(card["picture"]) for card in cards),
            pictures=sum(not card["failed"] for card in cards),
            side=book.side,
        )
    )


def _links(cards: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Where photographs (with an empty id) and findings stand on this page."""
    found = {(c["photo"], f["number"]): f"#{f['anchor']}" for c in cards for f in c["findings"]}
    return {**{(c["photo"], ""): f"#{c['anchor']}" for c in cards}, **found}


def _title(given: PageInput) -> str:
    title = str(given.run.get("title") or f"Inspection of {some(given.place.totals.photographs, 'photograph')}")
    return f"{given.photos[0]['photo']} to {given.photos[-1]['photo']}" if given.place.contents else title


def _tiles(given: PageInput) -> list[tuple[str, str, str]]:
    """Headline counts: (number, what, CSS class of the condition or empty)."""
    totals, problems = given.place.totals, given.place.problems
    tiles = [
        (f"{totals.photographs - totals.failed:,}", "photographs inspected", ""),
        (f"{totals.findings:,}", "objects", ""),
        *((f"{totals.of_condition(c['name']):,}", c["name"], c["slug"]) for c in _condition_styles(given.taxonomy)),
        (f"{totals.review:,}", "to review", ""),
        *([(f"{totals.immediate:,}", "immediate", "")] if given.taxonomy.grading.rules else []),
    ]
    if given.place.contents:  # problems are told with the totals of all pages
        return tiles
    return [*tiles, (f"{problems:,}", "problem" if problems == 1 else "problems", "")]


def matrix(totals: Totals, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """One row per type: its spoken name, total, to review, and a count for each condition (None where it cannot be)."""
    counts, review = totals.by_kind, totals.review_by_kind
    legal = {(c.type, c.condition) for c in taxonomy.classes}
    return [
        {
            "kind": t.spoken,
            "total": sum(n for (kind, _), n in counts.items() if kind == t.name),
            "review": review[t.name],
            "cells": [
                (c.name, counts[t.name, c.name] if (t.name, c.name) in legal else None) for c in taxonomy.conditions
            ],
        }
        for t in taxonomy.types
    ]


def _condition_styles(taxonomy: Taxonomy) -> list[dict[str, str]]:
    return [
        {"name": name, "color": color, "line": LINES[style], "slug": f"c{n}"}
        for n, (name, (color, style)) in enumerate(legend(taxonomy).items())
    ]


def _cards(given: PageInput) -> list[dict[str, Any]]:
    groups, left, cards = by_photo(given.findings), MOST_BYTES, []
    for number, record in enumerate(given.photos, start=1):
        photo = record["photo"]
        marked = "" if record["failed"] else marked_of(record)
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
                "findings": _shown(findings, f"p{number}", given),
                "missed": list(given.ground_truth.missed.get(photo, ())) if given.ground_truth else [],
            }
        )
    return cards


def _shown(findings: Sequence[Finding], card: str, given: PageInput) -> list[dict[str, Any]]:
    names, words = names_in(findings, given.taxonomy), given.taxonomy
    slugs = {c["name"]: c["slug"] for c in _condition_styles(words)}
    return [
        {
            "number": f.instance_id,
            "anchor": f"{card}-{number}",
            "card": card,
            "photo": f.photo,
            "kind": words.spoken(f.type_name),
            "class": f.verdict.class_name,
            "condition": f.verdict.condition,
            "slug": slugs[f.verdict.condition],
            "asked": f.verdict.asked,
            "probability": f.verdict.probability,
            "bars": bars(f),
            "second": f.verdict.second,
            "score": f.score,
            "detector_class": f.detector_class,
            "detector_others": others_words(f, words),
            "around": relation_words(f, names),
            "review": f.verdict.review,
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
    """The longest side in pixels at which pictures are embedded.

    >>> side_for(12), side_for(500), side_for(5000)
    (1280, 512, 384)
    """
    return next((side for most, side in SIDES_PX if photographs <= most), SMALLEST_PX)


def thumbnail(path: Path, side: int) -> str:
    """A data URI of at most `side` pixels, or empty when the picture is not there."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (side, side))  # lets the JPEG decoder skip pixels: four times quicker on large pictures
            small = image.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    raw = jpeg_bytes(small, quality=78 if side >= FINE_PX else 66, subsampling=2)
    return "data:image/jpeg;base64," + b64encode(raw).decode("ascii")


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
    beginning of the work list in `worst`, and `links` to those by photograph and id.
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
