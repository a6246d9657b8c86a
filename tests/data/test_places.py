"""What data.yaml says of places is obeyed; what lies beside them is told, and what is open to doubt is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.datasets import NAMES, write_labels, write_photo

from toeline.core.finding import Problem, grave
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import read_split
from toeline.data.yolo import YoloSet, open_yolo
from toeline.errors import LabelError

TAXONOMY = Taxonomy.load()
BOX = "5 0.5 0.5 0.2 0.4"


def put(root: Path, yaml: str, *photos: str, file: str = "data.yaml") -> Path:
    """A data.yaml with the names of the classes, and photographs with a label each."""
    for n, name in enumerate(photos):
        photo = write_photo(root / name, seed=n)
        write_labels(Path(*("labels" if p == "images" else p for p in photo.parts)).with_suffix(".txt"), [BOX])
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(f"{yaml}\nnames: {list(NAMES)}\n")
    return root


def opened(root: Path) -> tuple[dict[str, list[str]], list[Problem]]:
    """Photographs by split, each of which has its label; and what was said."""
    data = open_yolo(root, TAXONOMY)
    assert all(entry.labels for entries in data.splits.values() for entry in entries)
    return photos_of(data), list(data.problems)


def photos_of(data: YoloSet) -> dict[str, list[str]]:
    """The names of the photographs by split."""
    return {split: [entry.photo.name for entry in entries] for split, entries in data.splits.items()}


@pytest.mark.parametrize(
    ("yaml", "found", "notes"),
    [
        ("train: [train/images, more/images]\nval: valid/images", {"train": "abm", "valid": "v"}, 0),
        ("train: train\\images\nval: valid\\images\n", {"train": "ab", "valid": "v"}, 1),
        ("train: ../train/images\nval: ../valid/images\ntest: ../test/images", {"train": "ab", "valid": "v"}, 2),
        ("train: /home/me/set/train/images\nval: D:\\set\\valid\\images", {"train": "ab", "valid": "v"}, 3),
        ("path: C:\\sets\\lagoon\ntrain: train/images\nval: valid/images", {"train": "ab", "valid": "v"}, 3),
        ("train: '*/images'", {"train": "mabv"}, 0),
        ("train: ['more/image?', valid/images]", {"train": "mv"}, 1),
        ("train: [train, train/images]\nval:\ntest: ''", {"train": "ab"}, 3),
        ("train: train/images/a.jpg", {"train": "a"}, 3),
        ("Train: train/images\nvalidation: valid/images", {"train": "ab", "valid": "v"}, 1),
        ("val: valid/images", {"valid": "v"}, 2),
    ],
)
def test_places_are_read_as_they_are_meant(tmp_path: Path, yaml: str, found: dict[str, str], notes: int) -> None:
    names = ("train/images/a.jpg", "train/images/b.jpg", "more/images/m.jpg", "valid/images/v.jpg")
    photos, said = opened(put(tmp_path, yaml, *names))
    assert photos == {split: [f"{letter}.jpg" for letter in letters] for split, letters in found.items()}
    assert not grave(said)
    assert len(said) == notes, [str(p) for p in said]


def test_a_place_inside_the_usual_one_and_what_lies_beside_it(tmp_path: Path) -> None:
    names = ("train/images/day1/a.jpg", "train/images/day2/b.jpg", "valid/images/v.jpg", "test/images/t.jpg")
    photos, said = opened(put(tmp_path, "train: train/images/day2\nval: valid/images", *names))
    assert photos == {"train": ["b.jpg"], "valid": ["v.jpg"]}
    assert [(p.note, Path(p.file).name, p.what.split(" for one")[0]) for p in said] == [
        (True, "images", "1 photograph left out, t.jpg"),
        (True, "day1", "1 photograph left out, a.jpg"),
    ]


def test_a_path_that_is_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "photos", "", "train/images/a.jpg", "valid/images/v.jpg", "test/images/t.jpg")
    (tmp_path / "photos/data.yaml").unlink()
    for path in ("../photos", str(tmp_path / "photos")):
        put(tmp_path / "cfg", f"path: {path}\ntrain: train/images\nval: valid/images")
        photos, said = opened(tmp_path / "cfg" / "data.yaml")
        assert photos == {"train": ["a.jpg"], "valid": ["v.jpg"]}
        assert [(p.note, p.what[:21]) for p in said] == [(True, "1 photograph left out")]


def line(i: int, form: str) -> str:
    """A line of a list."""
    return form.format(f"images/train/{i}.jpg")


@pytest.mark.parametrize(
    "form",
    ["./{}", "{}", "/home/me/set/{}", "C:\\sets\\lagoon\\{}", "data/{}", '"{}"', "/home/test/set/{}"],
)
def test_a_list_of_photographs_is_all_that_is_read(tmp_path: Path, form: str) -> None:
    root = put(tmp_path, "train: train.txt", *(f"images/train/{i}.jpg" for i in range(4)))
    lines = [line(i, form).replace("/", "\\") if "\\" in form else line(i, form) for i in (2, 0, 2)]
    (root / "train.txt").write_bytes("\r\n".join(["", *lines, ""]).encode("utf-8-sig"))
    photos, said = opened(root)
    assert photos == {"train": ["2.jpg", "0.jpg"]}
    assert [(p.note, p.what) for p in said] == [
        (True, "1 line repeat others; each counts once."),
        (True, "2 photographs left out, 1.jpg for one: not listed in data.yaml."),
    ]


def test_lines_of_a_list_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = put(tmp_path, "train: lists/train.txt\nval: lists/val.txt", "images/train/a.jpg", "images/val/v.jpg")
    write_labels(root / "lists/train.txt", ["../images/train/a.jpg", "/x/valid/images/a.jpg", "notes.txt"])
    write_labels(root / "lists/val.txt", [f"/home/me/images/val/{i}.jpg" for i in range(30)])
    _, said = opened(root)
    assert [(p.line, p.what[:16]) for p in said[:3]] == [
        (2, "the photograph /"),
        (3, "the photograph n"),
        (1, "the photograph /"),
    ]
    assert "10 more photographs are not there" in str(said[22])
    assert all(not p.note for p in said[:23])


def test_a_place_that_may_be_several_is_refused(tmp_path: Path) -> None:
    root = put(tmp_path, "train: /home/me/train/images", "old/train/images/a.jpg", "new/train/images/b.jpg")
    with pytest.raises(LabelError, match=r"new/train/images and .*old/train/images may be meant"):
        open_yolo(root, TAXONOMY)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("train: train/images\nval: ../val/images", "valid/images is read in its place"),
        ("train: train/images\nval: set/valid/images", "valid/images is read in its place"),
        ("train: [train/images, gone/images]\nval: valid/images", "`train: gone/images` is not there"),
        ("train: train/images\nval: [../valid/images, ../test/images]", "`val: ../test/images` is not there"),
        ("train: train/images\nval: train/images", "is listed in train and in valid, and so are 1 more"),
        ("train: imgs/tr\nval: imgs/va", "none of the places that it lists is there"),
        ("train: train/images\nval: empty", "`val: empty` holds no photographs"),
        ("train: train/images\nval: data.yaml", "is neither a folder nor a text file"),
    ],
)
def test_what_is_missing_or_guessed_is_a_problem(tmp_path: Path, yaml: str, said: str) -> None:
    root = put(tmp_path, yaml, "train/images/a.jpg", "train/images/b.jpg", "valid/images/v.jpg")
    (root / "empty").mkdir()
    assert said in " ".join(str(p) for p in grave(opened(root)[1]))


def test_train_is_never_taken_for_valid(tmp_path: Path) -> None:
    root = put(tmp_path, "train: train/images\nval: /home/me/valid/images", "train/images/a.jpg", "images/b.jpg")
    photos, said = opened(root)
    assert photos == {"train": ["a.jpg"]}
    assert "`val: /home/me/valid/images` is not there" in str(grave(said)[0])


def test_a_folder_beside_and_one_above_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "", "train/images/other.jpg")
    photos, said = opened(put(tmp_path / "set", "train: ../train/images", "train/images/a.jpg"))
    assert photos == {"train": ["a.jpg"]}
    assert "may be" in str(*grave(said))


@pytest.mark.parametrize("yaml", ["train: 5", "train: {a: b}", "train: [[a]]", "train: [1]"])
def test_places_that_are_none_are_refused(tmp_path: Path, yaml: str) -> None:
    with pytest.raises(LabelError, match="is no folder, list of folders or text file"):
        open_yolo(put(tmp_path, yaml, "train/images/a.jpg"), TAXONOMY)


def zipped(root: Path) -> Path:
    """An archive in place of a folder."""
    (root / "set.zip").write_bytes(b"PK")
    return root / "set.zip"


def two(root: Path) -> Path:
    """Two files of which each may be meant."""
    put(root, "train: images", "images/a.jpg", file="one.yaml")
    return put(root, "train: images", file="two.yaml")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (zipped, "is an archive. Unpack it"),
        (lambda root: zipped(root).parent, r"set\.zip is an archive: unpack it"),
        (lambda root: put(root / "lagoon", "train: images", "images/a.jpg").parent, "holds data sets of their own"),
        (lambda root: write_photo(root / "a.jpg"), "is no data set. Name a folder"),
        (lambda root: write_labels(root / "labels/a.txt", [BOX]).parent, "no photographs here"),
        (two, r"one\.yaml and two\.yaml both say where photographs are"),
        (lambda root: put(root, "train: images\nkpt_shape: 17", "images/a.jpg"), "`kpt_shape: 17` is not the number"),
        (lambda root: put(root, "train: images\ntask: pose", "images/a.jpg"), "`kpt_shape: None` is not the number"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(LabelError, match=said):
        open_yolo(make(tmp_path), TAXONOMY)


@pytest.mark.parametrize("top", ["", "train", "train/images"])
def test_a_folder_further_down_is_read_with_the_names_of_the_set(tmp_path: Path, top: str) -> None:
    root = put(tmp_path, "train: train/images", "train/images/a.jpg")
    (root / "data.yaml").write_text(f"train: train/images\nnames: {list(NAMES[::-1])}\n")
    split = read_split(open_yolo(root / top, TAXONOMY), None, TAXONOMY)
    assert [t.class_name for s in split.scenes for t in s.ground_truths] == [NAMES[::-1][5]]
    assert not split.problems


def test_cvat_exports_for_darknet(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_photo(tmp_path / f"obj_train_data/day 1/{name}.jpg")
        write_labels(tmp_path / f"obj_train_data/day 1/{name}.txt", [BOX])
    (tmp_path / "obj.names").write_text("".join(f"{name}\n" for name in NAMES))
    (tmp_path / "obj.data").write_text(
        "classes = 9\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    write_labels(tmp_path / "train.txt", [f"data/obj_train_data/day 1/{name}.jpg" for name in "ab"])
    photos, said = opened(tmp_path)
    assert photos == {"train": ["a.jpg", "b.jpg"]}
    assert [(p.note, Path(p.file).name) for p in said] == [(True, "obj.data"), (True, "day 1")]


def test_folders_in_other_case_are_the_usual_ones(tmp_path: Path) -> None:
    for split in ("Train", "Validation"):
        write_photo(tmp_path / split / "Images" / f"{split}.jpg")
        write_labels(tmp_path / split / "Labels" / f"{split}.txt", [BOX])
    (tmp_path / "data.yaml").write_text(f"names: {list(NAMES)}\n")
    assert opened(tmp_path) == ({"train": ["Train.jpg"], "valid": ["Validation.jpg"]}, [])
