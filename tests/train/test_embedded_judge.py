"""The embedded judge's training: what the loss is of, that it learns, stops, goes on, and leaves a stock model."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from toeline.core.taxonomy import Taxonomy
from toeline.train import embedded_judge as embedded
from toeline.train.datasets import SheetPool
from toeline.train.embedded_judge import (
    CROPS_ONLY,
    JudgeRows,
    JudgeRun,
    rendered_texts,
    small_model,
    small_tokenizer,
    train_judge,
)
from toeline.train.loss import Collate, judge_loss
from toeline.train.samples import row

TAXONOMY = Taxonomy.load()
TINY = {"width": 64, "vision_depth": 1, "language_depth": 1, "workers": 1, "threads": 1, "scenes": 4, "held_out": 2}


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> SheetPool:
    return SheetPool.drawn(tmp_path_factory.mktemp("drawn"), scenes=4, seed=5, taxonomy=TAXONOMY)


@pytest.fixture
def judge(tmp_path):
    return embedded._start(JudgeRun(out=tmp_path, **TINY), TAXONOMY)


def test_the_loss_is_of_what_inspection_reports(judge, pool):
    """exp(-loss) is the mean, in logarithms, of the probabilities that `score` gives to the true answers."""
    import torch

    rows = [r for i in range(len(pool)) if (r := row(pool[i], TAXONOMY, CROPS_ONLY)).sheet.questions]
    judge.model.eval()
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        loss, right = judge_loss(judge.model, Collate(judge)(rows), token_loss=0.0)
    said = [
        judge.score(r.sheet)[n][q.answers[a]]
        for r in rows
        for n, (q, a) in enumerate(zip(r.sheet.questions, r.answers, strict=True))
    ]
    assert float(loss) == pytest.approx(-float(np.mean(said)), abs=0.02)  # bfloat16 against float32
    assert len(right) == len(said)


def test_every_weight_is_trained(judge, pool):
    loss, _ = judge_loss(
        judge.model, Collate(judge)([row(pool[i], TAXONOMY, CROPS_ONLY) for i in range(4)]), token_loss=1.0
    )
    loss.backward()
    idle = [name for name, p in judge.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_a_row_depends_on_its_index_alone(pool):
    rows = JudgeRows(pool, CROPS_ONLY, length=8, seed=3)
    assert rows[2].sheet.questions[0].crop.tobytes() == rows[2].sheet.questions[0].crop.tobytes()
    assert rows[2].sheet.questions[0].crop.tobytes() != rows[6].sheet.questions[0].crop.tobytes(), "another light"


def test_a_run_that_stops_goes_on_and_leaves_a_stock_model(tmp_path, monkeypatch):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    from toeline.judge.load import load_judge

    monkeypatch.setattr(embedded, "EVERY_STEPS", 2)
    seen = {"token_photographs": 4, "crop_photographs": 8, "full_photographs": 4}
    run = JudgeRun(out=tmp_path, photographs_per_step=2, **seen, **TINY)
    out = train_judge(run)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(e["stage"], e["step"]) for e in log] == [("tokens", 2), ("crops", 2), ("crops", 4), ("full", 2)]
    assert all(0 <= e["accuracy"] <= 1 for e in log if e["stage"] != "tokens")
    assert log[0]["dense"] > 0
    again = train_judge(JudgeRun(**{**run.__dict__, "resume": True}))
    assert again == out
    model = AutoModelForImageTextToText.from_pretrained(out)
    assert not any("token_head" in name for name, _ in model.named_parameters())
    assert AutoTokenizer.from_pretrained(out).tokenize("slope drain blocked") == ["slope", "Ġdrain", "Ġblocked"]
    judge = load_judge(str(out), device="cpu", adapter=None)
    scores = judge.score(
        row(SheetPool.drawn(tmp_path / "scenes", scenes=4, seed=1, taxonomy=TAXONOMY)[0], TAXONOMY, judge.view).sheet
    )
    assert all(sum(map(math.exp, s.values())) == pytest.approx(1, abs=1e-4) for s in scores)


def test_a_run_can_begin_from_a_checkpoint(tmp_path, judge):
    judge.model.save_pretrained(tmp_path / "kept")
    judge.tokenizer.save_pretrained(tmp_path / "kept")
    other = embedded._start(JudgeRun(out=tmp_path, start=tmp_path / "kept", seed=99, **TINY), TAXONOMY)
    for (name, a), (_, b) in zip(judge.model.named_parameters(), other.model.named_parameters(), strict=True):
        assert a.equal(b), name


def test_the_small_tokenizer_says_every_prompt_and_any_byte():
    tokenizer = small_tokenizer(rendered_texts(TAXONOMY))
    for text in [*rendered_texts(TAXONOMY), "Ünïcode 漢字\t\x00"]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer) < 800


def test_the_same_seed_gives_the_same_model():
    tokenizer = small_tokenizer(rendered_texts(TAXONOMY))
    a, b = (small_model(tokenizer, width=64, vision_depth=1, language_depth=1, seed=4) for _ in range(2))
    assert all(p.equal(q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
