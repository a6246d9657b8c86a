"""Out of a store into annotation tools and back: what a person does there is one event, and nothing else is."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from tests.support.datasets import exit_code
from tests.support.serving import SIZE, client, copied, decide, items

from toeline.core.taxonomy import Taxonomy
from toeline.data.annotation_tools import PHOTO, SEEN
from toeline.data.answers import read_answers
from toeline.errors import LabelError
from toeline.serve.answers import answers_into
from toeline.serve.decisions import check
from toeline.serve.store import Store
from toeline.serve.tasks import TaskPhoto, refer

Task = dict[str, Any]
DRAIN: dict[str, Any] = {"class": "slope drain"}
WIDE, HIGH = SIZE
UNMOVED = (0.2 * WIDE, 0.0, 0.3 * WIDE, 0.7 * HIGH)  # of the slope drain, object 1


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return copied(tmp_path)


def exported(store: Path, to: str = "labelstudio") -> Path:
    out = store.parent / to
    assert exit_code("export", str(store), "--to", to, "--out", str(out)) == 0
    return next(out.glob("tasks.json" if to == "labelstudio" else "annotations.xml"))


def tasks_of(store: Path) -> list[Task]:
    """The tasks, as Label Studio exports them before anybody worked on one."""
    made: list[Task] = json.loads(exported(store).read_text(encoding="utf-8"))
    return [{**task, "id": at, "annotations": []} for at, task in enumerate(made, start=1)]


def submit(task: Task, **more: Any) -> list[Task]:
    """Add what a submit in Label Studio does: an annotation that begins with the prediction. Its results, to edit."""
    result = [{**deepcopy(one), "origin": "prediction"} for one in task["predictions"][0]["result"]]
    number = 100 * task["id"] + len(task["annotations"])
    own = {"id": number, "completed_by": 3, "was_cancelled": False, "lead_time": 9.0, "parent_prediction": 5}
    own |= {"updated_at": "2026-11-28T10:00:00Z", "result": result, **more}
    task["annotations"].append(own)
    results: list[Task] = own["result"]
    return results


def given(store: Path, tasks: Any, **more: Any) -> Any:
    """Import tasks as they stand."""
    file = store.parent / "project.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    return answers_into(store, file, **{"user": "local", **more})


def events(store: Path) -> list[tuple[str, str, str, Any]]:
    """Object, action, class and box of every event."""
    opened = Store.open(store)
    try:
        rows = opened.rows("SELECT f.object, e.* FROM events e JOIN findings f ON f.id = e.finding ORDER BY e.id")
        assert check(opened, Taxonomy.load()).faults == []
        return [(r["object"], r["action"], r["after"], json.loads(r["box"]) if r["box"] else None) for r in rows]
    finally:
        opened.close()


def percent(box: tuple[float, float, float, float]) -> dict[str, float]:
    x1, y1, x2, y2 = box
    return {
        "x": 100 * x1 / WIDE,
        "y": 100 * y1 / HIGH,
        "width": 100 * (x2 - x1) / WIDE,
        "height": 100 * (y2 - y1) / HIGH,
    }


def new_region(label: str, place: Mapping[str, Any], kind: str = "rectanglelabels", number: str = "t5sp3TyXPo") -> Task:
    size = {"original_width": WIDE, "original_height": HIGH, "image_rotation": 0}
    own = {"id": number, "type": kind, "from_name": "label", "to_name": "image", "origin": "manual"}
    return {**own, **size, "value": {"rotation": 0, **place, kind: [label]}}


def cannot_judge(region: Task) -> Task:
    own = {"type": "choices", "from_name": "answer", "value": {"choices": ["cannot judge"]}}
    return {key: value for key, value in region.items() if key not in ("score", "meta")} | own


# --- Label Studio ---


def test_what_was_done_in_label_studio_is_one_event_each(store: Path) -> None:
    tasks = tasks_of(store)
    first, second, third = submit(tasks[0])
    first["value"] |= percent((60, 0, 100, 160))  # moved
    second["value"]["rectanglelabels"] = ["Rock_TOE"]  # another class, written otherwise
    tasks[0]["annotations"][0]["result"].remove(third)  # deleted
    result = submit(tasks[1])
    result.append(cannot_judge(result[0]))
    result.append(new_region("vegetation", percent((200, 200, 260, 230))))
    done = given(store, tasks)
    assert done.problems == []
    assert events(store) == [
        ("1", "confirm", "slope drain blocked", [60.0, 0.0, 100.0, 160.0]),
        ("2", "change", "rock toe", None),
        ("3", "reject", "", None),
        ("1", "unsure", "", None),
        ("2", "confirm", "rock toe damaged", None),
        ("3", "confirm", "vegetation", None),
        ("+1", "add", "vegetation", [200.0, 200.0, 260.0, 230.0]),
    ]
    assert done.record["decisions"] == {"confirm": 3, "change": 1, "reject": 1, "unsure": 1, "add": 1}
    opened = Store.open(store)
    assert {r["seconds"] for r in opened.rows("SELECT seconds FROM events WHERE id < 4")} == {3.0}
    opened.close()


def test_the_same_file_again_adds_nothing_and_a_later_export_only_what_is_new(store: Path) -> None:
    tasks = tasks_of(store)
    result = submit(tasks[0])
    result.append(new_region("vegetation", percent((200, 200, 260, 230))))
    given(store, tasks)
    before, first = events(store), deepcopy(tasks)
    again = given(store, tasks)
    assert (events(store), again.record["again"], again.problems) == (before, 3, [])
    result[1]["value"]["rectanglelabels"] = ["rock toe"]  # the same person corrects itself there
    result[3]["value"] |= percent((200, 190, 260, 230))
    tasks[0]["annotations"][0]["updated_at"] = "2026-11-29T10:00:00Z"
    later = given(store, tasks)
    assert events(store)[4:] == [
        ("2", "change", "rock toe", None),
        ("+1", "box", "", [200.0, 190.0, 260.0, 230.0]),
    ]
    assert (later.record["again"], later.problems) == (2, [])
    given(store, first)  # the first file once more, after the second
    assert len(events(store)) == 6


def test_a_box_that_is_moved_back_there_is_moved_back(store: Path) -> None:
    tasks = tasks_of(store)
    region = submit(tasks[0])[0]
    before = dict(region["value"])
    region["value"] |= percent((60, 0, 100, 160))
    given(store, tasks)
    region["value"] |= before
    tasks[0]["annotations"][0]["updated_at"] = "2026-11-29T10:00:00Z"
    given(store, tasks)
    assert [e[3] for e in events(store) if e[0] == "1"] == [[60.0, 0.0, 100.0, 160.0], list(UNMOVED)]
    assert len(events(store)) == 4


def test_a_shape_that_is_as_it_was_shown_after_it_was_moved_is_named(store: Path) -> None:
    root = drawn(store)
    box = root.findall("image")[0].findall("box")[0]
    box.set("xbr", "100.00")
    cvat_given(store, root)
    box.set("xbr", "96.00")
    done = cvat_given(store, root)
    assert [e[1] for e in events(store)] == ["box"]
    assert ["an earlier export had it otherwise" in p.what for p in done.problems if not p.note] == [True]


def test_what_somebody_decided_meanwhile_stays_and_is_named(store: Path) -> None:
    tasks = tasks_of(store)
    with client(store) as web:
        finding = items(web, q="DJI_0000", sort="photo")[0]
        decide(web, finding["id"], "change", **DRAIN)
    submit(tasks[0])
    opened = Store.open(store)
    with opened.write() as db:
        db.execute("INSERT INTO users VALUES ('ann', 'reviewer', '', '')")
    opened.close()
    done = given(store, tasks, user="ann")
    assert [e[:3] for e in events(store)] == [
        ("1", "change", "slope drain"),
        ("2", "confirm", "rock toe damaged"),
        ("3", "confirm", "vegetation"),
    ]
    (problem,) = done.problems
    assert "local decided this first" in problem.what
    assert "object 1" in problem.file
    assert problem.file.startswith(f"{store.parent / 'project.json'}, task 1")
    assert problem.photo == "DJI_0000.jpg"
    assert (
        exit_code("serve", "answers", str(store.parent / "project.json"), "--store", str(store), "--user", "ann") == 1
    )


def test_what_nobody_looked_at_is_no_decision(store: Path) -> None:
    tasks = tasks_of(store)
    submit(tasks[1], was_cancelled=True)
    done = given(store, tasks)
    assert {e[1] for e in events(store)} == {"skip"}
    assert (len(events(store)), done.problems) == (3, [])
    with client(store) as web:
        assert len(items(web, state="open")) == 12


def test_an_annotation_that_began_empty_rejects_nothing(store: Path) -> None:
    tasks = tasks_of(store)
    submit(tasks[0], result=[new_region("vegetation", percent((10, 10, 60, 60)))], parent_prediction=None)
    submit(tasks[1], result=[], parent_prediction=None)
    submit(tasks[2], result=[], parent_prediction=7)  # began with the prediction: all were deleted
    done = given(store, tasks)
    assert ["begun empty" in p.what for p in done.problems] == [True, True]
    assert [e[1] for e in events(store)] == ["reject"] * 3
    assert "reject" in {e[1] for e in events(store)}
    assert given(store, tasks[:1], all_seen=True).record["decisions"] == {"reject": 3, "add": 1}


def test_two_annotators_who_disagree_are_named_and_one_can_be_chosen(store: Path) -> None:
    tasks = tasks_of(store)
    submit(tasks[0])
    submit(tasks[0], completed_by={"id": 5, "email": "bo@example.org"})[0]["value"]["rectanglelabels"] = ["slope drain"]
    submit(tasks[1])
    submit(tasks[1], completed_by=5)  # they agree
    submit(tasks[2])
    submit(tasks[2], completed_by=5, ground_truth=True)[0]["value"]["rectanglelabels"] = ["slope drain"]
    done = given(store, tasks)
    assert [str(p).rpartition("/")[2] for p in done.problems if not p.note] == [
        "project.json, task 1: 3 and 5 answered it differently. Name one with --annotator."
    ]
    assert [e[1] for e in events(store)] == ["confirm"] * 3 + ["change"] + ["confirm"] * 2
    given(store, tasks, annotator="BO@example.org")
    assert events(store)[6:][0][:3] == ("1", "change", "slope drain")


def test_places_of_all_forms_are_exact(store: Path) -> None:
    tasks = tasks_of(store)
    result = submit(tasks[0])
    result[0]["value"] |= {**percent((100, 50, 140, 70)), "rotation": 90}  # about its upper left corner, clockwise
    ring = [[100 * x / WIDE, 100 * y / HIGH] for x, y in ((10, 180), (60, 200), (30, 230))]
    result.append(new_region("vegetation", {"points": ring, "closed": True}, "polygonlabels", "a"))
    ellipse = {"x": 50, "y": 85, "radiusX": 10, "radiusY": 5, "rotation": 90}
    result.append(new_region("vegetation", ellipse, "ellipselabels", "b"))
    result.append(new_region("vegetation", percent((300, 200, 400, 300)), number="c"))  # beyond the border
    done = given(store, tasks)
    assert [p.note for p in done.problems] == [True, True, True]
    boxes = {e[0]: e[3] for e in events(store)}
    assert boxes["1"] == [80.0, 50.0, 100.0, 90.0]
    assert boxes["+1"] == [10.0, 180.0, 60.0, 230.0]
    assert boxes["+2"] == [160.0 - 12, 204.0 - 32, 160.0 + 12, 204.0 + 32]
    assert boxes["+3"] == [300.0, 200.0, 320.0, 240.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["value"].update(rectanglelabels=["vegetatoin"]), "Did you mean 'vegetation'?"),
        (lambda r: r["value"].update(rectanglelabels=["rock toe", "vegetation"]), "has the labels"),
        (lambda r: r["value"].pop("rectanglelabels"), "has no label"),
        (lambda r: r.update(image_rotation=90), "was turned in Label Studio"),
        (lambda r: r["value"].update(width=0), "less than a pixel"),
        (lambda r: r["value"].update(x="nan"), "must be a number"),
        (lambda r: r["value"].update(x=float("nan")), "must be a number"),
        (lambda r: r["value"].update(width=-5), "corners are in the wrong order"),
        (lambda r: r.update(item_index=1), "several photographs"),
        (lambda r: r["value"].update(points=[[1, 1], [2, 2]]), "no three points"),
    ],
)
def test_a_region_that_cannot_be_used_is_named_and_rejects_nothing(store: Path, change: Any, said: str) -> None:
    tasks = tasks_of(store)
    change(submit(tasks[0])[0])
    done = given(store, tasks)
    (problem,) = done.problems
    assert said in problem.what
    assert tasks[0]["annotations"][0]["result"][0]["id"] in problem.file
    assert [e[:2] for e in events(store)] == [("2", "confirm"), ("3", "confirm")]


def test_an_object_that_came_meanwhile_is_not_added_again(store: Path) -> None:
    tasks = tasks_of(store)
    result = submit(tasks[0])
    photo = refer(tasks[0]["data"]["toeline"])
    assert photo is not None
    with client(store) as web:
        more = {"class": "vegetation", "photo": photo.number, "box": [10, 200, 90, 235], "key": "drawn-on-the-page"}
        assert web.post("/api/v1/decisions", json={"action": "add", **more}).status_code == 200
    result.append(new_region("vegetation", percent((10, 200, 92, 235))))
    (problem,) = given(store, tasks).problems
    assert "object +1 is there already" in problem.what
    assert [e[1] for e in events(store)] == ["add", *["confirm"] * 3]


def test_a_photograph_that_is_not_in_the_store_or_could_be_two_is_named(store: Path, tmp_path: Path) -> None:
    tasks = tasks_of(store)
    for task in tasks:
        del task["data"]["toeline"]
        submit(task, result=[new_region("vegetation", percent((300, 200, 318, 238)))], parent_prediction=None)
    del tasks[0]["data"]["photo"]
    tasks[0]["data"]["image"] = "/data/upload/3/0a1b2c3d-dji_0000.JPG"  # as an upload calls it
    tasks[1]["data"] = {"image": "https://example.org/other.jpg"}
    done = given(store, tasks)
    assert [p.what for p in done.problems] == [
        "the photograph 'https://example.org/other.jpg' is not in the store. Nothing of it was taken."
    ]
    assert [e[1] for e in events(store)] == ["add"] * 3
    opened = Store.open(store)
    with opened.write() as db:
        db.execute("UPDATE photos SET name = 'day 2/' || name WHERE id = 3")
        db.execute("INSERT INTO photos SELECT 99, inspection, 'day 3/DJI_0002.jpg', path, bytes, sha256, width, height,"
                   " record FROM photos WHERE id = 3")  # fmt: skip
    opened.close()
    tasks[2]["data"] = {"image": "DJI_0002.jpg"}
    (problem,) = given(store, tasks[2:3]).problems
    assert "'day 2/DJI_0002.jpg' of inspection 1 and 'day 3/DJI_0002.jpg'" in problem.what
    tasks[2]["data"] = {"image": "/data/local-files/?d=flights/day%203/DJI_0002.jpg"}
    assert given(store, tasks[2:3]).problems == []


def test_another_store_s_tasks_and_wrong_references_are_refused(store: Path) -> None:
    tasks = tasks_of(store)
    for task in tasks[:2]:
        submit(task)
    tasks[0]["data"]["toeline"] = "00000000-photo1-0"
    tasks[1]["data"]["photo"] = "DJI_0003.jpg"
    done = given(store, tasks)
    assert ["another store" in p.what for p in done.problems] == [True, False]
    assert "its reference is of 'DJI_0001.jpg'" in done.problems[1].what
    assert events(store) == []


def test_a_photograph_that_the_tool_did_not_turn_upright(store: Path, tmp_path: Path) -> None:
    """EXIF 6: stored 240 wide and 320 high. A tool that does not heed it gives places on the stored picture."""
    opened = Store.open(store)
    file = tmp_path / "stored.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HIGH, WIDE)).save(file, exif=exif)
    with opened.write() as db:
        db.execute("UPDATE photos SET path = ? WHERE id = 1", [str(file).encode().hex()])
    opened.close()
    tasks = tasks_of(store)
    region = new_region("vegetation", {"x": 0, "y": 0, "width": 25, "height": 10})
    result = submit(tasks[0])
    for one in result:  # the upright x is high - y of the stored one, and the upright y its x
        x1, y1 = one["value"]["x"], one["value"]["y"]
        w, h = one["value"]["width"], one["value"]["height"]
        one["value"] |= {"x": y1, "y": 100 - x1 - w, "width": h, "height": w}
    result.append(region)
    for one in result:
        one |= {"original_width": HIGH, "original_height": WIDE}
    assert given(store, tasks).problems == []
    assert [(e[1], e[3]) for e in events(store)] == [("confirm", None)] * 3 + [("add", [288.0, 0.0, 320.0, 60.0])]
    tasks[1]["id"] = 2
    for one in submit(tasks[1]):
        one |= {"original_width": 500, "original_height": 100}
    (problem,) = given(store, tasks[1:2]).problems
    assert "another picture" in problem.what


def test_files_of_other_kinds_and_hostile_ones_are_refused(store: Path, tmp_path: Path) -> None:
    bad: dict[str, bytes] = {
        "a.json": b"[]",
        "b.json": b'[{"id": 1, "image": "a.jpg", "label": [], "annotation_id": 3}]',
        "c.json": b"[" * 100_000,
        "d.xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>',
        "e.xml": '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotations/>'.encode("utf-16"),
        "f.xml": b"<annotations>" + b"<a>" * 200,
        "g.xml": b"<annotations><track/></annotations>",
        "h.xml": b"<html/>",
        "i.zip": b"PK\x05\x06" + b"\0" * 18,
    }
    for name, raw in bad.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(LabelError, match="Export it again"):
            read_answers(tmp_path / name)
    with pytest.raises(LabelError, match="no such file"):
        read_answers(tmp_path)
    assert exit_code("serve", "answers", str(tmp_path / "d.xml"), "--store", str(store), "--user", "local") == 2
    assert exit_code("serve", "answers", str(tmp_path / "a.json"), "--store", str(store), "--user", "nobody") == 2


def test_a_zip_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toeline.data.answers.MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", b"<annotations>" + b" " * (2 << 20) + b"</annotations>")
    with pytest.raises(LabelError, match="more than 1,048,576 bytes"):
        read_answers(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\0b.jpg", "<script>.jpg", "x" * 5000, "", "=1+1.jpg", "\ud800.jpg", "\u202egpj.exe"]
)
def test_hostile_names_are_told_and_nothing_else(store: Path, name: str) -> None:
    tasks = tasks_of(store)[:1]
    submit(tasks[0])
    tasks[0]["data"] = {"image": name}
    for one in tasks[0]["annotations"][0]["result"]:
        one["id"] = "own"
    (problem,) = given(store, tasks).problems
    assert len(str(problem)) < 1000
    assert events(store) == []


# --- CVAT ---


def drawn(store: Path) -> ElementTree.Element:
    """What CVAT exports when nobody did anything: the file that was uploaded, with its own facts."""
    root = ElementTree.parse(exported(store, "cvat")).getroot()
    for shape in root.iter("box"):
        shape.set("source", "file")
    ElementTree.SubElement(root.find("meta/task"), "updated").text = "2026-11-28 10:00:00"  # type: ignore[arg-type]
    return root


def cvat_given(store: Path, root: ElementTree.Element, *, packed: bool = False, **more: Any) -> Any:
    raw = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    file = store.parent / ("task.zip" if packed else "task.xml")
    if packed:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("annotations.xml", raw)
            archive.writestr("images/../../../a.jpg", b"never unpacked")
    else:
        file.write_bytes(raw)
    return answers_into(store, file, **{"user": "local", **more})


def tick(element: ElementTree.Element, name: str) -> None:
    (one,) = [a for a in element.iterfind("attribute") if a.get("name") == name]
    one.text = "true"


def test_in_cvat_only_what_was_changed_or_ticked_is_a_decision(store: Path) -> None:
    root = drawn(store)
    first, second, third, fourth = root.findall("image")
    assert cvat_given(store, root).record["decisions"] == {}
    boxes = first.findall("box")
    boxes[0].set("xbr", "100.00")  # moved, not ticked: its class stays open
    boxes[1].set("label", "rock toe")
    first.remove(boxes[2])
    tick(second.find("tag"), SEEN)  # type: ignore[arg-type]
    tick(second.findall("box")[0], "cannot_judge")
    tick(third.findall("box")[1], SEEN)
    copy = deepcopy(fourth.findall("box")[0])  # pasted beside it, with its attributes
    copy.set("xtl", "10.00")
    copy.set("xbr", "42.00")
    fourth.insert(1, copy)
    ElementTree.SubElement(fourth, "polygon", label="vegetation", occluded="0", points="10,180;60.5,200;30,230")
    done = cvat_given(store, root, packed=True)
    assert events(store) == [
        ("1", "box", "", [64.0, 0.0, 100.0, 168.0]),
        ("2", "change", "rock toe", None),
        ("3", "reject", "", None),
        ("1", "unsure", "", None),
        ("2", "confirm", "rock toe damaged", None),
        ("3", "confirm", "vegetation", None),
        ("2", "confirm", "rock toe damaged", None),
        ("+1", "add", "vegetation", [10.0, 180.0, 60.5, 230.0]),
        ("+2", "add", "slope drain blocked", [10.0, 0.0, 42.0, 168.0]),
    ]
    assert "6 findings unchanged" in next(p.what for p in done.problems if "unchanged" in p.what)
    assert all(p.note for p in done.problems)
    again = cvat_given(store, root)
    assert (len(events(store)), again.record["again"]) == (9, 9)
    everything = cvat_given(store, root, all_seen=True)
    assert everything.record["decisions"] == {"confirm": 6}
    assert not [p for p in everything.problems if not p.note]


def test_shapes_of_cvat_are_exact_and_others_are_named(store: Path) -> None:
    root = drawn(store)
    image = root.findall("image")[0]
    image.findall("box")[0].set("rotation", "90.00")  # about its middle
    more = {"label": "vegetation", "occluded": "0"}
    ElementTree.SubElement(
        image, "ellipse", more | {"cx": "160", "cy": "200", "rx": "32", "ry": "12", "rotation": "90"}
    )
    ElementTree.SubElement(
        image, "mask", more | {"rle": "3", "left": "10", "top": "190", "width": "30", "height": "40"}
    )
    ElementTree.SubElement(image, "polyline", more | {"points": "1,1;2,2"})
    ElementTree.SubElement(image, "box", more | {"xtl": "a", "ytl": "0", "xbr": "9", "ybr": "9"})
    done = cvat_given(store, root)
    boxes = [e[3] for e in events(store)]
    middle, half = (80.0, 84.0), (16.0, 84.0)
    assert boxes[0] == [middle[0] - half[1] if middle[0] > half[1] else 0.0, 68.0, middle[0] + half[1], 100.0]
    assert boxes[1:] == [[148.0, 168.0, 172.0, 232.0], [10.0, 190.0, 40.0, 230.0]]
    told = [p.what for p in done.problems if not p.note]
    assert ["polyline" in told[0], "must be a finite" in told[1] or "must be a number" in told[1]] == [True, True]


def test_a_shape_that_cvat_propagated_is_a_new_object_and_a_task_without_tags_rejects_nothing(store: Path) -> None:
    root = drawn(store)
    first, second, *_ = root.findall("image")
    copy = deepcopy(first.findall("box")[0])
    copy.set("xtl", "200.00")
    copy.set("xbr", "232.00")
    second.append(copy)
    for image in root.findall("image"):
        image.remove(image.find("tag"))  # type: ignore[arg-type]
    first.remove(first.findall("box")[0])
    done = cvat_given(store, root)
    assert events(store) == [("+1", "add", "slope drain blocked", [200.0, 0.0, 232.0, 168.0])]
    assert not [p for p in done.problems if not p.note]


def test_scaled_copies_in_cvat_are_scaled_back(store: Path) -> None:
    root = drawn(store)
    image = root.findall("image")[0]
    image.set("width", str(WIDE // 2))
    image.set("height", str(HIGH // 2))
    for box in image.findall("box"):
        for side in ("xtl", "ytl", "xbr", "ybr"):
            box.set(side, str(float(box.get(side, "")) / 2))
    tick(image.find("tag"), SEEN)  # type: ignore[arg-type]
    cvat_given(store, root)
    assert [(e[1], e[3]) for e in events(store)] == [("confirm", None)] * 3


# --- out of the store ---


def test_photographs_with_something_open_go_out_with_all_that_is_on_them(store: Path) -> None:
    with client(store) as web:
        first, second, _ = items(web, q="DJI_0000", sort="photo")
        decide(web, first["id"], "change", **DRAIN, box=[10, 10, 50, 60])
        decide(web, second["id"], "reject")
        for one in items(web, q="DJI_0001"):
            decide(web, one["id"], "unsure")
        one = items(web, q="DJI_0002", sort="photo")[0]
        decide(web, one["id"], "unsure")
    tasks = tasks_of(store)
    assert [task["data"]["photo"] for task in tasks] == ["DJI_0000.jpg", "DJI_0002.jpg", "DJI_0003.jpg"]
    labels = [r["value"].get("rectanglelabels") or r["value"]["choices"] for r in tasks[0]["predictions"][0]["result"]]
    assert labels == [["slope drain"], ["vegetation"]]
    assert [r["type"] for r in tasks[1]["predictions"][0]["result"]][:2] == ["rectanglelabels", "choices"]
    for task in tasks[:2]:
        submit(task)
    assert given(store, tasks).record["decisions"] == {"confirm": 3}  # what was decided and is unchanged says nothing


def test_what_was_shown_at_an_event_follows_from_the_events(store: Path) -> None:
    with client(store) as web:
        first = items(web, q="DJI_0000", sort="photo")[0]
        decide(web, first["id"], "box", box=[10, 10, 50, 60])
        decide(web, first["id"], "reject", version=1)
        web.post("/api/v1/undo", json={"key": "undo-0001"})
    opened = Store.open(store)
    photo = TaskPhoto(opened, Taxonomy.load(), opened.rows("SELECT * FROM photos WHERE id = 1")[0])
    seen = {at: [(s.version, s.box.xyxy) for s in photo.shown_at(at) if s.row["object"] == "1"] for at in range(4)}
    opened.close()
    assert seen == {0: [(0, UNMOVED)], 1: [(1, (10, 10, 50, 60))], 2: [], 3: [(3, (10, 10, 50, 60))]}


def test_decided_objects_go_out_for_every_tool(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with client(store) as web:
        for one in items(web, q="DJI_0000"):
            decide(web, one["id"])
        for one in items(web, q="DJI_0001"):
            decide(web, one["id"], "reject")
    out = store.parent / "out"
    every = "yolo,coco,labelstudio, cvat,fiftyone"
    assert exit_code("labels", str(store), "--out", str(out), "--to", every) == 0
    tasks = json.loads((out / "labelstudio/tasks.json").read_text(encoding="utf-8"))
    assert [len(task["annotations"][0]["result"]) for task in tasks] == [3, 0]
    root = ElementTree.parse(out / "cvat/annotations.xml").getroot()
    assert [len(image.findall("box")) for image in root.iter("image")] == [3, 0]
    made = json.loads((out / "fiftyone/train/labels.json").read_text(encoding="utf-8"))
    assert [(out / "fiftyone/train/data" / image["file_name"]).is_file() for image in made["images"]] == [True, True]
    assert made["annotations"][0]["attributes"]["action"] == "confirm"
    assert refer(made["annotations"][0]["attributes"]["reference"]) is not None
    root.findall("image")[0].remove(root.findall("image")[0].findall("box")[0])
    assert cvat_given(store, root).record["decisions"] == {"reject": 1}  # a decision that is changed there
    capsys.readouterr()
    assert exit_code("labels", str(store), "--out", str(out), "--to", "yollo") == 2
    assert "Did you mean 'yolo'?" in " ".join(capsys.readouterr().err.split())


def test_an_open_store_goes_to_fiftyone_with_scores_and_references(store: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    out = store.parent / "fo"
    assert exit_code("export", str(store), "--to", "fiftyone", "--out", str(out)) == 0
    made = pycocotools.COCO(str(out / "open/labels.json"))
    assert (len(made.imgs), len(made.anns)) == (4, 12)
    one = made.anns[1]
    assert (one["score"], one["attributes"]["object"]) == (0.7, "1")
    assert refer(one["attributes"]["reference"]) is not None
    assert exit_code("export", str(store), "--to", "yolo", "--out", str(store.parent / "y")) == 2


def test_cvat_gets_the_labels_that_its_task_must_have(store: Path) -> None:
    file = exported(store, "cvat")
    labels = {one["name"]: one for one in json.loads(file.with_suffix(".labels.json").read_text(encoding="utf-8"))}
    root = ElementTree.parse(file).getroot()
    for shape in (*root.iter("box"), *root.iter("tag")):
        known = {a["name"] for a in labels[shape.get("label", "")]["attributes"]}
        assert {a.get("name") for a in shape.iterfind("attribute")} <= known
    assert labels["whole photograph"]["type"] == "tag"
    assert [a["name"] for a in labels["whole photograph"]["attributes"]] == [PHOTO, SEEN]


# --- nothing came of it: why ---


def test_a_project_that_nobody_worked_on_says_so(store: Path) -> None:
    done = given(store, tasks_of(store))
    unanswered = "without a submitted annotation: predictions that nobody submitted are no answers"
    assert done.lines == ["[bold]0 decisions[/] of 0 photographs in Label Studio: none", f"4 tasks {unanswered}"]
    assert (events(store), done.record["unanswered"]) == ([], 4)
    tasks = tasks_of(store)
    submit(tasks[2])
    assert given(store, tasks).lines[1] == f"3 tasks {unanswered}"


def test_an_annotator_whom_the_file_does_not_have_is_a_problem(store: Path) -> None:
    tasks = tasks_of(store)
    submit(tasks[0])
    done = given(store, tasks, annotator="nobody")
    told = [str(problem) for problem in done.problems]
    assert "project.json, --annotator: nobody annotated none of these tasks. Name an id or e-mail." in told[0]
    assert "1 annotation not read: none is of nobody." in told[1]
    assert (done.record["unanswered"], events(store), [p.note for p in done.problems]) == (3, [], [False, True])


def test_what_was_decided_before_and_is_as_it_was_is_said_to_be_nothing_new(store: Path) -> None:
    with client(store) as web:
        for one in items(web):
            decide(web, one["id"])
    out = store.parent / "decided"
    assert exit_code("labels", str(store), "--out", str(out), "--to", "cvat") == 0
    done = answers_into(store, out / "cvat/annotations.xml", user="local")
    assert done.record["decisions"] == {}
    assert done.lines[1] == "No class, box or object in the file differs from what is decided in the store already"
    assert done.problems == []
    (store.parent / "empty.xml").write_text("<annotations><version>1.1</version></annotations>")
    assert answers_into(store, store.parent / "empty.xml", user="local").lines[1] == "The file holds no photograph"
