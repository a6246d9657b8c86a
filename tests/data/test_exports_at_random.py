"""Exports drawn at random (layout x names file x label form x odd names): read right, or named; never wrong in silence.

Nothing here knows how the readers look for things: a person who labels, exports and copies folders does not either.
"""

from __future__ import annotations

import io
import json
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import NAMES, make_photo

from toeline.core.finding import Problem, grave
from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import open_coco, read_coco
from toeline.data.datasets import read_split
from toeline.data.yolo import open_yolo

TAXONOMY = Taxonomy.load()
STEMS = (
    "DJI_0001",
    "a b",
    "été",
    "堤防_07",
    "Lagoon1.B0.0087",
    "x'y",
    "100%",
    "#3",
    "UPPER",
    "lower",
    "e\u0301tang",
    "n" * 200,
)

# Layout -> folder of the photographs and folder of the labels of a split.
LAYOUTS = {
    "roboflow": ("{split}/images", "{split}/labels"),
    "ultralytics": ("images/{split}", "labels/{split}"),
    "flights": ("{split}/flight-{n}/images", "{split}/flight-{n}/labels"),
    "deep": ("images/{split}/flight-{n}", "labels/{split}/flight-{n}"),
    "beside": ("{split}", "{split}"),
    "beside in images": ("{split}/images", "{split}/images"),
}
FORMS: Mapping[str, Callable[[int], str]] = {
    "box": lambda i: f"{i} 0.5 0.5 0.25 0.5",
    "polygon": lambda i: f"{i} 0.1 0.1 0.9 0.1 0.9 0.8",
    "four corners": lambda i: f"{i} 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5",
}
LABEL_FILES: Mapping[str, Callable[[str], str]] = {
    "plain": lambda photo: f"{Path(photo).stem}.txt",
    "upper suffix": lambda photo: f"{Path(photo).stem}.TXT",
    "whole name": lambda photo: f"{photo}.txt",
    "composed": lambda photo: unicodedata.normalize("NFC", f"{Path(photo).stem}.txt"),
    "decomposed": lambda photo: unicodedata.normalize("NFD", f"{Path(photo).stem}.txt"),
    "other case": lambda photo: f"{Path(photo).stem.swapcase()}.txt",
}


def yaml_names(file: str, *, ids: bool = False) -> Callable[[Path, Sequence[str]], None]:
    """Names as a list, or by id."""
    return lambda root, names: (
        (root / file).write_text(
            yaml.safe_dump({"names": dict(enumerate(names)) if ids else list(names)}), encoding="utf-8"
        )
        and None
    )


def lines(file: str, encoding: str = "utf-8", end: str = "\n") -> Callable[[Path, Sequence[str]], None]:
    """Names one a line."""

    def write(root: Path, names: Sequence[str]) -> None:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes("".join(f"{name}{end}" for name in names).encode(encoding))

    return write


def notes(root: Path, names: Sequence[str]) -> None:
    """Label Studio's."""
    found = {"categories": [{"id": i, "name": name} for i, name in enumerate(names)], "info": {"version": "1.0"}}
    (root / "notes.json").write_text(json.dumps(found), encoding="utf-8")


def darknet(root: Path, names: Sequence[str]) -> None:
    """obj.names, which obj.data names."""
    lines("obj.names")(root, names)
    (root / "obj.data").write_text(f"classes = {len(names)}\ntrain = data/train.txt\nnames = data/obj.names\n")


NAMES_FILES: Mapping[str, Callable[[Path, Sequence[str]], None] | None] = {
    "data.yaml": yaml_names("data.yaml"),
    "data.yaml by id": yaml_names("data.yaml", ids=True),
    "data.yml": yaml_names("data.yml"),
    "dataset.yaml": yaml_names("dataset.yaml"),
    "another yaml": yaml_names("lagoon dyke.yaml"),
    "classes.txt": lines("classes.txt"),
    "classes.txt of Windows": lines("classes.txt", "utf-8-sig", "\r\n"),
    "classes.txt in labels": lines("labels/classes.txt"),
    "darknet": darknet,
    "_darknet.labels": lines("_darknet.labels"),
    "notes.json": notes,
    "none": None,
}
CLUTTER = (
    "._{stem}.jpg",
    "Thumbs.db",
    "@eaDir/{stem}.jpg/SYNOPHOTO_THUMB_M.jpg",
    ".DS_Store",
    "README.roboflow.txt",
    "._{stem}.txt",
)


@cache
def jpeg(seed: int) -> bytes:
    """A small photograph."""
    file = io.BytesIO()
    make_photo((40, 30), seed).save(file, "JPEG")
    return file.getvalue()


def put(path: Path, content: str | bytes) -> None:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True)
class Export:
    """One data set: for each photograph its split and the names of its objects' classes."""

    layout: str
    names_file: str
    names: tuple[str, ...]
    photos: tuple[tuple[str, str, tuple[str, ...]], ...]  # split, stem, classes
    form: str
    label_file: str
    line_end: str
    clutter: tuple[str, ...]

    @property
    def true(self) -> dict[str, list[str]]:
        """Classes by the photograph's stem."""
        return {unicodedata.normalize("NFC", stem): sorted(classes) for _, stem, classes in self.photos}

    def write(self, root: Path) -> None:
        """As the tool would export it."""
        for n, (split, stem, classes) in enumerate(self.photos):
            photos, labels = (root / place.format(split=split, n=n % 2) for place in LAYOUTS[self.layout])
            put(photos / f"{stem}.jpg", jpeg(n))
            rows = [FORMS[self.form](self.names.index(name)) + self.line_end for name in classes]
            put(labels / LABEL_FILES[self.label_file](f"{stem}.jpg"), "".join(rows))
            for thing in self.clutter:
                put(photos / thing.format(stem=stem[:40]), b"\x00\x05\x16\x07")
        if write := NAMES_FILES[self.names_file]:
            write(root, self.names)


@st.composite
def exports(draw: st.DrawFn) -> Export:
    """Any combination; the stems differ even for who does not see case or accents."""
    names = tuple(draw(st.permutations(NAMES)))
    stems = draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=4, unique_by=str.casefold))
    photos = tuple(
        (
            draw(st.sampled_from(("train", "valid"))),
            stem,
            tuple(draw(st.lists(st.sampled_from(names), max_size=1, min_size=1))),
        )
        for stem in stems
    )
    return Export(
        layout=draw(st.sampled_from(sorted(LAYOUTS))),
        names_file=draw(st.sampled_from(sorted(NAMES_FILES))),
        names=names,
        photos=photos,
        form=draw(st.sampled_from(sorted(FORMS))),
        label_file=draw(st.sampled_from(sorted(LABEL_FILES))),
        line_end=draw(st.sampled_from(("\n", "\r\n"))),
        clutter=tuple(draw(st.sets(st.sampled_from(CLUTTER), max_size=2))),
    )


def read(root: Path) -> tuple[dict[str, list[str]], list[Problem]]:
    """Classes by stem, and what was said."""
    data = open_yolo(root, TAXONOMY)
    split = read_split(data, None, TAXONOMY)
    found = {
        unicodedata.normalize("NFC", scene.path.stem): sorted(t.class_name for t in scene.ground_truths)
        for scene in split.scenes
    }
    return found, list(split.problems)


@pytest.mark.slow
@settings(max_examples=250)
@given(export=exports())
def test_a_yolo_export_is_read_right_or_named(export: Export) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export.write(Path(folder))
        found, said = read(Path(folder))
        if export.names_file == "none":
            assert grave(said), "class ids were guessed without a word"
            return
        assert found == export.true, f"wrong; said: {[str(p) for p in said]}"
        assert not grave(said), [str(p) for p in said]


@dataclass(frozen=True)
class CocoExport:
    """One annotation file beside its photographs."""

    stems: tuple[str, ...]
    classes: tuple[str, ...]  # one object a photograph
    first_id: int
    as_text: tuple[bool, bool]  # ids of images, ids of categories, where annotations refer to them
    quoted: bool
    shape: str
    file_name: str
    folder: str

    def write(self, root: Path) -> None:
        """The files."""
        names = sorted(set(NAMES))
        images, annotations = [], []
        for n, (stem, name) in enumerate(zip(self.stems, self.classes, strict=True), start=self.first_id):
            put(root / self.folder / f"{stem}.jpg", jpeg(n))
            images.append({"id": n, "file_name": COCO_NAMES[self.file_name](f"{stem}.jpg"), "width": 40, "height": 30})
            category: object = names.index(name) + self.first_id
            annotations.append(
                {
                    "id": n,
                    "image_id": str(n) if self.as_text[0] else n,
                    "category_id": str(category) if self.as_text[1] else category,
                    **COCO_SHAPES[self.shape](str if self.quoted else float),
                }
            )
        categories = [{"id": i, "name": name} for i, name in enumerate(names, start=self.first_id)]
        record = {"images": images, "annotations": annotations, "categories": categories}
        put(root / "annotations" / "instances_default.json", json.dumps(record))


COCO_NAMES: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "of Windows": lambda name: f"C:\\Users\\me\\flight\\{name}",
    "of another computer": lambda name: f"/home/me/flight/{name}",
    "other case": str.upper,
}
Number = Callable[[object], object]
COCO_SHAPES: Mapping[str, Callable[[Number], dict[str, object]]] = {
    "box": lambda number: {"bbox": [number(v) for v in (10, 5, 20, 10)], "segmentation": []},
    "polygon": lambda number: {
        "bbox": [number(v) for v in (10, 5, 20, 10)],
        "segmentation": [[number(v) for v in (10, 5, 30, 5, 30, 15, 10, 15)]],
    },
    "crowd mask": lambda number: {
        "bbox": [10, 5, 20, 10],
        "iscrowd": 1,
        "segmentation": {"size": [30, 40], "counts": [305, *([10, 20] * 19), 10, 315]},
    },
    "turned": lambda number: {"bbox": [number(v) for v in (10, 5, 20, 10)], "attributes": {"rotation": 180.0}},
}


@st.composite
def coco_exports(draw: st.DrawFn) -> CocoExport:
    """Any combination."""
    stems = draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=4, unique_by=str.casefold))
    return CocoExport(
        stems=tuple(stems),
        classes=tuple(draw(st.lists(st.sampled_from(NAMES), min_size=len(stems), max_size=len(stems)))),
        first_id=draw(st.sampled_from((0, 1, 17))),
        as_text=(draw(st.booleans()), draw(st.booleans())),
        quoted=draw(st.booleans()),
        shape=draw(st.sampled_from(sorted(COCO_SHAPES))),
        file_name=draw(st.sampled_from(sorted(COCO_NAMES))),
        folder=draw(st.sampled_from(("images", ".", "images/train", "flight 1"))),
    )


@pytest.mark.slow
@settings(max_examples=150)
@given(export=coco_exports())
def test_a_coco_export_is_read_right_or_named(export: CocoExport) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export.write(Path(folder))
        data = read_coco(open_coco(Path(folder)), Path(folder))
        photos = [photo for its in data.splits.values() for photo in its]
        found = {photo.photo.stem: [data.names[line.class_id] for line in photo.lines or ()] for photo in photos}
        said = [str(p) for p in grave(data.problems)]
        assert found == {stem: [name] for stem, name in zip(export.stems, export.classes, strict=True)}, said
        boxes = {line.box.xyxy for photo in photos for line in photo.lines or ()}
        assert boxes == {(10.0, 5.0, 30.0, 15.0)}
        assert not said
