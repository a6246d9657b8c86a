"""One photograph and all its questions as one packed sequence with a tree-shaped attention mask. Knows no model.

The sequence is a tree laid out depth first. The trunk is the system text, the photograph and the shared text; one
branch per question holds its crop, its text and the start of the reply; on each branch hangs the trie of its answers.
A token sees its ancestors and itself. In depth-first order the ancestors of token q are exactly the tokens k with
k <= q < last[k], where last[k] is one past k's last descendant: one integer per token holds the tree and its mask.

Positions are those that each (question, answer) would have alone (M-RoPE of Qwen2-VL, arXiv 2409.12191, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toeline.core.question import Picture, Question, QuestionSheet
from toeline.judge.families import SYSTEM

# Longest packed sequence. Without a fused kernel, dense masked attention holds heads x S x S half-precision scores in
# one layer: 28 x 4096^2 x 2 bytes = 0.94 GB on the 7B, which fits beside 16.6 GB of weights on a 24 GB card.
MAX_TOKENS = 4096

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Alphabet:
    """A tokenizer as the layout needs it. `encode` turns plain text into ids and never yields the marks below.

    `start` and `end` are <|im_start|> and <|im_end|>; `image` is <|image_pad|>. `patch` is a patch's side in pixels and
    `merge` how many patches a side become one token, so a token covers a square of patch * merge pixels. `system` is
    the text before the user's turn; empty for none.
    """

    encode: Callable[[str], Sequence[int]]
    start: int
    end: int
    vision_start: int
    vision_end: int
    image: int
    patch: int = 14
    merge: int = 2
    system: str = SYSTEM

    @property
    def cell(self) -> int:
        """Side in pixels of the square that becomes one token."""
        return self.patch * self.merge


@dataclass(frozen=True)
class Layout:
    """One packed sequence of S tokens asking Q questions with A answers in all. Everything is on the CPU.

    ids: (S,) tokens. last: (S,) one past each token's last descendant. positions: (3, S) time, height, width.
    grids: (n, 3) patches of each picture in order (time, height, width); pictures: their indices in `pictures(sheet)`.
    steps: (3, M) rows answer (0..A-1), position whose output decides, token decided; only where there is a choice.
    counts: answers per question, adding up to A.
    """

    ids: Tensor
    last: Tensor
    positions: Tensor
    grids: Tensor
    pictures: tuple[int, ...]
    steps: Tensor
    counts: tuple[int, ...]

    @property
    def mask(self) -> Tensor:
        """(S, S) bool: may the token of this row see the token of this column?"""
        return ancestry(self.last[None])[0, 0]


def ancestry(last: Tensor) -> Tensor:
    """(B, S) one past each token's last descendant -> (B, 1, S, S) bool: may the row's token see the column's?"""
    here = torch.arange(last.shape[1], device=last.device)
    query = here[:, None]
    return ((here[None, :] <= query) & (query < last[:, None, :]))[:, None]


def pictures(sheet: QuestionSheet) -> list[Picture]:
    """The sheet's pictures in the order in which a layout counts them: the photograph if there is one, then crops."""
    shared = [] if sheet.picture is None else [sheet.picture]
    return shared + [q.crop for q in sheet.questions if q.crop is not None]


class PatchGrid(NamedTuple):
    """A picture's patches: time is 1 for a photograph."""

    time: int
    high: int
    wide: int


@dataclass(frozen=True)
class _Piece:
    """Tokens in a row: ids (n,), positions (3, n) from 0, `span` how far the position counter moves, its pictures."""

    ids: Ints
    positions: Ints
    span: int
    grids: tuple[PatchGrid, ...]


def _piece(parts: Sequence[Sequence[int] | PatchGrid], abc: Alphabet) -> _Piece:
    """Join texts (lists of ids) and pictures (grids), counting positions as the model counts them alone."""
    ids: list[Ints] = []
    positions: list[Ints] = []
    at = 0
    for part in parts:
        if isinstance(part, PatchGrid):
            places = _image_positions(part, abc.merge)
            ids.append(np.full(places.shape[1], abc.image, dtype=np.int64))
            positions.append(places + at)
            at += max(part.high, part.wide) // abc.merge
        else:
            ids.append(np.asarray(part, dtype=np.int64))
            positions.append(np.broadcast_to(np.arange(at, at + len(part)), (3, len(part))))
            at += len(part)
    grids = tuple(part for part in parts if isinstance(part, PatchGrid))
    return _Piece(np.concatenate(ids), np.concatenate(positions, axis=1), at, grids)


@lru_cache(maxsize=256)
def _image_positions(grid: PatchGrid, merge: int) -> Ints:
    """(3, tokens): time 0, row and column of every merged token of a picture."""
    rows, columns = np.indices((grid.high // merge, grid.wide // merge), dtype=np.int64)
    return np.stack([np.zeros(rows.size, dtype=np.int64), rows.ravel(), columns.ravel()])


def _grid(picture: Picture, abc: Alphabet) -> PatchGrid:
    wide, high = picture.size
    if wide % abc.cell or high % abc.cell or min(wide, high) < abc.cell:
        raise ValueError(f"a picture is {wide} x {high} pixels; both sides must be multiples of {abc.cell}")
    return PatchGrid(1, high // abc.patch, wide // abc.patch)


def _shown(picture: Picture | None, abc: Alphabet) -> list[list[int] | PatchGrid]:
    return [] if picture is None else [[abc.vision_start], _grid(picture, abc), [abc.vision_end]]


def trunk(sheet: QuestionSheet, abc: Alphabet) -> _Piece:
    """What all questions share: system text if there is one, the start of the user's turn, photograph, shared text.

    The text ends in a line break, because no byte-pair merge of Qwen2's tokenizer crosses from there into a word: texts
    tokenized apart equal the same texts tokenized together.
    """
    text = sheet.text.rstrip()
    system = [abc.start, *abc.encode(f"system\n{abc.system}"), abc.end, *abc.encode("\n")] if abc.system else []
    return _piece(
        [
            [*system, abc.start, *abc.encode("user\n")],
            *_shown(sheet.picture, abc),
            abc.encode(text + "\n") if text else [],
        ],
        abc,
    )


def branch(question: Question, abc: Alphabet) -> _Piece:
    """What one question adds: its crop, its text, the end of the user's turn, the start of the reply."""
    asked = [*abc.encode(question.text.strip()), abc.end, *abc.encode("\n"), abc.start, *abc.encode("assistant\n")]
    return _piece([*_shown(question.crop, abc), asked], abc)


def spell(question: Question, abc: Alphabet) -> Trie:
    """The trie of a question's answers, each closed by the end token. Raises ValueError when two spell alike."""
    return grow_trie(tuple((*abc.encode(answer), abc.end) for answer in question.answers))


def lay_out(sheet: QuestionSheet, abc: Alphabet, *, max_tokens: int = MAX_TOKENS) -> list[Layout]:
    """Pack a sheet into as few sequences of at most `max_tokens` as its questions allow, in their order.

    A question is never cut: one that is longer than `max_tokens` on its own gets a sequence of its own. Scores do not
    depend on `max_tokens`. An empty sheet gives an empty list. Raises ValueError for pictures of a wrong size.
    """
    shared = trunk(sheet, abc)
    parts = [(branch(q, abc), spell(q, abc)) for q in sheet.questions]
    first = 0 if sheet.picture is None else 1
    crops = list(accumulate((len(b.grids) for b, _ in parts), initial=first))
    layouts: list[Layout] = []
    begin = 0
    while begin < len(parts):
        stop, room = begin, max_tokens - len(shared.ids)
        while stop < len(parts) and (stop == begin or room >= _length(parts[stop])):
            room -= _length(parts[stop])
            stop += 1
        counts = tuple(len(q.answers) for q in sheet.questions[begin:stop])
        shown = (*range(first), *range(crops[begin], crops[stop]))
        layouts.append(_pack(shared, parts[begin:stop], counts, shown))
        begin = stop
    return layouts


def _length(part: tuple[_Piece, Trie]) -> int:
    return len(part[0].ids) + len(part[1].ids)


def _pack(
    shared: _Piece, parts: Sequence[tuple[_Piece, Trie]], counts: tuple[int, ...], shown: tuple[int, ...]
) -> Layout:
    ids, places = [shared.ids], [shared.positions]
    size = len(shared.ids) + sum(map(_length, parts))
    last = [np.full(len(shared.ids), size)]
    steps: list[tuple[int, int, int]] = []
    here, answers = len(shared.ids), 0
    for (piece, trie), count in zip(parts, counts, strict=True):
        leaves = here + len(piece.ids)
        ids += [piece.ids, np.array(trie.ids, dtype=np.int64)]
        below = np.array(trie.depth, dtype=np.int64) + shared.span + piece.span
        places += [piece.positions + shared.span, np.broadcast_to(below, (3, len(below)))]
        last += [np.full(len(piece.ids), leaves + len(trie.ids)), np.array(trie.last, dtype=np.int64) + leaves]
        steps += [(answers + answer, leaves + node, token) for answer, node, token in trie.steps]
        here, answers = leaves + len(trie.ids), answers + count
    grids = [g for piece in (shared, *(p for p, _ in parts)) for g in piece.grids]
    return Layout(
        ids=torch.from_numpy(np.concatenate(ids)),
        last=torch.from_numpy(np.concatenate(last).astype(np.int64)),
        positions=torch.from_numpy(np.concatenate(places, axis=1)),
        grids=torch.tensor(grids, dtype=torch.long).reshape(-1, 3),
        pictures=shown,
        steps=torch.tensor(steps, dtype=torch.long).reshape(-1, 3).T,
        counts=counts,
    )


@dataclass(frozen=True)
class Trie:
    """The tree of several answers' tokens below one prompt, depth first, the end token counted as part of each answer.

    ids, depth, last: per fed token; a token is fed only if more than one answer runs through it, because what follows
    a token of one answer alone is certain. steps: (answer, index of the fed token whose output decides, or -1 for the
    prompt's last token, token decided), only at forks.
    """

    ids: tuple[int, ...]
    depth: tuple[int, ...]
    last: tuple[int, ...]
    steps: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=512)
def grow_trie(answers: tuple[tuple[int, ...], ...]) -> Trie:
    """Build the trie of token sequences, none of which is a prefix of another. Raises ValueError if two are equal.

    >>> grow_trie(((5, 0), (5, 6, 0), (5, 7, 0)))
    Trie(ids=(5,), depth=(0,), last=(1,), steps=((0, 0, 0), (1, 0, 6), (2, 0, 7)))
    """
    if len(set(answers)) < len(answers):
        raise ValueError("two answers have the same tokens")
    ids: list[int] = []
    depths: list[int] = []
    last: list[int] = []
    steps: list[tuple[int, int, int]] = []

    def grow(node: int, depth: int, rest: list[tuple[int, tuple[int, ...]]]) -> None:
        forks: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for answer, tokens in rest:
            forks.setdefault(tokens[0], []).append((answer, tokens[1:]))
        if len(forks) > 1:
            steps.extend((answer, node, token) for token, below in forks.items() for answer, _ in below)
        for token, below in forks.items():
            if len(below) > 1:
                here = len(ids)
                ids.append(token)
                depths.append(depth)
                last.append(0)
                grow(here, depth + 1, below)
                last[here] = len(ids)

    grow(-1, 0, list(enumerate(answers)))
    return Trie(tuple(ids), tuple(depths), tuple(last), tuple(steps))


@dataclass(frozen=True)
class Batch:
    """Layouts of one or more photographs, padded on the right to one length; what a model's forward takes.

    ids, last: (B, S). position_ids: (3, B, S). grids: (n, 3), pictures of row 0 first.
    at: (P,) flat indices into B * S of the P outputs that decide between tokens. tokens: (T,) every token that can be
    decided. child: (P, T) bool, which tokens can follow there. cell: (M,) flat indices into P * T, and answer: (M,),
    the answer that each cell's log-probability is added to. counts: answers per question over all rows; rows: questions
    per row.
    """

    ids: Tensor
    last: Tensor
    position_ids: Tensor
    grids: Tensor
    at: Tensor
    tokens: Tensor
    child: Tensor
    cell: Tensor
    answer: Tensor
    counts: tuple[int, ...]
    rows: tuple[int, ...]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Batch(**{**vars(self), **moved})

    @property
    def mask(self) -> Tensor:
        """(B, 1, S, S) bool for scaled dot-product attention; padding sees itself only, so that no row is empty."""
        return ancestry(self.last)


def subtrees(last: Sequence[int]) -> list[tuple[int, int]]:
    """Where one sequence of the batch forks into branches that do not see each other, as (begin, end) of each.

    `last` is one past each token's last descendant. All tokens before the first branch are seen by all after them.

    >>> subtrees([6, 6, 4, 4, 6, 6])
    [(2, 4), (4, 6)]
    """
    begin = next((k for k, end in enumerate(last) if end < len(last)), len(last))
    found = []
    while begin < len(last):
        found.append((begin, last[begin]))
        begin = last[begin]
    return found


def collate(layouts: Sequence[Layout]) -> Batch:
    """Several layouts as rows of one batch, padded on the right.

    Rows, and not one long block-diagonal sequence: dense attention costs the square of the length, so 16 sheets in one
    sequence would cost 16 times the attention of 16 rows. Put sheets of like length together: padding is computed too.
    Raises ValueError for an empty list.
    """
    if not layouts:
        raise ValueError("nothing to collate: no layouts")
    size = max(len(row.ids) for row in layouts)
    alone = torch.arange(1, size + 1)
    ids = torch.stack([_fill(row.ids, torch.zeros(size, dtype=torch.long)) for row in layouts])
    last = torch.stack([_fill(row.last, alone) for row in layouts])
    positions = torch.stack([_fill(row.positions, torch.zeros(3, size, dtype=torch.long)) for row in layouts], dim=1)
    firsts = accumulate((sum(row.counts) for row in layouts), initial=0)
    shifts = [torch.tensor([[first], [i * size], [0]]) for i, first in zip(range(len(layouts)), firsts, strict=False)]
    answer, position, token = torch.cat([row.steps + shift for row, shift in zip(layouts, shifts, strict=True)], dim=1)
    at, node = torch.unique(position, return_inverse=True)
    tokens, which = torch.unique(token, return_inverse=True)
    cell = node * len(tokens) + which
    child = torch.zeros(len(at) * len(tokens), dtype=torch.bool).index_fill_(0, cell, True).view(len(at), len(tokens))
    counts = tuple(count for row in layouts for count in row.counts)
    grids = torch.cat([row.grids for row in layouts])
    rows = tuple(len(row.counts) for row in layouts)
    return Batch(ids, last, positions, grids, at, tokens, child, cell, answer, counts, rows)


def _fill(given: Tensor, padding: Tensor) -> Tensor:
    """`padding` with its beginning (last dimension) overwritten by `given`."""
    out = padding.clone()
    out[..., : given.shape[-1]] = given
    return out


def tree_log_probs(batch: Batch, logits: Tensor) -> list[Tensor]:
    """Exact log-probabilities of the answers, one float32 (answers,) tensor per question; differentiable.

    `logits`: (P, T), the model's outputs at `batch.at` for `batch.tokens`. At every fork the softmax runs over the
    tokens that can follow there, and an answer's log-probability is the sum along its path: a question's answers sum
    to 1, and tokens that lead to no answer, trimmed from the vocabulary or not, change nothing.
    """
    barred = logits.float().masked_fill(~batch.child, -torch.inf)
    steps = barred.log_softmax(-1).flatten()[batch.cell]
    flat = torch.zeros(sum(batch.counts), device=logits.device).index_add(0, batch.answer, steps)
    return list(torch.split(flat, list(batch.counts)))


MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


def alphabet_of(
    tokenizer: Any,
    *,
    patch: int = 14,
    merge: int = 2,
    system: str = SYSTEM,
    check: Callable[[str], None] | None = None,
) -> Alphabet:
    """A transformers tokenizer as the layout needs it. Text that spells a mark, such as "<|im_end|>", stays text.

    `check` is called with every text before it is cut, once. Raises ValueError when the tokenizer lacks a mark.
    """
    known = tokenizer.get_vocab()
    if missing := [mark for mark in MARKS if mark not in known]:
        raise ValueError(f"the tokenizer has no {', '.join(missing)}")

    @lru_cache(maxsize=65536)
    def encode(text: str) -> tuple[int, ...]:
        if check:
            check(text)
        return tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    start, end, vision_start, vision_end, image = (known[mark] for mark in MARKS)
    return Alphabet(encode, start, end, vision_start, vision_end, image, patch, merge, system)
