"""Plots of a detector: its precision over recall, its training, and photographs with what it did on them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from toeline.report.draw import Mark, as_jpeg, draw_marks
from toeline.report.finetune_plots import running_mean
from toeline.report.plot import COLORS, figure, svg
from toeline.report.scorecard_page import Plot

INCHES = 5.2
PICTURE_PX, QUALITY = 640, 80  # of the longer side of a photograph on the page
RIGHT, MISSED, FALSE, SWAPPED = "#3b78c9", "#f0a30a", "#d6336c", "#7c5cd6"


class Curve(NamedTuple):
    """Precision (of a type) at each recall from 0 to 1; and where the thresholds in use are, or None."""

    name: str
    precision: Sequence[float]
    used: tuple[float, float] | None


def precision_plot(curves: Sequence[Curve], *, what: str = "At IoU 0.5") -> Plot:
    """Precision over recall for each type; a dot is what the thresholds in use give."""
    with figure(INCHES, 4.4) as (drawn, axes):
        for n, curve in enumerate(curves):
            color = COLORS[n % len(COLORS)]
            last = len(curve.precision) - 1
            axes.plot([i / last for i in range(last + 1)], curve.precision, color=color, label=curve.name)
            if curve.used:
                axes.plot(*curve.used, "o", color=color, markersize=8)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="recall: share of the objects that are found")
        axes.set_ylabel("precision: share of the boxes that are right")
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
        caption = f"{what}: each type's precision, as average precision reads it; dots are the thresholds in use."
        return Plot(svg(drawn, label=caption), caption, 520)


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
        axes.plot(xs, [e.map_50 for e in epochs], "o-", markersize=3, color=COLORS[0], label="mAP@0.5")
        axes.plot(xs, [e.map_50_95 for e in epochs], "o-", markersize=3, color=COLORS[2], label="mAP@0.5:0.95")
        for e in [e for e in epochs if e.best][-1:]:
            axes.plot([e.epoch], [e.map_50], "o", color=COLORS[1], markersize=11, label="kept")
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
    data = b64encode(as_jpeg(image, quality=QUALITY)).decode("ascii")
    label = caption.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = (
        f'<svg role="img" aria-label="{label}" class="plot" viewBox="0 0 {image.width} {image.height}" '
        f'xmlns="http://www.w3.org/2000/svg"><image width="{image.width}" height="{image.height}" '
        f'href="data:image/jpeg;base64,{data}"/></svg>'
    )
    return Plot(text, caption, image.width)
