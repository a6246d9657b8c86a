"""How many parameters a model has, part by part, and how many bytes they are in each precision. Exact, from the shape.

Every formula counts the tensors of transformers' modeling_qwen2_vl.py and modeling_qwen2_5_vl.py (docs/plan.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from toeline.plan.shape import Shape

WHOLE = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes per weight
INT4_GROUP = 128  # weights that share one 16-bit scale, as in GPTQ, AWQ and torchao
NF4_BLOCK, NF4_SECOND = 64, 256  # QLoRA's double quantization, arXiv 2305.14314, section 3
QUANTIZED = ("int8", "int4", "nf4")
PRECISIONS = (*WHOLE, *QUANTIZED)


class Part(NamedTuple):
    """Parameters of one part: `matrix` are weights of linear layers with `rows` outputs in all, `other` the rest."""

    matrix: int
    rows: int
    other: int

    @property
    def total(self) -> int:
        """All parameters of the part."""
        return self.matrix + self.other

    def times(self, count: int) -> Part:
        """The part `count` times over."""
        return Part(*(value * count for value in self))


@dataclass(frozen=True)
class Parts:
    """A model's parameters by part. `head` is empty where it is the embedding; `norms` are those inside the layers."""

    embedding: Part
    head: Part
    attention: Part
    mlp: Part
    norms: Part
    final_norm: Part
    vision_blocks: Part
    merger: Part
    patch_embed: Part

    @property
    def layers(self) -> Part:
        """The language model's layers, without embedding, final norm and head."""
        return _sum(self.attention, self.mlp, self.norms)

    @property
    def vision(self) -> Part:
        """The vision tower."""
        return _sum(self.vision_blocks, self.merger, self.patch_embed)

    @property
    def total(self) -> int:
        """Every parameter once."""
        return sum(part.total for part in vars(self).values())


def _sum(*parts: Part) -> Part:
    return Part(*(sum(values) for values in zip(*parts, strict=True)))


def linear(wide: int, high: int, *, bias: bool) -> Part:
    """A linear layer from `wide` inputs to `high` outputs."""
    return Part(wide * high, high, high if bias else 0)


def norm(width: int, *, bias: bool = False) -> Part:
    """A norm with a weight per channel, and a bias for LayerNorm."""
    return Part(0, 0, width * (2 if bias else 1))


def count(shape: Shape, *, vocab: int = 0) -> Parts:
    """The parameters of a model of this shape, with `vocab` tokens if that is given and fewer than it has."""
    tokens = min(vocab or shape.vocab, shape.vocab)
    table = Part(0, 0, tokens * shape.hidden)
    hidden, keys = shape.hidden, shape.keys
    attention = _sum(
        linear(hidden, hidden, bias=True), *[linear(hidden, keys, bias=True)] * 2, linear(hidden, hidden, bias=False)
    )
    mlp = _sum(*[linear(hidden, shape.mlp, bias=False)] * 2, linear(shape.mlp, hidden, bias=False))
    return Parts(
        embedding=table,
        head=Part(0, 0, 0) if shape.tied else linear(hidden, tokens, bias=False),
        attention=attention.times(shape.layers),
        mlp=mlp.times(shape.layers),
        norms=norm(hidden).times(2 * shape.layers),
        final_norm=norm(hidden),
        vision_blocks=_block(shape).times(shape.depth),
        merger=_merger(shape),
        patch_embed=Part(0, 0, shape.channels * shape.frames * shape.patch**2 * shape.width),
    )


def _block(shape: Shape) -> Part:
    width, mlp, old = shape.width, shape.vision_mlp, shape.family == "qwen2_vl"
    up = [linear(width, mlp, bias=True)] * (1 if old else 2)  # Qwen2.5-VL gates its MLP
    return _sum(
        *[norm(width, bias=old)] * 2,
        linear(width, 3 * width, bias=True),
        linear(width, width, bias=True),
        *up,
        linear(mlp, width, bias=True),
    )


def _merger(shape: Shape) -> Part:
    joined = shape.width * shape.merge**2
    old = shape.family == "qwen2_vl"
    return _sum(norm(shape.width, bias=old), linear(joined, joined, bias=True), linear(joined, shape.hidden, bias=True))


@dataclass(frozen=True)
class Weights:
    """In which precision each part of a model is held. `vocab` of 0 keeps every token, `vision` of "" leaves it out.

    Linear layers take a quantized precision; norms, biases, embedding, head and patch embedding stay in `rest`.
    """

    language: str
    vision: str
    rest: str = "bfloat16"
    vocab: int = 0


def size(part: Part, precision: str, rest: str) -> int:
    """Bytes of a part whose linear layers are in `precision` and whose other parameters are in `rest`.

    int8 has one 16-bit scale per output (torchao's Int8WeightOnlyConfig); int4 one per 128 weights; nf4 one 8-bit scale
    per 64 weights and one 32-bit scale per 256 of those.
    """
    other = part.other * WHOLE[rest]
    if precision in WHOLE:
        return part.matrix * WHOLE[precision] + other
    if precision == "int8":
        return part.matrix + 2 * part.rows + other
    bits = 4 + 16 / INT4_GROUP if precision == "int4" else 4 + 8 / NF4_BLOCK + 32 / (NF4_BLOCK * NF4_SECOND)
    return round(part.matrix * bits / 8) + other


def load_bytes(shape: Shape, weights: Weights) -> dict[str, int]:
    """Bytes of the weights by part: embedding, head, language and vision, where there is one."""
    parts, rest = count(shape, vocab=weights.vocab), weights.rest
    found = {
        "embedding": size(parts.embedding, rest, rest),
        "head": size(parts.head, rest, rest),
        "language layers": size(_sum(parts.layers, parts.final_norm), weights.language, rest),
        "vision tower": size(parts.vision, weights.vision, rest) if weights.vision else 0,
    }
    return {name: number for name, number in found.items() if number}


def lora_parameters(shape: Shape, rank: int) -> int:
    """Parameters of LoRA of this rank on q, k, v and o of every layer: rank times inputs plus outputs."""
    hidden, keys = shape.hidden, shape.keys
    return shape.layers * rank * (2 * (hidden + hidden) + 2 * (hidden + keys))
