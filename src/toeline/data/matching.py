"""Which label file belongs to which photograph: one rule for data sets, for `--boxes` and for other formats' names.

A label file is called like its photograph. Names that a person sees as equal are equal: composed and decomposed accents
(macOS writes `e` and an accent apart), `.TXT`, `a.jpg.txt` for `a.jpg`, other case. The closer name and the closer
folder win; what is still open is used for no photograph, and said. Each folder is listed once, no file is asked for.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toeline.core.finding import Problem
from toeline.core.reading import is_there
from toeline.core.words import some
from toeline.data.images import SUFFIXES

SUFFIX = ".txt"
NO_LABELS = re.compile(  # text files beside labels that other programs write
    r"(classes|_?darknet\.labels|predefined_classes|labels|names|obj\.names|train|val|valid|test|trainval|all|autosplit_.*"
    r"|readme.*|license.*|requirements|notes|changelog)(\.txt)?",
    re.IGNORECASE,
)
IMAGES = ("images", "jpegimages")  # a folder of photographs whose labels lie in `labels` beside it
MOST_SAID = 20  # label files of one folder that are named one by one


def folded(name: str) -> str:
    """Equal for names that a person sees as equal.

    >>> folded("Digue_E\u0301te\u0301.JPG") == folded("digue_été.jpg")
    True
    """
    return (
        name.lower() if name.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    )


def stem_of(name: str) -> str:
    """As Path.stem, of a text: there may be a hundred thousand.

    >>> stem_of("a.b.jpg"), stem_of("a"), stem_of(".a")
    ('a.b', 'a', '.a')
    """
    at = name.rfind(".")
    return name[:at] if at > 0 else name


@dataclass(frozen=True)
class LabelFolder:
    """The names of the label files of one folder, by their folded stems; the `fault` of one that cannot be listed."""

    path: Path
    by_stem: Mapping[str, Sequence[str]]
    fault: str = ""

    @classmethod
    def read(cls, path: Path) -> LabelFolder:
        """What is there; nothing in a folder that is not there."""
        by_stem: dict[str, list[str]] = defaultdict(list)
        try:
            names = [one.name for one in os.scandir(path)]
        except OSError as why:
            return cls(path, {}, why.strerror or type(why).__name__ if is_there(path) and path.is_dir() else "")
        for name in names:
            if name[-4:].lower() == SUFFIX and not name.startswith("."):
                by_stem[folded(name[:-4])].append(name)
        return cls(path, by_stem)


@dataclass
class MatchedLabels:
    """The label file of each photograph that has one, and what was open. `folders` are those that hold labels."""

    labels: dict[Path, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unsettled: set[Path] = field(default_factory=set)  # may belong to a photograph, and are used for none
    folders: list[LabelFolder] = field(default_factory=list)

    def unused(self) -> dict[Path, list[str]]:
        """Label files that belong to no photograph, by folder."""
        used: dict[str, set[str]] = defaultdict(set)
        for file in (*self.labels.values(), *self.unsettled):
            here, name = os.path.split(file)
            used[here or "."].add(name)
        left = {
            f.path: sorted(n for names in f.by_stem.values() for n in names if n not in used[str(f.path)])
            for f in self.folders
        }
        return {path: names for path, names in left.items() if names}


Claim = tuple[tuple[int, int], str]  # how far off the name and the folder are, and the label file as a text


def match_labels(photos: Iterable[Path], folders_of: Callable[[Path], Sequence[Path]]) -> MatchedLabels:
    """`folders_of` gives for a folder of photographs the folders of labels that may belong to it, the closest first."""
    index: dict[Path, LabelFolder] = {}
    near: dict[str, list[tuple[int, LabelFolder]]] = {}
    claims: dict[str, list[Claim]] = {}  # texts: a path takes ten times as long, and there may be a hundred thousand
    by_text = {str(photo): photo for photo in photos}
    for photo in by_text:
        here, _, name = photo.rpartition(os.sep)
        if here not in near:
            places = dict.fromkeys(folders_of(by_text[photo].parent))
            near[here] = [(rank, one) for rank, place in enumerate(places) if (one := _listed(place, index))]
        claims[photo] = _claims(name, near[here])
    found = MatchedLabels(folders=list({f.path: f for f in index.values() if f.by_stem}.values()))
    found.problems += [_closed(f) for f in index.values() if f.fault]
    for photo, file in _settled(claims, found):
        found.labels[by_text[photo]] = Path(file)
    return found


def _listed(place: Path, index: dict[Path, LabelFolder]) -> LabelFolder | None:
    """The folder if it holds label files; where case makes no difference, one that was listed already is the same."""
    if place not in index:
        one = LabelFolder.read(place)
        index[place] = next((f for f in index.values() if f.by_stem and one.by_stem and f.path.samefile(place)), one)
    return index[place] if index[place].by_stem else None


def _closed(folder: LabelFolder) -> Problem:
    return Problem.in_file(folder.path, f"this folder cannot be read ({folder.fault}), so no label file in it was.")


def _claims(name: str, near: Sequence[tuple[int, LabelFolder]]) -> list[Claim]:
    """The label files that are called like a photograph, with how near their names are."""
    stem = stem_of(name)
    found = []
    for wanted, key, called in ((stem, folded(stem), 0), (name, folded(name), 1)):
        for rank, folder in near:
            for file in folder.by_stem.get(key, ()):
                off = 0 if file == wanted + SUFFIX else 2 if file[:-4] == wanted else 4
                found.append(((off + called, rank), f"{folder.path}{os.sep}{file}"))
    return found


def _settled(claims: Mapping[str, Sequence[Claim]], found: MatchedLabels) -> Iterator[tuple[str, str]]:
    """Photographs with their label files: each file goes to the nearest name, and what two could have to nobody."""
    owners = _owners(claims)
    shared = {file: its for file, (_, its) in owners.items() if len(its) > 1}
    found.problems += [_shared(Path(file), [*map(Path, its)]) for file, its in shared.items()]
    found.unsettled |= {Path(file) for file in shared}
    for photo, its in claims.items():
        files = [file for _, file in sorted(its) if photo in owners[file][1]] if its else []
        if len(files) > 1:  # a text beside a photograph may be anything
            files = [file for file in dict.fromkeys(files) if looks_like_labels(Path(file))] or files
        if len(files) > 1 and not _alike([*map(Path, files)]):
            found.problems.append(_several(Path(photo), [*map(Path, files)]))
            found.unsettled |= {*map(Path, files)}
        elif files and not any(file in shared for file in files):
            found.unsettled |= {*map(Path, files[1:])}
            yield photo, files[0]


def _owners(claims: Mapping[str, Sequence[Claim]]) -> dict[str, tuple[tuple[int, int], list[str]]]:
    """For each label file how near the nearest photographs are, and which."""
    owners: dict[str, tuple[tuple[int, int], list[str]]] = {}
    for photo, its in claims.items():
        for off, file in its:
            least, others = owners.get(file, (None, []))
            if least is None or off < least:
                owners[file] = off, [photo]
            elif off == least and photo not in others:
                others.append(photo)
    return owners


def _shared(file: Path, photos: Sequence[Path]) -> Problem:
    apart = len({p.name for p in photos}) == len(photos)
    names = " and ".join(p.name if apart else str(p) for p in photos[:3])
    more = f" and {len(photos) - 3} more" if len(photos) > 3 else ""
    what = f"belongs to {names}{more} alike, so it is used for none of them."
    return Problem("", str(file), what, "Rename the photographs, and give each its own label file.")


def _several(photo: Path, files: Sequence[Path]) -> Problem:
    names = " and ".join(map(str, files[:3]))
    what = f"{names} may both be its label file and differ, so neither is used."
    return Problem("", str(photo), what, "Delete or rename the one that is wrong.")


def _alike(files: Sequence[Path]) -> bool:
    """Whether all say the same, to the byte."""
    try:
        facts = [file.stat() for file in files]
        small = all(stat.S_ISREG(f.st_mode) and f.st_size < 1 << 24 for f in facts)  # a pipe would wait for ever
        return small and len({file.read_bytes() for file in files}) == 1
    except OSError:
        return False


def photos_beside(folder: Path) -> list[Path]:
    """The photographs in one folder, by their suffix."""
    return [folder / one.name for one in os.scandir(folder) if one.name.lower().endswith(SUFFIXES)]


def label_folders(photos: Path, top: Path) -> list[Path]:
    """Where the labels of the photographs in the folder `photos` may lie, the closest first. `top` is their split's.

    `images` becomes `labels`, the last such folder first (`train/FLIGHT/images` beside `train/FLIGHT/labels`,
    `images/FLIGHT` beside `labels/FLIGHT`); then `labels` in, beside and above them; then beside the photographs; last
    one folder of labels for all flights.

    >>> [str(p) for p in label_folders(Path("set/images/day2"), Path("set/images"))][:3]
    ['set/labels/day2', 'set/images/day2/labels', 'set/images/labels/day2']
    """
    inside = photos.relative_to(top)
    around = [photos / "labels", top / "labels" / inside, top.parent / "labels" / inside, photos.parent / "labels"]
    return [*_swapped(photos), *around, photos, top / "labels", top.parent / "labels", *_swapped(top)[:2]]


def _swapped(folder: Path) -> list[Path]:
    """With `labels` in place of `images`, in the same case or in small letters; the last such part first."""
    parts = folder.parts
    return [
        Path(*parts[:at], word, *parts[at + 1 :])
        for at in reversed(range(len(parts)))
        if parts[at].lower() in IMAGES
        for word in dict.fromkeys(
            ("LABELS" if parts[at].isupper() else "Labels" if parts[at][0].isupper() else "labels", "labels")
        )
    ]


def strays(found: MatchedLabels, elsewhere: Mapping[str, object]) -> list[Problem]:
    """Label files without a photograph. `elsewhere` holds the folded stems of photographs that are not of this set."""
    said: list[Problem] = []
    for folder, names in sorted(found.unused().items()):
        beside = "labels" not in (part.lower() for part in folder.parts)
        left = [
            name
            for name in names
            if not (NO_LABELS.fullmatch(name) and not looks_like_labels(folder / name, empty=False))
            and not {folded(name[:-4]), stem_of(folded(name[:-4]))} & elsewhere.keys()
            and not (beside and not looks_like_labels(folder / name))
        ]
        said += [Problem.in_file(folder / n, "no photograph belongs to these labels.") for n in left[:MOST_SAID]]
        if len(left) > MOST_SAID:
            more = some(len(left) - MOST_SAID, "more label file")
            said.append(Problem.in_file(folder, f"{more} have no photograph."))
    return said


def looks_like_labels(file: Path, *, empty: bool = True) -> bool:
    """Whether a text file holds numbers as a label file does; `empty` is the answer for a file of nothing."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            words = stream.read(400).split(b"\n")[0].split()
    except OSError:
        return False
    try:
        return empty if not words else len(words) >= 5 and len([float(word) for word in words[:5]]) == 5
    except ValueError:
        return False
