"""What a box says by its place and by what overlaps it. Knows boxes and type names; sees no pixel.

Every measure is the same for a photograph and its mirror image, and the same for a photograph and its enlargement.
Distances to neighbors, their number and their sizes were tried and left out: they tell flight lines apart, not
conditions (docs/floor.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from toeline.core.scene import Scene, Thing
from toeline.relate.rules import pair

BORDER = 0.01  # an edge this close to the frame, as a share of the diagonal, counts as cut by it
THINNEST = 0.001  # of a box's sides, as a share of the diagonal, so that every box has an aspect


def places(scene: Scene, kinds: Sequence[str]) -> list[dict[str, float]]:
    """For each thing of the scene its measures by name; `kinds` are the types whose overlap is measured.

    "hidden by" a type is the largest share of the box, 0 to 1, that one of its things covers; "hides" is the largest
    share that the box covers of one of them.
    """
    overlaps = {f"{what} {kind}": 0.0 for kind in kinds for what in ("hidden by", "hides")}
    found = [{**_own(thing, scene), **overlaps} for thing in scene.things]
    for (a, of_a), (b, of_b) in combinations(zip(scene.things, found, strict=True), 2):
        p = pair(a.box, b.box, diagonal_px=scene.diagonal)
        _note(of_a, b.kind, p.a_in_b, p.b_in_a)
        _note(of_b, a.kind, p.b_in_a, p.a_in_b)
    return found


def _note(found: dict[str, float], kind: str, hidden: float, hides: float) -> None:
    if f"hides {kind}" in found:
        found[f"hidden by {kind}"] = max(found[f"hidden by {kind}"], hidden)
        found[f"hides {kind}"] = max(found[f"hides {kind}"], hides)


def _own(thing: Thing, scene: Scene) -> dict[str, float]:
    (wide, high), box = scene.size_wh, thing.box
    cx, cy = box.center
    cut_px = BORDER * scene.diagonal
    w, h = (max(side / scene.diagonal, THINNEST) for side in (box.width, box.height))
    return {
        "off middle": abs(cx / wide - 0.5),
        "y": cy / high,
        "top": box.y1 / high,
        "bottom": box.y2 / high,
        "width": w,
        "height": h,
        "log aspect": math.log(w / h),
        "log area": math.log(w * h),
        "cut at sides": float(box.x1 <= cut_px) + float(box.x2 >= wide - cut_px),
        "cut at top": float(box.y1 <= cut_px),
        "cut at bottom": float(box.y2 >= high - cut_px),
        "things": float(len(scene.things)),
    }
