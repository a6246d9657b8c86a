"""YOLO data sets as they come become scenes and truths; conditions end at the door of `instances_from_labels`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.datasets import NAMES, make_photo, write_labels, write_photo, write_yolo

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy, meanings
from toeline.data.labels import read_label_file
from toeline.data.yolo import Entry, LabeledScene, instances_from_labels, open_yolo, read_entry
from toeline.errors import LabelError

TAXONOMY = Taxonomy.load()
BOX = "0.5 0.5 0.5 0.2"
SPLITS = {"train": {"a.jpg": [f"7 {BOX}", "3 0.1 0.1 0.9 0.1 0.9 0.5"], "b.png": []}, "valid": {"c.jpg": [f"8 {BOX}"]}}


def read_all(root: Path, labels: Path | None = None) -> dict[str, LabeledScene]:
    """Everything a data set holds, by the photograph's file name."""
    data = open_yolo(root, TAXONOMY, labels=labels)
    entries = [entry for split in data.splits.values() for entry in split]
    return {entry.photo.name: read_entry(entry, TAXONOMY, data.names) for entry in entries}


@pytest.mark.parametrize("layout", ["roboflow", "ultralytics", "bare"])
def test_every_layout_says_the_same(tmp_path: Path, layout: str) -> None:
    read = read_all(write_yolo(tmp_path, SPLITS, layout=layout))
    drain, band = read["a.jpg"].scene.instances
    assert (drain.id, drain.type_name, drain.box, drain.score) == ("1", "slope_drain", Box(10, 12, 30, 18), 1.0)
    assert (band.id, band.type_name, band.polygon) == ("2", "rock_toe", ((4, 3), (36, 3), (36, 15)))
    assert band.box == Box(4, 3, 36, 15)
    assert [(t.instance_id, t.class_name, t.condition) for t in read["a.jpg"].ground_truths] == [
        ("1", "slope drain damaged", "damaged"),
        ("2", "rock toe", "normal"),
    ]
    assert read["b.png"].scene.instances == ()
    assert not [problem for scene in read.values() for problem in scene.problems]


@pytest.mark.parametrize(("layout", "splits"), [("roboflow", ["train", "valid"]), ("bare", ["all"])])
def test_splits_are_named_alike(tmp_path: Path, layout: str, splits: list[str]) -> None:
    assert list(open_yolo(write_yolo(tmp_path, SPLITS, layout=layout), TAXONOMY).splits) == splits


@pytest.mark.parametrize("layout", ["roboflow", "ultralytics"])
def test_val_is_valid(tmp_path: Path, layout: str) -> None:
    data = open_yolo(write_yolo(tmp_path, {"val": SPLITS["valid"]}, layout=layout), TAXONOMY)
    assert [entry.photo.name for entry in data.splits["valid"]] == ["c.jpg"]


def test_data_yaml_can_be_named_and_can_point_elsewhere(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.jpg")
    write_labels(tmp_path / "photos" / "a.txt", [f"1 {BOX}"])
    yaml = tmp_path / "data.yaml"
    yaml.write_text("path: .\ntrain: photos\nnames:\n  0: vegetation\n  1: Slope_Drain-blocked\n")
    data = open_yolo(yaml, TAXONOMY)
    (ground_truth,) = read_entry(data.splits["train"][0], TAXONOMY, data.names).ground_truths
    assert ground_truth.class_name == "slope drain blocked"


def test_a_bare_folder_with_labels_given_from_elsewhere(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.jpg")
    write_labels(tmp_path / "marks" / "a.txt", [f"0 {BOX}"])
    (scene,) = read_all(tmp_path / "photos", labels=tmp_path / "marks").values()
    assert [ground_truth.class_name for ground_truth in scene.ground_truths] == ["Toe drain"]


def test_a_turned_photograph_has_its_boxes_in_the_upright_frame(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", (40, 30), orientation=6)
    labels = write_labels(tmp_path / "a.txt", [f"0 {BOX}"])
    scene = read_entry(Entry(photo, labels, "all"), TAXONOMY).scene
    assert scene.size_wh == (30, 40)
    assert scene.instances[0].box.xyxy == pytest.approx((7.5, 16, 22.5, 24))


def test_a_data_set_of_types_has_things_and_no_truths(tmp_path: Path) -> None:
    names = ["rock_toe", "slope_drain", "toe_drain", "vegetation"]
    read = read_all(
        write_yolo(tmp_path, {"train": {"a.jpg": [f"{i} {BOX[:-1]}{i + 2}" for i in range(4)]}}, names=names)
    )
    assert [instance.type_name for instance in read["a.jpg"].scene.instances] == names
    assert read["a.jpg"].ground_truths == ()


def test_one_name_that_is_more_than_a_type_makes_all_of_them_classes() -> None:
    assert meanings({0: "toe drain", 1: "rock toe"}, TAXONOMY).classes == {}
    assert meanings({0: "toe drain", 1: "rock toe damaged"}, TAXONOMY).classes[0].condition == "normal"


def test_a_name_outside_the_taxonomy_is_said_and_its_lines_are_reported(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"train": {"a.jpg": [f"9 {BOX}", f"8 {BOX}"]}}, names=[*NAMES, "pole"])
    data = open_yolo(root, TAXONOMY)
    read = read_entry(data.splits["train"][0], TAXONOMY, data.names)
    assert "'pole' is not in the taxonomy" in str(data.problems[0])
    assert [instance.type_name for instance in read.scene.instances] == ["vegetation"]
    assert str(read.problems[0]).startswith(f"{root / 'train/labels/a.txt'}, line 1: class 9")


def test_without_data_yaml_ids_are_in_the_taxonomys_order(tmp_path: Path) -> None:
    read = read_all(write_yolo(tmp_path, {"train": {"a.jpg": [f"4 {BOX}"]}}, names=None))
    assert read["a.jpg"].ground_truths[0].class_name == "rock toe damaged"


@pytest.mark.parametrize("text", ["names: 5", "names: [", "- a\n- b", "names: {x: drain}", "names: drain"])
def test_a_data_yaml_that_cannot_be_read_stops_everything(tmp_path: Path, text: str) -> None:
    root = write_yolo(tmp_path, SPLITS)
    (root / "data.yaml").write_text(text)
    with pytest.raises(LabelError, match=r"data\.yaml.*Correct it"):
        open_yolo(root, TAXONOMY)


def test_a_folder_without_photographs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(LabelError, match="no photographs"):
        open_yolo(tmp_path, TAXONOMY)


def test_labels_without_a_photograph_and_shared_labels_are_problems(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, SPLITS)
    write_labels(root / "train/labels/gone.txt", [])
    make_photo().save(root / "train/images/a.png")
    said = [str(problem) for problem in open_yolo(root, TAXONOMY).problems]
    assert [Path(text.split(":")[0]).name for text in said] == ["a.txt", "gone.txt"]
    assert "a.jpg and a.png" in said[0]


def test_boxes_do_not_change_when_all_conditions_do(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg")
    sound, broken = tmp_path / "sound", tmp_path / "broken"
    write_labels(sound / "a.txt", [f"0 {BOX}", "3 0.1 0.1 0.9 0.1 0.9 0.5", "5 0.2 0.2 0.1 0.1"])
    write_labels(broken / "a.txt", [f"2 {BOX}", "4 0.1 0.1 0.9 0.1 0.9 0.5", "6 0.2 0.2 0.1 0.1"])
    seen = [instances_from_labels(folder, photo, (40, 30), TAXONOMY) for folder in (sound, broken)]
    assert seen[0] == seen[1]
    assert [instance.type_name for instance in seen[0][0]] == ["toe_drain", "rock_toe", "slope_drain"]


def test_boxes_have_the_ids_of_the_truths(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"valid": {"a.jpg": [f"0 {BOX}", "nonsense", f"0 {BOX}", "5 0.2 0.2 0.1 0.1"]}})
    data = open_yolo(root, TAXONOMY)
    read = read_entry(data.splits["valid"][0], TAXONOMY, data.names)
    instances, problems = instances_from_labels(root / "valid/labels", root / "valid/images/a.jpg", (40, 30), TAXONOMY)
    assert instances == read.scene.instances
    assert (
        [instance.id for instance in instances]
        == [ground_truth.instance_id for ground_truth in read.ground_truths]
        == ["1", "2"]
    )
    assert [problem.line for problem in problems] == [2, 3]


def test_data_yaml_above_the_labels_names_the_classes(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"valid": {"a.jpg": [f"0 {BOX}"]}}, names=NAMES[::-1])
    instances, _ = instances_from_labels(root / "valid/labels", root / "valid/images/a.jpg", (40, 30), TAXONOMY)
    assert [instance.type_name for instance in instances] == ["vegetation"]


shares = st.floats(0, 1).map(lambda v: round(v, 6))


@given(
    st.lists(st.tuples(shares, shares), min_size=3, max_size=8), st.tuples(st.integers(1, 6000), st.integers(1, 6000))
)
def test_whatever_is_read_lies_inside_the_photograph(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]], size: tuple[int, int]
) -> None:
    row = "8 " + " ".join(f"{x} {y}" for x, y in points)
    file = write_labels(tmp_path_factory.mktemp("labels") / "a.txt", [row])
    lines, problems = read_label_file(file, size, {8: "vegetation"})
    assert len(lines) + len(problems) == 1
    for line in lines:
        assert line.box == line.box.clipped(size)
        assert line.box == Box.around(line.polygon)
        assert line.box.area > 0


def test_the_real_photographs(lagoon_dyke: Path) -> None:
    data = open_yolo(lagoon_dyke, TAXONOMY)
    read = {split: [read_entry(e, TAXONOMY, data.names) for e in entries] for split, entries in data.splits.items()}
    assert {split: (len(scenes), sum(len(s.scene.instances) for s in scenes)) for split, scenes in read.items()} == {
        "train": (168, 896),
        "valid": (49, 233),
    }
    everything = [*read["train"], *read["valid"]]
    counts = Counter(ground_truth.class_name for scene in everything for ground_truth in scene.ground_truths)
    assert [counts[name] for name in NAMES] == [44, 57, 58, 119, 282, 202, 75, 118, 174]
    assert not [*data.problems, *(problem for scene in everything for problem in scene.problems)]
    groups = {split: {scene.scene.flight_line for scene in scenes} for split, scenes in read.items()}
    assert groups["valid"] == {"Lagoon1_B0", "Lagoon1_B2", "Lagoon2and3_B1", "Stage1-Lagoon1_R6-Berm-105_35m"}
    assert not groups["train"] & groups["valid"]
