"""Counts, names and quoted values in words, the same in the terminal and on every page."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

ODD = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, format (right-to-left marks), lone surrogates, line separators


def some(count: int, what: str, many: str = "") -> str:
    """A count with its noun; `many` is its plural where that is not made with an s.

    >>> some(1, "photograph"), some(1200, "finding"), some(2, "pass", "passes")
    ('1 photograph', '1,200 findings', '2 passes')
    """
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"


def meant(typed: str, known: Iterable[str]) -> str:
    """What somebody who mistyped a name may have meant, as a question to put after a message; empty if nothing is near.

    >>> meant("embeded", ["auto", "embedded"]), meant("toe_drian", ["toe drain"]), meant("cat", ["toe drain"])
    (" Did you mean 'embedded'?", " Did you mean 'toe drain'?", '')
    """
    names = {_plain(name): name for name in known}
    near = get_close_matches(_plain(typed), names, n=1, cutoff=0.7)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def unknown(what: str, typed: str, known: Iterable[str]) -> str:
    """The sentence for a name that is none of those that are known.

    >>> print(unknown("the data set has no split", "vaild", ["train", "valid"]))
    the data set has no split 'vaild'. Did you mean 'valid'? Choose one of: train, valid.
    """
    names = list(known)
    return f"{what} {cut(typed)!r}.{meant(typed, names)} Choose one of: {', '.join(names)}."


def shown(text: str) -> str:
    r"""A text from outside (a file's name, a value) as a terminal may print it: what cannot be seen becomes an escape.

    Otherwise a name could move the cursor, change colors, or turn what follows around. Line ends are kept nowhere.

    >>> print(shown("a\x1b[31m.jpg"), shown("x\u202egpj.exe"), shown("l\udce9vee.jpg"), shown("digue été.jpg"))
    a\x1b[31m.jpg x\u202egpj.exe l\udce9vee.jpg digue été.jpg
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in ODD and c != "\u200d" else c for c in text)


def _escape(c: str) -> str:
    return c.encode("unicode_escape").decode("ascii") if not "\ud800" <= c <= "\udfff" else f"\\u{ord(c):04x}"


def cut(text: str, most: int = 60) -> str:
    """A value quoted in a message: no longer than `most` characters, in one line.

    >>> cut("0 0.5 0.5", 60), cut("9" * 200, 20)
    ('0 0.5 0.5', '99999999999999999...')
    """
    text = shown(text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."
