"""Stores the weights of an exported detector in float16, and says how far its detections move on drawn scenes.

    python benchmarks/half.py [src/toeline/models/detector/model.onnx] --to runs/half [--scenes 40] [--out DIR]

Weights are rounded to float16 in the file and cast to float32 when it is loaded, so what is computed stays float32.
Detections of both files on the same scenes are paired by type and overlap (IoU of 0.5 or more). Needs `pip install
onnx`. docs/decisions/0009-weights.md says when the smaller file is taken.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results import write

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.detect.load import load_detector
from toeline.evaluate.matching import pair_up
from toeline.synth.scene import draw

SEED = 9_100_000  # of the first scene: no model was trained on these
SMALLEST = 64  # values; a smaller tensor (a shape, a scale) stays as it is
Found = tuple[str, Box, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=Path("src/toeline/models/detector/model.onnx"))
    parser.add_argument("--to", type=Path, required=True, help="folder for the smaller model")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--out", type=Path, help="folder for half.json and half.md")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    shutil.copy(args.model.with_name("detector.json"), args.to)
    stored(args.model, args.to / "model.onnx", half=True)
    scenes = [Image.fromarray(draw(SEED + n).image) for n in range(args.scenes)]
    moved = compared(found_by(args.model, scenes), found_by(args.to / "model.onnx", scenes))
    sizes = {"bytes": args.model.stat().st_size, "bytes_half": (args.to / "model.onnx").stat().st_size}
    figures = {**sizes, "scenes": args.scenes, "seed": SEED, **moved, "onnxruntime": version("onnxruntime")}
    print(text := page(figures))
    if args.out:
        write("half", text, figures, args.out)


def stored(model: Path, to: Path, *, half: bool) -> None:
    """The same graph and nothing beside; with `half` its float32 weights as float16, each with a cast back to float32.

    What an exporter notes on each node (class names, the program's lines and their paths) is left out: 0.6 MB.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = (whole := onnx.load(model)).graph
    weights, nodes, casts = list(graph.initializer), list(graph.node), []
    del graph.initializer[:], graph.node[:]
    for tensor in weights:
        values = numpy_helper.to_array(tensor)
        if half and tensor.data_type == TensorProto.FLOAT and values.size > SMALLEST:
            short = f"{tensor.name}_half"  # train/detector_model.py knows this end
            casts.append(helper.make_node("Cast", [short], [tensor.name], to=TensorProto.FLOAT))
            tensor = numpy_helper.from_array(values.astype(np.float16), short)
        graph.initializer.append(tensor)
    for node in nodes:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.node.extend(casts + nodes)
    onnx.save(whole, to)


def found_by(model: Path, scenes: Sequence[Image.Image]) -> list[list[Found]]:
    seen = load_detector(str(model), taxonomy=Taxonomy.load()).find(scenes)
    return [[(s.instance.type_name, s.instance.box, s.instance.score) for s in one] for one in seen]


def compared(first: Sequence[Sequence[Found]], second: Sequence[Sequence[Found]]) -> dict[str, Any]:
    """Detections of one file alone, and how far the sides (pixels) and confidences of the others are apart."""
    sides, scores, alone = [], [], 0
    for mine, other in zip(first, second, strict=True):
        pairs = pair_up([f[:2] for f in mine], [f[:2] for f in other], iou=0.5)
        alone += len(mine) + len(other) - 2 * len(pairs)
        for i, k in pairs.items():
            sides.append(max(abs(a - b) for a, b in zip(mine[i][1].xyxy, other[k][1].xyxy, strict=True)))
            scores.append(abs(mine[i][2] - other[k][2]))
    return {
        "detections": sum(map(len, first)),
        "alone": alone,
        "identical": sum(side == 0 for side in sides),
        "side_px": {"median": float(np.median(sides)), "most": max(sides)},
        "confidence": {"median": float(np.median(scores)), "most": max(scores)},
    }


def page(f: dict[str, Any]) -> str:
    rows = {
        "bytes of the file, float32": f"{f['bytes']:,}",
        "bytes of the file, float16": f"{f['bytes_half']:,}",
        f"detections on {f['scenes']} drawn scenes": f["detections"],
        "detections that only one file has": f["alone"],
        "detections that are the same to the bit": f["identical"],
        "a side of a box moves, pixels, median": f"{f['side_px']['median']:.4f}",
        "a side of a box moves, pixels, at most": f"{f['side_px']['most']:.4f}",
        "a confidence moves, at most": f"{f['confidence']['most']:.6f}",
    }
    said = (__doc__ or "").split("\n\n")[2].strip()
    lines = [f"# The detector in float16\n\n{said}\n\n| measured | |\n|---|--:|"]
    return "\n".join([*lines, *(f"| {what} | {value} |" for what, value in rows.items())])


if __name__ == "__main__":
    main()
