"""The numbers of a config.json that decide a model's size, checked before any weight is read: for judge and plan.

Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toeline.core.question import PromptBudget
from toeline.core.words import cut
from toeline.errors import ModelError
from toeline.judge.families import FAMILIES, REFUSED, Family

MOST = 10_000_000  # of a vocabulary; they have some 100,000
WIDEST, DEEPEST = 1_000_000, 1_000  # of any width or count, and of layers and blocks
DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model of one of the families as far as its size goes: widths, depths and counts, all positive but the last.

    `width`, `depth`, `vision_heads` and `vision_mlp` are the vision tower's, the others the language model's; `patch`
    is a patch's side in pixels, `frames` how many frames share one, `merge` how many patches a side become one token.
    `tied` says that the head is the embedding. `head_dim` is the width of an attention head where that is not the
    share of `hidden`; `places` are learned positions of the vision tower, and `deep` how many more of its layers hand
    features to the language model (deepstack). These three may be 0.
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
    head_dim: int = 0
    places: int = 0
    deep: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that no model can have."""
        for name in (f.name for f in fields(self) if f.type == "int"):
            value = getattr(self, name)
            most = {"vocab": MOST, "layers": DEEPEST, "depth": DEEPEST}.get(name, WIDEST)
            least = 0 if name in ("head_dim", "places", "deep") else 1
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{name} is {cut(repr(value))}, and must be a whole number from {least} to {most:,}")
        odd = not self.head_dim and self.hidden % self.heads
        if odd or self.heads % self.kv_heads or self.width % self.vision_heads:
            raise ValueError("heads do not divide the widths")

    @property
    def kind(self) -> Family:
        """In what its family differs from the others."""
        return FAMILIES[self.family]

    @property
    def head(self) -> int:
        """Width of one attention head of the language model."""
        return self.head_dim or self.hidden // self.heads

    @property
    def queries(self) -> int:
        """Width of all queries of one token in one layer."""
        return self.head * self.heads

    @property
    def keys(self) -> int:
        """Width of all keys, or of all values, of one token in one layer."""
        return self.head * self.kv_heads

    @property
    def pixels(self) -> int:
        """Numbers of one patch: its pixels in all channels and frames."""
        return self.channels * self.frames * self.patch**2

    @property
    def view(self) -> PromptBudget:
        """How much a model is shown that was not trained for a view."""
        return PromptBudget(cell=self.cell, scene_tokens=self.kind.scene_tokens)

    @property
    def cell(self) -> int:
        """Side in pixels of the square that becomes one token."""
        return self.patch * self.merge


def family_of(config: Mapping[str, Any], where: Path | str) -> Family:
    """The family that a config.json names. Raises ModelError for one that is not packed, and says why."""
    name = str(config.get("model_type"))
    if name not in FAMILIES:
        why = f" {name} cannot be used: {REFUSED[name]}." if name in REFUSED else ""
        *some, last = FAMILIES
        raise ModelError(
            f"{where}: model_type is {cut(name)!r}, and the judge runs {', '.join(some)} and {last}.{why} "
            f"Choose a model such as Qwen/Qwen2-VL-7B-Instruct."
        )
    return FAMILIES[name]


def shape_of(config: Mapping[str, Any], where: Path | str) -> Shape:
    """The shape in a config.json, nested as transformers 5 writes it or flat as the hub has it. Raises ModelError."""
    family = family_of(config, where)
    try:
        text = {**family.text, **(config.get("text_config") or config)}
        vision = {**family.vision, **(config.get("vision_config") or {})}
        _check_words(config, text, vision)
        return Shape(family=config["model_type"], **_language(text, config, family), **_vision(vision, family))
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


def _language(text: Mapping[str, Any], config: Mapping[str, Any], family: Family) -> dict[str, Any]:
    return {
        "vocab": text["vocab_size"],
        "hidden": text["hidden_size"],
        "mlp": text["intermediate_size"],
        "layers": text["num_hidden_layers"],
        "heads": text["num_attention_heads"],
        "kv_heads": text["num_key_value_heads"] or text["num_attention_heads"],
        "head_dim": text["head_dim"] if "head_dim" in family.text else 0,
        "tied": bool(config.get("tie_word_embeddings", False)),
    }


def _vision(vision: Mapping[str, Any], family: Family) -> dict[str, Any]:
    width = vision[family.width]
    deep = vision["deepstack_visual_indexes"] if "deepstack_visual_indexes" in family.vision else ()
    if not (isinstance(deep, list | tuple) and all(type(block) is int for block in deep)):
        raise ValueError(f"deepstack_visual_indexes is {cut(repr(deep))}, and must be a list of whole numbers")
    depth = vision["depth"]
    if len({*deep}) < len(deep) or (isinstance(depth, int) and not all(0 <= block < depth for block in deep)):
        raise ValueError(  # transformers would leave such a level out, and add those after it to other layers
            f"deepstack_visual_indexes is {cut(repr(list(deep)))}, and must name different blocks of the vision tower, "
            f"which has {depth}"
        )
    return {
        "width": width,
        "depth": depth,
        "vision_heads": vision["num_heads"],
        "vision_mlp": int(width * vision["mlp_ratio"]) if "mlp_ratio" in family.vision else vision["intermediate_size"],
        "patch": vision["patch_size"],
        "channels": vision["in_channels"],
        "frames": vision["temporal_patch_size"],
        "merge": vision["spatial_merge_size"],
        "places": vision["num_position_embeddings"] if family.places else 0,
        "deep": len(deep),
    }
