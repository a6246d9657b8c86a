"""The true labels, walled off: only data, synth, evaluate, train and quantize may import this file (tests/test_walls.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """What a person (or the renderer) says of one thing. `thing_id` is the Thing's id in the Scene of the same photograph."""

    thing_id: str
    class_name: str
    kind: str
    condition: str
