"""Parameters and bytes of the weights: exact, from the config alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_judges import FAMILIES, make_config, make_tokenizer

from toeline.errors import ModelError
from toeline.plan.model_shape import (
    ModelPart,
    Shape,
    Weights,
    bundled,
    count,
    find_model,
    linear,
    load_bytes,
    lora_parameters,
    shape_of,
    size,
)

SEVEN, FOUR = "Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen3-VL-4B-Instruct"
PREFIXES = {
    "embedding": "model.language_model.embed_tokens",
    "head": "lm_head",
    "final_norm": "model.language_model.norm",
    "merger": ("model.visual.merger", "model.visual.deepstack_merger_list"),
    "patch_embed": ("model.visual.patch_embed", "model.visual.pos_embed"),
    "vision_blocks": "model.visual.blocks",
}


def part_of(name: str) -> str:
    for part, prefix in PREFIXES.items():
        if name.startswith(prefix):
            return part
    return "norms" if "norm" in name else "attention" if "self_attn" in name else "mlp"


def parts_of(model: Any) -> dict[str, int]:
    found = dict.fromkeys([*PREFIXES, "attention", "mlp", "norms"], 0)
    for name, weight in model.named_parameters():
        found[part_of(name)] += weight.numel()
    return found


def on_meta(config: Any) -> Any:
    """The real model without a byte of weights."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def shape_7b(**more: Any) -> Shape:
    return Shape(**{**bundled()[SEVEN], **more})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_part_equals_the_real_models(family: str, tied: bool) -> None:
    config = make_config(make_tokenizer().get_vocab(), family=family, hidden=64, layers=3, mlp=96, vision_width=48)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
    model = on_meta(config)
    planned = count(shape_of(config.to_dict(), "config.json"))
    assert {name: part.total for name, part in vars(planned).items()} == parts_of(model)
    assert planned.total == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(("name", "deep"), [(SEVEN, 0), (FOUR, 2)])
def test_widths_equal_the_real_models(name: str, deep: int) -> None:
    """Two layers and two blocks, which is quick; the other layers are the same."""
    from transformers import AutoConfig

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    shape = replace(find_model(name).shape, layers=2, depth=2, deep=deep)
    text = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": 2,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rope_parameters": rope,
        **({"head_dim": 128} if deep else {}),
    }
    vision: dict[str, Any] = {"depth": 2}
    if deep:  # as its config.json says them
        vision |= {"deepstack_visual_indexes": [0, 1], "hidden_size": 1024, "intermediate_size": 4096}
        vision["out_hidden_size"] = 2560
    config = AutoConfig.for_model(shape.family, text_config=text, vision_config=vision)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = shape.tied
    model = on_meta(config)
    assert {name: part.total for name, part in vars(count(shape)).items()} == parts_of(model)


def test_the_7b_has_its_public_numbers() -> None:
    parts = count(shape_7b())
    assert parts.total == 8_291_375_616
    assert parts.embedding.total == parts.head.total == 544_997_376
    assert parts.layers.total == 6_525_618_176
    assert parts.vision.total == parts.total - 2 * 544_997_376 - 6_525_618_176 - parts.final_norm.total


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("Qwen/Qwen2-VL-2B-Instruct", 2_208_985_600),
        ("Qwen/Qwen2-VL-72B-Instruct", 73_405_560_320),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656),
        ("Qwen/Qwen2.5-VL-72B-Instruct", 73_410_777_344),
        ("Qwen/Qwen3-VL-2B-Instruct", 2_127_532_032),
        (FOUR, 4_437_815_808),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
    ],
)
def test_other_bundled_models_have_their_published_totals(name: str, total: int) -> None:
    assert count(find_model(name).shape).total == total


@pytest.mark.parametrize(
    ("weights", "gb"),
    [  # the table of a prototype that built each of them
        (Weights("bfloat16", "bfloat16"), 16.58),
        (Weights("bfloat16", "bfloat16", vocab=4096), 14.46),
        (Weights("bfloat16", "int8", vocab=4096), 13.79),
        (Weights("int8", "int8"), 9.39),
        (Weights("int8", "int8", vocab=4096), 7.27),
        (Weights("int8", "int4", vocab=4096), 6.94),
        (Weights("int4", "bfloat16"), 6.90),
        (Weights("int4", "int4", vocab=4096), 3.78),
        (Weights("nf4", "nf4", vocab=4096), 3.78),
        (Weights("bfloat16", ""), 15.23),
    ],
)
def test_bytes_of_the_7b(weights: Weights, gb: float) -> None:
    assert round(sum(load_bytes(shape_7b(), weights).values()) / 1e9, 2) == gb


def test_quantized_bytes_hold_their_scales() -> None:
    part = linear(256, 64, bias=True)
    assert part == ModelPart(16_384, 64, 64, 1)
    assert size(part, "int8", "float32") == 16_384 + 5 * 64 + 4 * 64
    for name in ("int4", "nf4"):
        assert size(part, name, "bfloat16") == 8_192 + 16_384 // 64 + 4 + (16 + 256) * 4 + 172 + 2 * 64


def test_lora_parameters() -> None:
    assert lora_parameters(shape_7b(), 16) == 10_092_544


def test_a_flat_config_of_the_hub_equals_a_nested_one() -> None:
    nested = make_config(make_tokenizer().get_vocab(), hidden=64).to_dict()
    flat = {**nested.pop("text_config"), **nested, "model_type": "qwen2_vl"}
    nested["text_config"] = {k: v for k, v in flat.items() if k != "vision_config"}
    assert shape_of(flat, "a") == shape_of(nested, "b")


def test_the_published_config_of_qwen3_vl_8b_is_its_bundled_shape() -> None:
    text = {
        "dtype": "bfloat16", "head_dim": 128, "hidden_size": 4096, "intermediate_size": 12_288, "vocab_size": 151_936,
        "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "model_type": "qwen3_vl_text",
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
    }  # fmt: skip
    vision = {
        "deepstack_visual_indexes": [8, 16, 24], "depth": 27, "hidden_size": 1152, "intermediate_size": 4304,
        "model_type": "qwen3_vl", "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 4096,
        "in_channels": 3, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    config = {"model_type": "qwen3_vl", "text_config": text, "vision_config": vision, "tie_word_embeddings": False}
    model = find_model("Qwen/Qwen3-VL-8B-Instruct")
    assert shape_of(config, "config.json") == model.shape
    assert (model.view.cell, model.view.scene_tokens) == (32, 400)


def test_the_embedded_judge_is_read_from_its_directory() -> None:
    from toeline.judge.load import EMBEDDED

    model = find_model("embedded", embedded=EMBEDDED)
    assert (model.view.scene_tokens, model.shape.cell) == (100, 28)
    assert count(model.shape).total == 9_618_432


BAD = {
    "text": ("{", "cannot be read as JSON"),
    "list": ("[]", "holds no JSON object"),
    "other family": (json.dumps({"model_type": "qwen3_vl_moe"}), "'qwen3_vl_moe'.*mixture of experts"),
    "deepstack": (
        json.dumps({"model_type": "qwen3_vl", "vision_config": {"deepstack_visual_indexes": "8"}}),
        "deepstack_visual_indexes is '8', and must be a list",
    ),
    "deepstack of no block": (  # as where the config of a smaller model leaves them out
        json.dumps({"model_type": "qwen3_vl", "vision_config": {"depth": 24}}),
        r"deepstack_visual_indexes is \[8, 16, 24\], and must name different blocks of the vision tower, which has 24",
    ),
    "deepstack twice": (
        json.dumps({"model_type": "qwen3_vl", "vision_config": {"deepstack_visual_indexes": [5, 5, 7]}}),
        "must name different blocks",
    ),
    "no layers": (json.dumps({"model_type": "qwen2_vl", "num_hidden_layers": 0}), "layers is 0"),
    "words for numbers": (json.dumps({"model_type": "qwen2_vl", "hidden_size": "wide"}), "make no model"),
    "heads": (json.dumps({"model_type": "qwen2_vl", "num_attention_heads": 7}), "heads do not divide"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_config_is_told(tmp_path: Path, kind: str) -> None:
    text, said = BAD[kind]
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        find_model(str(tmp_path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"(?s)uses no network.*|.*Qwen/Qwen2-VL-7B"):
        find_model("nobody/nothing")
    with pytest.raises(ModelError, match="is neither a model directory nor"):
        find_model("./nowhere")


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ({"scene_tokens": "many"}, r"wrong scene_tokens.*scene_tokens \(int\)"),
        ({"crop_tokens": -1}, "wrong crop_tokens"),
        ({"sight": 3}, "wrong sight"),
        (3, "view is no object"),
    ],
)
def test_a_bad_view_is_told(tmp_path: Path, view: Any, said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    (tmp_path / "toeline.json").write_text(json.dumps({"view": view}))
    with pytest.raises(ModelError, match=said):
        find_model(str(tmp_path))


def test_the_7b_meets_its_limits_on_the_meta_device_s_shapes() -> None:
    """Exact bytes from shapes: FP16 in GiB, INT8 in GiB, INT4 in both, trimmed and with the vision tower converted."""
    whole, trimmed, int8, nf4 = (
        sum(load_bytes(shape_7b(), held).values())
        for held in (
            Weights("bfloat16", "bfloat16"),
            Weights("bfloat16", "bfloat16", vocab=4096),
            Weights("int8", "int8", vocab=4096),
            Weights("int4", "int4", vocab=4096),
        )
    )
    assert (whole, trimmed, int8, nf4) == (16_582_751_232, 14_461_481_984, 7_271_323_136, 3_777_636_872)
    assert trimmed < 14 * 2**30
    assert int8 < 7 * 2**30
    assert nf4 < 4 * 10**9
