"""A judge with its vocabulary cut down: rows of embedding and head, tokenizer, and every id in its configs.

The tokenizer that it had stays beside it, in `original`, so that each text can be compared as it is read. Knows no
taxonomy: which texts must be read is for the caller to say.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from toeline.core.reading import file_hash
from toeline.core.words import cut
from toeline.errors import ModelError
from toeline.judge.adapter import VOCABULARY, plain
from toeline.judge.checkpoint import load_tokenizer, read_config, read_json
from toeline.judge.lineage import TRIM as STEP
from toeline.judge.lineage import add_steps
from toeline.judge.vocabulary import ORIGINAL, TOKENIZER, TRIM, Vocabulary, encodings, tokens_of, with_ids
from toeline.weights import copy_small, each_tensor, rewrite_weights

TOKENIZER_CONFIG, CONFIG, GENERATION = "tokenizer_config.json", "config.json", "generation_config.json"
VOCAB, MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"  # older forms of what tokenizer.json holds
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCAB,
    MERGES,
    ADDED,
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
)


def trim(folder: Path, out: Path, texts: Collection[str], *, least: int, room: Callable[[int], None]) -> dict[str, Any]:
    """Write the judge in `folder` into the folder `out` with the tokens that `texts` need. Returns what was kept.

    So many more are kept that there are `least`, where it has that many. `room` is called with the bytes of the new
    weights before they are written. Raises ModelError for a judge that cannot be trimmed.
    """
    read_config(folder)
    tokenizer = load_tokenizer(folder)
    before = Vocabulary.of(tokenizer, folder)
    needed = before.closed([*tokens_of(texts, tokenizer), *_named(folder, before)])
    kept = before.filled(needed, least)
    new = before.new_ids(kept)
    copy_small(folder, out)
    _keep_original(folder, out, before)
    _write_tokenizer(out, before.trimmed(kept), new)
    _verify(out, texts, tokenizer, new)
    rows = _Rows(folder, new)
    room(rows.bytes)
    size = rewrite_weights(folder, out, rows)
    for name in (CONFIG, GENERATION):
        if (out / name).is_file():
            _write(out / name, with_rows(with_ids(read_json(out / name), new.__getitem__), len(new)))
    facts = {"rows": len(new), "rows_before": rows.before, "needed": len(needed)}
    facts |= {"bytes": size, "bytes_before": rows.bytes_before}
    record = {"version": 1, **facts, "tokenizer_sha256": file_hash(out / ORIGINAL / TOKENIZER), "kept": sorted(new)}
    _write(out / TRIM, record)
    add_steps(folder, out, {"step": STEP})
    return facts


def _named(folder: Path, vocabulary: Vocabulary) -> list[str]:
    """The tokens that configs name by their ids. Raises ModelError for an id without a token."""
    tokens = {i: token for token, i in vocabulary.ids.items()}
    found = dict[int, int]()
    for name in (CONFIG, GENERATION):
        if (folder / name).is_file():
            with_ids(read_json(folder / name), lambda i: found.setdefault(i, i))
    if odd := sorted(found.keys() - tokens.keys()):
        raise ModelError(f"{folder}: its configs name the id {odd[0]}, which its tokenizer lacks. Copy both again.")
    return [tokens[i] for i in found]


def with_rows(config: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """A config.json of a vocabulary of `rows`, in either of its forms: flat, or nested by text_config."""
    text = (
        {"text_config": with_rows(config["text_config"], rows)} if isinstance(config.get("text_config"), dict) else {}
    )
    return {**config, **({"vocab_size": rows} if "vocab_size" in config else {}), **text}


def _keep_original(folder: Path, out: Path, before: Vocabulary) -> None:
    """The tokenizer as it was, with the config of its ids, into the folder ORIGINAL."""
    place = out / ORIGINAL
    place.mkdir()
    for name in (*TOKENIZER_FILES, CONFIG):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, place / name)
    if not (place / TOKENIZER).is_file():
        _write(place / TOKENIZER, before.raw)


def _write_tokenizer(out: Path, after: Vocabulary, new: Mapping[int, int]) -> None:
    """The new vocabulary in place of the tokenizer's files, in each form in which the old one was there."""
    _write(out / TOKENIZER, after.raw)
    if (out / VOCAB).is_file():
        _write(out / VOCAB, after.raw["model"]["vocab"])
    if (out / MERGES).is_file():
        lines = ["#version: 0.2", *(f"{a} {b}" for a, b in after.merges)]
        (out / MERGES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if (out / ADDED).is_file():
        _write(out / ADDED, {token["content"]: token["id"] for token in after.raw["added_tokens"]})
    if (out / TOKENIZER_CONFIG).is_file():
        config = read_json(out / TOKENIZER_CONFIG)
        told = {str(new[int(i)]): token for i, token in (config.get("added_tokens_decoder") or {}).items()}
        _write(out / TOKENIZER_CONFIG, {**config, **({"added_tokens_decoder": told} if told else {})})


def _verify(out: Path, texts: Collection[str], tokenizer: Any, new: Mapping[int, int]) -> None:
    """Raise ModelError unless the new files, as they are loaded, cut every text as before, into the new ids."""
    written = load_tokenizer(out)
    for text, was, now in zip(texts, encodings(texts, tokenizer), encodings(texts, written), strict=True):
        if [new.get(i) for i in was.ids] != now.ids:
            raise ModelError(
                f"the trimmed tokenizer cuts {cut(text, 120)!r} otherwise than the one in {ORIGINAL}: its files "
                f"contradict each other. Copy the judge's tokenizer files again."
            )


class _Rows:
    """Gives embedding and head the rows of the tokens that are kept, and every other tensor as it is."""

    def __init__(self, folder: Path, new: Mapping[int, int]) -> None:
        """Raises ModelError for a vocabulary that is quantized, or has fewer rows than the tokenizer has tokens."""
        import torch

        self.kept = torch.tensor(sorted(new))
        self.before = self.bytes = self.bytes_before = 0
        for name, tensor in each_tensor(folder):
            self.bytes_before += tensor.nbytes
            self.bytes += tensor.nbytes
            if not plain(name).startswith(("embed_tokens.", "lm_head.")):
                continue
            if plain(name) not in VOCABULARY or not tensor.is_floating_point() or len(tensor) <= max(new):
                raise ModelError(
                    f"{folder}: {name} is no table with a row for each token. Trim the judge before it is quantized."
                )
            self.before = len(tensor)
            self.bytes -= tensor.nbytes // len(tensor) * (len(tensor) - len(new))

    def __call__(self, name: str, tensor: Any) -> Any:
        return tensor[self.kept] if plain(name) in VOCABULARY else tensor


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
