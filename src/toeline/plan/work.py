"""How long the packed sequence of one photograph is, and how many operations it takes. Knows a shape and no device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt

from toeline.plan.parts import count
from toeline.plan.shape import Model, Shape

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
    from toeline.judge.layout import MAX_TOKENS  # torch loads with it

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
    linear = 2 * (parts.vision_blocks.matrix + parts.patch_embed.other) * sum(pictures)
    merger = 2 * parts.merger.matrix * sum(pictures) / shape.merge**2
    return linear + merger + sum(4 * n * n * shape.width * shape.depth for n in pictures)


def _language_flop(shape: Shape, tokens: float) -> float:
    return 2 * count(shape).layers.matrix * tokens


def _attention_flop(shape: Shape, tokens: float) -> float:
    """Dense: every score of the square is computed, masked or not."""
    return 4 * tokens**2 * shape.hidden * shape.layers


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
