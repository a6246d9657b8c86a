"""The numbers of a config.json that decide a model's size, checked before any weight is read: for judge and plan.

Knows the Qwen2-VL family, and reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toeline.core.words import cut
from toeline.errors import ModelError

MOST = 10_000_000  # of a vocabulary; they have some 100,000
WIDEST, DEEPEST = 1_000_000, 1_000  # of any width or count, and of layers and blocks
DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
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
            most = {"vocab": MOST, "layers": DEEPEST, "depth": DEEPEST}.get(name, WIDEST)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} is {cut(repr(value))}, and must be a whole number from 1 to {most:,}")
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


def shape_of(config: Mapping[str, Any], where: Path | str) -> Shape:
    """The shape in a config.json, nested as transformers 5 writes it or flat as the hub has it. Raises ModelError."""
    family = str(config.get("model_type"))
    if family not in VISION_DEFAULTS:
        raise ModelError(f"{where}: model_type is {cut(family)!r}; the judge runs {' and '.join(VISION_DEFAULTS)}.")
    try:
        text = {**TEXT_DEFAULTS, **(config.get("text_config") or config)}
        vision = {**PATCH_DEFAULTS, **VISION_DEFAULTS[family], **(config.get("vision_config") or {})}
        _check_words(config, text, vision)
        return Shape(**_language(text, config), **_vision(vision, family))
    except (ValueError, TypeError, OverflowError) as why:
        raise ModelError(f"{where}: these numbers make no model ({why}). Copy or download it again.") from None


def _check_words(*parts: Mapping[str, Any]) -> None:
    """Raise ValueError for a precision that is none, and for kinds of layers that are no list of words."""
    for part in parts:
        for name in ("dtype", "torch_dtype"):
            if (dtype := part.get(name)) is not None and str(dtype) not in DTYPES:
                raise ValueError(f"{name} is {cut(repr(dtype))}, and must be one of {', '.join(DTYPES)}")
        kinds = part.get("layer_types")
        if kinds is not None and not (isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds)):
            raise ValueError(f"layer_types is {cut(repr(kinds))}, and must be a list of words")


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
