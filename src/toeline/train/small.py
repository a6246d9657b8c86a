"""A small model of the Qwen2-VL architecture and its tokenizer, from random weights: what is trained and embedded.

Everything is a stock transformers class, so the result loads like any other Qwen2-VL directory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from toeline.ask.prompt import PROMPTS, Seen
from toeline.core.taxonomy import Taxonomy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT = (  # Qwen2-VL's own turn format, for text-only and image chat through stock processors
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def rendered_texts(taxonomy: Taxonomy) -> Iterator[str]:
    """Every word that the prompts can say of this taxonomy, in the sentences that say it.

    The tokenizer is trained on rendered prompts: pieces tokenize differently (docs of the packed layout, section 5).
    """
    from toeline.ask.evidence import Evidence
    from toeline.ask.evidence import spoken as told
    from toeline.ask.say import PHRASES
    from toeline.ask.spatial import ASK, NO, YES

    yield from ASK.values()
    yield f"Marked in it: A (red) toe drain; B (blue) slope drain; C (yellow) rock toe. Answer {YES} or {NO}."
    yield from ("system\nYou are a helpful assistant.", "user\n", "assistant\n", *taxonomy.answers())
    kinds = [t.name for t in taxonomy.types]
    for n, (phrase, kind) in enumerate((p, k) for p in PHRASES.values() for k in kinds):
        spoken = taxonomy.spoken(kind)
        place = f"({n},{37 * n % 999}),({61 * n % 999},{999 - n})"
        words = ("touching", "under 1% away", f"{n}% away")[n % 3]
        around = f"{phrase} and {phrase} {spoken} {n}, {words}; {phrase} {spoken} {n + 1}, {words}" if n % 7 else ""
        evidence = told(Evidence(n % 100 / 100, (n % 41 - 20) / 100, n % 5, n % 30 / 100))
        meanings = {c.name: c.meaning for c in taxonomy.classes if c.type == kind}
        seen = Seen(n, spoken, place, around, evidence, meanings)
        for prompt in PROMPTS.values():
            yield prompt.shared([seen, seen])
            for answers in (taxonomy.answers(kind), taxonomy.answers()):
                yield prompt.question(seen, answers)


def small_tokenizer(texts: Iterable[str], *, vocab_size: int = 768) -> PreTrainedTokenizerBase:
    """A byte-level BPE with Qwen2's pre-tokenization and special tokens, trained on `texts`; bytes cover other text."""
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        texts, vocab_size=vocab_size, new_special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.chat_template = CHAT
    return tokenizer


def small_model(
    tokenizer: PreTrainedTokenizerBase,
    *,
    width: int = 256,
    heads: int = 4,
    vision_depth: int = 6,
    language_depth: int = 4,
    seed: int = 0,
) -> Qwen2VLForConditionalGeneration:
    """Random weights, about 10 M parameters at the defaults. Both towers share one width.

    Linear weights start at 1/sqrt(fan-in): transformers' fixed 0.02 is made for widths of thousands.
    """
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    config = _config(tokenizer, width=width, heads=heads, vision_depth=vision_depth, language_depth=language_depth)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration._from_config(config, dtype=torch.float32)
    spread(model)
    return model


def spread(model: Any) -> None:
    """Draw the linear weights and the embeddings of a model anew, as large as their fan-in asks for."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            fan_in = module.weight[0].numel()
            nn.init.trunc_normal_(module.weight, std=1 / math.sqrt(fan_in))
    embedding = model.get_input_embeddings().weight
    nn.init.normal_(embedding, std=1 / math.sqrt(embedding.shape[1]))


def _config(
    tokenizer: PreTrainedTokenizerBase, *, width: int, heads: int, vision_depth: int, language_depth: int
) -> Any:
    from transformers import Qwen2VLConfig

    head = width // heads
    ids = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in SPECIAL}
    rope = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
    }
    return Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": language_depth,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "max_position_embeddings": 8192,
            "rope_parameters": rope,
            "tie_word_embeddings": True,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={"depth": vision_depth, "embed_dim": width, "num_heads": heads, "hidden_size": width},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
