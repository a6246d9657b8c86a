"""A comparison in the plain values of the report: tables of differences, and the objects that flipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from toeline.cli.show import some
from toeline.evaluate.compare import Comparison, Difference, Flip
from toeline.report.record import now_words
from toeline.report.scorecard_page import Grid, ScorecardPage, Section

HEAD = ("measured", "first", "second", "difference", "95 % interval", "gained", "lost", "McNemar p", "n")
FLIP_HEAD = ("photograph", "object", "is", "first said", "second said", "first p", "second p")
UNREADABLE = "(unreadable)"
METHOD = (
    "Differences are second minus first on the same objects, in percentage points. Intervals are 95 %: the wider of a "
    "bootstrap that draws whole {clusters} ({count} of them; {draws:,} draws from seed {seed}) and Agresti and Min's "
    "formula. Gained: wrong before, right now; lost: right before, wrong now. McNemar's exact test takes objects as "
    "independent, and no p-value is corrected for how many there are: quote the first row, read the others for where "
    "to look."
)


def page_of(told: Sequence[Comparison]) -> ScorecardPage:
    """The page of all comparisons with one first run."""
    first = told[0]
    sections = [section for comparison in told for section in sections_of(comparison)]
    return ScorecardPage(
        title=f"{first.first} and {', '.join(c.second for c in told)}",
        headline=" ".join(sentence(c) for c in told),
        sections=sections,
        run={
            "first": first.first,
            "others": [c.second for c in told],
            "started_words": f"{datetime.now().astimezone():%d %B %Y, %H:%M}",
            "finished": now_words(),
            "draws": first.draws,
            "seed": first.seed,
        },
        files=("compare.md", "compare.json"),
        tiles=[(f"{first.objects:,}", "objects"), (f"{first.photographs:,}", "photographs")],
    )


def sentence(comparison: Comparison) -> str:
    """What a comparison says, in a sentence: whether the difference of the headline is shown."""
    d = comparison["condition_given_type"]
    if not d.n:
        return f"{comparison.second}: no object leaves a choice of condition."
    shown = "is better" if d.interval.low > 0 else "is worse" if d.interval.high < 0 else "is not shown to differ"
    return (
        f"{comparison.second} {shown}: condition given the type {points(d.difference)} points "
        f"({span(d)}; {d.gained} gained, {d.lost} lost, n = {d.n})."
    )


def sections_of(comparison: Comparison) -> list[Section]:
    """Overall figures, then by condition, type and class, then the objects that flipped."""
    rows = telling(comparison)
    kinds = (("", ""), ("condition", "By condition"), ("type", "By type"), ("class", "By class"))
    grids = [Grid(title, HEAD, tuple(cells(d) for d in rows if kind_of(d) == kind)) for kind, title in kinds]
    text = METHOD.format(
        clusters="photographs" if comparison.cluster == "photo" else "flight lines",
        count=comparison.clusters,
        draws=comparison.draws,
        seed=comparison.seed,
    )
    flipped = f"{comparison.otherwise} more are wrong in both, with different answers."
    return [
        Section(f"{comparison.second} beside {comparison.first}", (text,), grids=tuple(g for g in grids if g.rows)),
        Section(f"Objects that {comparison.second} flipped", (flipped,), grids=tuple(flip_grids(comparison.flips))),
    ]


def telling(comparison: Comparison) -> list[Difference]:
    """The differences worth a row: of something, and not of what both runs have wholly right, as decided types are."""
    return [d for d in comparison.differences if d.n and not d.first == d.second == 1.0]


def kind_of(difference: Difference) -> str:
    """Under which heading a figure stands; `condition_given_type/normal` is about conditions."""
    head, _, name = difference.key.partition("/")
    return ("condition" if head.startswith("condition") else head) if name else ""


def flip_grids(flips: Sequence[Flip]) -> list[Grid]:
    """What was gained and what was lost, each the surest of the second run first."""
    found = []
    for gained, name in ((True, "Gained"), (False, "Lost")):
        rows = sorted((f for f in flips if f.gained == gained), key=lambda f: -f.second_probability)
        title = f"{name}: {some(len(rows), 'object')}"
        found += [Grid(title, FLIP_HEAD, tuple(map(_flip_cells, rows)), words=5)] if rows else []
    return found


def _flip_cells(flip: Flip) -> tuple[str, ...]:
    said = (flip.first_said or UNREADABLE, flip.second_said or UNREADABLE)
    sure = (f"{flip.first_probability:.2f}", f"{flip.second_probability:.2f}")
    return (flip.photo, flip.thing_id, flip.true_class, *said, *sure)


def cells(difference: Difference) -> tuple[str, ...]:
    """A difference as texts, under HEAD."""
    d = difference
    label = f"{d.label} (lower is better)" if d.lower_is_better else d.label
    test = "" if d.p_value is None else "<0.001" if d.p_value < 0.001 else f"{d.p_value:.3f}"
    changed = ("" if d.gained is None else str(d.gained), "" if d.lost is None else str(d.lost))
    return (label, _percent(d.first), _percent(d.second), points(d.difference), span(d), *changed, test, str(d.n))


def span(difference: Difference) -> str:
    """The interval of a difference, in percentage points."""
    return f"{points(difference.interval.low)} to {points(difference.interval.high)}"


def points(share: float) -> str:
    """A difference of shares in percentage points, always with its sign.

    >>> points(0.0812), points(-0.5), points(0.0001)
    ('+8.1', '-50.0', '0.0')
    """
    return "" if math.isnan(share) else "0.0" if abs(share) < 0.0005 else f"{100 * share:+.1f}"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f} %"
