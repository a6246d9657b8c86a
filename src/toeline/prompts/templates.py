"""Prompts are plain functions of what they show. Training and inspection call the same; golden files hold each word.

A prompt is never given a condition: its arguments are types, places, relations, measurements of pixels, the legal
answers and what these mean. docs/prompts.md sets them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from toeline.core.box import Box
from toeline.core.scene import Relation


@dataclass(frozen=True)
class ShownInstance:
    """One thing as a prompt may name it. `around` is what stands around it and `evidence` what its pixels measure, in
    words, or empty. `meanings` says what each legal answer means, where the taxonomy says so.
    """

    number: int
    spoken: str
    place: str
    around: str
    evidence: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


class Prompt(NamedTuple):
    """Words of one sheet: `shared` once per photograph, `question` once per thing; and which pictures go with them.

    `measures` says that the words hold `Seen.evidence`, which is not computed for other prompts, and `tells_relations`
    that they hold `Seen.around`.
    """

    shared: Callable[[Sequence[ShownInstance]], str]
    question: Callable[[ShownInstance, Sequence[str]], str]
    shows_photograph: bool = True
    shows_crops: bool = True
    measures: bool = False
    tells_relations: bool = False


def nothing_shared(seen: Sequence[ShownInstance]) -> str:
    """For prompts that show one crop and ask."""
    return ""


def list_of_objects(seen: Sequence[ShownInstance]) -> str:
    """Every object of the photograph with its type and place; the number is how relations name it."""
    rows = "\n".join(f"{s.number}. {s.spoken} {s.place}" for s in seen)
    return f"A drone photograph of an embankment. Objects, boxes from 0 to 999:\n{rows}\n"


def list_with_meanings(seen: Sequence[ShownInstance]) -> str:
    """The list of objects, and what the answers of their types mean, each once, in the order in which they come up."""
    meanings = {name: meaning for s in seen if len(s.meanings) > 1 for name, meaning in s.meanings.items()}
    rows = "".join(f"{name}: {meaning}.\n" for name, meaning in meanings.items())
    return list_of_objects(seen) + rows


def ask_crop(instance: ShownInstance, answers: Sequence[str]) -> str:
    """The crop alone: type and answers."""
    return f"One object, enlarged: {instance.spoken}.\nWhich is it: {', '.join(answers)}?"


def ask_minimal(instance: ShownInstance, answers: Sequence[str]) -> str:
    """Type and answers; the crop stands before these words, the photograph before all."""
    return f"{instance.spoken}: {', '.join(answers)}?"


def ask_photograph(instance: ShownInstance, answers: Sequence[str]) -> str:
    """No crop: the place tells which object is meant."""
    return f"Object {instance.number}: {instance.spoken} at {instance.place}.\nWhich is it: {', '.join(answers)}?"


def ask_with_relations(instance: ShownInstance, answers: Sequence[str]) -> str:
    """The crop, which object of the photograph it is, and what stands around it."""
    return f"{_object(instance)}\nWhich is it: {', '.join(answers)}?"


def ask_with_evidence(instance: ShownInstance, answers: Sequence[str]) -> str:
    """As with relations, and what was measured of its pixels."""
    return f"{_object(instance)} Measured: {instance.evidence}.\nWhich is it: {', '.join(answers)}?"


def _object(instance: ShownInstance) -> str:
    around = f"It is {instance.around}." if instance.around else "No other object was found."
    return f"Object {instance.number}, enlarged: {instance.spoken} at {instance.place}. {around}"


def users_list(seen: Sequence[ShownInstance]) -> str:
    """The context block in the form in which the tool's first user wrote it, with types in place of true classes."""
    rows = "\n".join(f"- {s.spoken} {s.number} at {s.place}" for s in seen)
    return (
        "You are an expert in dam infrastructure inspection. The image shows an ash-lagoon dyke.\n"
        f"Objects detected in the image (coordinates from 0 to 999):\n{rows}\n"
    )


def users_question(instance: ShownInstance, answers: Sequence[str]) -> str:
    """His task block: one object named and, what was missing, located; one class name as the answer."""
    around = f" Spatial relationships: {instance.around}." if instance.around else ""
    choices = "\n".join(f"- {answer}" for answer in answers)
    return (
        f"Target object: {instance.spoken} at {instance.place}.{around}\n"
        "Classify the condition of the target object as one of the following classes:\n"
        f"{choices}\nRespond with only the class name."
    )


PROMPTS: dict[str, Prompt] = {
    "relations": Prompt(list_of_objects, ask_with_relations, tells_relations=True),
    "definitions": Prompt(list_with_meanings, ask_with_relations, tells_relations=True),
    "evidence": Prompt(list_of_objects, ask_with_evidence, measures=True, tells_relations=True),
    "minimal": Prompt(nothing_shared, ask_minimal),
    "user": Prompt(users_list, users_question, tells_relations=True),
    "crop": Prompt(nothing_shared, ask_crop, shows_photograph=False),
    "photograph": Prompt(list_of_objects, ask_photograph, shows_crops=False),
}

PHRASES: dict[str, str] = {
    "above": "above",
    "below": "below",
    "left_of": "left of",
    "right_of": "right of",
    "at_lower_end_of": "at the lower end of",
    "inside": "inside",
    "overlaps": "overlapping",
    "covers": "covering",
    "next_to": "next to",
}


def place(box: Box, size_wh: tuple[int, int]) -> str:
    """A box in Qwen2-VL's own coordinates: whole numbers from 0 to 999, shares of width and height.

    >>> place(Box(0, 10, 50, 100), (100, 100))
    '(0,100),(500,999)'
    """
    wide, high = size_wh
    x1, x2 = (min(int(1000 * x / wide), 999) for x in (box.x1, box.x2))
    y1, y2 = (min(int(1000 * y / high), 999) for y in (box.y1, box.y2))
    return f"({x1},{y1}),({x2},{y2})"


def distance(share: float) -> str:
    """A gap as a share of the image diagonal, in whole percent.

    >>> distance(0.0), distance(0.004), distance(0.127)
    ('touching', 'under 1% away', '13% away')
    """
    if share <= 0:
        return "touching"
    return "under 1% away" if share < 0.01 else f"{100 * share:.0f}% away"


def around(relations: Sequence[Relation], names: Mapping[str, str]) -> str:
    """What stands around one thing, nearest first: one clause per neighbor, joined by semicolons.

    `names` says how each thing is called. Several relations to one neighbor share a clause.

    >>> around([Relation("1", "above", "2", 0.1), Relation("1", "left_of", "2", 0.1)], {"2": "toe drain 2"})
    'above and left of toe drain 2, 10% away'
    """
    by_neighbor: dict[str, list[Relation]] = {}
    for relation in relations:
        by_neighbor.setdefault(relation.other, []).append(relation)
    clauses = [
        f"{' and '.join(PHRASES.get(r.name, r.name.replace('_', ' ')) for r in group)} {names[other]}, "
        f"{distance(group[0].distance)}"
        for other, group in by_neighbor.items()
    ]
    return "; ".join(clauses)
