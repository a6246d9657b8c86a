"""The sections of a scorecard's page, each from plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from toeline.report.page import TruthFigure
from toeline.report.scorecard_page import Grid, Section
from toeline.report.scorecard_plots import confusion_plot
from toeline.report.style import tenths

GB, GIB = 1e9, 2**30


def headline(figure: TruthFigure, *, right: int, where: str) -> str:
    """The one figure that counts, in plain words, with what it rests on.

    >>> print(headline(TruthFigure("x", 0.5, 0.41, 0.59, 100, 0.55), right=50, where="40 photographs of valid"))
    Told its type, the judge named the right condition of 50 of 100 objects on 40 photographs of valid: 50.0% (95 % interval 41.0% to 59.0%). The most common condition of each type, without a look at the picture, is right for 55.0%: not shown to be better or worse than that.
    """  # noqa: E501
    if not figure.n:
        return f"On {where} no object was judged whose type leaves a choice, so there is no headline."
    words = (
        f"Told its type, the judge named the right condition of {right:,} of {figure.n:,} objects on {where}: "
        f"{tenths(figure.value)} (95 % interval {tenths(figure.low)} to {tenths(figure.high)})."
    )
    if figure.floor is not None:
        words += (
            f" The most common condition of each type, without a look at the picture, is right for "
            f"{tenths(figure.floor)}: {against(figure, figure.floor)} that."
        )
    if figure.target is not None:
        words += f" More than {100 * figure.target:g}% is the target: {figure.verdict}."
    return words


def against(figure: TruthFigure, floor: float) -> str:
    """What an interval says of a floor, in words."""
    if figure.low > floor:
        return "shown to be better than"
    return "shown to be worse than" if figure.high < floor else "not shown to be better or worse than"


def confusion_section(
    names: Sequence[str], said: Sequence[str], counts: Sequence[Sequence[int]], sides: tuple[str, Sequence[int]]
) -> Section:
    """Who is taken for whom. `said` may name one column more than `names`, for unreadable answers, shown if there are.

    `sides` is the name of the normal condition, and for each of `said` 0 if it is normal, 1 if not, -1 if neither.
    """
    wide = len(said) if any(sum(row[len(names) :]) for row in counts) else len(names)
    columns, shown = list(said[:wide]), [list(row[:wide]) for row in counts]
    normal, side = sides
    two = [normal, f"not {normal}"]
    small = collapsed(shown, side)
    return Section(
        "Confusion",
        plots=(
            confusion_plot(names, shown, columns, what="Every class"),
            confusion_plot(two, small, two, what=f"{normal.capitalize()} or not, every type"),
        ),
        grids=(
            Grid("Every class, counts", ("true \\ said", *columns), _rows(names, shown), folded=True),
            Grid(f"{normal.capitalize()} or not, counts", ("true \\ said", *two), _rows(two, small), folded=True),
        ),
    )


def collapsed(counts: Sequence[Sequence[int]], side: Sequence[int]) -> list[list[int]]:
    """Counts of classes as counts of the two sides that they are on; what is on neither is left out.

    >>> collapsed([[5, 1, 2], [0, 4, 3], [1, 1, 6]], [0, 1, 1])
    [[5, 3], [1, 14]]
    """
    total = [[0, 0], [0, 0]]
    for true, row in zip(side, counts, strict=False):
        for said, count in zip(side, row, strict=False):
            if said >= 0:
                total[true][said] += count
    return total


def _rows(names: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, *map(str, row)) for name, row in zip(names, counts, strict=True))


LOSSES = {  # as evaluation sorts them -> in words
    "right": "found, and its class is right",
    "wrong_condition": "found, and its condition is wrong",
    "wrong_type": "found in its place, as another type",
    "misplaced": "found as its type, overlapping too little",
    "missed": "not found",
    "double": "a second finding of the same object",
    "false": "a finding of nothing",
}


def cost_section(seconds: Sequence[float], objects: int, memory: Mapping[str, int]) -> Section:
    """Time and memory. `seconds` is one figure per photograph, `objects` how many were asked about, `memory` bytes."""
    rows = []
    if total := sum(seconds):
        rows += [
            ("seconds per photograph, mean", f"{fmean(seconds):.3f}"),
            ("seconds per photograph, median", f"{median(seconds):.3f}"),
            ("seconds per photograph, slowest", f"{max(seconds):.3f}"),
            ("seconds per object that was asked about", f"{total / objects:.3f}" if objects else ""),
            ("seconds in all", f"{total:.1f}"),
        ]
    names = {"process": "most memory of the process", "gpu": "most memory of the GPU"}
    rows += [(names.get(n, n), f"{b / GB:.2f} GB ({b / GIB:.2f} GiB)") for n, b in memory.items() if b]
    text = (
        "From opening a photograph to its last answer, one at a time; the first one warms up. Loading is not counted.",
    )
    return Section("Time and memory", text if total else (), grids=(Grid("", ("measured", "value"), tuple(rows)),))


def pairs_grid(wrong: Iterable[tuple[str, str]]) -> Grid:
    """How often each true class was called another one, the most frequent first."""
    rows = Counter(wrong).most_common()
    return Grid("Which mistakes", ("true", "said", "objects"), tuple((a, b, str(n)) for (a, b), n in rows), words=2)
