"""One step of LoRA as toeline finetune makes it, on models with random weights; finetune.py and gpu_7b.py time it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from packed_model import make_sheet

from toeline.core.question import QuestionSheet
from toeline.judge.packing import pictures
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.train.adapter import LoraLearner, prepare
from toeline.train.config import LoraRun
from toeline.train.feature_cache import FeatureStore, look
from toeline.train.loss import Chunk, Packer, losses
from toeline.train.samples import TrainingRow


def rows_of(count: int, *, apart: bool) -> list[TrainingRow]:
    """A photograph of `count` objects as one row, or each object as a row of its own."""
    sheet = make_sheet(count)
    sheets = (
        [QuestionSheet(sheet.photo, sheet.picture, sheet.text, (q,)) for q in sheet.questions] if apart else [sheet]
    )
    return [TrainingRow(s, (0,) * len(s.questions), ("slope_drain",) * len(s.questions), ()) for s in sheets]


def make_learner(judge: QwenVLJudge, *, checkpointing: bool) -> LoraLearner:
    """LoRA of the default settings without dropout, so that all ways have one loss."""
    judge.model.requires_grad_(False)
    learner = prepare(LoraRun(dropout=0.0, checkpointing="on" if checkpointing else "off"), judge)
    learner.wrapped.train()
    return learner


def keep_features(judge: QwenVLJudge, rows: Sequence[TrainingRow], store: FeatureStore) -> None:
    """Put the features of all pictures where training looks for them."""
    for row in rows:
        store.write(pictures(row.sheet), look(judge, pictures(row.sheet)))


def step_of(
    learner: LoraLearner, rows: Sequence[TrainingRow], store: FeatureStore | None = None
) -> Callable[[], float]:
    """A function that makes one whole step (pictures to patches, forward, backward, AdamW) and gives its loss."""
    packer = Packer(learner.judge, store=store)
    trained = [w for w in learner.wrapped.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    questions = sum(len(row.answers) for row in rows)

    def part(chunk: Chunk) -> float:
        loss = losses(learner.judge.model, chunk).sum() / questions
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def step() -> float:
        optimizer.zero_grad()
        loss = sum(part(chunk) for row in rows for chunk in packer([row])["chunks"])
        optimizer.step()
        return loss

    return step


def tokens_of(learner: LoraLearner, rows: Sequence[TrainingRow]) -> int:
    """Tokens that pass through the language model."""
    chunks: list[Any] = [c for row in rows for c in Packer(learner.judge)([row])["chunks"]]
    return sum(c["batch"].ids.numel() for c in chunks)
