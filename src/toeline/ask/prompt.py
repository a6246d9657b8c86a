"""Prompts are plain functions of what they show. Training and inspection call the same; golden files hold each word.

A prompt is never given a condition: its arguments are types, places, relations and the legal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Seen(NamedTuple):
    """One thing as a prompt may name it. `around` is what stands around it, in words, or empty."""

    number: int
    spoken: str
    place: str
    around: str


class Prompt(NamedTuple):
    """Words of one sheet: `shared` once per photograph, `question` once per thing; and which pictures go with them."""

    shared: Callable[[Sequence[Seen]], str]
    question: Callable[[Seen, Sequence[str]], str]
    shows_photograph: bool = True
    shows_crops: bool = True


def nothing_shared(seen: Sequence[Seen]) -> str:
    """For prompts that show one crop and ask."""
    return ""


def list_of_objects(seen: Sequence[Seen]) -> str:
    """Every object of the photograph with its type and place; the number is how relations name it."""
    rows = "\n".join(f"{s.number}. {s.spoken} {s.place}" for s in seen)
    return f"A drone photograph of an embankment. Objects, boxes from 0 to 999:\n{rows}\n"


def ask_crop(thing: Seen, answers: Sequence[str]) -> str:
    """The crop alone: type and answers."""
    return f"One object, enlarged: {thing.spoken}.\nWhich is it: {', '.join(answers)}?"


def ask_with_relations(thing: Seen, answers: Sequence[str]) -> str:
    """The crop, which object of the photograph it is, and what stands around it."""
    around = f"It is {thing.around}." if thing.around else "No other object was found."
    return (
        f"Object {thing.number}, enlarged: {thing.spoken} at {thing.place}. {around}\n"
        f"Which is it: {', '.join(answers)}?"
    )


PROMPTS: dict[str, Prompt] = {
    "relations": Prompt(list_of_objects, ask_with_relations),
    "crop": Prompt(nothing_shared, ask_crop, shows_photograph=False),
}
