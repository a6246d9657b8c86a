"""`toeline merge` and `toeline trim`: a judge written anew, and compared with the one that it was made of."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem
from toeline.core.provenance import now_words, settings_of, start_record, taxonomy_hash
from toeline.core.reading import read_json, read_text
from toeline.core.run_folder import (
    claimed,
    read_run,
    require_room,
    require_same,
    require_same_command,
    staged,
    write_run,
    writing,
)
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut, some
from toeline.errors import ModelError
from toeline.pipelines.plan import both
from toeline.pipelines.progress import Summary, saying
from toeline.pipelines.settings import MergeRun, TrimRun

if TYPE_CHECKING:
    from PIL import Image

    from toeline.core.question import PromptBudget, QuestionSheet
    from toeline.core.scene import Scene

CONFIG = "config.json"
# Of a log-probability. Merging rounds to half precision, 0.031 at most where it was measured (docs/quantize.md).
MOST_CHANGED = {"merge": 0.25, "trim": 1e-4}
CORRECT = {
    "merge": "Choose --dtype float32, or compare on the photographs of --data.",
    "trim": "Copy the judge again; if that does not help, please report it.",
}
MIXTURES, SEED = 3000, 1  # texts that no prompt holds, to see how often a trimmed vocabulary cannot read one


@dataclass(frozen=True)
class Rewritten:
    """A judge's new folder. `record` is its run.json; `notes` are what nobody needs to correct."""

    out: Path
    record: Mapping[str, Any]
    notes: tuple[Problem, ...] = ()


def merge_into(run: MergeRun, out: Path) -> Rewritten:
    """Add an adapter to a judge's weights, compare scores, write the new judge into `out`. Raises ToelineError."""
    from toeline.judge.adapter import weights_of
    from toeline.judge.merge import merge
    from toeline.weights import hashes

    weights_of(run.adapter)
    folder = _folder_of(run.judge, "merged")
    settings = {**_settings(run, folder), "adapter_sha256": hashes(run.adapter)}
    with begun(out, "merge", settings, "Merging") as (place, record), saying("Adding the adapter, comparing scores"):
        require_room(out, _size(folder, run.dtype))
        record["bytes"] = merge(folder, run.adapter, place, dtype=run.dtype)
        record["check"] = _compared(run, _Model(folder, run.adapter), _Model(place), "merge")
    return Rewritten(out, record, _said_of_base(run))


def trim_into(run: TrimRun, out: Path) -> Rewritten:
    """Cut a judge's vocabulary down, compare the scores, and write the new judge into `out`. Raises ToelineError."""
    folder = _folder_of(run.judge, "trimmed")
    taxonomies = [Taxonomy.load(), *map(Taxonomy.load, run.taxonomies)]
    given = [line for path in run.words for line in _lines(path)]
    settings = {**_settings(run, folder), "said": given, "taxonomies_sha256": [*map(taxonomy_hash, taxonomies)]}
    with begun(out, "trim", settings, "Trimming") as (place, record), saying("Trimming, comparing scores"):
        record |= _trim(folder, place, taxonomies, given, rows=run.rows, out=out)
        record["check"] = _compared(run, _Model(folder), _Model(place), "trim")
    return Rewritten(out, record)


def _folder_of(judge: str, what: str) -> Path:
    """The judge's directory. Raises ModelError for one that is of another family or was trimmed."""
    from toeline.judge.checkpoint import find_folder, read_config
    from toeline.judge.load import source_of
    from toeline.judge.vocabulary import TRIM

    folder = find_folder(source_of(judge, what))
    read_config(folder)
    if what == "trimmed" and (folder / TRIM).is_file():
        raise ModelError(f"{folder} was trimmed already ({TRIM}). Trim the judge that it was made of, with all words.")
    return folder


def _lines(path: Path) -> list[str]:
    """The lines of a text, or the names of a folder's photographs. Raises ModelError and PhotoError."""
    from toeline.data.images import find_photos

    if path.is_dir():
        return sorted({photo.path.name for photo in find_photos([path])})
    text = read_text(path, ModelError, advice="Name a text in UTF-8, or a folder of photographs.")
    return sorted({line.strip() for line in text.splitlines()} - {""})


def _settings(run: MergeRun | TrimRun, folder: Path) -> dict[str, Any]:
    from toeline.weights import hashes

    return {**settings_of(run), "weights_sha256": hashes(folder)}


def _size(folder: Path, dtype: str) -> int:
    """Bytes of a directory's weights in that precision."""
    import torch

    from toeline.weights import each_tensor

    return sum(tensor.numel() * getattr(torch, dtype).itemsize for _, tensor in each_tensor(folder))


@contextmanager
def begun(
    out: Path, command: str, settings: Mapping[str, Any], title: str, *, last: str = CONFIG
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A place to write into and the record of the run; both become the folder `out` when the block ends well.

    `last` is the file without which the others count for nothing.
    """
    record = start_record(command, settings, Taxonomy.load(), title=title)
    with claimed(out) as there, writing(out):
        if there:
            before = read_run(out)
            require_same_command(out, before, record)
            if before.get("finished"):
                require_same(out, before.get("settings", {}), record["settings"])
        else:
            write_run(out, record)
        with staged(out, last=last) as place:
            yield place, record
            record["finished"] = now_words()
            write_run(place, record)


def _trim(
    folder: Path, place: Path, taxonomies: Sequence[Taxonomy], given: Sequence[str], *, rows: int, out: Path
) -> dict[str, Any]:
    """Trim to what prompts say of the taxonomies and to the given words, and see what is left that cannot be read."""
    from toeline.judge.checkpoint import load_tokenizer
    from toeline.judge.trim import trim
    from toeline.judge.vocabulary import Vocabulary, cut_otherwise, tokens_of
    from toeline.prompts.texts import CAMERA, mixtures, rendered_texts, spellings, words_in

    said = list(dict.fromkeys(text for taxonomy in taxonomies for text in rendered_texts(taxonomy)))
    words = words_in([*said, *given, CAMERA])
    texts = list(dict.fromkeys([*said, *given, *spellings(words)]))
    facts = trim(folder, place, texts, least=rows, room=partial(require_room, out))
    original, trimmed = load_tokenizer(folder), load_tokenizer(place)
    mixed = mixtures(words, MIXTURES, seed=SEED)
    unread = [text for text in mixed if cut_otherwise(text, trimmed, original)]
    vocabulary = Vocabulary.of(original, folder)
    kept = set(Vocabulary.of(trimmed, place).ids)
    whole = vocabulary.filled(vocabulary.closed(kept | tokens_of(unread, original)))
    return {**facts, "mixtures": {"texts": len(mixed), "cut_otherwise": len(unread), "rows_for_all": len(whole)}}


@dataclass(frozen=True)
class _Model:
    folder: Path
    adapter: Path | None = None


def _compared(run: MergeRun | TrimRun, before: _Model, after: _Model, command: str) -> dict[str, Any]:
    """The largest change of a log-probability between two judges. Raises ModelError where they are not the same."""
    old, new = (_scored(run, model, every_prompt=command == "trim") for model in (before, after))
    changes = [
        (max(abs(a[answer] - b[answer]) for answer in a), sheet.photo, question.instance_id, _best(a) != _best(b))
        for (sheet, was), (_, now) in zip(old, new, strict=True)
        for question, a, b in zip(sheet.questions, was, now, strict=True)
    ]
    if not changes:
        raise ModelError("nothing could be asked about the photographs of --data. Leave it out, or name others.")
    most, photo, instance, _ = max(changes)
    if not most <= MOST_CHANGED[command]:
        raise ModelError(
            f"the new judge is another than the old one: log-probabilities differ by up to {most:.3g} ({photo}, object "
            f"{instance}), and {MOST_CHANGED[command]} is the most that rounding may do. Nothing was written. "
            f"{CORRECT[command]}"
        )
    return {
        "photographs": len({sheet.photo for sheet, _ in old}),
        "questions": len(changes),
        "largest_change": most,
        "answers_changed": sum(other for *_, other in changes),
        "where": f"{photo}, object {instance}",
    }


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def _scored(
    run: MergeRun | TrimRun, model: _Model, *, every_prompt: bool
) -> list[tuple[QuestionSheet, list[dict[str, float]]]]:
    """The sheets, and what a judge says to them. It is loaded for this alone: memory holds one at a time."""
    from toeline.judge.qwen_vl import QwenVLJudge
    from toeline.prompts.templates import PROMPTS

    judge = QwenVLJudge.load(model.folder, device=run.device, adapter=model.adapter)
    views = [replace(judge.view, prompt=name) for name in PROMPTS] if every_prompt else [judge.view]
    sheets = [sheet for view in views for sheet in _sheets(run, view)]
    found = [(sheet, judge.score(sheet)) for sheet in sheets if sheet.questions]
    del judge
    gc.collect()
    return found


def _sheets(run: MergeRun | TrimRun, view: PromptBudget) -> Iterator[QuestionSheet]:
    """What is asked about `run.check` photographs: of a data set, spread over it, or drawn."""
    from toeline.pipelines.plan import drawn
    from toeline.prompts.build import ask
    from toeline.prompts.relations import around

    taxonomy = Taxonomy.load(_taxonomy_of(run))
    for scene, image in map(drawn, range(1, run.check + 1)) if run.data is None else _photographs(run, taxonomy):
        yield ask(scene, image, {t.id: around(scene, t.id) for t in scene.instances}, taxonomy, view)


def _taxonomy_of(run: MergeRun | TrimRun) -> Path | None:
    """The words of --data; drawn photographs have those of the nine classes."""
    if run.data is None:
        return None
    return run.taxonomy if isinstance(run, MergeRun) else next(iter(run.taxonomies), None)


def _photographs(run: MergeRun | TrimRun, taxonomy: Taxonomy) -> Iterator[tuple[Scene, Image.Image]]:
    from toeline.data.yolo import open_dataset
    from toeline.train.datasets import read_labeled_split

    assert run.data is not None
    split = read_labeled_split(open_dataset(run.data, taxonomy), run.split, taxonomy)
    count = min(run.check, len(split))
    for i in range(count):
        labeled = split[i * len(split) // count]
        yield labeled.scene, labeled.image


def _said_of_base(run: MergeRun) -> tuple[Problem, ...]:
    """What an adapter says of the judge that it was trained on, where that has another name."""
    from toeline.judge.adapter import CONFIG as ADAPTER

    said = read_json(run.adapter / ADAPTER, ModelError, advice="").get("base_model_name_or_path")
    if not said or str(said) == run.judge:
        return ()
    what = f"it was trained on {cut(str(said))}; it fits {run.judge}, and nobody can tell whether that is the same"
    return (Problem.in_file(run.adapter / ADAPTER, what, note=True),)


def merge_summary(done: Rewritten) -> Summary:
    """What merging came to."""
    return _summary(done, [f"The adapter is in the weights: {done.record['bytes'] / 1e9:.2f} GB."])


def trim_summary(done: Rewritten) -> Summary:
    """What trimming came to."""
    r, mixed = done.record, done.record["mixtures"]
    lines = [
        f"[bold]Kept {r['rows']:,} of {r['rows_before']:,} tokens: {both(r['bytes'])}, and {both(r['bytes_before'])} "
        f"before.[/] {r['needed']:,} are needed.",
        f"Of {mixed['texts']:,} texts that no prompt holds, mixed of these words, {mixed['cut_otherwise']:,} cannot be "
        f"read any more, and are refused when they come up; {mixed['rows_for_all']:,} tokens would read all.",
    ]
    return _summary(done, lines)


def _summary(done: Rewritten, lines: list[str]) -> Summary:
    check = done.record["check"]
    compared = f"{some(check['photographs'], 'photograph')}, {some(check['questions'], 'question')}"
    lines.append(
        f"Compared on {compared}: the largest change of a log-probability is {check['largest_change']:.2g}, and "
        f"{some(check['answers_changed'], 'answer')} changed."
    )
    record = {k: v for k, v in done.record.items() if k not in ("settings", "machine", "versions")}
    return Summary(lines, {"judge": str(done.out)}, {"out": str(done.out), **record}, done.notes, errors="run.json")
