"""An adapter into the weights of its judge, one layer at a time, in float32 and rounded once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from toeline.errors import ModelError, need
from toeline.judge.adapter import COPY, VOCABULARY, plain, with_adapter
from toeline.judge.checkpoint import load_model, read_config, read_view, write_view
from toeline.judge.lineage import add_steps, merged, require_base
from toeline.judge.shape import shape_of
from toeline.judge.vocabulary import carry_original
from toeline.weights import copy_small, quiet, rewrite_weights


def merge(folder: Path, adapter: Path, out: Path, *, dtype: str = "") -> int:
    """Write a judge's directory with an adapter added to its weights into the folder `out`. Returns the weights' bytes.

    `dtype` is a torch dtype's name, or empty for that of each weight. On the CPU, and never from quantized weights,
    whose rounding would stay in it. Raises ModelError for an adapter of another judge.
    """
    import torch

    need("peft", extra="adapter")
    config = read_config(folder)
    require_whole(folder, config, "merged into")
    require_base(folder, adapter)
    model = load_model(folder, dtype=getattr(torch, config.get("dtype") or config.get("torch_dtype") or "float32"))
    wrapped = with_adapter(model, adapter)
    places = dict(_places(wrapped.get_base_model()))
    ends = [places[name] for name in map(plain, VOCABULARY) if name in places]
    if config.get("tie_word_embeddings") and any(_is_lora(layer) for layer, _ in ends):
        raise ModelError(f"{adapter}: it changes the embedding apart from the head, which are one here. {COPY}")
    whole = lru_cache(maxsize=1)(_merged)  # weight and bias of a layer come after each other

    def change(name: str, tensor: Any) -> Any:
        kept = getattr(torch, dtype) if dtype and tensor.is_floating_point() else tensor.dtype
        if plain(name) in places:
            layer, leaf = places[plain(name)]
            tensor = whole(layer)[leaf].detach()
        return tensor.to(kept)

    copy_small(folder, out)
    with quiet(), torch.no_grad():
        size = rewrite_weights(folder, out, change)
    _describe(folder, adapter, out, config, dtype)
    return size


def require_whole(folder: Path, config: dict[str, Any], what: str) -> None:
    """Raise ModelError for weights that are quantized."""
    if config.get("quantization_config"):
        raise ModelError(
            f"{folder}: its weights are quantized already, and nothing is {what} those. Name the judge that it was "
            f"made of."
        )


def _is_lora(module: Any) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return isinstance(module, BaseTunerLayer)


def _places(model: Any) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Every weight by its plain name in a file: the layer that has it, and its name there."""
    from peft.utils import ModulesToSaveWrapper

    for name, module in model.named_modules():
        held, shown = module, module
        if _is_lora(module):
            shown = module.get_base_layer()
        elif isinstance(module, ModulesToSaveWrapper):
            held = shown = module.modules_to_save[module.active_adapters[0]]
        for leaf, _ in shown.named_parameters(recurse=shown is not module):
            yield f"{plain(name)}.{leaf}", (held, leaf)


def _merged(layer: Any) -> dict[str, Any]:
    """The weights of a layer, with its adapter if it has one."""
    if not _is_lora(layer):
        return dict(layer.named_parameters())
    whole = deepcopy(layer).float()
    whole.merge()
    return dict(whole.get_base_layer().named_parameters())


def _describe(folder: Path, adapter: Path, out: Path, config: dict[str, Any], dtype: str) -> None:
    carry_original(folder, out)
    add_steps(folder, out, merged(adapter))
    if dtype:
        told = _in_dtype({"dtype": dtype, **config}, dtype)
        (out / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    write_view(out, read_view([adapter, folder], shape_of(config, folder)))


def _in_dtype(config: Any, dtype: str) -> Any:
    """A config in which every part says that it is in this precision."""
    if not isinstance(config, dict):
        return config
    return {key: dtype if key in ("dtype", "torch_dtype") else _in_dtype(value, dtype) for key, value in config.items()}
