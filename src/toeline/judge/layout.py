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
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toeline.core.question import Picture, Question, Sheet
from toeline.judge.trie import Trie, grow_trie

SYSTEM = "You are a helpful assistant."  # what Qwen2-VL's own chat template says when nobody says otherwise

# Longest packed sequence. Without a fused kernel, dense masked attention holds heads x S x S half-precision scores in
# one layer: 28 x 4096^2 x 2 bytes = 0.94 GB on the 7B, which fits beside 16.6 GB of weights on a 24 GB card.
MAX_TOKENS = 4096

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Alphabet:
    """A tokenizer as the layout needs it. `encode` turns plain text into ids and never yields the marks below.

    `start` and `end` are <|im_start|> and <|im_end|>; `image` is <|image_pad|>. `patch` is a patch's side in pixels and
    `merge` how many patches a side become one token, so a token covers a square of patch * merge pixels.
    """

    encode: Callable[[str], Sequence[int]]
    start: int
    end: int
    vision_start: int
    vision_end: int
    image: int
    patch: int = 14
    merge: int = 2

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


def pictures(sheet: Sheet) -> list[Picture]:
    """The sheet's pictures in the order in which a layout counts them: the photograph if there is one, then crops."""
    shared = [] if sheet.picture is None else [sheet.picture]
    return shared + [q.crop for q in sheet.questions if q.crop is not None]


class Grid(NamedTuple):
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
    grids: tuple[Grid, ...]


def _piece(parts: Sequence[Sequence[int] | Grid], abc: Alphabet) -> _Piece:
    """Join texts (lists of ids) and pictures (grids), counting positions as the model counts them alone."""
    ids: list[Ints] = []
    positions: list[Ints] = []
    at = 0
    for part in parts:
        if isinstance(part, Grid):
            places = _image_positions(part, abc.merge)
            ids.append(np.full(places.shape[1], abc.image, dtype=np.int64))
            positions.append(places + at)
            at += max(part.high, part.wide) // abc.merge
        else:
            ids.append(np.asarray(part, dtype=np.int64))
            positions.append(np.broadcast_to(np.arange(at, at + len(part)), (3, len(part))))
            at += len(part)
    grids = tuple(part for part in parts if isinstance(part, Grid))
    return _Piece(np.concatenate(ids), np.concatenate(positions, axis=1), at, grids)


@lru_cache(maxsize=256)
def _image_positions(grid: Grid, merge: int) -> Ints:
    """(3, tokens): time 0, row and column of every merged token of a picture."""
    rows, columns = np.indices((grid.high // merge, grid.wide // merge), dtype=np.int64)
    return np.stack([np.zeros(rows.size, dtype=np.int64), rows.ravel(), columns.ravel()])


def _grid(picture: Picture, abc: Alphabet) -> Grid:
    wide, high = picture.size
    if wide % abc.cell or high % abc.cell or min(wide, high) < abc.cell:
        raise ValueError(f"a picture is {wide} x {high} pixels; both sides must be multiples of {abc.cell}")
    return Grid(1, high // abc.patch, wide // abc.patch)


def _shown(picture: Picture | None, abc: Alphabet) -> list[list[int] | Grid]:
    return [] if picture is None else [[abc.vision_start], _grid(picture, abc), [abc.vision_end]]


def trunk(sheet: Sheet, abc: Alphabet) -> _Piece:
    """What all questions share: system text, the start of the user's turn, the photograph, the shared text.

    The text ends in a line break, because no byte-pair merge of Qwen2's tokenizer crosses from there into a word: texts
    tokenized apart equal the same texts tokenized together.
    """
    text = sheet.text.rstrip()
    return _piece(
        [
            [abc.start, *abc.encode(f"system\n{SYSTEM}"), abc.end, *abc.encode("\n"), abc.start, *abc.encode("user\n")],
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


def lay_out(sheet: Sheet, abc: Alphabet, *, max_tokens: int = MAX_TOKENS) -> list[Layout]:
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
