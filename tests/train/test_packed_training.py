"""Packing changes nothing about what is trained: losses and gradients equal those of each object alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.tiny_judges import FAMILIES, rendered
from tests.support.training import settings, write_data, write_judge
from torch import Tensor

from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_dataset
from toeline.judge import qwen_vl
from toeline.train.adapter import LoraLearner, load_judge, prepare
from toeline.train.datasets import read_labeled_split
from toeline.train.feature_cache import FeatureStore, look
from toeline.train.loss import Packer, losses, right_and_loss
from toeline.train.samples import Plain, TrainingRow

TAXONOMY = Taxonomy.load()
SAME = 1e-5  # of the largest gradient of each tensor


@pytest.fixture(scope="module", params=FAMILIES)
def judge_folder(request: Any, tmp_path_factory: Any) -> Path:
    return write_judge(tmp_path_factory.mktemp("judge"), family=request.param)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: Any, judge_folder: Path) -> list[TrainingRow]:
    """Two photographs: one of two objects that leave a choice, one of four."""
    labeled_split = read_labeled_split(
        open_dataset(write_data(tmp_path_factory.mktemp("data")), TAXONOMY), "train", TAXONOMY
    )
    view = load_judge(settings(judge_folder)).view
    plain = Plain(labeled_split, TAXONOMY, view)
    return [plain[0], plain[3]]


def make_learner(judge_folder: Path, **more: Any) -> LoraLearner:
    """LoRA layers whose second matrices are not zero, so that every matrix has a gradient."""
    learner = prepare(settings(judge_folder, dropout=0.0, **more), load_judge(settings(judge_folder)))
    with torch.no_grad():
        for name, weight in learner.wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    learner.wrapped.train()
    return learner


def gradients(learner: LoraLearner, loss: Tensor) -> dict[str, Tensor]:
    named = [(n, w) for n, w in learner.wrapped.named_parameters() if w.requires_grad]
    return dict(zip([n for n, _ in named], torch.autograd.grad(loss, [w for _, w in named]), strict=True))


def packed_loss(learner: LoraLearner, packer: Packer, rows: list[TrainingRow]) -> Tensor:
    chunks = packer(rows)["chunks"]
    return torch.stack([losses(learner.judge.model, chunk).sum() for chunk in chunks]).sum()


def loss_alone(judge: Any, row: TrainingRow) -> Tensor:
    """The loss of each question from one full forward of the stock model per answer; no packing, no tree."""
    total = torch.zeros(())
    for question, true in zip(row.sheet.questions, row.answers, strict=True):
        prompt = rendered(
            replace(row.sheet, text=row.sheet.text.rstrip()),
            replace(question, text=question.text.strip()),
            judge.model.config.model_type,
        )
        ids = {
            a: judge.tokenizer(f"{prompt}{a}<|im_end|>", add_special_tokens=False).input_ids for a in question.answers
        }
        start, path = len(judge.tokenizer(prompt, add_special_tokens=False).input_ids), ids[question.answers[true]]
        logits = stock_logits(judge, path, [p for p in (row.sheet.picture, question.crop) if p is not None])
        for end in range(start, len(path)):
            rivals = sorted({other[end] for other in ids.values() if other[:end] == path[:end]})
            total = total - logits[end - 1, path[end]] + logits[end - 1, torch.tensor(rivals)].logsumexp(0)
    return total


def stock_logits(judge: Any, ids: list[int], shown: list[Any]) -> Tensor:
    """(S, vocabulary) of the unchanged forward, with the model's own mask and positions."""
    model, tokens = judge.model, torch.tensor([ids])
    done = judge.processor(images=shown, do_resize=False, return_tensors="pt")
    kinds = (tokens == model.config.image_token_id).int()
    places, _ = model.model.get_rope_index(tokens, mm_token_type_ids=kinds, image_grid_thw=done["image_grid_thw"])
    said = type(model).forward(model, input_ids=tokens, position_ids=places, use_cache=False, **done)
    found: Tensor = said.logits[0]
    return found


def furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two sets of gradients, as a share of the largest gradient of its tensor."""
    assert one.keys() == other.keys()
    return max(float((one[n] - other[n]).abs().max() / other[n].abs().max()) for n in other)


@pytest.mark.parametrize("how", ["packed", "cached", "checkpointed", "chunked"])
def test_loss_and_gradients_equal_those_of_each_object_alone(
    how: str, judge_folder: Path, rows: list[TrainingRow], tmp_path: Path
) -> None:
    learner = make_learner(judge_folder, checkpointing="on" if how == "checkpointed" else "off")
    store = None
    if how == "cached":
        store = FeatureStore(tmp_path, "tiny")
        for row in rows:
            shown = [row.sheet.picture, *(q.crop for q in row.sheet.questions)]
            store.write(shown, look(learner.judge, shown))
    packer = Packer(learner.judge, max_tokens=250 if how == "chunked" else 4096, store=store)
    assert len(packer(rows)["chunks"]) > 2 if how == "chunked" else len(packer(rows)["chunks"]) == 2
    loss = packed_loss(learner, packer, rows)
    alone = torch.stack([loss_alone(learner.judge, row) for row in rows]).sum()
    assert float(loss.detach()) == pytest.approx(float(alone.detach()), rel=SAME)
    assert furthest(gradients(learner, loss), gradients(learner, alone)) < SAME


def test_the_comparison_has_teeth(judge_folder: Path, rows: list[TrainingRow]) -> None:
    """One object that is asked about in another place changes the gradients a hundred times more than is allowed."""
    learner, packer = make_learner(judge_folder), None
    packer = Packer(learner.judge)
    moved = replace(rows[0].sheet.questions[0], text=rows[0].sheet.questions[0].text.replace("slope", "toe", 1))
    other = replace(rows[0], sheet=replace(rows[0].sheet, questions=(moved, *rows[0].sheet.questions[1:])))
    one, two = (gradients(learner, packed_loss(learner, packer, [row])) for row in (rows[0], other))
    assert furthest(one, two) > 100 * SAME


def test_only_answer_tokens_are_trained_on(judge_folder: Path, rows: list[TrainingRow]) -> None:
    """Read back: at each fork of the true answer the token that decides, the end token where the answer ends there."""
    learner = make_learner(judge_folder)
    chunk = Packer(learner.judge)(rows[1:])["chunks"][0]
    batch, decode = chunk["batch"], learner.judge.tokenizer.decode
    ends = torch.tensor([0, *torch.tensor(batch.counts).cumsum(0)[:-1].tolist()])
    trained = [
        "".join(
            decode(batch.tokens[cell % len(batch.tokens)])
            for cell, answer in zip(batch.cell, batch.answer, strict=True)
            if answer == first + true
        )
        for first, true in zip(ends, chunk["answers"], strict=True)
    ]
    true = [q.answers[a] for q, a in zip(rows[1].sheet.questions, rows[1].answers, strict=True)]
    assert true == ["slope drain", "slope drain blocked", "Toe drain- Damaged", "rock toe"]
    assert [t[-len("<|im_end|>") :] for t in (trained[0], trained[3])] == ["<|im_end|>"] * 2
    assert all(t and t.replace("<|im_end|>", "") in name for t, name in zip(trained, true, strict=True))
    asked = set(batch.ids.flatten()[batch.at].tolist())
    assert all("box" not in decode([i]) for i in asked)


def test_gradients_come_from_the_answers_places_alone(
    judge_folder: Path, rows: list[TrainingRow], monkeypatch: pytest.MonkeyPatch
) -> None:

    kept: list[Tensor] = []
    plain = qwen_vl.hidden_states

    def watched(*given: Any) -> Tensor:
        kept.append(plain(*given))
        kept[-1].retain_grad()
        return kept[-1]

    monkeypatch.setattr(qwen_vl, "hidden_states", watched)
    learner = make_learner(judge_folder)
    chunk = Packer(learner.judge)(rows[1:])["chunks"][0]
    losses(learner.judge.model, chunk).sum().backward()  # type: ignore[no-untyped-call]
    assert kept[0].grad is not None
    reached = set(kept[0].grad[0].abs().sum(-1).nonzero().flatten().tolist())
    assert reached
    assert reached <= set(chunk["batch"].at.tolist())


def test_answers_of_one_photograph_do_not_see_each_other(judge_folder: Path, rows: list[TrainingRow]) -> None:
    """The loss of the first question is the same whatever else is asked."""
    learner, packer = make_learner(judge_folder), None
    packer = Packer(learner.judge)
    row = rows[1]
    fewer = replace(row, sheet=replace(row.sheet, questions=row.sheet.questions[:1]), answers=row.answers[:1])
    both = [losses(learner.judge.model, packer([r])["chunks"][0])[0] for r in (row, fewer)]
    assert float(both[0].detach()) == pytest.approx(float(both[1].detach()), rel=SAME)


def test_weights_count_in_the_loss_and_not_in_what_is_measured(judge_folder: Path, rows: list[TrainingRow]) -> None:
    learner = make_learner(judge_folder)
    plain, heavy = Packer(learner.judge), Packer(learner.judge, {"slope drain": 3.0})
    one, three = (losses(learner.judge.model, p(rows[1:])["chunks"][0]) for p in (plain, heavy))
    assert torch.allclose(three / one, torch.tensor([3.0, 1.0, 1.0, 1.0]))
    measured = right_and_loss(learner.judge.model, plain(rows[1:])["chunks"])
    assert [loss for _, loss in measured] == pytest.approx(one.tolist(), rel=SAME)


def test_lora_stands_in_the_language_model_only(judge_folder: Path) -> None:
    learner = make_learner(judge_folder)
    trained = [n for n, w in learner.wrapped.named_parameters() if w.requires_grad]
    assert len(trained) == 2 * 2 * 4  # two layers, four projections, two matrices
    assert not any("visual" in n for n in trained)
