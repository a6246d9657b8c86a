"""Packed scores equal what the stock model says when every (question, answer) is put to it alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.tiny_judges import ANSWERS, CELLS, FAMILIES, make_model, make_sheet, make_tokenizer, rendered

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.judge import packing as batch_file
from toeline.judge.attention import branch_attention
from toeline.judge.checkpoint import load_processor
from toeline.judge.packing import collate, lay_out, pictures, tree_log_probs
from toeline.judge.qwen_vl import QwenVLJudge, answer_logits, hidden_states, image_features, patches

TOLERANCE = 1e-4
FAR = 0.1  # what a wrong mask or wrong positions must exceed: a thousand times the tolerance


def make_judge(family: str = "qwen2_vl", *, by_branch: bool = False) -> QwenVLJudge:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, family=family)
    if by_branch:  # as `load` does on a CPU
        branch_attention(model)
    return QwenVLJudge(model, tokenizer, load_processor(Path("nowhere"), model.config), PromptBudget())


@pytest.fixture(scope="module")
def judge() -> QwenVLJudge:
    return make_judge()


def forward_alone(judge: QwenVLJudge, ids: Sequence[int], shown: Sequence[Any]) -> torch.Tensor:
    """(S, vocabulary) logits of one plain sequence; positions and mask are the model's own."""
    batch: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    if shown:
        batch |= judge.processor(images=list(shown), do_resize=False, return_tensors="pt")
        kinds = (batch["input_ids"] == judge.model.config.image_token_id).int()
        batch["position_ids"], _ = judge.model.model.get_rope_index(
            batch["input_ids"], mm_token_type_ids=kinds, image_grid_thw=batch["image_grid_thw"]
        )
    with torch.no_grad():
        logits: torch.Tensor = judge.model(**batch, use_cache=False).logits[0]
    return logits


def alone(judge: QwenVLJudge, sheet: QuestionSheet, question: Question) -> dict[str, float]:
    """The question's scores from one full forward per answer, normalized at every fork of the tree of answers."""

    def ids(text: str) -> list[int]:
        return list(judge.tokenizer(text, add_special_tokens=False)["input_ids"])

    prompt = rendered(sheet, question, judge.model.config.model_type)
    start, rows = len(ids(prompt)), {a: ids(f"{prompt}{a}<|im_end|>") for a in question.answers}
    after: dict[tuple[int, ...], set[int]] = {}
    for row in rows.values():
        for end in range(start, len(row)):
            after.setdefault(tuple(row[:end]), set()).add(row[end])
    shown = [p for p in (sheet.picture, question.crop) if p is not None]
    scores = {}
    for answer, row in rows.items():
        logits = forward_alone(judge, row, shown).double()
        scores[answer] = 0.0
        for end in range(start, len(row)):
            rivals = torch.tensor(sorted(after[tuple(row[:end])]))
            scores[answer] += float(logits[end - 1, row[end]] - logits[end - 1, rivals].logsumexp(0))
    return scores


def furthest(judge: QwenVLJudge, sheet: QuestionSheet, given: Sequence[dict[str, float]]) -> float:
    """The largest difference between given scores and those of separate forwards."""
    wanted = [alone(judge, sheet, question) for question in sheet.questions]
    assert [list(row) for row in given] == [list(row) for row in wanted]
    return max(abs(g[a] - w[a]) for g, w in zip(given, wanted, strict=True) for a in w)


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("by_branch", [False, True], ids=["sdpa", "by branch"])
def test_packed_equals_separate_forwards(count: int, family: str, by_branch: bool) -> None:
    judge, sheet = make_judge(family, by_branch=by_branch), make_sheet(count, cell=CELLS[family])
    assert furthest(judge, sheet, judge.score(sheet)) < TOLERANCE


@pytest.mark.parametrize(
    "shape",
    [
        {"picture": None},
        {"crops": False},
        {"picture": None, "crops": False},
        {"text": ""},
        {"text": "", "crops": False},
    ],
    ids=str,
)
def test_every_shape_of_sheet_is_exact(judge: QwenVLJudge, shape: dict[str, Any]) -> None:
    sheet = make_sheet(3, **shape)
    assert furthest(judge, sheet, judge.score(sheet)) < TOLERANCE


def test_an_answer_that_begins_another_is_an_answer(judge: QwenVLJudge) -> None:
    sheet = make_sheet(1, answers=[("slope drain", "slope drain blocked", "slope", "slope drain blocked damaged")])
    scores = judge.score(sheet)
    assert furthest(judge, sheet, scores) < TOLERANCE
    assert sum(math.exp(score) for score in scores[0].values()) == pytest.approx(1, abs=1e-6)


def test_a_wrong_mask_is_noticed(judge: QwenVLJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = make_sheet(3)
    plain_causal = lambda last: torch.ones(last.shape[1], last.shape[1]).tril().bool()[None, None]  # noqa: E731
    monkeypatch.setattr(batch_file, "ancestry", plain_causal)
    assert furthest(judge, sheet, judge.score(sheet)) > FAR


def test_wrong_positions_are_noticed(judge: QwenVLJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet, forward = make_sheet(3), judge.model.model.language_model.forward

    def counted(**inputs: Any) -> Any:
        places = inputs["position_ids"]
        return forward(**{**inputs, "position_ids": torch.arange(places.shape[-1]).expand_as(places)})

    monkeypatch.setattr(judge.model.model.language_model, "forward", counted)
    given = judge.score(sheet)
    monkeypatch.undo()
    assert furthest(judge, sheet, given) > FAR


def test_the_crops_and_the_photograph_matter(judge: QwenVLJudge) -> None:
    """Otherwise the tests above would pass for a judge that is blind."""
    sheet = make_sheet(1)
    other_crop = QuestionSheet(sheet.photo, sheet.picture, sheet.text, make_sheet(2).questions[1:])
    seen, blind = judge.score(sheet), judge.score(make_sheet(1, picture=None))
    assert abs(seen[0]["slope drain"] - blind[0]["slope drain"]) > FAR
    assert furthest(judge, other_crop, judge.score(other_crop)) < TOLERANCE


@pytest.mark.parametrize("max_tokens", [1, 100, 200])
def test_chunks_change_nothing(judge: QwenVLJudge, max_tokens: int) -> None:
    sheet = make_sheet(8)
    pieces = lay_out(sheet, judge.alphabet, max_tokens=max_tokens)
    cut = QwenVLJudge(judge.model, judge.tokenizer, judge.processor, judge.view, max_tokens=max_tokens)
    assert 1 < len(pieces) <= 8
    assert all(len(p.ids) <= max_tokens or len(p.counts) == 1 for p in pieces)
    for whole, parts in zip(judge.score(sheet), cut.score(sheet), strict=True):
        assert parts == pytest.approx(whole, abs=TOLERANCE)


def test_a_batch_of_photographs_equals_each_alone(judge: QwenVLJudge) -> None:
    sheets = [
        make_sheet(3),
        make_sheet(1, picture=None),
        make_sheet(5, crops=False),
        make_sheet(2, text="Longer. " * 9),
    ]
    batch = collate([lay_out(sheet, judge.alphabet)[0] for sheet in sheets])
    pixels, grids = patches([p for sheet in sheets for p in pictures(sheet)], judge.processor)
    assert torch.equal(grids, batch.grids)
    assert batch.rows == (3, 1, 5, 2)
    with torch.no_grad():
        hidden = hidden_states(judge.model, batch, image_features(judge.model, pixels, grids))
        together = tree_log_probs(batch, answer_logits(judge.model, batch, hidden))
    apart = [list(scores.values()) for sheet in sheets for scores in judge.score(sheet)]
    assert len(together) == len(apart)
    for given, wanted in zip(together, apart, strict=True):
        assert given.tolist() == pytest.approx(wanted, abs=TOLERANCE)


def test_tokens_outside_the_tree_change_nothing(judge: QwenVLJudge) -> None:
    """A head that keeps more columns than the answers use, such as a whole vocabulary, gives the same numbers."""
    batch = collate(lay_out(make_sheet(3), judge.alphabet))
    logits = torch.randn(batch.child.shape, generator=torch.Generator().manual_seed(0))
    louder = torch.where(batch.child, logits, logits + 50)
    for one, other in zip(tree_log_probs(batch, logits), tree_log_probs(batch, louder), strict=True):
        assert torch.equal(one, other)


def test_probabilities_sum_to_one_and_repeat(judge: QwenVLJudge) -> None:
    sheet = make_sheet(8, answers=ANSWERS)
    first = judge.score(sheet)
    assert [sum(map(math.exp, row.values())) for row in first] == pytest.approx([1.0] * 8, abs=1e-6)
    assert judge.score(sheet) == first
    assert judge.score(QuestionSheet("empty.jpg", sheet.picture, "", ())) == []


def test_outputs_that_are_no_numbers_are_refused(judge: QwenVLJudge) -> None:
    from toeline.errors import ModelError

    broken = make_judge()
    with torch.no_grad():
        broken.model.model.language_model.norm.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"photo\.jpg: the judge's outputs are not numbers"):
        broken.score(make_sheet(1))
