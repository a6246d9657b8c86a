"""`toeline join`: one run of the parts that `toeline inspect --part` wrote, as a single process would have written it.

Lines are copied as they are, in the order of the photographs. What only all photographs together say is said here:
which findings are likely one object, whether the run is like what was measured, the work list, the report. A join that
was killed is done again from the parts, which it never changes; pictures that are there already are taken as they are.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.provenance import called_now, grading_hash, taxonomy_hash
from toeline.core.reading import is_file
from toeline.core.records import each_line, problem_record, read_lines, to_line
from toeline.core.run_folder import (
    ERRORS,
    FINDINGS,
    PROGRESS,
    RUN,
    Place,
    RunFolder,
    claimed,
    differing,
    edited,
    lines_of,
    places_of,
    read_run,
    require_same,
    write_run,
    writing,
    written,
)
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.datasets import Carry, carry
from toeline.data.extracted import EXTRACTED
from toeline.data.object_stores import FETCHED
from toeline.errors import OutputError
from toeline.pipelines.inspect import Summary, finish, lasting, require
from toeline.pipelines.parts import JOINED, SHARE, WHOLE, Part
from toeline.pipelines.progress import bar, goes_on, saying
from toeline.pipelines.settings import Extras, JoinRun
from toeline.report.tables import marked_of

NAME_A_PART = "Name what `toeline inspect --part` wrote."


@dataclass(frozen=True)
class PartRun:
    """A finished part on the disk: the record of its run, and its rows of part.jsonl."""

    folder: Path
    run: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> PartRun:
        """The part in a folder. Raises OutputError for another folder, and for a part that is not finished."""
        run = read_run(folder, advice=NAME_A_PART)
        if not run.get("settings", {}).get("part") or WHOLE not in run or not is_file(folder / SHARE):
            raise OutputError(f"{folder}: is no part of a run: it was not inspected with --part. {NAME_A_PART}")
        part = cls(folder, run, read_lines(folder / SHARE))
        missing = sum(name not in part.places for name in part.photographs)
        if missing or not run.get("finished"):
            left = f"{missing} of {some(len(part.photographs), 'photograph')} are left" if missing else "at its end"
            raise OutputError(
                f"{folder}: part {part.part} is not finished ({left}). Run its `toeline inspect --part {part.part}` "
                f"again, then this command."
            )
        if extra := next((name for name in part.places if name not in part.photographs), ""):
            raise edited(folder, extra)
        return part

    @cached_property
    def part(self) -> Part:
        """Which one it is."""
        return Part.typed(self.run["settings"]["part"])

    @cached_property
    def photographs(self) -> dict[str, tuple[int, int]]:
        """Its photographs, each with its place among all: that of the file it is of, and its number in that."""
        return {name: (row["place"], n) for row in self.rows for n, name in enumerate(row["photographs"])}

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where each photograph begins in its files."""
        return places_of(self.folder)

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same in all parts: their settings, without where the photographs lie.

        Files lie elsewhere on another machine, so a path counts by its last name; hashes tell what is in it.
        """
        return {k: called(v) for k, v in self.run["settings"].items() if k not in ("part", "photos")}

    @property
    def models(self) -> dict[str, Any]:
        """The same of the models, but for versions, which may differ, as they may from one start of a run to the next.

        Empty of a part that has no photograph.
        """
        models = self.run.get("models", {})
        facts = {
            f"{room}'s {k}": called(v) if k in NAMED else v
            for room, known in lasting(models).items()
            for k, v in known.items()
        }
        return {**facts, "prompt": models["judge"].get("prompt")} if models else {}


NAMED = ("model", "labels")  # of models, what was typed: a path, perhaps


def called(typed: Any) -> Any:
    """The last name of a path, which may lie elsewhere on another machine; anything else as it is.

    >>> called("/data/models/qwen"), called("auto"), called(0.5)
    ('qwen', 'auto', 0.5)
    """
    return re.split(r"[\\/]", typed.rstrip("\\/"))[-1] if isinstance(typed, str) else typed


def join_into(run: JoinRun, out: Path, *, workers: int, extras: Extras) -> Summary:
    """Merge parts into `out`, and say what the run came to. Raises ToelineError, before anything is written."""
    require(extras)
    require_beside(out, run.runs)
    with saying("Reading the parts"):
        parts = sorted(map(PartRun.read, run.runs), key=lambda part: part.part.number)
        require_whole(parts)
        taxonomy = _taxonomy(parts[0], run.taxonomy)
    record = _record(parts, run.taxonomy)
    order = sorted((place, at, name) for at, part in enumerate(parts) for name, place in part.photographs.items())
    with claimed(out) as there, writing(out):
        if there:
            _require_join(out, record)
        write_run(out, record)  # from now on it is not finished
        folder = RunFolder(out, record, {name: None for _, _, name in order}, held=True)
        with goes_on(), bar("Joining", total=len(order)) as step:
            for _ in _merged(parts, [(parts[at], name) for _, at, name in order], folder):
                step([])
        with saying("Writing tables and report"):
            return finish(folder, list(folder.names), taxonomy, workers=workers, extras=extras)


def require_beside(out: Path, parts: Sequence[Path]) -> None:
    """Raise OutputError when `out` is one of the parts or lies in one: they are never changed."""
    for part in parts:
        if out.resolve().is_relative_to(part.resolve()):
            raise OutputError(
                f"{out}: is or lies in {part}, one of the parts, which stay as they are. Choose a folder beside them "
                f"with --out."
            )


def require_whole(parts: Sequence[PartRun]) -> None:
    """Raise OutputError, which names the folder and what differs, unless these are all parts of one run."""
    first, full = parts[0], _full(parts)
    for part in parts:
        if part.part.of != first.part.of:
            raise OutputError(
                f"{part.folder} is part {part.part} and {first.folder} is part {first.part}: of two runs."
            )
        _require_alike(first, part, differing(first.settings, part.settings))
        _require_alike(full, part, differing(full.models, part.models) if part.models else [])
        if part.run[WHOLE] != first.run[WHOLE]:
            there, here = (p.run[WHOLE]["photographs"] for p in (first, part))
            raise OutputError(
                f"{part.folder}: is a part of other photographs than {first.folder} ({there:,} there, {here:,} here). "
                f"Give each part's command again where all photographs are: what is done stays."
            )
    _require_all(parts)


def _require_alike(one: PartRun, other: PartRun, changed: Sequence[str]) -> None:
    if changed:
        raise OutputError(
            f"{other.folder}: was not inspected as {one.folder} was ({'; '.join(changed)}). Parts of one run have the "
            f"same settings and models: inspect one of the two again, with a new --out."
        )


def _full(parts: Sequence[PartRun]) -> PartRun:
    """A part that knows its models, which one without a photograph does not."""
    return next((part for part in parts if part.models), parts[0])


def _require_all(parts: Sequence[PartRun]) -> None:
    """Raise OutputError unless each part is there once, and each file that was typed is in one of them."""
    there: dict[int, PartRun] = {}
    for part in parts:
        if (twin := there.setdefault(part.part.number, part)) is not part:
            raise OutputError(f"{twin.folder} and {part.folder} are both part {part.part}. Name one of them.")
    of = parts[0].part.of
    if missing := [str(Part(n, of)) for n in range(1, of + 1) if n not in there]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise OutputError(
            f"part {', '.join(missing[:5])}{more} is missing: {len(parts)} of {of} parts were named. Name all of them."
        )
    places = Counter(row["place"] for part in parts for row in part.rows)
    if set(places) != set(range(parts[0].run[WHOLE]["photographs"])) or places.total() != len(places):
        raise OutputError(f"{SHARE} of {of} parts do not add up to the whole, so one was edited. Inspect it again.")


def _taxonomy(part: PartRun, typed: Path | None) -> Taxonomy:
    """The taxonomy of the parts. Raises OutputError for another one."""
    settings = part.run["settings"]
    named = typed or settings.get("taxonomy")
    if named and not is_file(Path(named)):
        raise OutputError(f"{named}: the taxonomy of the parts is not there. Say with --taxonomy where it lies.")
    taxonomy = Taxonomy.load(Path(named) if named else None)
    said = {"taxonomy_sha256": taxonomy_hash(taxonomy), "grading_sha256": grading_hash(taxonomy)}
    if any(settings[name] != value for name, value in said.items()):
        raise OutputError(f"{taxonomy.source}: is not the taxonomy that the parts were inspected with. Name that one.")
    return taxonomy


OF_A_PART = {WHOLE, "finished", "counts", "told", "domain", "data_sha256", "options", "config"}


def _record(parts: Sequence[PartRun], taxonomy: Path | None) -> dict[str, Any]:
    """The record of the whole run, which `toeline inspect` takes up without --part: that of a part that knows all."""
    best = _full(parts)
    settings = {**best.run["settings"], "part": None}
    if taxonomy:
        settings["taxonomy"] = str(taxonomy)
    kept = {name: value for name, value in best.run.items() if name not in OF_A_PART}
    joined = [
        {"part": str(p.part), "folder": str(p.folder), "started": p.run["started"], "finished": p.run["finished"]}
        for p in parts
    ]
    return {**kept, **called_now(), "settings": settings, "finished": None, JOINED: joined}


def _require_join(out: Path, record: Mapping[str, Any]) -> None:
    """Raise OutputError for a folder that holds another run, or one that `toeline inspect` went on with."""
    before = read_run(out)
    if JOINED not in before:
        raise OutputError(
            f"{out}: holds a run that `toeline join` did not write, or that was gone on with since. Choose a new "
            f"folder with --out; nothing was changed."
        )
    require_same(out, before.get("settings", {}), record["settings"])


def _merged(parts: Sequence[PartRun], order: Sequence[tuple[PartRun, str]], folder: RunFolder) -> Iterator[str]:
    """Write the three files of the run, bring the pictures, and give each photograph's name when it is there."""
    before = {marked_of(record) for _, record in each_line(folder.path / PROGRESS)}  # of an earlier join
    lost: dict[str, list[str]] = defaultdict(list)
    with ExitStack() as stack:
        findings, errors, progress = (
            stack.enter_context(written(folder.path / n)) for n in (FINDINGS, ERRORS, PROGRESS)
        )
        files = {
            part.part: [stack.enter_context((part.folder / n).open("rb")) for n in (PROGRESS, FINDINGS)]
            for part in parts
        }
        problems = {part.part: _problems(part.folder) for part in parts}
        errors.writelines(dict.fromkeys(line for part in parts for line in problems[part.part].get("", ())))
        for part, name in order:
            line, lines = lines_of(part.places[name], *files[part.part])
            progress.write(line)
            findings.writelines(lines)
            errors.writelines(problems[part.part].get(name, ()))
            marked = marked_of(json.loads(line))
            before.discard(marked)
            if marked and not _brought(part.folder / marked, folder.path / marked):
                lost[str(part.folder)].append(marked)
            yield name
        notes = *_lost(lost), *differences([(str(part.part), part.run) for part in parts], "parts")
        errors.writelines(to_line(problem_record(note)).encode("utf-8") for note in notes)
    for picture in before:  # of photographs that are gone
        folder.drop_picture(picture)
    for part in parts:
        for file in (f for own in (EXTRACTED, FETCHED) for f in (part.folder / own).rglob("*") if f.is_file()):
            carry(file, folder.path / file.relative_to(part.folder), Carry.HARD)


def _problems(folder: Path) -> dict[str, list[bytes]]:
    """The lines of errors.jsonl by photograph; those of no photograph under an empty name."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for line, record in each_line(folder / ERRORS):
        found[record["photo"]].append(line)
    return found


def _brought(source: Path, target: Path) -> bool:
    """Whether a picture is there, linked or copied; a link shares the file, so that parts take no room twice."""
    try:
        carry(source, target, Carry.HARD)
    except FileNotFoundError:
        return False
    return True


def _lost(lost: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """A note for each part some of whose pictures are not there, as when only its records were copied."""
    for folder, names in lost.items():
        what = f"{some(len(names), 'marked picture')} not there, such as {names[0]}: the report does without."
        yield Problem("", folder, what, "Bring them, then run the same command again.", note=True)


def differences(runs: Iterable[tuple[str, Mapping[str, Any]]], what: str) -> Iterator[Problem]:
    """A note for each kind of software or machine that differs: findings may then differ in their last digits.

    `runs` are names with what run.json says of versions and machine; `what` they are together.
    """
    said: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for called, run in runs:
        for name, value in {**run.get("versions", {}), **run.get("machine", {})}.items():
            if name not in ("cores", "release"):
                said[name][str(value)].append(called)
    for name, values in said.items():
        if len(values) > 1:
            kinds = "; ".join(
                f"{value} ({', '.join(at[:3])}{' ...' if at[3:] else ''})" for value, at in values.items()
            )
            yield Problem("", RUN, f"{what} are of different {name}: {kinds}. Last digits may differ.", note=True)
