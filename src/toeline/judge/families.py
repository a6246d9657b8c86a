"""The families of models that are packed exactly, and in what they differ. Numbers of a model stand in its config.

Everything that a family does otherwise is said here once; the code that runs, counts, trains and quantizes asks the
record or the model itself. Knows no tensors, and reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SYSTEM = "You are a helpful assistant."  # what the chat templates of Qwen2-VL and Qwen2.5-VL say by themselves


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between families, and what transformers takes where a config leaves a number out.

    `system` is the system text of its chat template when nobody gives one; empty for none. `scene_tokens` show a square
    photograph at 640 pixels. `pixels` are settings of the image processor where no file of the model has them.
    Language model: `biases` of queries, keys and values; `head_norms` on queries and keys.
    Vision tower: LayerNorm (`layer_norm`) or RMSNorm; a `gated` MLP; `places`, a table of learned positions beside the
    rotation, and a bias in the patch embedding.
    `text` and `vision` are defaults by the names of transformers' configs (5.23), in which `width` is the name of the
    tower's width. Which of its features go into deeper layers (deepstack) stands there too.
    """

    title: str
    text: Mapping[str, int]
    vision: Mapping[str, int | tuple[int, ...]]
    width: str = "hidden_size"
    system: str = SYSTEM
    scene_tokens: int = 529
    pixels: Mapping[str, Sequence[float]] = field(default_factory=dict)  # else the processor's own: those of CLIP
    biases: bool = True
    head_norms: bool = False
    layer_norm: bool = True
    gated: bool = False
    places: bool = False


_TEXT = {
    "vocab_size": 152_064,
    "hidden_size": 8_192,
    "intermediate_size": 29_568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
_PATCHES = {
    "depth": 32,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
FAMILIES: Mapping[str, Family] = {
    "qwen2_vl": Family(
        title="Qwen2-VL",
        text=_TEXT,
        vision={**_PATCHES, "embed_dim": 1_280, "mlp_ratio": 4},
        width="embed_dim",
    ),
    "qwen2_5_vl": Family(
        title="Qwen2.5-VL",
        text=_TEXT,
        vision={**_PATCHES, "hidden_size": 3_584, "intermediate_size": 3_420},
        layer_norm=False,
        gated=True,
    ),
    "qwen3_vl": Family(
        title="Qwen3-VL",
        text={
            "vocab_size": 151_936,
            "hidden_size": 4_096,
            "intermediate_size": 22_016,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "head_dim": 128,
        },
        vision={
            **_PATCHES,
            "depth": 27,
            "hidden_size": 1_152,
            "intermediate_size": 4_304,
            "patch_size": 16,
            "num_position_embeddings": 2_304,
            "deepstack_visual_indexes": (8, 16, 24),
        },
        system="",
        scene_tokens=400,
        pixels={"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        biases=False,
        head_norms=True,
        places=True,
    ),
}
_EXPERTS = "it is a mixture of experts, and packing was never compared with such a model"
_RECURRENT = "some of its layers read tokens one after another, so that branches cannot stand in one sequence"
REFUSED = {"qwen3_vl_moe": _EXPERTS, "qwen3_5": _RECURRENT, "qwen3_5_moe": _RECURRENT}
