"""The network of an exported detector, ready to be trained on: read back from model.onnx.

An export has its batch norms folded into the convolutions. They are put back with the means and deviations that the
very network shows on pictures, so that it says the same as before in inference, and nearly the same in training, where
a batch norm goes by the statistics of its batch. (With mean 0 and deviation 1 instead, the first step in training mode
would see another network.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toeline.errors import ModelError, need
from toeline.train.detector import EXTRA, build

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
        weights = {
            i.name.removeprefix("network."): np.array(onnx.numpy_helper.to_array(i))
            for i in graph.initializer
            if i.name.startswith("network.")
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
    import torch

    with torch.no_grad():
        module.conv.weight.copy_(torch.from_numpy(kernel))
        module.bn.bias.copy_(torch.from_numpy(bias))
        module.bn.weight.fill_(math.sqrt(1 + module.bn.eps))  # the running mean is 0, the running variance 1


def _copy(layer: Any, weights: dict[str, NDArray[np.float32]], name: str) -> None:
    import torch

    with torch.no_grad():
        for part in ("weight", "bias"):
            getattr(layer, part).copy_(torch.from_numpy(weights[f"{name}.{part}"]))


def _copy_kinds(
    layer: Any, weights: dict[str, NDArray[np.float32]], name: str, before: Sequence[str], kinds: Sequence[str]
) -> None:
    import torch

    known = [(i, before.index(kind)) for i, kind in enumerate(kinds) if kind in before]
    with torch.no_grad():
        for part in ("weight", "bias"):
            source = torch.from_numpy(weights[f"{name}.{part}"])
            for here, there in known:
                getattr(layer, part)[here].copy_(source[there])


def measure_norms(network: Any, pictures: Iterable[Any]) -> None:
    """Give each batch norm the mean and variance of what it really gets; what the network says stays the same."""
    import torch

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
