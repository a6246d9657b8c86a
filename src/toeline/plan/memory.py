"""Bytes at work beside the weights, line by line, for inspecting and for training with LoRA. Knows a shape, no device.

Each line counts the tensors that are alive at the highest point of one phase, in the order in which transformers' own
code makes and frees them; docs/plan.md derives them. A phase begins when the one before has freed its tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toeline.plan.parts import WHOLE, count, linear, lora_parameters
from toeline.plan.shape import Shape
from toeline.plan.work import TREE, Work

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

    `fused` kernels keep no scores. `branches` says that attention runs branch by branch (judge/fast.py, CPU only), so
    that the mask is never turned into numbers as a whole. `keep` is the bytes of one entry of dropout's mask: a bool,
    but a float32 on a CPU.
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
    pixels = shape.channels * shape.frames * shape.patch**2
    turn = 2 * shape.width // shape.vision_heads  # cosines and sines
    mlp = n * b * (3 * wide + 3 * shape.vision_mlp)
    casts = 0 if b == FLOAT else 2 * FLOAT
    rotation = n * wide * (5 * b + 4 * FLOAT + casts)
    scores = 0 if compute.fused else SCORE * shape.vision_heads * max(work.pictures) ** 2
    attention = 10 * n * wide * b + scores
    return [
        Line("pixels", n * pixels * FLOAT, f"{n:,} patches × {pixels:,} × 4 B"),
        Line("positions", n * turn * FLOAT, f"{n:,} × {turn} × 4 B"),
        Line(
            "one vision block",
            max(mlp, rotation, attention),
            f"{n:,} × (3 × {wide:,} + 3 × {shape.vision_mlp:,}) × {b} B"
            if mlp >= max(rotation, attention)
            else f"attention over {n:,} patches, {wide:,} wide",
        ),
    ]


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
        Line("attention mask", s * s + numbers * b, f"{s:,}² × 1 B" + (f" + {numbers:,} × {b} B" if numbers else "")),
        Line("positions", 2 * s * shape.head * b, f"2 × {s:,} × {shape.head} × {b} B"),
    ]


def _layer_line(shape: Shape, work: Work, compute: Compute) -> Line:
    """One layer at its highest point: the MLP (gate, up and their product beside residuals) or the attention."""
    s, hidden, b = work.length, shape.hidden, compute.width
    mlp = s * b * (3 * hidden + 3 * shape.mlp)
    scores = 0 if compute.fused else SCORE * shape.heads * s * s
    near = work.trunk + work.branch if compute.branches else 0  # keys and values of one branch, side by side
    attention = b * (s * ((8 if near else 7) * hidden + 2 * shape.keys) + 2 * near * hidden) + scores
    if mlp >= attention:
        return Line("one layer", mlp, f"{s:,} × (3 × {hidden:,} + 3 × {shape.mlp:,}) × {b} B")
    how = f"attention over {s:,} tokens, {hidden:,} wide"
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
    norms = 2 * FLOAT * hidden
    adapters = 4 * (FLOAT + compute.keep) * hidden  # of q, k, v and o: a float32 input and the mask of its dropout
    attention = 4 * hidden * b  # queries, keys, values, outputs
    mlp = 3 * shape.mlp * b  # gate before and after its activation, up
    square = b if compute.fused else SCORE * shape.heads  # the mask as numbers, or all scores
    each = norms + adapters + attention + mlp
    return s * each + square * s * s, f"{s:,} × {each:,} B + {s:,}² × {square} B"


def parameters_lines(shape: Shape, vocab: int = 0) -> list[Line]:
    """Parameters by part, in the `size` of each line."""
    parts = count(shape, vocab=vocab)
    layers = f"{shape.layers} layers"
    rows = [
        ("embedding", parts.embedding, f"{vocab or shape.vocab:,} × {shape.hidden:,}"),
        ("head", parts.head, "is the embedding" if shape.tied else f"{vocab or shape.vocab:,} × {shape.hidden:,}"),
        ("attention", parts.attention, layers),
        ("MLP", parts.mlp, layers),
        ("norms", parts.norms, layers),
        ("final norm", parts.final_norm, ""),
        ("vision blocks", parts.vision_blocks, f"{shape.depth} blocks"),
        ("vision merger", parts.merger, f"{shape.merge} × {shape.merge} patches to one token"),
        ("patch embedding", parts.patch_embed, f"{shape.patch} × {shape.patch} pixels"),
    ]
    return [Line(name, part.total, how) for name, part, how in rows]
