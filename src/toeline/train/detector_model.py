"""The embedded detector's network: built from random or from exported weights, its loss, what it finds, its export.

The network and its loss are libreyolo's (MIT): YOLOX's CSPDarknet and path aggregation with ordinary convolutions, and
YOLOv9's head (task-aligned assignment, CIoU and distribution focal loss). train/detector.py trains it, with
transformers' Trainer, since libreyolo's own runs in bfloat16 only on CUDA, and bfloat16 makes the CPU fast enough: see
docs/decisions/0005-embedded-detector.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toeline.errors import ModelError, need
from toeline.evaluate.average_precision import Found
from toeline.train.detector_data import KINDS, Sample, plain, scaled
from toeline.weights import quiet

EXTRA = "train-detector"
NMS_IOU = 0.6  # two boxes of one type that overlap more are one object; slope drains stand side by side, never inside


def build(width: float = 0.25, activation: str = "silu", kinds: int = len(KINDS)) -> Any:
    """The untrained network: (B, 3, S, S) to three maps (B, 4 * 16 + kinds, S/8.., S/8..), or decoded in eval mode."""
    need("torch", extra=EXTRA)
    need("libreyolo", extra=EXTRA)
    from libreyolo.models.yolo9.nn import DDetect
    from libreyolo.models.yolox.nn import YOLOPAFPN

    channels = tuple(int(c * width) for c in (256, 512, 1024))
    head = DDetect(kinds, channels, 16, (8, 16, 32), use_group=False)
    for tower in head.cv3:  # a prior of 1 in 100 instead of 1 in 20,000 saves the first thousand steps
        nn.init.constant_(tower[-1].bias, math.log(0.01 / 0.99))
    return nn.Sequential(YOLOPAFPN(0.33, width, act=activation), head)


def loss_of(head: Any, size: int) -> Callable[..., Any]:
    """The head's own loss as the Trainer calls it: raw maps and labels (B, M, 5) to a scalar."""

    def loss(maps: Sequence[Any], labels: Any, num_items_in_batch: Any = None) -> Any:
        rule = head._get_loss_fn(labels.device)
        rule.update_anchors([size, size])
        return rule([m.float() for m in maps], labels)["total_loss"]

    return loss


def detect_all(
    network: Any, samples: Sequence[Sample], size: int, batch: int = 20, device: str = "cpu"
) -> tuple[list[Found], list[Any]]:
    """Detections (score above 0.01, NMS per type, at most 100 a picture) and true boxes of whole pictures."""
    from toeline.train.loss import half_precision_pays

    batched_nms = need("torchvision.ops", extra=EXTRA).batched_nms
    half = device == "cpu" and half_precision_pays(device)

    network.eval()
    found, ground_truth = [], []
    for pixels, boxes in plain(samples, size, batch):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            decoded = network(pixels.to(device))[0].float().cpu()  # (B, 4 + kinds, anchors)
        for one in decoded.transpose(1, 2):
            rows, kinds = (one[:, 4:] > 0.01).nonzero(as_tuple=True)
            corners, scores = one[rows, :4].clamp(0, size), one[rows, 4 + kinds]
            kept = batched_nms(corners, scores, kinds, NMS_IOU)[:100]
            found.append(Found(corners[kept].numpy(), scores[kept].numpy(), kinds[kept].numpy()))
        ground_truth.extend(boxes)
    return found, ground_truth


def export(network: Any, out: Path, size: int, record: Mapping[str, Any]) -> None:
    """Write model.onnx (the contract is in detect/onnx.py) and detector.json beside it."""
    network.eval()
    network[1].export = True
    with quiet():
        torch.onnx.export(
            Whole(network).eval(),
            (torch.zeros((1, size, size, 3), dtype=torch.uint8),),
            str(out / "model.onnx"),
            input_names=["photo"],
            output_names=["boxes", "scores"],
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,  # it would print on standard output, which is for results
        )
    (out / "detector.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


class Whole(nn.Module):
    """What is exported: pixels as they come from a photograph, boxes and scores as they are read."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, S, S, 3) uint8 to boxes (A, 4) as x1, y1, x2, y2 in its pixels, and scores (A, kinds), 0 to 1."""
        decoded = self.network(scaled(photo))[0][0].transpose(0, 1)
        return decoded[:, :4], decoded[:, 4:]


HALF = "_half"  # the end of the name of weights in float16, which the file casts (benchmarks/half.py)
STEM, STEM_CHANNELS = "0.backbone.stem.conv.conv.weight", 64  # its channels at width 1


class Start(NamedTuple):
    """An exported network of this family: its weights by name, and what detector.json says of it."""

    weights: Mapping[str, NDArray[np.float32]]
    kinds: tuple[str, ...]
    size: int
    width: float
    activation: str
    file: Path


def read_start(path: Path) -> Start:
    """Read `model.onnx`, or the folder that holds it with `detector.json`. Raises ModelError, SetupError."""
    file = path / "model.onnx" if path.is_dir() else path
    onnx = need("onnx", extra=EXTRA)
    undecoded = need("google.protobuf.message", extra=EXTRA).DecodeError
    try:
        card = json.loads(file.with_name("detector.json").read_text(encoding="utf-8"))
        graph = onnx.load(str(file)).graph
        stored = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        cast = {n.output[0]: stored[n.input[0]] for n in graph.node if n.op_type == "Cast" and n.input[0] in stored}
        weights = {
            name.removeprefix("network."): np.array(values, np.float32)
            for name, values in {**stored, **cast}.items()
            if name.startswith("network.") and not name.endswith(HALF)
        }
        width = weights[STEM].shape[0] / STEM_CHANNELS
        activation = card.get("training", {}).get("settings", {}).get("activation", "silu")
        return Start(weights, tuple(card["kinds"]), int(card["input_px"]), width, activation, file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, undecoded) as why:
        raise _not_ours(file, why) from None


def _not_ours(file: Path, why: object) -> ModelError:
    return ModelError(
        f"{file}: cannot be trained further ({type(why).__name__}: {str(why)[:150]}). --from takes embedded, scratch, "
        f"or the folder of an earlier toeline train-detector; another network: --model."
    )


def network_of(start: Start, kinds: Sequence[str], pictures: Iterable[Any]) -> Any:
    """The network with these weights, in the order of `kinds`; types that the start does not know begin at random.

    `pictures` are inputs (B, 3, S, S) as the network takes them, on which batch norms are measured. Raises ModelError.
    """
    network = build(start.width, start.activation, len(kinds))
    left = dict(start.weights)
    try:
        for name, module in network.named_modules():
            if hasattr(module, "bn"):
                _put_back(module, left.pop(f"{name}.conv.weight"), left.pop(f"{name}.conv.weight_bias"))
        for level, tower in enumerate(network[1].cv2):
            _copy(tower[-1], left, f"1.cv2.{level}.2")
        for level, tower in enumerate(network[1].cv3):
            _copy_kinds(tower[-1], left, f"1.cv3.{level}.2", start.kinds, kinds)
    except (KeyError, RuntimeError) as why:
        raise _not_ours(start.file, why) from None
    measure_norms(network, pictures)
    return network


def _put_back(module: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """A convolution and a batch norm that together do what the folded convolution did."""
    with torch.no_grad():
        module.conv.weight.copy_(torch.from_numpy(kernel))
        module.bn.bias.copy_(torch.from_numpy(bias))
        module.bn.weight.fill_(math.sqrt(1 + module.bn.eps))  # the running mean is 0, the running variance 1


def _copy(layer: Any, weights: dict[str, NDArray[np.float32]], name: str) -> None:
    with torch.no_grad():
        for part in ("weight", "bias"):
            getattr(layer, part).copy_(torch.from_numpy(weights[f"{name}.{part}"]))


def _copy_kinds(
    layer: Any, weights: dict[str, NDArray[np.float32]], name: str, before: Sequence[str], kinds: Sequence[str]
) -> None:
    known = [(i, before.index(kind)) for i, kind in enumerate(kinds) if kind in before]
    with torch.no_grad():
        for part in ("weight", "bias"):
            source = torch.from_numpy(weights[f"{name}.{part}"])
            for here, there in known:
                getattr(layer, part)[here].copy_(source[there])


def measure_norms(network: Any, pictures: Iterable[Any]) -> None:
    """Give each batch norm the mean and variance of what it really gets; what the network says stays the same."""
    norms: list[Any] = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with _watched(norms) as seen, torch.inference_mode():
        network.eval()
        for batch in pictures:
            network(batch)
    with torch.no_grad():
        for norm in norms:
            if norm not in seen:
                continue
            count, total, squares = seen[norm]
            mean = total / count
            variance = (squares / count - mean.square()).clamp_min(0)
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # as it multiplies now
            shift = norm.bias.double() - norm.running_mean.double() * scale
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.bias.copy_(shift + mean * scale)


@contextmanager
def _watched(norms: Sequence[Any]) -> Iterator[dict[Any, Any]]:
    """Counts, sums and sums of squares, per channel in double precision, of what goes into each batch norm."""
    seen: dict[Any, Any] = {}

    def note(norm: Any, inputs: Any) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)
        count, total, squares = seen.get(norm, (0, 0, 0))
        seen[norm] = (count + values.shape[1], total + values.sum(1), squares + values.square().sum(1))

    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
