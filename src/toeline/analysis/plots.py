"""The plots of the report, each a function of one section. Sizes are such that letters stay readable on a telephone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from toeline.analysis.counts import RESIZED_PX, THIN_PX, BoxSection, Counts, Spread, Together
from toeline.analysis.power import Answer, Proof, ProofSection
from toeline.analysis.relations import RelationSection
from toeline.core.taxonomy import Taxonomy
from toeline.report.document import Plot
from toeline.report.draw import ink_on
from toeline.report.plots import COLORS, HATCHES, INK, figure, svg

WIDE = 4.9  # inches: half a page on a desk, and all of a telephone's width at full size
LINE = 0.3  # inches that a bar takes
DIRECTIONS = ("above", "below", "left_of", "right_of", "inside")


def class_plot(counts: Counts) -> Plot:
    """Objects per class, stacked by split."""
    return _stacked(
        [c.name for c in counts.by_class],
        {s: [c.by_split[s] for c in counts.by_class] for s in counts.by_split},
        label="Objects per class",
        caption="Objects per class, by split.",
    )


def thirds_plot(boxes: BoxSection, words: Taxonomy) -> Plot:
    """Shares of the thirds of the photograph per type."""
    rows = [b for b in boxes.by_type if b.small.n]
    parts = {part: [100 * getattr(b.thirds, part) / b.small.n for b in rows] for part in ("top", "middle", "bottom")}
    return _stacked(
        [words.spoken(b.name) for b in rows],
        parts,
        label="Where the centers lie, in percent",
        caption="Thirds of the photograph in which the centers lie, % of each type.",
        totals=False,
    )


def direction_plot(relations: RelationSection, words: Taxonomy) -> Plot | None:
    """How each type lies to its nearest neighbor of another type."""
    rows = [p for p in relations.pairs if p.subject != p.other and p.nearest_distance.n]
    if not rows:
        return None
    parts = {
        name.replace("_", " "): [100 * p.nearest[name].n / p.nearest[name].of for p in rows] for name in DIRECTIONS
    }
    return _stacked(
        [f"{words.spoken(p.subject)} → {words.spoken(p.other)}" for p in rows],
        parts,
        label="Direction to the nearest neighbor of a type, in percent",
        caption="The subject lies above, below, ... its nearest neighbor of the other type, % of the subjects that "
        "have one. What is missing to 100 lies about the same center.",
        totals=False,
    )


def _stacked(
    names: Sequence[str], parts: dict[str, list[Any]], *, label: str, caption: str, totals: bool = True
) -> Plot:
    """Horizontal bars, one for each name, of parts laid end to end."""
    with figure(WIDE, 0.9 + LINE * len(names)) as (drawn, axes):
        left = np.zeros(len(names))
        for color, hatch, (part, values) in zip(COLORS, cycle(HATCHES), parts.items(), strict=False):
            how = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            axes.barh(range(len(names)), values, left=left, label=part, height=0.7, **how)
            left += values
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        if totals:
            for at, total in enumerate(left):
                axes.annotate(f"{total:.0f}", (total, at), (3, 0), textcoords="offset points", va="center", size=10)
            axes.margins(x=0.1)
        else:
            axes.set_xlim(0, 100)
        if len(parts) > 1:
            drawn.legend(loc="outside upper left", ncols=3, handlelength=1, fontsize=10, columnspacing=1.2)
        return Plot(svg(drawn, label=label), caption)


def per_photo_plot(table_counts: Sequence[int]) -> Plot:
    """How many photographs have how many objects."""
    most = max(table_counts, default=0)
    step = max(1, most // 30)
    with figure(WIDE, 2.6) as (drawn, axes):
        axes.hist(table_counts, bins=np.arange(-0.5, most + step + 0.5, step), color=COLORS[0], rwidth=0.85)
        axes.set_xlabel("objects in a photograph")
        axes.set_ylabel("photographs")
        axes.xaxis.get_major_locator().set_params(integer=True)
        return Plot(svg(drawn, label="Histogram of objects per photograph"), "Objects per photograph.")


def heat_plot(boxes: BoxSection, words: Taxonomy) -> Plot:
    """Where each type lies: the stronger the color, the more of its objects cover that spot."""
    shown = [b.name for b in boxes.by_type if b.small.n]
    columns, rows = 2, max(1, (len(shown) + 1) // 2)
    with figure(WIDE, 2.55 * rows, nrows=rows, ncols=columns, squeeze=False) as (drawn, axes):
        for at, panel in enumerate(axes.flat):
            panel.set_axis_off()
            if at < len(shown):
                _heat_panel(panel, np.array(boxes.heat[shown[at]]), words.spoken(shown[at]), COLORS[at % len(COLORS)])
        text = "The stronger the color, the more objects of the type cover that place; "
        return Plot(svg(drawn, label="Heat maps of where each type lies"), f"{text}each type has its own scale.")


def _heat_panel(panel: Any, heat: Any, name: str, color: str) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    peak = float(heat.max())
    pixels = np.empty((*heat.shape, 4))
    pixels[..., :3] = to_rgb(color)
    pixels[..., 3] = heat / peak if peak else 0
    panel.imshow(pixels, extent=(0, 1, 1, 0), interpolation="nearest")
    panel.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=INK, linewidth=0.8))
    panel.set_title(f"{name} (peak {100 * peak:.0f} %)", fontsize=10.5)


def size_plot(boxes: BoxSection) -> Plot:
    """The shorter side of the boxes after a resize, per class."""
    rows = [b for b in boxes.by_class if b.small.n] or [b for b in boxes.by_type if b.small.n]
    with figure(WIDE, 1.0 + LINE * len(rows)) as (drawn, axes):
        _boxes(axes, [(b.name, b.small.short_px) for b in rows])
        axes.set_xscale("log")
        axes.axvline(THIN_PX, color=COLORS[1], linestyle="--", linewidth=1.2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(f"shorter side in pixels at {RESIZED_PX}")
        text = f"Shorter side with the photograph resized to {RESIZED_PX} pixels: least, quartiles, most. Dashed: "
        return Plot(svg(drawn, label="Box sizes per class"), f"{text}{THIN_PX} pixels, one step of a detector's grid.")


def _boxes(axes: Any, rows: Sequence[tuple[str, Spread]]) -> None:
    stats = [
        {"label": name, "med": s.median, "q1": s.q1, "q3": s.q3, "whislo": max(s.min or 0, 0.5), "whishi": s.max}
        for name, s in rows
    ]
    line = {"color": INK, "linewidth": 0.9}
    axes.bxp(
        stats,
        orientation="horizontal",
        showfliers=False,
        patch_artist=True,
        widths=0.6,
        boxprops={"facecolor": COLORS[0], "edgecolor": INK, "linewidth": 0.8},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def together_plot(together: Together) -> Plot:
    """Photographs that hold both classes, colored by lift."""
    n, names = len(together.names), list(together.names)
    with figure(6.4, 1.7 + 0.45 * n) as (drawn, axes):
        for i in range(n):
            for j in range(n):
                axes.add_patch(_cell(i, j, together.lift[i][j]))
                less = " −" if i != j and (together.lift[i][j] or 1) < 1 else ""
                axes.text(j, i, f"{together.together[i][j]}{less}", ha="center", va="center", fontsize=10)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_xticks(range(n), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), names)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        text = "Photographs that hold both; on the diagonal, that hold the class. Blue: together more often than by "
        return Plot(
            svg(drawn, label="Co-occurrence of classes"),
            f"{text}chance (lift over 1), orange and −: less often.",
            sideways=True,
        )


def _cell(row: int, column: int, lift: float | None) -> Any:
    from matplotlib.patches import Rectangle

    strength = 0.0 if lift is None or row == column else min(abs(np.log2(max(lift, 0.25))) / 2, 1.0) * 0.75
    color = COLORS[0] if (lift or 0) >= 1 else COLORS[1]
    corner = (column - 0.48, row - 0.48)
    return Rectangle(corner, 0.96, 0.96, facecolor=color, alpha=strength, linewidth=0)


def proof_plot(proof: ProofSection, split: str) -> Plot | None:
    """What the lower end of the interval would be if every object of a group were right, against the target."""
    mine = [p for p in proof.proofs if p.split == split and p.scope != "all"]
    rows = [p for p in mine if p.answer is not Answer.NOTHING_TO_SHOW]
    if not rows:
        return None
    with figure(WIDE, 0.9 + LINE * len(rows)) as (drawn, axes):
        colors = [COLORS[2] if p.right_needed is not None else COLORS[1] for p in rows]
        few = [HATCHES[1] if p.right_needed is None else "" for p in rows]
        lows = [100 * p.best.low for p in rows]
        axes.barh(range(len(rows)), lows, color=colors, hatch=few, edgecolor=INK, linewidth=0, height=0.7)
        for at, (p, color) in enumerate(zip(rows, colors, strict=True)):
            axes.annotate(
                f"n {p.n}", (0, at), (4, 0), textcoords="offset points", va="center", size=10, color=ink_on(color)
            )
        axes.axvline(100 * proof.target, color=INK, linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(rows)), [_short(p) for p in rows])
        axes.set_xlim(0, 100)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        text = f"{split}: the most that can be shown, in %, if every answer is right (lower end of the 95 % interval). "
        return Plot(
            svg(drawn, label=f"What {split} can show"), f"{text}Dashed: the target. Orange, hatched: too few objects."
        )


def _short(p: Proof) -> str:
    return {"decided": "all conditions", "type": p.name.replace("_", " "), "condition": f"{p.name} (all)"}.get(
        p.scope, p.name
    )
