"""A judge that prefers some names whatever it is shown, for tests of prior correction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.datasets import NAMES

from toeline.core.calibration import normalized
from toeline.core.question import PromptBudget, QuestionSheet

BIAS = {name: 0.4 * n - 1.3 * (n % 2) for n, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Leaning:
    """Scores by what the pixels of an object are, none on gray, plus an amount for each class name."""

    bias: Mapping[str, float] = field(default_factory=dict)
    view: PromptBudget = field(default_factory=PromptBudget)
    asked: list[str] = field(default_factory=list, compare=False)
    info: Mapping[str, Any] = field(default_factory=lambda: {"back_end": "fake", "weights": {"a": "12"}})

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        self.asked.append(sheet.photo)
        return [
            normalized({a: self._seen(q.crop, a) + self.bias.get(a, 0.0) for a in q.answers}) for q in sheet.questions
        ]

    def _seen(self, crop: Any, answer: str) -> float:
        pixels = crop.tobytes() if crop is not None else b""
        if len(set(pixels)) < 2:
            return 0.0
        digest = hashlib.sha256(pixels + answer.encode()).digest()
        return digest[0] / 50
