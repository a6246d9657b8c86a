"""What Stage 2 is shown: one sheet per photograph, one question per thing. Words and pictures only; no truth fits in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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
class Question:
    """Asks one thing's class. `crops` are views of it (a long thing is cut in chunks, so there may be several).

    `answers` are the legal answers in the taxonomy's order, at least two; a thing with one legal answer is not asked.
    """

    thing_id: str
    text: str
    crops: tuple[Picture, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """Everything that is asked of one photograph: the shared view, the shared text, and the questions that branch off it.

    `picture` is None for prompts that show crops only.
    """

    photo: str
    picture: Picture | None
    text: str
    questions: tuple[Question, ...]
