"""Builds small models of ultralytics from their yaml, trains each a few steps on drawn scenes, and exports it.

    python benchmarks/yolo_models.py DIR [--only yolo11n] [--scenes 32] [--epochs 10]

Needs `pip install 'toeline[yolo]' onnx onnxslim`. Nothing is downloaded: weights start at random, and the library is
told to stay offline. After so few steps a model is sure of nothing, so the biases of its class scores are raised until
it names about 25 objects a picture. What it finds is of no use; it is there to compare ways of running it
(yolo_agree.py).
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

TYPES = ("toe_drain", "rock_toe", "slope_drain", "vegetation")
SIZE = 640  # pixels of a drawn scene
INPUT = 320  # pixels of the models' input
CONFIDENCE = 0.25  # what ultralytics predicts with unless told otherwise
OBJECTS = 25  # a picture, above that confidence


class Export(NamedTuple):
    """One exported file: what its name ends with, and how ultralytics is asked for it."""

    suffix: str
    settings: dict[str, Any]


RAW = (Export("fixed", {}), Export("dynamic", {"dynamic": True}))
BUILT_IN = {"nms": True, "conf": CONFIDENCE}
NMS = (Export("fixed-nms", BUILT_IN), Export("dynamic-nms", {**BUILT_IN, "dynamic": True}))
END = (Export("fixed-end", {"nms": False}), Export("dynamic-end", {"nms": False, "dynamic": True}))
MORE = (
    Export("half", {"quantize": 16}),
    Export("batch", {"batch": 4}),
    Export("batch-nms", {"batch": 4, **BUILT_IN}),
    Export("wide", {"imgsz": [256, 320]}),
)
# Model -> its exports. A model whose name has "nine" in it finds the nine classes, the others the four types.
MODELS: dict[str, tuple[Export, ...]] = {
    "yolo11n": (*RAW, *NMS, *MORE),
    "yolo11n-seg": (*RAW, *NMS),
    "yolo11n-obb": (*RAW, *NMS),
    "yolov8n": (*RAW, *NMS),
    "yolov8n-seg": RAW,
    "yolov8n-obb": RAW,
    "yolo12n": RAW,
    "yolo26n": (*RAW, *NMS, *END),
    "yolo26n-seg": (*RAW, *END),
    "yolo26n-obb": (*RAW, *END),
}

LONGER = {"yolo11n-obb": 3}  # times the epochs: after ten its scores are the same on every picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    for name in args.only:
        build(name, args.out.resolve(), scenes=args.scenes, epochs=args.epochs)


def build(name: str, out: Path, *, scenes: int, epochs: int) -> None:
    """`out`/NAME.pt and `out`/NAME-EXPORT.onnx; those that are there already stay."""
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{name}.pt"
    start = time.perf_counter()
    if not weights.is_file():
        data = data_yaml(out / "data", scenes, boxes="obb" in name)
        raise_scores(train(name, data, out / "runs", epochs * LONGER.get(name, 1)), data, weights)
    for export in MODELS[name]:
        target = out / f"{name}-{export.suffix}.onnx"
        if not target.is_file():
            export_to(weights, target, export)
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def train(name: str, data: Path, runs: Path, epochs: int) -> Path:
    from ultralytics import YOLO

    trained = runs / name / "weights" / "last.pt"
    if trained.is_file():
        return trained
    model = YOLO(f"{name}.yaml")
    model.train(
        data=str(data),
        epochs=epochs,
        imgsz=INPUT,
        batch=8,
        nbs=8,  # a step after every batch
        cache="ram",
        lr0=0.002,
        optimizer="AdamW",
        warmup_epochs=0,
        mosaic=0,
        amp=False,  # its check would download a model
        plots=False,  # its pictures would download a font
        val=False,
        workers=0,
        seed=0,
        device="cpu",
        project=str(runs),
        name=name,
        exist_ok=True,
        verbose=False,
    )
    return trained


def raise_scores(trained: Path, data: Path, weights: Path) -> None:
    """Add one number to the biases of each head's class scores, so that the 25th box of a picture passes the threshold.

    YOLO26 has two heads: one whose boxes need suppression, and one that is used end to end.
    """
    import torch

    photos = sorted(str(p) for p in (data.parent / "images").glob("*.jpg"))[:6]
    shifts = {"cv3": shift(trained, photos), "one2one_cv3": shift(trained, photos, nms=False)}
    checkpoint = torch.load(trained, map_location="cpu", weights_only=False)
    for key in ("model", "ema"):
        if checkpoint.get(key) is not None:
            for head, more in shifts.items():
                for scale in getattr(checkpoint[key].model[-1], head, None) or ():
                    scale[-1].bias.data += more
    torch.save(checkpoint, weights)


def shift(trained: Path, photos: list[str], **settings: Any) -> float:
    """What is lacking from the 25th best score of a picture to the threshold, in logits."""
    import torch
    from ultralytics import YOLO

    model = YOLO(str(trained))
    lowest = []
    for photo in photos:  # one by one: the library gives up on a batch that takes too long
        (one,) = model.predict(photo, conf=1e-6, imgsz=INPUT, device="cpu", verbose=False, **settings)
        scores = (one.boxes if one.obb is None else one.obb).conf.sort(descending=True).values
        lowest += [scores[:OBJECTS][-1]] if len(scores) else []
    return float((torch.tensor(CONFIDENCE).logit() - torch.stack(lowest).logit().median()).clamp(min=0))


def export_to(weights: Path, target: Path, export: Export) -> None:
    """A copy of the weights is exported, because the library writes beside them."""
    from ultralytics import YOLO

    copy = target.with_suffix(".pt")
    shutil.copy(weights, copy)
    try:
        made = Path(YOLO(str(copy)).export(format="onnx", **{"imgsz": INPUT, **export.settings}))
        if made != target:
            made.replace(target)
    finally:
        copy.unlink()


def data_yaml(folder: Path, scenes: int, *, boxes: bool) -> Path:
    """Drawn scenes with labels of the four types: polygons, or their oriented boxes."""
    from toeline.synth.scene import draw

    folder = folder.with_name("data-obb" if boxes else "data-polygons")
    for i in range(scenes):
        label = folder / "labels" / f"{i}.txt"
        if label.is_file():
            continue
        drawing = draw(7_000_000 + i, size=SIZE)
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / f"{i}.jpg"), np.ascontiguousarray(drawing.image[..., ::-1]))
        label.write_text("".join(line(o.kind, np.asarray(o.polygon, np.float32), boxes) for o in drawing.objects))
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(TYPES))
    yaml = folder / "data.yaml"
    yaml.write_text(f"path: {folder}\ntrain: images\nval: images\nnames:\n{names}\n")
    return yaml


def line(kind: str, polygon: np.ndarray, boxes: bool) -> str:
    corners = cv2.boxPoints(cv2.minAreaRect(polygon)) if boxes else polygon
    shares = " ".join(f"{value:.6f}" for value in np.clip(corners / SIZE, 0, 1).ravel())
    return f"{TYPES.index(kind)} {shares}\n"


if __name__ == "__main__":
    main()
