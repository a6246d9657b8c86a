"""Pages and plots for whoever sees no color, and by day and by night: contrast, marks, and axe in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from toeline.analysis import plots as analysis_plots
from toeline.evaluate.calibration import Bin
from toeline.report import plots
from toeline.report.draw import luminance
from toeline.report.plots import COLORS, Curve, Epoch, ValidationPoint

TEMPLATES = Path(plots.__file__).parent / "templates"
CSS = (TEMPLATES / "report.css").read_text(encoding="utf-8")
READ = 4.5  # WCAG 2, text
SEEN = 3.0  # WCAG 2, parts of a picture
PAIRS = [
    *((text, paper) for text in ("ink", "soft", "link") for paper in ("paper", "card", "wash")),
    *(("warn", paper) for paper in ("paper", "card", "wash", "warn-wash")),
]


def variables(dark: bool) -> dict[str, str]:
    """The colors of a page: those of :root, and for the dark those that it replaces."""
    roots = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", root)) for root in roots]
    chosen = {**found[0], **(found[1] if dark else {})}
    return {
        name: color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:]) for name, color in chosen.items()
    }


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("text", "paper"), PAIRS)
def test_words_can_be_read_on_their_paper(text: str, paper: str, dark: bool) -> None:
    colors = variables(dark)
    assert contrast(colors[text], colors[paper]) >= READ, f"--{text} on --{paper}"


@pytest.mark.parametrize("dark", [False, True])
def test_moods_can_be_read(dark: bool) -> None:
    css = (TEMPLATES / "scorecard.css").read_text(encoding="utf-8")
    moods = re.findall(r"\.(\w+) \{ --mood: (#\w{6}); \}", css)
    assert len(moods) == 6
    for name, color in moods[3:] if dark else moods[:3]:
        assert contrast(color, variables(dark)["card"]) >= READ, name


def test_nothing_is_faded_to_be_read() -> None:
    for css in (*TEMPLATES.glob("*.css"), *(Path(analysis_plots.__file__).parent / "templates").glob("*.css")):
        for rule, body in re.findall(r"([^{}]+)\{([^{}]*opacity: \.\d+[^{}]*)\}", css.read_text(encoding="utf-8")):
            assert re.search(r"::(after|before|backdrop)|svg|\.scale|figure\.map", rule + body), rule.strip()


@pytest.mark.parametrize("color", COLORS)
def test_lines_are_seen_on_every_paper(color: str) -> None:
    assert min(contrast(color, variables(dark)["card"]) for dark in (False, True)) >= SEEN


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, module: Any) -> Iterator[list[Any]]:
    """The axes of every figure that is made in the block."""
    seen: list[Any] = []
    figure = plots.figure

    @contextmanager
    def watching(*size: float, **more: Any) -> Iterator[tuple[Any, Any]]:
        with figure(*size, **more) as (drawn, axes):
            seen.append(axes)
            yield drawn, axes

    monkeypatch.setattr(module, "figure", watching)
    yield seen


def looks(axes: Any) -> list[tuple[str, Any]]:
    """Color, and what else tells it, of everything with a name in the legend or a color of its own."""
    lines = [
        (to_hex(line.get_color()), (line.get_linestyle(), str(line.get_marker()), line.get_linewidth()))
        for line in axes.lines
    ]
    bars = [(to_hex(bars.patches[0].get_facecolor()), bars.patches[0].get_hatch()) for bars in axes.containers]
    dots = [
        (to_hex(dots.get_facecolor()[0]), len(dots.get_paths()[0].vertices))
        for dots in axes.collections
        if len(dots.get_facecolor())
    ]
    return [*lines, *bars, *dots]


def require_told_apart(found: Sequence[tuple[str, Any]]) -> None:
    assert len(found) > 1
    for (color, how), (other, its) in combinations(found, 2):
        assert color == other or how != its, f"{color} and {other} differ in color only: {how}"


def test_series_differ_in_more_than_color(monkeypatch: pytest.MonkeyPatch) -> None:
    bins = [Bin(0.5, 0.4, 10), Bin(0.9, 0.8, 20)]
    points = [ValidationPoint(0, 0.4, 1.0, False), ValidationPoint(1, 0.6, 0.7, True)]
    with watched(monkeypatch, plots) as seen:
        plots.reliability_plot(bins, bins)
        plots.precision_plot([Curve(f"type {n}", np.linspace(1, 0, 11).tolist(), (0.5, 0.5)) for n in range(6)])
        plots.learning_plots([(0, 1.0), (1, 0.5)], [Epoch(0, 0.1, 0.05, False), Epoch(1, 0.3, 0.2, True)])
        plots.loss_plot([(0, 1.0), (1, 0.5)], points)
        plots.accuracy_plot(points, 0.5)
    assert len(seen) == 6
    for axes in seen:
        require_told_apart(looks(axes))


def test_parts_of_a_bar_differ_in_more_than_color(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch, analysis_plots) as seen:
        parts = {name: [1.0, 2.0] for name in ("train", "valid", "test", "more")}
        analysis_plots._stacked(["a", "b"], parts, label="x", caption="x")
    require_told_apart(looks(seen[0]))


def test_captions_hold_by_day_and_by_night() -> None:
    """What is stronger is darker on white paper and lighter on black: a caption says neither."""
    code = [f for top in (plots, analysis_plots) for f in Path(top.__file__).parent.glob("*.py")]
    said = [(f.name, word) for f in code for word in re.findall(r"\b[Tt]he (?:darker|lighter)\b", f.read_text("utf-8"))]
    assert said == []
