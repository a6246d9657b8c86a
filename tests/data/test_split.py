"""Splits by whole groups: nothing is torn apart, nothing is lost, and what cannot be met is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import exit_code as run
from tests.support.datasets import write_labels, write_photo, write_yolo

from toeline.core.taxonomy import Taxonomy
from toeline.data.balance import MOST, assign
from toeline.data.datasets import Carry
from toeline.data.split import SplitRun, grouping, on_several_sides, parse_parts, plan_split, write_split
from toeline.data.yolo import flight_line, open_yolo, read_entry
from toeline.errors import LabelError, OutputError
from toeline.pipelines.settings import SplitOptions

TAXONOMY = Taxonomy.load()
HALVES = {"train": 0.5, "valid": 0.5}
BOXES = ["5 0.5 0.5 0.2 0.4", "8 0.5 0.5 0.1 0.1", "3 0.1 0.1 0.9 0.1 0.9 0.5"]


def flights(count: int, rows: Sequence[str] = BOXES) -> dict[str, dict[str, Sequence[str]]]:
    """Two photographs of each of `count` flight lines, torn apart between train and valid."""
    return {
        split: {f"Line{i}_B{i}_{frame}.png": rows for i in range(count)}
        for split, frame in (("train", 7), ("valid", 8))
    }


def made(root: Path, count: int, rows: Sequence[str] = BOXES, **more: Any) -> Path:
    """A data set of `count` flight lines in which no two photographs are alike."""
    write_yolo(root, flights(count, rows), **more)
    for i, photo in enumerate(sorted(root.rglob("*.png"))):
        write_photo(photo, seed=1000 + i)
    return root


def split(root: Path, out: Path, **chosen: Any) -> Mapping[str, Any]:
    opened = open_yolo(root, TAXONOMY, any_class=True)
    return write_split(plan_split(opened, SplitRun(**{"parts": parse_parts(SplitOptions.parts), **chosen})), out)


def sides(out: Path) -> dict[str, list[Path]]:
    """Photographs by part, found without any code of the package."""
    return {f.name: sorted((f / "images").rglob("*.*")) for f in out.iterdir() if (f / "images").is_dir()}


def test_the_real_photographs_have_no_flight_line_on_both_sides_and_balanced_classes(
    lagoon_dyke: Path, tmp_path: Path
) -> None:
    record = split(lagoon_dyke, tmp_path / "out", seed=3)
    lines = {part: {flight_line(p) for p in photos} for part, photos in sides(tmp_path / "out").items()}
    assert sorted(lines) == ["test", "train", "valid"]
    assert [a & b for a, b in combinations(lines.values(), 2)] == [set()] * 3
    assert sum(len(photos) for photos in sides(tmp_path / "out").values()) == 217
    assert record["met"]
    assert record["beyond"] == record["lacking"] == []
    data = open_yolo(tmp_path / "out", TAXONOMY)
    assert not data.problems
    counts = {
        part: np.bincount(
            [
                TAXONOMY.class_id(t.class_name)
                for e in entries
                for t in read_entry(e, TAXONOMY, data.names).ground_truths
            ],
            minlength=9,
        )
        for part, entries in data.splits.items()
    }
    whole = sum(counts.values())
    assert whole.tolist() == [44, 57, 58, 119, 282, 202, 75, 118, 174]
    for part, count in counts.items():
        assert np.abs(count / count.sum() - whole / whole.sum()).max() <= 0.05
        assert abs(len(data.splits[part]) / 217 - record["parts"][part]["asked"]) <= 0.05


def test_a_flight_line_torn_apart_before_is_whole_again(tmp_path: Path) -> None:
    root = made(tmp_path / "in", 6)
    record = split(root, tmp_path / "out", parts=HALVES)
    lines = {part: sorted(flight_line(p) for p in photos) for part, photos in sides(tmp_path / "out").items()}
    assert len(lines["train"]) == len(lines["valid"]) == 6
    assert not set(lines["train"]) & set(lines["valid"])
    assert record["proof"]["on_several_sides"] == {"flight line": {}, "Roboflow source": {}, "exact copy": {}}
    assert record["proof"]["photographs"] == {"train": 6, "valid": 6}


def test_copies_and_roboflow_sources_join_flight_lines(tmp_path: Path) -> None:
    root = made(tmp_path / "in", 6)
    photo = root / "train/images/Line0_B0_7.png"
    (root / "train/images/Other_C1_1.png").write_bytes(photo.read_bytes())
    write_labels(root / "train/labels/Other_C1_1.txt", BOXES)
    for i, name in enumerate(("north_5_jpg.rf.aa11.png", "north_5_jpg.rf.bb22.png")):
        write_photo(root / "valid/images" / name, seed=50 + i)
        write_labels(root / f"valid/labels/{Path(name).stem}.txt", BOXES)
    plan = plan_split(open_yolo(root, TAXONOMY), SplitRun(parts=HALVES, by=r"^(Line\d|Other|north_5_jpg\.rf\...)"))
    assert sorted(plan.groups)[0] == "Line0 + Other"
    assert "north_5_jpg.rf.aa + north_5_jpg.rf.bb" in plan.groups
    assert len(plan.groups) == 7


def test_every_label_line_is_carried_over_byte_for_byte_and_bad_ones_are_reported(tmp_path: Path) -> None:
    odd = b"\xef\xbb\xbf5 0.5 0.5 0.20 0.4\r\n99 nonsense\r\n\r\n3 0.1 0.1 0.9 0.1 0.9 0.5 0.30000000001 0.2"
    root = made(tmp_path / "in", 4)
    write_labels(root / "train/labels/Line1_B1_7.txt", odd)
    record = split(root, tmp_path / "out", parts=HALVES)
    (copied,) = (tmp_path / "out").rglob("Line1_B1_7.txt")
    assert copied.read_bytes() == odd
    assert [(Path(p["file"]).name, p["line"]) for p in record["problems"]] == [("Line1_B1_7.txt", 2)]


def test_photographs_without_labels_stay_so_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    root = made(tmp_path / "in", 4)
    (root / "train/labels/Line0_B0_7.txt").unlink()
    (root / "train/images/Line1_B1_7.png").write_bytes(b"no photograph")
    record = split(root, tmp_path / "out", parts=HALVES)
    names = [p.name for photos in sides(tmp_path / "out").values() for p in photos]
    assert len(names) == 7
    assert "Line0_B0_7.png" in names
    assert not list((tmp_path / "out").rglob("Line0_B0_7.txt"))
    said = {Path(p["file"]).name: p["what"] for p in record["problems"]}
    assert said["Line0_B0_7.png"].startswith("no label file")
    assert said["Line1_B1_7.png"].startswith("left out: not a photograph")


def test_photographs_of_one_name_keep_their_name_and_their_own_labels(tmp_path: Path) -> None:
    splits = flights(4)
    splits["valid"] = {**splits["valid"], "Line0_B0_7.png": ["8 0.5 0.5 0.5 0.5"]}
    root = write_yolo(tmp_path / "in", splits)
    split(root, tmp_path / "out", parts=HALVES)
    two = sorted((tmp_path / "out").rglob("Line0_B0_7.txt"))
    assert [file.read_text().count("\n") for file in two] == [3, 1]
    assert two[1].parent.name == "valid"
    data = open_yolo(tmp_path / "out", TAXONOMY)
    assert not data.problems
    assert all(entry.labels for entries in data.splits.values() for entry in entries)


def test_what_cannot_be_met_is_said_with_the_reason_and_the_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits: dict[str, dict[str, Sequence[str]]] = {"train": {f"Big_A_{i}.png": BOXES[:1] for i in range(8)}}
    splits["train"] |= {f"Small{i}_B_1.png": BOXES[1:2] for i in range(4)}
    root = write_yolo(tmp_path / "in", splits)
    assert run("split", str(root), "--out", str(tmp_path / "out"), "--seed", "0", "--parts", "train=1,valid=1") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "that is proved" in said
    assert "slope drain" in said
    assert "its 8 objects stand in 1 of 5 groups, 8 of them (100%) in Big_A" in said
    record = json.loads((tmp_path / "out/split.json").read_text())
    assert not record["met"]
    assert record["proved_impossible"]
    assert {row["class"] for row in record["lacking"]} == {"slope drain"}


def test_links_where_the_file_system_can_and_copies_where_they_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made(tmp_path / "in", 2)
    source = root / "train/images/Line0_B0_7.png"

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    assert split(root, tmp_path / "hard", parts=HALVES)["carried"] == {"hard link": 4}
    assert split(root, tmp_path / "copy", parts=HALVES, carry=Carry.COPY)["carried"] == {"copy": 4}
    monkeypatch.setattr("os.link", refuse)
    assert split(root, tmp_path / "soft", parts=HALVES)["carried"] == {"symbolic link": 4}
    monkeypatch.setattr("os.symlink", refuse)
    assert split(root, tmp_path / "none", parts=HALVES)["carried"] == {"copy": 4}
    for name in ("hard", "copy", "soft", "none"):
        (photo,) = (tmp_path / name).rglob("Line0_B0_7.png")
        assert photo.read_bytes() == source.read_bytes()
        assert photo.samefile(source) == (name in ("hard", "soft"))
        assert len(open_yolo(tmp_path / name, TAXONOMY).splits) == 2


def test_a_killed_split_leaves_nothing_under_its_name_and_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = made(tmp_path / "in", 4), tmp_path / "out"
    seen: list[int] = []

    def stop(_: object) -> None:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    plan = plan_split(open_yolo(root, TAXONOMY), SplitRun(parts=HALVES, carry=Carry.COPY))
    with pytest.raises(KeyboardInterrupt):
        write_split(plan, out, step=stop)
    assert not out.exists()
    assert not write_split(plan, out)["already"]
    assert sum(map(len, sides(out).values())) == 8
    assert write_split(plan, out)["already"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_split_with_other_class_names_is_refused(tmp_path: Path) -> None:
    """The label files are the same, and mean something else."""
    data = made(tmp_path / "data", 4)
    split(data, tmp_path / "out", by="flight", seed=1, parts=HALVES, carry=Carry.COPY)
    file = data / "data.yaml"
    file.write_text(file.read_text().replace("'rock toe'", "'stone'").replace("'slope drain'", "'rock toe'"))
    with pytest.raises(OutputError, match="holds this split with other class names"):
        split(data, tmp_path / "out", by="flight", seed=1, parts=HALVES, carry=Carry.COPY)


@pytest.mark.parametrize("case", ["other files", "other settings", "other labels", "a file", "a foreign stage"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, case: str) -> None:
    root, out = made(tmp_path / "in", 4), tmp_path / "out"
    if case == "other files":
        write_photo(out / "holiday.jpg")
    elif case == "a file":
        out.write_text("")
    elif case == "a foreign stage":
        write_photo(tmp_path / ".out.part/holiday.jpg")
    else:
        split(root, out, parts=HALVES)
    if case == "other labels":
        write_labels(root / "train/labels/Line0_B0_7.txt", BOXES[:1])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=r"another --out|Choose a new folder"):
        split(root, out, parts=HALVES, seed=int(case == "other settings"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["split --seed 0", "gallery"])
def test_nothing_is_written_among_the_photographs(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(tmp_path / "in", 4)
    before = sorted(root.rglob("*"))
    name, *more = command.split()
    assert run(name, str(root), "--out", str(root / "train/images/out"), *more) == 2
    assert "among the photographs" in " ".join(capsys.readouterr().err.split())
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--parts", "train=0.5,train=0.5"], "no new name"),
        (["--parts", "a=x"], "name=share"),
        (["--by", "("], "regular"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(tmp_path / "in", 2)
    assert run("split", str(root), "--out", str(tmp_path / "out"), "--seed", "0", *words) == 2
    assert what in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("chosen", "what"), [({"by": "xyz"}, "matches none"), ({"by": "Line"}, "1 groups")])
def test_groups_that_cannot_fill_the_parts_are_an_error(tmp_path: Path, chosen: Any, what: str) -> None:
    root = made(tmp_path / "in", 2)
    with pytest.raises(LabelError, match=what):
        split(root, tmp_path / "out", parts=HALVES, **chosen)


def test_a_name_that_the_pattern_does_not_match_stands_alone_and_is_told(tmp_path: Path) -> None:
    root = made(tmp_path / "in", 4)
    record = split(root, tmp_path / "out", parts=HALVES, by=r"^Line[012]")
    assert {Path(p["file"]).name for p in record["problems"]} == {"Line3_B3_7.png", "Line3_B3_8.png"}
    assert record["groups"] == 5


def test_classes_outside_the_taxonomy_are_split_like_all_others(tmp_path: Path) -> None:
    root = made(tmp_path / "in", 4, rows=["0 0.5 0.5 0.2 0.2"], names=["pole"])
    record = split(root, tmp_path / "out", parts=HALVES)
    assert not record["problems"]
    assert [row["objects"] for row in record["parts"]["train"]["classes"]] == [4]


def test_the_command_prints_the_record_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = made(tmp_path / "in", 4)
    (root / "train/labels/Line0_B0_7.txt").unlink()
    assert run("split", str(root), "--out", str(tmp_path / "out"), "--seed", "0", "--json") == 1
    assert json.loads(capsys.readouterr().out)["photographs"] == 8


def test_shared_keys_are_found_on_planted_sides(tmp_path: Path) -> None:
    planted = {side: [write_photo(tmp_path / side / f"L{i}_1.png", seed=i)] for i, side in enumerate(("a", "b"))}
    assert not any(on_several_sides(planted, flight_line).values())
    planted["b"].append(write_photo(tmp_path / "b" / "other_1.png", seed=0))
    assert list(on_several_sides(planted, grouping("^L"))["flight line"]) == ["L"]
    assert list(on_several_sides(planted, flight_line)["exact copy"].values()) == [["a", "b"]]


def test_shares_are_scaled_to_one() -> None:
    assert parse_parts("train=3,val=1") == {"train": 0.75, "valid": 0.25}


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=12))
def test_groups_are_dealt_out_whole_and_no_part_is_empty(groups: list[tuple[int, int, int]]) -> None:
    photos, objects = [g[0] for g in groups], [g[1:] for g in groups]
    assigned = assign(photos, objects, [0.6, 0.3, 0.1], seed=1)
    assert set(assigned.part_of) == {0, 1, 2}
    assert assigned == assign(photos, objects, [0.6, 0.3, 0.1], seed=1)
    counts, sizes = np.array(objects), np.array(photos)
    chosen = np.array(assigned.part_of)
    shares = [counts[chosen == p].sum(0) / max(counts[chosen == p].sum(), 1) for p in range(3)]
    off = [np.abs(s - counts.sum(0) / max(counts.sum(), 1)).max() for s in shares]
    size_off = [abs(sizes[chosen == p].sum() / sizes.sum() - asked) for p, asked in enumerate((0.6, 0.3, 0.1))]
    if assigned.met:
        assert max(*off, *size_off) <= 0.05 + 1e-6
    assert not (assigned.met and assigned.proved)


def within(photos: Any, objects: Any, part_of: Any) -> bool:
    """Whether two halves have the sizes and class shares that were asked for, each within 5 points."""
    for part in (0, 1):
        held, whole = objects[part_of == part].sum(0), objects.sum(0)
        if abs(photos[part_of == part].sum() / photos.sum() - 0.5) > 0.05 + 1e-9:
            return False
        if np.abs(held / max(held.sum(), 1) - whole / max(whole.sum(), 1)).max() > 0.05 + 1e-9:
            return False
    return True


@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(0, 40)), min_size=2, max_size=8))
def test_what_is_called_impossible_is_and_what_is_possible_is_found(groups: list[tuple[int, int, int]]) -> None:
    photos, objects = np.array([g[0] for g in groups]), np.array([g[1:] for g in groups])
    assigned = assign(photos.tolist(), objects.tolist(), [0.5, 0.5], seed=0)
    possible = any(within(photos, objects, np.array(way)) for way in product((0, 1), repeat=len(groups)))
    assert assigned.met == possible
    assert assigned.proved == (not possible)


def test_many_groups_are_dealt_out_whole_too() -> None:
    chance = np.random.default_rng(0)
    photos = chance.geometric(0.2, 5 * MOST)
    assigned = assign(photos.tolist(), [[3 * n, n] for n in photos.tolist()], [0.5, 0.5], seed=0)
    assert assigned.met
    assert len(assigned.part_of) == 5 * MOST
