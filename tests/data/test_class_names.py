"""What class ids are called, from every file that labeling tools write; files that disagree are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.datasets import NAMES, write_labels, write_photo

from toeline.core.finding import grave
from toeline.core.taxonomy import Taxonomy
from toeline.data.class_names import above, find_names
from toeline.data.datasets import read_split
from toeline.data.images import Photo
from toeline.data.yolo import YoloSet, open_yolo
from toeline.errors import LabelError
from toeline.pipelines.boxes import label_boxes

TAXONOMY = Taxonomy.load()
ORDER = sorted(NAMES, key=str.lower)  # as a tool sorts them, which is not the order of the taxonomy
LISTED = "".join(f"{name}\n" for name in ORDER)
PAIRS = json.dumps({"categories": [{"id": i, "name": name} for i, name in enumerate(ORDER)], "info": {}})
BOX = f"{ORDER.index('slope drain blocked')} 0.5 0.5 0.2 0.4"


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    """A data set of one photograph in `images` and `labels`, with these files."""
    write_photo(root / "images" / "a.jpg")
    write_labels(root / "labels" / "a.txt", [BOX])
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def classes(data: YoloSet) -> list[str]:
    """The classes of everything that is there."""
    scenes = read_split(data, None, TAXONOMY).scenes
    return [ground_truth.class_name for scene in scenes for ground_truth in scene.ground_truths]


FILES: Sequence[dict[str, str | bytes]] = [
    {"data.yaml": f"names: {ORDER}\n"},
    {"data.yml": f"names: {dict(enumerate(ORDER))}\n"},
    {"dataset.yaml": f"names: { ({str(i): n for i, n in enumerate(ORDER)}) }\n"},
    {"lagoon.yaml": f"names: {ORDER}\n", "args.yaml": "epochs: 3\n", "broken.yaml": "{% if %}\n"},
    {"classes.txt": LISTED},
    {"classes.txt": LISTED.replace("\n", "\r\n").encode("utf-8-sig")},
    {"classes.txt": LISTED.encode("utf-16")},
    {"classes.txt": LISTED + "\n \n"},
    {"labels/classes.txt": LISTED},
    {"labels/predefined_classes.txt": LISTED},
    {"obj.names": LISTED},
    {"obj.names": LISTED, "coco.names": "person\n", "obj.data": "classes = 9\nnames = data/obj.names\n"},
    {"labels/_darknet.labels": LISTED},
    {"labels.txt": "".join(f"{i} {name}\n" for i, name in enumerate(ORDER))},
    {"notes.json": PAIRS},
    {"notes.json": PAIRS, "classes.txt": LISTED.lower(), "data.yaml": f"names: {ORDER}\nnc: 9\n"},
    {"data.yaml": "names: obj.names\n", "obj.names": LISTED},
]


@pytest.mark.parametrize("files", FILES, ids=lambda files: "+".join(files))
def test_names_are_found_wherever_tools_write_them(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    data = open_yolo(put(tmp_path, files), TAXONOMY)
    assert classes(data) == ["slope drain blocked"]
    assert not data.problems
    photo = Photo(tmp_path / "images/a.jpg", "a.jpg")
    boxes, problems = label_boxes(tmp_path / "labels", TAXONOMY, [photo])
    assert [t.type_name for t in boxes(photo, (40, 30))[0]] == ["slope_drain"]
    assert not problems


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"data.yaml": f"names: {ORDER}\n", "classes.txt": "a\n" + LISTED}, r"data\.yaml and .*classes\.txt: class 0"),
        (
            {"classes.txt": LISTED, "labels/classes.txt": LISTED + "pole\n"},
            r"class 9 is ('pole'|not there) in the first",
        ),
        ({"notes.json": PAIRS, "obj.names": "vegetation\n"}, r"obj\.names and .*notes\.json"),
        ({"classes.txt": LISTED.replace("\n", "\n\n", 1)}, r"classes\.txt: line 2 is blank"),
        ({"classes.txt": "# of the lagoon\n" + LISTED}, r"classes\.txt: line 1 looks like a comment"),
        ({"classes.txt": "1 rock toe\n2 vegetation\n"}, r"numbers its classes from 1"),
        ({"data.yaml": "names: {0: rock toe, '0': vegetation}\n"}, r"class 0 stands there twice"),
        ({"data.yaml": "names: {0: rock toe, 0: vegetation}\n"}, r"stands there twice"),
        ({"data.yaml": "names: [rock toe, null]\n"}, r"class 1 is 'None', which is no text"),
        ({"data.yaml": "names: {-1: rock toe}\n"}, r"'-1' is no class id"),
        ({"classes.txt": "d\xe9versoir\n".encode("cp1252")}, r"classes\.txt: is no UTF-8 text"),
        ({"notes.json": '{"categories": [{"id": 0}]}'}, r"notes\.json: its categories"),
    ],
)
def test_names_that_are_open_to_doubt_are_refused(tmp_path: Path, files: dict[str, str | bytes], said: str) -> None:
    root = put(tmp_path, files)
    for refused in (
        lambda: open_yolo(root, TAXONOMY),
        lambda: label_boxes(root / "labels", TAXONOMY, [Photo(root / "images/a.jpg", "a.jpg")]),
    ):
        with pytest.raises(LabelError, match=said):
            refused()


@pytest.mark.parametrize("name", ["data.yaml", "classes.txt", "notes.json", "obj.names"])
def test_a_file_of_class_names_settles_what_others_contradict(tmp_path: Path, name: str) -> None:
    text = next(files[name] for files in FILES if [*files] == [name])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    root = put(tmp_path / "set", {"classes.txt": "vegetation\nrock toe\n", "notes.json": PAIRS})
    data = open_yolo(root, TAXONOMY, classes=tmp_path / "mine" / name)
    assert classes(data) == ["slope drain blocked"]
    with pytest.raises(LabelError, match="there is no such file of class names"):
        open_yolo(root, TAXONOMY, classes=tmp_path / "gone.txt")
    with pytest.raises(LabelError, match="holds no class names"):
        open_yolo(root, TAXONOMY, classes=root / "labels/a.txt")


def test_without_any_name_the_order_is_assumed_and_that_is_a_problem(tmp_path: Path) -> None:
    data = open_yolo(put(tmp_path, {}), TAXONOMY)
    (said,) = grave(data.problems)
    assert "taxonomy's order is assumed: 0 'Toe drain'" in said.what
    assert "--classes" in said.todo
    _, problems = label_boxes(tmp_path / "labels", TAXONOMY, [Photo(tmp_path / "images/a.jpg", "a.jpg")])
    assert "is assumed" in str(*grave(problems))


def test_a_set_without_labels_needs_no_names(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    (problem,) = open_yolo(tmp_path, TAXONOMY).problems
    assert "no photograph here has a YOLO label file. Name the top" in str(problem)


def test_a_count_that_is_wrong_and_a_name_of_two_ids_are_told(tmp_path: Path) -> None:
    found = find_names([[put(tmp_path, {"data.yaml": "nc: 3\nnames: [rock toe, Rock_Toe]\n"})]], TAXONOMY)
    assert [(p.note, p.what[:8]) for p in found.problems] == [(False, "`nc: 3` "), (True, "several ")]


def test_names_above_the_top_count_only_without_others(tmp_path: Path) -> None:
    root = put(tmp_path / "set", {})
    (tmp_path / "classes.txt").write_text(LISTED)
    assert classes(open_yolo(root, TAXONOMY)) == ["slope drain blocked"]
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    assert classes(open_yolo(root, TAXONOMY)) == ["rock toe"]
    assert above(root / "labels") == [root / "labels", root, tmp_path]


def test_files_of_names_are_no_stray_labels(tmp_path: Path) -> None:
    root = put(tmp_path, {f"labels/{name}": LISTED for name in ("classes.txt", "obj.names", "predefined_classes.txt")})
    (root / "labels/._classes.txt").write_bytes(b"\0")
    assert not open_yolo(root, TAXONOMY).problems
