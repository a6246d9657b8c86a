"""Free generation: seeded, strictly read, and the unreadable counted instead of guessed at."""

from __future__ import annotations

import math

import pytest
from tests.helpers import make_photo
from tests.tiny import make_model, make_sheet, make_tokenizer

from toeline.core.question import View
from toeline.core.taxonomy import Taxonomy
from toeline.inspector import Inspector


@pytest.fixture(scope="module")
def judge():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from toeline.judge.generate import GeneratingJudge
    from toeline.judge.qwen_vl import QwenVLJudge

    tokenizer = make_tokenizer()
    view = View(scene_tokens=9, crop_tokens=4)
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
    from toeline.core.scene import Thing

    things = (Thing("1", "slope_drain", Box(10, 5, 20, 60)), Thing("2", "vegetation", Box(40, 5, 60, 30)))
    inspector = Inspector(None, judge, Taxonomy.load(), boxes=lambda photo, size: (things, ()))
    drain, plant = inspector.inspect(make_photo((90, 70)))  # random weights write no class name
    assert not drain.verdict.readable
    assert drain.verdict.review
    assert plant.verdict.class_name == "vegetation"


def test_the_settings_are_on_record(judge) -> None:
    assert judge.info["decide"] == "generate"
    assert judge.info["seed"] == 3
