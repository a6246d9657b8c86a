"""The tree of several answers' tokens: what has to be fed and where it forks. Knows integers only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


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
