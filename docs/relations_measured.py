"""Prints the tables of docs/relations.md and docs/decisions/0002-relations.md from a folder of YOLO labels.

    python docs/relations_measured.py path/to/lagoon-dyke

The folder holds train/labels and valid/labels, lines of `class x y w h` in shares of the photograph, the nine classes
in the order of the default taxonomy. Conditions are dropped as the lines are read. No pixel is looked at: photographs
are taken to be square, as they are in that data set; `--size` is their side in pixels.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median

from toeline.core.box import Box
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.relations import NAMES, around, gap, measure, nearest, relate

PAIRS = (("slope_drain", "toe_drain"), ("rock_toe", "toe_drain"), ("slope_drain", "rock_toe"))
DIRECTIONS = ("above", "below", "left_of", "right_of")
SAME_COLUMN = 0.25  # of the narrower box: what the prototype called 'overlap horizontally'


def read(part: Path, side_px: int) -> list[Scene]:
    kinds = [c.type for c in Taxonomy.load().classes]
    scenes = []
    for file in sorted((part / "labels").glob("*.txt")):
        rows = [line.split() for line in file.read_text().splitlines() if line.strip()]
        size = (side_px, side_px)
        instances = (
            Instance(f"t{i:02d}", kinds[int(kind)], Box.from_yolo(*map(float, xywh), size_wh=size))
            for i, (kind, *xywh) in enumerate(rows)
        )
        scenes.append(Scene(file, size, tuple(instances)))
    return scenes


def of_kinds(scene: Scene, kind: str, other: str) -> Iterator[tuple[Instance, Instance]]:
    return (
        (a, b)
        for a in scene.instances
        for b in scene.instances
        if a is not b and (a.type_name, b.type_name) == (kind, other)
    )


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % of {whole}" if whole else "none"


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def frequencies(parts: dict[str, list[Scene]]) -> None:
    print("\nHow often each name holds: (subject, other) pairs; photographs with one; share of listed neighbors\n")
    row("relation", *(f"{p}: {what}" for p in parts for what in ("pairs", "photographs", "of neighbors listed")))
    row("---", *["--:"] * 3 * len(parts))
    for name in NAMES:
        cells: list[object] = []
        for scenes in parts.values():
            counts = [sum(r.name == name for r in relate(s)) for s in scenes]
            listed = [r for s in scenes for t in s.instances for r in around(s, t.id)]
            neighbors = sum(len({r.other for r in around(s, t.id)}) for s in scenes for t in s.instances)
            said = sum(r.name == name for r in listed)
            cells += [sum(counts), share(sum(c > 0 for c in counts), len(scenes)), share(said, neighbors)]
        row(f"`{name}`", *cells)
    totals = {p: sum(len(s.instances) * (len(s.instances) - 1) for s in scenes) for p, scenes in parts.items()}
    print(f"\nAll (subject, other) pairs: {totals}")


def in_column(a: Box, b: Box) -> bool:
    shared = min(a.x2, b.x2) - max(a.x1, b.x1)
    return shared > SAME_COLUMN * min(a.width, b.width)


def orders(parts: dict[str, list[Scene]]) -> None:
    print("\nWhich lies higher\n")
    row("pair", "part", "centers, all pairs in a column", "centers, nearest in a column", *DIRECTIONS, "inside", "none")
    row("---", "---", *["--:"] * 8)
    for kind, other in PAIRS:
        for part, scenes in parts.items():
            every = [p for s in scenes for p in of_kinds(s, kind, other)]
            near = [
                (s, t, n) for s in scenes for t in s.instances if t.type_name == kind and (n := nearest(s, t.id, other))
            ]
            said = Counter(direction(s, t, n) for s, t, n in near)
            cells = [higher(every), higher((t, n) for _, t, n in near)]
            row(f"{kind}, {other}", part, *cells, *(said[d] for d in (*DIRECTIONS, "inside", "")))


def higher(pairs: Iterable[tuple[Instance, Instance]]) -> str:
    found = [a.box.center[1] < b.box.center[1] for a, b in pairs if in_column(a.box, b.box)]
    return share(sum(found), len(found))


def direction(scene: Scene, a: Instance, b: Instance) -> str:
    """The direction that holds; else "inside" if one box is inside the other; else nothing."""
    held = {r.name for r in relate(Scene(scene.image, scene.size_wh, (a, b))) if r.subject == a.id}
    back = {r.name for r in relate(Scene(scene.image, scene.size_wh, (a, b))) if r.subject == b.id}
    return next((d for d in DIRECTIONS if d in held), "inside" if "inside" in held | back else "")


def histogram(title: str, values: Iterable[float], edges: tuple[float, ...]) -> None:
    values = list(values)
    print(f"\n{title} ({len(values)})\n")
    row(*(f"{a:g} to {b:g}" for a, b in pairwise(edges)))
    row(*["--:"] * (len(edges) - 1))
    row(*(sum(a <= v < b for v in values) for a, b in pairwise(edges)))


def ends(scenes: list[Scene], rank: int) -> Iterator[float]:
    """Gap from a slope drain's bottom edge to the rank-th nearest toe drain whose center is lower."""
    for s in scenes:
        for t in (t for t in s.instances if t.type_name == "slope_drain"):
            bottom = Box(t.box.x1, t.box.y2, t.box.x2, t.box.y2)
            lower = [o.box for o in s.instances if o.type_name == "toe_drain" and o.box.center[1] > t.box.center[1]]
            gaps = sorted(gap(bottom, b, diagonal_px=s.diagonal) for b in lower)
            yield from gaps[rank : rank + 1]


def edges_apart(a: Box, b: Box) -> bool:
    return max(a.x1, b.x1) >= min(a.x2, b.x2) or max(a.y1, b.y1) >= min(a.y2, b.y2)


def half_apart(a: Box, b: Box) -> bool:
    """On the axis where they share less of the shorter side, at most half of it is shared."""
    x = (min(a.x2, b.x2) - max(a.x1, b.x1)) / min(a.width, b.width)
    y = (min(a.y2, b.y2) - max(a.y1, b.y1)) / min(a.height, b.height)
    return min(x, y) <= 0.5


def alternatives(scenes: list[Scene]) -> None:
    print("\nTrain: things with their nearest of the other type that would get no direction, by rule\n")
    row("pair", "of", "a free edge between them", "half of the shorter side shared", "as defined")
    row("---", *["--:"] * 4)
    for kind, other in PAIRS[:2]:
        near = [
            (s, t, n) for s in scenes for t in s.instances if t.type_name == kind and (n := nearest(s, t.id, other))
        ]
        free = sum(not edges_apart(t.box, n.box) for _, t, n in near)
        half = sum(not half_apart(t.box, n.box) for _, t, n in near)
        row(f"{kind}, {other}", len(near), free, half, sum(direction(s, t, n) not in DIRECTIONS for s, t, n in near))


def axis_of(a: Box, b: Box) -> str:
    along_x, along_y = measure([a], [b], 1).along
    return "x" if along_x[0] else "y" if along_y[0] else ""


def directions(scenes: list[Scene]) -> None:
    """Evidence for CLEARLY_APART, without the exception for nested boxes."""
    dice = random.Random(0)
    pairs = [(a.box, b.box) for s in scenes for a, b in combinations(s.instances, 2) if a.box.intersection(b.box) > 0]
    wide, high = scenes[0].size_wh
    found = Counter[str]()
    for a, b in pairs:
        moved = Scene(Path("jitter"), (wide, high), (Instance("a", "", a), Instance("b", "", b)))
        c, d = (t.box for t in jittered(moved, 0.1, dice).instances)
        axis, after = (axis_of(*two) for two in ((a, b), (c, d)))
        side = {"x": 0, "y": 1}.get(axis)
        found["clear"] += axis != ""
        found["other axis"] += after not in ("", axis) and axis != ""
        if side is not None and after == axis:
            before_px, after_px = b.center[side] - a.center[side], d.center[side] - c.center[side]
            found["turned round"] += before_px * after_px < 0
    print(f"\nTrain: overlapping pairs {len(pairs)}, edges off by 10 %: {dict(found)}")


def shapes(scenes: list[Scene]) -> None:
    print("\nTrain: boxes by type\n")
    row("type", "things", "median width", "median height", "taller than wide")
    row("---", *["--:"] * 4)
    for kind in Taxonomy.load().types:
        boxes = [t.box for s in scenes for t in s.instances if t.type_name == kind.name]
        sides = (median(b.width for b in boxes), median(b.height for b in boxes))
        row(
            kind.name,
            len(boxes),
            *(f"{side:.0f}" for side in sides),
            share(sum(b.height > b.width for b in boxes), len(boxes)),
        )


def jittered(scene: Scene, sd: float, dice: random.Random) -> Scene:
    """Every edge moved by a normal error of `sd` times the box's side, then cut at the frame."""

    def moved(box: Box) -> Box:
        x1, x2 = sorted(x + dice.gauss(0, sd) * box.width for x in (box.x1, box.x2))
        y1, y2 = sorted(y + dice.gauss(0, sd) * box.height for y in (box.y1, box.y2))
        return Box(x1, y1, x2, y2).clipped(scene.size_wh)

    instances = tuple(Instance(t.id, t.type_name, moved(t.box)) for t in scene.instances)
    return Scene(scene.image, scene.size_wh, instances)


def steadiness(scenes: list[Scene]) -> None:
    print("\nRelations that survive when box edges err (train; of those that held, share that still holds)\n")
    row("relation", "edges off by 5 %", "edges off by 10 %")
    row("---", "--:", "--:")
    held = [{(r.subject, r.name, r.other) for r in relate(s)} for s in scenes]
    after = {
        sd: [
            {(r.subject, r.name, r.other) for r in relate(jittered(s, sd, random.Random(i)))}
            for i, s in enumerate(scenes)
        ]
        for sd in (0.05, 0.1)
    }
    for name in NAMES:
        before = [{r for r in rs if r[1] == name} for rs in held]
        kept = [sum(len(b & a) for b, a in zip(before, after[sd], strict=True)) for sd in after]
        row(f"`{name}`", *(share(k, sum(map(len, before))) for k in kept))


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("data", type=Path)
    cli.add_argument("--size", type=int, default=312)
    args = cli.parse_args()
    parts = {part: read(args.data / part, args.size) for part in ("train", "valid")}
    train = parts["train"]
    frequencies(parts)
    orders(parts)
    steps = (0, 1e-9, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.2, 1)
    histogram("Train: bottom edge of a slope drain to the nearest toe drain below", ends(train, 0), steps)
    histogram("Train: the same to the next toe drain below that", ends(train, 1), steps)
    apart = [(s, a, b) for s in train for a in s.instances for b in s.instances if a is not b and gap_of(s, a, b) > 0]
    closest: dict[tuple[str, str], float] = {}
    for s, a, b in apart:
        key = (str(s.image), a.id)
        closest[key] = min(closest.get(key, 1.0), gap_of(s, a, b))
    histogram("Train: gap to the nearest thing that does not touch", closest.values(), steps[1:])
    shapes(train)
    alternatives(train)
    directions(train)
    steadiness(train)


def gap_of(scene: Scene, a: Instance, b: Instance) -> float:
    return gap(a.box, b.box, diagonal_px=scene.diagonal)


if __name__ == "__main__":
    main()
