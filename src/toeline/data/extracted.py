"""Photographs that are made of another file, frames of a video and parts of an orthomosaic, in a run's own folder.

Each file gets a folder of its name in `extracted`. It is made in one step, and anew when the file or the settings
changed; what is there already is taken as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.records import problem_from, problem_record
from toeline.core.run_folder import write_whole
from toeline.data.images import Core, Photo
from toeline.errors import PhotoError

EXTRACTED, NOTE = "extracted", "extracted.json"


@dataclass(frozen=True)
class Made:
    """Names of the photographs that were made, each with its core (see Photo), and what is to be said of it."""

    photos: Sequence[tuple[str, Core | None]]
    problems: Sequence[Problem] = ()


def extracted(
    source: Photo, out: Path, settings: Mapping[str, Any], make: Callable[[Path, Path], Made]
) -> tuple[list[Photo], list[Problem]]:
    """The photographs of `source` in the run folder `out`, and problems. `make` writes them from a file into a folder.

    A file that cannot be read is a problem, and gives no photograph.
    """
    folder = out / EXTRACTED / source.name
    facts = source.path.stat()
    wanted = {**settings, "bytes": facts.st_size, "changed_ns": facts.st_mtime_ns}
    record = _noted(folder)
    if record is None or record["settings"] != wanted:
        try:
            record = _made(source, folder, wanted, make)
        except PhotoError as why:
            return [], [Problem.unread(source.path, why)]
    photos = [
        Photo(folder / name, f"{source.name}/{name}", core=tuple(core) if core else None)
        for name, core in record["photos"]
    ]
    return photos, [problem_from(p) for p in record["problems"]]


def _noted(folder: Path) -> dict[str, Any] | None:
    """What was written of a folder, if all that it names is there."""
    try:
        record = dict(json.loads((folder / NOTE).read_text(encoding="utf-8")))
        whole = all((folder / name).is_file() for name, _ in record["photos"]) and "settings" in record
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if whole else None


def _made(
    source: Photo, folder: Path, settings: Mapping[str, Any], make: Callable[[Path, Path], Made]
) -> dict[str, Any]:
    half = folder.with_name(f".{folder.name[:40]}.half")
    shutil.rmtree(half, ignore_errors=True)  # of a kill
    half.mkdir(parents=True)
    try:
        made = make(source.path, half)
        problems = [problem_record(p) for p in made.problems]
        record = {"settings": dict(settings), "photos": [list(one) for one in made.photos], "problems": problems}
        write_whole(half / NOTE, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return dict(json.loads((folder / NOTE).read_text(encoding="utf-8")))


def extracted_in(out: Path) -> dict[str, Path]:
    """Where the photographs that were made for a run lie, by their names in it."""
    notes = sorted((out / EXTRACTED).rglob(NOTE))
    found = {note.parent.relative_to(out / EXTRACTED).as_posix(): _noted(note.parent) for note in notes}
    return {
        f"{source}/{name}": (out / EXTRACTED / source / name).absolute()
        for source, record in found.items()
        for name, _ in (record or {"photos": ()})["photos"]
    }
