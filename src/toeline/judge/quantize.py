"""A judge's linear layers in 8 or 4 bits, saved as stock transformers and vLLM read them. Knows tensors and no kinds.

| name | what | library |
|---|---|---|
| int8 | W8A8: int8 weights with a scale for each output, activations with one for each token | torchao |
| int4 | NF4 weights in blocks of 64, whose scales are 8-bit themselves (QLoRA's double quantization) | bitsandbytes |

Embedding and head stay as they are, because scoring reads single rows of them; norms and biases are too small.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from toeline.errors import need
from toeline.judge.adapter import with_adapter
from toeline.judge.checkpoint import find_folder, load_parts, read_config, read_view, write_view
from toeline.judge.lineage import require_base
from toeline.judge.merge import require_whole
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.judge.shape import shape_of
from toeline.judge.vocabulary import carry_original
from toeline.weights import copy_small, quiet

To = Literal["int8", "int4"]
RECORD = "quantization.json"
LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes"}
KEPT = ("lm_head",)  # what transformers is told to leave; the vision tower is converted too
ALPHA = 0.5  # SmoothQuant's strength (arXiv 2211.10438): how much of the range goes from activations to weights
EXTRA = "quantize"
WHY = {
    "Embedding": "scoring reads single rows of it",
    "lm_head": "scoring reads single rows of it",
    "Conv3d": "the first step of the vision tower, 0.01 % of the weights",
}


class Counted(NamedTuple):
    """Modules of one class inside modules of another, their parameters, and why they were left; empty: converted."""

    inside: str
    kind: str
    modules: int
    parameters: int
    why: str = ""


def load_for_quantizing(where: str, *, to: To, device: str, adapter: Path | None) -> QwenVLJudge:
    """A judge in whole numbers of bits, with its adapter added to the weights. Raises ModelError and SetupError.

    Everything that is wrong with what was named is said before weights are read.
    """
    require_library(to)
    folder = find_folder(where)
    require_whole(folder, read_config(folder), "made of")
    if adapter is not None:
        need("peft", extra="adapter")
        require_base(folder, adapter)
    judge = QwenVLJudge(**load_parts(where, device=device, dtype="auto", adapter=None))
    if adapter is None:
        return judge
    with quiet():
        merged = with_adapter(judge.model, adapter).merge_and_unload()
    view = read_view([adapter, folder], shape_of(read_config(folder), folder))
    return QwenVLJudge(**{**vars(judge), "model": merged.eval(), "view": view})


def require_library(to: To) -> None:
    """Raises SetupError, with the command that corrects it."""
    with quiet():
        need(LIBRARIES[to], extra=EXTRA)


def convert(model: Any, to: To) -> list[Counted]:
    """Convert the linear layers of a model in place; it can then be saved. What was converted, and what was left."""
    layers = {name: layer for name, layer in model.named_modules() if converts(name, layer)}
    counted = count(model, layers)
    with quiet(), torch.no_grad():
        _to_int8(model, layers) if to == "int8" else _to_nf4(model, layers)
    return counted


def converts(name: str, module: nn.Module) -> bool:
    """Whether a module's weight is converted: all linear layers but the head."""
    return type(module) is nn.Linear and name not in KEPT


def count(model: Any, layers: Mapping[str, Any]) -> list[Counted]:
    """Modules with parameters of their own by class and the class they stand in, converted ones first."""
    held: dict[tuple[str, str, str], list[int]] = {}
    modules = dict(model.named_modules())
    for name, module in modules.items():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if own:
            kind = type(module).__name__
            why = "" if name in layers else WHY.get(name) or WHY.get(kind) or "no matrix: too small to matter"
            key = (why, type(modules[name.rpartition(".")[0]]).__name__, kind)
            found = held.setdefault(key, [0, 0])
            held[key] = [found[0] + 1, found[1] + own]
    return [Counted(inside, kind, n, size, why) for (why, inside, kind), (n, size) in sorted(held.items())]


def _to_int8(model: Any, layers: Mapping[str, nn.Module]) -> None:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    from transformers import TorchAoConfig
    from transformers.quantizers.quantizer_torchao import TorchAoHfQuantizer

    how = Int8DynamicActivationInt8WeightConfig()
    quantize_(model, how, filter_fn=lambda _, name: name in layers)
    config = TorchAoConfig(how, modules_to_not_convert=list(KEPT))
    _as_quantized(model, config, TorchAoHfQuantizer(config, pre_quantized=False))


def nf4(dtype: torch.dtype, *, kept: Sequence[str] = KEPT, extra: str = EXTRA) -> Any:
    """4-bit NormalFloat with double quantization (arXiv 2305.14314), products in `dtype`. Raises SetupError."""
    need("bitsandbytes", extra=extra)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(kept),
    )


def _to_nf4(model: Any, layers: Mapping[str, Any]) -> None:
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

    for name, layer in layers.items():
        wide, high, bias = layer.in_features, layer.out_features, layer.bias
        made = Linear4bit(
            wide, high, bias is not None, compute_dtype=layer.weight.dtype, quant_type="nf4", device="meta"
        )
        weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
        made.weight, made.bias = weight.to(layer.weight.device), bias
        above, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(above), leaf, made)
    config = nf4(torch.bfloat16)
    _as_quantized(model, config, Bnb4BitHfQuantizer(config, pre_quantized=False))


def _as_quantized(model: Any, config: Any, quantizer: Any) -> None:
    """What save_pretrained asks of a model that transformers has quantized itself."""
    model.hf_quantizer, model.config.quantization_config, model.is_quantized = quantizer, config, True


def save(judge: QwenVLJudge, source: Path, out: Path, record: Mapping[str, Any]) -> int:
    """Write a converted judge: weights, config, the small files of `source`, and a record. Bytes of the weights."""
    copy_small(source, out)
    carry_original(source, out)
    with quiet():
        judge.model.save_pretrained(out)
    write_view(out, judge.view)
    (out / RECORD).write_text(json.dumps(dict(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return sum(file.stat().st_size for file in out.glob("*.safetensors"))


def stored_dtype(folder: Path) -> torch.dtype:
    """In what the parts that stay are saved: the half precision of the input, bfloat16 for float32."""
    config = read_config(folder)
    said = str(config.get("dtype") or config.get("torch_dtype"))
    return torch.float16 if said == "float16" else torch.bfloat16


Pair = tuple[str, tuple[str, ...]]
SMOOTHED: tuple[Pair, ...] = (  # a norm, and the layers that read what comes out of it, by all their names
    ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    ("norm1", ("attn.qkv",)),
    ("norm2", ("mlp.fc1", "mlp.linear_fc1", "mlp.gate_proj", "mlp.up_proj")),
)


def smooth(judge: QwenVLJudge, score: Callable[[], Iterable[None]]) -> int:
    """Move outliers of activations into weights (SmoothQuant): equal sums, and less is lost in 8 bits.

    `score` asks the judge about photographs, so that activations are those of packed sequences as they will come.
    Factors are powers of two, so that the model in whole numbers stays what it was to the bit. They go into the norms
    before; layers without one are left. How many norms were changed.
    """
    places = list(_smoothable(judge.model))
    with _largest_inputs(places) as largest:
        for _ in score():
            pass
    with torch.no_grad():
        for norm, readers in places:
            _divide(norm, readers, largest[norm])
    return len(places)


def _smoothable(model: Any) -> Iterator[tuple[nn.Module, list[nn.Linear]]]:
    for module in model.modules():
        inner = dict(module.named_modules()) if hasattr(module, "norm2") or hasattr(module, "input_layernorm") else {}
        for norm, readers in SMOOTHED:
            if norm in inner:
                yield inner[norm], [inner[reader] for reader in readers if reader in inner]


@contextmanager
def _largest_inputs(places: Iterable[tuple[nn.Module, list[nn.Linear]]]) -> Iterator[dict[nn.Module, Tensor]]:
    """The largest size that each channel behind a norm takes while the block lasts."""
    largest: dict[nn.Module, Tensor] = {}

    def keep(norm: nn.Module, _: Any, output: Tensor) -> None:
        seen = output.detach().abs().flatten(0, -2).amax(0)
        largest[norm] = torch.maximum(largest[norm], seen) if norm in largest else seen

    hooks = [norm.register_forward_hook(keep) for norm, _ in places]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()


def _divide(norm: Any, readers: list[nn.Linear], largest: Tensor) -> None:
    weights = torch.stack([reader.weight.abs().amax(0) for reader in readers]).amax(0)
    factor = (largest.float() + 1e-6) ** ALPHA / (weights.float() + 1e-6) ** (1 - ALPHA)
    factor = torch.exp2(torch.log2(factor / factor.mean().clamp_min(1e-6)).round().clamp(-8, 8)).to(weights.dtype)
    for part in (norm.weight, getattr(norm, "bias", None)):
        if part is not None:
            part.div_(factor)
    for reader in readers:
        reader.weight.mul_(factor)
