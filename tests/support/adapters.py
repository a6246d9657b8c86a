"""Adapters around a tiny judge, for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from tests.support.tiny_judges import make_model, make_tokenizer

from toeline.weights import quiet


def trained(family: str = "qwen2_vl", seed: int = 0, **config: Any) -> Any:
    """A peft model whose LoRA weights are all other than 0."""
    said = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj", "qkv"], **config}
    with quiet():  # peft warns of adapters of a vocabulary that is tied
        wrapped = peft.get_peft_model(make_model(make_tokenizer(), family=family), peft.LoraConfig(**said))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.copy_(torch.rand(weight.shape, generator=drawn))
    return wrapped


def saved(wrapped: Any, folder: Path) -> Path:
    with quiet():
        wrapped.save_pretrained(folder)
    return folder
