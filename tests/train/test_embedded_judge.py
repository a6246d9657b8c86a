"""The embedded judge's training: what the loss is of, that it learns, stops, goes on, and leaves a stock model."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest

from toeline.core.taxonomy import Taxonomy
from toeline.prompts.texts import rendered_texts
from toeline.train import callbacks as loop
from toeline.train import embedded_judge as embedded
from toeline.train.callbacks import Log
from toeline.train.datasets import SheetPool
from toeline.train.embedded_judge import (
    CROPS_ONLY,
    JudgeRows,
    JudgeRun,
    small_model,
    small_tokenizer,
    train_judge,
)
from toeline.train.loss import Packer, losses
from toeline.train.samples import row

TAXONOMY = Taxonomy.load()
SHAPE = {"width": 64, "vision_depth": 1, "language_depth": 1, "workers": 1, "threads": 1}
TINY = {**SHAPE, "scenes": 4, "held_out": 2, "seed": 5}


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    """A third of the tokens that the shipped judge was trained with: runs are compared with each other."""
    small = {"scene_tokens": 36, "crop_tokens": 12, "marked_tokens": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "VIEW", replace(embedded.VIEW, **small))
        patch.setattr(embedded, "CROPS_ONLY", replace(CROPS_ONLY, **{**small, "scene_tokens": 0}))
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The scenes that a run of TINY draws, to be copied into its folder: drawing takes longer than training."""
    out = tmp_path_factory.mktemp("drawn")
    for name, scenes, seed in (("scenes", 4, 5), ("held-out", 2, 1_000_008)):
        SheetPool.drawn(out / name, scenes=scenes, seed=seed, taxonomy=TAXONOMY)
    return out


@pytest.fixture(scope="module")
def pool(drawn) -> SheetPool:
    return SheetPool.drawn(drawn / "scenes", scenes=4, seed=5, taxonomy=TAXONOMY)


@pytest.fixture
def judge(tmp_path):
    return embedded._start(JudgeRun(out=tmp_path, **TINY), TAXONOMY).judge


def test_the_loss_is_of_what_inspection_reports(judge, pool):
    """exp(-loss) is the mean, in logarithms, of the probabilities that `score` gives to the true answers."""
    import torch

    rows = [r for i in range(len(pool)) if (r := row(pool[i], TAXONOMY, CROPS_ONLY)).sheet.questions]
    judge.model.eval()
    with torch.no_grad():
        found = [loss for chunk in Packer(judge)(rows)["chunks"] for loss in losses(judge.model, chunk).tolist()]
    said = [
        judge.score(r.sheet)[n][q.answers[a]]
        for r in rows
        for n, (q, a) in enumerate(zip(r.sheet.questions, r.answers, strict=True))
    ]
    assert found == pytest.approx([-one for one in said], abs=1e-4)


def test_every_weight_is_trained(judge, pool):
    chunks = Packer(judge, dense=True)([row(pool[i], TAXONOMY, CROPS_ONLY) for i in range(4)])["chunks"]
    sum(losses(judge.model, chunk, dense=1.0).sum() for chunk in chunks).backward()
    idle = [name for name, p in judge.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_the_first_stage_trains_the_vision_tower_alone(judge, pool):
    chunk = Packer(judge, dense=True)([row(pool[0], TAXONOMY, CROPS_ONLY)])["chunks"][0]
    losses(judge.model, chunk, answers=False, dense=1.0).sum().backward()
    moved = {name for name, p in judge.model.named_parameters() if p.grad is not None}
    assert moved == {n for n, _ in judge.model.named_parameters() if n.startswith(("model.visual", "token_head"))}


def test_a_row_depends_on_its_index_alone(pool):
    rows = JudgeRows(pool, CROPS_ONLY, length=8, seed=3)
    assert rows[2].sheet.questions[0].crop.tobytes() == rows[2].sheet.questions[0].crop.tobytes()
    assert rows[2].sheet.questions[0].crop.tobytes() != rows[6].sheet.questions[0].crop.tobytes(), "another light"


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


SEEN = {"token_photographs": 4, "crop_photographs": 8, "full_photographs": 4, "photographs_per_step": 2}


def curves(out):
    """For each stage every line of its log, without the clock."""
    logs = {name: Log(out / name / "log.jsonl").lines() for name in ("tokens", "crops", "full")}
    return {name: [{k: v for k, v in line.items() if k != "seconds"} for line in log] for name, log in logs.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, drawn):
    """A run without an interruption, measured every two steps, in `out`."""
    out = shutil.copytree(drawn, tmp_path_factory.mktemp("whole") / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "EVERY_STEPS", 2)
        train_judge(JudgeRun(out=out, **SEEN, **TINY))
    return out


def test_a_killed_run_goes_on_to_the_same_curve_and_weights(whole, drawn, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(embedded, "EVERY_STEPS", 2)
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)
    tell = embedded._tell

    def kill(bar, task, done, line):
        tell(bar, task, done, line)
        if bar.tasks[0].description == "crops" and done == 5:  # in the middle of the third step
            raise Killed

    monkeypatch.setattr(embedded, "_tell", kill)
    run = JudgeRun(out=tmp_path, **SEEN, **TINY)
    with pytest.raises(Killed):
        train_judge(run)
    monkeypatch.setattr(embedded, "_tell", tell)
    train_judge(JudgeRun(**{**run.__dict__, "resume": True}))
    assert curves(tmp_path) == curves(whole)
    one, two = (load_file(out / "model" / "model.safetensors") for out in (whole, tmp_path))
    assert all(one[name].equal(two[name]) for name in one)


def test_a_run_that_stops_goes_on_and_leaves_a_stock_model(whole, monkeypatch):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    from toeline.judge.load import load_judge

    tmp_path, out = whole, whole / "model"
    run = JudgeRun(out=whole, **SEEN, **TINY)
    lines = [(name, line) for name, log in curves(whole).items() for line in log]
    log = [(name, line["step"], line["valid"]) for name, line in lines if "valid" in line]
    measured = [("tokens", 2), ("crops", 2), ("crops", 4), ("full", 2)]
    assert [(name, step) for name, step, _ in log if step] == measured
    assert all(0 <= found["accuracy"] <= 1 for name, _, found in log if name != "tokens")
    assert log[0][2]["dense"] > 0
    assert 0 <= log[-1][2]["where"]["accuracy"] <= 1
    assert [line["step"] for line in curves(whole)["crops"] if "loss" in line] == [1, 2, 3, 4]
    before = curves(whole)
    again = train_judge(JudgeRun(**{**run.__dict__, "resume": True}))
    assert again == out
    assert curves(whole) == before
    model = AutoModelForImageTextToText.from_pretrained(out)
    assert not any("token_head" in name for name, _ in model.named_parameters())
    assert AutoTokenizer.from_pretrained(out).tokenize("slope drain blocked") == ["slope", "Ġdrain", "Ġblocked"]
    judge = load_judge(str(out), device="cpu", adapter=None)
    scores = judge.score(
        row(SheetPool.drawn(tmp_path / "scenes", scenes=4, seed=5, taxonomy=TAXONOMY)[0], TAXONOMY, judge.view).sheet
    )
    assert all(sum(map(math.exp, s.values())) == pytest.approx(1, abs=1e-4) for s in scores)


def test_a_run_can_begin_from_a_checkpoint(tmp_path, judge):
    judge.model.save_pretrained(tmp_path / "kept")
    judge.tokenizer.save_pretrained(tmp_path / "kept")
    other = embedded._start(JudgeRun(out=tmp_path, start=tmp_path / "kept", **{**TINY, "seed": 99}), TAXONOMY).judge
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
