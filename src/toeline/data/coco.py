"""COCO data sets, read and written: which files hold them, whose photographs they mean, their categories and boxes."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Problem, Step
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Names
from toeline.data.datasets import ALL, Carry, LabeledPhoto, LabelSet, carry, folder_of, placed
from toeline.data.images import SUFFIXES, photo_size
from toeline.data.labels import ROUNDING, LabelLine, Points, has_area
from toeline.data.yolo import SPLITS, Entry
from toeline.errors import LabelError, PhotoError

SAME_SHAPE = 0.01  # relative: how far the sides' ratio may be off before a size in the file is that of another picture


@dataclass(frozen=True)
class CocoFile:
    """One annotation file and the split that its place or its name says it is of."""

    path: Path
    split: str
    raw: Mapping[str, Any]


def open_coco(root: Path) -> tuple[CocoFile, ...]:
    """The annotation files in `root` (a folder, or one such file). Raises LabelError when there is none."""
    paths = [root] if root.is_file() else sorted(p for p in root.rglob("*.json") if not p.name.startswith(".c"))
    files = [CocoFile(p, _split(p, root), raw) for p in paths if (raw := _load(p, must=p == root)) is not None]
    if not files:
        raise LabelError(f"{root}: no COCO annotations here (a JSON file with images, annotations and categories).")
    instances = {f.path.parent for f in files if f.path.name.startswith("instances")}
    return tuple(f for f in files if f.path.parent not in instances or f.path.name.startswith("instances"))


def _load(path: Path, *, must: bool) -> Mapping[str, Any] | None:
    """A file's content, or None when it is no COCO file. Raises LabelError for one that must be and is not."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = json.loads(text)
    except (OSError, ValueError) as why:
        if must or "coco" in path.name or path.name.startswith("instances"):
            raise LabelError(f"{path}: cannot be read as JSON ({why}). Export the annotations again.") from None
        return None
    keys = ("images", "annotations", "categories")
    if isinstance(raw, dict) and all(isinstance(raw.get(key), list) for key in keys):
        return raw
    if must:
        raise LabelError(f"{path}: lacks one of the lists images, annotations, categories, so it is no COCO file.")
    return None


def _split(path: Path, root: Path) -> str:
    """From the folders below the root and from the file's name: "train2017" and "instances_val" say it too."""
    below = [path.stem] if path == root else [*reversed(path.relative_to(root).parts[:-1]), path.stem]
    words = [word for name in below for word in re.findall("[a-z]+", name.lower())]
    return next((SPLITS[word] for word in words if word in SPLITS), ALL)


def read_coco(files: Sequence[CocoFile], root: Path, *, step: Step = lambda _: None) -> LabelSet:
    """Photographs with their labels, class ids from 0 without holes, and everything that YOLO labels cannot hold."""
    base = root.parent if root.is_file() else root
    names, ids, notes = class_ids(files)
    photos = _index(base)
    splits: dict[str, list[LabeledPhoto]] = defaultdict(list)
    problems: list[Problem] = []
    for file, of_category in zip(files, ids, strict=True):
        for photo, said in _read_file(file, of_category, base, photos):
            splits[file.split] += [photo] if photo else []
            problems += said
            step(said)
    order = list(dict.fromkeys([*SPLITS.values(), *splits]))
    named = {split: tuple(_named(split, its, problems)) for split in order if (its := splits.get(split))}
    if not named:
        raise LabelError(f"{root}: none of the photographs that the annotations name is there. {_first(problems)}")
    return LabelSet(base, names, named, tuple(problems), tuple(notes))


def _first(problems: Sequence[Problem]) -> str:
    return f"The first: {problems[0]}" if problems else "The annotations name none."


def class_ids(files: Sequence[CocoFile]) -> tuple[dict[int, str], list[dict[int, int]], list[str]]:
    """Class names by YOLO id, the YOLO id of each category id for each file, and what was renumbered, in words.

    Files of one data set may number their categories differently; there the name decides.
    """
    if all(f.raw.get("info", {}).get("contributor") == OURS for f in files):
        names = {int(c["id"]): str(c["name"]) for f in files for c in f.raw["categories"]}
        return names, [{i: i for i in names}] * len(files), []
    listed: list[tuple[int, str]] = []
    ids: list[dict[int, int]] = []
    notes: list[str] = []
    for file in files:
        kept, placeholder = _categories(file)
        known, mine = {name: at for at, (_, name) in enumerate(listed)}, {}
        for number, name in kept:
            at = known.get(name, len(listed))
            listed += [(number, name)] if at == len(listed) else []
            mine[number] = at
        ids.append(mine)
        notes += [f"{file.path}: category {placeholder!r} holds nothing and is left out."] if placeholder else []
    moved = [f"{number} {name!r} is class {at}" for at, (number, name) in enumerate(listed) if number != at]
    notes += [f"category ids were numbered anew from 0: {', '.join(moved)}."] if moved else []
    return {at: name for at, (_, name) in enumerate(listed)}, ids, notes


def _categories(file: CocoFile) -> tuple[list[tuple[int, str]], str]:
    """Ids and names in the order of the ids, without the group that Roboflow lists as a category of its own."""
    try:
        found = sorted((int(c["id"]), str(c["name"]), str(c.get("supercategory"))) for c in file.raw["categories"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise LabelError(f"{file.path}: a category lacks its id or name. Export the annotations again.") from None
    used = {a.get("category_id") for a in file.raw["annotations"] if isinstance(a, dict)}
    groups = {above for _, _, above in found}
    empty = [(i, n) for i, n, above in found if n in groups and above in ("none", "None", "") and i not in used]
    placeholder = empty[0] if len(empty) == 1 and len(found) > 1 else None
    return [(i, n) for i, n, _ in found if (i, n) != placeholder], placeholder[1] if placeholder else ""


def _index(base: Path) -> Mapping[str, list[Path]]:
    """Photographs below `base` by file name, for annotations that give a path which does not exist here."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in base.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found[path.name].append(path)
    return found


def _find(file: CocoFile, name: str, base: Path, photos: Mapping[str, list[Path]]) -> Path | None:
    """The photograph that an annotation file means: at the path it gives, else the one of that name nearest to it."""
    given = PurePosixPath(name.replace("\\", "/"))
    tops = [file.path.parent, file.path.parent / "images", base, base / "images"]
    if not given.is_absolute() and ".." not in given.parts:
        for top in tops:
            if (top / given).is_file():
                return top / given
    named = photos.get(given.name, [])
    close = [
        p for p in named if any(SPLITS.get(w) == file.split for part in p.parts for w in re.findall("[a-z]+", part))
    ]
    return named[0] if len(named) == 1 else close[0] if len(close) == 1 else None


def _read_file(
    file: CocoFile, ids: Mapping[int, int], base: Path, photos: Mapping[str, list[Path]]
) -> Iterator[tuple[LabeledPhoto | None, list[Problem]]]:
    """One photograph after the other, then what belongs to none."""
    of_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for a in file.raw["annotations"]:
        of_image[a.get("image_id") if isinstance(a, dict) else None].append(a if isinstance(a, dict) else {})
    for image in file.raw["images"]:
        mine = of_image.pop(image.get("id"), []) if isinstance(image, dict) else []
        yield _read_image(file, image if isinstance(image, dict) else {}, mine, ids, base, photos)
    left = [a for its in of_image.values() for a in its]
    yield None, [_at(file, a, f"its image {a.get('image_id')!r} is not in the file; left out.") for a in left]


def _at(file: CocoFile, a: Mapping[str, Any], what: str) -> Problem:
    return Problem.in_file(file.path, f"annotation {a.get('id')!r}: {what}")


def _read_image(
    file: CocoFile,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    ids: Mapping[int, int],
    base: Path,
    photos: Mapping[str, list[Path]],
) -> tuple[LabeledPhoto | None, list[Problem]]:
    """A photograph with the labels that it can have; None when it is not there or of another shape."""
    name = str(image.get("file_name", ""))
    photo = _find(file, name, base, photos) if name else None
    lost = f"left out, with its {len(annotations)} annotations."
    if photo is None:
        return None, [
            Problem.in_file(file.path, f"image {image.get('id')!r} {name!r} is not here, or not once; {lost}")
        ]
    try:
        size = _size(image, photo)
    except (PhotoError, ValueError) as why:
        return None, [Problem.in_file(photo, f"{str(why).removeprefix(f'{photo}: ')} It is {lost}")]
    if image.get("labelled") is False:
        unknown = Problem.in_file(photo, "is marked as not labeled; it gets no label file.")
        return LabeledPhoto(photo, photo.name, size, None), [unknown]
    lines: list[LabelLine] = []
    said: list[Problem] = []
    for number, a in enumerate(annotations, start=1):
        shape, what = read_shape(a, size)
        category = ids.get(a.get("category_id", -1))
        if category is None and shape is not None:
            shape, what = None, [f"its category {a.get('category_id')!r} is not in the file; left out."]
        said += [_at(file, a, f"{text} ({photo.name})") for text in what]
        if shape is not None and category is not None:
            lines.append(LabelLine(number, category, *shape))
    return LabeledPhoto(photo, photo.name, size, tuple(lines)), said


def _size(image: Mapping[str, Any], photo: Path) -> tuple[int, int]:
    """The size that the annotations are in; a scaled copy is as good. Raises ValueError, PhotoError."""
    real = photo_size(photo)
    wide, high = image.get("width"), image.get("height")
    if wide is None and high is None:
        return real
    if not (isinstance(wide, int | float) and isinstance(high, int | float) and wide >= 1 and high >= 1):
        raise ValueError(f"the annotations say that it is {wide!r} x {high!r} pixels.")
    if abs(wide * real[1] / (high * real[0]) - 1) > SAME_SHAPE:
        raise ValueError(
            f"the annotations are for {wide} x {high} pixels, and it is {real[0]} x {real[1]} when upright. Export the "
            f"annotations of this very file."
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
        merged[p.photo] = replace(before, lines=(*(before.lines or ()), *(p.lines or ())))
    places = placed(Entry(p.photo, None, split) for p in merged.values())
    yield from (replace(p, name=place.name) for p, place in zip(merged.values(), places, strict=True))


Shape = tuple[Box, Points]


def read_shape(a: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[Shape | None, list[str]]:
    """Box and polygon (empty for a box) inside the photograph, or None; and what was left out or changed, in words."""
    if a.get("iscrowd") == 1:
        return None, ["marks a crowd and no single object; left out. Draw each object if it is to count."]
    found = a.get("segmentation")
    parts, said = _parts(found)
    if not parts:
        box, why = _box(a.get("bbox"), size_wh)
        return ((box, ()) if box else None), [*said, *why]
    if len(parts) > 1:
        said.append(f"its {len(parts)} parts are joined to one polygon by lines of no width.")
    points, beyond = _inside(join(parts), size_wh)
    if not has_area(points, size_wh):
        box, why = _box(a.get("bbox"), size_wh)
        kept = "its box is kept" if box else "left out"
        return ((box, ()) if box else None), [*said, f"its polygon has no area; {kept}.", *why]
    return (Box.around(points), points), [*said, *_beyond(beyond)]


def _parts(found: Any) -> tuple[list[Points], list[str]]:
    """Polygons of at least three corners. A box has no segmentation, or an empty one."""
    if isinstance(found, Mapping):
        return [], ["is a run-length mask, which YOLO labels cannot hold; its box is kept. Export polygons to keep it."]
    if not found:
        return [], []
    rings = found if isinstance(found, list) and all(isinstance(ring, list) for ring in found) else [found]
    good = [_points(ring) for ring in rings]
    parts = [points for points in good if points]
    bad = len(good) - len(parts)
    what = "its box is kept" if not parts else "the others are kept"
    return parts, [f"{bad} of its {len(good)} polygons have no three corners of two numbers; {what}."] if bad else []


def _points(ring: Any) -> Points:
    if not isinstance(ring, Sequence) or len(ring) < 6 or len(ring) % 2 or not all(_is_number(v) for v in ring):
        return ()
    return tuple((float(x), float(y)) for x, y in zip(ring[::2], ring[1::2], strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def join(parts: Sequence[Points]) -> Points:
    """One polygon that goes round every part, to and fro along the shortest line between corners: the area is the same.

    >>> join([((0, 0), (2, 0), (2, 2)), ((3, 0), (5, 0), (5, 2))])
    ((0, 0), (2, 0), (3, 0), (5, 0), (5, 2), (3, 0), (2, 0), (2, 2))
    """
    path = list(parts[0])
    for part in parts[1:]:
        i, j = min(
            ((i, j) for i in range(len(path)) for j in range(len(part))),
            key=lambda ij: math.dist(path[ij[0]], part[ij[1]]),
        )
        path[i + 1 : i + 1] = [*part[j:], *part[: j + 1], path[i]]
    return tuple(path)


def _box(given: Any, size_wh: tuple[int, int]) -> tuple[Box | None, list[str]]:
    """`x, y, width, height` in pixels; what lies outside the photograph is cut off."""
    if not isinstance(given, Sequence) or len(given) != 4 or not all(_is_number(v) for v in given):
        return None, [f"its bbox {given!r} is not four numbers; left out."]
    x, y, wide, high = map(float, given)
    if min(wide, high) <= 0:
        return None, [f"its box has no area (width {wide:g}, height {high:g}); left out."]
    box = Box(x, y, x + wide, y + high)
    cut = box.clipped(size_wh)
    if cut.area <= 0:
        return None, ["its box lies outside the photograph; left out."]
    off = max(abs(a - b) / size_wh[i % 2] for i, (a, b) in enumerate(zip(box.xyxy, cut.xyxy, strict=True)))
    return cut, _beyond(off)


def _inside(points: Points, size_wh: tuple[int, int]) -> tuple[Points, float]:
    """Corners moved into the photograph, and how far one was moved, as a share of the side."""
    wide, high = size_wh
    moved = tuple((min(max(x, 0.0), float(wide)), min(max(y, 0.0), float(high))) for x, y in points)
    off = max(max(abs(x - u) / wide, abs(y - v) / high) for (x, y), (u, v) in zip(points, moved, strict=True))
    return moved, off


def _beyond(off: float) -> list[str]:
    return [f"reaches {off:.2%} of the photograph's side beyond its border; cut off there."] if off > ROUNDING else []


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
        "area": _area(line.polygon) if line.polygon else box.area,
        "iscrowd": 0,
    }
    if line.polygon:
        record["segmentation"] = [[v for point in line.polygon for v in point]]
    return record


def _area(polygon: Points) -> float:
    """Pixels squared, by the shoelace formula."""
    return abs(sum(ax * by - ay * bx for (ax, ay), (bx, by) in pairwise((*polygon, polygon[0])))) / 2
