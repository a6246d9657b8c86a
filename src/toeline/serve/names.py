"""What people name: themselves, inspections, jobs, tokens. One rule for requests and for commands."""

from __future__ import annotations

import unicodedata

from toeline.core.words import ODD, cut
from toeline.errors import SetupError

MOST_NAME, MOST_NOTE = 120, 2000  # characters
JOINERS = "\u200c\u200d"  # without them Persian and Hindi names, and some emoji, cannot be written
LINES = "\n\r\t"
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters of Hangul and a sign of Braille that are drawn as nothing
SEEN = "LNPS"  # letters, numbers, punctuation, symbols: joiners and accents alone are no name


def plain(text: str, *, lines: bool = False) -> str:
    r"""The text without blanks at its ends, if all of it can be seen; `lines` allows line ends and tabs.

    Raises ValueError for what is blank, and for characters that move a cursor, end a line, or turn text around.

    >>> plain(" Zoë Ångström "), plain("One.\nTwo.", lines=True)
    ('Zoë Ångström', 'One.\nTwo.')
    """
    for c in text:
        odd = unicodedata.category(c) in ODD and c not in JOINERS and not (lines and c in LINES)
        if odd or c in FILLERS:
            said = ascii(c).strip("'")
            raise ValueError(f"has the character {said}, which cannot be seen. Write it in one line of plain text")
    if text and not any(unicodedata.category(c)[0] in SEEN for c in text):
        raise ValueError("is blank. Write something that can be read")
    return text.strip()


def plain_key(text: str) -> str:
    """The same for what answers are looked up by, which is not changed: blanks at its ends are refused.

    >>> plain_key("d1 ")
    Traceback (most recent call last):
    ValueError: begins or ends with a blank. Leave it out
    """
    if plain(text) != text:
        raise ValueError("begins or ends with a blank. Leave it out")
    return text


def plain_note(text: str) -> str:
    """The same for a remark of several lines."""
    return plain(text, lines=True)


def typed(text: str, what: str, most: int = MOST_NAME) -> str:
    """The same for an option of a command, no longer than `most`. Raises SetupError, which names the option `what`."""
    try:
        if len(text) > most:
            raise ValueError(f"has more than {most} characters. Choose a shorter one")
        return plain(text)
    except ValueError as why:
        raise SetupError(f"{what} {cut(text)!r} {why}.") from None
