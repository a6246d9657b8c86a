"""Spatial reasoning and prompts side by side, in the plain values of the report."""

from __future__ import annotations

from collections.abc import Sequence

from toeline.cli.compare_page import points, span
from toeline.cli.evaluate_page import shown
from toeline.cli.evaluate_prompts import Asked, best_of
from toeline.cli.evaluate_spatial import Spatial
from toeline.evaluate.compare import Comparison, Difference
from toeline.evaluate.figure import Figure
from toeline.evaluate.scorecard import HEADLINE
from toeline.evaluate.spatial import Agreement
from toeline.report.scorecard_page import Grid, Section
from toeline.report.style import tenths

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
    figures: tuple[Figure, ...] = ()
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
    return [Section("Spatial reasoning", tuple(text), tuple(map(shown, figures)), grids=tuple(grids))]


def _altered(relations: Sequence[Comparison]) -> Grid:
    given = relations[0][HEADLINE]
    rows = [("relations given", tenths(given.first), "", "", "")]
    rows += [(c.second, tenths(c[HEADLINE].second), *change(c[HEADLINE])) for c in relations]
    head = ("prompt", "condition, given type", "points", "95 % interval", "McNemar's p")
    return Grid(f"What relations are worth ({given.n} objects)", head, tuple(rows))


def _boxes(found: Sequence[Agreement]) -> Grid:
    rows = tuple(
        (a.name.replace("_", " "), _share(a.precision), str(a.precision.n), _share(a.recall), str(a.recall.n))
        for a in found
    )
    return Grid("Relations of detected boxes", ("relation", "precision", "said", "recall", "true"), rows)


def _share(figure: Figure) -> str:
    return tenths(figure.value) if figure.n else ""


def prompts_section(rows: Sequence[Asked]) -> list[Section]:
    """Every prompt beside the first; nothing when there was only one."""
    if not rows:
        return []
    best, first = best_of(tuple(rows)), rows[0]
    text = (
        f"One judge, the same {first.card.objects} objects, every prompt. The best by condition given the type is "
        f"{best.name!r}. It was chosen on this split, so its figure is flattered: measure it on another one. "
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


def _row(row: Asked) -> tuple[str, ...]:
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
