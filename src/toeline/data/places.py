"""Where the photographs of a data set lie: what its data.yaml says, and only without it where exporters put them.

`train:`, `val:` and `test:` may be a folder, a list of folders, a text file with a photograph a line, or a pattern
(`images/*/day1`). A place on another computer is found again by its tail below the YAML file's folder, where that is
not open to doubt. What lies beside the listed places is told, and not taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from toeline.core import reading
from toeline.core.finding import Problem
from toeline.core.reading import is_file, is_there
from toeline.core.words import cut, some
from toeline.data.images import FOREIGN, SUFFIXES, is_folder, is_utf8, search_photos
from toeline.errors import LabelError

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}  # folder -> split
ALL = "all"  # the split of a data set that is not split
MOST_SAID = 20  # lines of one list, or folders, that are named one by one
ROBOFLOW = re.compile(r"\.\./(train|valid|val|test)/images/?")  # written for splits that were not exported, too


class Part(NamedTuple):
    """A folder of a split and the photographs in it; `folder` is where folders of labels are looked for from."""

    split: str
    folder: Path
    photos: tuple[Path, ...]


@dataclass
class Places:
    """The parts of a data set, and what was wrong with what its data.yaml says of them."""

    parts: list[Part] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, split: str, folder: Path, photos: Iterable[Path] | None = None) -> bool:
        """One part more, unless it holds no photograph."""
        found = tuple(self._photos_in(folder) if photos is None else photos)
        if found:
            self.parts.append(Part(split, folder, found))
        return bool(found)

    def _photos_in(self, folder: Path) -> Iterator[Path]:
        found = search_photos([folder], may_be_none=True)  # no photographs are no fault by themselves
        self.problems += found.problems
        yield from (photo.path for photo in found.photos)


def listed_places(file: Path, raw: Mapping[str, Any]) -> Places:
    """What a data.yaml says. Raises LabelError for a place that may be several, and for entries that are no places."""
    found = Places()
    top = _Top(file, raw)
    for key, split in listed_keys(raw).items():
        values = raw[key]
        for value in values if isinstance(values, list) else [values]:
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                raise LabelError(
                    f"{file}: `{key}: {cut(str(value))}` is no folder, list of folders or text file. Correct it."
                )
            _take(found, top, key, split, value, several=isinstance(values, list))
    return found


def listed_keys(raw: Mapping[str, Any]) -> dict[str, str]:
    """The entries of a data.yaml that name the photographs of a split, and which one; CVAT writes them large.

    >>> listed_keys({"Train": "train.txt", "val": "images/val", "nc": 3})
    {'Train': 'train', 'val': 'valid'}
    """
    return {key: SPLITS[str(key).lower()] for key in raw if str(key).lower() in SPLITS}


@dataclass(frozen=True)
class _Top:
    """A data.yaml with the folders that its places are seen from."""

    file: Path
    raw: Mapping[str, Any]

    @property
    def base(self) -> Path:
        """The folder of the file."""
        return self.file.parent

    @property
    def path(self) -> str:
        """`path:` with slashes."""
        return str(self.raw.get("path") or "").strip().replace("\\", "/")

    @property
    def root(self) -> Path:
        """The folder that places are below: that of the file, unless `path:` says another."""
        return self.base / Path(self.path).expanduser() if self.path else self.base

    def said(self, key: str, value: str, what: str, *, note: bool = False) -> Problem:
        """A problem of an entry."""
        return Problem(
            "", str(self.file), f"`{key}: {cut(value, 200)}` {what}", "" if note else "Correct it.", note=note
        )


def _take(found: Places, top: _Top, key: str, split: str, value: str, *, several: bool) -> None:
    """Add what one value means."""
    typed = value.strip().replace("\\", "/")
    place = _resolved(found, top, key, typed)
    places = [place] if place else []
    if not places and re.search("[*?[]", typed) and not _is_absolute(typed):
        places = sorted({p for at in (top.root, top.base) for p in at.glob(typed)})
    if not places:
        unimportant = ROBOFLOW.fullmatch(typed) is not None and not several
        what = (
            "is not there; the data set has no such split."
            if unimportant
            else "is not there, so nothing of it is read."
        )
        found.problems.append(top.said(key, value, what, note=unimportant))
    for place in places:
        if place.is_dir():
            if not found.add(split, place):
                found.problems.append(top.said(key, value, "holds no photographs."))
        elif place.suffix.lower() == ".txt":
            _take_list(found, top, split, place)
        elif place.suffix.lower() in SUFFIXES:
            found.add(split, place.parent, [place])
        else:
            found.problems.append(top.said(key, value, "is neither a folder nor a text file of photographs."))


def _is_absolute(typed: str) -> bool:
    """On this computer or on one with other rules."""
    return typed.startswith(("/", "~")) or re.match(r"[A-Za-z]:", typed) is not None


def _resolved(found: Places, top: _Top, key: str, typed: str) -> Path | None:
    """The place that is meant, which exists. Raises LabelError where it may be several."""
    tries = list(_literal(top, typed))
    there = list({os.path.realpath(p): p for p in tries if is_there(p)}.values())
    if there:
        if len(there) > 1:
            what = f"may be {there[0]} or {there[1]}; the first is read. Write `{typed.lstrip('./')}` if it is meant."
            found.problems.append(top.said(key, typed, what))
        return _plain(there[0])
    wanted = [p for p in f"{top.path}/{typed}".split("/") if p not in ("", ".", "..") and not p.endswith(":")]
    fits = by_tail(top.base, wanted)
    if len(fits) > 1:
        raise LabelError(
            f"{top.file}: `{key}: {typed}` is not there, and {' and '.join(map(str, fits[:4]))} may be meant. "
            f"Write which one."
        )
    if fits:
        elsewhere = _is_absolute(typed) or top.path or top.file.suffix == ".data"  # written for another computer
        same = bool(elsewhere) and "/".join(wanted).endswith(fits[0].relative_to(top.base).as_posix())
        full = f"{top.path}/{typed}" if top.path else typed
        found.problems.append(top.said(key, full, f"is not there; {fits[0]} is read in its place.", note=same))
    return fits[0] if fits else None


def _plain(place: Path) -> Path:
    """Without `..`, where that is the same place."""
    short = Path(os.path.normpath(place))
    return short if ".." in place.parts and os.path.realpath(short) == os.path.realpath(place) else place


def _literal(top: _Top, typed: str) -> Iterator[Path]:
    """The places that the words may mean: below `path:`; first without the `../` that Roboflow writes."""
    if _is_absolute(typed):
        yield Path(typed).expanduser()
        return
    inside = re.sub(r"^(\.\./)+", "", typed)
    yield from dict.fromkeys([top.root / inside, top.root / typed])


def by_tail(base: Path, wanted: Sequence[str]) -> list[Path]:
    """Places below `base` that may be the wanted one, whose path begins on another computer.

    Those whose whole path below `base` ends the wanted path; else folders deeper down that end in the same split. A
    split's name in the wanted path has to be in the tail, whatever its spelling: train is never taken for valid.
    """
    words = [_word(part) for part in wanted]
    split = next((word for word in reversed(words) if word in SPLITS.values()), "")

    def fits(tail: Sequence[str]) -> bool:
        return not split or split in tail

    found = [
        place
        for at in range(len(wanted))
        if fits(words[at:])
        for place in _spelled(base, wanted[at:])
        if is_there(place)
    ]
    if found or not split:
        return list(dict.fromkeys(found))
    ends: dict[int, list[Path]] = {}
    for at, _, _ in walk(base):
        rel = [_word(part) for part in Path(at).relative_to(base).parts]
        if "labels" in rel and "labels" not in words:  # they lie in folders of the same names
            continue
        pairs = zip(reversed(rel), reversed(words), strict=False)
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        if same and fits(rel[len(rel) - same :]):
            ends.setdefault(same, []).append(Path(at))
    return ends[max(ends)] if ends else []


def _word(part: str) -> str:
    """A split's name in its usual spelling, any other part as it is."""
    return SPLITS.get(part.lower(), part)


def _spelled(base: Path, parts: Sequence[str]) -> list[Path]:
    """The path, or with other spellings of its split where that is not there (`val` for `valid`)."""
    usual = base.joinpath(*parts)
    if is_there(usual):
        return [usual]
    others = [[p] if p.lower() not in SPLITS else [n for n in SPLITS if SPLITS[n] == SPLITS[p.lower()]] for p in parts]
    paths = [base]
    for names in others:
        paths = [at / name for at in paths for name in names]
    return [p for p in paths if is_there(p)]


def _take_list(found: Places, top: _Top, split: str, file: Path) -> None:
    """The photographs of a text file, one a line; each once, and those that are not there named."""
    text = reading.read_text(file, LabelError, advice="Save it as UTF-8 text with a photograph a line.")
    photos: dict[str, Path] = {}
    lost: list[tuple[int, str]] = []
    twice = 0
    for number, row in enumerate(text.splitlines(), start=1):
        if not (typed := row.strip().strip("\"'").replace("\\", "/")):
            continue
        photo = _photo_of(top, file, typed)
        if photo is None:
            lost.append((number, typed))
        elif (real := os.path.realpath(photo)) in photos:
            twice += 1
        else:
            photos[real] = photo
    for number, typed in lost[:MOST_SAID]:
        what = f"the photograph {cut(typed, 200)} is not there, or not once."
        found.problems.append(Problem("", str(file), what, "Correct the line, or delete it.", number))
    if len(lost) > MOST_SAID:
        found.problems.append(Problem.in_file(file, f"{len(lost) - MOST_SAID:,} more photographs are not there."))
    if twice:
        found.problems.append(
            Problem.in_file(file, f"{some(twice, 'line')} repeat others; each counts once.", note=True)
        )
    by_folder: dict[Path, list[Path]] = {}
    for photo in photos.values():
        by_folder.setdefault(photo.parent, []).append(photo)
    for folder, its in by_folder.items():
        found.add(split, folder, its)
    if not photos and not lost:
        found.problems.append(Problem.in_file(file, "lists no photographs."))


def _photo_of(top: _Top, file: Path, typed: str) -> Path | None:
    """The photograph of a line: seen from the list's folder, from the data set's, or found by its tail."""
    if typed.startswith("./"):
        tries = [file.parent / typed]
    elif _is_absolute(typed):
        tries = [Path(typed)]
    else:
        tries = [file.parent / typed, *_literal(top, typed)]
    there = next((p for p in tries if is_file(p)), None)
    if there is not None or not typed.lower().endswith(SUFFIXES):
        return Path(os.path.normpath(there)) if there and there.suffix.lower() in SUFFIXES else None
    parts = [p for p in typed.split("/") if p not in ("", ".", "..") and not p.endswith(":")]
    words = [_word(part) for part in parts[:-1]]
    split = next((word for word in reversed(words) if word in SPLITS.values()), "")
    places = (top.base.joinpath(*parts[at:]) for at in range(len(parts)) if not split or split in words[at:])
    return next((place for place in places if is_file(place)), None)


def guessed_places(base: Path) -> Places:
    """Where exporters put the photographs of splits, in any case; without such folders all are one split."""
    found, below = Places(), _folders(base)
    images = below.get("images", "")
    in_images = _folders(base / images) if images else {}
    for name, split in SPLITS.items():
        tries = [base / images / in_images[name]] if name in in_images else []
        if name in below:
            inner = _folders(base / below[name]).get("images")
            tries = [base / below[name] / inner] if inner else [*tries, base / below[name]]
        if tries:
            found.add(split, tries[0])
    if not found.parts:
        found.add(ALL, base / images if images else base) or found.add(ALL, base)
    return found


def _folders(place: Path) -> dict[str, str]:
    """The folders in a place by their names in small letters; of two, the one in small letters."""
    with suppress(OSError):
        return {n.lower(): n for n in sorted(e.name for e in os.scandir(place) if is_folder(e))}
    return {}


def walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, without hidden files and folders, and without those of other programs."""
    for at, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f.lower() not in FOREIGN and is_utf8(f))
        yield at, folders, [f for f in files if not f.startswith(".")]
