"""The true labels, walled off: tests/test_walls.py says which rooms may import this file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """What a person (or the renderer) says of one thing; `thing_id` is its id in the Scene of the same photograph."""

    thing_id: str
    class_name: str
    kind: str
    condition: str
