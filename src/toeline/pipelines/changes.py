"""What became of the inputs of a run since it was begun: what changed is done again, or the run is refused.

| input | when the same command is given again |
|---|---|
| a photograph of other bytes, a label file of `--boxes` (or the names of its classes) | inspected anew, and said |
| a photograph that was added | inspected; the others stay |
| a photograph that is gone | its findings, marked picture and lines are dropped, and said; more than half: refused |
| the boxes or classes of `evaluate`'s ground truth, a file of findings | refused (`labels_sha256`, `weights`) |
| calibration, rule for review, grading, words of the taxonomy | applied again to what is there (pipelines/again.py) |
| types or classes of the taxonomy, domain, weights of detector or judge, adapter, baseline or ensemble file | refused |
| data of a training that continues with --resume | refused (`data_sha256`); image features are kept by content |
| data of analyze, gallery, suggest | all is made anew |
| data of convert and split: labels or photographs; settings of synth | refused |

A file whose size and times are as they were is not read again. The time of its last change is one of them: no program
can set that one, so a file of the same size and date but other content is seen too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toeline.core.finding import FEW, Problem
from toeline.core.reading import file_hash, read_json
from toeline.core.run_folder import RunFolder
from toeline.core.scene import Instance
from toeline.core.words import some
from toeline.data.images import Photo
from toeline.errors import ModelError, OutputError, ToelineError
from toeline.pipelines.progress import errors, escape
from toeline.weights import find_model, is_hub_id

Boxes = Callable[[Photo, tuple[int, int]], tuple[Iterable[Instance], Iterable[Problem]]]
CHANGED, RELABELED, GONE = "the file changed", "the boxes changed", "it is gone"


def file_state(path: Path) -> tuple[int, ...]:
    """Bytes, and the times in nanoseconds of the last change of content and of any change; empty for no such file."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def boxes_hash(instances: Iterable[Instance], problems: Iterable[Problem]) -> str:
    """SHA-256 of the boxes that were given for a photograph, and of what was wrong with them."""
    rows = [(i.id, i.type_name, i.box.xyxy, i.score, i.polygon) for i in instances]
    said = json.dumps([rows, [(p.what, p.line) for p in problems]])
    return hashlib.sha256(said.encode("utf-8")).hexdigest()


def changes(
    photos: Sequence[Photo], boxes: Boxes | None, *, read: bool = True, hashed: bool = False
) -> Callable[[Iterable[Mapping[str, Any]]], dict[str, str]]:
    """A function that is given what progress.jsonl says and tells which of it does not hold any more, and why.

    `photos` are those of now, `boxes` gives their boxes. With `read` False the photographs' bytes do not count: nobody
    reads them. With `hashed` the settings have a hash of the boxes, so records of earlier versions need none. The
    function raises OutputError when more than half of the photographs are gone.
    """
    there = {photo.name: photo for photo in photos}

    def check(done: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        number, stale = 0, dict[str, str]()
        for record in done:
            number += 1
            if why := _why(record, there.get(str(record["photo"])), boxes, read=read, hashed=hashed):
                stale[str(record["photo"])] = why
        lost = sum(why == GONE for why in stale.values())
        if lost > number / 2:
            raise OutputError(
                f"{lost} of the {some(number, 'photograph')} that this run has inspected are gone, such as "
                f"{next(name for name, why in stale.items() if why == GONE)}. Bring them back, or choose a new --out."
            )
        return stale

    return check


def _why(record: Mapping[str, Any], photo: Photo | None, boxes: Boxes | None, *, read: bool, hashed: bool) -> str:
    """Why a photograph is to be inspected anew, or nothing."""
    if photo is None:
        return GONE
    try:
        touched = read and list(record.get("file", ())) != list(file_state(photo.path))
        if touched and file_hash(photo.path) != record["sha256"]:
            return CHANGED
        if boxes is not None and not record["failed"] and not (hashed and "boxes_sha256" not in record):
            wide, high = record["size"]
            if record.get("boxes_sha256") != boxes_hash(*boxes(photo, (wide, high))):
                return RELABELED
    except (OSError, ToelineError):
        return CHANGED
    return ""


def removed(stale: Mapping[str, str]) -> list[Problem]:
    """Notes of the photographs whose findings were dropped for good."""
    what = "was inspected before and is not there any more: its findings and its marked picture were removed."
    return [Problem("", name, what, note=True) for name, why in stale.items() if why == GONE]


def tell_anew(stale: Mapping[str, str]) -> None:
    """Print what is inspected anew, and why."""
    for why in (CHANGED, RELABELED):
        if names := [name for name, reason in stale.items() if reason == why]:
            more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
            errors.print(escape(f"Inspected anew, because {why}: {', '.join(names[:FEW])}{more}."))


FILES = "files"  # in run.json: the files of judge and adapter, as they were called
WEIGHTS, SMALL = (".safetensors", ".bin"), (".json", ".jinja", ".txt", ".model")


def model_files(judge: str, adapter: str | Path | None) -> dict[str, Any]:
    """The files that judge and adapter are read from: size and times of weights in folders, SHA-256 of all others."""
    found: dict[str, Any] = {}
    for folder in map(str, filter(None, (judge, adapter))):
        there = Path(folder).expanduser()
        for file in sorted(there.iterdir()) if there.is_dir() else ():
            if file.suffix in (*WEIGHTS, *SMALL) and file.is_file():
                weights = file.suffix in WEIGHTS
                found[f"{folder}/{file.name}"] = list(file_state(file)) if weights else file_hash(file)
    return found | {str(file): file_hash(file) for file in _named_in(judge) if file.is_file()}


def judge_bytes(judge: str, adapter: str | Path | None) -> int:
    """Bytes of a judge's weights on the disk, with its adapter, of all parts of an ensemble; 0 for what is not here."""
    from toeline.judge.load import EMBEDDED

    found = 0
    for name in filter(None, (*re.split("[:,]", judge), str(adapter or ""))):
        there = EMBEDDED if name == "embedded" else Path(name).expanduser()
        if not there.exists() and is_hub_id(name):
            there = find_model(name, check=lambda _: None)
        files = there.glob("*.safetensors") if there.is_dir() else [there]
        found += sum(file.stat().st_size for file in files if file.is_file())
    return found


def _named_in(judge: str) -> Iterator[Path]:
    """The files in a judge's name, as of baseline:FILE, and those that a file of `toeline ensemble` names itself."""
    _, *names = re.split("[:,]", judge)
    for file in map(Path, names):
        yield file
        if judge.startswith(("ensemble:", "fuse:")) and file.suffix == ".json" and file.is_file():
            saved = read_json(file, ModelError, advice="Fit it again.")
            for part in saved.get("judges", ()) if isinstance(saved, dict) else ():
                yield from _named_in(str(part)) if not str(part).startswith(("ensemble:", "fuse:")) else ()


def require_same_models(folder: RunFolder, judge: str, adapter: str | Path | None) -> None:
    """Raise OutputError when judge or adapter are not what the photographs that are done were judged with.

    Weights whose times differ are read: a copy is the same. Runs of earlier versions do not say what they had.
    """
    if folder.run.get(FILES) is None or not folder.names:
        return
    before = {_file(name): state for name, state in folder.run[FILES].items()}
    files, info = model_files(judge, adapter), folder.run.get("models", {}).get("judge", {})
    now, there = {_file(name): state for name, state in files.items()}, {_file(name): name for name in files}
    known = {_file(f"{judge}/{name}"): sha256 for name, sha256 in info.get("weights", {}).items()}
    known |= {_file(f"{adapter}/{name}"): sha256 for name, sha256 in info.get("adapter", {}).items()}
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name) and not (name in now and known.get(name) == _hash(there[name])):
            raise OutputError(
                f"{folder.path}: {name} is not what it was when photographs here were judged with it. Choose a new "
                f"folder with --out, or delete this one."
            )


def _file(name: str) -> str:
    """A file by its folder's name and its own, however its path was typed."""
    return "/".join(Path(name).expanduser().resolve().parts[-2:])


def _hash(name: str) -> str:
    return file_hash(Path(name).expanduser())
