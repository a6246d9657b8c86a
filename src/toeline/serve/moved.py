"""Photographs that were moved since their run was imported: found by their bytes, and no decision is touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toeline.core.finding import Problem
from toeline.core.reading import file_hash
from toeline.core.records import told_record
from toeline.core.words import some
from toeline.data.images import search_photos
from toeline.data.matching import folded
from toeline.pipelines.progress import Summary, bar
from toeline.serve.imports import is_same, path_of, place_photo
from toeline.serve.jobs import UPLOADS
from toeline.serve.store import Row, Store

MISSING = "is not where it was, and in none of these folders. Name the folder in which it is now"
OTHER = f"{MISSING}: the file of this name here is another one"


@dataclass
class Moved:
    """What a search came to: photographs with a new place, and those that are where they were."""

    found: dict[int, Path] = field(default_factory=dict)
    kept: int = 0
    problems: list[Problem] = field(default_factory=list)


class _Files:
    """The photographs in some folders, by size and by name, each hashed at most once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        found = search_photos(folders, may_be_none=True)
        self.problems, self.hash_of = found.problems, cache(file_hash)
        self.by_size: dict[int, list[Path]] = defaultdict(list)
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        for path in (photo.path.absolute() for photo in found.photos):
            with suppress(OSError):
                self.by_size[path.stat().st_size].append(path)
                self.by_name[folded(path.name)].append(path)

    def named(self, row: Row) -> list[Path]:
        return self.by_name.get(folded(row["name"].rsplit("/", 1)[-1]), [])

    def same(self, row: Row) -> Path | None:
        """The file that is a photograph of the store; where the run kept no hash, its name counts too."""
        near = [*self.named(row), *(self.by_size.get(row["bytes"], ()) if row["sha256"] else ())]
        return next((path for path in near if is_same(path, row, self.hash_of)), None)


def find_moved(store: Store, folders: Sequence[Path]) -> Moved:
    """Look for every photograph of a store that is not where it was. Raises PhotoError for a folder that is not there.

    The same photograph is one with the same SHA-256, whatever its name; where a run kept none, the same name and size.
    What was uploaded is looked for in the store, which may have been moved itself.
    """
    own = store.folder / UPLOADS
    files, moved = _Files([*folders, own] if own.is_dir() else folders), Moved()
    moved.problems += files.problems
    rows = store.rows("SELECT * FROM photos ORDER BY id")
    with bar("Comparing", total=len(rows)) as step:
        for row in rows:
            found = files.same(row)
            if _stays(row, found):
                moved.kept += 1
            elif found is not None:
                moved.found[row["id"]] = found
            else:
                moved.problems.append(Problem(row["name"], row["name"], OTHER if files.named(row) else MISSING))
            step(())
    with store.write() as db:
        for number, path in moved.found.items():
            place_photo(db, number, path)
    return moved


def _stays(row: Row, found: Path | None) -> bool:
    """Whether it is where it was; read only where another place is to be had."""
    old = path_of(row)
    try:
        there = old is not None and old.is_file() and old.stat().st_size == row["bytes"]
    except OSError:
        return False
    return there and old is not None and (found in (None, old) or is_same(old, row))


def find_photos(store_dir: Path, folders: Sequence[Path]) -> Summary:
    """Note where the photographs of a store are now. Raises OutputError and PhotoError."""
    with closing(Store.open(store_dir, make=False)) as store:
        moved = find_moved(store, folders)
    missing = sum(bool(problem.photo) for problem in moved.problems)
    lines = [
        f"[bold]{some(len(moved.found), 'photograph')}[/] found at another place, {moved.kept:,} where they were, "
        f"{missing:,} missing"
    ]
    record = {"found": len(moved.found), "kept": moved.kept, "missing": missing, **told_record(moved.problems)}
    return Summary(lines, {"store": str(store_dir)}, record, moved.problems, "the lines above")
