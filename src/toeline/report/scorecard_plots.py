"""The plots of a scorecard: who is taken for whom, whether probabilities can be believed, what a second look buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from toeline.report.plot import COLORS, INK, figure, svg
from toeline.report.scorecard_page import Plot

RIGHT, WRONG = COLORS[0], COLORS[1]
INCHES = 5.2  # across: at 400 CSS pixels its letters keep their size
FAINTEST, STRONGEST = 0.05, 0.6  # opacity of a cell; stronger would hide the page's ink on it
LARGEST_DOT = 160.0  # points squared, of the bin that holds most objects


class Bin(NamedTuple):
    """Objects whose top probability lies in one range: its mean, the share that is right, and how many they are."""

    confidence: float
    accuracy: float
    n: int


class BandPoint(NamedTuple):
    """Answers under `threshold` go to a person: their share of all, and the wrong ones among those that do not."""

    threshold: float
    review: float
    errors_left: float


def confusion_plot(true: Sequence[str], counts: Sequence[Sequence[int]], said: Sequence[str], *, what: str) -> Plot:
    """Rows are true, columns are said; each cell has its count and its share of the row, which colors it."""
    large = len(said) > 4
    with figure(INCHES if large else 3.2, INCHES if large else 2.6) as (drawn, axes):
        for row, cells in enumerate(counts):
            for column, count in enumerate(cells):
                _cell(axes, row, column, count, sum(cells), right=true[row] == said[column])
        axes.set(xlim=(-0.5, len(said) - 0.5), ylim=(len(true) - 0.5, -0.5), xlabel="said", ylabel="true")
        axes.set_xticks(range(len(said)), map(_two_lines, said), rotation=90 if large else 0, fontsize=9)
        axes.set_yticks(range(len(true)), map(_two_lines, true), fontsize=9)
        axes.xaxis.set_ticks_position("top")
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        caption = f"{what}: rows are what is true, columns what was said; counts, and shares of the row."
        return Plot(svg(drawn, label=caption), caption, 640 if large else 320)


def _two_lines(name: str) -> str:
    """The last word on a line of its own, so that names take little room beside a table.

    >>> _two_lines("Toe drain- Damaged")
    'Toe drain-\\nDamaged'
    """
    return "\n".join(name.rsplit(" ", 1))


def _cell(axes: Any, row: int, column: int, count: int, total: int, *, right: bool) -> None:
    from matplotlib.patches import Rectangle

    share = count / total if total else 0.0
    color = RIGHT if right else WRONG
    shade = FAINTEST + (STRONGEST - FAINTEST) * share
    axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=color, alpha=shade, linewidth=0))
    if count:
        axes.text(column, row - 0.14, f"{count}", ha="center", va="center", fontsize=10)
        axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", fontsize=7.5)


def reliability_plot(before: Sequence[Bin], after: Sequence[Bin] = ()) -> Plot:
    """How often answers of a given probability are right; the larger the dot, the more objects it stands for."""
    most = max((b.n for b in (*before, *after)), default=1)
    sets = [(before, WRONG, "as scored")] + ([(after, RIGHT, "after temperature")] if after else [])
    with figure(INCHES, 4.2) as (drawn, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="probability = share right")
        for bins, color, label in sets:
            xs, ys = [b.confidence for b in bins], [b.accuracy for b in bins]
            axes.plot(xs, ys, color=color, linewidth=1.5)
            axes.scatter(xs, ys, s=[max(12.0, LARGEST_DOT * b.n / most) for b in bins], color=color, label=label)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.05), xlabel="probability of the answer", ylabel="share right")
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), markerscale=0.7)
        caption = (
            "Reliability: on the dashed line, an answer of 80 % is right 80 times in 100. Larger dots, more objects."
        )
        return Plot(svg(drawn, label=caption), caption, 520)


def band_plot(points: Sequence[BandPoint], suggested: BandPoint | None = None) -> Plot:
    """Errors that are left among the answers nobody looks at, against the share of answers that a person looks at."""
    with figure(INCHES, 4.2) as (drawn, axes):
        axes.plot([p.review for p in points], [p.errors_left for p in points], color=RIGHT, linewidth=1.8)
        if suggested:
            axes.scatter([suggested.review], [suggested.errors_left], s=70, color=WRONG, zorder=3)
            axes.annotate(
                f"under {suggested.threshold:.2f} to a person",
                (suggested.review, suggested.errors_left),
                xytext=(-8 if suggested.review > 0.6 else 8, 8),
                ha="right" if suggested.review > 0.6 else "left",
                textcoords="offset points",
            )
        axes.set(xlim=(0, 1), xlabel="share sent to a person", ylabel="wrong among the rest")
        axes.set_ylim(bottom=0)
        axes.grid(True)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
        caption = (
            "Review band: the least sure answers go to a person first; how many wrong ones are left among the rest."
        )
        return Plot(svg(drawn, label=caption), caption, 520)
