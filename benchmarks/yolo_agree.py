"""Does Toeline find what ultralytics finds? Its own predictions beside those of the same `.pt` and `.onnx` in Toeline.

    python benchmarks/yolo_models.py MODELS
    python benchmarks/yolo_agree.py MODELS --photos ../shared/data/lagoon-dyke/valid/images [--out benchmarks/results]

Needs `pip install 'toeline[yolo]'`. The models are small, start at random and are trained a few steps on drawn scenes.
Each is asked about 20 drawn scenes, in several sizes and shapes, and 20 photographs, at a confidence of 0.25.

A row agrees when every object has its like on the other side: the same class, each side of the box within half a pixel
of the photograph, and 0.001 of confidence. `apart` are objects that only one of the two names, without those within
0.001 of the threshold. `outline IoU` is the least of all outlines of 400 pixels or more, for masks that of their
largest piece. A model for one size only is compared with the library's prediction without rectangles (`rect=False`).
Where an export differs from the `.pt`, the row `ultralytics itself` tells whether the library's own two predictions
differ in the same way: of two boxes of almost equal confidence, rounding decides which one stays.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

from results import uncut, write
from yolo_models import CONFIDENCE, INPUT, MODELS, TYPES, Export

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.detect.detector import DetectorOptions
from toeline.detect.load import load_detector
from toeline.synth.scene import draw

SHAPES = ((640, 640), (640, 427), (427, 640), (960, 401), (333, 250))
PIXELS, SCORE = 0.5, 1e-3  # what agreement allows
AREA = 400  # pixels that an outline must hold to be compared: the grid is coarse for smaller ones


class Found(NamedTuple):
    """One object, as either side names it; `outline` is a polygon in pixels or empty."""

    kind: str
    box: tuple[float, float, float, float]
    score: float
    outline: Any = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs; the first 20 are taken")
    parser.add_argument("--pictures", type=int, default=20, help="how many of each, drawn and real")
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, help="folder for yolo_agree.json and yolo_agree.md")
    args = parser.parse_args()
    pictures = [*drawn(args.pictures), *(read_photo(p) for p in sorted(args.photos.glob("*.jpg"))[: args.pictures])]
    rows = [{"model": name} | row for name in args.only for row in compared(args.models, name, pictures)]
    if args.out:
        rows = with_others(rows, args.only, uncut(args.out) / "yolo_agree.json")
        versions = {name: version(name) for name in ("ultralytics", "torch", "onnxruntime", "opencv-python-headless")}
        record = {"pictures": len(pictures), "confidence": CONFIDENCE, "versions": versions, "rows": rows}
        short = {**record, "rows": by_model(rows)}
        write("yolo_agree", page(record), short, args.out, all_of=record)
    print(table(rows))


def page(record: dict[str, Any]) -> str:
    """As Markdown: what was done, how often both agree, each model in two lines, and every row that does not agree."""
    said = "\n\n".join((__doc__ or "").strip().split("\n\n")[2:])
    rows = [row for row in record["rows"] if not row["toeline"].startswith("(")]
    same = [row for row in rows if row["toeline"] == row["ultralytics"]]
    other = [row for row in rows if row["toeline"] != row["ultralytics"]]
    counts = [f"{sum(row['agrees'] for row in some)} of {len(some)}" for some in (same, other)]
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"# Toeline and ultralytics on the same weights\n\n{said}\n\n"
        f"Toeline agrees with ultralytics on the same file in {counts[0]} comparisons, and its exports with the `.pt` "
        f"that they were made from in {counts[1]}. {versions}.\n\n{model_table(by_model(record['rows']))}\n\n"
        f"## Rows that do not agree\n\n{table([row for row in record['rows'] if not row['agrees']])}\n"
    )


def with_others(rows: list[dict[str, Any]], only: Sequence[str], file: Path) -> list[dict[str, Any]]:
    """`rows` of the models `only`, and those of the other models that an earlier run wrote into `file`."""
    before = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    every = [*rows, *(row for row in before if row["model"] not in only)]
    return sorted(every, key=lambda row: list(MODELS).index(row["model"]))


def by_model(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each model the comparisons with the same file, and with the `.pt`."""
    found = []
    for name in dict.fromkeys(row["model"] for row in rows):
        ours = [r for r in rows if r["model"] == name and not r["toeline"].startswith("(")]
        for against, some in (
            ("the same file", [r for r in ours if r["toeline"] == r["ultralytics"]]),
            ("the .pt", [r for r in ours if r["toeline"] != r["ultralytics"]]),
        ):
            most = {k: max((r[k] for r in some), default=None) for k in ("apart", "pixels", "score")}
            least = min((r["outline_iou"] for r in some if r["outline_iou"] is not None), default=None)
            counts = {"comparisons": len(some), "agree": sum(r["agrees"] for r in some)}
            found.append({"key": f"{name}, {against}", **counts, **most, "outline_iou": least})
    return found


def drawn(count: int) -> Iterator[Image.Image]:
    for i in range(count):
        wide, high = SHAPES[i % len(SHAPES)]
        whole = draw(820_000_000 + i, size=max(wide, high)).image
        yield Image.fromarray(np.ascontiguousarray(whole[-high:, :wide]))


def compared(folder: Path, name: str, pictures: Sequence[Image.Image]) -> Iterator[dict[str, Any]]:
    weights = folder / f"{name}.pt"
    alike: dict[str, list[list[Found]]] = {}  # what the .pt finds, by the settings that it is asked with
    yield row(f"{name}.pt", f"{name}.pt", by_toeline(weights, pictures), by_library(weights, pictures), pictures)
    for export in MODELS[name]:
        file = folder / f"{name}-{export.suffix}.onnx"
        ours, theirs = by_toeline(file, pictures), by_library(file, pictures, like(export))
        yield row(file.name, file.name, ours, theirs, pictures)
        if "quantize" in export.settings:  # half precision is another model
            continue
        settings = like(export, of_pt=True)
        of_pt = alike.setdefault(str(settings), alike.get(str(settings)) or by_library(weights, pictures, settings))
        yield row(file.name, weights.name, ours, of_pt, pictures)
        if not row(file.name, weights.name, ours, of_pt, pictures)["agrees"]:
            yield row(f"(ultralytics itself) {file.name}", weights.name, theirs, of_pt, pictures)


def like(export: Export, *, of_pt: bool = False) -> dict[str, Any]:
    """How the library must predict to do what the export does."""
    settings: dict[str, Any] = {
        "rect": bool(export.settings.get("dynamic")),
        "imgsz": export.settings.get("imgsz", INPUT),
    }
    if of_pt and export.settings.get("nms") is False:
        settings["nms"] = False
    return settings


def by_toeline(file: Path, pictures: Sequence[Image.Image]) -> list[list[Found]]:
    options = DetectorOptions(general=CONFIDENCE, device="cpu")
    found = load_detector(str(file), taxonomy=Taxonomy.load(), options=options).find(pictures)
    instances = [[detection.instance for detection in one] for one in found]
    return [[Found(t.type_name, t.box.xyxy, t.score, t.polygon) for t in one] for one in instances]


def by_library(
    file: Path, pictures: Sequence[Image.Image], settings: dict[str, Any] | None = None
) -> list[list[Found]]:
    """What `predict` of ultralytics says, picture by picture; boxes are clipped to the picture."""
    from ultralytics import YOLO

    name = file.name
    task = "segment" if "-seg" in name else "obb" if "-obb" in name else "detect"
    model = YOLO(str(file), task=task)
    said = []
    for picture in pictures:
        blue_first = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
        (one,) = model.predict(blue_first, conf=CONFIDENCE, device="cpu", verbose=False, **(settings or {}))
        said.append(list(objects(one, picture.size)))
    return said


def objects(result: Any, size_wh: tuple[int, int]) -> Iterator[Found]:
    given = result.boxes if result.obb is None else result.obb
    outlines: Any = None if result.obb is None else result.obb.xyxyxyxy.numpy()
    if result.masks is not None:
        outlines = [largest(mask, size_wh) for mask in result.masks.data.numpy().astype(np.uint8)]
    for n, (corners, score, kind) in enumerate(zip(given.xyxy, given.conf, given.cls, strict=True)):
        box = Box(*map(float, corners)).clipped(size_wh)
        if min(box.width, box.height) >= 1:
            yield Found(TYPES[int(kind)], box.xyxy, float(score), () if outlines is None else outlines[n])


def largest(mask: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The outline of a mask's largest piece, taken to the photograph by the library; from the middle of its pixels."""
    from ultralytics.utils import ops

    pieces = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    piece = max(pieces, key=cv2.contourArea).reshape(-1, 2).astype(np.float32) + 0.5
    return np.asarray(ops.scale_coords(mask.shape, piece, size_wh[::-1]))


def row(
    ours_by: str, theirs_by: str, ours: list[list[Found]], theirs: list[list[Found]], pictures: Sequence[Image.Image]
) -> dict[str, Any]:
    """The comparison in numbers: objects, objects apart, the largest difference of a side and of a confidence."""
    pairs, apart = [], 0
    for mine, other in zip(ours, theirs, strict=True):
        some, lonely = paired(mine, other)
        pairs += some
        apart += sum(found.score > CONFIDENCE + SCORE for found in lonely)
    sides = [max(abs(a - b) for a, b in zip(x.box, y.box, strict=True)) for x, y in pairs]
    scores = [abs(x.score - y.score) for x, y in pairs]
    masks = [same(x.outline, y.outline) for x, y in pairs if len(x.outline) and area(y.outline) >= AREA]
    return {
        "toeline": ours_by,
        "ultralytics": theirs_by,
        "pictures": len(pictures),
        "objects": len(pairs),
        "apart": apart,
        "pixels": max(sides, default=0.0),
        "score": max(scores, default=0.0),
        "outline_iou": min(masks, default=None),
        "agrees": apart == 0 and max(sides, default=0) <= PIXELS and max(scores, default=0) <= SCORE,
    }


def paired(ours: list[Found], theirs: list[Found]) -> tuple[list[tuple[Found, Found]], list[Found]]:
    """Objects of one type whose boxes overlap by half, the most alike first; and those that are left on either side."""
    ways = sorted(
        (
            (-Box(*a.box).iou(Box(*b.box)), abs(a.score - b.score), i, k)
            for i, a in enumerate(ours)
            for k, b in enumerate(theirs)
            if a.kind == b.kind and Box(*a.box).iou(Box(*b.box)) >= 0.5
        )
    )
    mine, other = set(range(len(ours))), set(range(len(theirs)))
    pairs = []
    for _, _, i, k in ways:
        if i in mine and k in other:
            mine.remove(i)
            other.remove(k)
            pairs.append((ours[i], theirs[k]))
    return pairs, [*(ours[i] for i in mine), *(theirs[k] for k in other)]


def area(outline: Any) -> float:
    return cv2.contourArea(np.asarray(outline, np.float32)) if len(outline) else 0.0


def same(ours: Any, theirs: Any) -> float:
    """IoU of two polygons, on a grid of quarter pixels."""
    both = [np.asarray(o, np.float32).reshape(-1, 2) * 4 for o in (ours, theirs)]
    low = np.floor(np.concatenate(both).min(0)) - 4
    wide, high = (np.ceil(np.concatenate(both).max(0)) - low + 8).astype(int)
    filled = []
    for polygon in both:
        canvas = np.zeros((high, wide), np.uint8)
        cv2.fillPoly(canvas, [np.round(polygon - low).astype(np.int32)], 1)
        filled.append(canvas > 0)
    return float((filled[0] & filled[1]).sum() / max((filled[0] | filled[1]).sum(), 1))


def model_table(rows: Sequence[dict[str, Any]]) -> str:
    heads = "comparisons | agree | most apart | most pixels | most confidence | least outline IoU"
    lines = [f"| model, against | {heads} |", f"|---|{'--:|' * 6}"]
    for r in rows:
        most = f"{r['apart']} | {r['pixels']:.4f} | {r['score']:.6f}"
        iou = "" if r["outline_iou"] is None else f"{r['outline_iou']:.3f}"
        lines.append(f"| {r['key']} | {r['comparisons']} | {r['agree']} | {most} | {iou} |")
    return "\n".join(lines)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| Toeline with | ultralytics with | objects | apart | pixels | confidence | outline IoU | agree |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for r in rows:
        iou = "" if r["outline_iou"] is None else f"{r['outline_iou']:.3f}"
        lines.append(
            f"| {r['toeline']} | {r['ultralytics']} | {r['objects']} | {r['apart']} | {r['pixels']:.4f} | "
            f"{r['score']:.6f} | {iou} | {'yes' if r['agrees'] else 'no'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
