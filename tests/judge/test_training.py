"""What training relies on: gradients, adapters, batches, and faster sums that are the same sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.tiny_judges import CELLS, FAMILIES, make_model, make_sheet, make_tokenizer, save_model
from torch import Tensor
from transformers import Qwen2VLImageProcessorPil

from toeline.core.question import PromptBudget, QuestionSheet
from toeline.errors import ModelError
from toeline.judge import attention as fast
from toeline.judge.attention import branch_attention, matmul_attention, patch_embed_as_linear
from toeline.judge.checkpoint import load_processor
from toeline.judge.packing import collate, lay_out, pictures, tree_log_probs
from toeline.judge.qwen_vl import QwenVLJudge, answer_logits, hidden_states, image_features, patches

TOKENIZER = make_tokenizer()
# peft 0.21 still asks transformers for a name that transformers 5.23 calls deprecated
peft_is_behind = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
LORA = ("q_proj", "k_proj", "v_proj", "o_proj")


def log_probs(model: Any, sheets: list[QuestionSheet]) -> list[Tensor]:
    """A training step's forward over several photographs."""
    abc = QwenVLJudge(model, TOKENIZER, None, PromptBudget()).alphabet
    batch = collate([layout for sheet in sheets for layout in lay_out(sheet, abc)])
    processor = load_processor(Path("nowhere"), model.config)
    pixels, grids = patches([p for sheet in sheets for p in pictures(sheet)], processor)
    hidden = hidden_states(model, batch, image_features(model, pixels, grids))
    return tree_log_probs(batch, answer_logits(model, batch, hidden))


def loss_of(model: Any, sheets: list[QuestionSheet]) -> Tensor:
    return -torch.stack([row[0] for row in log_probs(model, sheets)]).sum()


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, [weight for _, weight in named], allow_unused=True)
    return {name: g for (name, _), g in zip(named, found, strict=True) if g is not None}


def save_adapter(base: Path, where: Path, *, layers: int = 2, hidden: int = 32) -> Path:
    """A LoRA adapter for a tiny model, with weights that are not zero."""
    import peft

    model = make_model(TOKENIZER, layers=layers, hidden=hidden)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(LORA)))
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(len(name)))
    wrapped.save_pretrained(where)
    return where


def test_gradients_of_a_batch_are_the_sum_of_each_alone() -> None:
    model = make_model(TOKENIZER)
    sheets = [make_sheet(3), make_sheet(2, picture=None)]
    together = gradients(model, loss_of(model, sheets))
    apart = [gradients(model, loss_of(model, [sheet])) for sheet in sheets]
    assert any("visual" in name for name in together)
    for name, gradient in together.items():
        wanted = torch.stack([row[name] for row in apart if name in row]).sum(0)
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max() + 1))


def test_gradients_of_a_packed_sheet_are_the_sum_of_its_questions() -> None:
    model, sheet = make_model(TOKENIZER), make_sheet(3)
    packed = gradients(model, loss_of(model, [sheet]))
    singles = [QuestionSheet(sheet.photo, sheet.picture, sheet.text, (question,)) for question in sheet.questions]
    apart = gradients(model, loss_of(model, singles))
    for name, gradient in packed.items():
        torch.testing.assert_close(gradient, apart[name], rtol=1e-3, atol=1e-4 * float(apart[name].abs().max() + 1))


@peft_is_behind
def test_an_adapter_loads_and_changes_scores(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    sheet = make_sheet(2)
    plain, adapted = QwenVLJudge.load(base, device="cpu"), QwenVLJudge.load(base, device="cpu", adapter=adapter)
    assert abs(plain.score(sheet)[0]["slope drain"] - adapted.score(sheet)[0]["slope drain"]) > 0.01
    assert plain.info["adapter"] == {}
    assert len(adapted.info["adapter"]["adapter_model.safetensors"]) == 64
    assert plain.info["weights"] == adapted.info["weights"]


@peft_is_behind
def test_gradients_reach_only_the_adapter() -> None:
    import peft

    wrapped = peft.get_peft_model(make_model(TOKENIZER), peft.LoraConfig(r=4, target_modules=list(LORA)))
    model = wrapped.get_base_model()
    loss_of(model, [make_sheet(2)]).backward()  # type: ignore[no-untyped-call]
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert len(reached) == 2 * 2 * len(LORA)
    assert all("lora_" in name and "visual" not in name for name in reached)


@peft_is_behind
@pytest.mark.parametrize("shape", [{"layers": 3}, {"hidden": 64}], ids=str)
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, shape: dict[str, int]) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", **shape)
    with pytest.raises(ModelError, match="the adapter does not fit this model"):
        QwenVLJudge.load(base, device="cpu", adapter=adapter)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_linear_patch_embedding_is_the_same_sum(family: str) -> None:
    model, sheet = make_model(TOKENIZER, family=family), make_sheet(2, cell=CELLS[family])
    names = list(model.state_dict())
    before = log_probs(model, [sheet])
    patch_embed_as_linear(model)
    assert list(model.state_dict()) == names
    for one, other in zip(log_probs(model, [sheet]), before, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_matmul_attention_is_the_same_sum(family: str) -> None:
    model, cell = make_model(TOKENIZER, family=family), CELLS[family]
    sheets = [make_sheet(3, cell=cell), make_sheet(1, picture=None, cell=cell)]
    before = log_probs(model, sheets)
    matmul_attention(model)
    for one, other in zip(log_probs(model, sheets), before, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 2, 8])
def test_attention_branch_by_branch_is_the_same_sum(family: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sheet = make_model(TOKENIZER, family=family), make_sheet(count, cell=CELLS[family])
    before = log_probs(model, [sheet])
    calls: list[int] = []
    plain = fast._sdpa
    monkeypatch.setattr(fast, "_sdpa", lambda *given: calls.append(given[1].shape[2]) or plain(*given))
    branch_attention(model)
    for one, other in zip(log_probs(model, [sheet]), before, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    if count > 1:
        assert len(calls) == 2 * (1 + count)  # layers x (stem and branches)
    calls.clear()
    together = log_probs(model, [sheet, sheet])  # rows of a batch are not taken apart
    assert not calls
    for one, other in zip(together, [*before, *before], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_training_from_scratch_learns_two_pictures() -> None:
    """A few steps tell two crops apart: the loss reaches the vision tower through the packed forward."""
    model = make_model(TOKENIZER, scale=2.0).train()
    sheets = [make_sheet(i + 1, picture=None) for i in range(2)]
    sheets = [QuestionSheet(s.photo, None, "", s.questions[-1:]) for s in sheets]
    wanted = [0, 1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(25):
        loss = -torch.stack([row[w] for row, w in zip(log_probs(model, sheets), wanted, strict=True)]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < 0.1


def test_a_judge_can_be_made_of_a_model_in_training() -> None:
    judge = QwenVLJudge(make_model(TOKENIZER), TOKENIZER, Qwen2VLImageProcessorPil(), PromptBudget(), facts={"step": 3})
    assert judge.info["step"] == 3
    assert judge.info["weights"] == {}
