"""Counts in words, the same in the terminal and on every page."""

from __future__ import annotations


def some(count: int, what: str) -> str:
    """A count with its noun.

    >>> some(1, "photograph"), some(1200, "finding")
    ('1 photograph', '1,200 findings')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"
