"""Tiny models of all families with random weights, and sheets to ask them. For tests only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toeline.core.question import Question, QuestionSheet
from toeline.weights import quiet

# Qwen2's own pre-tokenizer pattern
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MARKS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
WORDS = (
    "system user assistant You are a helpful assistant. toe drain slope drain rock toe vegetation blocked damaged "
    "slope drain blocked toe drain- Blocked rock toe damaged The box marks a thing. Around it: nothing. Which one?"
)


def make_tokenizer() -> Any:
    """A byte-level BPE with Qwen2's pattern and marks; about 400 tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        [WORDS] * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False)
    )
    raw.add_special_tokens(list(MARKS))
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")


FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
CELLS = {"qwen2_vl": 28, "qwen2_5_vl": 28, "qwen3_vl": 32}  # side in pixels of what becomes one token


def make_config(vocab: Any, *, family: str = "qwen2_vl", hidden: int = 32, layers: int = 2, **more: Any) -> Any:
    """A config of the family: `hidden` wide in both towers, 4 heads, 2 key heads, `layers` deep in both.

    Heads of Qwen3-VL are twice as wide as their share of `hidden`, as the 4B's are wider, and the first two blocks of
    its vision tower hand features to the first two layers.
    """
    from transformers import AutoConfig

    size, depth = hidden // 4 // 2 * (2 if family == "qwen3_vl" else 1), more.pop("depth", layers)
    section = [size - 2 * (size * 3 // 8), size * 3 // 8, size * 3 // 8]
    if family == "qwen3_vl":
        section = [size - 2 * (size // 4), size // 4, size // 4]
        more["head_dim"] = 2 * size
    text = {
        "vocab_size": len(vocab),
        "hidden_size": hidden,
        "intermediate_size": more.pop("mlp", hidden * 2),
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section},
        "bos_token_id": None,
        "eos_token_id": vocab["<|im_end|>"],
        "pad_token_id": vocab["<|endoftext|>"],
    }
    if "head_dim" in more:
        text["head_dim"] = more.pop("head_dim")
    width = more.pop("vision_width", hidden)
    vision = {
        "qwen2_vl": {"embed_dim": width, "hidden_size": hidden, "mlp_ratio": 2},
        "qwen2_5_vl": {
            "hidden_size": width,
            "out_hidden_size": hidden,
            "intermediate_size": width * 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        "qwen3_vl": {
            "hidden_size": width,
            "out_hidden_size": hidden,
            "intermediate_size": width * 2,
            "num_position_embeddings": 49,
            "deepstack_visual_indexes": list(range(min(depth, 2))),
        },
    }[family]
    return AutoConfig.for_model(
        family,
        text_config=text,
        vision_config={"depth": depth, "num_heads": 4, **vision},
        image_token_id=vocab["<|image_pad|>"],
        video_token_id=vocab["<|video_pad|>"],
        vision_start_token_id=vocab["<|vision_start|>"],
        vision_end_token_id=vocab["<|vision_end|>"],
        tie_word_embeddings=more.pop("tied", True),
        **more,
    )


def make_model(tokenizer: Any, *, seed: int = 0, scale: float = 8.0, **shape: Any) -> Any:
    """A model with random float32 weights, `scale` times the usual, so that every input matters to the scores."""
    import torch
    from transformers import AutoModelForImageTextToText

    config = make_config(tokenizer.get_vocab(), **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.mul_(scale)
    return model.eval()


def save_model(where: Path, **shape: Any) -> Path:
    """A tiny model directory: config, safetensors, tokenizer."""
    tokenizer = make_tokenizer()
    with quiet():
        make_model(tokenizer, **shape).save_pretrained(where)
        tokenizer.save_pretrained(where)
    return where


def make_picture(wide: int, high: int, seed: int = 0) -> Image.Image:
    """Noise over a gradient."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 128, wide)[None, :, None]
    return Image.fromarray((rng.integers(0, 128, (high, wide, 3)) + slope).astype(np.uint8))


ANSWERS = (
    ("slope drain", "slope drain blocked", "slope drain damaged"),
    ("rock toe", "rock toe damaged"),
    ("Toe drain", "Toe drain- Blocked", "Toe drain- Damaged", "rock toe", "vegetation", "slope drain", "slope"),
)


def make_sheet(
    count: int,
    *,
    answers: Sequence[tuple[str, ...]] = ANSWERS,
    picture: tuple[int, int] | None = (112, 84),
    crops: bool = True,
    text: str = "The photograph shows 3 things.",
    cell: int = 28,
) -> QuestionSheet:
    """A sheet of `count` questions with crops of different sizes, seeded. `picture` is in pixels for a cell of 28."""
    questions = tuple(
        Question(
            instance_id=f"t{i}",
            text=f"The box marks thing {i}. Which one?",
            crop=make_picture(cell * (1 + i % 3), cell * (2 - i % 2), seed=100 + i) if crops else None,
            answers=tuple(answers[i % len(answers)]),
        )
        for i in range(count)
    )
    shown = None if picture is None else make_picture(*(side // 28 * cell for side in picture))
    return QuestionSheet("photo.jpg", shown, text, questions)


def rendered(sheet: QuestionSheet, question: Question, family: str = "qwen2_vl") -> str:
    """The whole prompt of one question alone, in the family's chat form."""
    cell = CELLS[family]

    def shown(picture: Any) -> str:
        if picture is None:
            return ""
        return (
            f"<|vision_start|>{'<|image_pad|>' * (picture.size[0] // cell * (picture.size[1] // cell))}<|vision_end|>"
        )

    text = sheet.text + "\n" if sheet.text else ""
    system = "" if family == "qwen3_vl" else "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    return (
        f"{system}<|im_start|>user\n{shown(sheet.picture)}{text}{shown(question.crop)}{question.text}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
