"""The output folder of a run: written as the run goes, whole after a kill, never mixed with another run.

For each photograph, in this order: its marked picture, its findings, its problems, and, when all these are on the disk,
its line in progress.jsonl. A photograph without a line there was not finished: when the run is taken up again, whatever
it left is dropped and it is inspected anew. So no finding is there twice and none is lost. The same is done with a
photograph that is not what it was (pipelines/changes.py).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from toeline.core.finding import Finding, Problem, Result, grave
from toeline.core.geo import pose_record
from toeline.core.reading import is_there
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


def write_whole(path: Path, data: str | bytes, *, lasting: bool = True) -> None:
    """Write a file in one step: readers see the old one or the new one, never a half. Makes the folder.

    `lasting` waits for the disk; what may be lost with the current, as a cache, need not.
    """
    with written(path, lasting=lasting) as file:
        file.write(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)  # names: see to_line


@contextmanager
def written(path: Path, *, lasting: bool = True) -> Iterator[IO[bytes]]:
    """As write_whole, piece by piece: the file takes its place when the block ends, and not if it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def alone(folder: Path, file: Path | None = None, *, told: str = "") -> Iterator[None]:
    """While no other process writes in `folder`, which is made. Raises OutputError when one does, or when it cannot be.

    `file` is what the lock is called, in place of LOCK; `told` is what is said of the other process.
    File systems without locks pass.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file or folder / LOCK, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        said = told or f"{folder}: another run is writing here. Wait for it, or choose a new --out."
        raise OutputError(said) from None
    except OSError as why:
        if why.errno not in NO_LOCKS:
            raise unusable(folder, why) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(file: Path, is_ours: Callable[[Path], bool], what: str) -> Iterator[None]:
    """While no other process makes `file`. Raises OutputError when it is there and is no `what`: it stays as it is."""
    if file.exists() and not (file.is_file() and is_ours(file)):
        raise OutputError(f"{file}: is there already and is no {what}. Choose another --out; nothing was changed.")
    lock = file.with_name(f".{file.name[:40]}{LOCK}")
    with alone(file.parent, lock), writing(file):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}  # what file systems without them say


@contextmanager
def claimed(folder: Path, *, note: str = RUN, own: Collection[str] = ()) -> Iterator[bool]:
    """As `claim`, and while the block lasts no other process writes there."""
    claim(folder, note=note, own=own)  # before the lock, so that nothing is written into a folder of others
    with alone(folder):
        yield claim(folder, note=note, own=own)  # again: another run may have ended since


@contextmanager
def staged(folder: Path, *, last: str) -> Iterator[Path]:
    """A folder to write into, whose content takes its place in `folder` when the block ends, and not if it raises.

    `last` is the file without which the others count for nothing: it is put in its place after them.
    """
    place = folder / ".staged.part"
    shutil.rmtree(place, ignore_errors=True)  # of a kill
    place.mkdir(parents=True)
    try:
        yield place
        for file in (f for f in place.rglob("*") if f.is_file()):
            file.chmod(0o644)
            with file.open("rb") as held:
                os.fsync(held.fileno())
        (folder / last).unlink(missing_ok=True)
        for one in sorted(place.iterdir(), key=lambda f: (f.name == last, f.name)):
            if (folder / one.name).is_dir():
                shutil.rmtree(folder / one.name)
            one.replace(folder / one.name)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # of a fault, where nothing was there before


LEAST_ROOM = 1 << 16  # bytes that the shortest run writes


def require_writable(out: Path) -> None:
    """Raise OutputError, before any work, when nothing can be written where `out` is or will be. Leaves nothing there.

    Tried is the nearest folder that is there: permissions are not asked for, since they tell nothing of network drives.
    """
    place = next((at for at in (out, *out.absolute().parents) if is_there(at)), out)
    if place.is_file() and place == out:
        place = out.parent
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(LEAST_ROOM))
            probe.flush()
    except OSError as why:
        if why.errno in FULL:
            raise refused(place, why) from None
        raise unusable(out, why) from None


def require_room(folder: Path, size: int) -> None:
    """Raise OutputError unless the disk of `folder` has room for `size` bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"{folder}: {size / 1e9:.2f} GB are to be written, and {free / 1e9:.2f} GB are free. Make room, or choose "
            f"another --out; nothing was changed."
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises OutputError with what to do when the disk refuses what is written into `folder`."""
    try:
        yield
    except OSError as why:
        if why.errno is None:  # not the disk's: a library speaks of something else, or a mistake of ours
            raise
        raise refused(Path(str(why.filename or folder)), why) from None


def refused(place: Path, why: OSError) -> OutputError:
    """What to do when the disk refuses."""
    number = why.errno or 0
    done = "written" if number in _SOLUTIONS else "read or written"
    advice = _SOLUTIONS.get(number) or _UNCLEAR.get(number, "Check the disk")
    return OutputError(
        f"{place}: cannot be {done} ({why.strerror}). {advice}, then run the same command again: it continues where it "
        f"stopped."
    )


FULL = {errno.ENOSPC, errno.EDQUOT}
_SOLUTIONS = {**dict.fromkeys(FULL, "Make room"), errno.EROFS: "Choose a folder that can be written"}
_UNCLEAR = {  # these may be said of what is read, too
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Change its permissions or choose another folder"),
    errno.ENOENT: "It or its folder was moved or deleted meanwhile: put it back",
}


def unusable(folder: Path, why: OSError) -> OutputError:
    """The refusal of a folder that the system does not let us write into."""
    return OutputError(f"{folder}: cannot be used as an output folder ({why.strerror}). Choose another --out.")


def held_in(folder: Path, *, make: bool = True) -> set[str]:
    """Names of what an output folder holds, less clutter and half-written files; makes it if need be.

    Raises OutputError when it cannot be used.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        held = {p.name for p in folder.iterdir()} if folder.exists() else set()
    except OSError as why:
        raise unusable(folder, why) from None
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


def require_same_command(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise OutputError when `folder` holds what another command wrote."""
    if before.get("command", now.get("command")) != now.get("command"):
        raise OutputError(
            f"{folder}: holds what `toeline {before['command']}` wrote. Choose a new folder with --out; nothing was "
            f"changed."
        )


def begun_with(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record that a folder was begun with. Raises OutputError for that of another command or other settings."""
    before = read_run(folder)
    require_same_command(folder, before, record)
    require_same(folder, before.get("settings", {}), record["settings"])
    return before


def write_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_whole(folder / RUN, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


Check = Callable[[Iterable[Mapping[str, Any]]], Mapping[str, str]]


@dataclass
class RunFolder:
    """An output folder of one run. `run` is what run.json holds; `names` are the photographs that are done.

    Of a photograph that is done nothing but its name is kept in memory. `held` says that whoever opened it keeps other
    processes out. `stale` are photographs that were done and are not any more, with the reason.
    """

    path: Path
    run: dict[str, Any]
    names: dict[str, None] = field(default_factory=dict)  # a set that keeps its order
    resumed: bool = False
    held: bool = False
    stale: dict[str, str] = field(default_factory=dict)
    _read: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def done(self) -> dict[str, dict[str, Any]]:
        """Progress records by photograph, for whoever can afford to hold them all."""
        if len(self._read) != len(self.names):
            self._read = {r["photo"]: r for r in read_lines(self.path / PROGRESS)}
        return self._read

    @classmethod
    def open(
        cls,
        path: Path,
        run: Mapping[str, Any],
        *,
        own: Collection[str] = (),
        held: bool = False,
        check: Check = lambda _: {},
    ) -> RunFolder:
        """Start a run in an empty or new folder, or take up the one that is there.

        `run` must hold `settings`, whose equality decides what the same run is. `own` names what may be there before
        the run. `check` is given the records of what is done and says which photographs are not what they were, and
        why: those are dropped. Raises OutputError for a folder that holds another run or other files, and for one that
        cannot be written.
        """
        with nullcontext() if held else claimed(path, own=own), writing(path):
            if claim(path, own=own):
                return cls._again(path, run, held=held, check=check)
            folder = cls(path, dict(run), held=held)
            write_run(path, folder.run)
            return folder

    @classmethod
    def _again(cls, path: Path, run: Mapping[str, Any], *, held: bool, check: Check) -> RunFolder:
        before = read_run(path)
        require_same_command(path, before, run)
        if not before.get("finished") and not any(each_line(path / PROGRESS)):
            folder = cls(path, dict(run), held=held)  # nothing was ever finished here: no model could be loaded, a kill
            folder._restore(again=False)
            folder.save_run()
            return folder
        require_same(path, before.get("settings", {}), run["settings"])
        folder = cls(path, before, resumed=True, held=held)
        folder.stale = dict(check(record for _, record in each_line(path / PROGRESS)))
        folder._restore(again=bool(before.get("finished")))
        return folder

    def _restore(self, *, again: bool) -> None:
        """Keep what is finished, drop what a kill left half done and what is stale; with `again`, what had problems."""
        found = Counter(str(r["photo"]) for _, r in each_line(self.path / FINDINGS))
        self.names = {
            r["photo"]: None
            for _, r in each_line(self.path / PROGRESS)
            if found[r["photo"]] == r["findings"] and not (again and r["problems"]) and r["photo"] not in self.stale
        }
        for _, r in each_line(self.path / PROGRESS):  # pictures first: were we killed after, they would stay for good
            if r["photo"] not in self.names:
                self.drop_picture(str(r.get("marked", "")))
        for name in (FINDINGS, ERRORS, PROGRESS):  # progress last: until it is written, all of this is found again
            with written(self.path / name) as file:
                file.writelines(line for line, r in each_line(self.path / name) if r["photo"] in self.names)
        for part in self.path.rglob(".*.part"):
            part.unlink(missing_ok=True)

    def drop_picture(self, name: str) -> None:
        """Remove a marked picture; a record that names a file elsewhere is not obeyed."""
        file = (self.path / name).resolve()
        if name and file.is_relative_to(self.path.resolve()) and file.suffix == ".jpg":
            file.unlink(missing_ok=True)

    def require_there(self) -> None:
        """Raise OutputError when the folder was deleted or moved since it was opened."""
        if not (self.path / RUN).is_file():
            raise gone(self.path)

    def save_run(self, **more: Any) -> None:
        """Add to run.json and write it. Raises OutputError when the folder is gone."""
        self.require_there()
        self.run.update(more)
        write_run(self.path, self.run)

    def keep(self, results: Iterable[Result]) -> Iterator[Result]:
        """Write each result as it comes, then pass it on. It counts as done within COMMIT_S, or when this ends."""
        self.require_there()
        with nullcontext() if self.held else alone(self.path), ExitStack() as stack:
            files = [stack.enter_context((self.path / name).open("ab")) for name in (FINDINGS, ERRORS, PROGRESS)]
            journal = _Journal(self.path, *files)
            stack.callback(journal.commit)
            for result in results:
                journal.add(result)
                self.names[result.photo] = None
                yield result

    def note(self, problems: Iterable[Problem]) -> None:
        """Add problems that concern no photograph of the run; they are found anew whenever it is taken up."""
        self.require_there()
        with (self.path / ERRORS).open("ab") as errors:
            _write(errors, map(problem_record, problems))
            os.fsync(errors.fileno())

    def findings(self) -> list[Finding]:
        """All findings so far, in the order of the photographs."""
        return [finding_from(r) for r in read_lines(self.path / FINDINGS)]

    def problems(self) -> list[Problem]:
        """All problems and notes so far."""
        return list(self.each_problem())

    def each_problem(self) -> Iterator[Problem]:
        """As problems, one at a time."""
        return (problem_from(r) for _, r in each_line(self.path / ERRORS))


def progress_record(result: Result) -> dict[str, Any]:
    """What progress.jsonl says of one photograph; `size` is in pixels."""
    return {
        "photo": result.photo,
        "size": list(result.size_wh),
        "findings": len(result.findings),
        "problems": len(grave(result.problems)),
        "failed": result.failed,
        "seconds": round(result.seconds, 3),
        "sha256": result.sha256,
        **({"file": list(result.file)} if result.file else {}),
        **({"boxes_sha256": result.boxes_sha256} if result.boxes_sha256 else {}),
        **({"marked": result.marked} if result.marked is not None else {}),
        **({"domain": list(result.domain)} if result.domain else {}),
        **({"place": pose_record(result.place)} if result.place else {}),
    }


class Place(NamedTuple):
    """Where a photograph begins in progress.jsonl and in findings.jsonl, in bytes, and how many findings it has."""

    progress: int
    findings: int
    number: int


def places_of(folder: Path) -> dict[str, Place]:
    """Where each photograph that is done begins: its findings lie together, photographs in the order of progress.jsonl.

    Raises OutputError when findings.jsonl is shorter than that.
    """
    places: dict[str, Place] = {}
    in_progress = in_findings = 0
    with (folder / FINDINGS).open("rb") as findings:
        for line, record in each_line(folder / PROGRESS):
            place = places[record["photo"]] = Place(in_progress, in_findings, record["findings"])
            in_progress += len(line)
            lengths = [len(findings.readline()) for _ in range(place.number)]
            if not all(lengths):
                raise edited(folder, record["photo"])
            in_findings += sum(lengths)
    return places


def lines_of(place: Place, progress: IO[bytes], findings: IO[bytes]) -> tuple[bytes, list[bytes]]:
    """The line of a photograph in progress.jsonl, and its lines in findings.jsonl."""
    progress.seek(place.progress)
    findings.seek(place.findings)
    return progress.readline(), [findings.readline() for _ in range(place.number)]


def edited(folder: Path, photo: str) -> OutputError:
    """The refusal of a folder whose files do not fit each other."""
    return OutputError(
        f"{folder / FINDINGS}: {photo} is not where progress.jsonl has it, so one of them was edited. Choose a new "
        f"folder with --out."
    )


def gone(folder: Path) -> OutputError:
    """A folder that is not there any more while a run writes into it."""
    return OutputError(
        f"{folder}: was deleted, moved or taken by another run while this one was writing into it. What was found is "
        f"not kept. Run the same command again."
    )


def read_run(path: Path, note: str = RUN, *, advice: str = "Choose a new folder with --out.") -> dict[str, Any]:
    """run.json, or another `note`, of a folder. Raises OutputError, whose message ends with `advice`."""
    try:
        run = json.loads((path / note).read_text(encoding="utf-8"))
        if isinstance(run, dict):
            return run
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        pass
    if not path.exists():
        raise OutputError(f"{path}: there is no such folder. {advice}")
    raise OutputError(f"{path / note}: cannot be read as the record of a run. {advice}")


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two settings, in words.

    >>> differing({"judge": "embedded", "weights": {"a": "12"}}, {"judge": "qwen", "weights": {"a": "34"}})
    ["judge was 'embedded', now 'qwen'", 'weights are others']
    """
    names = [name for name in sorted({*before, *now}) if not same_value(before.get(name), now.get(name))]
    return [
        f"{n} are others" if isinstance(now.get(n), dict) else f"{n} was {before.get(n)!r}, now {now.get(n)!r}"
        for n in names
    ]


def same_value(before: Any, now: Any) -> bool:
    """Whether two settings mean the same: equal, or two ways to write the path of one file or folder.

    >>> same_value(["."], ["./."]), same_value("auto", "off")
    (True, False)
    """
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(same_value, before, now))
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(same_value(before[name], now[name]) for name in now)
    if before == now or not (isinstance(before, str) and isinstance(now, str)):
        return bool(before == now)
    try:
        return Path(before).samefile(now)
    except (OSError, ValueError):
        return False


class _Journal:
    """Appends results to three files; several share one wait for the disk, which takes longer than they do."""

    def __init__(self, folder: Path, findings: IO[bytes], errors: IO[bytes], progress: IO[bytes]) -> None:
        self._folder, self._findings, self._errors, self._progress = folder, findings, errors, progress
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
            self._require_there()
        self._last = time.monotonic()

    def _require_there(self) -> None:
        """Raise OutputError when what is written goes into files that nobody can find any more."""
        try:
            there = os.path.samestat(os.fstat(self._progress.fileno()), (self._folder / PROGRESS).stat())
        except FileNotFoundError:
            there = False
        if not there:
            raise gone(self._folder)


def _write(file: IO[bytes], records: Iterable[dict[str, Any]]) -> None:
    """One write, handed to the system."""
    if text := join_lines(records):
        file.write(text.encode("utf-8"))
        file.flush()
