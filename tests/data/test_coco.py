"""COCO files as labeling tools and people really write them: read right, or refused, or told; never silently wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.datasets import NAMES, write_photo, write_yolo
from tests.support.datasets import exit_code as run

from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import ANNOTATIONS, open_coco, read_coco
from toeline.data.datasets import Carry, LabelSet
from toeline.data.export import Format, read_other, write_as
from toeline.data.labels import LabelLine
from toeline.errors import LabelError

BOX = [4, 3, 20, 15]
CATEGORIES = [{"id": 1, "name": "drain"}, {"id": 4, "name": "stone"}]


def image(number: Any = 11, name: Any = "a.png", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 40, "height": 30, **more}


def coco(
    folder: Path,
    annotations: Sequence[Any] = (),
    *,
    images: Sequence[Any] | None = None,
    categories: Sequence[Any] = CATEGORIES,
    photos: Sequence[str] = ("a.png",),
    file: str = "annotations.json",
    **more: Any,
) -> Path:
    """A COCO set; annotations are of image 11 and category 1 unless they say more."""
    for seed, photo in enumerate(photos):
        write_photo(folder / photo, seed=seed)
    record = {
        "images": [image()] if images is None else images,
        "annotations": [
            {"id": i, "image_id": 11, "category_id": 1, "bbox": BOX, **a} if isinstance(a, Mapping) else a
            for i, a in enumerate(annotations, start=1)
        ],
        "categories": categories,
        **more,
    }
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(record))
    return folder


def read(root: Path) -> LabelSet:
    return read_coco(open_coco(root), root)


def lines_of(data: LabelSet, photo: str = "a.png") -> tuple[LabelLine, ...] | None:
    (found,) = [p for photos in data.splits.values() for p in photos if p.photo.name == photo]
    return found.lines


def said(data: LabelSet) -> str:
    return "\n".join(map(str, data.problems))


# What contradicts itself


@pytest.mark.parametrize("second", [image(name="b.png"), image(width=4000), image(number="11", name="b.png")])
def test_one_image_id_for_two_photographs_is_refused_and_both_are_named(tmp_path: Path, second: Any) -> None:
    root = coco(tmp_path, [{}], images=[image(), second], photos=("a.png", "b.png"))
    with pytest.raises(LabelError, match=rf"image id 11 stands there twice, for 'a\.png' .*{second['file_name']}"):
        read(root)


def test_the_same_image_record_twice_is_read_once(tmp_path: Path) -> None:
    data = read(coco(tmp_path, [{}], images=[image(), image()]))
    assert len(lines_of(data) or ()) == 1
    assert not data.problems
    assert "image 11 stands there twice; read once" in data.notes[-1]


def test_a_category_id_of_two_names_is_refused(tmp_path: Path) -> None:
    root = coco(tmp_path, [{}], categories=[*CATEGORIES, {"id": "1", "name": "stone"}])
    with pytest.raises(LabelError, match="category id 1 has the names 'drain' and 'stone'"):
        read(root)


def test_one_name_of_two_ids_is_one_class(tmp_path: Path) -> None:
    data = read(
        coco(
            tmp_path,
            [{}, {"category_id": 7, "bbox": [1, 1, 5, 5]}],
            categories=[*CATEGORIES, {"id": 7, "name": "drain"}],
        )
    )
    assert [line.class_id for line in lines_of(data) or ()] == [0, 0]
    assert data.names == {0: "drain", 1: "stone"}
    assert "category 'drain' has several ids" in data.notes[0]


@pytest.mark.parametrize("ignore", [1, True, "1"])
def test_what_is_to_be_ignored_is_no_object_and_not_nothing(tmp_path: Path, ignore: object) -> None:
    data = read(coco(tmp_path, [{"ignore": ignore}, {"bbox": [1, 1, 5, 5], "ignore": 0}]))
    assert len(lines_of(data) or ()) == 1
    assert "is marked to be ignored (ignore 1)" in said(data)
    assert lines_of(read(coco(tmp_path, [{"ignore": ignore}]))) is None


@pytest.mark.parametrize("points", [[5, 5, 2], [5, 5, 9, 9], [5, 5, 9, 9, 12, 12]])
def test_key_points_are_passed_over_and_it_is_noted(tmp_path: Path, points: list[int]) -> None:
    data = read(coco(tmp_path, [{"keypoints": points, "num_keypoints": 1}]))
    assert len(lines_of(data) or ()) == 1
    assert not data.problems
    assert "key points are passed over" in data.notes[-1]


def test_an_annotation_id_twice_is_noted_and_nothing_is_lost(tmp_path: Path) -> None:
    data = read(coco(tmp_path, [{}, {"id": 1}, {"id": 1, "bbox": [1, 1, 5, 5]}]))
    assert len(lines_of(data) or ()) == 2
    assert not data.problems
    assert any("annotation 1: stands there twice; read once" in note for note in data.notes)
    assert any("annotation 1: is the id of several objects; all are read" in note for note in data.notes)


def test_the_same_object_twice_is_read_once_and_noted(tmp_path: Path) -> None:
    data = read(coco(tmp_path, [{}, {}]))
    assert len(lines_of(data) or ()) == 1
    assert any("annotation 2: is the same object as one before it" in note for note in data.notes)


def test_ids_that_are_numbers_here_and_text_there_are_equal_and_noted(tmp_path: Path) -> None:
    data = read(coco(tmp_path, [{"image_id": "11", "category_id": "4"}], images=[image(), image(12, "b.png")]))
    assert [line.class_id for line in lines_of(data) or ()] == [1]
    assert any("ids of images are numbers here and text there" in note for note in data.notes)
    assert any("ids of categories are numbers here and text there" in note for note in data.notes)


def test_ids_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"image_id of annotation 1 is 'a\.png', so nobody knows whose it is"):
        read(coco(tmp_path, [{"image_id": "a.png"}]))


def test_ids_of_text_are_read_where_all_are_text(tmp_path: Path) -> None:
    data = read(
        coco(
            tmp_path,
            [{"image_id": "x-1", "category_id": "d"}],
            images=[image("x-1")],
            categories=[{"id": "d", "name": "drain"}],
        )
    )
    assert [line.class_id for line in lines_of(data) or ()] == [0]


@pytest.mark.parametrize(
    "category",
    [{"id": None, "name": "x"}, {"id": True, "name": "x"}, {"id": 3}, {"id": 3, "name": [1]}, {"name": "x"}, 5],
)
def test_categories_without_id_or_name_are_refused(tmp_path: Path, category: Any) -> None:
    with pytest.raises(LabelError, match="a category lacks its id or name"):
        read(coco(tmp_path, [{}], categories=[*CATEGORIES, category]))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    coco(tmp_path, [{}])
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text.replace('"bbox":', '"bbox": [1, 1, 2, 2], "bbox":'))
    with pytest.raises(LabelError, match="the key 'bbox' stands there twice"):
        read(tmp_path)


def test_files_that_say_they_are_ours_are_checked(tmp_path: Path) -> None:
    root = coco(
        tmp_path, [{}], info={"contributor": "toeline"}, file="train/_annotations.coco.json", photos=("train/a.png",)
    )
    coco(
        root,
        [{}],
        info={"contributor": "toeline"},
        file="valid/_annotations.coco.json",
        photos=("valid/a.png",),
        categories=[{"id": 1, "name": "stone"}],
    )
    data = read(root)
    assert data.names == {0: "drain", 1: "stone"}
    assert [line.class_id for p in data.splits["valid"] for line in p.lines or ()] == [1]


def test_negative_ids_are_no_class_ids_even_in_a_file_of_ours(tmp_path: Path) -> None:
    categories = [{"id": -1, "name": "drain"}]
    data = read(coco(tmp_path, [{"category_id": -1}], categories=categories, info={"contributor": "toeline"}))
    assert data.names == {0: "drain"}


@pytest.mark.parametrize("info", [[], "toeline", None, {"contributor": ["toeline"]}])
def test_info_of_any_kind_is_no_fault(tmp_path: Path, info: Any) -> None:
    assert lines_of(read(coco(tmp_path, [{}], info=info)))


def test_boxes_that_are_shares_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="every place lies between 0 and 1"):
        read(coco(tmp_path, [{"bbox": [0.1, 0.2, 0.3, 0.4]}, {"bbox": [0, 0, 1, 1]}]))


# Values


def test_numbers_in_quotes_are_read(tmp_path: Path) -> None:
    images = [image("11", width="40", height="30")]
    data = read(coco(tmp_path, [{"image_id": "11", "bbox": ["4", "3", "20", "15.0"]}], images=images))
    assert [line.box.xyxy for line in lines_of(data) or ()] == [(4, 3, 24, 18)]
    assert not data.problems


BAD = [[4, None, 9, 5], [True, 3, 9, 5], [[4], 3, 9, 5], [4, 3, -9, 5], [4, 3, 9, "x"], {}, "4 3 9 5", None, 7]
BAD += [[4, 3, 1e308, 5], [-1e308, 3, 9, 5], [4, 3, "nan", 5], [4, 3, "1e309", 5], [9e8, 3, 9e8, 5], [4, 3, 9], [0] * 8]


@pytest.mark.parametrize("bbox", BAD)
def test_a_bbox_that_is_none_is_named_and_the_photograph_is_not_labeled(tmp_path: Path, bbox: Any) -> None:
    data = read(coco(tmp_path, [{"bbox": bbox}]))
    assert lines_of(data) is None
    assert "annotation 1: " in str(data.problems[0])
    assert "no label of this photograph could be read" in str(data.problems[1])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_named(tmp_path: Path, value: str) -> None:
    coco(tmp_path, [{"bbox": [4, 3, 9, 77]}])
    file = tmp_path / "annotations.json"
    file.write_text(file.read_text().replace("77", value))
    assert "annotation 1: its bbox" in said(read(tmp_path))


@pytest.mark.parametrize("side", [True, float("nan"), -40, 0, [40], "wide", 1e308])
def test_a_size_that_is_none_is_named(tmp_path: Path, side: Any) -> None:
    with pytest.raises(LabelError, match=r"the annotations (say that it is|are for)"):
        read(coco(tmp_path, [{}], images=[image(width=side)]))


@pytest.mark.parametrize("odd", [5, None, "x", [1], {}, {"id": [1]}, {"id": None, "file_name": "a.png"}])
def test_records_of_another_kind_are_named(tmp_path: Path, odd: Any) -> None:
    data = read(coco(tmp_path, [{}, odd if not isinstance(odd, dict) else [odd]], images=[image(), odd]))
    assert len(lines_of(data) or ()) == 1
    assert "has no id" in said(data)
    assert "is no mapping" in said(data)


def test_long_values_are_quoted_short(tmp_path: Path) -> None:
    long = "x" * 100_000
    annotations = [
        {"bbox": long},
        {"category_id": long},
        {"id": long, "bbox": [1]},
        {"segmentation": long},
        {"rotation": long},
    ]
    data = read(coco(tmp_path, annotations, images=[image(), image(12, long), image(13, [long])]))
    assert max(map(len, map(str, data.problems))) < 600
    assert len(data.problems) == 7


def test_a_file_nested_deep_is_refused(tmp_path: Path) -> None:
    coco(tmp_path, [{}], info="DEEP")
    file = tmp_path / "annotations.json"
    file.write_text(file.read_text().replace('"DEEP"', "[" * 100_000 + "]" * 100_000))
    with pytest.raises(LabelError, match="nested too deep"):
        read(tmp_path)


# What could not be read is not nothing


def test_a_photograph_whose_annotations_were_left_out_gets_no_label_file(tmp_path: Path) -> None:
    images = [image(), image(12, "b.png"), image(13, "c.png")]
    root = coco(tmp_path / "in", [{"bbox": []}, {"image_id": 12}], images=images, photos=("a.png", "b.png", "c.png"))
    assert run("convert", str(root), "--to", "yolo", "--out", str(tmp_path / "out")) == 1
    assert sorted(f.name for f in (tmp_path / "out/labels").iterdir()) == ["b.txt", "c.txt"]
    assert (tmp_path / "out/labels/c.txt").read_text() == ""  # no annotations at all: nothing is there


# Names


@pytest.mark.parametrize(
    ("name", "photo"),
    [
        (unicodedata.normalize("NFD", "digue_été.png"), unicodedata.normalize("NFC", "digue_été.png")),
        (unicodedata.normalize("NFC", "digue_été.png"), unicodedata.normalize("NFD", "digue_été.png")),
        ("DSC_01.png", "dsc_01.PNG"),
        ("flight\\one\\a.png", "flight/one/a.png"),
        ("C:\\Users\\me\\flight\\a.png", "flight/a.png"),
        ("/home/me/export/images/a.png", "images/a.png"),
        ("a%20b.png", "a b.png"),
        ("a%20b.png", "a%20b.png"),
        ("/data/upload/1/0a1b2c3d-a.png", "a.png"),
        ("/data/upload/1/0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("/data/local-files/?d=flight%5Cday%201%5Ca.png", "flight/day 1/a.png"),
        ("https://bucket.example/x/a.png?X-Amz-Signature=abc", "a.png"),
        ("file:///home/me/a.png", "a.png"),
    ],
)
def test_a_photograph_is_found_under_the_name_that_a_person_sees(tmp_path: Path, name: str, photo: str) -> None:
    data = read(coco(tmp_path, [{}], images=[image(name=name)], photos=(photo,)))
    assert [p.photo for p in data.splits["all"]] == [tmp_path / photo]
    assert not data.problems


def test_folders_decide_between_equal_names(tmp_path: Path) -> None:
    images = [image(1, "D:\\dam\\east\\a.png"), image(2, "D:\\dam\\west\\a.png")]
    root = coco(tmp_path, [{"image_id": 1}], images=images, photos=("photos/west/a.png", "photos/east/a.png"))
    data = read(root)
    assert {p.photo.parent.name: len(p.lines or ()) for p in data.splits["all"]} == {"east": 1, "west": 0}


def test_each_file_means_the_photographs_nearest_to_it(tmp_path: Path) -> None:
    for task, count in (("task1", 1), ("task2", 0)):
        coco(tmp_path / task, [{}] * count, file="annotations/instances_default.json", photos=("images/default/a.png",))
    data = read(tmp_path)
    assert {p.photo.parts[-4]: len(p.lines or ()) for p in data.splits["all"]} == {"task1": 1, "task2": 0}


@pytest.mark.parametrize("photos", [("east/a.png", "west/a.png"), ("A.png", "a.PNG")])
def test_a_name_that_could_be_two_photographs_is_told(tmp_path: Path, photos: tuple[str, str]) -> None:
    images = [image(name="north/a.png"), image(12, "other.png")]
    data = read(coco(tmp_path, [{}], images=images, photos=(*photos, "other.png")))
    assert "'north/a.png' is not here, or not once (" in said(data)
    assert "left out, with its 1 annotations" in said(data)


def test_two_names_for_one_photograph_are_not_put_together(tmp_path: Path) -> None:
    images = [image(1, "east/a.png"), image(2, "west/a.png")]
    data = read(
        coco(tmp_path, [{"image_id": 1}, {"image_id": 2, "bbox": [1, 1, 5, 5]}], images=images, photos=("west/a.png",))
    )
    assert [line.box.xyxy for line in lines_of(data) or ()] == [(1, 1, 6, 6)]
    assert "image 1 'east/a.png' is not here" in said(data)


@pytest.mark.parametrize("name", ["x" * 3000 + ".png", "a\0.png", "", 5, None, ["a.png"], {"a": 1}, "x" * 300 + ".png"])
def test_a_name_that_no_photograph_has_is_told(tmp_path: Path, name: Any) -> None:
    data = read(coco(tmp_path, [{"image_id": 12}], images=[image(), image(12, name)]))
    assert "image 12 " in said(data)
    assert "is not here" in said(data)


def test_hidden_files_and_those_of_other_programs_are_left_out(tmp_path: Path) -> None:
    root = coco(tmp_path, [{}], file="train/_annotations.coco.json", photos=("train/deep/a.png",))
    (root / "train/._annotations.coco.json").write_bytes(b"\0\5\x16\7")
    for place in ("train/deep/._a.png", "__MACOSX/a.png", ".thumbnails/a.png", "train/@eaDir/a.png"):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_bytes(b"\0\5\x16\7")
    data = read(root)
    assert [p.photo for p in data.splits["train"]] == [root / "train/deep/a.png"]
    assert not data.problems


def test_two_records_of_other_sizes_for_one_photograph_are_put_together_in_one_size(tmp_path: Path) -> None:
    coco(tmp_path, [{"bbox": [4, 3, 20, 15]}], file="one.json")
    coco(tmp_path, [{"bbox": [0, 0, 2000, 1500]}], images=[image(width=4000, height=3000)], file="two.json")
    assert [line.box.xyxy for line in lines_of(read(tmp_path)) or ()] == [(4, 3, 24, 18), (0, 0, 20, 15)]


# Other files


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("t.json", '[{"image": "a.jpg", "label": [{"rectanglelabels": ["x"], "x": 1}]}]', "JSON-MIN"),
        ("t.json", '[{"id": 1, "annotations": [{"completed_by": 1, "result": []}]}]', "Label Studio"),
        ("v.json", '{"a.jpg1": {"filename": "a.jpg", "regions": [{"region_attributes": {}}]}}', "VIA"),
        ("l.json", '{"shapes": [], "imagePath": "a.jpg"}', "LabelMe"),
        ("a.xml", "<annotation><folder/><object><name>x</name></object></annotation>", "Pascal VOC"),
        ("v.xml", "<?xml?><annotations><track id='0'/></annotations>", "CVAT for video"),
        ("b.tfrecord", "x", "TFRecord"),
        ("a.xml", "<?xml?><annotations><version/><image id='0'/></annotations>", "CVAT"),
        ("c.json", '[{"image": "a", "annotations": [{"label": "x", "coordinates": {"x": 1}}]}]', "CreateML"),
        ("a.csv", "filename,xmin,ymin,xmax,ymax\n", "CSV"),
    ],
)
def test_other_formats_are_named_with_what_to_do(tmp_path: Path, file: str, text: str, told: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(LabelError, match=rf"{told}.*Export them as COCO or YOLO"):
        open_coco(tmp_path)
    with pytest.raises(LabelError, match=rf"{told}|cannot be read as JSON"):
        open_coco(tmp_path / file)
    write_photo(tmp_path / "a.png")
    with pytest.raises(LabelError, match=rf"no YOLO|YOLO label file\. .*{told}"):
        read_other(tmp_path, Format.COCO, Taxonomy.load())


def test_files_beside_instances_are_told(tmp_path: Path) -> None:
    root = coco(tmp_path, [{}], file="annotations/instances_train.json", photos=("a.png",))
    coco(root, [{}], file="annotations/person_keypoints_train.json")
    coco(root, [{}], file="annotations/new.json")
    data = read(root)
    assert "new.json: is not read" in said(data)
    assert len(data.problems) == 1
    assert any("person_keypoints_train.json" in note for note in data.notes)


def test_a_half_written_annotation_file_beside_a_good_one_is_refused(tmp_path: Path) -> None:
    root = coco(tmp_path, [{}])
    (root / "valid").mkdir()
    (root / "valid/_annotations.coco.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(LabelError, match=r"valid/_annotations\.coco\.json: lacks one of the lists"):
        open_coco(root)


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"images": [], "annotations": [', "as JSON"), ('{"images": [], "annotations": []}', "lacks one")],
)
def test_annotations_beside_good_ones_that_cannot_be_read_are_told(tmp_path: Path, text: str, told: str) -> None:
    root = coco(tmp_path, [{}], file="train.json")
    (root / "val.json").write_text(text)
    (root / "settings.json").write_text("{ // of an editor")
    (problem,) = read(root).problems
    assert told in str(problem)
    assert str(problem).startswith(f"{root / 'val.json'}: is not read")
    (root / "train.json").unlink()
    with pytest.raises(LabelError, match=told):
        read(root)


def test_photographs_that_are_not_listed_are_noted_and_those_of_two_splits_told(tmp_path: Path) -> None:
    root = coco(tmp_path, [{}], photos=("a.png", "b.png"), file="train.json")
    data = read(root)
    assert data.problems == ()
    assert f"{root}: 1 photograph left out, b.png for one: not listed in the annotations" in str(data.notes)
    (root / "val.json").write_bytes((root / "train.json").read_bytes())
    (problem,) = read(root).problems
    assert "is listed in train and in valid" in str(problem)


def test_one_share_among_pixels_is_told(tmp_path: Path) -> None:
    data = read(coco(tmp_path, [{}, {"bbox": [0.1, 0.1, 0.3, 0.3]}]))
    assert len(lines_of(data) or ()) == 1
    assert "annotation 2: its place lies between 0 and 1" in str(*data.problems)


def test_what_convert_writes_is_read_back_the_same(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", {"train": {"a.png": ["5 0.5 0.5 0.2 0.4"]}})
    sent = read_other(root, Format.COCO, Taxonomy.load())
    write_as(sent, Format.COCO, tmp_path / "coco", Carry.LINK)
    assert (tmp_path / "coco/train" / ANNOTATIONS).is_file()
    back = read(tmp_path / "coco")
    assert back.names == dict(enumerate(NAMES))
    assert [p.lines for p in back.splits["train"]] == [p.lines for p in sent.splits["train"]]


ODD: list[Any] = [None, True, -1, 0, 1, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, "", "1", "x", "\0"]
ODD += ["../a", "é\ud800", "x" * 5000, [], [[]], [[[1]]], {}, {"id": 1}, [None] * 6, [1, 2, 3, 4], [5] * 7]
ODD += [{"counts": "0", "size": [30, 40]}]


def whole() -> dict[str, Any]:
    """A record with everything that is read."""
    mask = {"counts": [40, 10, 1150], "size": [30, 40]}
    shapes: list[dict[str, Any]] = [
        {"bbox": BOX},
        {"bbox": BOX, "attributes": {"rotation": 30}},
        {"bbox": BOX, "rotation": 30},
        {"segmentation": [[0, 0, 20, 0, 20, 20]]},
        {"segmentation": mask, "iscrowd": 1},
        {"segmentation": {**mask, "counts": "X1:T35"}},
    ]
    return {
        "info": {"contributor": "toeline"},
        "images": [image(), image(12, "b.png"), image(13, "deep/c.png", labelled=False)],
        "annotations": [{"id": i, "image_id": 11, "category_id": 1, **a} for i, a in enumerate(shapes)],
        "categories": [{"id": 1, "name": "drain", "supercategory": "x"}, {"id": 4, "name": "stone"}],
    }


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a record: its holder and its key."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in [*inner]:
        yield value, key
        yield from spots(one)


@given(st.lists(st.tuples(st.integers(0, 2**32), st.sampled_from(ODD)), min_size=1, max_size=4))
def test_whatever_stands_in_a_record_ends_in_labels_or_in_words(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, Any]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    if not folder.is_dir():
        for photo in ("a.png", "b.png", "deep/c.png"):
            write_photo(folder / photo)
    record = whole()
    for number, value in changes:
        places = list(spots(record))
        holder, key = places[number % len(places)]
        holder[key] = copy.deepcopy(value)
    (folder / "annotations.json").write_text(json.dumps(record))
    with contextlib.suppress(LabelError):
        data = read(folder)
        lines = [line for photos in data.splits.values() for p in photos for line in p.lines or ()]
        assert all(line.box.width >= 0 and line.box.height >= 0 for line in lines)
        assert all(len(str(p)) < 800 for p in data.problems)
