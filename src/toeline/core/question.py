"""What Stage 2 is shown: one sheet per photograph, one question per object; no ground truth fits in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from toeline.core.scene import Scene


class Picture(Protocol):
    """An RGB picture. Pillow's Image is one; core itself does not import Pillow."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def tobytes(self) -> bytes:
        """The pixels, row by row."""
        ...


@dataclass(frozen=True)
class PromptBudget:
    """How much a judge is shown. Saved beside a model's weights (`toeline.json`), because it is trained for one view.

    `cell` is the side in pixels of the square that becomes one image token (28 for Qwen2-VL: patches of 14, merged 2 x
    2). `scene_tokens` and `crop_tokens` are the most tokens that the photograph and one crop may take; `scene_tokens=0`
    leaves the photograph out, `crop_tokens=0` the crops. A crop is enlarged until it fills `crop_tokens` or until the
    whole photograph would be `detail_px` long at the same scale, whichever comes first: beyond that there is nothing
    more to see. `marked_tokens` are the most that a photograph with marks may take, in questions of where things lie.
    `margin` is the context around a box as a share of its shorter side. `prompt` is a name in prompts/templates.py.
    """

    cell: int = 28
    scene_tokens: int = 529
    crop_tokens: int = 64
    marked_tokens: int = 324
    detail_px: int = 2048
    margin: float = 0.5
    prompt: str = "relations"


@dataclass(frozen=True)
class Question:
    """Asks one object's class. `crop` shows it with its surroundings; None for prompts that show the photograph only.

    `answers` are the legal answers in the taxonomy's order, at least two: an object with one is not asked about.
    """

    instance_id: str
    text: str
    crop: Picture | None
    answers: tuple[str, ...]


@dataclass(frozen=True)
class QuestionSheet:
    """All that is asked of one photograph: the shared view, the shared text, and the questions that branch off it.

    `picture` is None for prompts that show crops only. The sides of every picture are multiples of the view's cell, so
    no image processor has to resize it again. `scene` and `image` (the whole photograph, of `scene.size_wh`) are what a
    judge measures that reads no words; both are None where only words and pictures are asked about.
    """

    photo: str
    picture: Picture | None
    text: str
    questions: tuple[Question, ...]
    scene: Scene | None = None
    image: Picture | None = None
