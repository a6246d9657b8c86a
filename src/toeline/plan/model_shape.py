"""The numbers of a model's config that decide its size. Reads no weights and no network."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from toeline.core.question import PromptBudget
from toeline.core.words import meant
from toeline.errors import ModelError
from toeline.judge.shape import Shape, shape_of

BUNDLED = Path(__file__).parent / "shapes.json"


@dataclass(frozen=True)
class Model:
    """What is planned: a model's name as it was typed, its shape, and how much it is shown."""

    name: str
    shape: Shape
    view: PromptBudget


def find_model(name: str, *, embedded: Path | None = None) -> Model:
    """A hub id from the numbers in the package or the hub's cache, a directory from its config.json. No network.

    `embedded` is the directory of the judge of that name. Raises ModelError for a name that is neither, and for a
    config that is not of the family.
    """
    folder = embedded if name == "embedded" and embedded else Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(name, folder)
    known = {key.lower(): row for key, row in bundled().items()}
    if row := known.get(name.lower()):
        shape = Shape(**row)
        return Model(name, shape, shape.view)
    if cached := _in_cache(name):
        return _from_folder(name, cached)
    raise ModelError(
        f"{name}: is neither a model directory nor a model that `plan` knows.{meant(name, ['embedded', *bundled()])} "
        f"Choose embedded, one of {', '.join(bundled())}, or the directory of another model's config.json: `plan` uses "
        f"no network."
    )


def bundled() -> dict[str, dict[str, Any]]:
    """Public numbers of known models by hub id, as `Shape` takes them."""
    return dict(json.loads(BUNDLED.read_text(encoding="utf-8")))


def _in_cache(name: str) -> Path | None:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _from_folder(name: str, folder: Path) -> Model:
    from toeline.judge.checkpoint import read_json, read_view

    shape = shape_of(read_json(folder / "config.json"), folder / "config.json")
    return Model(name, shape, read_view([folder], shape))


WHOLE = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes per weight
INT8_ROW = 5  # bytes per output of a layer in int8: torchao 0.18 saves a float32 scale and an int8 zero point
NF4_BLOCK, NF4_SECOND = 64, 256  # QLoRA's double quantization, arXiv 2305.14314, section 3
NF4_TABLES = 4 * (16 + 256) + 172  # bytes per layer in NF4: bitsandbytes saves both tables of values and a description
QUANTIZED = ("int8", "int4", "nf4")  # int4 is what `toeline quantize --to int4` makes: NF4


class ModelPart(NamedTuple):
    """Parameters of one part: `matrix` are weights of `layers` linear layers with `rows` outputs in all, `other` the
    rest.
    """

    matrix: int
    rows: int
    other: int
    layers: int = 0

    @property
    def total(self) -> int:
        """All parameters of the part."""
        return self.matrix + self.other

    def times(self, count: int) -> ModelPart:
        """The part `count` times over."""
        return ModelPart(*(value * count for value in self))


@dataclass(frozen=True)
class Parts:
    """A model's parameters by part. `head` is empty where it is the embedding; `norms` are those inside the layers."""

    embedding: ModelPart
    head: ModelPart
    attention: ModelPart
    mlp: ModelPart
    norms: ModelPart
    final_norm: ModelPart
    vision_blocks: ModelPart
    merger: ModelPart
    patch_embed: ModelPart

    @property
    def layers(self) -> ModelPart:
        """The language model's layers, without embedding, final norm and head."""
        return _sum(self.attention, self.mlp, self.norms)

    @property
    def vision(self) -> ModelPart:
        """The vision tower."""
        return _sum(self.vision_blocks, self.merger, self.patch_embed)

    @property
    def total(self) -> int:
        """Every parameter once."""
        return sum(part.total for part in vars(self).values())


def _sum(*parts: ModelPart) -> ModelPart:
    return ModelPart(*(sum(values) for values in zip(*parts, strict=True)))


def linear(wide: int, high: int, *, bias: bool) -> ModelPart:
    """A linear layer from `wide` inputs to `high` outputs."""
    return ModelPart(wide * high, high, high if bias else 0, 1)


def norm(width: int, *, bias: bool = False) -> ModelPart:
    """A norm with a weight per channel, and a bias for LayerNorm."""
    return ModelPart(0, 0, width * (2 if bias else 1))


def count(shape: Shape, *, vocab: int = 0) -> Parts:
    """The parameters of a model of this shape, with `vocab` tokens if that is given and fewer than it has."""
    tokens = min(vocab or shape.vocab, shape.vocab)
    table = ModelPart(0, 0, tokens * shape.hidden)
    hidden, queries, bias = shape.hidden, shape.queries, shape.kind.biases
    attention = _sum(
        linear(hidden, queries, bias=bias),
        *[linear(hidden, shape.keys, bias=bias)] * 2,
        linear(queries, hidden, bias=False),
    )
    mlp = _sum(*[linear(hidden, shape.mlp, bias=False)] * 2, linear(shape.mlp, hidden, bias=False))
    return Parts(
        embedding=table,
        head=ModelPart(0, 0, 0) if shape.tied else linear(hidden, tokens, bias=False),
        attention=attention.times(shape.layers),
        mlp=mlp.times(shape.layers),
        norms=_sum(*[norm(hidden)] * 2, *[norm(shape.head)] * (2 if shape.kind.head_norms else 0)).times(shape.layers),
        final_norm=norm(hidden),
        vision_blocks=_block(shape).times(shape.depth),
        merger=_merger(shape),
        patch_embed=_patch_embed(shape),
    )


def _block(shape: Shape) -> ModelPart:
    width, mlp = shape.width, shape.vision_mlp
    up = [linear(width, mlp, bias=True)] * (2 if shape.kind.gated else 1)
    return _sum(
        *[norm(width, bias=shape.kind.layer_norm)] * 2,
        linear(width, 3 * width, bias=True),
        linear(width, width, bias=True),
        *up,
        linear(mlp, width, bias=True),
    )


def _merger(shape: Shape) -> ModelPart:
    """All mergers: of the last block, and of each deeper level, which norms its patches after they are joined."""
    joined, bias = shape.width * shape.merge**2, shape.kind.layer_norm
    layers = linear(joined, joined, bias=True), linear(joined, shape.hidden, bias=True)
    return _sum(norm(shape.width, bias=bias), *layers, *[_sum(norm(joined, bias=bias), *layers)] * shape.deep)


def _patch_embed(shape: Shape) -> ModelPart:
    """The patch embedding, and the table of positions that are added to it."""
    bias = 1 if shape.kind.places else 0
    return ModelPart(0, 0, (shape.pixels + bias + shape.places) * shape.width)


@dataclass(frozen=True)
class Weights:
    """In which precision each part of a model is held. `vocab` of 0 keeps every token, `vision` of "" leaves it out.

    Linear layers take a quantized precision; norms, biases, embedding, head and patch embedding stay in `rest`.
    """

    language: str
    vision: str
    rest: str = "bfloat16"
    vocab: int = 0


def size(part: ModelPart, precision: str, rest: str) -> int:
    """Bytes of a part whose linear layers are in `precision` and whose other parameters are in `rest`.

    int8 has a scale and a zero point per output; int4 and nf4 one 8-bit scale per 64 weights and one 32-bit scale per
    256 of those.
    """
    other = part.other * WHOLE[rest]
    if precision in WHOLE:
        return part.matrix * WHOLE[precision] + other
    if precision == "int8":
        return part.matrix + INT8_ROW * part.rows + other
    bits = 4 + 8 / NF4_BLOCK + 32 / (NF4_BLOCK * NF4_SECOND)
    return round(part.matrix * bits / 8) + NF4_TABLES * part.layers + other


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
    hidden, keys, queries = shape.hidden, shape.keys, shape.queries
    return shape.layers * rank * (2 * (hidden + queries) + 2 * (hidden + keys))
