"""The vocabulary of a byte-pair tokenizer, cut down to what is needed, and the check that nothing is read otherwise.

Byte-pair encoding merges the pair of lowest rank first. Tokens that are kept together with every token on the way to
them (`closed`), and merges in their old order, cut a text exactly as before if all tokens that it had are kept: at each
step the pair of lowest rank is still there, and no other is new. Any other text is cut into smaller pieces, which the
model would take for something else: `check_of` finds it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toeline.core.reading import file_hash, read_json
from toeline.core.words import cut
from toeline.errors import ModelError

TRIM, ORIGINAL = "trim.json", "original"  # what a trimmed judge's folder holds besides: what was kept, and of what
ROWS = 64  # a vocabulary of a multiple of these: matrices of such heights multiply fastest
TOKENIZER = "tokenizer.json"
ID_LISTS = {"suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids"}  # of generation configs
COPY = "Copy the whole folder again."
AGAIN = "Trim the judge it was made of again, with this taxonomy (--taxonomy) or these words (--words)."


@dataclass(frozen=True)
class Vocabulary:
    """A byte-pair tokenizer as JSON, in the form of tokenizer.json."""

    raw: Mapping[str, Any]

    @classmethod
    def of(cls, tokenizer: Any, where: Path) -> Vocabulary:
        """Of a loaded transformers tokenizer. Raises ModelError for one that is not cut by merges alone."""
        raw = json.loads(tokenizer.backend_tokenizer.to_str())
        model = raw["model"]
        odd = [name for name in ("continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
        if model["type"] != "BPE" or odd:
            raise ModelError(f"{where}: its tokenizer is no byte-pair encoding as Qwen2's is, so it cannot be trimmed.")
        return cls(raw)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every token with its id, the added ones included."""
        added = {str(token["content"]): int(token["id"]) for token in self.raw["added_tokens"]}
        return {**self.raw["model"]["vocab"], **added}

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """Pairs in the order of their ranks."""
        found = self.raw["model"]["merges"]
        return [(a, b) for a, b in (pair.split(" ") if isinstance(pair, str) else pair for pair in found)]

    @cached_property
    def made_of(self) -> dict[str, list[tuple[str, str]]]:
        """Token -> the pairs that merge into it; nearly always one."""
        found: dict[str, list[tuple[str, str]]] = {}
        for a, b in self.merges:
            found.setdefault(a + b, []).append((a, b))
        return found

    def closed(self, tokens: Iterable[str]) -> set[str]:
        """These tokens, all that they are merged of, and all that are merged of nothing: bytes and special tokens."""
        todo = [*tokens, *(token for token in self.ids if token not in self.made_of)]
        kept = set[str]()
        while todo:
            token = todo.pop()
            if token not in kept:
                kept.add(token)
                todo += [part for pair in self.made_of.get(token, ()) for part in pair]
        return kept

    def filled(self, kept: Collection[str], least: int = 0) -> set[str]:
        """`kept` and the most frequent tokens that need no further parts: `least` or more in all, in ROWS."""
        done = set(kept)
        for a, b in self.merges:
            if len(done) >= least and len(done) % ROWS == 0:
                break
            if all({*pair} <= done for pair in self.made_of[a + b]):
                done.add(a + b)
        return done

    def new_ids(self, kept: Collection[str]) -> dict[int, int]:
        """Old id -> new id, in the old order."""
        return {old: new for new, old in enumerate(sorted({self.ids[token] for token in kept}))}

    def trimmed(self, kept: Collection[str]) -> Vocabulary:
        """The tokenizer of these tokens alone."""
        new = self.new_ids(kept)
        model = self.raw["model"]
        vocab = {token: new[old] for token, old in model["vocab"].items() if token in kept}
        merges = [[a, b] for a, b in self.merges if {a, b, a + b} <= vocab.keys()]
        added = [{**token, "id": new[token["id"]]} for token in self.raw["added_tokens"]]
        post = with_ids(self.raw["post_processor"], new.__getitem__, {"ids"})
        model = {**model, "vocab": vocab, "merges": merges}
        return Vocabulary({**self.raw, "added_tokens": added, "post_processor": post, "model": model})


def with_ids(config: Any, change: Callable[[int], int], names: Collection[str] = (), *, inside: bool = False) -> Any:
    """A config with every token id that it names changed; below `names` stand ids too, where keys do not say so."""
    if isinstance(config, Mapping):
        return {
            key: with_ids(value, change, names, inside=_holds_ids(key, names) and not isinstance(value, Mapping))
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [with_ids(value, change, names, inside=inside) for value in config]
    return change(config) if inside and type(config) is int and config >= 0 else config


def _holds_ids(key: str, names: Collection[str]) -> bool:
    return key.endswith(("token_id", "token_ids")) or key in ID_LISTS or key in names


def encodings(texts: Iterable[str], tokenizer: Any) -> list[Any]:
    """The tokens of each text with their ids and places; what spells a special token is text."""
    some = list(texts)
    return list(tokenizer(some, add_special_tokens=False, split_special_tokens=True).encodings) if some else []


def tokens_of(texts: Iterable[str], tokenizer: Any) -> set[str]:
    """The tokens that some texts are cut into."""
    return {token for one in encodings(texts, tokenizer) for token in one.tokens}


def cut_otherwise(text: str, tokenizer: Any, original: Any) -> list[str]:
    """The words of a text that one tokenizer cuts into other tokens than the original one."""
    now, was = (encodings([text], one)[0] for one in (tokenizer, original))
    if now.tokens == was.tokens:
        return []
    pieces: list[dict[int, list[str]]] = [{}, {}]
    for found, encoded in zip(pieces, (now, was), strict=True):
        for word, token in zip(encoded.word_ids, encoded.tokens, strict=True):
            found.setdefault(word, []).append(token)
    spans = [was.word_to_chars(word) for word in pieces[1] if pieces[0].get(word) != pieces[1][word]]
    return [text[begin:end].strip() or text[begin:end] for begin, end in spans] or [text]


def check_of(tokenizer: Any, original: Any) -> Callable[[str], None]:
    """Raises ModelError for a text that a trimmed tokenizer cuts otherwise: the judge would read another text."""

    def check(text: str) -> None:
        if words := cut_otherwise(text, tokenizer, original):
            named = ", ".join(repr(cut(word)) for word in dict.fromkeys(words[:5]))
            raise ModelError(
                f"the trimmed judge cannot read {named} in {cut(text, 120)!r}: its vocabulary lacks what the judge "
                f"that it was made of had for that. {AGAIN}"
            )

    return check


def load_original(folder: Path, load: Callable[[Path], Any]) -> Any:
    """The tokenizer that a trimmed judge had before; None for a judge with its whole vocabulary. Raises ModelError."""
    if not (folder / TRIM).is_file():
        return None
    record = read_json(folder / TRIM, ModelError, advice=COPY)
    file = folder / ORIGINAL / TOKENIZER
    if not file.is_file() or not isinstance(record, dict) or record.get("tokenizer_sha256") != file_hash(file):
        raise ModelError(
            f"{file}: is missing, or another file than `toeline trim` wrote. Without it nobody knows whether a trimmed "
            f"judge reads what is written. {COPY}"
        )
    return load(folder / ORIGINAL)


def carry_original(folder: Path, out: Path) -> None:
    """Copy what a trimmed judge is checked by into the folder of a judge that was made of it."""
    if (folder / TRIM).is_file():
        shutil.copyfile(folder / TRIM, out / TRIM)
        shutil.copytree(folder / ORIGINAL, out / ORIGINAL, dirs_exist_ok=True)
