"""A scorecard or an analysis as one self-contained page and as Markdown with the same numbers.

A headline, sections, how it was made. Sections are plain values, so whoever measures something further adds a section
and no template changes. Metrics are shown as they were measured; texts, plots and pictures come ready-made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from toeline.core.finding import Problem, ProblemKind, grave, kinds_of
from toeline.core.statistics import Interval
from toeline.core.words import shown
from toeline.evaluate.metric import Metric


@dataclass(frozen=True)
class Plot:
    """An <svg> element, what it shows, and the widest it should be shown, in CSS pixels.

    `sideways` ones scroll on a telephone and are never shrunk.
    """

    svg: str
    caption: str
    wide_px: int = 640
    sideways: bool = False
    kind: ClassVar[str] = "plot"


LONG = 40  # letters from which a cell is a sentence: it breaks over lines and stands to the left


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first column names the row, the first `words` columns hold words, the others numbers.

    `folded` ones repeat a plot, or are long: the page hides them at first. `caption` is a sentence above the table.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    words: int = 1
    caption: str = ""
    kind: ClassVar[str] = "grid"

    @property
    def sentences(self) -> set[int]:
        """Columns that hold sentences.

        >>> sorted(Grid("", ("a", "b"), (("x", "y" * 50),)).sentences)
        [1]
        """
        return {at for row in self.rows for at, cell in enumerate(row) if at and len(cell) > LONG}


@dataclass(frozen=True)
class Words:
    """A paragraph, or with `items` a list under it."""

    text: str = ""
    items: tuple[str, ...] = ()
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Remarks:
    """What should be looked at, of one kind: places with what is wrong there; `hidden` more are listed in `file`."""

    title: str
    mood: str  # bad or careful
    weight: str
    notes: tuple[Problem, ...]
    hidden: int
    file: str
    kind: ClassVar[str] = "remarks"


@dataclass(frozen=True)
class Side:
    """One half of a card: its picture as a data URI (empty: not there), a heading, and lines under it."""

    title: str
    lines: tuple[str, ...]
    picture: str = ""


@dataclass(frozen=True)
class Card:
    """Two things side by side. `sign` and `word` say what came of them, `doubtful` that it is not certain.

    `notes` are what to read, `facts` what to look up. `anchor` is its id on the page, or empty.
    """

    sign: str
    word: str
    title: str
    sides: tuple[Side, Side]
    notes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    mood: str = "careful"
    doubtful: bool = False
    anchor: str = ""


@dataclass(frozen=True)
class Cards:
    """Cards; `hidden` more are listed in `file`."""

    cards: tuple[Card, ...]
    hidden: int = 0
    file: str = ""
    kind: ClassVar[str] = "cards"


Block = Words | Grid | Plot | Remarks | Cards


@dataclass(frozen=True)
class Highlight:
    """One sentence of what matters most; `mood` is bad, careful or good, `anchor` the section that it is from."""

    mood: str
    text: str
    anchor: str


MARKS = {"bad": "Wrong", "careful": "Careful", "good": "Good"}


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: its crop as a data URI (empty: not shown), where it is, and the answers with probabilities."""

    photo: str
    instance_id: str
    picture: str
    answers: tuple[tuple[str, float], ...]
    note: str = ""


@dataclass(frozen=True)
class MistakeGroup:
    """Mistakes of one pair of classes, the most confident first; `count` includes those that are not shown.

    With a `title` they are of another kind than a pair, and the title says which.
    """

    true: str
    said: str
    count: int
    shown: tuple[Mistake, ...]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with what belongs under it, shown in this order: text, figures, plots, tables, mistakes, blocks.

    `blocks` keep their own order. `name` is the section's id on the page, by default its title.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Metric, ...] = ()
    plots: tuple[Plot, ...] = ()
    grids: tuple[Grid, ...] = ()
    mistakes: tuple[MistakeGroup, ...] = ()
    blocks: tuple[Block, ...] = ()
    name: str = ""

    @property
    def anchor(self) -> str:
        """The section's id on the page.

        >>> Section("Normal, or not?").anchor
        'normal-or-not'
        """
        return re.sub(r"[^a-z0-9]+", "-", (self.name or self.title).lower()).strip("-")


@dataclass(frozen=True)
class ScorecardPage:
    """Everything a scorecard's page says. `tiles` are (number, what) and stand under the headline, then `points`.

    `links` are (address, what) beside those to the sections. `files` beside the page hold the same numbers. `foot` is
    the last paragraph, by default that of measured figures.
    """

    title: str
    headline: str
    sections: Sequence[Section]
    run: Mapping[str, Any]
    tiles: Sequence[tuple[str, str]] = ()
    problems: Sequence[Problem] = ()
    files: Sequence[str] = ("report.md", "scorecard.json")
    points: Sequence[Highlight] = ()
    links: Sequence[tuple[str, str]] = ()
    foot: str = ""

    @property
    def told(self) -> tuple[ProblemKind, ...]:
        """Problems and notes by their kinds."""
        return kinds_of(self.problems)

    @property
    def grave(self) -> list[Problem]:
        """The problems without the notes."""
        return grave(self.problems)


def render_html(page: ScorecardPage) -> str:
    """The page's text: nothing is loaded from outside, so it can be mailed, archived and printed."""
    return environment().get_template("scorecard.html.j2").render(page=page, facts=run_facts(page.run), marks=MARKS)


def render_markdown(page: ScorecardPage) -> str:
    """The same numbers as Markdown; plots are left out, because their tables are in it."""
    lines = [f"# {page.title}", "", f"**{page.headline}**", ""]
    if page.tiles:
        lines += ["; ".join(f"{what}: {number}" for number, what in page.tiles) + ".", ""]
    if page.points:
        lines += ["## What matters most", "", *(f"- {MARKS[p.mood]}: {p.text}" for p in page.points), ""]
    if page.grave:
        lines += ["## Problems", "", *(f"- {shown(f'{p} {p.todo}'.rstrip())}" for p in page.grave), ""]
    if notes := [kind for kind in page.told if kind.note]:
        lines += ["## Left out or assumed", "", *(f"- {shown(str(kind))}" for kind in notes), ""]
    for section in page.sections:
        lines += _section(section)
    lines += ["## How it was made", "", *_table(("what", "value"), run_facts(page.run))]
    return harmless("\n".join(lines))


def harmless(markdown: str) -> str:
    """Markdown in which no name or value can become HTML or a link: pages that we write hold neither.

    >>> harmless("a [x](javascript:y) <script>")
    'a &#91;x](javascript:y) &lt;script>'
    """
    return markdown.replace("<", "&lt;").replace("[", "&#91;")


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    for paragraph in section.text:
        yield from (paragraph, "")
    if section.figures:
        yield from _table(METRIC_HEAD, map(metric_cells, section.figures))
    for grid in section.grids:
        yield from _block(grid)
    for group in section.mistakes:
        yield from (f"### {group.title or f'{group.true}, said to be {group.said}'} ({group.count})", "")
        yield from _table(("photograph", "object", "answers", "note"), map(_mistake_cells, group.shown))
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    """Plots are left out: see render_markdown."""
    if isinstance(block, Words):
        yield from ((block.text, "") if block.text else ())
        yield from ((*(f"- {item}" for item in block.items), "") if block.items else ())
    elif isinstance(block, Grid):
        yield from ((f"### {block.title}", "") if block.title else ())
        yield from ((block.caption, "") if block.caption else ())
        yield from _table(block.head, block.rows)
    elif isinstance(block, Remarks):
        yield from (f"### {block.title} ({block.weight}, {len(block.notes) + block.hidden})", "")
        yield from (f"- {shown(f'{p} {p.todo}'.rstrip())}" for p in block.notes)
        yield from ((f"- and {block.hidden} more in {block.file}", "") if block.hidden else ("",))
    elif isinstance(block, Cards):
        for c in block.cards:
            sides = (f"{side.title}: {', '.join(side.lines)}" for side in c.sides)
            yield f"- {shown('; '.join((c.word, c.title, *sides)))}"
        yield ""


METRIC_HEAD = ("measured", "value", "95 % interval", "n", "majority class", "majority class of train", "target")


def metric_cells(metric: Metric) -> tuple[str, ...]:
    """A metric as texts, under METRIC_HEAD."""
    majority_baselines = (
        "" if f is None else tenths(f) for f in (metric.majority_baseline, metric.train_majority_baseline)
    )
    target = "" if metric.target is None else f"{100 * metric.target:g}%: {metric.verdict}"
    said = (tenths(metric.value), interval_words(metric.interval)) if metric.n else ("", "")
    return (metric.caption, *said, str(metric.n), *majority_baselines, target)


def interval_words(interval: Interval) -> str:
    """Both ends of an interval of shares.

    >>> interval_words(Interval(0.41, 0.594))
    '41.0% to 59.4%'
    """
    return f"{tenths(interval.low)} to {tenths(interval.high)}"


def _mistake_cells(mistake: Mistake) -> tuple[str, ...]:
    answers = ", ".join(f"{name} {tenths(p)}" for name, p in mistake.answers)
    return mistake.photo, mistake.instance_id, answers, mistake.note


def _table(head: Sequence[str], rows: Any) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    """One line of a Markdown table; a bar or a line end inside a cell would end it."""
    return "| " + " | ".join(shown(str(cell).replace("\n", " ")).replace("|", r"\|") for cell in cells) + " |"


@cache
def environment(package: str = "toeline.report") -> Environment:
    """Templates of a package; `report.css` and what else lies in report/templates can be included from all of them."""
    from jinja2 import ChoiceLoader

    own = PackageLoader(package)
    env = Environment(
        loader=own if package == "toeline.report" else ChoiceLoader([own, PackageLoader("toeline.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["percent"] = percent
    env.filters["tenths"] = tenths
    env.filters["interval_words"] = interval_words
    return env


def percent(share: float) -> str:
    """A share in whole percent; near 0 and 1 one digit more, so that nothing but certainty looks certain.

    >>> percent(1), percent(0.996), percent(0.99999), percent(0.5), percent(0)
    ('100%', '99.6%', '>99.9%', '50%', '0%')
    """
    if share in (0, 1) or 0.01 <= share <= 0.99:
        return f"{100 * share:.0f}%"
    return ">99.9%" if share > 0.9995 else "<0.1%" if share < 0.0005 else f"{100 * share:.1f}%"


def tenths(share: float) -> str:
    """A share as percent with one digit, for measured figures; empty for a share of nothing.

    >>> tenths(0.5712), tenths(1), tenths(math.nan)
    ('57.1%', '100.0%', '')
    """
    return "" if math.isnan(share) else f"{100 * share:.1f}%"


def run_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The run's record as name and value, nested names joined by a dot, for the foot of the page."""
    facts: list[tuple[str, str]] = []
    for name, value in run.items():
        if isinstance(value, Mapping):
            facts += [(f"{name}.{inner}", text) for inner, text in run_facts(value)]
        elif isinstance(value, (list, tuple)):
            facts.append((name, ", ".join(map(str, value))))
        elif value not in (None, ""):
            facts.append((name, str(value)))
    return facts
