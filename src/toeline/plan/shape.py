"""The numbers of a model's config that decide its size. Knows the Qwen2-VL family; reads no weights and no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toeline.core.question import View
from toeline.errors import ModelError

BUNDLED = Path(__file__).parent / "shapes.json"
FAMILIES = ("qwen2_vl", "qwen2_5_vl")

# What transformers takes where a config leaves a number out, by family (configuration_qwen2_vl.py and
# configuration_qwen2_5_vl.py of transformers 5.23). `vision_mlp` of Qwen2-VL is `mlp_ratio` times the width.
TEXT_DEFAULTS = {
    "vocab_size": 152_064,
    "hidden_size": 8_192,
    "intermediate_size": 29_568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
VISION_DEFAULTS = {
    "qwen2_vl": {"depth": 32, "embed_dim": 1_280, "hidden_size": 3_584, "mlp_ratio": 4},
    "qwen2_5_vl": {"depth": 32, "hidden_size": 3_584, "out_hidden_size": 3_584, "intermediate_size": 3_420},
}
PATCH_DEFAULTS = {
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model of the Qwen2-VL family as far as its size goes: widths, depths and counts, all positive.

    `width`, `depth`, `vision_heads` and `vision_mlp` are the vision tower's, the others the language model's; `patch`
    is a patch's side in pixels, `frames` how many frames share one, `merge` how many patches a side become one token.
    `tied` says that the head is the embedding.
    """

    family: str
    vocab: int
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    width: int
    depth: int
    vision_heads: int
    vision_mlp: int
    patch: int = 14
    channels: int = 3
    frames: int = 2
    merge: int = 2

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that no model can have."""
        for name in (f.name for f in fields(self) if f.type == "int"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}, and must be a whole number above 0")
        if self.hidden % self.heads or self.heads % self.kv_heads or self.width % self.vision_heads:
            raise ValueError("heads do not divide the widths")

    @property
    def head(self) -> int:
        """Width of one attention head of the language model."""
        return self.hidden // self.heads

    @property
    def keys(self) -> int:
        """Width of all keys, or of all values, of one token in one layer."""
        return self.head * self.kv_heads

    @property
    def cell(self) -> int:
        """Side in pixels of the square that becomes one token."""
        return self.patch * self.merge


@dataclass(frozen=True)
class Model:
    """What is planned: a model's name as it was typed, its shape, and how much it is shown."""

    name: str
    shape: Shape
    view: View


def find_model(name: str, *, embedded: Path | None = None) -> Model:
    """A hub id from the numbers in the package or the hub's cache, a directory from its config.json. No network.

    `embedded` is the directory of the judge of that name. Raises ModelError for a name that is neither, and for a
    config that is not of the family.
    """
    folder = embedded if name == "embedded" and embedded else Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(name, folder)
    known = {key.lower(): row for key, row in bundled().items()}
    if row := known.get(name.lower()):
        shape = Shape(**row)
        return Model(name, shape, View(cell=shape.cell))
    if cached := _in_cache(name):
        return _from_folder(name, cached)
    raise ModelError(
        f"{name}: no such directory, not in the hub's cache, and not among the models whose numbers Toeline carries "
        f"({', '.join(bundled())}). `plan` uses no network: download the model's config.json and name its directory."
    )


def bundled() -> dict[str, dict[str, Any]]:
    """Public numbers of the family's models by hub id, as `Shape` takes them."""
    found: dict[str, dict[str, Any]] = json.loads(BUNDLED.read_text(encoding="utf-8"))
    return found


def _in_cache(name: str) -> Path | None:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _from_folder(name: str, folder: Path) -> Model:
    shape = shape_of(_read(folder / "config.json"), folder / "config.json")
    file = folder / "toeline.json"
    raw = _read(file).get("view", {}) if file.is_file() else {}
    try:
        view = View(**{"cell": shape.cell, **raw})
    except TypeError:
        raise ModelError(f"{file}: view is not one that Toeline knows. Write it again.") from None
    if not all(type(number) is int and number >= 0 for number in (view.scene_tokens, view.crop_tokens)):
        raise ModelError(f"{file}: scene_tokens and crop_tokens must be whole numbers. Write it again.")
    return Model(name, shape, view)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as why:
        raise ModelError(
            f"{file} cannot be read as JSON ({why}). Name a directory with a model's config.json."
        ) from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds no JSON object. Copy or download it again.")
    return found


def shape_of(config: Mapping[str, Any], where: Path | str) -> Shape:
    """The shape in a config.json, nested as transformers 5 writes it or flat as the hub has it. Raises ModelError."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{where}: model_type is {family!r}, and the judge runs {' and '.join(FAMILIES)}.")
    text = {**TEXT_DEFAULTS, **(config.get("text_config") or config)}
    vision = {**PATCH_DEFAULTS, **VISION_DEFAULTS[family], **(config.get("vision_config") or {})}
    try:
        return Shape(**_language(text, config), **_vision(vision, family))
    except (ValueError, TypeError) as why:
        raise ModelError(f"{where}: these numbers make no model ({why}). Copy or download it again.") from None


def _language(text: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vocab": text["vocab_size"],
        "hidden": text["hidden_size"],
        "mlp": text["intermediate_size"],
        "layers": text["num_hidden_layers"],
        "heads": text["num_attention_heads"],
        "kv_heads": text["num_key_value_heads"] or text["num_attention_heads"],
        "tied": bool(config.get("tie_word_embeddings", False)),
    }


def _vision(vision: Mapping[str, Any], family: str) -> dict[str, Any]:
    old = family == "qwen2_vl"
    width = vision["embed_dim" if old else "hidden_size"]
    return {
        "family": family,
        "width": width,
        "depth": vision["depth"],
        "vision_heads": vision["num_heads"],
        "vision_mlp": int(width * vision["mlp_ratio"]) if old else vision["intermediate_size"],
        "patch": vision["patch_size"],
        "channels": vision["in_channels"],
        "frames": vision["temporal_patch_size"],
        "merge": vision["spatial_merge_size"],
    }
