"""What a judge was made of: each merge, trim and quantization since it was trained, written beside its weights.

The file goes with the folder from step to step, so that two things stay known: whether an adapter belongs to these
weights, and which photographs they have seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toeline.core.reading import read_json
from toeline.core.run_folder import RUN, read_run, write_whole
from toeline.core.words import cut
from toeline.errors import ModelError
from toeline.judge.adapter import VIEW_FILE, with_adapter
from toeline.weights import hashes, quiet

LINEAGE = "lineage.json"
MERGE, TRIM, QUANTIZE = "merge", "trim", "quantize"
ADVICE = "Copy the whole folder again."


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The steps that made a judge, the first one first; none for weights as they were trained. Raises ModelError."""
    if not (folder / LINEAGE).is_file():
        return []
    found = read_json(folder / LINEAGE, ModelError, advice=ADVICE)
    steps = found.get("steps") if isinstance(found, dict) else None
    if not isinstance(steps, list) or any(not isinstance(s, dict) or "weights" not in s for s in steps):
        raise ModelError(f"{folder / LINEAGE}: does not say what the judge was made of. {ADVICE}")
    return steps


def add_steps(folder: Path, out: Path, *steps: Mapping[str, Any]) -> None:
    """Write the steps that made the judge in `folder` into `out`, and then those that made that one of it.

    Each has the hashes of the weights that it began with, where these were on the disk.
    """
    made = [*steps_of(folder), *({**step, "weights": {} if n else hashes(folder)} for n, step in enumerate(steps))]
    write_whole(out / LINEAGE, json.dumps({"version": 1, "steps": made}, indent=2, ensure_ascii=False) + "\n")


def merged(adapter: Path) -> dict[str, Any]:
    """The step that adds an adapter."""
    seen = [sha256 for _, record in trainings(adapter) for sha256 in record.get("photographs_sha256", ())]
    return {"step": MERGE, "adapter": hashes(adapter), "photographs_sha256": seen}


def trainings(weights: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is written of the photographs that weights or an adapter were trained on, and where."""
    for folder in list(weights.resolve().parents)[:2]:  # OUT/adapter, OUT/checkpoints/checkpoint-N
        if (folder / RUN).is_file():
            record = read_run(folder)
            if record.get("command") == "finetune":
                settings = record["settings"]
                yield f"{folder / RUN}: --split {settings.get('split')} of {settings.get('data')}", record
    yield from ((f"{weights / LINEAGE}", step) for step in steps_of(weights) if step.get("photographs_sha256"))


def ancestors(folder: Path) -> list[dict[str, Any]]:
    """The fingerprints of the judges that one was made of, as far as they were on the disk; none where nothing says."""
    steps = [step for step in steps_of(folder) if step["weights"]]
    return [{"weights": step["weights"], "adapter": step.get("adapter", {})} for step in steps]


def require_base(folder: Path, adapter: Path) -> None:
    """Raise ModelError for an adapter whose record says that it was trained on other weights than those in `folder`.

    It fits what these were trimmed or quantized from too, and no longer what they were before another was added.
    """
    file = adapter / VIEW_FILE
    found = read_json(file, ModelError, advice=ADVICE) if file.is_file() else {}
    base = found.get("base") if isinstance(found, dict) else None
    if not isinstance(base, dict) or not base or set(base.values()) in (set(b.values()) for b in _bases(folder)):
        return
    raise ModelError(
        f"{adapter}: the adapter was trained on other weights ({cut(', '.join(map(str, base)))}, SHA-256 "
        f"{str(next(iter(base.values())))[:12]}...) than those in {folder}. Name the base model that it was trained on."
    )


def require_fits(folder: Path, adapter: Path) -> None:
    """As require_base, and by the shapes of the adapter's tensors; the judge's weights are not read."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    require_base(folder, adapter)
    with torch.device("meta"), quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForImageTextToText.from_config(config)
    with_adapter(model, adapter)


def _bases(folder: Path) -> Iterator[Mapping[str, str]]:
    yield hashes(folder)
    for step in reversed(steps_of(folder)):
        if step.get("step") == MERGE:
            return
        yield step["weights"]
