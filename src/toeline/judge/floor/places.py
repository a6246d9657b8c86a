"""What a box says by its place and its neighbors. Knows boxes and type names; sees no pixel.

Every measure is the same for a photograph and its mirror image, and the same for a photograph and its enlargement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from toeline.core.scene import Scene, Thing
from toeline.relate.rules import pair

BORDER = 0.01  # an edge this close to the frame, as a share of the diagonal, counts as cut by it
FAR = 1.0  # gap to a neighbor that is not there, in diagonals
NEIGHBOR = ("gap", "side", "down", "width", "height", "hides", "hidden", "iou")


def places(scene: Scene, kinds: Sequence[str]) -> list[dict[str, float]]:
    """For each thing of the scene its measures by name; `kinds` are the types whose neighbors are measured.

    Lengths are shares of the diagonal. Things of other types are counted in "things" and otherwise passed over.
    """
    found = [{**_own(t, scene), "things": float(len(scene.things))} for t in scene.things]
    seen: list[dict[str, list[Mapping[str, float]]]] = [{} for _ in scene.things]
    for (i, a), (j, b) in combinations(enumerate(scene.things), 2):
        seen[i].setdefault(b.kind, []).append(_neighbor(a, b, scene))
        seen[j].setdefault(a.kind, []).append(_neighbor(b, a, scene))
    for own, around in zip(found, seen, strict=True):
        for kind in kinds:
            own.update({f"{kind} {name}": value for name, value in _summary(around.get(kind, ())).items()})
    return found


def _own(thing: Thing, scene: Scene) -> dict[str, float]:
    (wide, high), d, box = scene.size_wh, scene.diagonal, thing.box
    cx, cy = box.center
    cut = BORDER * d
    w, h = max(box.width, 1e-3 * d), max(box.height, 1e-3 * d)
    return {
        "off middle": abs(cx / wide - 0.5),
        "y": cy / high,
        "top": box.y1 / high,
        "bottom": box.y2 / high,
        "width": w / d,
        "height": h / d,
        "log aspect": math.log(w / h),
        "log area": math.log(w * h / (d * d)),
        "cut at sides": float(box.x1 <= cut) + float(box.x2 >= wide - cut),
        "cut at top": float(box.y1 <= cut),
        "cut at bottom": float(box.y2 >= high - cut),
    }


def _neighbor(a: Thing, b: Thing, scene: Scene) -> dict[str, float]:
    d = scene.diagonal
    p = pair(a.box, b.box, diagonal_px=d)
    return {
        "gap": p.gap,
        "side": abs(p.dx_px) / d,
        "down": p.dy_px / d,
        "width": b.box.width / d,
        "height": b.box.height / d,
        "hides": p.a_in_b,
        "hidden": p.b_in_a,
        "iou": a.box.iou(b.box),
    }


def _summary(around: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How many, what the nearest one is like, and the largest overlap with any."""
    none = dict.fromkeys(NEIGHBOR, 0.0) | {"gap": FAR}
    nearest = min(around, key=lambda n: (n["gap"], n["side"], n["down"], n["width"]), default=none)
    return {
        "count": float(len(around)),
        **nearest,
        "hides": max((n["hides"] for n in around), default=0.0),
        "hidden": max((n["hidden"] for n in around), default=0.0),
        "iou": max((n["iou"] for n in around), default=0.0),
        "higher": float(sum(n["down"] < 0 for n in around)),
    }
