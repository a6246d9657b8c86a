"""Puts a LoRA adapter into a loaded model, whatever its tensors were called where it was trained.

Versions of transformers and trainers call one layer `model.layers.0`, `language_model.model.layers.0` or
`model.language_model.layers.0`. Every tensor must find exactly one place, of its shape; nothing is loaded in part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from toeline.core.reading import number, read_json
from toeline.core.words import cut
from toeline.errors import ModelError, need
from toeline.weights import check_weights, first_line, quiet

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
VIEW_FILE = "toeline.json"  # what a model or an adapter was trained to be shown, and of an adapter on what weights
COPY = "Copy the adapter again from where it was trained."
OTHER = "Name the base model that it was trained on."

WRAPPERS = {"base_model", "model", "module", "language_model"}  # in front of a layer's own name, in any number
INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # of torch, anywhere
PART = re.compile(r"(.+)\.(lora_(?:embedding_[AB]|magnitude_vector|[AB]))((?:\.\w+)*)")
NAME = re.compile(r"[\w.-]+")
VOCABULARY = ("embed_tokens.weight", "lm_head.weight")  # some trainers write them beside the adapter
PATIENCE_S = 1.0  # for a pattern of somebody's file; on the name of a layer a sane one takes microseconds

Tensors = Mapping[str, Any]


def plain(name: str) -> str:
    """A layer's name without what differs between versions and trainers.

    >>> plain("base_model.model.model.language_model.layers.0.mlp"), plain("module.model.visual.blocks.0")
    ('layers.0.mlp', 'visual.blocks.0')
    """
    parts = [part for part in name.split(".") if part not in INSIDE]
    first = next((i for i, part in enumerate(parts) if part not in WRAPPERS), len(parts))
    return ".".join(parts[first:])


def weights_of(folder: Path) -> Path:
    """An adapter's file of weights. Raises ModelError unless this is a LoRA adapter in safetensors."""
    if not folder.is_dir() or not (folder / CONFIG).is_file():
        below = sorted(file.parent.name for file in folder.glob(f"*/{CONFIG}")) if folder.is_dir() else []
        hint = f" There is one in it: {below[0]}." if below else " Name the folder that training wrote."
        raise ModelError(f"{folder} is not an adapter: it has no {CONFIG}.{hint}")
    config = read_json(folder / CONFIG, ModelError, advice=COPY)
    files = check_weights(folder)
    try:
        _check(config)
    except ValueError as why:
        raise ModelError(f"{folder / CONFIG}: {why}. {COPY}") from None
    if folder / WEIGHTS not in files and len(files) > 1:
        raise ModelError(f"{folder} has {len(files)} *.safetensors, and none is called {WEIGHTS}. {COPY}")
    return folder / WEIGHTS if folder / WEIGHTS in files else files[0]


def _check(config: Any) -> None:
    """Raise ValueError for a config that is none of LoRA, or has a value of the wrong type or range."""
    if not isinstance(config, dict):
        raise ValueError("holds no JSON object")
    if config.get("peft_type") != "LORA":
        kind = cut(str(config.get("peft_type")))
        raise ValueError(f"peft_type is {kind!r}, and a judge takes LoRA adapters (LORA)")
    if config.get("target_parameters"):
        raise ValueError("target_parameters is set, and a judge takes adapters of whole layers")
    number(config.get("lora_alpha", 8), "lora_alpha", low=1e-6, high=1e6)
    for name, value in {"r": config.get("r", 8), **_pattern(config, "rank_pattern")}.items():
        if number(value, name, low=1, high=1e5) != int(value):
            raise ValueError(f"{name} is {value}, and must be a whole number")
    for name, value in _pattern(config, "alpha_pattern").items():
        number(value, name, low=1e-6, high=1e6)
    for name in ("target_modules", "modules_to_save", "exclude_modules", "layers_pattern"):
        _check_names(name, config.get(name))
    layers = config.get("layers_to_transform") or []
    if not all(type(n) is int for n in (layers if isinstance(layers, list) else [layers])):
        raise ValueError(f"layers_to_transform is {cut(repr(layers))}, and must be whole numbers")


def _pattern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict) or len(found) > 10_000:
        raise ValueError(f"{name} is {cut(repr(found))}, and must be a mapping of names to numbers")
    return found


def _check_names(what: str, found: Any) -> None:
    """A pattern, or names; every adapter has `target_modules`."""
    names = found if isinstance(found, list) else []
    fine = found is None if what != "target_modules" else False
    fine |= isinstance(found, str) and what != "modules_to_save" and 0 < len(found) <= 10_000
    fine |= len(names) > 0 and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
    if not (fine or (found == [] and what != "target_modules")):
        raise ValueError(f"{what} is {cut(repr(found))}, and must be names of layers or a pattern")


def with_adapter(model: Any, folder: Path) -> Any:
    """The model as a peft model with the adapter in it, frozen. Raises ModelError for an adapter that does not fit."""
    from safetensors.torch import load_file

    peft = need("peft", extra="adapter")
    tensors = load_file(weights_of(folder))
    try:
        placed, old = _placed(list(tensors), {plain(name): name for name, _ in model.named_modules()})
        with quiet():
            config = peft.LoraConfig.from_peft_type(**_of_lora(read_json(folder / CONFIG, ModelError, advice=COPY)))
            _check_whole(config, old, model)
            _renamed(config, old, {k: tensors[v].shape for k, v in placed.items()})
            if any(name.endswith("patch_embed.proj") for name in old):  # its faster form takes the weights alone
                vars(model.model.visual.patch_embed).pop("forward", None)
            wrapped = peft.PeftModel(model, config)
            _load(wrapped, {new: tensors[name] for new, name in placed.items()})
    except ModelError:
        raise
    except Exception as why:  # peft and torch raise all kinds of errors for a config that contradicts its tensors
        said = cut(first_line(why), 300)
        raise ModelError(f"{folder}: the adapter does not fit this model ({said}). {OTHER}") from None
    wrapped.requires_grad_(False)
    return wrapped


def _of_lora(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says of the layers; what it says of its task and base is of no use, and differs by version."""
    whole = {name: int(config[name]) for name in ("r",) if name in config}  # some trainers write 16.0
    ranks = {name: int(rank) for name, rank in (config.get("rank_pattern") or {}).items()}
    return {**{k: v for k, v in config.items() if k not in OF_NO_USE}, **whole, "rank_pattern": ranks}


OF_NO_USE = ("task_type", "base_model_name_or_path", "revision", "auto_mapping", "runtime_config")


def add_adapter(model: Any, folder: Path) -> Any:
    """As `with_adapter`, without peft's own model around it."""
    return with_adapter(model, folder).get_base_model()


def check_loaded(wrapped: Any, folder: Path) -> None:
    """Raise ModelError unless the peft model holds exactly the tensors of a checkpoint that it wrote."""
    from safetensors.torch import load_file

    try:
        _compare(wrapped, {_inner(name): tensor for name, tensor in load_file(folder / WEIGHTS).items()})
    except (ValueError, OSError) as why:
        raise ModelError(f"{folder}: its weights do not fit this model ({why}). Start the training again.") from None


def _placed(names: Sequence[str], own: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The model's name of every tensor -> the file's; the model's name of every adapted layer -> where it was trained.

    Raises ValueError for tensors that have no place, and for two that have the same.
    """
    placed, old, homeless = dict[str, str](), dict[str, str](), list[str]()
    for name in names:
        layer, part = _split(name)
        home = own.get(plain(layer))
        if not home or not part or f"{home}.{part}" in placed:
            homeless.append(name)
            continue
        placed[f"{home}.{part}"] = name
        if part.startswith("lora_"):
            old[home] = layer.removeprefix("base_model.model.")
    if homeless:
        raise ValueError(f"{len(homeless)} of its {len(names)} tensors have no counterpart, first {_first(homeless)}")
    if not old:
        raise ValueError("it holds no tensor of LoRA")
    return placed, old


def _first(names: Sequence[str]) -> str:
    return cut(", ".join(sorted(names)[:3]), 200)


def _split(name: str) -> tuple[str, str]:
    """A tensor's layer, and what it is there, without the name that its adapter had.

    >>> _split("model.layers.0.self_attn.q_proj.lora_A.default.weight")
    ('model.layers.0.self_attn.q_proj', 'lora_A.weight')
    """
    if found := PART.fullmatch(name):
        layer, part, rest = found.groups()
        leaf = rest.rpartition(".")[2] if rest.count(".") <= 2 else "?"
        if part in ("lora_A", "lora_B"):
            return layer, f"{part}.{leaf}" if leaf in ("weight", "bias") else ""
        return layer, part if leaf != "?" else ""
    layer, _, part = name.rpartition(".")
    if layer.endswith(".base_layer"):  # what an adapted layer had before; its weight is that of the vocabulary
        return layer.removesuffix(".base_layer"), part if part == "weight" else f"base_layer.{part}"
    return layer, part


def _check_whole(config: Any, old: Mapping[str, str], model: Any) -> None:
    """Raise ValueError unless the layers that have tensors are those that the config names: none got lost."""
    layers = [name for name, module in model.named_modules() if _may_be_adapted(name, module, config)]
    lacking: set[str] = set()
    for called in _ways_of_calling(old):
        meant = {name for name in layers if _means(config, called(name))}
        if meant == set(old):
            return
        lacking = lacking or meant ^ set(old)
    odd = sorted(lacking or old)
    raise ValueError(f"target_modules names not the {len(old)} layers of its tensors: {len(odd)} differ, {_first(odd)}")


def _may_be_adapted(name: str, module: Any, config: Any) -> bool:
    from torch import nn

    everything = isinstance(config.target_modules, str) and config.target_modules.lower() == "all-linear"
    if everything:
        return isinstance(module, nn.Linear) and plain(name) != "lm_head"
    return isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d | nn.Conv3d)


def _ways_of_calling(old: Mapping[str, str]) -> list[Callable[[str], str]]:
    """How layers were called where the adapter was trained: as its tensors are, else as in some transformers."""
    seen = {short.startswith("visual."): was[: -len(short)] for was in old.values() if "." in (short := plain(was))}
    own = seen.get(False, "model."), seen.get(True, "model." if "language_model" in seen.get(False, "") else "")
    ways = [own, ("model.language_model.", "model."), ("model.", ""), ("language_model.model.", "")]
    return [partial(_called, language=language, vision=vision) for language, vision in dict.fromkeys(ways)]


def _called(name: str, *, language: str, vision: str) -> str:
    short = plain(name)
    return (vision if short.startswith("visual.") else "" if short == "lm_head" else language) + short


def _means(config: Any, name: str) -> bool:
    """Whether target_modules means a layer of this name, as peft decides it."""
    from peft.tuners.tuners_utils import check_target_module_exists

    wanted, left_out = config.target_modules, config.exclude_modules
    if isinstance(left_out, str) and _matches(left_out, name):
        return False
    if isinstance(wanted, str):
        return wanted.lower() == "all-linear" or _matches(wanted, name)
    without = copy(config)
    without.exclude_modules = left_out if isinstance(left_out, list | set) else None
    return bool(check_target_module_exists(without, name))


def _matches(pattern: str, name: str) -> bool:
    """Whether a pattern of somebody's file matches a whole name. Raises ValueError for one that takes too long."""
    import regex

    try:
        return regex.fullmatch(pattern, name, timeout=PATIENCE_S) is not None
    except (TimeoutError, regex.error) as why:
        raise ValueError(f"the pattern {cut(pattern)!r} cannot be used ({why or 'it takes too long'})") from None


def _renamed(config: Any, old: Mapping[str, str], shapes: Mapping[str, Any]) -> None:
    """Let the config name the layers as the model does, with the rank and alpha that each had. Raises ValueError."""
    ranks, alphas = (_of_each(pattern or {}, old) for pattern in (config.rank_pattern, config.alpha_pattern))
    for name in old:
        rank = ranks.get(name, config.r)
        for part in ("lora_A.weight", "lora_embedding_A"):
            if (shape := shapes.get(f"{name}.{part}")) and shape[0] != rank:
                raise ValueError(f"{old[name]} has tensors of rank {shape[0]}, and the config says {rank}")
    config.rank_pattern = {re.escape(name): rank for name, rank in ranks.items()}
    config.alpha_pattern = {re.escape(name): alpha for name, alpha in alphas.items()}
    config.target_modules = sorted(old)
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = config.megatron_config = None
    config.inference_mode = True


def _of_each(pattern: Mapping[str, Any], old: Mapping[str, str]) -> dict[str, Any]:
    """The value of each layer that a key of rank_pattern or alpha_pattern matches: the first, as peft takes it."""
    found: dict[str, Any] = {}
    for key, value in pattern.items():
        for name, was in old.items():
            if name not in found and (plain(key) == plain(was) or _matches(rf"(.*\.)?({key})", was)):
                found[name] = value
    return found


def _load(wrapped: Any, tensors: Tensors) -> None:
    """Put tensors under the model's own names into the peft model. Raises ValueError unless all of both fit."""
    from peft import set_peft_model_state_dict
    from peft.utils import get_peft_model_state_dict

    there = {_inner(k): w for k, w in get_peft_model_state_dict(wrapped, save_embedding_layers=False).items()}
    whole = {k: t for k, t in tensors.items() if k.endswith(VOCABULARY) and k not in there}
    there |= {k: wrapped.get_base_model().get_parameter(k) for k in whole}
    if odd := sorted(there.keys() ^ tensors.keys()):
        raise ValueError(f"{len(odd)} tensors have no counterpart, first {_first(odd)}")
    if odd := sorted(k for k, tensor in tensors.items() if there[k].shape != tensor.shape):
        shapes = f"{tuple(tensors[odd[0]].shape)}, not {tuple(there[odd[0]].shape)}"
        raise ValueError(f"{len(odd)} tensors have another shape, first {odd[0]}: {shapes}")
    set_peft_model_state_dict(wrapped, {f"base_model.model.{k}": t for k, t in tensors.items() if k not in whole})
    for name, tensor in whole.items():
        wrapped.get_base_model().get_parameter(name).data.copy_(tensor)
    _compare(wrapped, {k: t for k, t in tensors.items() if k not in whole})


def _inner(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _compare(wrapped: Any, tensors: Tensors) -> None:
    """Raise ValueError unless the peft model holds these tensors, name by name and number by number.

    Of a model without numbers (on torch's meta device) by their names alone.
    """
    from peft.utils import get_peft_model_state_dict

    held = {_inner(k): w for k, w in get_peft_model_state_dict(wrapped, save_embedding_layers=False).items()}
    odd = sorted(held.keys() ^ tensors.keys())
    there = {k: w for k, w in held.items() if not w.is_meta}
    odd += [k for k, t in tensors.items() if k in there and not t.to(there[k]).equal(there[k])]
    if odd:
        raise ValueError(f"{len(odd)} tensors were not taken over, first {_first(odd)}")
