"""A gallery of a data set: pages of marked pictures that a browser opens from the disk, without a server.

Labels are read once for the choice, which holds a fixed number of objects, however large the data set is; then the
chosen photographs are opened, each once.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from toeline.analysis.analyze import Crew
from toeline.analysis.gallery_pictures import ClassStyle, crop_picture, looks, problem_picture, whole_picture
from toeline.analysis.table import Flag, Weight, below
from toeline.core.box import Box
from toeline.core.finding import Problem, Step
from toeline.core.records import read_lines, told_record
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Names, Taxonomy
from toeline.data.export import require_apart, staged
from toeline.data.images import photo_size, read_photo
from toeline.data.labels import LabelLine
from toeline.data.yolo import Entry, YoloSet, read_labels
from toeline.errors import LabelError, PhotoError
from toeline.report.document import environment
from toeline.report.draw import LINES

NOTE = "gallery.json"
OWN = frozenset({NOTE, "index.html", "pages", "pictures"})
Key = tuple[str] | tuple[str, "LabelLine | Flag"]  # a whole photograph; an object or a problem on it
Drawn = tuple[bytes, tuple[int, int]]  # JPEG and its size in pixels
Make = Callable[[Image.Image], Drawn]
MOST_TIMES, ALWAYS_BYTES = 2, 2_000_000  # of the photographs' bytes; what a gallery may have however few there are
PAGE_BYTES = 200_000  # of it, for the pages
LEAST_FOR_PROCESSES = 100  # photographs to draw from which several processes are quicker


@dataclass(frozen=True, kw_only=True)
class GalleryRun:
    """Settings: how many objects of a class, photographs, and pictures of one kind of problem are shown at most."""

    per_class: int
    photographs: int
    per_problem: int
    seed: int


@dataclass(frozen=True)
class Chosen:
    """One object that is shown. `photo` is its photograph's path below the root, `labels` that of its label file."""

    photo: str
    labels: str
    line: LabelLine


@dataclass
class Choice:
    """What a gallery shows. Photographs are called by their path below the root; counts are of the whole data set."""

    data: YoloSet
    taxonomy: Taxonomy
    flags: tuple[Flag, ...]
    run: GalleryRun
    objects: dict[int, list[Chosen]] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def pictured(self) -> dict[str, tuple[Flag, ...]]:
        """The flags that get pictures, by check, in the order in which checks are first met."""
        by_check: dict[str, list[Flag]] = defaultdict(list)
        for flag in self.flags:
            by_check[flag.check].append(flag)
        lot = partial(_lot, self.run.seed)
        return {
            c: tuple(heapq.nsmallest(self.run.per_problem, fs, key=lambda f: lot(repr(f))))
            for c, fs in by_check.items()
        }

    @cached_property
    def wanted(self) -> dict[str, list[tuple[Key, Make]]]:
        """The pictures that each photograph gives; photographs in the order of the data set, each opened once."""
        look, found = looks(self.data.names, self.taxonomy), defaultdict[str, list[tuple[Key, Make]]](list)
        for name in self.photos:
            found[name].append(((name,), partial(_whole, entry=self.entries[name], names=self.data.names, look=look)))
        for c in (c for its in self.objects.values() for c in its):
            found[c.photo].append(((c.photo, c.line), partial(crop_picture, line=c.line, look=look[c.line.class_id])))
        for flag in (f for flags in self.pictured.values() for f in flags):
            for name, boxes in ((flag.photo, flag.boxes), (flag.other, ())):
                found[name].append(((name, flag), partial(problem_picture, boxes=boxes)))
        found.pop("", None)
        rank = {name: i for i, name in enumerate(self.entries)}
        return {name: found[name] for name in sorted(found, key=lambda n: rank.get(n, len(rank)))}


def _lot(seed: int, what: str) -> bytes:
    """What decides whether an object is shown: the same in every run, whatever else the data set holds."""
    return hashlib.blake2b(f"{seed} {what}".encode(), digest_size=8).digest()


def choose(
    data: YoloSet,
    taxonomy: Taxonomy,
    flags: Sequence[Flag],
    run: GalleryRun,
    *,
    step: Step = lambda _: None,
) -> Choice:
    """Read every label, and choose at random what is shown. `step` is called after each photograph."""
    choice = Choice(data, taxonomy, tuple(flags), run, problems=list(data.problems))
    held: dict[int, list[tuple[bytes, int, Chosen]]] = {i: [] for i in data.names}
    for entry in (entry for entries in data.splits.values() for entry in entries):
        name = below(data.root, entry.photo)
        lines, problems = _read(entry, data.names)
        choice.entries[name] = entry
        choice.problems += problems
        for line in lines:
            chosen = Chosen(name, below(data.root, entry.labels or entry.photo), line)
            lot = _lot(choice.run.seed, f"{name} {line.line}")
            _hold(held[line.class_id], choice.run.per_class, (lot, choice.counts.total(), chosen))
            choice.counts[line.class_id] += 1
        step(problems)
    most = choice.run.per_class
    choice.objects = {
        i: [c for _, _, c in sorted(heapq.nsmallest(most, its), key=itemgetter(1))] for i, its in held.items()
    }
    drawn = set(heapq.nsmallest(choice.run.photographs, choice.entries, key=partial(_lot, choice.run.seed)))
    choice.photos = [name for name in choice.entries if name in drawn]
    return choice


def _hold(held: list[tuple[bytes, int, Chosen]], most: int, one: tuple[bytes, int, Chosen]) -> None:
    """Keep the lowest lots: never many more than are shown, so that memory does not grow with the data set."""
    held.append(one)
    if len(held) > 4 * most + 100:
        held[:] = heapq.nsmallest(most, held)


def _read(entry: Entry, names: Names) -> tuple[tuple[LabelLine, ...], tuple[Problem, ...]]:
    try:
        size = photo_size(entry.photo)
    except PhotoError as why:
        return (), (Problem.unread(entry.photo, why),)
    lines, problems = read_labels(entry, size, names)
    return lines or (), problems


def _whole(photo: Image.Image, entry: Entry, names: Names, look: Mapping[int, ClassStyle]) -> Drawn:
    """Labels are read again when they are drawn, and not held for all photographs."""
    return whole_picture(photo, _read(entry, names)[0], look)


def write_gallery(
    choice: Choice, out: Path, *, crew: Crew | None = None, step: Step = lambda _: None
) -> dict[str, Any]:
    """Write pages and pictures; an earlier gallery in `out` is replaced. Returns what gallery.json holds.

    `step` is called for each photograph of `choice.wanted`. One that cannot be opened is reported and left out. Raises
    OutputError when `out` holds anything else.
    """
    said = {str(p): p for p in choice.problems}
    require_apart(out, (entry.photo.parent for entry in choice.entries.values()))
    with staged(out, NOTE, asdict(choice.run), own=OWN) as stage:
        assert stage is not None, "with names of its own to replace, a gallery is always made anew"
        (stage / "pictures").mkdir()
        pictures: dict[Key, GalleryPicture] = {}
        jobs = [(choice.data.root / name, [make for _, make in its]) for name, its in choice.wanted.items()]
        drawn = (crew or Crew()).map(_draw, jobs, in_processes=len(jobs) >= LEAST_FOR_PROCESSES)
        for its, (made, problems) in zip(choice.wanted.values(), drawn, strict=True):
            for (key, _), (raw, size) in zip(its, made, strict=not problems):
                place = f"pictures/{len(pictures) + 1:06d}.jpg"
                (stage / place).write_bytes(raw)
                pictures[key] = GalleryPicture(place, size)
            step([p for p in problems if str(p) not in said])
            said |= {str(p): p for p in problems}
        pictures = _fitting(pictures, stage, choice)
        for place, text in render_pages(choice, pictures):
            (stage / place).parent.mkdir(exist_ok=True)
            write_whole(stage / place, text)
        record = {"settings": asdict(choice.run), **describe(choice, pictures, list(said.values()))}
        write_whole(stage / NOTE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _fitting(pictures: dict[Key, GalleryPicture], stage: Path, choice: Choice) -> dict[Key, GalleryPicture]:
    """The pictures that together have at most MOST_TIMES the bytes of the photographs; the others go, at random.

    Half of the room is for objects and problems first, then comes what there is of photographs, then the rest.
    """
    photos = (entry.photo for entry in choice.entries.values())
    room = max(MOST_TIMES * sum(p.stat().st_size for p in photos if p.is_file()), ALWAYS_BYTES) - PAGE_BYTES
    order = sorted(pictures, key=lambda key: _lot(choice.run.seed, repr(key)))
    parts, wholes = [key for key in order if len(key) > 1], [key for key in order if len(key) == 1]
    kept, used = set[Key](), 0
    for keys, most in ((parts, room / 2), (wholes, room), (parts, room)):
        for key in keys:
            size = (stage / pictures[key].place).stat().st_size
            if key not in kept and used + size <= most:
                kept.add(key)
                used += size
    for key in pictures.keys() - kept:
        (stage / pictures[key].place).unlink()
    return {key: picture for key, picture in pictures.items() if key in kept}


def _draw(job: tuple[Path, Sequence[Make]]) -> tuple[list[Drawn], tuple[Problem, ...]]:
    """Every picture of one photograph, or none and why."""
    path, makes = job
    try:
        photo = read_photo(path)
    except PhotoError as why:
        return [], (Problem.unread(path, why),)
    return [make(photo) for make in makes], ()


def describe(choice: Choice, pictures: Mapping[Key, GalleryPicture], problems: Sequence[Problem]) -> dict[str, Any]:
    """How much there is, how much of it is shown, and what could not be read."""
    checks = Counter(f.check for f in choice.flags)
    objects = {i: sum((c.photo, c.line) in pictures for c in its) for i, its in choice.objects.items()}
    flags = {c: sum((f.photo, f) in pictures for f in its) for c, its in choice.pictured.items()}
    return {
        "photographs": {"all": len(choice.entries), "shown": sum((name,) in pictures for name in choice.photos)},
        "classes": [
            {"id": i, "class": name, "all": choice.counts[i], "shown": objects[i]}
            for i, name in sorted(choice.data.names.items())
        ],
        "checks": [{"check": c, "all": n, "shown": flags[c]} for c, n in checks.items()],
        **told_record(problems),
    }


def read_flags(path: Path) -> tuple[Flag, ...]:
    """Flags that an analysis found: its folder, its analysis.json, or its problems.jsonl. Raises LabelError."""
    folder = path if path.is_dir() else path.parent
    file = path if path.suffix == ".jsonl" else folder / "problems.jsonl"
    if not file.is_file():
        raise LabelError(f"{file}: there is no such file. Give --flags the folder of an analysis.")
    try:
        return tuple(_flag(record) for record in read_lines(file))
    except (KeyError, TypeError, ValueError) as why:
        raise LabelError(f"{file}: {why} is missing or of the wrong form. Run `toeline analyze` again.") from None


def _flag(record: dict[str, Any]) -> Flag:
    boxes = tuple(Box(*box) for box in record["boxes"])
    return Flag(**{**record, "weight": Weight(record["weight"]), "boxes": boxes})


STYLE = "pages/gallery.css"  # shared by all pages
MOST_ROWS = 1000  # problems that a page lists in words; the rest stands in problems.jsonl


@dataclass(frozen=True)
class GalleryPicture:
    """A file below the gallery's folder and its size in pixels."""

    place: str
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class GalleryCard:
    """Pictures and what is said of them; `href` is where a click leads, from pages/."""

    pictures: tuple[GalleryPicture, ...]
    title: str
    rows: tuple[str, ...] = ()
    href: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Page:
    """One page. `kind` is "class", "photographs" or "problem"; `said` says how much of what is shown."""

    name: str
    kind: str
    title: str
    said: str
    cards: tuple[GalleryCard, ...]
    slug: str = ""
    all: int = 0
    rows: tuple[Flag, ...] = ()

    @property
    def place(self) -> str:
        """The file below the gallery's folder."""
        return f"pages/{self.name}.html"


def render_pages(choice: Choice, pictures: Mapping[Any, GalleryPicture]) -> Iterator[tuple[str, str]]:
    """Place and text of every page, the index first."""
    look = looks(choice.data.names, choice.taxonomy)
    pages = [
        *_class_pages(choice, pictures, look),
        _photo_page(choice, pictures, look),
        *_problem_pages(choice, pictures),
    ]
    template = environment("toeline.analysis").get_template("gallery.html.j2")
    shared = {
        "pages": pages,
        "looks": [{"slug": f"k{i}", "color": one.color, "line": LINES[one.style]} for i, one in look.items()],
        "title": f"Gallery of {choice.data.root.resolve().name}",
        "tiles": _tiles(choice),
        "problems": choice.problems,
        "seed": choice.run.seed,
        "most": MOST_ROWS,
    }
    yield "index.html", template.render(**shared, page=None, top="", before=None, after=pages[0])
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        yield page.place, template.render(**shared, page=page, top="../", before=before, after=after)
    yield STYLE, environment("toeline.analysis").get_template("gallery.css").render()


def _tiles(choice: Choice) -> list[tuple[str, str]]:
    objects, found = choice.counts.total(), len(choice.flags)
    return [
        (f"{len(choice.entries):,}", "photographs"),
        (f"{objects:,}", "objects"),
        (f"{sum(n > 0 for n in choice.counts.values())}", "classes"),
        *([(f"{found:,}", "to look at")] if found else []),
    ]


def _class_pages(
    choice: Choice, pictures: Mapping[Any, GalleryPicture], look: Mapping[int, ClassStyle]
) -> Iterator[Page]:
    for i, chosen in choice.objects.items():
        cards = tuple(
            GalleryCard((picture,), *_title_and_folder(c.labels, c.line.line), _photo_link(c.photo, pictures))
            for c in chosen
            if (picture := pictures.get((c.photo, c.line)))
        )
        said = _said(len(cards), choice.counts[i], "object")
        yield Page(f"class-{i}", "class", look[i].name, said, cards, f"k{i}", choice.counts[i])


def _title_and_folder(file: str, line: int) -> tuple[str, tuple[str, ...]]:
    folder, _, name = file.rpartition("/")
    return f"{name}, line {line}", (folder,)


def _photo_page(choice: Choice, pictures: Mapping[Any, GalleryPicture], look: Mapping[int, ClassStyle]) -> Page:
    cards = tuple(
        GalleryCard((picture,), name, href=f"../{quote(picture.place)}", anchor=_anchor(picture))
        for name in choice.photos
        if (picture := pictures.get((name,)))
    )
    said = _said(len(cards), len(choice.entries), "photograph")
    return Page("photographs", "photographs", "Whole photographs", said, cards, "", len(choice.entries))


def _problem_pages(choice: Choice, pictures: Mapping[Any, GalleryPicture]) -> Iterator[Page]:
    counts = Counter(f.check for f in choice.flags)
    for number, (check, flags) in enumerate(choice.pictured.items(), start=1):
        cards, bare = [], []
        for flag in flags:
            shown = tuple(p for name in (flag.photo, flag.other) if (p := pictures.get((name, flag))))
            if shown:
                cards.append(_problem_card(flag, shown, pictures))
            else:
                bare.append(flag)
        rest = [f for f in choice.flags if f.check == check and f not in set(flags)]
        said = _said(len(cards), counts[check], "case")
        yield Page(
            f"problem-{number}", "problem", check, said, tuple(cards), flags[0].weight, counts[check], (*bare, *rest)
        )


def _problem_card(flag: Flag, shown: tuple[GalleryPicture, ...], pictures: Mapping[Any, GalleryPicture]) -> GalleryCard:
    place = f"{flag.file}, line {flag.line}" if flag.line else flag.file
    return GalleryCard(shown, place, (flag.what, flag.todo), _photo_link(flag.photo, pictures))


def _photo_link(photo: str, pictures: Mapping[Any, GalleryPicture]) -> str:
    """To the photograph with all its labels, where that is shown."""
    picture = pictures.get((photo,))
    return f"photographs.html#{_anchor(picture)}" if picture else ""


def _anchor(picture: GalleryPicture) -> str:
    return f"p{picture.place[-10:-4]}"


def _said(shown: int, everything: int, what: str) -> str:
    """How many are shown of how many.

    >>> _said(60, 282, "object"), _said(1, 1, "object")
    ('60 of 282 objects, chosen at random', '1 object')
    """
    noun = f"{what}{'' if everything == 1 else 's'}"
    return f"{everything:,} {noun}" if shown == everything else f"{shown:,} of {everything:,} {noun}, chosen at random"
