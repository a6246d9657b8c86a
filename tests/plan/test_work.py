"""Lengths and operations of one photograph."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest

from toeline.core.question import PromptBudget
from toeline.judge.packing import MAX_TOKENS, Alphabet, lay_out
from toeline.pipelines.plan import sheet_of
from toeline.plan import cost as works
from toeline.plan.model_shape import find_model

SEVEN = find_model("Qwen/Qwen2-VL-7B-Instruct")
# Qwen2's pattern with [^\W\d_] for letters and \d for digits: a word of ordinary English is one token
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\w]?[^\W\d_]+|\d| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@cache
def token_of(piece: str) -> int:
    token_of.seen = getattr(token_of, "seen", 9) + 1  # type: ignore[attr-defined]
    return int(token_of.seen)  # type: ignore[attr-defined]


ALPHABET = Alphabet(lambda text: [token_of(piece) for piece in re.findall(SPLIT, text)], 1, 2, 3, 4, 5)


@pytest.mark.parametrize("objects", [1, 3, 5, 9])
def test_the_planned_length_is_that_of_a_drawn_photograph(objects: int) -> None:
    (layout,) = lay_out(sheet_of(objects, PromptBudget()), ALPHABET)
    assert works.work_of(SEVEN, objects).length == pytest.approx(len(layout.ids), rel=0.1)


def test_many_objects_are_packed_in_chunks_as_the_layout_does() -> None:
    work = works.work_of(SEVEN, 40)
    assert work.length <= MAX_TOKENS < work.length + work.branch
    assert work.sequences == -(-40 // work.chunk) == 3
    assert works.in_chunks(work, 1).sequences == 40
    assert works.work_of(SEVEN, 5, most=100).chunk == 1


def test_the_picture_is_as_large_as_it_is_shown() -> None:
    assert works.work_of(SEVEN, 5).photo == 23 * 23 == works.work_of(SEVEN, 5, image=640).photo
    assert works.work_of(SEVEN, 5, image=1280).photo == 46 * 46
    blind = replace(SEVEN, view=replace(SEVEN.view, scene_tokens=0))
    assert works.work_of(blind, 5).pictures == [256] * 5


def test_operations_of_the_7b_are_those_of_the_sums_by_hand() -> None:
    """2 x 6.525e9 per token; the full photograph 3.45e12 and a crop 0.339e12, from a prototype's arithmetic."""
    work = works.work_of(SEVEN, 5)
    packed = works.packed(SEVEN.shape, work)
    assert packed.language == pytest.approx(13.05e9 * work.length, rel=1e-3)
    assert packed.attention == pytest.approx(4 * work.length**2 * 3584 * 28)
    assert works.vision_flop(SEVEN.shape, [2116]) == pytest.approx(3.45e12, rel=0.01)
    assert works.vision_flop(SEVEN.shape, [256]) == pytest.approx(0.339e12, rel=0.02)


def test_packing_beats_the_other_ways_by_more_the_more_objects_there_are() -> None:
    few, many = (works.work_of(SEVEN, n) for n in (2, 18))
    gains = [works.one_per_answer(SEVEN.shape, w).total / works.packed(SEVEN.shape, w).total for w in (few, many)]
    assert 1 < gains[0] < gains[1]
    assert works.generate(SEVEN.shape, many).steps == 50 * 18


def test_training_costs_what_is_computed_twice() -> None:
    work = works.work_of(SEVEN, 5)
    once, twice = (works.training(SEVEN.shape, work, checkpointing=c, cached=True) for c in (False, True))
    assert twice.language == 1.5 * once.language
    assert once.vision == 0.0
    apart = works.training_apart(SEVEN.shape, work, checkpointing=True, cached=False)
    assert apart.total > 2 * works.training(SEVEN.shape, work, checkpointing=True, cached=False).total
