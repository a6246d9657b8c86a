"""Spatial reasoning, prompts side by side, and comparisons of several evaluations, as sections and pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from toeline.core.provenance import now_words
from toeline.core.words import some
from toeline.evaluate.classification import HEADLINE
from toeline.evaluate.compare import Comparison, Difference, Flip
from toeline.evaluate.metric import Metric
from toeline.evaluate.results import PriorResult, PromptResult, Spatial, best_of
from toeline.evaluate.spatial import Agreement
from toeline.report.document import Grid, ScorecardPage, Section, tenths

QUESTIONS = (
    "Yes/no questions made from the true boxes. Objects are pointed at by outlines drawn in the photograph; the words "
    "hold no coordinate and no relation. In every template and pair of types as many answers are yes as no."
)
ALTERED = (
    "The same objects asked again with the prompt's relations taken away, exchanged between objects, and turned round. "
    "A judge that reads them loses when they are false; one that does not, does not use them."
)
BOXES = (
    "Relations of detected boxes beside those of true boxes, over objects that were found: what the prompt says "
    "wrongly because a box is off."
)


def change(found: Difference) -> tuple[str, str, str]:
    """A paired difference: points, its interval, and McNemar's p."""
    p = "" if found.p_value is None else f"{found.p_value:.3f}"
    return points(found.difference), span(found), p


def spatial_section(found: Spatial | None) -> list[Section]:
    """The section on spatial reasoning; nothing when it was not measured."""
    if found is None:
        return []
    text = [*found.left_out]
    figures: tuple[Metric, ...] = ()
    grids = []
    if found.questions:
        card, figures = found.questions, found.questions.figures
        text.insert(0, f"{QUESTIONS} {card.questions} questions about {card.photographs} photographs.")
        rows = tuple(
            (b.template.replace("_", " "), str(b.n), tenths(b.true_yes), tenths(b.said_yes)) for b in card.balance
        )
        grids.append(Grid("How often yes is right, and was said", ("template", "questions", "true", "said"), rows))
    if found.relations:
        text.append(ALTERED)
        grids.append(_altered(found.relations))
    if found.boxes:
        text.append(BOXES)
        grids.append(_boxes(found.boxes))
    return [Section("Spatial reasoning", tuple(text), figures, grids=tuple(grids))]


def _altered(relations: Sequence[Comparison]) -> Grid:
    given = relations[0][HEADLINE]
    rows = [("relations given", tenths(given.first), "", "", "")]
    rows += [(c.second, tenths(c[HEADLINE].second), *change(c[HEADLINE])) for c in relations]
    head = ("prompt", "condition, given type", "points", "95 % interval", "McNemar's p")
    return Grid(f"With other relations in the prompt ({given.n} objects)", head, tuple(rows))


def _boxes(found: Sequence[Agreement]) -> Grid:
    rows = tuple(
        (a.name.replace("_", " "), _share(a.precision), str(a.precision.n), _share(a.recall), str(a.recall.n))
        for a in found
    )
    return Grid("Relations of detected boxes", ("relation", "precision", "said", "recall", "true"), rows)


def _share(figure: Metric) -> str:
    return tenths(figure.value) if figure.n else ""


def prompts_section(rows: Sequence[PromptResult]) -> list[Section]:
    """Every prompt beside the first; nothing when there was only one."""
    if not rows:
        return []
    best, first = best_of(tuple(rows)), rows[0]
    text = (
        f"One judge, the same {first.card.objects} objects, every prompt. The best by condition given the type is "
        f"{best.name!r}. It was chosen on this split, so its figure is optimistic: measure it on another one. "
        f"Differences are paired, from {first.name!r}.",
    )
    table = tuple(_row(row) for row in rows)
    head = (
        "prompt",
        "condition, given type",
        "95 % interval",
        "points",
        "95 % interval",
        "class, every type",
        "s/photograph",
    )
    return [Section("Prompts", text, grids=(Grid("Side by side", head, table),))]


def _row(row: PromptResult) -> tuple[str, ...]:
    figure = row.card[HEADLINE]
    low, high = figure.interval
    difference = change(row.against[HEADLINE])[:2] if row.against else ("", "")
    return (
        row.name,
        tenths(figure.value),
        f"{tenths(low)} to {tenths(high)}",
        *difference,
        tenths(row.card["accuracy"].value),
        f"{row.seconds:.2f}",
    )


def prior_section(rows: Sequence[PriorResult]) -> list[Section]:
    """Every prompt with and without the prior, and the prior of the first; nothing where none was taken off."""
    if not rows:
        return []
    first = rows[0]
    text = [f"{SOURCES[first.prior['source'].split()[0]].format(first.prior['source'])} {TAKEN_OFF}"]
    text += [OVER_MEASURED] if first.measured else []
    if first.lacking:
        names = ", ".join(kind.replace("_", " ") for kind in first.lacking)
        text.append(f"Not corrected, because no object of the type was there: {names}.")
    head = ("prompt", "as scored", "95 % interval", "corrected", "95 % interval", "points", "95 % interval",
            "McNemar's p", "majority class", "n")  # fmt: skip
    table = Grid("Condition, given type, with and without", head, tuple(map(_prior_row, rows)))
    held = tuple(
        (kind.replace("_", " "), name, tenths(math.exp(value)), str(first.prior["objects"][kind]))
        for kind, scores in first.prior["log_probabilities"].items()
        for name, value in scores.items()
    )
    told = Grid(
        f"What is taken off, with {first.prompt}", ("type", "class", "exp(mean log p)", "of"), held, folded=True
    )
    return [Section("Prior correction", tuple(text), grids=(table, told))]


SOURCES = {
    "content-free": "What the judge prefers on gray photographs of one object, without relations (content-free).",
    "split": "What the judge prefers on average over the objects of the {}, whose conditions were not looked at.",
}
TAKEN_OFF = (
    "It is subtracted from the log-probabilities of each type's names, before a temperature. Differences are paired: "
    "corrected less as scored, on the same objects."
)
OVER_MEASURED = (
    "The mean was taken over the very photographs that are measured (transductive): without their conditions, and yet "
    "the figure holds for a judge that was given all photographs before its first answer."
)


def _prior_row(row: PriorResult) -> tuple[str, ...]:
    before, after = row.without[HEADLINE], row.card[HEADLINE]
    base = "" if after.majority_baseline is None else tenths(after.majority_baseline)
    ends = [f"{tenths(f.interval.low)} to {tenths(f.interval.high)}" for f in (before, after)]
    return (
        row.prompt, tenths(before.value), ends[0], tenths(after.value), ends[1], *change(row.against[HEADLINE]), base,
        str(after.n),
    )  # fmt: skip


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
    """The differences that get a row: of at least one object, and not wholly right in both runs."""
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
    return (flip.photo, flip.instance_id, flip.true_class, *said, *sure)


def cells(difference: Difference) -> tuple[str, ...]:
    """A difference as texts, under HEAD."""
    d = difference
    test = "" if d.p_value is None else "<0.001" if d.p_value < 0.001 else f"{d.p_value:.3f}"
    changed = ("" if d.gained is None else str(d.gained), "" if d.lost is None else str(d.lost))
    return (d.caption, _percent(d.first), _percent(d.second), points(d.difference), span(d), *changed, test, str(d.n))


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
