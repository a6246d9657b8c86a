"""Layouts side by side for one forward pass, and its outputs as log-probabilities. Knows tensors and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from toeline.judge.layout import Layout, ancestry


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
