"""Curves of a training: the loss of each step, and what validation said at the end of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toeline.report.plot import COLORS, INK, figure, svg
from toeline.report.scorecard_page import Plot

INCHES = 5.2


class Checked(NamedTuple):
    """A validation: the epoch (0 is before training), the share that is right, the mean loss, whether it was kept."""

    epoch: float
    accuracy: float
    loss: float
    kept: bool


def loss_plot(steps: Sequence[tuple[float, float]], checked: Sequence[Checked]) -> Plot:
    """Loss over epochs: each step's as a thin line, their running mean as a thick one, and validation's as dots."""
    with figure(INCHES, 3.6) as (drawn, axes):
        xs, ys = [x for x, _ in steps], [y for _, y in steps]
        axes.plot(xs, ys, color=COLORS[0], linewidth=0.7, alpha=0.5, label="step, weighted")
        axes.plot(xs, running_mean(ys, max(1, len(ys) // 20)), color=COLORS[0], linewidth=1.8, label="its running mean")
        if checked:
            axes.plot([c.epoch for c in checked], [c.loss for c in checked], "o-", color=COLORS[1], label="validation")
        axes.set(xlabel="epoch", ylabel="loss per question")
        axes.set_ylim(bottom=0)
        axes.grid(True)
        axes.legend(loc="best")
        caption = "Loss: minus the logarithm of the probability of the true answer, the mean over questions."
        return Plot(svg(drawn, label=caption), caption, 520)


def accuracy_plot(checked: Sequence[Checked], floor: float | None) -> Plot:
    """Conditions rightly said on the validation split, and what needs no pixel."""
    with figure(INCHES, 3.6) as (drawn, axes):
        axes.plot([c.epoch for c in checked], [c.accuracy for c in checked], "o-", color=COLORS[0], label="validation")
        kept = [c for c in checked if c.kept][-1:]
        axes.plot(
            [c.epoch for c in kept], [c.accuracy for c in kept], "o", color=COLORS[1], markersize=11, label="kept"
        )
        if floor is not None:
            axes.axhline(floor, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="without a pixel")
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
