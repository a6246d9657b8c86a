"""Everything that prompts can say of a taxonomy: what tokenizers are trained on, and what a trimmed one must know."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence

from toeline.core.taxonomy import Taxonomy
from toeline.prompts.evidence import Evidence
from toeline.prompts.evidence import spoken as told
from toeline.prompts.spatial_questions import ASK, NO, YES
from toeline.prompts.templates import PHRASES, PROMPTS, ShownInstance


def rendered_texts(taxonomy: Taxonomy) -> Iterator[str]:
    """Every word that the prompts can say of this taxonomy, in the sentences that say it.

    Whole sentences, because pieces of them tokenize differently.
    """
    yield from ASK.values()
    yield f"Marked in it: A (red) toe drain; B (blue) slope drain; C (yellow) rock toe. Answer {YES} or {NO}."
    yield from ("system\nYou are a helpful assistant.", "user\n", "assistant\n", *taxonomy.answers())
    kinds = [t.name for t in taxonomy.types]
    for n, (phrase, kind) in enumerate((p, k) for p in PHRASES.values() for k in kinds):
        spoken = taxonomy.spoken(kind)
        place = f"({n},{37 * n % 999}),({61 * n % 999},{999 - n})"
        words = ("touching", "under 1% away", f"{n}% away")[n % 3]
        around = f"{phrase} and {phrase} {spoken} {n}, {words}; {phrase} {spoken} {n + 1}, {words}" if n % 7 else ""
        evidence = told(Evidence(n % 100 / 100, (n % 41 - 20) / 100, n % 5, n % 30 / 100))
        meanings = {c.name: c.meaning for c in taxonomy.classes if c.type == kind}
        seen = ShownInstance(n, spoken, place, around, evidence, meanings)
        for prompt in PROMPTS.values():
            yield prompt.shared([seen, seen])
            for answers in (taxonomy.answers(kind), taxonomy.answers()):
                yield prompt.question(seen, answers)


BEFORE = ("", " ", "-", "_", "(", "/", ".", '"', "'")  # a word may be one token with the character before it
AFTER = (",", ".", ":", ";", ")", "?", "\n", ",\n", ".\n", ":\n", ").", "),", ").\n")
CAMERA = "DJI IMG DSC PIC photo image frame line JPG JPEG PNG TIF TIFF HEIC DNG WEBP"  # words of names of photographs


def words_in(texts: Iterable[str]) -> list[str]:
    """Every word once, without digits and punctuation, and the letters alone.

    >>> words_in(["Toe drain- Blocked (12,3)", "toe"])[:4]
    ['Blocked', 'Toe', 'drain', 'toe']
    """
    found = {word for text in texts for word in re.findall(r"[^\W\d_]+", text)}
    return [*sorted(found), *(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in found)]


def spellings(words: Iterable[str]) -> Iterator[str]:
    """Each word in lower case, capitals and as it is, behind and in front of what may stand there; and the digits.

    Names of photographs, as cameras give them, are made of these.
    """
    for word in words:
        for form in dict.fromkeys((word, word.lower(), word.capitalize(), word.upper())):
            yield from (before + form for before in BEFORE)
    yield from (f"x{after}" for after in AFTER)
    yield from (f"{before}{digit}" for before in BEFORE for digit in range(10))


def mixtures(words: Sequence[str], count: int, *, seed: int) -> list[str]:
    """Texts that no prompt holds, made of these words: in other orders, run together, and as names of photographs.

    >>> mixtures(["toe", "drain"], 3, seed=1)
    ['Toe_DRAIN/', 'drain_1706_Toe A.TIF', 'drain_0_drain A.JPG']
    """
    rng = random.Random(seed)
    forms = (str, str.lower, str.capitalize, str.upper)

    def some() -> str:
        return rng.choice(forms)(rng.choice(words))

    def sentence() -> str:
        return "".join(some() + rng.choice((" ", " ", "-", "_", ", ", "/", "")) for _ in range(rng.randint(2, 5)))

    def photograph() -> str:
        number = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 8)))
        ending = rng.choice(("JPG", "jpg", "png", "TIF"))
        return f"{some()}_{number}_{some()}{rng.choice('-_ ')}{rng.choice('ABCVWTZ')}.{ending}"

    return [rng.choice((sentence, photograph))() for _ in range(count)]
