"""Free generation: seeded, strictly read, and the unreadable counted instead of guessed at."""

from __future__ import annotations

import math

import pytest
from tests.support.datasets import make_photo
from tests.support.tiny_judges import make_model, make_sheet, make_tokenizer

from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines.inspector import Inspector


@pytest.fixture(scope="module")
def judge():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from toeline.judge.generate import GeneratingJudge
    from toeline.judge.qwen_vl import QwenVLJudge

    tokenizer = make_tokenizer()
    view = PromptBudget(scene_tokens=9, crop_tokens=4)
    tiny = QwenVLJudge(make_model(tokenizer), tokenizer, Qwen2VLImageProcessorPil(), view)
    return GeneratingJudge(tiny, seed=3, max_new_tokens=6)


def test_same_seed_same_words_in_any_order(judge) -> None:
    sheet = make_sheet(3)
    first = [judge.write(sheet, q) for q in sheet.questions]
    again = [judge.write(sheet, q) for q in reversed(sheet.questions)][::-1]
    assert first == again
    from dataclasses import replace

    assert [replace(judge, seed=4).write(sheet, q) for q in sheet.questions] != first


@pytest.mark.parametrize("said", ["", "slope", "slope drain blocked.", "It is: slope drain", "SLOPE DRAIN"])
def test_what_is_not_exactly_a_name_is_unreadable(said: str) -> None:
    from toeline.judge.generate import read_strictly

    assert read_strictly(said, ["slope drain", "slope drain blocked"]) == {}


def test_a_name_that_begins_like_another_is_read_as_itself() -> None:
    from toeline.judge.generate import read_strictly

    found = read_strictly("slope drain blocked", ["slope drain", "slope drain blocked"])
    assert found == {"slope drain": -math.inf, "slope drain blocked": 0.0}


def test_an_unreadable_answer_becomes_a_finding_without_a_class(judge) -> None:
    from toeline.core.box import Box
    from toeline.core.scene import Instance

    instances = (Instance("1", "slope_drain", Box(10, 5, 20, 60)), Instance("2", "vegetation", Box(40, 5, 60, 30)))
    inspector = Inspector(None, judge, Taxonomy.load(), boxes=lambda photo, size: (instances, ()))
    drain, plant = inspector.inspect(make_photo((90, 70)))  # random weights write no class name
    assert not drain.verdict.readable
    assert drain.verdict.review
    assert plant.verdict.class_name == "vegetation"


def test_the_settings_are_on_record(judge) -> None:
    assert judge.info["decide"] == "generate"
    assert judge.info["seed"] == 3


def test_what_it_reads_is_what_is_scored(judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's first output after the prompt, over the first tokens of two answers, gives the packed scores."""
    from dataclasses import replace

    import torch

    two = ("slope drain", "rock toe")
    sheet = make_sheet(2, answers=(two,))
    fed: list[dict] = []
    stock = judge.judge.model.generate
    monkeypatch.setattr(judge.judge.model, "generate", lambda **more: fed.append(more) or stock(**more))
    for question, scores in zip(sheet.questions, judge.judge.score(sheet), strict=True):
        judge.write(sheet, question)
        shown = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "mm_token_type_ids")
        with torch.inference_mode():
            logits = judge.judge.model(**{k: v for k, v in fed[-1].items() if k in shown}).logits[0, -1]
        first = [judge.judge.alphabet.encode(answer)[0] for answer in two]
        assert torch.allclose(logits[first].log_softmax(-1), torch.tensor([scores[a] for a in two]), atol=1e-4)
    assert replace(judge, max_new_tokens=1).info["max_new_tokens"] == 1
