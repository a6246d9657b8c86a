"""COCO data sets, read and written: which files hold them, whose photographs they mean, their categories and boxes.

A file that contradicts itself in whose the annotations are is refused; what is left out, changed or assumed is told.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Problem, Step, grave, kinds_of
from toeline.core.reading import read_json
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Names
from toeline.core.words import cut
from toeline.data.coco_photos import MOST_NAME, FoundPhoto, find_photo, photos_by_name, spellings
from toeline.data.coco_shapes import area, as_number, read_shape
from toeline.data.datasets import UNKNOWN, Carry, LabeledPhoto, LabelSet, carry, folder_of, placed
from toeline.data.foreign import other_formats
from toeline.data.images import files_under, photo_size
from toeline.data.labels import MOST_OBJECTS, LabelLine, over
from toeline.data.matching import folded
from toeline.data.places import ALL, SPLITS
from toeline.data.yolo import Entry, in_two_splits, left_out
from toeline.errors import LabelError, PhotoError

SAME_SHAPE = 0.01  # relative: how far the sides' ratio may be off before a size in the file is that of another picture
MOST_BYTES = 512 << 20  # of an annotation file; COCO's own largest has 448 MB
LISTS = ("images", "annotations", "categories")
KIN = ("captions", "person_keypoints", "stuff", "panoptic")  # files that stand beside COCO's instances*.json
NAMES = re.compile("coco|^instances|annotations", re.IGNORECASE)  # a file of such a name is meant to be COCO
AGAIN = "Export the annotations again."

MOST_MOVED = 30  # class ids that are told one by one; convert.json has all

Id = int | str


@dataclass(frozen=True)
class CocoFile:
    """One annotation file and the split that its place or its name says it is of.

    `problems` are other files beside it that look like annotations and are not read.
    """

    path: Path
    split: str
    raw: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether `convert` wrote it, as it says itself."""
        info = self.raw.get("info")
        return isinstance(info, Mapping) and info.get("contributor") == OURS


def open_coco(root: Path) -> tuple[CocoFile, ...]:
    """The annotation files in `root` (a folder, or one such file). Raises LabelError when there is none."""
    paths = [root] if root.is_file() else sorted(p for p, _, _ in files_under(root, []) if p.suffix.lower() == ".json")
    files: list[CocoFile] = []
    unread: list[Problem] = []
    for path in paths:
        try:
            raw = _load(path, must=path == root)
        except LabelError as why:
            if path == root or NAMES.search(path.name):
                raise
            unread.append(Problem.in_file(path, f"is not read: {str(why).removeprefix(f'{path}: ')}"))
            continue
        files += [CocoFile(path, _split(path, root), raw)] if raw is not None else []
    if not files:
        others = other_formats(root) or " ".join(map(str, unread[:1]))
        raise LabelError(
            f"{root}: no COCO annotations here (a JSON file with images, annotations and categories)."
            f"{f' {others}' if others else ''}"
        )
    instances = {f.path.parent for f in files if f.path.name.startswith("instances")}
    kept = [f for f in files if f.path.parent not in instances or f.path.name.startswith("instances")]
    beside = [_passed(f.path) for f in files if f not in kept]
    return (replace(kept[0], problems=(*unread, *beside)), *kept[1:])


def _passed(path: Path) -> Problem:
    note = path.name.startswith(KIN)
    return Problem.in_file(path, "is not read, because instances*.json stands beside it.", note=note)


def _load(path: Path, *, must: bool) -> Mapping[str, Any] | None:
    """A file's content, or None when it is of another kind. Raises LabelError for one that seems to be COCO and is not.

    With `must` every file has to be COCO.
    """
    try:
        raw = read_json(path, LabelError, advice=AGAIN, most=MOST_BYTES)
    except LabelError:
        if must or NAMES.search(path.name) or _names_lists(path):
            raise
        return None
    there = [key for key in LISTS if isinstance(raw, dict) and isinstance(raw.get(key), list)]
    if len(there) == len(LISTS):
        return raw if isinstance(raw, dict) else None
    almost = len(there) > 1 or (isinstance(raw, dict) and "images" in raw and NAMES.search(path.name))
    if must or (almost and not path.name.startswith(KIN)):
        others = other_formats(path)
        raise LabelError(f"{path}: lacks one of the lists {', '.join(LISTS)}, so it is no COCO file. {others or AGAIN}")
    return None


def _names_lists(path: Path) -> bool:
    """Whether a file that cannot be parsed begins as annotations do."""
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
    except OSError:
        return False
    return any(f'"{key}"'.encode() in head for key in LISTS)


def _split(path: Path, root: Path) -> str:
    """From the folders below the root and from the file's name: "train2017" and "instances_val" say it too."""
    below = [path.stem] if path == root else [*reversed(path.relative_to(root).parts[:-1]), path.stem]
    words = [word for name in below for word in re.findall("[a-z]+", name.lower())]
    return next((SPLITS[word] for word in words if word in SPLITS), ALL)


def read_coco(files: Sequence[CocoFile], root: Path, *, step: Step = lambda _: None) -> LabelSet:
    """Photographs with their labels, class ids from 0 without holes, and everything that YOLO labels cannot hold.

    Raises LabelError for files that contradict themselves, and where no photograph is there.
    """
    base = root.parent if root.is_file() else root
    names, ids, notes = class_ids(files)
    problems = [problem for file in files for problem in file.problems]
    index = photos_by_name(base, problems)
    splits: dict[str, list[LabeledPhoto]] = defaultdict(list)
    for content, of_category in zip([_content(file) for file in files], ids, strict=True):
        problems += content.problems
        for photo, said in _read_file(content, of_category, base, index):
            splits[content.file.split] += [photo] if photo else []
            problems += said
            step(grave(said))
    order = list(dict.fromkeys([*SPLITS.values(), *splits]))
    named = {split: tuple(_named(split, its, problems)) for split in order if (its := splits.get(split))}
    if not named:
        raise LabelError(f"{root}: none of the photographs that the annotations name is there. {_first(problems)}")
    problems += in_two_splits({split: {str(p.photo) for p in photos} for split, photos in named.items()})
    problems += _unlisted(files, base, index, {p.photo for photos in splits.values() for p in photos})
    notes += [str(kind) for kind in kinds_of(p for p in problems if p.note)]
    return LabelSet(base, names, named, tuple(grave(problems)), tuple(notes))


def _unlisted(
    files: Sequence[CocoFile], base: Path, index: Mapping[str, Sequence[Path]], taken: Collection[Path]
) -> list[Problem]:
    """Notes of photographs that no file lists; those that one lists and that could not be read are told already."""
    said = [image.get("file_name") for file in files for image in file.raw["images"] if isinstance(image, Mapping)]
    listed = {folded(path.name) for name in said if isinstance(name, str) for path in spellings(name[:MOST_NAME])}
    lost: dict[Path, list[str]] = defaultdict(list)
    for path in (p for name, paths in index.items() if name not in listed for p in paths if p not in taken):
        lost[path.parent].append(path.name)
    return left_out(base, sorted(lost.items()), "not listed in the annotations")


def _first(problems: Sequence[Problem]) -> str:
    return f"The first: {problems[0]}" if problems else "The annotations name none."


def as_id(value: object) -> Id | None:
    """An id, the same whether it is written as a number or as its text; None for what is no id.

    >>> as_id(7), as_id("7"), as_id(7.0), as_id("a7"), as_id(None), as_id(True), as_id([7])
    (7, 7, 7, 'a7', None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else text or None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def class_ids(files: Sequence[CocoFile]) -> tuple[Names, list[dict[Id, int]], list[str]]:
    """Class names by YOLO id, the YOLO id of each category id for each file, and what was renumbered, in words.

    Files of one data set may number their categories differently; there the name decides.
    """
    found = [_categories(file) for file in files]
    if (own := _own_names(files, found)) is not None:
        return own, [{i: i for i in own}] * len(files), []
    listed: dict[str, Id] = {}
    ids: list[dict[Id, int]] = []
    notes: list[str] = []
    for file, (kept, placeholder) in zip(files, found, strict=True):
        for number, name in kept:
            listed.setdefault(name, number)
        order = {name: at for at, name in enumerate(listed)}
        ids.append({number: order[name] for number, name in kept})
        notes += [f"{file.path}: category {placeholder!r} holds nothing and is left out."] if placeholder else []
        twice = [name for name, count in Counter(name for _, name in kept).items() if count > 1]
        notes += [f"{file.path}: category {cut(name)!r} has several ids; all are one class." for name in twice]
    moved = [f"{number} {name!r} is class {at}" for at, (name, number) in enumerate(listed.items()) if number != at]
    more = f" and {len(moved) - MOST_MOVED} more" if len(moved) > MOST_MOVED else ""
    notes += [f"category ids were numbered anew from 0: {', '.join(moved[:MOST_MOVED])}{more}."] if moved else []
    return dict(enumerate(listed)), ids, notes


def _own_names(files: Sequence[CocoFile], found: Sequence[tuple[Sequence[tuple[Id, str]], str]]) -> Names | None:
    """The names by class id where every file is ours and all agree, whatever holes the ids have; else None."""
    names = [dict(kept) for kept, _ in found]
    plain = all(isinstance(i, int) and i >= 0 for i in names[0]) and len({*names[0].values()}) == len(names[0])
    same = all(one == names[0] and len(kept) == len(one) for one, (kept, _) in zip(names, found, strict=True))
    if not (plain and same and all(file.ours for file in files)):
        return None
    return {int(i): name for i, name in sorted(names[0].items())}


def _categories(file: CocoFile) -> tuple[list[tuple[Id, str]], str]:
    """Ids and names in the order of the ids, without the group that Roboflow lists as a category of its own.

    Raises LabelError for a category without id or name, and for an id that has two names.
    """
    above: dict[Id, tuple[str, str]] = {}
    for c in file.raw["categories"]:
        number, name = (as_id(c.get("id")), c.get("name")) if isinstance(c, Mapping) else (None, None)
        if number is None or isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise LabelError(f"{file.path}: a category lacks its id or name ({cut(repr(c))}). {AGAIN}")
        before, _ = above.setdefault(number, (str(name), str(c.get("supercategory"))))
        if before != str(name):
            raise LabelError(
                f"{file.path}: category id {cut(str(number))} has the names {cut(before)!r} and {cut(str(name))!r}, so "
                f"nobody knows which its annotations mean. Give one of them another id, and its annotations with it."
            )
    if file.ours:
        return [(i, n) for i, (n, _) in sorted(above.items(), key=_order)], ""
    used = {as_id(a.get("category_id")) for a in file.raw["annotations"] if isinstance(a, dict)}
    groups = {group for _, group in above.values()}
    empty = [i for i, (n, g) in above.items() if n in groups and g in ("none", "None", "") and i not in used]
    group = above.pop(empty[0])[0] if len(empty) == 1 and len(above) > 1 else ""
    return [(i, n) for i, (n, _) in sorted(above.items(), key=_order)], group


def _order(one: tuple[Id, object]) -> tuple[bool, Id]:
    """Numbers before texts."""
    return isinstance(one[0], str), one[0]


@dataclass(frozen=True)
class _Content:
    """A file's images by id, and their annotations; every id is checked. `problems` are of what belongs to none."""

    file: CocoFile
    images: Mapping[Id, Mapping[str, Any]]
    annotations: Mapping[Id, Sequence[Mapping[str, Any]]]
    problems: list[Problem] = field(default_factory=list)


def _content(file: CocoFile) -> _Content:
    """Raises LabelError for a file of which nobody can tell whose its annotations are."""
    problems: list[Problem] = []
    images = _images(file, problems)
    annotations: dict[Id, list[Mapping[str, Any]]] = defaultdict(list)
    for a in _once(file, problems):
        number = as_id(a.get("image_id"))
        if number in images:
            annotations[number].append(a)
            continue
        if number is not None and images and type(number) not in {type(i) for i in images}:
            raise LabelError(
                f"{file.path}: image ids are such as {cut(repr(next(iter(images))))}, and the image_id of annotation "
                f"{cut(repr(a.get('id')))} is {cut(repr(a['image_id']))}, so nobody knows whose it is. {AGAIN}"
            )
        problems.append(_at(file, a, f"its image {cut(repr(a.get('image_id')))} is not in the file; left out."))
    _require_pixels(file)
    return _Content(file, images, annotations, [*problems, *_mixed(file)])


def _images(file: CocoFile, problems: list[Problem]) -> dict[Id, Mapping[str, Any]]:
    """Image records by id. Raises LabelError for an id that two photographs have."""
    found: dict[Id, Mapping[str, Any]] = {}
    for image in file.raw["images"]:
        number = as_id(image.get("id")) if isinstance(image, Mapping) else None
        if number is None:
            what = f"image {cut(repr(image))} has no id; left out, with its annotations."
            problems.append(Problem.in_file(file.path, what))
            continue
        before = found.setdefault(number, image)
        if before is image:
            continue
        one, two = ([as_number(i.get(k)) or cut(repr(i.get(k))) for k in ("width", "height")] for i in (before, image))
        if before.get("file_name") != image.get("file_name") or one != two:
            raise LabelError(
                f"{file.path}: image id {number!r} stands there twice, for {_called(before)} and for {_called(image)}, "
                f"so nobody knows whose its annotations are. Export both again, or give one another id, and its "
                f"annotations with it."
            )
        problems.append(Problem.in_file(file.path, f"image {number!r} stands there twice; read once.", note=True))
    return found


def _called(image: Mapping[str, Any]) -> str:
    size = " x ".join(cut(str(image.get(key)), 20) for key in ("width", "height"))
    return f"{cut(repr(image.get('file_name')))} ({size})"


def _once(file: CocoFile, problems: list[Problem]) -> Iterator[Mapping[str, Any]]:
    """Annotations, one that stands there twice once."""
    known: dict[Id, Mapping[str, Any]] = {}
    for a in file.raw["annotations"]:
        if not isinstance(a, Mapping):
            problems.append(Problem.in_file(file.path, f"annotation {cut(repr(a))} is no mapping; left out."))
            continue
        number = as_id(a.get("id"))
        before = known.setdefault(number, a) if number is not None else a
        if before is not a:
            same = before == a
            what = "stands there twice; read once." if same else "is the id of several objects; all are read."
            problems.append(_at(file, a, what, note=True))
            if same:
                continue
        yield a


def _mixed(file: CocoFile) -> list[Problem]:
    """A note where ids are numbers here and text there, which are equal."""
    pairs = (("images", "id", "image_id"), ("categories", "id", "category_id"))
    said = []
    for own, key, other in pairs:
        kinds = {isinstance(r.get(key), str) for r in file.raw[own] if isinstance(r, Mapping)}
        kinds |= {isinstance(a.get(other), str) for a in file.raw["annotations"] if isinstance(a, Mapping)}
        what = f"ids of {own} are numbers here and text there; both are read as numbers."
        said += [Problem.in_file(file.path, what, note=True)] if len(kinds) > 1 else []
    return said


def _require_pixels(file: CocoFile) -> None:
    """Raise LabelError where every box, or every polygon, is a share of the photograph."""
    places = [a.get("bbox") or a.get("segmentation") for a in file.raw["annotations"] if isinstance(a, Mapping)]
    if file.ours or not places or not all(map(_is_share, places)):
        return
    raise LabelError(f"{file.path}: every place lies between 0 and 1: shares of a photograph, not pixels. {AGAIN}")


def _is_share(place: object) -> bool:
    values = place[0] if isinstance(place, list) and place and isinstance(place[0], list) else place
    numbers = [as_number(v) for v in values] if isinstance(values, list) else []
    return len(numbers) > 3 and all(v is not None and 0 <= v <= 1 for v in numbers) and any(numbers[2:])


def _whose(content: _Content, base: Path, index: Mapping[str, list[Path]]) -> dict[Id, FoundPhoto]:
    """The photograph of each image record. One that two names could mean belongs to the nearer name, or to none."""
    found: dict[Id, FoundPhoto] = {}
    claims: dict[Path, dict[str, int]] = defaultdict(dict)
    beside, split = content.file.path.parent, content.file.split
    for number, image in content.images.items():
        name = image.get("file_name")
        one = find_photo(name, beside, split, base, index) if isinstance(name, str) else FoundPhoto()
        found[number] = one
        if len(one.paths) == 1:
            claims[one.paths[0]][str(name)] = one.off
    owners = {path: _owners(offs) for path, offs in claims.items()}
    for number, one in found.items():
        if len(one.paths) == 1 and content.images[number]["file_name"] not in owners[one.paths[0]]:
            found[number] = FoundPhoto()
    return found


def _owners(offs: Mapping[str, int]) -> set[str]:
    """Of the names that could mean one photograph, those that do: the nearest, if it is one, or paths as they stand."""
    least = min(offs.values())
    nearest = {name for name, off in offs.items() if off == least}
    return nearest if least == 0 or len(nearest) == 1 else set()


def _read_file(
    content: _Content, ids: Mapping[Id, int], base: Path, index: Mapping[str, list[Path]]
) -> Iterator[tuple[LabeledPhoto | None, list[Problem]]]:
    """One photograph after the other."""
    whose = _whose(content, base, index)
    for number, image in content.images.items():
        mine = content.annotations.get(number, ())
        yield _read_image(content.file, image, mine, ids, whose[number])


def _at(file: CocoFile, a: Mapping[str, Any], what: str, photo: str = "", *, note: bool = False) -> Problem:
    which = f"annotation {cut(repr(a.get('id')))}"
    if note:  # those that say the same are told together, with the places of the first
        return Problem("", f"{file.path}, {which}", what, note=True)
    return Problem.in_file(file.path, f"{which}: {what}{f' ({photo!r})' if photo else ''}")


def _read_image(
    file: CocoFile,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    ids: Mapping[Id, int],
    found: FoundPhoto,
) -> tuple[LabeledPhoto | None, list[Problem]]:
    """A photograph with the labels that it can have; None when it is not there or of another shape."""
    lost = f"left out, with its {len(annotations)} annotations."
    if len(found.paths) != 1:
        name, places = cut(repr(image.get("file_name"))), " and ".join(map(str, found.paths[:3]))
        what = f"image {cut(repr(image.get('id')))} {name} is not here, or not once{places and f' ({places})'}; {lost}"
        return None, [Problem.in_file(file.path, what)]
    photo = found.paths[0]
    try:
        size = _size(image, photo)
    except (PhotoError, ValueError) as why:
        return None, [Problem.in_file(photo, f"{str(why).removeprefix(f'{photo}: ')} It is {lost}")]
    if many := over(MOST_OBJECTS, len(annotations), "annotations"):
        what = f"has {many}; it is marked as not labeled. Annotate its parts as photographs of their own."
        return LabeledPhoto(photo, photo.name, size, None), [Problem.in_file(photo, what)]
    if image.get("labelled") is False:
        unknown = Problem.in_file(photo, "is marked as not labeled; it gets no label file.")
        return LabeledPhoto(photo, photo.name, size, None), [unknown]
    lines, said = _lines(file, annotations, ids, size, photo.name)
    if annotations and not lines:
        unknown = Problem.in_file(photo, UNKNOWN.format("marked as not labeled"))
        return LabeledPhoto(photo, photo.name, size, None), [*said, unknown]
    return LabeledPhoto(photo, photo.name, size, tuple(lines)), said


def _lines(
    file: CocoFile, annotations: Sequence[Mapping[str, Any]], ids: Mapping[Id, int], size: tuple[int, int], name: str
) -> tuple[list[LabelLine], list[Problem]]:
    """The usable annotations of one photograph, of equal ones the first, and what is to be said of them."""
    lines: dict[object, LabelLine] = {}
    said: list[Problem] = []
    for number, a in enumerate(annotations, start=1):
        known = as_id(a.get("category_id"))
        category = None if known is None else ids.get(known)
        if category is None:
            what = f"its category {cut(repr(a.get('category_id')))} is not in the file; left out."
            said.append(_at(file, a, what, name))
            continue
        if not file.ours and _is_share(a.get("bbox") or a.get("segmentation")):
            said.append(_at(file, a, "its place lies between 0 and 1: shares of the photograph? Left out.", name))
            continue
        if a.get("ignore") is True or as_number(a.get("ignore")) == 1:
            said.append(
                _at(file, a, "is marked to be ignored (ignore 1), which label lines cannot say; left out.", name)
            )
            continue
        shape, remarks = read_shape(a, size)
        if shape is not None and a.get("keypoints"):
            said.append(_at(file, a, "key points are passed over; its box or polygon is read.", note=True))
        said += [_at(file, a, remark.text, name, note=remark.note) for remark in remarks]
        if shape is None:
            continue
        if lines.setdefault((category, shape), LabelLine(number, category, *shape)).line != number:
            said.append(_at(file, a, "is the same object as one before it; read once.", note=True))
    return list(lines.values()), said


def _size(image: Mapping[str, Any], photo: Path) -> tuple[int, int]:
    """The size that the annotations are in; a scaled copy is as good. Raises ValueError, PhotoError."""
    real = photo_size(photo)
    if image.get("width") is None and image.get("height") is None:
        return real
    wide, high = as_number(image.get("width")), as_number(image.get("height"))
    if wide is None or high is None or min(wide, high) < 1:
        said = " x ".join(cut(repr(image.get(key)), 30) for key in ("width", "height"))
        raise ValueError(f"the annotations say that it is {said} pixels.")
    if abs(wide * real[1] / (high * real[0]) - 1) > SAME_SHAPE:
        raise ValueError(
            f"the annotations are for {wide:.0f} x {high:.0f} pixels, and it is {real[0]} x {real[1]} when upright. "
            f"Export the annotations of this very file."
        )
    return int(wide), int(high)


def _named(split: str, photos: Sequence[LabeledPhoto], problems: list[Problem]) -> Iterator[LabeledPhoto]:
    """Names in the new data set; a photograph that several records name has the labels of all of them, once."""
    merged: dict[Path, LabeledPhoto] = {}
    for p in photos:
        if (before := merged.get(p.photo)) is None:
            merged[p.photo] = p
            continue
        problems.append(Problem.in_file(p.photo, "several images of the annotations are this file; put together."))
        merged[p.photo] = replace(before, lines=_together(before, p))
    places = placed(Entry(p.photo, None, split) for p in merged.values())
    yield from (replace(p, name=place.name) for p, place in zip(merged.values(), places, strict=True))


def _together(one: LabeledPhoto, two: LabeledPhoto) -> tuple[LabelLine, ...] | None:
    """The label lines of both, in the size of the first; None where neither is labeled."""
    if one.lines is None or two.lines is None:
        return one.lines if two.lines is None else two.lines
    fx, fy = (a / b for a, b in zip(one.size_wh, two.size_wh, strict=True))
    more = two.lines if fx == fy == 1 else [_scaled(line, fx, fy) for line in two.lines]
    return tuple({(line.class_id, line.box, line.polygon): line for line in (*one.lines, *more)}.values())


def _scaled(line: LabelLine, fx: float, fy: float) -> LabelLine:
    x1, y1, x2, y2 = line.box.xyxy
    polygon = tuple((x * fx, y * fy) for x, y in line.polygon)
    return replace(line, box=Box(x1 * fx, y1 * fy, x2 * fx, y2 * fy), polygon=polygon)


ANNOTATIONS = "_annotations.coco.json"
OURS = "toeline"  # info.contributor; class ids of such a file are YOLO's, whatever holes they have


def write_coco(
    data: LabelSet, folder: Path, how: Carry, *, step: Callable[[Sequence[Problem]], None] = lambda _: None
) -> None:
    """Photographs and annotations into `folder`."""
    for split, photos in data.splits.items():
        place = folder / folder_of(split)
        for photo in photos:
            carry(photo.photo, place / photo.name, how)
            step([])
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(coco_record(photos, data.names), ensure_ascii=False, allow_nan=False)
        write_whole(place / ANNOTATIONS, text + "\n")


DATA, LABELS = "data", "labels.json"  # FiftyOne's COCODetectionDataset: photographs, annotations
Extra = Mapping[str, Any]  # of one object: `score`, and `attributes`, which FiftyOne and CVAT read


def write_fiftyone(
    data: LabelSet, folder: Path, how: Carry, more: Sequence[Extra], *, step: Step = lambda _: None
) -> None:
    """Each split as a COCODetectionDataset of FiftyOne. `more` has one for each object, or none at all."""
    given = iter(more)
    for split, photos in data.splits.items():
        place = folder / folder_of(split)
        for photo in photos:
            carry(photo.photo, place / DATA / photo.name, how)
            step([])
        record = coco_record(photos, data.names)
        record["annotations"] = [{**a, **next(given, {})} for a in record["annotations"]]
        write_whole(place / LABELS, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def coco_record(photos: Sequence[LabeledPhoto], names: Names) -> dict[str, Any]:
    """One split as a COCO file holds it. Category ids are the class ids; ids of annotations begin at 1, because
    pycocotools takes 0 for "no match"."""
    annotations = [
        annotation(line, image_id) for image_id, photo in enumerate(photos, start=1) for line in photo.lines or ()
    ]
    return {
        "info": {"description": "class ids are those of the YOLO data set", "contributor": OURS},
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": "none"} for i, name in sorted(names.items())],
        "images": [_image(i, photo) for i, photo in enumerate(photos, start=1)],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, start=1)],
    }


def _image(image_id: int, photo: LabeledPhoto) -> dict[str, Any]:
    """`labelled: false` is ours: COCO cannot tell a photograph without objects from one that nobody looked at."""
    wide, high = photo.size_wh
    record = {"id": image_id, "file_name": photo.name, "width": wide, "height": high}
    return record if photo.lines is not None else {**record, "labelled": False}


def annotation(line: LabelLine, image_id: int) -> Mapping[str, Any]:
    """A box line has no `segmentation`, so that it is a box line again on the way back; pixels, x y width height."""
    box = line.box
    record = {
        "image_id": image_id,
        "category_id": line.class_id,
        "bbox": [box.x1, box.y1, box.width, box.height],
        "area": area(line.polygon) if line.polygon else box.area,
        "iscrowd": 0,
    }
    if line.polygon:
        record["segmentation"] = [[v for point in line.polygon for v in point]]
    return record
