"""YOLO to COCO and back says the same; COCO sets from elsewhere are read, and what is lost is told."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.mask import area
from tests.support.datasets import NAMES, make_photo, write_labels, write_photo, write_yolo
from tests.support.datasets import exit_code as run

from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import open_coco, read_coco
from toeline.data.datasets import Carry, LabelSet
from toeline.data.export import Format, read_other, write_as
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError, OutputError

TAXONOMY = Taxonomy.load()
ROWS = ["5 0.5 0.5 0.2 0.4", "3 0.1 0.1 0.9 0.1 0.9 0.5", "8 0.25 0.25 0.125 0.125"]


def converted(root: Path, to: Format, out: Path) -> LabelSet:
    read = read_other(root, to, TAXONOMY)
    write_as(read, to, out, Carry.LINK)
    return read


def label_rows(root: Path) -> dict[str, list[list[float]]]:
    """Label lines as numbers, by the file's place below `root`."""
    files = sorted(root.rglob("labels/**/*.txt"))
    return {
        f.relative_to(root).as_posix(): [[float(v) for v in row.split()] for row in f.read_text().splitlines()]
        for f in files
    }


def there_and_back(root: Path, tmp: Path) -> Path:
    converted(root, Format.COCO, tmp / "coco")
    converted(tmp / "coco", Format.YOLO, tmp / "yolo")
    return tmp / "yolo"


shares = st.floats(0, 1).map(lambda v: round(v, 12))


@st.composite
def label_row(draw: st.DrawFn) -> str:
    class_id = draw(st.integers(0, 8))
    if draw(st.booleans()):
        w, h = draw(st.floats(1e-4, 1)), draw(st.floats(1e-4, 1))
        return f"{class_id} {draw(st.floats(w / 2, 1 - w / 2))} {draw(st.floats(h / 2, 1 - h / 2))} {w} {h}"
    x, y = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    others = draw(st.lists(st.tuples(shares, shares), max_size=6))
    points = [(x, y), (x + 0.1, y), (x, y + 0.1), *others]
    return f"{class_id} " + " ".join(f"{a!r} {b!r}" for a, b in points)


@given(st.lists(label_row(), max_size=8, unique=True), st.tuples(st.integers(1, 9000), st.integers(1, 60)))
def test_boxes_and_polygons_come_back_to_a_millionth(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], size: tuple[int, int]
) -> None:
    tmp = tmp_path_factory.mktemp("round")
    root = write_yolo(tmp / "in", {"train": {"a.png": rows}, "valid": {"b.png": ROWS}}, size_wh=size)
    back = label_rows(there_and_back(root, tmp))
    sent = label_rows(root)
    assert back.keys() == sent.keys()
    for name, lines in sent.items():
        assert len(back[name]) == len(lines)
        for one, two in zip(lines, back[name], strict=True):
            assert two == pytest.approx(one, abs=1e-6 / max(size))


def test_classes_ids_splits_sizes_and_photographs_come_back(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": ROWS, "b.jpg": []}, "valid": {"c.jpg": ROWS[:1]}})
    write_photo(root / "valid/images/turned.jpg", (40, 30), orientation=6)
    write_labels(root / "valid/labels/turned.txt", ROWS)
    back = there_and_back(root, tmp_path)
    one, two = (open_yolo(r, TAXONOMY) for r in (root, back))
    assert two.names == one.names == dict(enumerate(NAMES))
    assert not two.problems
    for split, entries in one.splits.items():
        assert [e.photo.name for e in two.splits[split]] == [e.photo.name for e in entries]
        assert all(a.photo.samefile(b.photo) for a, b in zip(entries, two.splits[split], strict=True))
    record = json.loads((tmp_path / "coco/valid/_annotations.coco.json").read_text())
    assert [(i["width"], i["height"]) for i in record["images"]] == [(40, 30), (30, 40)]


def test_a_data_set_without_splits_comes_back_without_splits(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"all": {"a.png": ROWS}}, layout="bare")
    back = open_yolo(there_and_back(root, tmp_path / "train"), TAXONOMY)
    assert list(back.splits) == ["all"]
    assert back.splits["all"][0].labels is not None


def test_class_ids_with_holes_come_back_as_they_were(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": ["7 0.5 0.5 0.2 0.4"]}}, names=None)
    (root / "data.yaml").write_text("names: {2: pole, 7: 'ditch: wet'}\n")
    back = there_and_back(root, tmp_path)
    assert open_yolo(back, TAXONOMY).names == {2: "pole", 7: "ditch: wet"}
    assert label_rows(back)["train/labels/a.txt"][0][0] == 7


def test_no_label_file_is_not_an_empty_label_file(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": [], "b.png": ROWS, "c.png": ROWS}})
    (root / "train/labels/c.txt").unlink()
    back = there_and_back(root, tmp_path)
    assert sorted(label_rows(back)) == ["train/labels/a.txt", "train/labels/b.txt"]
    assert len(list((back / "train/images").iterdir())) == 3


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": ROWS}})
    converted(root, Format.COCO, tmp_path / "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "coco/train/_annotations.coco.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
    boxes = coco.loadAnns(coco.getAnnIds(catIds=[5]))
    assert boxes[0]["bbox"] == pytest.approx([16, 9, 8, 12])
    assert boxes[0]["area"] == pytest.approx(96)
    assert "segmentation" not in boxes[0]
    (polygon,) = coco.loadAnns(coco.getAnnIds(catIds=[3]))
    assert polygon["area"] == pytest.approx(0.5 * 32 * 12)
    assert area(coco.annToRLE(polygon)) == pytest.approx(polygon["area"], rel=0.15)


def elsewhere(
    folder: Path,
    annotations: Sequence[Mapping[str, Any]],
    *,
    file: str = "annotations.json",
    photo: str = "a.png",
    **more: Any,
) -> Path:
    """A COCO set as another tool writes it: categories from 1 with a hole, a photograph of 40 x 30 pixels."""
    if not list(folder.rglob("a.png")):
        write_photo(folder / photo)
    record = {
        "images": [{"id": 11, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [{"id": i, "image_id": 11, "category_id": 1, **a} for i, a in enumerate(annotations)],
        "categories": [{"id": 1, "name": "drain"}, {"id": 4, "name": "stone"}],
        **more,
    }
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(record))
    return folder


def read(root: Path) -> LabelSet:
    return read_coco(open_coco(root), root)


BOX = [4, 3, 20, 15]
L_SHAPE = [0, 0, 20, 0, 20, 10, 10, 10, 10, 20, 0, 20]
SHAPES: dict[
    str, tuple[dict[str, Any], int, str]
] = {  # annotation, corners of what is kept (-1: nothing), what is told
    "box": ({"bbox": BOX}, 0, ""),
    "box with empty segmentation": ({"bbox": BOX, "segmentation": []}, 0, ""),
    "polygon": ({"bbox": BOX, "segmentation": [L_SHAPE]}, 6, ""),
    "polygon that is not in a list": ({"bbox": BOX, "segmentation": L_SHAPE}, 6, ""),
    "polygon without a box": ({"segmentation": [L_SHAPE]}, 6, ""),
    "two parts": ({"segmentation": [L_SHAPE, [30, 0, 35, 0, 35, 9]]}, 11, "2 parts are joined"),
    "one part of two is bad": ({"segmentation": [L_SHAPE, [1, 2]]}, 6, "1 of its 2 polygons"),
    "no part is good": ({"bbox": BOX, "segmentation": [[1, 2, 3]]}, 0, "its box is kept"),
    "polygon without area": ({"bbox": BOX, "segmentation": [[0, 0, 5, 5, 9, 9]]}, 0, "no area; its box is kept"),
    "mask": ({"bbox": BOX, "segmentation": {"counts": "abc", "size": [30, 40]}}, 0, "run-length mask"),
    "no width": ({"bbox": [4, 3, 0, 15]}, -1, "no area"),
    "no numbers": ({"bbox": [4, None, 9, 15]}, -1, "not four numbers"),
    "nothing": ({}, -1, "not four numbers"),
    "outside": ({"bbox": [90, 90, 5, 5]}, -1, "outside the photograph"),
    "over the border": ({"bbox": [20, 3, 24, 15]}, 0, "10.00% of the photograph's side beyond"),
    "polygon over the border": ({"segmentation": [[0, 0, 50, 0, 20, 30]]}, 3, "25.00%"),
    "over the border by rounding": ({"bbox": [20, 3, 20.0001, 15]}, 0, ""),
    "unknown category": ({"bbox": BOX, "category_id": 9}, -1, "category 9"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_every_kind_of_annotation_is_read_or_told(tmp_path: Path, case: str) -> None:
    annotation, corners, told = SHAPES[case]
    data = read(elsewhere(tmp_path, [annotation]))
    lines, problems = data.splits["all"][0].lines, list(data.problems)
    if corners < 0:  # what could not be read is not nothing
        assert lines is None
        assert "not one with nothing on it" in str(problems.pop())
    assert [len(line.polygon) for line in lines or ()] == [corners] * (corners >= 0)
    assert [told in str(p) for p in problems] == [True] * bool(told)
    assert all(str(tmp_path / "annotations.json") in str(p) and "annotation 0" in str(p) for p in problems)
    assert all(line.box == line.box.clipped((40, 30)) for line in lines or ())


def test_an_annotation_of_an_unknown_image_is_told(tmp_path: Path) -> None:
    data = read(elsewhere(tmp_path, [{"bbox": BOX, "image_id": 9}]))
    assert data.splits["all"][0].lines == ()
    assert "annotation 0: its image 9 is not in the file" in str(*data.problems)


def test_joined_parts_keep_their_area(tmp_path: Path) -> None:
    data = read(elsewhere(tmp_path / "in", [{"segmentation": [L_SHAPE, [30, 0, 35, 0, 35, 10]]}]))
    write_as(data, Format.YOLO, tmp_path / "yolo", Carry.LINK)
    converted(tmp_path / "yolo", Format.COCO, tmp_path / "coco")
    record = json.loads((tmp_path / "coco/_annotations.coco.json").read_text())
    assert record["annotations"][0]["area"] == pytest.approx(300 + 25)


def test_category_ids_begin_at_zero_without_holes_and_that_is_noted(tmp_path: Path) -> None:
    data = read(elsewhere(tmp_path, [{"bbox": BOX, "category_id": 4}]))
    assert data.names == {0: "drain", 1: "stone"}
    assert [line.class_id for line in data.splits["all"][0].lines or ()] == [1]
    assert "1 'drain' is class 0, 4 'stone' is class 1" in data.notes[0]
    assert not data.problems


def test_roboflows_group_is_no_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "drains", "supercategory": "none"},
        {"id": 1, "name": "toe", "supercategory": "drains"},
        {"id": 2, "name": "slope", "supercategory": "drains"},
    ]
    data = read(elsewhere(tmp_path, [{"bbox": BOX, "category_id": 2}], categories=categories))
    assert data.names == {0: "toe", 1: "slope"}
    assert "'drains' holds nothing" in data.notes[0]
    categories[1]["supercategory"] = categories[2]["supercategory"] = "none"
    assert len(read(elsewhere(tmp_path, [{"bbox": BOX}], categories=categories)).names) == 3


@pytest.mark.parametrize(
    ("file", "photo", "split"),
    [
        ("annotations.json", "a.png", "all"),
        ("annotations.json", "images/a.png", "all"),
        ("annotations/instances_val2017.json", "val2017/a.png", "valid"),
        ("annotations/instances_train.json", "images/train/a.png", "train"),
        ("test/_annotations.coco.json", "test/a.png", "test"),
        ("result.json", "deep/down/a.png", "all"),
    ],
)
def test_photographs_and_splits_are_found_where_tools_put_them(
    tmp_path: Path, file: str, photo: str, split: str
) -> None:
    data = read(elsewhere(tmp_path / "train", [{"bbox": BOX}], file=file, photo=photo))
    assert {s: [p.photo for p in photos] for s, photos in data.splits.items()} == {split: [tmp_path / "train" / photo]}


def test_other_json_files_and_captions_are_passed_over(tmp_path: Path) -> None:
    root = elsewhere(tmp_path, [{"bbox": BOX}], file="annotations/instances_train.json")
    elsewhere(root, [{"bbox": BOX}], file="annotations/person_keypoints_train.json")
    (root / "annotations/captions_train.json").write_text('{"images": [], "annotations": []}')
    (root / "notes.json").write_text("{torn")
    assert len(open_coco(root)) == 1


def test_splits_that_number_their_categories_differently_agree_by_name(tmp_path: Path) -> None:
    root = elsewhere(tmp_path, [{"bbox": BOX}], file="train/_annotations.coco.json", photo="train/a.png")
    shutil.copytree(root / "train", root / "valid")
    make_photo(seed=4).save(root / "valid/a.png")
    elsewhere(
        root,
        [{"bbox": BOX}, {"bbox": BOX, "category_id": 2}],
        file="valid/_annotations.coco.json",
        categories=[{"id": 1, "name": "stone"}, {"id": 2, "name": "drain"}],
    )
    data = read(root)
    assert data.names == {0: "drain", 1: "stone"}
    assert [line.class_id for line in data.splits["valid"][0].lines or ()] == [1, 0]
    assert [len(photos) for photos in data.splits.values()] == [1, 1]


def test_missing_photographs_and_those_of_another_shape_are_told_with_what_is_lost(tmp_path: Path) -> None:
    images = [
        {"id": 11, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 12, "file_name": "gone.png", "width": 40, "height": 30},
        {"id": 13, "file_name": "../../../etc/c.png", "width": 40, "height": 30},
        {"id": 14, "file_name": "b.png", "width": 30, "height": 40},
    ]
    write_photo(tmp_path / "b.png", seed=1)
    root = elsewhere(tmp_path, [{"bbox": BOX}, {"bbox": BOX, "image_id": 12}], images=images)
    data = read(root)
    said = [str(p) for p in data.problems]
    assert [p.name for p in data.splits["all"]] == ["a.png"]
    assert "'gone.png' is not here, or not once; left out, with its 1 annotations" in said[0]
    assert "etc/c.png" in said[1]
    assert "are for 30 x 40 pixels, and it is 40 x 30 when upright" in said[2]


def test_a_scaled_copy_has_the_same_labels(tmp_path: Path) -> None:
    images = [{"id": 11, "file_name": "a.png", "width": 4000, "height": 3000}]
    root = elsewhere(tmp_path / "in", [{"bbox": [400, 300, 2000, 1500]}], images=images)
    converted(root, Format.YOLO, tmp_path / "out")
    assert label_rows(tmp_path / "out")["labels/a.txt"] == [[0, 0.35, 0.35, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("instances_x.json", "{torn", "cannot be read as JSON"),
        ("a.json", '{"images": []}', "no COCO annotations here"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "annotations name none"),
        ("a.json", '{"images": [], "annotations": [], "categories": [{"id": 1}]}', "lacks its id or name"),
    ],
)
def test_files_that_are_no_coco_are_an_error(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match=what):
        read(tmp_path)


def test_a_data_set_in_the_wanted_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no photograph here has a YOLO label file"):
        read_other(elsewhere(tmp_path, [{"bbox": BOX}]), Format.COCO, TAXONOMY)


def test_the_command_tells_bad_lines_and_ends_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": [*ROWS, "77 0.5 0.5 0.1 0.1"]}})
    assert run("convert", str(root), "--to", "coco", "--out", str(tmp_path / "out"), "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["boxes"] == 2
    assert "a.txt, line 4: class 77" in " ".join(said.err.split())
    assert run("convert", str(tmp_path / "out"), "--to", "yolo", "--out", str(tmp_path / "back")) == 0
    assert "2 boxes and 1 polygons" in capsys.readouterr().out
    assert run("convert", str(tmp_path / "out"), "--to", "yolo", "--out", str(tmp_path / "back")) == 0
    assert "written already" in capsys.readouterr().out


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": ROWS}})
    write_photo(tmp_path / "out/holiday.jpg")
    with pytest.raises(OutputError, match=r"holiday\.jpg"):
        converted(root, Format.COCO, tmp_path / "out")
