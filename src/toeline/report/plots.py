"""Plots as SVG text that sits in a page: the page's own font, colors that are read on light and on dark paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, NamedTuple

from PIL import Image

from toeline.evaluate.calibration import Bin, ReviewPoint
from toeline.report.document import Plot
from toeline.report.draw import Mark, as_jpeg, data_uri, draw_marks

INK = "#123457"  # stands for the page's text color in a figure; `svg` writes currentColor for it
COLORS: Sequence[str] = (
    "#3b78c9",
    "#d97706",
    "#2e9e4f",
    "#b4418e",
    "#6b7280",
    "#0e9aa7",
    "#a16207",
    "#7c5cd6",
    "#d6336c",
)
LINES: Sequence[Any] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = "osD^vPX*<"
HATCHES = ("", "///", "...", "xxx", "---", "ooo")
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "toeline",  # same data, same bytes
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def series(number: int) -> dict[str, Any]:
    """How the series of that number is drawn: by color, and by line and marker for whoever sees no color."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


@contextmanager
def figure(width: float = 6.4, height: float = 3.6, **more: Any) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure and its axes (`plt.subplots` arguments in `more`) in the style of the pages; inches.

    No window system is touched and no global state is left behind. Keep figures at 6.4 inches or less across: they
    are scaled down on a telephone, and their letters with them.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn, drawn.subplots(**more)


def svg(drawn: Any, *, label: str) -> str:
    """The figure as an <svg> element that fills its container; `label` says in words what it shows."""
    import matplotlib

    text = StringIO()
    with matplotlib.rc_context(STYLE):
        drawn.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    body = text.getvalue()[text.getvalue().index("<svg") :]
    body = re.sub(r' (width|height)="[0-9.]+pt"', "", body, count=2)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    escaped = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return body.replace("<svg", f'<svg role="img" aria-label="{escaped}" class="plot"', 1).replace(INK, "currentColor")


RIGHT, WRONG = COLORS[0], COLORS[1]
INCHES = 5.2  # across: at 400 CSS pixels its letters keep their size
FAINTEST, STRONGEST = 0.05, 0.6  # opacity of a cell; stronger would hide the page's ink on it
LARGEST_DOT = 160.0  # points squared, of the bin that holds most objects


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
    sets = [(before, series(1), "as scored")] + ([(after, series(0), "after temperature")] if after else [])
    with figure(INCHES, 4.2) as (drawn, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="probability = share right")
        for bins, how, label in sets:
            xs, ys = [b.confidence for b in bins], [b.accuracy for b in bins]
            axes.plot(xs, ys, linewidth=1.5, **how, markersize=0)
            sizes = [max(12.0, LARGEST_DOT * b.n / most) for b in bins]
            axes.scatter(xs, ys, s=sizes, color=how["color"], marker=how["marker"], label=label)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.05), xlabel="probability of the answer", ylabel="share right")
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), markerscale=0.7)
        caption = (
            "Reliability: on the dashed line, an answer of 80 % is right 80 times in 100. Larger dots, more objects."
        )
        return Plot(svg(drawn, label=caption), caption, 520)


def band_plot(points: Sequence[ReviewPoint], suggested: ReviewPoint | None = None) -> Plot:
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


PICTURE_PX, QUALITY = 640, 80  # of the longer side of a photograph on the page
FOUND, MISSED, FALSE, SWAPPED = "#3b78c9", "#f0a30a", "#d6336c", "#7c5cd6"


class Curve(NamedTuple):
    """Precision (of a type) at each recall from 0 to 1; and where the thresholds in use are, or None."""

    name: str
    precision: Sequence[float]
    used: tuple[float, float] | None


def precision_plot(curves: Sequence[Curve], *, what: str = "At IoU 0.5") -> Plot:
    """Precision over recall for each type; a dot is what the thresholds in use give."""
    with figure(INCHES, 4.4) as (drawn, axes):
        for n, curve in enumerate(curves):
            last = len(curve.precision) - 1
            xs = [i / last for i in range(last + 1)]
            axes.plot(xs, curve.precision, **series(n), markersize=4, markevery=(0.05 * n, 0.25), label=curve.name)
            if curve.used:
                axes.plot(*curve.used, **series(n), markersize=9)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="recall: share of the objects that are found")
        axes.set_ylabel("precision: share of the boxes that are right")
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
        caption = (
            f"{what}: each type's precision, as average precision reads it; large marks are the thresholds in use."
        )
        return Plot(svg(drawn, label=caption), caption, 520)


KEPT = "*"  # the marker of what was kept


class Epoch(NamedTuple):
    """A validation: epoch (0 is before training), mAP@0.5, mAP@0.5:0.95, and whether it was the best so far."""

    epoch: float
    map_50: float
    map_50_95: float
    best: bool


def learning_plots(losses: Sequence[tuple[float, float]], epochs: Sequence[Epoch]) -> tuple[Plot, Plot]:
    """The loss over epochs, and average precision on the validation split after each."""
    with figure(INCHES, 3.6) as (drawn, axes):
        ys = [y for _, y in losses]
        axes.plot([x for x, _ in losses], ys, color=COLORS[0], linewidth=0.7, alpha=0.5, label="ten steps")
        axes.plot([x for x, _ in losses], running_mean(ys, max(1, len(ys) // 20)), color=COLORS[0], label="its mean")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.set_ylim(bottom=0)
        axes.grid(True)
        axes.legend(loc="best")
        caption = "Loss on random views of the training photographs: places, and how sure of which type."
        first = Plot(svg(drawn, label=caption), caption, 520)
    with figure(INCHES, 3.6) as (drawn, axes):
        xs = [e.epoch for e in epochs]
        axes.plot(xs, [e.map_50 for e in epochs], **series(0), markersize=3, label="mAP@0.5")
        axes.plot(xs, [e.map_50_95 for e in epochs], **series(1), markersize=3, label="mAP@0.5:0.95")
        for e in [e for e in epochs if e.best][-1:]:
            axes.plot([e.epoch], [e.map_50], KEPT, color=COLORS[2], markersize=13, label="kept")
        axes.set(xlabel="epoch", ylabel="average precision", ylim=(0, 1.02))
        axes.grid(True)
        axes.legend(loc="best")
        caption = "Average precision on the validation split, of the averaged weights; epoch 0 is before training."
        return first, Plot(svg(drawn, label=caption), caption, 520)


def marked_picture(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A photograph, at least PICTURE_PX on its longer side, with marks in pixels of the original."""
    scale = PICTURE_PX / max(image.size)
    shown = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    return draw_marks(shown, [_scaled(m, scale) for m in marks])


def _scaled(mark: Mark, factor: float) -> Mark:
    outline = tuple((x * factor, y * factor) for x, y in mark.polygon)
    return Mark(mark.box.scaled(factor), mark.text, mark.color, mark.style, outline)


def picture_plot(image: Image.Image, caption: str) -> Plot:
    """A picture as an <svg> element, which is what a section of a page shows."""
    label = caption.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = (
        f'<svg role="img" aria-label="{label}" class="plot" viewBox="0 0 {image.width} {image.height}" '
        f'xmlns="http://www.w3.org/2000/svg"><image width="{image.width}" height="{image.height}" '
        f'href="{data_uri(as_jpeg(image, quality=QUALITY))}"/></svg>'
    )
    return Plot(text, caption, image.width)


class ValidationPoint(NamedTuple):
    """A validation: the epoch (0 is before training), the share that is right, the mean loss, whether it was kept."""

    epoch: float
    accuracy: float
    loss: float
    kept: bool


def loss_plot(steps: Sequence[tuple[float, float]], checked: Sequence[ValidationPoint]) -> Plot:
    """Loss over epochs: each step's as a thin line, their running mean as a thick one, and validation's as dots."""
    with figure(INCHES, 3.6) as (drawn, axes):
        xs, ys = [x for x, _ in steps], [y for _, y in steps]
        axes.plot(xs, ys, color=COLORS[0], linewidth=0.7, alpha=0.5, label="step, weighted")
        axes.plot(xs, running_mean(ys, max(1, len(ys) // 20)), color=COLORS[0], linewidth=1.8, label="its running mean")
        if checked:
            axes.plot([c.epoch for c in checked], [c.loss for c in checked], **series(1), label="validation")
        axes.set(xlabel="epoch", ylabel="loss per question")
        axes.set_ylim(bottom=0)
        axes.grid(True)
        axes.legend(loc="best")
        caption = "Loss: minus the logarithm of the probability of the true answer, the mean over questions."
        return Plot(svg(drawn, label=caption), caption, 520)


def accuracy_plot(checked: Sequence[ValidationPoint], majority_baseline: float | None) -> Plot:
    """Conditions rightly said on the validation split, and the majority-class baseline."""
    with figure(INCHES, 3.6) as (drawn, axes):
        axes.plot([c.epoch for c in checked], [c.accuracy for c in checked], "o-", color=COLORS[0], label="validation")
        kept = [c for c in checked if c.kept][-1:]
        axes.plot(
            [c.epoch for c in kept], [c.accuracy for c in kept], KEPT, color=COLORS[1], markersize=13, label="kept"
        )
        if majority_baseline is not None:
            axes.axhline(majority_baseline, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="majority class")
        axes.set(xlabel="epoch", ylabel="right, given the type", ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
        axes.grid(True)
        axes.legend(loc="lower right")
        caption = "Conditions rightly said, given the type, vegetation left out, on the validation split; 0: untrained."
        return Plot(svg(drawn, label=caption), caption, 520)


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean over the values up to `reach` places before and after.

    >>> running_mean([1, 2, 6], 1)
    [1.5, 3.0, 4.0]
    """
    windows = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(w) / len(w) for w in windows]
