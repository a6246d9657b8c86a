"""Draws docs/img/relations.svg: one panel for each relation, and refuses to if a relation does not hold as drawn.

python docs/img/relations.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

from toeline.core.box import Box
from toeline.core.scene import Instance, Scene
from toeline.prompts.relations import around, nearest, relate

WIDE, HIGH = 200, 150  # pixels of one panel's photograph
MARGIN, CAPTION = 16, 46
COLUMNS = 3
FILL = {"slope_drain": "#4a78b5", "toe_drain": "#2f9a94", "rock_toe": "#a0815c", "vegetation": "#6aa84f"}


class Panel(NamedTuple):
    title: str
    note: str
    instances: tuple[Instance, ...]
    holds: tuple[tuple[str, str, str], ...]
    marks: str = ""  # extra SVG over the boxes


def instance(name: str, kind: str, *xyxy: float) -> Instance:
    return Instance(name, kind, Box(*xyxy))


def dot(x: float, y: float) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="2.6" fill="#fff" stroke="#222"/>'


def line(x1: float, y1: float, x2: float, y2: float, color: str = "#222", dash: str = "3 2") -> str:
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="{color}" stroke-width="1.6" stroke-dasharray="{dash}"/>'


def word(x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="10" fill="#222">{escape(text)}</text>'


S, T, R, V = "slope_drain", "toe_drain", "rock_toe", "vegetation"
PANELS = (
    Panel(
        "above, below",
        "for their size, centers further apart down than across",
        (instance("s", S, 92, 14, 108, 110), instance("t", T, 8, 100, 192, 124)),
        (("s", "above", "t"), ("t", "below", "s")),
        dot(100, 62) + dot(100, 112) + line(100, 62, 100, 112),
    ),
    Panel(
        "left_of, right_of",
        "the same, further apart across than down",
        (instance("r", R, 8, 84, 92, 118), instance("s", S, 98, 20, 114, 120)),
        (("r", "left_of", "s"), ("s", "right_of", "r")),
        dot(50, 101) + dot(106, 70) + line(50, 101, 106, 101) + line(106, 101, 106, 70),
    ),
    Panel(
        "neither column nor row shared",
        "the wider of the two gaps decides: here above",
        (instance("r", R, 14, 16, 70, 44), instance("v", V, 92, 92, 150, 134)),
        (("r", "above", "v"),),
        line(70, 44, 92, 44, "#b33") + line(92, 44, 92, 92) + word(76, 40, "22") + word(96, 72, "48"),
    ),
    Panel(
        "at_lower_end_of",
        "bottom edge within 3 % of the diagonal",
        (instance("s", S, 92, 14, 108, 104), instance("t", T, 8, 109, 192, 132)),
        (("t", "at_lower_end_of", "s"), ("t", "below", "s")),
        '<line x1="92" y1="104" x2="108" y2="104" stroke="#b33" stroke-width="3"/>' + word(112, 107, "bottom edge"),
    ),
    Panel(
        "inside (and so overlaps)",
        "90 % of the subject or more; then no direction",
        (instance("r", R, 20, 50, 180, 120), instance("v", V, 30, 60, 78, 92)),
        (("v", "inside", "r"), ("v", "overlaps", "r")),
    ),
    Panel(
        "overlaps",
        "10 % of the smaller box or more",
        (instance("r", R, 14, 60, 120, 104), instance("t", T, 60, 92, 192, 120)),
        (("r", "overlaps", "t"), ("t", "overlaps", "r")),
        '<rect x="60" y="92" width="60" height="12" fill="none" stroke="#b33" stroke-width="2"/>',
    ),
    Panel(
        "covers",
        "hides 10 % of the other or more",
        (instance("s", S, 92, 14, 110, 134), instance("v", V, 76, 54, 140, 92)),
        (("v", "covers", "s"), ("s", "overlaps", "v")),
        '<rect x="92" y="54" width="18" height="38" fill="none" stroke="#b33" stroke-width="2"/>',
    ),
    Panel(
        "next_to",
        "gap of 4 % of the diagonal or less, no overlap",
        (instance("r", R, 14, 70, 94, 112), instance("s", S, 102, 20, 116, 116)),
        (("r", "next_to", "s"), ("s", "next_to", "r")),
        line(94, 98, 102, 98, "#b33", "none"),
    ),
    Panel(
        "two berms: nearest() keeps to one",
        "s1 pairs with t2, not with t1 of the berm above",
        (
            instance("s0", S, 60, 4, 72, 36),
            instance("t1", T, 4, 34, 196, 46),
            instance("s1", S, 128, 72, 140, 122),
            instance("t2", T, 4, 120, 196, 134),
        ),
        (("t1", "at_lower_end_of", "s0"), ("t2", "at_lower_end_of", "s1"), ("s1", "above", "t2")),
        line(134, 122, 134, 127, "#b33", "none"),
    ),
)


def checked(panel: Panel) -> Scene:
    """The scene of a panel. Raises ValueError when the panel claims a relation that does not hold."""
    scene = Scene(Path(panel.title), (WIDE, HIGH), panel.instances)
    held = {(r.subject, r.name, r.other) for r in relate(scene)}
    if missing := set(panel.holds) - held:
        raise ValueError(f"{panel.title}: {missing} does not hold; it is {sorted(held)}. Correct the panel.")
    return scene


def drawn(panel: Panel, left: int, top: int) -> str:
    parts = [f'<g transform="translate({left} {top})">']
    parts.append(f'<rect width="{WIDE}" height="{HIGH}" fill="#f3efe7" stroke="#bbb"/>')
    for t in checked(panel).instances:
        b = t.box
        shape = f'x="{b.x1:g}" y="{b.y1:g}" width="{b.width:g}" height="{b.height:g}"'
        parts.append(f'<rect {shape} fill="{FILL[t.type_name]}" fill-opacity="0.55" stroke="{FILL[t.type_name]}"/>')
        parts.append(word(b.x1 + 3, b.y1 + 10, t.id))
    parts.append(panel.marks)
    parts.append(f'<text y="{HIGH + 16}" font-size="12" font-weight="bold" fill="#222">{escape(panel.title)}</text>')
    parts.append(f'<text y="{HIGH + 31}" font-size="9" fill="#444">{escape(panel.note)}</text></g>')
    return "\n".join(parts)


def legend(top: int) -> str:
    parts = []
    for i, (kind, color) in enumerate(FILL.items()):
        left = MARGIN + i * 150
        parts.append(f'<rect x="{left}" y="{top}" width="12" height="12" fill="{color}" fill-opacity="0.55"/>')
        parts.append(word(left + 18, top + 10, f"{kind[0]}  {kind}"))
    return "\n".join(parts)


def main() -> None:
    step_x, step_y = WIDE + MARGIN, HIGH + CAPTION
    rows = -(-len(PANELS) // COLUMNS)
    wide, high = COLUMNS * step_x + MARGIN, rows * step_y + MARGIN + 24
    places = ((MARGIN + i % COLUMNS * step_x, MARGIN + i // COLUMNS * step_y) for i in range(len(PANELS)))
    body = "\n".join(drawn(panel, left, top) for panel, (left, top) in zip(PANELS, places, strict=True))
    berms = checked(PANELS[-1])
    pair = nearest(berms, "s1", "toe_drain")
    if pair is None or pair.id != "t2" or not around(berms, "s1"):
        raise ValueError("the last panel no longer shows what its title says. Correct it.")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
    svg = f'{head} font-family="sans-serif">\n<rect width="{wide}" height="{high}" fill="#fff"/>\n'
    out = Path(__file__).with_suffix(".svg")
    out.write_text(f"{svg}{body}\n{legend(rows * step_y + MARGIN)}\n</svg>\n", encoding="utf-8")


if __name__ == "__main__":
    main()
