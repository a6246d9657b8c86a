"""One rule says which label file belongs to which photograph; what is open to doubt belongs to none, and is told."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from tests.support.datasets import NAMES, write_labels, write_photo

from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo
from toeline.data.matching import folded, match_labels
from toeline.data.yolo import open_yolo
from toeline.pipelines.boxes import label_boxes

TAXONOMY = Taxonomy.load()
BOX, OTHER = "5 0.5 0.5 0.2 0.4", "7 0.5 0.5 0.2 0.4"
NFC, NFD = "digue_\u00e9t\u00e9", unicodedata.normalize("NFD", "digue_\u00e9t\u00e9")


def put(root: Path, photos: list[str], labels: dict[str, str]) -> dict[str, str | None]:
    """Write them, open the data set, and give each photograph's label file."""
    for n, name in enumerate(photos):
        write_photo(root / name, seed=n)
    for name, row in labels.items():
        write_labels(root / name, [row])
    (root / "data.yaml").write_text(f"names: {list(NAMES)}\n")
    data = open_yolo(root, TAXONOMY)
    entries = [entry for its in data.splits.values() for entry in its]
    return {
        e.photo.relative_to(root).as_posix(): e.labels.relative_to(root).as_posix() if e.labels else None
        for e in entries
    }


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("images/a.jpg", "labels/a.TXT"),
        ("images/a.JPG", "labels/A.txt"),
        ("images/a.jpg", "labels/a.jpg.txt"),
        ("images/DJI_1.JPG", "labels/dji_1.jpg.txt"),
        (f"images/{NFC}.jpg", f"labels/{NFD}.txt"),
        (f"images/{NFD}.jpg", f"labels/{NFC}.TXT"),
        ("images/a.b.jpg", "labels/a.b.txt"),
        ("images/flight/a.jpg", "labels/flight/a.txt"),
        ("images/flight/a.jpg", "labels/a.txt"),
        ("images/flight/a.jpg", "images/flight/labels/a.txt"),
        ("images/flight/images/a.jpg", "images/flight/labels/a.txt"),
        ("train/flight/images/a.jpg", "train/flight/labels/a.txt"),
        ("train/images/flight/a.jpg", "train/labels/flight/a.txt"),
        ("train/flight/a.jpg", "train/flight/a.txt"),
        ("obj_train_data/a.jpg", "obj_train_data/a.txt"),
        ("images/Train/a.jpg", "labels/Train/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("Images/a.jpg", "Labels/a.txt"),
        ("a.jpg", "labels/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_a_label_file_is_found(tmp_path: Path, photo: str, label: str) -> None:
    assert put(tmp_path, [photo], {label: BOX}) == {photo: label}
    assert not open_yolo(tmp_path, TAXONOMY).problems


def test_names_that_differ_in_case_only_are_kept_apart(tmp_path: Path) -> None:
    photos, labels = ["images/a.jpg", "images/A.jpg"], {"labels/a.txt": BOX, "labels/A.txt": OTHER}
    assert put(tmp_path, photos, labels) == {"images/a.jpg": "labels/a.txt", "images/A.jpg": "labels/A.txt"}
    (tmp_path / "labels/A.txt").unlink()
    assert put(tmp_path, photos, {}) == {"images/a.jpg": "labels/a.txt", "images/A.jpg": None}


def test_a_whole_name_tells_two_photographs_apart(tmp_path: Path) -> None:
    found = put(tmp_path, ["images/a.jpg", "images/a.png"], {"labels/a.jpg.txt": BOX, "labels/a.png.txt": BOX})
    assert found == {"images/a.jpg": "labels/a.jpg.txt", "images/a.png": "labels/a.png.txt"}


@pytest.mark.parametrize(
    ("photos", "labels", "said"),
    [
        (["images/a.jpg", "images/a.png"], {"labels/a.txt": BOX}, "belongs to a.jpg and a.png alike"),
        (["images/a.jpg"], {"labels/a.txt": BOX, "labels/A.txt": OTHER}, "a.txt and"),
        (["images/a.jpg"], {"labels/a.txt": BOX, "labels/a.jpg.txt": OTHER}, "may both be its label file"),
        (["images/a.jpg"], {"labels/a.txt": BOX, "images/a.txt": OTHER}, "may both be its label file"),
        (["images/1/a.jpg", "images/2/a.jpg"], {"labels/a.txt": BOX}, "2/a.jpg alike"),
    ],
)
def test_what_is_open_to_doubt_is_used_for_nothing(
    tmp_path: Path, photos: list[str], labels: dict[str, str], said: str
) -> None:
    assert set(put(tmp_path, photos, labels).values()) == {None}
    (problem,) = open_yolo(tmp_path, TAXONOMY).problems
    assert said in problem.what
    assert not problem.note


def test_labels_that_say_the_same_are_no_contradiction(tmp_path: Path) -> None:
    assert put(tmp_path, ["images/a.jpg"], {"labels/a.txt": BOX, "images/a.txt": BOX}) == {
        "images/a.jpg": "labels/a.txt"
    }
    assert put(tmp_path, [], {"images/a.txt": "taken at noon"}) == {"images/a.jpg": "labels/a.txt"}
    assert not open_yolo(tmp_path, TAXONOMY).problems


def test_the_closer_folder_wins(tmp_path: Path) -> None:
    found = put(tmp_path, ["images/a.jpg", "images/1/a.jpg"], {"labels/a.txt": BOX, "labels/1/a.txt": OTHER})
    assert found == {"images/a.jpg": "labels/a.txt", "images/1/a.jpg": "labels/1/a.txt"}


def test_labels_without_a_photograph_are_told(tmp_path: Path) -> None:
    labels = {f"labels/gone_{i:02}.txt": BOX for i in range(25)}
    others = {"labels/README.txt": "hello", "b.txt": BOX, "notes.txt": "hello", "labels/._a.txt": BOX}
    put(tmp_path, ["images/a.jpg"], {"labels/a.txt": BOX, **labels, **others})
    said = [Path(p.file).name + p.what[:20] for p in open_yolo(tmp_path, TAXONOMY).problems]
    assert said[0] == "gone_00.txtno photograph belong"
    assert said[-1] == "labels5 more label files h"
    assert len(said) == 20 + 1


def test_labels_beside_photographs_are_told_from_other_texts(tmp_path: Path) -> None:
    put(tmp_path, ["a.jpg"], {"a.txt": BOX, "b.txt": BOX, "notes.txt": "hello", "train.txt": "a.jpg"})
    assert [Path(p.file).name for p in open_yolo(tmp_path, TAXONOMY).problems] == ["b.txt"]


def test_the_same_rule_holds_for_boxes(tmp_path: Path) -> None:
    names = ["1/a.jpg", "2/b.jpg", "2/b.png", "3/C.jpg", f"3/{NFC}.jpg", "3/d.jpg"]
    labels = {"1/a.txt": BOX, "2/b.txt": BOX, "c.TXT": BOX, f"{NFD}.txt": BOX}
    photos = [Photo(write_photo(tmp_path / "photos" / name), name) for name in names]
    for name, row in labels.items():
        write_labels(tmp_path / "marks" / name, [row])
    write_labels(tmp_path / "classes.txt", NAMES)
    boxes, problems = label_boxes(tmp_path / "marks", TAXONOMY, photos)
    found = {photo.name: boxes(photo, (40, 30)) for photo in photos}
    assert [len(instances) for instances, _ in found.values()] == [1, 0, 0, 1, 1, 0]
    assert "b.jpg and b.png alike" in str(*problems)
    assert "no such file" in str(*found["3/d.jpg"][1])


def test_names_that_no_text_can_hold_are_matched_like_others() -> None:
    assert folded("d\udcf1.JPG") == folded("d\udcf1.jpg")
    assert not match_labels([Path("nowhere/a.jpg")], lambda at: [at, at / "labels"]).labels
