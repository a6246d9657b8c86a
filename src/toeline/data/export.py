"""Data sets are written whole: YOLO folders in Roboflow's layout, made beside their place and moved there at the end.

A run that is killed leaves `.NAME.part` and nothing under NAME; the same run again takes up what is there.
`convert` from YOLO to COCO and back is at the end of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from toeline.core.finding import Step, grave
from toeline.core.records import told_record
from toeline.core.run_folder import LOCK, alone, foreign, held_in, require_same, write_whole, writing
from toeline.core.taxonomy import Names, Taxonomy
from toeline.core.words import some
from toeline.data.coco import DATA, Extra, open_coco, read_coco, write_coco, write_fiftyone
from toeline.data.datasets import Carry, LabelSet, carry, folder_of, read_yolo, require_carried
from toeline.data.labels import LabelLine
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError, OutputError

YAML_KEYS = {"train": "train", "valid": "val", "test": "test"}  # split -> its key in data.yaml


def row(line: LabelLine, size_wh: tuple[int, int]) -> str:
    """A label line: shares of the photograph to 12 digits, a ten-millionth of a pixel in any photograph.

    >>> from toeline.core.box import Box
    >>> row(LabelLine(1, 5, Box(10, 12, 30, 18)), (40, 30))
    '5 0.5 0.5 0.5 0.2'
    """
    wide, high = size_wh
    box = line.box
    shares = [(box.x1 + box.x2) / 2 / wide, (box.y1 + box.y2) / 2 / high, box.width / wide, box.height / high]
    if line.polygon:
        shares = [v for x, y in line.polygon for v in (x / wide, y / high)]
    return " ".join([str(line.class_id), *(_digits(v) for v in shares)])


def _digits(value: float) -> str:
    """No exponent: not every reader of labels takes one."""
    return f"{value:.12f}".rstrip("0").rstrip(".") or "0"


def write_rows(place: Path, rows: Sequence[str]) -> None:
    """The label file of the photograph that would lie at `place`, whatever its suffix."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".txt").write_text("".join(f"{text}\n" for text in rows), encoding="utf-8", newline="\n")


def data_yaml(splits: Sequence[str], names: Names) -> str:
    """data.yaml with places below its own folder; names whose ids are not 0, 1, 2 ... are written with their ids."""
    plain = sorted(names) == list(range(len(names)))
    listed: object = [names[i] for i in sorted(names)] if plain else {i: names[i] for i in sorted(names)}
    places = {YAML_KEYS.get(split, split): f"{split}/images" for split in splits}  # none: open_yolo looks for images
    head: str = yaml.safe_dump({**places, "nc": len(names)}, sort_keys=False, allow_unicode=True)
    tail: str = yaml.safe_dump({"names": listed}, default_flow_style=None, sort_keys=False, allow_unicode=True)
    return head + tail


def require_apart(out: Path, folders: Iterable[Path]) -> None:
    """Raise OutputError when `out` lies among photographs: what is written would be taken for data the next time."""
    place = Path(os.path.realpath(out))
    if inside := next((f for f in {f.resolve() for f in set(folders)} if place.is_relative_to(f)), None):
        raise OutputError(f"{out}: lies in {inside}, among the photographs of the data set. Choose another --out.")


@contextmanager
def staged(out: Path, note: str, settings: Mapping[str, Any], *, own: Collection[str] = ()) -> Iterator[Path | None]:
    """The folder to write into, which becomes `out` when all is written, with `settings` in its file `note`.

    None when `out` holds just that already. What was written with other settings is replaced if nothing but the names
    in `own` is there. Raises OutputError when `out` holds anything else, or cannot be written.
    """
    out = Path(os.path.abspath(out))  # not resolved: a link named by the user stays a link  # noqa: PTH100
    record = json.loads(json.dumps(settings))
    with writing(out):
        if _holds(out, note, record, own):
            yield None
            return
        stage = out.with_name(f".{out.name}.part")
        if held_in(stage, make=False) and _settings_in(stage / note) is None:
            raise OutputError(
                f"{stage}: is in the way, and was not written by this command. Move it, or choose another --out."
            )
        with alone(stage):
            _prepare(stage, note, record, fresh=bool(own))
            yield stage
            (stage / LOCK).unlink(missing_ok=True)
        _swap(stage, out)


def _holds(out: Path, note: str, settings: Mapping[str, Any], own: Collection[str]) -> bool:
    """Whether `out` holds the same already. Raises OutputError when it holds anything else."""
    held, before = held_in(out, make=False), _settings_in(out / note)
    if not held:
        return False
    others = held - set(own)
    if before is None or (own and others):
        raise foreign(out, others or held)
    if not own:
        require_same(out, before, settings)
    return not own


def _settings_in(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _prepare(stage: Path, note: str, settings: Mapping[str, Any], *, fresh: bool) -> None:
    """A stage of the same settings is gone on with; one of others is a leftover of ours that nobody can use."""
    before = _settings_in(stage / note)
    if before is not None and (fresh or before != settings):
        for path in [p for p in stage.iterdir() if p.name != LOCK]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (stage / note).write_text(json.dumps({"settings": settings}, indent=2) + "\n", encoding="utf-8")


def _swap(stage: Path, out: Path) -> None:
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".old"))
    if out.is_dir():
        out.replace(old / out.name)
    stage.replace(out)
    shutil.rmtree(old)


NOTE = "convert.json"
SCHEMA = 1


class Format(StrEnum):
    """What a data set is written as."""

    COCO = "coco"
    YOLO = "yolo"
    FIFTYONE = "fiftyone"


def read_other(
    root: Path, to: Format, taxonomy: Taxonomy, *, classes: Path | None = None, step: Step = lambda _: None
) -> LabelSet:
    """The data set in the other format: COCO for YOLO, else YOLO. Raises LabelError for one that is in `to` already."""
    if to is Format.YOLO:
        if classes is not None:
            raise LabelError(f"{root}: COCO annotations name their classes themselves. Leave --classes out.")
        read = read_coco(open_coco(root), root, step=step)
        if not read.photographs:
            first = f" The first: {read.problems[0]}" if read.problems else ""
            raise LabelError(f"{root}: not one photograph can be read.{first}")
        return read
    data = open_yolo(root, taxonomy, any_class=True, classes=classes)
    if all(entry.labels is None for entries in data.splits.values() for entry in entries):
        raise LabelError(" ".join(map(str, grave(data.problems)[:2])))
    return read_yolo(data, step=step)


class Shapes(StrEnum):
    """What objects are written as."""

    AS_READ = "as-read"
    BOXES = "boxes"
    POLYGONS = "polygons"


MIXED = (
    "{} of boxes and polygons together: ultralytics leaves the photographs of such files out. For ultralytics, convert "
    "with --shapes polygons, or with --shapes boxes."
)


def shaped(data: LabelSet, shapes: Shapes, to: Format) -> LabelSet:
    """All objects as boxes, or all as polygons (a box's has four corners); else as they are, noted where mixed."""
    photos = [p for its in data.splits.values() for p in its]
    if shapes is Shapes.AS_READ:
        mixed = sum(len({bool(line.polygon) for line in p.lines or ()}) > 1 for p in photos) if to is Format.YOLO else 0
        return replace(data, notes=(*data.notes, MIXED.format(some(mixed, "label file")))) if mixed else data
    change = _as_box if shapes is Shapes.BOXES else _as_polygon
    splits = {
        split: tuple(p if p.lines is None else replace(p, lines=tuple(map(change, p.lines))) for p in its)
        for split, its in data.splits.items()
    }
    return replace(data, splits=splits)


def _as_box(line: LabelLine) -> LabelLine:
    return replace(line, polygon=())


def _as_polygon(line: LabelLine) -> LabelLine:
    return line if line.polygon else replace(line, polygon=line.box.corners)


INSIDE = {Format.YOLO: "images", Format.COCO: "", Format.FIFTYONE: DATA}  # where the photographs of a split lie


def write_as(
    data: LabelSet, to: Format, out: Path, how: Carry, *, more: Sequence[Extra] = (), step: Step = lambda _: None
) -> dict[str, Any]:
    """Write the data set and return what convert.json holds. Raises OutputError for a folder that holds something else.

    `step` is called for every photograph. A folder that holds the same already is left as it is. `more` is what
    FiftyOne shows of each object, in the order of the splits, photographs and lines.
    """
    settings = {"schema": SCHEMA, "to": to.value, "carry": how.value, "data_sha256": data.sha256()}
    settings |= {"more_sha256": hashlib.sha256(repr(more).encode("utf-8", "replace")).hexdigest()} if more else {}
    require_apart(out, [p.photo.parent for photos in data.splits.values() for p in photos])
    with staged(out, NOTE, settings) as stage:
        if stage is None:
            inside = INSIDE[to]
            places = [(p.photo, out / folder_of(s) / inside / p.name) for s, its in data.splits.items() for p in its]
            require_carried(out, places)
            return {**json.loads((out / NOTE).read_text(encoding="utf-8")), "already": True}
        if to is Format.FIFTYONE:
            write_fiftyone(data, stage, how, more, step=step)
        else:
            (write_coco if to is Format.COCO else write_yolo)(data, stage, how, step=step)
        record = {"settings": settings, **describe(data)}
        write_whole(stage / NOTE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return {**record, "already": False}


def write_yolo(data: LabelSet, folder: Path, how: Carry, *, step: Step = lambda _: None) -> None:
    """Photographs, label files and data.yaml into `folder`; a photograph that nobody labeled gets no label file."""
    for split, photos in data.splits.items():
        place = folder / folder_of(split)
        for photo in photos:
            carry(photo.photo, place / "images" / photo.name, how)
            if photo.lines is not None:
                write_rows(place / "labels" / photo.name, [row(line, photo.size_wh) for line in photo.lines])
            step([])
    splits = [split for split in data.splits if folder_of(split) == split]
    (folder / "data.yaml").write_text(data_yaml(splits, data.names), encoding="utf-8")


def describe(data: LabelSet) -> dict[str, Any]:
    """Counts, classes, and what was left out or changed."""
    lines = [line for photos in data.splits.values() for p in photos for line in p.lines or ()]
    return {
        "photographs": {split: len(photos) for split, photos in data.splits.items()},
        "boxes": sum(not line.polygon for line in lines),
        "polygons": sum(bool(line.polygon) for line in lines),
        "classes": {str(i): name for i, name in sorted(data.names.items())},
        "notes": list(data.notes),
        **told_record(data.problems),
    }
