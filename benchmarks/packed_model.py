"""The model, the tokenizer and the photograph that packed.py measures with: shapes of real ones, random contents."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.judge.attention import branch_attention, patch_embed_as_linear
from toeline.judge.packing import MARKS
from toeline.judge.qwen_vl import QwenVLJudge

FULL = {"hidden": 1024, "layers": 12, "mlp": 2816, "heads": 16, "vocabulary": 16_000, "vision": 512, "depth": 8}
QUICK = {"hidden": 256, "layers": 4, "mlp": 704, "heads": 4, "vocabulary": 2_000, "vision": 192, "depth": 2}


class Words:
    """A stand-in for a tokenizer: one token a word or sign, which comes close to Qwen2's count for English."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known = {mark: i for i, mark in enumerate(MARKS)}

    def get_vocab(self) -> dict[str, int]:
        return self.known

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        ids = [self.known.setdefault(word, len(self.known)) for word in re.findall(r" ?\w+|\n|[^\w\n]", text)]
        if len(self.known) > self.size:
            raise ValueError(f"more than {self.size} different words")
        return {"input_ids": ids}


def make_judge(
    shape: dict[str, int], seed: int = 0, *, dtype: torch.dtype = torch.float32, by_branch: bool = True
) -> QwenVLJudge:
    """Random weights on torch's current device. `by_branch` attends as every judge on a CPU does."""
    words = Words(shape["vocabulary"])
    marks = words.get_vocab()
    half = shape["hidden"] // shape["heads"] // 2
    config = AutoConfig.for_model(
        "qwen2_vl",
        text_config={
            "vocab_size": shape["vocabulary"],
            "hidden_size": shape["hidden"],
            "intermediate_size": shape["mlp"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["heads"],
            "num_key_value_heads": shape.get("kv_heads", shape["heads"] // 4),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [half // 4, half * 3 // 8, half * 3 // 8],
            },
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": shape["depth"],
            "embed_dim": shape["vision"],
            "hidden_size": shape["hidden"],
            "num_heads": shape.get("vision_heads", shape["vision"] // 64),
        },
        image_token_id=marks["<|image_pad|>"],
        vision_start_token_id=marks["<|vision_start|>"],
        vision_end_token_id=marks["<|vision_end|>"],
        video_token_id=shape["vocabulary"] - 1,
        tie_word_embeddings=shape.get("tied", True),
    )
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa").eval()
    patch_embed_as_linear(model)  # for all ways alike
    if by_branch:
        branch_attention(model)  # for the ways that do not pack it is stock sdpa
    return QwenVLJudge(model, words, Qwen2VLImageProcessorPil(), PromptBudget())


def make_sheet(count: int) -> QuestionSheet:
    """A 640 x 640 photograph as 529 tokens, 64-token crops, 200 words of scene and 35 of question, nine answers."""
    rng = np.random.default_rng(0)
    noise = lambda side: Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))  # noqa: E731
    scene = "\n".join(f"- thing {i}: slope drain at ({i * 40}, 12), ({i * 40 + 60}, 980)" for i in range(9))
    asked = "thing {}: slope drain at (120, 40), (180, 960). A toe drain is at its lower end, vegetation covers it."
    answers = Taxonomy.load().answers()
    photo = noise(640).resize((644, 644), Image.Resampling.BICUBIC)
    questions = tuple(Question(f"t{i}", asked.format(i) + " Which class?", noise(224), answers) for i in range(count))
    return QuestionSheet("photo.jpg", photo, f"Things on the photograph:\n{scene}", questions)
