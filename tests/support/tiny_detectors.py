"""Object detectors of transformers with a few thousand random weights, one of each family, saved as directories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TYPES = ("toe_drain", "rock_toe", "slope_drain", "vegetation")
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
HGNET = {
    "model_type": "hgnet_v2", "stem_channels": [3, 8, 8], "stage_in_channels": [8, 16, 16, 16],
    "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [16, 16, 16, 16], "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1], "out_indices": [2, 3, 4], "depths": [1, 1, 1, 1],
    "hidden_sizes": [16, 16, 16, 16], "embedding_size": 8,
}  # fmt: skip
HYBRID = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [16, 16, 16], "encoder_ffn_dim": 16, "encoder_attention_heads": 2,
    "d_model": 16, "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16, "decoder_layers": 2,
    "decoder_attention_heads": 2, "num_queries": 12, "num_denoising": 0, "encode_proj_layers": [2],
}  # fmt: skip
PLAIN = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 12,
}  # fmt: skip
WINDOWED = {
    "d_model": 16, "decoder_ffn_dim": 16, "decoder_layers": 2, "decoder_self_attention_heads": 2,
    "decoder_cross_attention_heads": 2, "num_queries": 12, "group_detr": 1, "c2f_num_blocks": 1, "dropout": 0.0,
}  # fmt: skip
VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "mlp_ratio": 2}
STAGES = {"out_features": ["stage2", "stage3", "stage4"]}


def _resnet(**more: Any) -> dict[str, Any]:
    return {"model_type": "resnet", **RESNET, **more}


def _rt_resnet() -> dict[str, Any]:
    return {"model_type": "rt_detr_resnet", **RESNET, "out_indices": [2, 3, 4]}


# Family -> its configuration; and the image processor as its preprocessor_config.json names it, with its size.
SQUARE, SHORTEST = {"height": 64, "width": 64}, {"shortest_edge": 64, "longest_edge": 128}
FAMILIES: Mapping[str, tuple[dict[str, Any], str, dict[str, int]]] = {
    "detr": ({**PLAIN, "backbone_config": _resnet(out_features=["stage4"])}, "DetrImageProcessor", SHORTEST),
    "conditional_detr": (
        {**PLAIN, "backbone_config": _resnet(out_features=["stage4"])}, "ConditionalDetrImageProcessor", SHORTEST,
    ),
    "dab-detr": (
        {
            "hidden_size": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 12,
            "backbone_config": _resnet(out_features=["stage4"]),
        },
        "ConditionalDetrImageProcessor", SHORTEST,
    ),
    "deformable_detr": (
        {**PLAIN, "d_model": 32, "num_feature_levels": 3, "backbone_config": _resnet(**STAGES)},
        "DeformableDetrImageProcessor", SHORTEST,
    ),
    "rt_detr": ({**HYBRID, "backbone_config": _rt_resnet()}, "RTDetrImageProcessor", SQUARE),
    "rt_detr_v2": ({**HYBRID, "backbone_config": _rt_resnet()}, "RTDetrImageProcessorFast", SQUARE),
    "d_fine": ({**HYBRID, "backbone_config": HGNET}, "RTDetrImageProcessor", SQUARE),
    "deimv2": ({**HYBRID, "backbone_config": HGNET}, "RTDetrImageProcessor", SQUARE),
    "lw_detr": (
        {
            **WINDOWED, "projector_scale_factors": [1.0],
            "backbone_config": {
                "model_type": "lw_detr_vit", **VIT, "patch_size": 4, "num_windows": 4, "window_block_indices": [0, 1],
                "out_indices": [2, 4],
            },
        },
        "DeformableDetrImageProcessor", SQUARE,
    ),
    "rf_detr": (
        {
            **WINDOWED,
            "backbone_config": {
                "model_type": "rf_detr_dinov2", **VIT, "patch_size": 8, "num_windows": 2, "out_indices": [2, 4],
            },
        },
        "RfDetrImageProcessor", SQUARE,
    ),
    "yolos": (
        {
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
            "image_size": [64, 64], "patch_size": 8, "num_detection_tokens": 12, "use_mid_position_embeddings": False,
        },
        "YolosImageProcessor", SQUARE,
    ),
}  # fmt: skip


def make_detector(family: str, *, names: Sequence[str] = TYPES, seed: int = 0) -> Any:
    """A model with random float32 weights, larger than a fresh one's, so that what it sees matters to what it says."""
    import torch
    from transformers import AutoConfig, AutoModelForObjectDetection

    shape = {**FAMILIES[family][0], "id2label": dict(enumerate(names))}
    config = AutoConfig.for_model(family, **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForObjectDetection.from_config(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and "backbone" not in name:
                    weight.normal_(0, 0.3)
                elif "class" in name and weight.ndim == 1:
                    weight.normal_(0, 1)
    return model.eval()


def save_detector(where: Path, family: str, **more: Any) -> Path:
    """A tiny model directory: config, safetensors, preprocessor_config.json as the hub's models have it."""
    from toeline.weights import quiet

    _, processor, size = FAMILIES[family]
    with quiet():  # no progress bar
        make_detector(family, **more).save_pretrained(where)
    said = {
        "image_processor_type": processor,
        "size": size,
        "do_pad": size is SHORTEST,
        "do_normalize": family in ("detr", "rf_detr"),
    }
    (where / "preprocessor_config.json").write_text(json.dumps(said))
    return where
