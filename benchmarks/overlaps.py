"""How much true objects overlap, and what a detector's boxes of different types on one place turn out to be.

    python benchmarks/overlaps.py ../shared/data/lagoon-dyke [--detector embedded] [--out benchmarks/results]

The first table counts pairs of true boxes of one photograph by their IoU: it says from which overlap on two boxes are
hardly ever two objects, which is where `toeline.detect.settle` gets its two limits. The second looks at the pairs of
boxes of *different* types that the detector leaves at an overlap: whether the more confident, the other, both or
neither is an object (IoU of 0.5 or more with a true box of its type).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from results import write

from toeline.core.box import Box
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.data.yolo import open_yolo, read_entry
from toeline.detect.load import load_detector

LIMITS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FOUND = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="embedded")
    parser.add_argument("--out", type=Path, help="folder for overlaps.json and overlaps.md")
    args = parser.parse_args()
    parts = read(args.data)
    rows = [counted(part, scenes, what) for part, scenes in parts.items() for what in ("different", "same")]
    met = {part: outcomes(scenes, args.detector) for part, scenes in parts.items()}
    print(text := tables(rows, met, args.detector))
    if args.out:
        said = {"true": rows, "detector": args.detector, "found": met}
        write("overlaps", f"# How much objects overlap\n\n{text}", said, args.out)


def read(root: Path) -> dict[str, list[Scene]]:
    taxonomy = Taxonomy.load()
    data = open_yolo(root, taxonomy)
    return {part: [read_entry(e, taxonomy, data.names).scene for e in entries] for part, entries in data.splits.items()}


def pairs(instances: Iterable[Instance], what: str) -> Iterator[tuple[Instance, Instance, float]]:
    for a, b in combinations(instances, 2):
        if (a.type_name == b.type_name) == (what == "same"):
            yield a, b, a.box.iou(b.box)


def counted(part: str, scenes: Sequence[Scene], what: str) -> dict[str, Any]:
    """Objects, pairs of true boxes of one photograph, and how many of these have an IoU of a limit or more."""
    ious = [iou for scene in scenes for *_, iou in pairs(scene.instances, what)]
    over = {f"{limit:g}": sum(iou >= limit for iou in ious) for limit in LIMITS}
    objects = sum(len(scene.instances) for scene in scenes)
    return {"part": part, "types": what, "objects": objects, "pairs": len(ious), "over": over, "most": max(ious)}


def outcomes(scenes: Sequence[Scene], detector: str) -> dict[str, dict[str, int]]:
    """For each limit: pairs of found boxes of different types with that IoU or more, by which of the two is real."""
    model = load_detector(detector, taxonomy=Taxonomy.load())
    met: dict[str, Counter[str]] = {f"{limit:g}": Counter() for limit in LIMITS}
    for scene in scenes:
        found = [s.instance for s in model.find([read_photo(scene.image)])[0]]
        for a, b, iou in pairs(found, "different"):
            first, second = sorted((a, b), key=lambda instance: -instance.score)
            which = {(1, 0): "first", (0, 1): "second", (1, 1): "both", (0, 0): "neither"}
            for limit in LIMITS:
                if iou >= limit:
                    met[f"{limit:g}"][which[real(first, scene), real(second, scene)]] += 1
    return {limit: {name: n[name] for name in ("first", "second", "both", "neither")} for limit, n in met.items()}


def real(instance: Instance, scene: Scene) -> int:
    return int(any(t.type_name == instance.type_name and overlap(t.box, instance.box) for t in scene.instances))


def overlap(a: Box, b: Box) -> bool:
    return a.iou(b) >= FOUND


def tables(rows: Sequence[dict[str, Any]], met: dict[str, dict[str, dict[str, int]]], detector: str) -> str:
    limits = [f"{limit:g}" for limit in LIMITS]
    lines = [
        "Pairs of true boxes of one photograph, by their IoU:",
        "",
        "| part | objects | types | pairs | " + " | ".join(f"≥ {limit}" for limit in limits) + " | most |",
        "|---|--:|---|--:|" + "--:|" * (len(limits) + 1),
    ]
    for r in rows:
        over = " | ".join(str(r["over"][limit]) for limit in limits)
        lines.append(f"| {r['part']} | {r['objects']} | {r['types']} | {r['pairs']} | {over} | {r['most']:.2f} |")
    lines += [
        "",
        f"Pairs of boxes of different types that the detector ({detector}) finds, by their IoU, and which of the two "
        f"is an object:",
        "",
        "| part | IoU | the more confident | the other | both | neither |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for part, by_limit in met.items():
        lines += [f"| {part} | ≥ {limit} | " + " | ".join(map(str, n.values())) + " |" for limit, n in by_limit.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
