"""Plots as SVG text that sits in a page: the page's own font, colors that are read on light and on dark paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

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
