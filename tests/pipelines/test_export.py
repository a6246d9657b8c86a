"""Findings of a run as other tools read them: each format is read back, by our own readers or by its rules."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from pycocotools.coco import COCO
from tests.support.datasets import NAMES, exit_code, write_photo, write_yolo

from toeline.core.box import Box
from toeline.core.finding import Finding, Result, Verdict
from toeline.core.geo import GeoPosition
from toeline.core.run_folder import RunFolder
from toeline.core.taxonomy import Taxonomy
from toeline.data.coco import open_coco, read_coco
from toeline.data.datasets import LabelSet, read_yolo
from toeline.data.yolo import open_yolo

SIZE = (200, 100)
ODD = "berm 1/a & b <é> 水.jpg"
PHOTOS = ("a.jpg", ODD, "images/labels of day 2/a.jpg", "empty.jpg")
TRIANGLE = ((20.0, 10.0), (60.0, 10.0), (40.0, 50.0))
Objects = dict[str, list[tuple[str, tuple[float, ...]]]]


def found(photo: str, number: int, class_name: str, box: Box, **more: Any) -> Finding:
    c = Taxonomy.load().class_of(class_name)
    others = {name: 0.125 for name in Taxonomy.load().answers(c.type) if name != class_name}
    verdict = Verdict(class_name, c.condition, 0.75, {class_name: 0.75, **others}, review="a near tie" * (number % 2))
    return Finding(photo, str(number), c.type, box, 0.5, verdict, **more)


FINDINGS = {
    "a.jpg": [
        found("a.jpg", 1, "Toe drain- Blocked", Box(10, 20, 110, 60)),
        found("a.jpg", 2, "vegetation", Box(150.25, 0, 200, 99.5)),
    ],
    ODD: [found(ODD, 1, "slope drain damaged", Box(0, 0, 200, 100), geo_position=GeoPosition(-33.5, 18.25, "camera"))],
    PHOTOS[2]: [found(PHOTOS[2], 1, "rock toe", Box(20, 10, 60, 50), polygon=TRIANGLE)],
    "empty.jpg": [],
}


ALL = [finding for its in FINDINGS.values() for finding in its]
NS = {"k": "http://www.opengis.net/kml/2.2"}
FOLDER, STYLE, DATA = (f"{{{NS['k']}}}{name}" for name in ("Folder", "Style", "Data"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run on four photographs, in the folder that the command is typed in."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(PHOTOS):
        write_photo(Path("photos") / name, SIZE, seed=seed)
    return written_run(Path("run"), [Result(name, SIZE, tuple(its)) for name, its in FINDINGS.items()])


def written_run(path: Path, results: Sequence[Result], finished: str | None = "x") -> Path:
    record = {"command": "inspect", "settings": {"photos": ["photos"], "taxonomy": None}, "finished": finished}
    folder = RunFolder.open(path, record)
    list(folder.keep(results))
    return path


def export(to: str, out: str, *more: str) -> int:
    return exit_code("export", "run", "--to", to, "--out", out, *more)


def expected() -> Objects:
    return {name: [(f.verdict.class_name, f.box.xyxy) for f in its] for name, its in FINDINGS.items()}


def read_back(data: LabelSet, below: Path) -> Objects:
    return {
        p.photo.relative_to(below).as_posix(): [
            (data.names[line.class_id], tuple(round(v, 6) for v in line.box.xyxy)) for line in p.lines or ()
        ]
        for p in data.splits["train"]
    }


def test_yolo_is_read_back_with_the_same_boxes_classes_and_names(run: Path) -> None:
    assert export("yolo", "out") == 0
    data = read_yolo(open_yolo(Path("out").absolute(), Taxonomy.load()))
    assert data.problems == ()
    assert list(data.names.values()) == [c.name for c in Taxonomy.load().classes] == list(NAMES)
    assert read_back(data, Path("out/train/images").absolute()) == expected()
    assert [len(line.polygon) for p in data.splits["train"] for line in p.lines or ()].count(3) == 1


def test_coco_is_read_back_by_us_and_by_pycocotools_with_the_scores(run: Path, capsys: Any) -> None:
    assert export("coco", "out") == 0
    data = read_coco(open_coco(Path("out").absolute()), Path("out").absolute())
    assert read_back(data, Path("out/train").absolute()) == expected()
    truth = COCO("out/train/_annotations.coco.json")
    scored = truth.loadRes("out/results.json")
    for own, with_score in zip(truth.dataset["annotations"], scored.dataset["annotations"], strict=True):
        assert own["bbox"] == with_score["bbox"]
        assert own["category_id"] == with_score["category_id"]
        assert with_score["score"] == 0.75


def test_fiftyone_gets_its_layout_with_scores_as_confidence(run: Path) -> None:
    assert export("fiftyone", "out") == 0
    made = COCO("out/train/labels.json")
    assert [Path("out/train/data", image["file_name"]).is_file() for image in made.dataset["images"]] == [True] * 4
    said = [(a["score"], a["attributes"]["object"], a["attributes"]["condition"]) for a in made.dataset["annotations"]]
    assert said == [(0.75, f.instance_id, f.verdict.condition) for f in ALL]
    assert exit_code("convert", "out/train", "--to", "yolo", "--out", "back") == 0  # we read it too
    assert exit_code("convert", "back", "--to", "fiftyone", "--out", "again") == 0
    again = json.loads(next(Path("again").rglob("labels.json")).read_text(encoding="utf-8"))
    sides = [sorted(v for a in one["annotations"] for v in a["bbox"]) for one in (again, made.dataset)]
    assert sides[0] == pytest.approx(sides[1], abs=0.01)


def test_cvat_names_every_label_and_every_place(run: Path) -> None:
    assert export("cvat", "out/all.xml") == 0
    root = ElementTree.parse("out/all.xml").getroot()
    assert (root.tag, root.findtext("version"), root.findtext("meta/task/mode")) == ("annotations", "1.1", "annotation")
    assert [e.text for e in root.findall("meta/task/labels/label/name")] == list(NAMES)
    images = {image.get("name"): image for image in root.findall("image")}
    assert {name: (i.get("width"), i.get("height")) for name, i in images.items()} == dict.fromkeys(
        PHOTOS, ("200", "100")
    )
    boxes: Objects = {
        str(name): [
            (str(b.get("label")), tuple(float(b.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")))
            for b in image.findall("box")
        ]
        for name, image in images.items()
    }
    assert boxes == {name: its if name != PHOTOS[2] else [] for name, its in expected().items()}
    polygon = images[PHOTOS[2]].find("polygon")
    assert polygon is not None
    assert [tuple(map(float, p.split(","))) for p in polygon.get("points", "").split(";")] == list(TRIANGLE)
    said = {a.get("name"): a.text for a in images["a.jpg"][0].findall("attribute")}
    assert said == {"id": "1", "probability": "0.7500", "detector_confidence": "0.5000", "review": "true"}


def test_label_studio_has_percent_of_the_photograph_and_a_label_of_the_interface(run: Path) -> None:
    assert export("labelstudio", "out", "--shapes", "boxes") == 0
    tasks = json.loads(Path("out/tasks.json").read_text(encoding="utf-8"))
    assert Path("out/tasks.xml").read_bytes().startswith(b"<View>")  # it refuses a declaration
    interface = ElementTree.parse("out/tasks.xml").getroot()
    controls = {e.get("name"): [label.get("value") for label in e] for e in interface if e.get("toName") == "image"}
    image = interface.find("Image")
    assert image is not None
    assert (image.get("name"), image.get("value")) == ("image", "$image")
    back: Objects = {}
    for task in tasks:
        name = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        assert "&" not in task["data"]["image"]
        back[name] = []
        for r in task["predictions"][0]["result"]:
            v, wide, high = r["value"], r["original_width"], r["original_height"]
            (label,) = v[r["type"]]
            assert label in controls[r["from_name"]]
            corners = (v["x"] * wide, v["y"] * high, (v["x"] + v["width"]) * wide, (v["y"] + v["height"]) * high)
            back[name].append((label, tuple(round(c / 100, 6) for c in corners)))
    assert back == expected()
    ids = [r["id"] for task in tasks for r in task["predictions"][0]["result"]]
    assert len(set(ids)) == len(ids) == 4


def test_kml_and_geojson_hold_every_finding_also_those_without_a_position(run: Path, capsys: Any) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    assert export("geojson", "out/all.geojson") == export("kml", "out") == 0
    assert "3 findings without a position are in a folder of their own" in capsys.readouterr().out
    features = json.loads(Path("out/all.geojson").read_text(encoding="utf-8"))["features"]
    places = [(f["properties"]["photo"], f["properties"]["id"], f["geometry"]) for f in features]
    point = {"type": "Point", "coordinates": [18.25, -33.5]}
    assert places == [(f.photo, f.instance_id, point if f.geo_position else None) for f in ALL]
    _, _, geometry, _ = pyogrio.raw.read("out/all.geojson")
    assert [g is None for g in geometry] == [True, True, False, True]
    root = ElementTree.parse("out/findings.kml").getroot()
    ns = {"k": "http://www.opengis.net/kml/2.2"}
    folders = {
        f.findtext("k:name", namespaces=NS): f.findall("k:Placemark", ns) for f in root.iter(f"{{{ns['k']}}}Folder")
    }
    assert {name: len(marks) for name, marks in folders.items()} == {"Findings": 1, "Without a position": 3}
    (mark,) = folders["Findings"]
    assert mark.findtext("k:Point/k:coordinates", namespaces=NS) == "18.25,-33.5"
    data = {d.get("name"): d.findtext("k:value", namespaces=NS) for d in mark.iter(DATA)}
    assert (data["photo"], data["class"]) == (ODD, "slope drain damaged")
    order = ["name", "description", "styleUrl", "ExtendedData", "Point"]
    assert [e.tag.partition("}")[2] for e in mark] == order
    assert mark.findtext("k:styleUrl", namespaces=NS, default="")[1:] in [
        s.get("id") for s in root.iter(f"{{{ns['k']}}}Style")
    ]


def test_the_table_has_a_row_for_each_finding_as_the_run_s_own(run: Path) -> None:
    assert export("csv", "t.csv") == 0
    rows = list(csv.DictReader(io.StringIO(Path("t.csv").read_bytes().decode("utf-8-sig"), newline="")))
    assert [(r["photo"], r["id"], r["class"], float(r["x2"])) for r in rows] == [
        (f.photo, f.instance_id, f.verdict.class_name, round(f.box.x2, 1)) for f in ALL
    ]


def test_parquet_has_types_and_nested_probabilities(run: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export("parquet", "out") == 0
    table = parquet.read_table("out/findings.parquet")
    assert str(table.schema.field("probabilities").type).startswith("list<element: struct<class: string, prob")
    assert str(table.schema.field("latitude").type) == "double"
    rows = table.to_pylist()
    for row, f in zip(rows, ALL, strict=True):
        assert (row["photo"], row["class"], tuple(row[k] for k in ("x1", "y1", "x2", "y2"))) == (
            f.photo, f.verdict.class_name, f.box.xyxy,
        )  # fmt: skip
        assert {p["class"]: p["probability"] for p in row["probabilities"]} == f.verdict.probabilities
        assert row["review"] is bool(f.verdict.review)
    assert [row["latitude"] for row in rows] == [None, None, -33.5, None]


def test_a_photograph_that_is_gone_is_named_and_needed_by_data_sets_only(run: Path, capsys: Any) -> None:
    (Path("photos") / ODD).unlink()
    assert export("yolo", "out") == 1
    assert "the photograph is not there any more" in capsys.readouterr().out
    assert export("cvat", "out.xml") == 0


def test_what_cannot_be_an_object_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/a.jpg"), SIZE)
    fine = FINDINGS["a.jpg"][0]
    none = replace(fine, instance_id="2", verdict=Verdict("", "", 0.0, {}))
    off = replace(fine, instance_id="3", box=Box(200, 20, 230, 60))
    written_run(Path("run"), [Result("a.jpg", SIZE, (fine, none, off)), Result("b.jpg", failed=True)], None)
    assert export("cvat", "out") == 1
    said = capsys.readouterr().out
    for words in ("finding 2 is left out", "finding 3 is left out", "could not be inspected", "is not finished"):
        assert words in said
    assert len(ElementTree.parse("out/annotations.xml").findall("image/box")) == 1


def test_two_photographs_with_one_label_file_get_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = []
    for seed, name in enumerate(("a.jpg", "a.png")):
        write_photo(Path("photos") / name, SIZE, seed=seed)
        results.append(Result(name, SIZE, (replace(FINDINGS["a.jpg"][seed], photo=name),)))
    written_run(Path("run"), results)
    assert export("yolo", "out") == 0
    data = read_yolo(open_yolo(Path("out").absolute(), Taxonomy.load()))
    assert sorted(len(p.lines or ()) for p in data.splits["train"]) == [1, 1]


def test_a_run_of_evaluate_finds_its_photographs_in_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_yolo(Path("data"), {"valid": {"a.jpg": ["0 0.5 0.5 0.2 0.2"]}}, size_wh=SIZE)
    record = {
        "command": "evaluate",
        "settings": {"data": "data", "split": "valid", "taxonomy": None, "classes": None},
        "finished": "x",
    }
    folder = RunFolder.open(Path("run"), record)
    list(folder.keep([Result("a.jpg", (0, 0), tuple(FINDINGS["a.jpg"]))]))  # as saved findings of others: no size
    assert export("yolo", "out") == 0
    data = read_yolo(open_yolo(Path("out").absolute(), Taxonomy.load()))
    assert read_back(data, Path("out/train/images").absolute()) == {"a.jpg": expected()["a.jpg"]}


@pytest.mark.parametrize("to", ["cvat", "kml", "geojson", "csv", "labelstudio", "parquet"])
def test_a_file_of_others_is_kept_and_our_own_is_replaced(run: Path, to: str, capsys: Any) -> None:
    assert export(to, "out") == 0
    (file,) = [f for f in Path("out").iterdir() if f.name != "tasks.xml"]
    assert export(to, "out") == 0
    file.write_text("mine")
    assert export(to, "out") == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert export(to, "run") == 2  # findings.csv of the run itself


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert export("csv", "out") == 2
    assert "no run is there" in capsys.readouterr().err
