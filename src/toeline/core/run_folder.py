"""The output folder of a run: written as the run goes, whole after a kill, never mixed with another run.

For each photograph, in this order: its marked picture, its findings, its problems, and, when all these are on the disk,
its line in progress.jsonl. A photograph without a line there was not finished: when the run is taken up again, whatever
it left is dropped and it is inspected anew. So no finding is there twice and none is lost.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from toeline.core.finding import Finding, Problem, Result
from toeline.core.geo import pose_record
from toeline.core.records import (
    each_line,
    finding_from,
    finding_record,
    join_lines,
    problem_from,
    problem_record,
    read_lines,
)
from toeline.errors import OutputError

RUN, PROGRESS, FINDINGS, ERRORS = "run.json", "progress.jsonl", "findings.jsonl", "errors.jsonl"
COMMIT_S = 0.5  # at most this much work is done again after a kill
LOCK = ".lock"  # held while a process writes here; the system lets go of it when the process dies, however it dies
CLUTTER = {LOCK, ".DS_Store", "Thumbs.db", "desktop.ini"}  # the rest is what file browsers leave in empty folders


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file in one step: readers see the old one or the new one, never a half. Makes the folder."""
    with written(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """As write_whole, piece by piece: the file takes its place when the block ends, and not if it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While no other process writes in `folder`. Raises OutputError when one does; file systems without locks pass."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{folder}: another run is writing here. Wait for it, or choose a new --out.") from None
        except OSError:
            pass
        yield


def held_in(folder: Path, *, make: bool = True) -> set[str]:
    """Names of what an output folder holds, less clutter and half-written files; makes it if need be.

    Raises OutputError when it cannot be used.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        held = {p.name for p in folder.iterdir()} if folder.exists() else set()
    except OSError as why:
        raise OutputError(
            f"{folder}: cannot be used as an output folder ({why.strerror}). Choose another --out."
        ) from None
    return {name for name in held - CLUTTER if not (name.startswith(".") and name.endswith(".part"))}


def claim(folder: Path, *, note: str = RUN, own: Collection[str] = ()) -> bool:
    """Take a new or empty folder, or one that holds the record `note`; whether that is there, to be gone on with.

    `own` names what else may be there. Raises OutputError for a folder that holds anything else.
    """
    held = held_in(folder)
    if note not in held and held - set(own):
        raise foreign(folder, held - set(own))
    return note in held


def foreign(folder: Path, names: Iterable[str]) -> OutputError:
    """The refusal of a folder that holds files of others."""
    return OutputError(
        f"{folder}: the folder is not empty and holds what this command did not write "
        f"({', '.join(sorted(names)[:3])}). Choose a new folder with --out; nothing was changed."
    )


def require_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise OutputError when the settings that `folder` was begun with are not those of now."""
    if changed := differing(before, json.loads(json.dumps(now))):
        raise OutputError(
            f"{folder}: holds a run with other settings or data ({'; '.join(changed)}). Choose a new folder with "
            f"--out, or delete this one; nothing was changed."
        )


def write_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_whole(folder / RUN, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


@dataclass
class RunFolder:
    """An output folder of one run. `run` is what run.json holds; `names` are the photographs that are done.

    Of a photograph that is done nothing but its name is kept in memory.
    """

    path: Path
    run: dict[str, Any]
    names: dict[str, None] = field(default_factory=dict)  # a set that keeps its order
    resumed: bool = False
    _read: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def done(self) -> dict[str, dict[str, Any]]:
        """Progress records by photograph, for whoever can afford to hold them all."""
        if len(self._read) != len(self.names):
            self._read = {r["photo"]: r for r in read_lines(self.path / PROGRESS)}
        return self._read

    @classmethod
    def open(cls, path: Path, run: Mapping[str, Any], *, own: Collection[str] = ()) -> RunFolder:
        """Start a run in an empty or new folder, or take up the one that is there.

        `run` must hold `settings`, whose equality decides what the same run is. `own` names what may be there before
        the run. Raises OutputError for a folder that holds another run or other files, and for one that cannot be
        written.
        """
        if claim(path, own=own):
            with alone(path):
                return cls._again(path, run)
        folder = cls(path, dict(run))
        folder.save_run()
        return folder

    @classmethod
    def _again(cls, path: Path, run: Mapping[str, Any]) -> RunFolder:
        before = read_run(path)
        if not before.get("finished") and not any(each_line(path / PROGRESS)):
            folder = cls(path, dict(run))  # nothing was ever finished here: a model could not be loaded, or a kill
            folder._restore(again=False)
            folder.save_run()
            return folder
        require_same(path, before.get("settings", {}), run["settings"])
        folder = cls(path, before, resumed=True)
        folder._restore(again=bool(before.get("finished")))
        return folder

    def _restore(self, *, again: bool) -> None:
        """Keep what is finished, drop what a kill left half done; with `again`, what had problems is not done."""
        found = Counter(str(r["photo"]) for _, r in each_line(self.path / FINDINGS))
        self.names = {
            r["photo"]: None
            for _, r in each_line(self.path / PROGRESS)
            if found[r["photo"]] == r["findings"] and not (again and r["problems"])
        }
        for name in (FINDINGS, ERRORS, PROGRESS):  # progress last: until it is written, all of this is found again
            with written(self.path / name) as file:
                file.writelines(line for line, r in each_line(self.path / name) if r["photo"] in self.names)
        for part in self.path.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def save_run(self, **more: Any) -> None:
        """Add to run.json and write it."""
        self.run.update(more)
        write_run(self.path, self.run)

    def keep(self, results: Iterable[Result]) -> Iterator[Result]:
        """Write each result as it comes, then pass it on. It counts as done within COMMIT_S, or when this ends."""
        with alone(self.path), ExitStack() as stack:
            files = [stack.enter_context((self.path / name).open("ab")) for name in (FINDINGS, ERRORS, PROGRESS)]
            journal = _Journal(*files)
            stack.callback(journal.commit)
            for result in results:
                journal.add(result)
                self.names[result.photo] = None
                yield result

    def note(self, problems: Iterable[Problem]) -> None:
        """Add problems that concern no photograph of the run; they are found anew whenever it is taken up."""
        with (self.path / ERRORS).open("ab") as errors:
            _write(errors, map(problem_record, problems))
            os.fsync(errors.fileno())

    def findings(self) -> list[Finding]:
        """All findings so far, in the order of the photographs."""
        return [finding_from(r) for r in read_lines(self.path / FINDINGS)]

    def problems(self, most: int | None = None) -> list[Problem]:
        """All problems so far, or the first `most` of them."""
        return [problem_from(r) for _, r in islice(each_line(self.path / ERRORS), most)]


def progress_record(result: Result) -> dict[str, Any]:
    """What progress.jsonl says of one photograph; `size` is in pixels."""
    return {
        "photo": result.photo,
        "size": list(result.size_wh),
        "findings": len(result.findings),
        "problems": len(result.problems),
        "failed": result.failed,
        "seconds": round(result.seconds, 3),
        "sha256": result.sha256,
        **({"place": pose_record(result.place)} if result.place else {}),
    }


def read_run(path: Path, note: str = RUN) -> dict[str, Any]:
    """run.json, or another `note`, of a folder. Raises OutputError."""
    try:
        run = json.loads((path / note).read_text(encoding="utf-8"))
        if isinstance(run, dict):
            return run
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        pass
    raise OutputError(f"{path / note}: cannot be read as the record of a run. Choose a new folder with --out.")


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two settings, in words.

    >>> differing({"judge": "embedded", "weights": {"a": "12"}}, {"judge": "qwen", "weights": {"a": "34"}})
    ["judge was 'embedded', now 'qwen'", 'weights are others']
    """
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return [
        f"{n} are others" if isinstance(now.get(n), dict) else f"{n} was {before.get(n)!r}, now {now.get(n)!r}"
        for n in names
    ]


class _Journal:
    """Appends results to three files; several share one wait for the disk, which takes longer than they do."""

    def __init__(self, findings: IO[bytes], errors: IO[bytes], progress: IO[bytes]) -> None:
        self._findings, self._errors, self._progress = findings, errors, progress
        self._ready: list[dict[str, Any]] = []
        self._last = -COMMIT_S

    def add(self, result: Result) -> None:
        """Findings and problems are handed to the system now, the progress line not before they are on the disk."""
        _write(self._findings, map(finding_record, result.findings))
        _write(self._errors, map(problem_record, result.problems))
        self._ready.append(progress_record(result))
        if time.monotonic() - self._last >= COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """All that was added is done."""
        if self._ready:
            os.fsync(self._findings.fileno())
            os.fsync(self._errors.fileno())
            _write(self._progress, self._ready)
            os.fsync(self._progress.fileno())
            self._ready.clear()
        self._last = time.monotonic()


def _write(file: IO[bytes], records: Iterable[dict[str, Any]]) -> None:
    """One write, handed to the system."""
    if text := join_lines(records):
        file.write(text.encode("utf-8"))
        file.flush()
