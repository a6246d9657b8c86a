"""Which photograph a `file_name` of a COCO file means, found as a person would find it, or not at all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from toeline.core.finding import Problem
from toeline.core.reading import is_file
from toeline.data.images import SUFFIXES, files_under
from toeline.data.matching import folded
from toeline.data.places import SPLITS


def photos_by_name(base: Path, problems: list[Problem]) -> Mapping[str, list[Path]]:
    """Photographs below `base` by folded file name, for annotations that give a path which does not exist here."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path, _, _ in files_under(base, problems):
        if path.suffix.lower() in SUFFIXES:
            found[folded(path.name)].append(path)
    return found


MOST_NAME = 2000  # letters of a path; systems end at 4,096 bytes


def spellings(name: str) -> list[PurePosixPath]:
    r"""The paths that a `file_name` may mean, the most literal first: as it is; from a URL; without the eight digits
    that Label Studio sets before the name of an upload.

    >>> [str(p) for p in spellings(r"C:\flight 1\a.jpg")]
    ['C:/flight 1/a.jpg']
    >>> [str(p) for p in spellings("/data/upload/3/0a1b2c3d-a%20b.jpg")][-1]
    '/data/upload/3/a b.jpg'
    >>> [str(p) for p in spellings("/data/local-files/?d=flight/a.jpg")][-1]
    'flight/a.jpg'
    """
    plain = name.replace("\\", "/")
    path, _, query = plain.partition("?")
    local = re.search("(?:^|&)d=([^&]+)", query)
    tries = [plain, unquote(plain), *([unquote(path)] if query else []), *([unquote(local[1])] if local else [])]
    tries = [text.replace("\\", "/") for text in tries]
    tries += [re.sub("(^|/)[0-9a-f]{8}-(?=[^/]+$)", r"\1", text) for text in tries]
    return [PurePosixPath(text) for text in dict.fromkeys(tries)]


@dataclass(frozen=True)
class FoundPhoto:
    """The photographs that a `file_name` may mean: one if it is clear. `off` is 0 for a path as it stands."""

    paths: Sequence[Path] = ()
    off: int = 0


def find_photo(name: str, beside: Path, split: str, base: Path, index: Mapping[str, list[Path]]) -> FoundPhoto:
    """The photograph at the path that is given, else the one of that name whose folders agree best, or lie nearest."""
    if not 0 < len(name) <= MOST_NAME or "\0" in name:
        return FoundPhoto()
    tries = spellings(name)
    tops = [beside, beside / "images", beside / "data", base, base / "images"]  # data: FiftyOne's
    for given in tries:
        for top in tops if not given.is_absolute() and ".." not in given.parts else ():
            if is_file(top / given):
                return FoundPhoto([top / given])
    for given in tries:
        if named := index.get(folded(given.name)):
            ranks = {path: _rank(path.relative_to(base), given, beside.relative_to(base), split) for path in named}
            best = max(ranks.values())
            return FoundPhoto([path for path in named if ranks[path] == best], off=1000 - best[0])
    return FoundPhoto()


def _rank(path: Path, given: PurePosixPath, beside: Path, split: str) -> tuple[int, bool, bool, int]:
    """How many folders are as in the path that is given; whether the name is, and the split; how near it lies."""
    here, there = path.parts[:-1], given.parts[:-1]
    words = {SPLITS.get(word) for part in path.parts[:-1] for word in re.findall("[a-z]+", part)}
    return _equal(here[::-1], there[::-1]), path.name == given.name, split in words, _equal(here, beside.parts)


def _equal(one: Iterable[str], two: Iterable[str]) -> int:
    """How many parts are the same, from the first on."""
    count = 0
    for a, b in zip(one, two, strict=False):
        if folded(a) != folded(b):
            break
        count += 1
    return count
