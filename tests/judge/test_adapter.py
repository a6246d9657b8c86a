"""Adapters under the names of other versions and trainers: each tensor at its one place, or the adapter is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.adapters import saved, trained
from tests.support.tiny_judges import FAMILIES, make_model, make_tokenizer

from toeline.errors import ModelError
from toeline.judge.adapter import with_adapter

TOKENIZER = make_tokenizer()
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
Tensors = dict[str, torch.Tensor]
NEW, SEEN = "base_model.model.model.language_model.", "base_model.model.model.visual."


def held(wrapped: Any) -> dict[str, Any]:
    """Every weight, and what each layer's adapter is multiplied with."""
    scale = {n: m.scaling for n, m in wrapped.named_modules() if isinstance(getattr(m, "scaling", None), dict)}
    return {**{n: w.tolist() for n, w in wrapped.state_dict().items()}, "scale": scale}


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({k: w.contiguous() for k, w in change(load_file(file)).items()}, file)


def say(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def named(language: str, vision: str, *, part: str = "") -> Callable[[Tensors], Tensors]:
    """Every tensor under other prefixes."""

    def change(tensors: Tensors) -> Tensors:
        out = {k.replace(NEW, language).replace(SEEN, vision): w for k, w in tensors.items()}
        return {k.replace("lora_A.", f"lora_A.{part}").replace("lora_B.", f"lora_B.{part}"): w for k, w in out.items()}

    return change


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("language", "vision", "part"),
    [
        ("base_model.model.model.", "base_model.model.visual.", ""),  # transformers before 4.52
        ("base_model.model.model.", "base_model.model.visual.", "default."),
        ("base_model.model.language_model.model.", "base_model.model.visual.", ""),  # as LLaVA has it
        ("base_model.model.language_model.", "base_model.model.visual.", ""),  # the model without its head
        ("model.", "visual.", "default."),  # state dicts of trainers, without peft's prefix
        ("model.language_model.", "model.visual.", "sft."),
        ("module.base_model.model.model.", "module.base_model.model.visual.", ""),  # of several processes
        ("base_model.model._orig_mod.model.", "base_model.model._orig_mod.visual.", ""),
        (NEW, SEEN, ""),
    ],
)
def test_names_of_other_versions_find_their_places(
    family: str, language: str, vision: str, part: str, tmp_path: Path
) -> None:
    wrapped = trained(family)
    rewrite(saved(wrapped, tmp_path), named(language, vision, part=part))
    found = with_adapter(make_model(TOKENIZER, family=family), tmp_path)
    assert held(found) == held(wrapped)
    assert not any(w.requires_grad for w in found.parameters())


OLD = named("base_model.model.model.", "base_model.model.visual.")


@pytest.mark.parametrize(
    "said",
    [
        {"target_modules": r"^(?!.*visual).*(?:q_proj|down_proj)$"},
        {"target_modules": r"(?:.*?(?:language|model\.layers).*?(?:self_attn|mlp).*?(?:q_proj|down_proj))"},
        {"target_modules": r"model\.layers\.\d+\.(self_attn\.q_proj|mlp\.down_proj)"},
        {"target_modules": r"model\.language_model\.layers\.\d+\.(self_attn\.q_proj|mlp\.down_proj)"},
        {"target_modules": [f"model.layers.{n}.{m}" for n in (0, 1) for m in ("self_attn.q_proj", "mlp.down_proj")]},
        {"target_modules": ["q_proj", "down_proj"], "exclude_modules": r".*visual.*"},
        {"target_modules": ["q_proj", "down_proj", "o_proj"], "exclude_modules": ["o_proj"]},
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [0, 1]},
    ],
    ids=str,
)
def test_patterns_and_full_names_are_those_of_the_trainers_version(said: dict[str, Any], tmp_path: Path) -> None:
    wrapped = trained(target_modules=["q_proj", "down_proj"])
    rewrite(saved(wrapped, tmp_path), OLD)
    say(tmp_path, **said)
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)


@pytest.mark.parametrize(
    "said",
    [
        {"task_type": "IMAGE_TEXT_TO_TEXT", "auto_mapping": {"parent_library": "x"}, "runtime_config": {"a": 1}},
        {"r": 4.0, "a_setting_of_2027": [1], "enable_lora": None, "loftq_config": {}},
    ],
    ids=str,
)
def test_what_a_config_says_beside_the_layers_does_not_count(said: dict[str, Any], tmp_path: Path) -> None:
    wrapped = trained()
    say(saved(wrapped, tmp_path), **said)
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)


def test_ranks_and_alphas_of_single_layers_are_kept(tmp_path: Path) -> None:
    layer = "layers.1.self_attn.q_proj"
    alphas = {f"model.language_model.{layer}": 64, "down_proj": 3}
    wrapped = trained(rank_pattern={layer: 2}, alpha_pattern=alphas)
    rewrite(saved(wrapped, tmp_path), OLD)
    say(tmp_path, alpha_pattern={f"model.{layer}": 64, "down_proj": 3})
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)


@pytest.mark.parametrize(
    "more",
    [
        {"use_dora": True},
        {"bias": "lora_only"},
        {"modules_to_save": ["merger"]},
        {"target_modules": ["embed_tokens", "lm_head", "q_proj"]},
        {"target_modules": "all-linear"},
        {"use_rslora": True},
    ],
    ids=str,
)
def test_other_kinds_of_lora_load_under_old_names(more: dict[str, Any], tmp_path: Path) -> None:
    wrapped = trained(**more)
    rewrite(saved(wrapped, tmp_path), OLD)
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)


def test_an_adapter_of_the_patch_embedding_counts(tmp_path: Path) -> None:
    """Its faster form (judge/attention.py) would pass the adapter by."""
    from toeline.judge.attention import patch_embed_as_linear

    wrapped = trained(target_modules=["patch_embed.proj"])
    model = make_model(TOKENIZER)
    patch_embed_as_linear(model)
    found = with_adapter(model, saved(wrapped, tmp_path)).get_base_model()
    seen = torch.rand(4, 1176)
    assert torch.allclose(found.model.visual.patch_embed(seen), wrapped.get_base_model().model.visual.patch_embed(seen))


def half(tensors: Tensors) -> Tensors:
    return {k: w for k, w in tensors.items() if "layers.1." not in k}


def without_one(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[1:])


def both_names(tensors: Tensors) -> Tensors:
    return {**tensors, **{k: w.clone() for k, w in OLD(tensors).items()}}


def of_another_tower(tensors: Tensors) -> Tensors:
    return {k.replace("language_model.", "vision_tower."): w for k, w in tensors.items()}


def of_mlx(tensors: Tensors) -> Tensors:
    return {k.replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b"): w.T for k, w in tensors.items()}


def transposed(tensors: Tensors) -> Tensors:
    return {k: w.T if "q_proj.lora_B" in k else w for k, w in tensors.items()}


def whole_weight(tensors: Tensors) -> Tensors:
    return {**tensors, f"{NEW}layers.0.self_attn.v_proj.weight": torch.zeros(16, 32)}


def layer_beyond(tensors: Tensors) -> Tensors:
    return {k.replace("layers.1.", "layers.7."): w for k, w in tensors.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (half, "2 differ, model.language_model.layers.1"),
        (without_one, "1 tensors have no counterpart"),
        (both_names, "of its 24 tensors have no counterpart"),
        (of_another_tower, "8 of its 12 tensors have no counterpart, first base_model.model.model.vision_tower"),
        (of_mlx, "tensors have no counterpart"),
        (transposed, "2 tensors have another shape"),
        (whole_weight, "1 tensors have no counterpart"),
        (layer_beyond, "4 of its 12 tensors have no counterpart"),
        (lambda tensors: {}, "it holds no tensor of LoRA"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [named(NEW, SEEN), OLD], ids=["new", "old"])
def test_an_adapter_that_fits_in_part_is_refused(
    change: Callable[[Tensors], Tensors], said: str, names: Callable[[Tensors], Tensors], tmp_path: Path
) -> None:
    rewrite(saved(trained(), tmp_path), change)
    rewrite(tmp_path, names)
    if change is of_another_tower and names is OLD:
        said = "8 of its 12"
    if change is both_names and names is OLD:
        pytest.skip("they are the same names")
    with pytest.raises(ModelError, match=f"(?s){tmp_path}.*does not fit this model.*{said}"):
        with_adapter(make_model(TOKENIZER), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "peft_type is 'PROMPT_TUNING'"),
        ({"peft_type": ["LORA"]}, "peft_type is"),
        ({"r": "4"}, "r is '4'"),
        ({"r": 0}, "r is 0"),
        ({"r": 2.5}, "r is 2.5"),
        ({"r": 8}, "tensors of rank 4, and the config says 8"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"target_modules": None}, "target_modules is None"),
        ({"target_modules": []}, r"target_modules is \[\]"),
        ({"target_modules": ["(", 1]}, "target_modules is"),
        ({"target_modules": "("}, "the pattern '\\('"),
        ({"target_modules": r"((\w|\.)+)+!"}, "does not fit"),  # would take years
        ({"target_modules": ["q_proj"]}, "names not the 6 layers of its tensors: 4 differ"),
        ({"target_modules": ["q_proj", "down_proj", "qkv", "o_proj"]}, "2 differ, model.language_model"),
        ({"alpha_pattern": {"q_proj": "x"}}, "q_proj is 'x'"),
        ({"rank_pattern": [1]}, r"rank_pattern is \[1\]"),
        ({"layers_to_transform": ["a"]}, "layers_to_transform is"),
        ({"modules_to_save": "x"}, "modules_to_save is 'x'"),
        ({"target_parameters": ["x"]}, "target_parameters is set"),
        ({"init_lora_weights": {"a": 1}}, "does not fit"),
        ({"bias": 3}, "does not fit"),
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_lies_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    say(saved(trained(), tmp_path), **changes)
    with pytest.raises(ModelError, match=f"(?s){tmp_path}.*{said}"):
        with_adapter(make_model(TOKENIZER), tmp_path)


def test_pickles_beside_the_safetensors_are_not_read(tmp_path: Path) -> None:
    wrapped = trained()
    (saved(wrapped, tmp_path) / "adapter_model.bin").write_bytes(b"never read")
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "other.safetensors")
    assert held(with_adapter(make_model(TOKENIZER), tmp_path)) == held(wrapped)
    shutil.copy(tmp_path / "other.safetensors", tmp_path / "another.safetensors")
    with pytest.raises(ModelError, match=r"2 \*\.safetensors, and none is called"):
        with_adapter(make_model(TOKENIZER), tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match=r"adapter_model\.bin only: a pickle"):
        with_adapter(make_model(TOKENIZER), tmp_path)


def test_an_adapter_one_folder_deeper_is_named(tmp_path: Path) -> None:
    saved(trained(), tmp_path / "checkpoint-7")
    with pytest.raises(ModelError, match="There is one in it: checkpoint-7"):
        with_adapter(make_model(TOKENIZER), tmp_path)
