"""A judge that repeats saved scores, without a model: for tests, demonstrations, and comparing what follows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.core.reading import number, parse_json, read_bytes
from toeline.core.records import finding_from, read_lines
from toeline.errors import ModelError, OutputError

Saved = Mapping[str, Mapping[str, Mapping[str, float]]]  # photograph -> thing id -> answer -> log-probability


@dataclass(frozen=True)
class ReplayJudge:
    """Answers from `saved`. `view` only has to let sheets be made; nobody looks at them."""

    saved: Saved
    view: PromptBudget = field(default_factory=PromptBudget)
    info: Mapping[str, Any] = field(default_factory=lambda: {"back_end": "replay"})

    @classmethod
    def load(cls, file: Path) -> ReplayJudge:
        """Read a findings.jsonl, or JSON {photograph: {thing id: {answer: log-probability}}}. Raises ModelError."""
        raw = read_bytes(file, ModelError, advice="These are to be saved scores: check the path.", most=1 << 30)
        saved = _from_findings(file) if file.suffix == ".jsonl" else _from_json(raw.decode(errors="replace"), file)
        facts = {"back_end": "replay", "model": str(file), "sha256": hashlib.sha256(raw).hexdigest()}
        return cls(saved, info=facts)

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """The saved scores, in the order of the questions. Raises ModelError for a thing or an answer that has none."""
        return [self._one(sheet.photo, question) for question in sheet.questions]

    def _one(self, photo: str, question: Question) -> dict[str, float]:
        found = self.saved.get(photo, {}).get(question.instance_id)
        if found is None:
            raise ModelError(
                f"{photo}: no score is saved for {question.instance_id}. Replay the run with the same boxes."
            )
        if lacking := [answer for answer in question.answers if answer not in found]:
            raise ModelError(
                f"{photo}: the scores saved for {question.instance_id} lack {', '.join(lacking)}. "
                f"Replay the run with the same --answers and --taxonomy."
            )
        return {answer: found[answer] for answer in question.answers}


def _from_findings(file: Path) -> Saved:
    saved: dict[str, dict[str, dict[str, float]]] = {}
    try:
        for finding in map(finding_from, read_lines(file)):
            logs = {name: math.log(p) if p > 0 else -math.inf for name, p in finding.verdict.probabilities.items()}
            saved.setdefault(finding.photo, {})[finding.instance_id] = logs
    except (OutputError, ValueError) as why:
        raise ModelError(f"{file}: these saved scores cannot be used ({why}). Use a whole findings.jsonl.") from None
    return saved


def _from_json(text: str, file: Path) -> Saved:
    advice = "Expected {photograph: {thing id: {answer: log-probability}}}, or a findings.jsonl."
    raw = parse_json(text, str(file), ModelError, advice=advice)
    try:
        return {
            photo: {instance: {k: _score(v) for k, v in scores.items()} for instance, scores in instances.items()}
            for photo, instances in raw.items()
        }
    except (AttributeError, ValueError) as why:
        raise ModelError(f"{file}: these saved scores cannot be used ({why}). {advice}") from None


def _score(value: object) -> float:
    return -math.inf if value == -math.inf else number(value, "a log-probability")
