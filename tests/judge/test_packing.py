"""The packed sequence by itself: tokens, positions, tree, cuts. No model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tiny_judges import MARKS, make_picture, make_sheet, make_tokenizer

from toeline.core.question import Question, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.judge.packing import (
    Alphabet,
    Layout,
    Trie,
    alphabet_of,
    branch,
    collate,
    grow_trie,
    lay_out,
    spell,
    tree_log_probs,
    trunk,
)

TOKENIZER = make_tokenizer()
ABC = alphabet_of(TOKENIZER)
TEXTS = ["", "Seen from above.", "Things:\n- slope drain (12, 40), (300, 999)\n", "It ends in a colon:\n\n", "ü 3 m²  "]


def ancestors(layout: Layout) -> Iterator[list[int]]:
    """For every token, the positions that it sees."""
    return (row.nonzero().flatten().tolist() for row in layout.mask)


def prompt_of(sheet: QuestionSheet, number: int) -> str:
    question = sheet.questions[number]
    cells = lambda p: p.size[0] // 28 * (p.size[1] // 28)  # noqa: E731
    shown = [
        f"<|vision_start|>{'<|image_pad|>' * cells(p)}<|vision_end|>" if p else ""
        for p in (sheet.picture, question.crop)
    ]
    text = sheet.text.rstrip() + "\n" if sheet.text.strip() else ""
    return (
        f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{shown[0]}{text}{shown[1]}"
        f"{question.text.strip()}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("asked", ["Which one?", "  - near: rock toe\n", "\n12: x", ".", "'s"])
@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize("picture", [None, (56, 28)])
def test_pieces_tokenized_apart_equal_the_whole(
    text: str, asked: str, crops: bool, picture: tuple[int, int] | None
) -> None:
    crop = make_picture(28, 28) if crops else None
    photo = make_picture(*picture) if picture else None
    question = Question("t", asked, crop, Taxonomy.load().answers())
    sheet = QuestionSheet("p.jpg", photo, text, (question,))
    apart = [*trunk(sheet, ABC).ids.tolist(), *branch(question, ABC).ids.tolist()]
    for answer in question.answers:
        whole = TOKENIZER(prompt_of(sheet, 0) + answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
        assert [*apart, *ABC.encode(answer), ABC.end] == whole


def test_a_token_sees_its_own_prompt_and_nothing_of_its_neighbors() -> None:
    sheet = make_sheet(3)
    (layout,) = lay_out(sheet, ABC)
    seen = list(ancestors(layout))
    reply, ids = [ABC.start, *ABC.encode("assistant\n")], layout.ids.tolist()
    ends = [k + len(reply) - 1 for k in range(len(ids)) if ids[k : k + len(reply)] == reply]
    assert len(ends) == 3
    for number, end in enumerate(ends):
        whole = TOKENIZER(prompt_of(sheet, number), add_special_tokens=False)["input_ids"]
        assert [int(layout.ids[k]) for k in seen[end]] == whole


def test_text_that_spells_a_mark_stays_text() -> None:
    marks = {TOKENIZER.convert_tokens_to_ids(mark) for mark in MARKS}
    assert not marks & set(ABC.encode(f"a thing called {' '.join(MARKS)}"))


def test_a_tokenizer_without_the_marks_is_refused() -> None:
    class Bare:
        def get_vocab(self) -> dict[str, int]:
            return {"<|im_start|>": 0, "<|im_end|>": 1}

    with pytest.raises(ValueError, match=r"no <\|vision_start\|>, <\|vision_end\|>, <\|image_pad\|>"):
        alphabet_of(Bare())


@pytest.mark.parametrize("size", [(27, 28), (28, 30), (56, 14)])
def test_pictures_of_a_wrong_size_are_refused(size: tuple[int, int]) -> None:
    sheet = QuestionSheet("p.jpg", make_picture(*size), "", make_sheet(1).questions)
    with pytest.raises(
        ValueError, match=f"a picture is {size[0]} x {size[1]} pixels; both sides must be multiples of 28"
    ):
        lay_out(sheet, ABC)


def test_answers_that_spell_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="same tokens"):
        spell(Question("t", "?", None, ("rock toe", "rock toe")), ABC)


def test_only_tokens_that_leave_a_choice_are_fed() -> None:
    assert grow_trie(((1, 2, 0),)) == Trie((), (), (), ())
    assert grow_trie(((1, 2, 0), (1, 2, 3, 4, 0))) == Trie((1, 2), (0, 1), (2, 2), ((0, 1, 0), (1, 1, 3)))


words = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6, unique=True)


@given(words)
def test_any_set_of_answers_shares_out_one(answers: list[tuple[int, ...]]) -> None:
    """Random outputs at every fork: the answers' probabilities sum to 1, and each is the product along its path."""
    abc = Alphabet(lambda text: [int(c) for c in text if c.isdigit()], 8, 9, 8, 8, 8)
    question = Question("t", "1", None, tuple("".join(map(str, a)) for a in answers))
    batch = collate(lay_out(QuestionSheet("p", None, "", (question,)), abc))
    logits = torch.randn(batch.child.shape, generator=torch.Generator().manual_seed(1))
    (scores,) = tree_log_probs(batch, logits)
    assert scores.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert scores.shape == (len(answers),)


@given(st.integers(1, 7), st.integers(1, 400))
def test_cuts_keep_every_question_once_and_in_order(count: int, max_tokens: int) -> None:
    sheet = make_sheet(count)
    pieces = lay_out(sheet, ABC, max_tokens=max_tokens)
    assert [c for p in pieces for c in p.counts] == [len(q.answers) for q in sheet.questions]
    assert [i for p in pieces for i in p.pictures if i > 0] == [*range(1, count + 1)]
    assert all(p.pictures[0] == 0 for p in pieces)
    assert all(len(p.ids) <= max_tokens or len(p.counts) == 1 for p in pieces)


def test_padding_sees_itself_only() -> None:
    long, short = lay_out(make_sheet(3), ABC)[0], lay_out(make_sheet(1), ABC)[0]
    mask, size = collate([long, short]).mask[1, 0], len(short.ids)
    assert torch.equal(mask[size:], torch.eye(len(mask), dtype=torch.bool)[size:])
    assert torch.equal(mask[:size, :size], short.mask)
    assert not mask[:size, size:].any()


def test_nothing_to_collate_is_refused() -> None:
    with pytest.raises(ValueError, match="no layouts"):
        collate([])
