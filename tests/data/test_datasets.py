"""A split for detectors: nine classes become types, conditions are gone, and what cannot be used is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.datasets import write_yolo

from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import Carry, read_split, read_yolo
from toeline.data.export import Format, write_as
from toeline.data.split import SplitRun, plan_split, write_split
from toeline.data.yolo import open_yolo
from toeline.errors import LabelError

TAXONOMY = Taxonomy.load()
PHOTOS = {"a_1.jpg": ["6 0.2 0.3 0.1 0.5", "4 0.5 0.8 0.8 0.2", "8 0.1 0.1 0.3 0.1 0.2 0.4"], "b_1.jpg": []}


def test_classes_are_folded_to_types(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": PHOTOS, "valid": {}}, size_wh=(200, 100))
    split = read_split(open_yolo(tmp_path, TAXONOMY), "train", TAXONOMY, conditions=False)
    assert [t.type_name for t in split.scenes[0].instances] == ["slope_drain", "rock_toe", "vegetation"]
    assert len(split.scenes[0].instances[2].polygon) == 3
    assert (split.objects, split.scenes[0].size_wh, split.scenes[0].flight_line) == (3, (200, 100), "a")
    assert split.scenes[0].name == "train/images/a_1.jpg"
    assert not split.scenes[1].instances  # a photograph with nothing on it teaches too


def test_a_set_of_types_alone_is_as_good(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": ["1 0.5 0.5 0.2 0.2"]}})
    (tmp_path / "data.yaml").write_text("names: [toe_drain, rock_toe, slope_drain, vegetation]\n")
    split = read_split(open_yolo(tmp_path, TAXONOMY), "train", TAXONOMY, conditions=False)
    assert [t.type_name for t in split.scenes[0].instances] == ["rock_toe"]


def test_mended_boxes_are_another_set(tmp_path: Path) -> None:
    hashes = set()
    for n, row in enumerate(("6 0.2 0.3 0.1 0.5", "7 0.2 0.3 0.1 0.5", "6 0.2 0.3 0.1 0.4")):
        write_yolo(tmp_path / str(n), {"train": {"a.jpg": [row]}})
        hashes.add(read_split(open_yolo(tmp_path / str(n), TAXONOMY), "train", TAXONOMY, conditions=False).sha256())
    assert len(hashes) == 2  # a condition is nothing to a detector


def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": PHOTOS})
    (tmp_path / "train" / "images" / "a_1.jpg").write_bytes(b"no picture")
    (tmp_path / "train" / "images" / "c_1.jpg").write_bytes((tmp_path / "train" / "images" / "b_1.jpg").read_bytes())
    split = read_split(open_yolo(tmp_path, TAXONOMY), "train", TAXONOMY, conditions=False)
    assert [p.name for p in split.scenes] == ["train/images/b_1.jpg"]
    assert len(split.problems) == 2


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": PHOTOS})
    with pytest.raises(LabelError, match=r"has no split 'test'\. Choose one of: train"):
        read_split(open_yolo(tmp_path, TAXONOMY), "test", TAXONOMY, conditions=False)


BAD = {
    "none of it.jpg": ["99 0.5 0.5 0.1 0.1", "nonsense"],
    "some of it.jpg": ["6 0.2 0.3 0.1 0.5", "nonsense"],
    "nothing there.jpg": [],
    "blank.jpg": ["", " "],
    "not readable.jpg": [],
    "no labels.jpg": [],
}
KNOWN = ["blank.jpg", "nothing there.jpg", "some of it.jpg"]  # what is on it


def bad_set(root: Path) -> Path:
    """Photographs whose labels are bad in all ways."""
    write_yolo(root, {"train": BAD})
    (root / "train/labels/not readable.txt").write_bytes(b"\xff\xfe6\0")
    (root / "train/labels/no labels.txt").unlink()
    return root


@pytest.mark.parametrize("conditions", [True, False])
def test_what_could_not_be_read_is_never_nothing_there(tmp_path: Path, conditions: bool) -> None:
    split = read_split(open_yolo(bad_set(tmp_path), TAXONOMY), "train", TAXONOMY, conditions=conditions)
    assert sorted(scene.path.name for scene in split.scenes) == KNOWN
    unknown = {Path(p.file).name for p in split.problems if "and not one with nothing on it" in p.what}
    assert unknown == {"none of it.jpg", "not readable.jpg"}


def test_photographs_of_which_nothing_is_known_get_no_label_file(tmp_path: Path) -> None:
    data = open_yolo(bad_set(tmp_path / "in"), TAXONOMY)
    whole = read_yolo(data)
    assert sorted(p.name for p in whole.splits["train"] if p.lines is not None) == KNOWN
    write_as(whole, Format.YOLO, tmp_path / "yolo", Carry.COPY)
    assert sorted(p.stem for p in (tmp_path / "yolo/train/labels").iterdir()) == [Path(n).stem for n in KNOWN]
    write_as(whole, Format.COCO, tmp_path / "coco", Carry.COPY)
    images = json.loads((tmp_path / "coco/train/_annotations.coco.json").read_text())["images"]
    assert sorted(image["file_name"] for image in images if image.get("labelled", True)) == KNOWN
    plan = plan_split(data, SplitRun(parts={"train": 1.0}))
    write_split(plan, tmp_path / "split")
    assert sorted(p.stem for p in (tmp_path / "split/train/labels").iterdir()) == [Path(n).stem for n in KNOWN]
    assert len(list((tmp_path / "split/train/images").iterdir())) == len(BAD)
    for problems in (whole.problems, plan.problems):
        assert sum("and not one with nothing on it" in p.what for p in problems) == 2
