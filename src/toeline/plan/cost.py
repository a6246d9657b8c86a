"""Bytes at work beside the weights, line by line, for inspecting and for training with LoRA. Knows a shape, no device.

Each line counts the tensors that are alive at the highest point of one phase, in the order in which transformers' own
code makes and frees them; docs/plan.md derives them. A phase begins when the one before has freed its tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import NamedTuple

from toeline.judge.shape import Shape
from toeline.plan.model_shape import WHOLE, Model, count, linear, lora_parameters

FLOAT = 4  # bytes of float32, in which pixels come and norms, rotations and LoRA are computed
SCORE = 8  # bytes per attention score without a fused kernel: the float32 score and its softmax
ADAM = 16  # bytes per trained parameter: float32 weight, gradient and two moments of AdamW


class Line(NamedTuple):
    """One row of the sum: what it is, its bytes, and how they were counted."""

    what: str
    size: int
    how: str


@dataclass(frozen=True)
class Compute:
    """In what the activations are held and how attention is computed.

    `fused` kernels keep no scores. `branches` says that attention runs branch by branch (judge/attention.py, CPU
    only), so that the mask is never turned into numbers as a whole. `keep` is the bytes of one entry of dropout's mask:
    a bool, but a float32 on a CPU.
    """

    dtype: str
    fused: bool
    branches: bool = False
    keep: int = 1

    @property
    def width(self) -> int:
        """Bytes of one activation."""
        return WHOLE[self.dtype]


def total(lines: Sequence[Line]) -> int:
    """Bytes of all lines."""
    return sum(line.size for line in lines)


def vision_lines(shape: Shape, work: Work, compute: Compute) -> list[Line]:
    """While the vision tower looks at all pictures of a photograph. Empty without pictures."""
    n, wide, b = work.patches, shape.width, compute.width
    if not n:
        return []
    pixels = shape.pixels
    turn = 2 * shape.width // shape.vision_heads  # cosines and sines
    mlp = n * b * (3 * wide + 3 * shape.vision_mlp)
    casts = 0 if b == FLOAT else 2 * FLOAT
    rotation = n * wide * (5 * b + 4 * FLOAT + casts)
    scores = 0 if compute.fused else SCORE * shape.vision_heads * max(work.pictures) ** 2
    attention = 10 * n * wide * b + scores
    return [
        Line("pixels", n * pixels * FLOAT, f"{n:,} patches × {pixels:,} × 4 B"),
        Line("positions", n * turn * FLOAT, f"{n:,} × {turn} × 4 B"),
        *_deeper_line(shape, n, b),
        Line(
            "one vision block",
            max(mlp, rotation, attention),
            f"{n:,} × (3 × {wide:,} + 3 × {shape.vision_mlp:,}) × {b} B"
            if mlp >= max(rotation, attention)
            else f"attention over {n:,} patches, {wide:,} wide",
        ),
    ]


def _deeper_line(shape: Shape, patches: int, width: int, *, times: int = 1) -> list[Line]:
    """Features for deeper layers, beside those that stand in for embeddings; none in most families."""
    seen = patches // shape.merge**2 * times
    size = shape.deep * seen * shape.hidden * width
    how = f"{shape.deep} × {seen:,} × {shape.hidden:,} × {width} B"
    return [Line("deeper features", size, how)] if size else []


def language_lines(shape: Shape, work: Work, compute: Compute) -> list[Line]:
    """While the language model reads the longest packed sequence, without gradients."""
    s, hidden, b = work.length, shape.hidden, compute.width
    places = work.chunk * (TREE + 1)
    return [
        *_input_lines(shape, work, compute),
        _layer_line(shape, work, compute),
        Line("outputs at answer places", places * hidden * b, f"{places} places × {hidden:,} × {b} B, not {s:,}"),
    ]


def _input_lines(shape: Shape, work: Work, compute: Compute, *, kept: bool = False) -> list[Line]:
    """What all layers read. `kept`: each layer keeps the mask as numbers for its backward, and counts it itself."""
    s, hidden, b = work.length, shape.hidden, compute.width
    seen = work.patches // work.merge**2
    numbers = 0 if kept else work.branch * (work.trunk + work.branch) if compute.branches else s * s
    return [
        Line("packed sequence", s * hidden * b, f"{s:,} tokens × {hidden:,} × {b} B"),
        Line("image features", seen * hidden * b, f"{seen:,} tokens × {hidden:,} × {b} B"),
        *_deeper_line(shape, work.patches, b, times=2),  # of each picture, and of all in a row
        Line("attention mask", s * s + numbers * b, f"{s:,}² × 1 B" + (f" + {numbers:,} × {b} B" if numbers else "")),
        Line("positions", 2 * s * shape.head * b, f"2 × {s:,} × {shape.head} × {b} B"),
    ]


def _layer_line(shape: Shape, work: Work, compute: Compute) -> Line:
    """One layer at its highest point: the MLP (gate, up and their product beside residuals) or the attention."""
    s, hidden, b = work.length, shape.hidden, compute.width
    mlp = s * b * (3 * hidden + 3 * shape.mlp)
    scores = 0 if compute.fused else SCORE * shape.heads * s * s
    near = work.trunk + work.branch if compute.branches else 0  # keys and values of one branch, side by side
    queries = shape.queries
    attention = b * (s * (2 * hidden + (6 if near else 5) * queries + 2 * shape.keys) + 2 * near * queries) + scores
    if mlp >= attention:
        return Line("one layer", mlp, f"{s:,} × (3 × {hidden:,} + 3 × {shape.mlp:,}) × {b} B")
    how = f"attention over {s:,} tokens, {queries:,} wide"
    return Line("one layer", attention, how + (f", scores {shape.heads} × {s:,}² × {SCORE} B" if scores else ""))


@dataclass(frozen=True)
class Lora:
    """How a model is trained: rank on q, k, v and o, and what is spared."""

    rank: int = 16
    checkpointing: bool = True
    nf4: bool = False


def training_lines(shape: Shape, work: Work, compute: Compute, lora: Lora) -> list[Line]:
    """While one packed sequence is trained on, at the highest point of its backward."""
    trained = lora_parameters(shape, lora.rank)
    inputs = _input_lines(shape, work, compute, kept=True)[1:]  # the packed sequence is the first checkpoint
    per_layer, how = _saved(shape, work, compute)
    s, hidden, b = work.length, shape.hidden, compute.width
    lines = [Line("LoRA, gradients, Adam", trained * ADAM, f"{trained:,} × {ADAM} B (float32)"), *inputs]
    if lora.checkpointing:
        kept = (shape.layers + 1) * s * hidden * b
        lines.append(Line("checkpoints", kept, f"({shape.layers} + 1) × {s:,} × {hidden:,} × {b} B"))
        lines.append(Line("one layer, kept", per_layer, how))
    else:
        lines.append(Line("all layers, kept", per_layer * shape.layers, f"{shape.layers} layers × {how}"))
    gradients = s * b * (3 * shape.mlp + hidden)
    lines.append(Line("gradients inside a layer", gradients, f"{s:,} × (3 × {shape.mlp:,} + {hidden:,}) × {b} B"))
    if lora.nf4:
        largest = linear(hidden, shape.mlp, bias=False).matrix
        lines.append(Line("one layer unpacked", largest * b, f"{hidden:,} × {shape.mlp:,} × {b} B, from NF4"))
    return lines


def _saved(shape: Shape, work: Work, compute: Compute) -> tuple[int, str]:
    """Bytes that one layer keeps for its backward: a frozen linear layer keeps no input, LoRA's keep theirs."""
    s, hidden, b = work.length, shape.hidden, compute.width
    queries, keys = shape.queries, shape.keys
    norms = FLOAT * (2 * hidden + (queries + keys if shape.kind.head_norms else 0))
    adapters = (FLOAT + compute.keep) * (3 * hidden + queries)  # of q, k, v, o: a float32 input, its dropout's mask
    attention = 4 * queries * b  # queries, keys, values, outputs
    mlp = 3 * shape.mlp * b  # gate before and after its activation, up
    square = b if compute.fused else SCORE * shape.heads  # the mask as numbers, or all scores
    each = norms + adapters + attention + mlp
    return s * each + square * s * s, f"{s:,} × {each:,} B + {s:,}² × {square} B"


def parameters_lines(shape: Shape, vocab: int = 0) -> list[Line]:
    """Parameters by part, in the `size` of each line."""
    parts = count(shape, vocab=vocab)
    layers, deep = f"{shape.layers} layers", f", {shape.deep + 1} times" if shape.deep else ""
    rows = [
        ("embedding", parts.embedding, f"{vocab or shape.vocab:,} × {shape.hidden:,}"),
        ("head", parts.head, "is the embedding" if shape.tied else f"{vocab or shape.vocab:,} × {shape.hidden:,}"),
        ("attention", parts.attention, layers),
        ("MLP", parts.mlp, layers),
        ("norms", parts.norms, layers),
        ("final norm", parts.final_norm, ""),
        ("vision blocks", parts.vision_blocks, f"{shape.depth} blocks"),
        ("vision merger", parts.merger, f"{shape.merge} × {shape.merge} patches to one token{deep}"),
        ("patch embedding", parts.patch_embed, f"{shape.patch} × {shape.patch} pixels"),
    ]
    return [Line(name, part.total, how) for name, part, how in rows]


# Tokens of the text, measured on 60 drawn scenes asked with the default prompt and split by Qwen2's own pattern; a test
# holds them to what `ask` and `lay_out` say today. A question's text grows with the neighbors it names, four at most.
TRUNK_TEXT, OBJECT_TEXT = 34, 20.4
QUESTION_TEXT, NEIGHBOR_TEXT, NEIGHBORS = 49, 12.4, 4
TREE = 3  # tokens of the answer tree that are fed, with the answers of one type
ANSWERS, ANSWER_TEXT = 3, 4  # answers of a type at most, and tokens of one with its end token


@dataclass(frozen=True)
class Work:
    """One photograph with `objects` questions, as a judge sees it.

    `photo` and `crop` are image tokens; `trunk` what all questions share and `branch` what each adds, in tokens with
    their images; `chunk` is how many questions share one sequence, so that the longest has `length` tokens.
    """

    objects: int
    photo: int
    crop: int
    trunk: int
    branch: int
    chunk: int
    merge: int = 2

    @property
    def length(self) -> int:
        """Tokens of the longest packed sequence."""
        return self.trunk + self.chunk * self.branch

    @property
    def sequences(self) -> int:
        """Packed sequences per photograph."""
        return -(-self.objects // self.chunk)

    @property
    def tokens(self) -> int:
        """Tokens of all packed sequences together."""
        return self.sequences * self.trunk + self.objects * self.branch

    @property
    def pictures(self) -> list[int]:
        """Patches of each picture; the vision tower sees all of them in one go."""
        return [n * self.merge**2 for n in (self.photo, *[self.crop] * self.objects) if n]

    @property
    def patches(self) -> int:
        """Patches of all pictures together."""
        return sum(self.pictures)


def work_of(model: Model, objects: int, *, image: int | None = None, most: int | None = None) -> Work:
    """The packed sequence of one photograph with `objects` questions.

    `image` is the side in pixels at which a square photograph is shown; by default what the model's view says. `most`
    is the longest sequence allowed, by default that of the layout.
    """
    view = model.view
    side = isqrt(view.scene_tokens) if image is None else max(1, round(image / model.shape.cell))
    photo = side**2 if view.scene_tokens else 0
    trunk = TRUNK_TEXT + round(OBJECT_TEXT * objects) + (photo + 2 if photo else 0)
    neighbors = round(NEIGHBOR_TEXT * min(objects - 1, NEIGHBORS))
    branch = view.crop_tokens + 2 + QUESTION_TEXT + neighbors + TREE
    room = (most or _most()) - trunk
    return Work(
        objects, photo, view.crop_tokens, trunk, branch, min(objects, max(1, room // branch)), model.shape.merge
    )


def _most() -> int:
    from toeline.judge.packing import MAX_TOKENS  # torch loads with it

    return MAX_TOKENS


def in_chunks(work: Work, chunk: int) -> Work:
    """The same photograph with at most `chunk` questions in one sequence."""
    return replace(work, chunk=max(1, min(chunk, work.objects)))


@dataclass(frozen=True)
class Flop:
    """Floating-point operations of one photograph: the two towers' linear layers, their attention, and decoding steps.

    A multiplication with its addition counts as two. `steps` are single-token steps, each of which reads every weight.
    """

    language: float
    attention: float
    vision: float
    steps: int = 0

    @property
    def total(self) -> float:
        """All of them."""
        return self.language + self.attention + self.vision


def vision_flop(shape: Shape, pictures: list[int]) -> float:
    """Two per weight and patch in the blocks, 4 n^2 width per block for attention, the merger per merged patch."""
    parts = count(shape)
    linear = 2 * (parts.vision_blocks.matrix + shape.pixels * shape.width) * sum(pictures)
    merger = 2 * parts.merger.matrix * sum(pictures) / shape.merge**2
    return linear + merger + sum(4 * n * n * shape.width * shape.depth for n in pictures)


def _language_flop(shape: Shape, tokens: float) -> float:
    return 2 * count(shape).layers.matrix * tokens


def _attention_flop(shape: Shape, tokens: float) -> float:
    """Dense: every score of the square is computed, masked or not."""
    return 4 * tokens**2 * shape.queries * shape.layers


def packed(shape: Shape, work: Work) -> Flop:
    """One forward pass for all questions, or one per chunk."""
    attention = work.sequences * _attention_flop(shape, work.length)
    return Flop(_language_flop(shape, work.tokens), attention, vision_flop(shape, work.pictures))


def generate(shape: Shape, work: Work, *, new: int = 50) -> Flop:
    """Each object asked by itself, photograph and crop and all, and `new` tokens generated."""
    one = work.trunk + work.branch - TREE
    language = _language_flop(shape, one + new) * work.objects
    both = [n for n in (work.photo * work.merge**2, work.crop * work.merge**2) if n]
    return Flop(
        language,
        _attention_flop(shape, one) * work.objects,
        vision_flop(shape, both) * work.objects,
        new * work.objects,
    )


def one_per_answer(shape: Shape, work: Work) -> Flop:
    """One sequence for every answer of every object; the pictures are seen once per object."""
    one = work.trunk + work.branch - TREE + ANSWER_TEXT
    asked = work.objects * ANSWERS
    return Flop(_language_flop(shape, one) * asked, _attention_flop(shape, one) * asked, generate(shape, work).vision)


def training(shape: Shape, work: Work, *, checkpointing: bool, cached: bool) -> Flop:
    """Forward, backward through frozen layers to the LoRA weights, and with checkpointing the forward once more.

    The frozen weights get no gradient, so the backward costs as much as the forward and not twice as much.
    """
    forward = packed(shape, work)
    times = 3 if checkpointing else 2
    return Flop(forward.language * times, forward.attention * (times + 1), 0.0 if cached else forward.vision)


def training_apart(shape: Shape, work: Work, *, checkpointing: bool, cached: bool) -> Flop:
    """The same with one sample per object: the photograph is seen and read again for each."""
    apart = training(shape, in_chunks(work, 1), checkpointing=checkpointing, cached=cached)
    return apart if cached else replace(apart, vision=generate(shape, work).vision)
