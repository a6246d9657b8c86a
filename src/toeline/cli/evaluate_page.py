"""A scorecard in the plain values of the report: figures, plots and mistakes that a page can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from toeline.cli.evaluate_run import Evaluated
from toeline.cli.show import some
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.cases import Judged
from toeline.evaluate.figure import Figure
from toeline.evaluate.scorecard import HEADLINE, UNREADABLE, Scorecard
from toeline.evaluate.shares import normal_condition, side_of
from toeline.report.mistakes import Wrong, mistake_groups
from toeline.report.page import TruthFigure
from toeline.report.scorecard_page import Section
from toeline.report.scorecard_sections import confusion_section, cost_section, headline, pairs_grid
from toeline.report.style import tenths

TILES = (
    (HEADLINE, "condition, given the type"),
    ("accuracy", "class, every type"),
    ("missed_defects", "of defects missed"),
)


def shown(figure: Figure) -> TruthFigure:
    """A figure as pages show it."""
    value = figure.value if figure.n else 0.0  # NaN would be shown as such; n says that there is nothing
    label = f"{figure.label} (lower is better)" if figure.lower_is_better else figure.label
    return TruthFigure(
        label,
        value,
        *figure.interval,
        figure.n,
        figure.floor if figure.n else None,
        figure.train_floor if figure.n else None,
        figure.target,
        figure.verdict,
    )


def headline_of(done: Evaluated, card: Scorecard) -> str:
    """The headline of an evaluation, in words; objects that were not found are named, because they have no answer."""
    where = f"{some(card.photographs, 'photograph')} of {done.split.name}"
    words = headline(shown(card.headline), right=card.headline.count or 0, where=where)
    if done.unjudged:
        words += f" This counts objects that were found: {card.objects:,} of {card.objects + done.unjudged:,}."
    return words


def figure_sections(card: Scorecard, *, where_found: bool = False) -> list[Section]:
    """All figures of a card: overall, then by condition, type and class; `where_found` of objects that were found."""
    clusters = "photographs" if card.cluster == "photo" else "flight lines"
    rests = (
        f"{card.objects:,} objects, {card.asked:,} of which leave a choice and were asked about. Intervals are the "
        f"wider of Wilson's and a bootstrap that draws whole {clusters} ({card.clusters} of them; {card.draws:,} draws "
        f"from seed {card.seed}), because what stands in one of them hangs together."
    )
    text = [rests]
    if card.unreadable:
        text.append(f"{card.unreadable} answers were no class name; they count as wrong.")
    overall = [f for f in card.figures if "/" not in f.key]
    if where_found:
        text.append("These are the judge's answers to objects that were found; what was not found is above.")
    title = "The judge, where an object was found" if where_found else "Accuracy"
    sections = [Section(title, tuple(text), tuple(map(shown, overall)))]
    for title, prefixes in (
        ("By condition", ("condition", "condition_given_type")),
        ("By type", ("type",)),
        ("By class", ("class",)),
    ):
        figures = [shown(f) for prefix in prefixes for f in card.under(prefix)]
        sections += [Section(title, figures=tuple(figures))] if figures else []
    return sections


def card_sections(done: Evaluated, card: Scorecard, taxonomy: Taxonomy) -> list[Section]:
    """Confusion, mistakes and costs of one evaluation."""
    sides = (normal_condition(taxonomy), [int(v) for v in side_of(taxonomy)])
    confusion = confusion_section(card.confusion.names, card.confusion.said, card.confusion.counts, sides)
    return [
        confusion,
        mistakes_section(done, taxonomy),
        cost_section(seconds_of(done), card.asked, done.folder.run.get("memory", {})),
    ]


def tiles_of(done: Evaluated, card: Scorecard) -> list[tuple[str, str]]:
    """The numbers that are looked for first, with what they are."""
    tiles = [(tenths(card[key].value), what) for key, what in TILES if card[key].n]
    return [*tiles, (f"{card.objects:,}", "objects"), *time_tile(done)]


def time_tile(done: Evaluated) -> list[tuple[str, str]]:
    """Seconds per photograph, where they are known."""
    seconds = seconds_of(done)
    return [(f"{fmean(seconds):.2f} s", "per photograph")] if seconds else []


def cost_of(done: Evaluated, card: Scorecard) -> dict[str, Any]:
    """Seconds and bytes as scorecard.json holds them; null where they are not known."""
    seconds = seconds_of(done)
    return {
        "seconds_per_photograph": fmean(seconds) if seconds else None,
        "seconds_per_object": sum(seconds) / card.asked if seconds and card.asked else None,
        "peak_bytes": done.folder.run.get("memory", {}),
    }


def seconds_of(done: Evaluated) -> list[float]:
    """What each photograph took; none where it is not known."""
    return [float(r["seconds"]) for r in done.folder.done.values() if not r["failed"] and r["seconds"]]


def mistakes_section(done: Evaluated, taxonomy: Taxonomy) -> Section:
    """The worst mistakes, grouped by what was taken for what."""
    wrong = [c for c in done.cases if not c.right]
    if not wrong:
        return Section("Mistakes", ("There are none.",))
    colors = {c.name: taxonomy.color(c.condition) for c in taxonomy.classes}
    text = (
        f"{len(wrong)} of {len(done.cases)} objects were named wrongly. By pair of classes, the most frequent first; "
        f"in each the mistakes that the judge was surest of. The box has the color of the true condition."
    )
    pairs = pairs_grid((c.true_class, c.said_class or UNREADABLE) for c in wrong)
    return Section("Mistakes", (text,), grids=(pairs,), mistakes=mistake_groups(_wrong(done, wrong), colors))


def _wrong(done: Evaluated, cases: Sequence[Judged]) -> Iterable[Wrong]:
    files = {photo.name: photo.path for photo in done.split.photos}
    for c in cases:
        said = c.said_class or UNREADABLE
        yield Wrong(c.photo, files[c.photo], c.thing_id, c.box, c.true_class, said, c.probabilities)
