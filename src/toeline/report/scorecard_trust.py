"""The section of a scorecard's page about probabilities: whether they can be believed, and what a second look buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toeline.report.scorecard_page import Grid, Section
from toeline.report.scorecard_plots import BandPoint, Bin, band_plot, reliability_plot
from toeline.report.style import tenths

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)  # of answers sent to a person, at which the table says what is left
USE = "Temperature and threshold are in calibration.json; toeline inspect --calibration FILE uses both, for this judge."


class Trust(NamedTuple):
    """How far probabilities can be believed, over `n` objects; a perfect judge shows `by_chance` on as many."""

    n: int
    error: float
    by_chance: float
    brier: float
    log_loss: float
    bins: Sequence[Bin]


class Suggested(NamedTuple):
    """A threshold that was chosen on another split so that at most `wrong` is left, and what it does on this one."""

    point: BandPoint
    kept: int
    mistakes: int
    wrong: float


def calibration_section(
    before: Trust,
    after: Trust | None,
    band: Sequence[BandPoint],
    *,
    fitted: str = "",
    suggested: Suggested | None = None,
) -> Section:
    """`fitted` says in words what the temperature is and where it was fitted; empty when it was not."""
    text = [
        f"Over the {before.n:,} objects that were asked about. The calibration error is the mean distance between "
        f"the probability of an answer and the share of such answers that is right, in bins of equal count; with few "
        f"objects it is never 0, so what chance alone gives stands beside it."
    ]
    text += [fitted] if fitted else ["No temperature was fitted: that needs another split (--calibrate)."]
    text += [_advice(suggested), USE] if suggested else []
    return Section(
        "Probabilities",
        tuple(text),
        plots=(
            reliability_plot(before.bins, after.bins if after else ()),
            band_plot(band, suggested.point if suggested and suggested.kept else None),
        ),
        grids=(_numbers(before, after), _bins(before, after), _band(band)),
    )


def _advice(suggested: Suggested) -> str:
    point, kept = suggested.point, suggested.kept
    words = (
        f"Suggested: a person looks at answers under {point.threshold:.2f}. That was chosen on the other split so that "
        f"at most {tenths(suggested.wrong)} of the rest are wrong there. "
    )
    if not kept:
        return words + "Here that is every answer: with this judge a person has to look at all of them."
    return words + (
        f"Here it sends {tenths(point.review)} to a person and leaves {suggested.mistakes:,} of {kept:,} wrong "
        f"({tenths(point.errors_left)})."
    )


def _numbers(before: Trust, after: Trust | None) -> Grid:
    names = ("calibration error (ECE)", "the same by chance alone", "Brier score, 0 to 2", "log loss, nats")
    sets = [before, after] if after else [before]
    columns = [(tenths(t.error), tenths(t.by_chance), f"{t.brier:.3f}", f"{t.log_loss:.3f}") for t in sets]
    rows = tuple(zip(names, *columns, strict=True))
    return Grid("", ("measured", "as scored", "after temperature")[: len(sets) + 1], rows)


def _bins(before: Trust, after: Trust | None) -> Grid:
    sets = [("as scored", before)] + ([("after temperature", after)] if after else [])
    rows = [(f"{tenths(b.confidence)}", tenths(b.accuracy), str(b.n), name) for name, t in sets for b in t.bins]
    head = ("mean probability", "share right", "objects", "which")
    return Grid("The plotted probabilities", head, tuple(rows), folded=True)


def _band(band: Sequence[BandPoint]) -> Grid:
    """The first point of the curve that sends at least each of SHARES to a person."""
    chosen = [next((p for p in band if p.review >= share), None) for share in SHARES]
    points = list(dict.fromkeys(p for p in chosen if p is not None and p.review < 1))
    rows = tuple((tenths(p.review), f"{p.threshold:.3f}", tenths(p.errors_left)) for p in points)
    return Grid("What a second look buys", ("to a person", "answers under", "wrong among the rest"), rows)
