"""Finds, checks and loads a model of a family that is packed, its tokenizer and its adapter.

Everything that can be wrong with a directory is said before weights are read, and nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toeline.core import reading
from toeline.core.question import PromptBudget
from toeline.core.reading import number
from toeline.core.words import cut
from toeline.errors import ModelError, SetupError, install_line
from toeline.judge.adapter import VIEW_FILE, add_adapter, weights_of
from toeline.judge.families import FAMILIES
from toeline.judge.lineage import require_base
from toeline.judge.shape import Shape, shape_of
from toeline.judge.vocabulary import load_original
from toeline.weights import check_weights, find_model, first_line, load_whole, pick_device

IMAGE, IMAGE_ID = "<|image_pad|>", 151_655  # the id where a config leaves it out, as transformers takes it
THINKS = re.compile(r"assistant(\\+n|\n)<think>")  # of a chat template: each answer begins with the model's thoughts


def load_parts(where: str, *, device: str, dtype: str, adapter: Path | None, **more: Any) -> dict[str, Any]:
    """The fields of a QwenVLJudge; `more` goes to from_pretrained. Raises ModelError, SetupError for the machine."""
    from toeline.judge.attention import branch_attention

    target = pick_device(device)
    folder = find_folder(where)
    config = read_config(folder)
    if adapter is not None:
        weights_of(adapter)
        require_base(folder, adapter)
    quantized = config.get("quantization_config") is not None
    if quantized:
        more.setdefault("device_map", {"": target})
    kind = pick_dtype(dtype, target)
    tokenizer = load_tokenizer(folder)
    require_marks(folder, config, tokenizer)
    model = load_model(folder, dtype=kind, **more)
    if quantized:
        from toeline.judge.low_bits import settle

        settle(model, kind)
    if target == "cpu":
        branch_attention(model)
    if adapter is not None:
        model = add_adapter(model, adapter)
    return {
        "model": model.eval() if quantized else model.to(target).eval(),
        "tokenizer": tokenizer,
        "original": load_original(folder, load_tokenizer),
        "processor": load_processor(folder, model.config),
        "view": read_view([adapter, folder] if adapter else [folder], shape_of(config, folder)),
        "facts": {"model": where, "model_type": config["model_type"]},
        "folder": folder,
        "adapter": adapter,
    }


def pick_dtype(name: str, device: str) -> Any:
    """A torch dtype. `auto` is float32 on a CPU, else bfloat16, or float16 where bfloat16 is not supported.

    bfloat16 comes first because Qwen2-VL was trained in it and some of its activations pass the range of float16.
    """
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name in known:
        return known[name]
    if name != "auto":
        raise SetupError(f"unknown dtype {name!r}. Choose auto, {', '.join(known)}.")
    if device == "cpu":
        return torch.float32
    fine = torch.cuda.is_bf16_supported() if device == "cuda" else torch.backends.mps.is_macos_or_newer(14, 0)
    return torch.bfloat16 if fine else torch.float16


def find_folder(where: str) -> Path:
    """A directory as it is, a hub id as its snapshot in the hub's cache, downloaded if need be. Raises ModelError."""
    return find_model(where, check=read_config)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model that can be packed exactly. Raises ModelError otherwise."""
    if not (folder / "config.json").is_file():
        hint = " This is an adapter: pass it with --adapter." if (folder / "adapter_config.json").is_file() else ""
        raise ModelError(f"{folder} is not a model directory: it has no config.json.{hint}")
    config = read_json(folder / "config.json")
    shape_of(config, folder / "config.json")
    text = config.get("text_config") or config
    if "sliding_attention" in (text.get("layer_types") or ()) or text.get("use_sliding_window"):
        raise ModelError(
            f"{folder / 'config.json'}: sliding-window attention cannot be packed. Set use_sliding_window to false."
        )
    if file := next((file for file in _templates(folder) if THINKS.search(file.read_text("utf-8", "replace"))), None):
        raise ModelError(
            f"{file}: this model writes down its thoughts before it answers, so that its answers cannot be scored by "
            f"themselves. Choose the edition that answers at once (Instruct)."
        )
    return config


def _templates(folder: Path) -> list[Path]:
    """The files that may hold a chat template."""
    names = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
    return [folder / name for name in names if (folder / name).is_file()]


def load_model(folder: Path, *, dtype: Any, **more: Any) -> Any:
    """A stock transformers model with every weight from the files. Raises ModelError for weights that do not fit."""
    from transformers import AutoModelForImageTextToText

    from toeline.judge.attention import patch_embed_as_linear

    _check_sizes(folder, check_weights(folder))
    how = {"dtype": dtype, "attn_implementation": "sdpa", "use_safetensors": True, **more}
    blind = "model.visual." if "config" in more else ""  # training leaves the vision tower out by a config of its own
    try:
        model = load_whole(AutoModelForImageTextToText, folder, "model", beside=blind, **how)
    except ImportError as why:  # of a library that packs weights in 4 or 8 bits
        raise SetupError(
            f"{folder}: its weights are quantized, and a library for that is missing ({first_line(why)}). Choose the "
            f"model in whole precision, or run: {install_line('quantize')}"
        ) from None
    patch_embed_as_linear(model)
    return model


def _check_sizes(folder: Path, files: Sequence[Path]) -> None:
    """Raise ModelError where config.json makes another model than the weights are: transformers would fill memory."""
    from safetensors import safe_open

    layers, blocks, embedded = set[str](), set[str](), list[int]()
    for file in files:
        with safe_open(file, framework="pt") as held:
            for name in held.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                for found, word in ((layers, "layers"), (blocks, "blocks")):
                    found.update(re.findall(rf"\b{word}\.(\d+)\.", name))
                if name.endswith("embed_tokens.weight"):
                    embedded = held.get_slice(name).get_shape()
    shape = shape_of(read_json(folder / "config.json"), folder / "config.json")
    said, there = [shape.layers, shape.depth], [len(layers), len(blocks)]
    if embedded:
        said, there = [*said, shape.vocab, shape.hidden], [*there, *embedded]
    if layers and said != there:
        raise ModelError(
            f"{folder / 'config.json'}: layers, blocks, vocabulary and width are {said}, and of the weights {there}. "
            f"It belongs to another model, or the download is incomplete."
        )


def called(quantization: Mapping[str, Any] | None) -> str:
    """What the quantization_config of a config.json means, in a word or two; empty for none."""
    found = quantization or {}
    if found.get("quant_method") == "torchao":
        return "int8 (W8A8)" if "Int8DynamicActivationInt8Weight" in json.dumps(found, default=str) else "torchao"
    return "NF4" if found.get("bnb_4bit_quant_type") == "nf4" else str(found.get("quant_method", ""))


def load_tokenizer(folder: Path) -> Any:
    """The directory's tokenizer. Raises ModelError when it has none or it lacks Qwen's marks."""
    from transformers import AutoTokenizer

    from toeline.judge.packing import alphabet_of

    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{folder} has no tokenizer.json. Copy the tokenizer files of the base model into it.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        alphabet_of(tokenizer)
    except Exception as why:  # of files of a wrong form, the libraries below raise all kinds of errors
        raise ModelError(f"{folder}: the tokenizer cannot be used ({first_line(why)}). Copy its files again.") from None
    return tokenizer


def require_marks(folder: Path, config: Mapping[str, Any], tokenizer: Any) -> None:
    """Raise ModelError where model and tokenizer differ in the token of pictures: the model would see none of them."""
    said = config.get("image_token_id", IMAGE_ID)
    if said != (there := tokenizer.get_vocab()[IMAGE]):
        raise ModelError(
            f"{folder / 'config.json'}: image_token_id is {cut(repr(said))}, and {IMAGE} of the tokenizer is {there}, "
            f"so that no picture would be seen. Copy both from the same model."
        )


def load_processor(folder: Path, config: Any) -> Any:
    """Cuts pictures into patches, always the Pillow one: with torchvision the other resizes and rounds differently."""
    from transformers import Qwen2VLImageProcessorPil

    vision = config.vision_config
    sizes = {
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
    }
    pixels = load_preprocessing(folder, sizes)
    return Qwen2VLImageProcessorPil(**sizes, **FAMILIES[config.model_type].pixels, **pixels)


def load_preprocessing(folder: Path, sizes: Mapping[str, int] = MappingProxyType({})) -> dict[str, Any]:
    """What is done to pixels: from processor_config.json, where transformers 5 nests it, else preprocessor_config.json.

    In this order, as transformers itself reads them. Raises ModelError for values that are none, and for a file whose
    `sizes` are not the model's: one of another model, of which the rest would be wrong, too.
    """
    file, found = preprocessing(folder)
    try:
        if not isinstance(found or {}, dict):
            raise ValueError(f"image_processor is {cut(repr(found))}, and must be an object")
        for key, size in sizes.items():
            if (found or {}).get(key, size) not in (size, None):
                raise ValueError(f"{key} is {cut(repr(found[key]))}, and this model's is {size}: of another model")
        return _checked(found or {})
    except ValueError as why:
        raise ModelError(f"{file}: {why}. Copy or download the model again.") from None


def preprocessing(folder: Path) -> tuple[Path, Any]:
    """The file that says what is done to pixels, and what it says, unchecked; nothing where there is no such file."""
    found: Any = None
    for name, nested in (("processor_config.json", "image_processor"), ("preprocessor_config.json", "")):
        found = read_json(folder / name) if (folder / name).is_file() else {}
        found = found.get(nested) if nested else found
        if found:
            break
    return folder / name, found


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    given = {key: found[key] for key in ("do_rescale", "do_normalize") if isinstance(found.get(key), bool)}
    if (factor := found.get("rescale_factor")) is not None:
        given["rescale_factor"] = number(factor, "rescale_factor", low=1e-6, high=1)
    for key, least in (("image_mean", -1000), ("image_std", 1e-6)):
        values = found.get(key)
        if values is None:
            continue
        if not isinstance(values, list) or len(values) != 3:
            raise ValueError(f"{key} is {cut(repr(values))}, and must be a list of three numbers")
        given[key] = [number(value, key, low=least, high=1000) for value in values]
    return given


def read_view(folders: list[Path], shape: Shape) -> PromptBudget:
    """The view in the first folder that has a toeline.json, else the family's default. Raises ModelError."""
    for file in (folder / VIEW_FILE for folder in folders):
        if file.is_file():
            view = _view_of(read_json(file).get("view", {}), file, shape.view)
            if view.cell != shape.cell:
                raise ModelError(
                    f"{file}: cell is {view.cell}, but this model's is {shape.cell}. It belongs to another model."
                )
            return view
    return shape.view


def _view_of(raw: Any, file: Path, default: PromptBudget) -> PromptBudget:
    kinds = {name: type(value) for name, value in asdict(default).items()}
    if not isinstance(raw, dict) or (odd := [k for k, v in raw.items() if k not in kinds or not _is(v, kinds[k])]):
        what = "view is no object" if not isinstance(raw, dict) else f"view has a wrong {', '.join(map(str, odd))}"
        raise ModelError(
            f"{file}: {what}. A view may have: {', '.join(f'{k} ({t.__name__})' for k, t in kinds.items())}."
        )
    return replace(default, **raw)


def _is(value: Any, kind: type) -> bool:
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    return fits and (kind is str or value >= 0)


def write_view(folder: Path, view: PromptBudget, *, base: Mapping[str, str] | None = None) -> None:
    """Save the view that a model or adapter is trained for beside its weights, and the hashes of an adapter's base."""
    record = {"view": asdict(view), **({"base": dict(base)} if base else {})}
    (folder / VIEW_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises ModelError."""
    advice = "Copy or download the model again."
    found = reading.read_json(path, ModelError, advice=advice)
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object. {advice}")
    return found
