from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.datasets import exit_code, write_photo
from tests.support.serving import client, copied, decide, items
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo
from toeline.serve.labels import labels_into, labels_of, split_of
from toeline.serve.store import Store


def test_only_photographs_that_are_decided_completely_are_labels(tmp_path: Path) -> None:
    store = copied(tmp_path)
    with client(store) as web:
        drain, toe, plant = items(web, q="DJI_0000", sort="photo")
        decide(web, drain["id"], "change", **{"class": "slope drain damaged"}, box=[10, 12, 50, 80])
        decide(web, toe["id"], "reject")
        decide(web, plant["id"])
        decide(web, items(web, q="DJI_0001")[0]["id"])
    done = labels_into(store, tmp_path / "data")
    assert done.record["objects"] == 2
    assert [p.photo for p in done.problems] == ["DJI_0001.jpg"]
    assert "2 objects" in done.problems[0].what
    rows = (tmp_path / "data/yolo/train/labels/DJI_0000.txt").read_text().splitlines()
    assert rows[0].split()[0] == "7"
    assert [float(v) for v in rows[0].split()[1:]] == pytest.approx([30 / 320, 46 / 240, 40 / 320, 68 / 240])
    assert rows[1].split()[0] == "8"
    sources = [json.loads(line) for line in (tmp_path / "data/provenance.jsonl").read_text().splitlines()]
    assert [(s["action"], s["user"], s["line"], s["condition"]) for s in sources] == [
        ("change", "local", 1, "damaged"),
        ("confirm", "local", 2, "normal"),
    ]
    again = open_yolo(tmp_path / "data/yolo", Taxonomy.load(), any_class=True)
    assert sum(map(len, again.splits.values())) == 1


def test_partial_takes_what_is_decided_and_an_unsure_one_never(tmp_path: Path) -> None:
    store = copied(tmp_path)
    with client(store) as web:
        first, second, _ = items(web, q="DJI_0002", sort="photo")
        decide(web, first["id"])
        decide(web, second["id"], "unsure")
        state = web.app.state
        assert labels_of(state.store, state.taxonomy).data.photographs == 0
        labels = labels_of(state.store, state.taxonomy, partial=True)
    assert [s["finding"] for s in labels.sources] == [first["id"]]


def test_a_split_is_kept_and_a_flight_line_in_two_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, FakeJudge())
    for split in ("train", "valid"):
        for at in range(2):
            name = f"DJI_20240501_10000{at}_000{at}.jpg"
            write_photo(tmp_path / "data" / split / "images" / name, (60, 60), seed=at + 5 * (split == "valid"))
    assert exit_code("inspect", str(tmp_path / "data"), "--out", str(tmp_path / "run")) == 0
    assert exit_code("serve", "import", str(tmp_path / "run"), "--store", str(tmp_path / "store")) == 0
    with client(tmp_path / "store") as web:
        for one in items(web):
            decide(web, one["id"])
    done = labels_into(tmp_path / "store", tmp_path / "out")
    assert done.record["photographs"] == {"train": 2, "valid": 2}
    assert split_of(tmp_path / "a.jpg") == "train"


def test_labels_of_a_store_without_decisions_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("labels", str(copied(tmp_path)), "--out", str(tmp_path / "out")) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Decide some more: toeline serve --store" in said
    assert "--partial" not in said  # which would not help
    assert not (tmp_path / "out").exists()


def test_the_commands_check_back_up_and_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path)
    with client(folder) as web:
        decide(web, items(web)[0]["id"])
        Store.open(folder).backup(tmp_path / "one.sqlite")
        decide(web, items(web)[0]["id"])
    assert exit_code("serve", "check", "--store", str(folder)) == 0
    assert "2 events" in capsys.readouterr().out
    assert exit_code("serve", "restore", str(tmp_path / "one.sqlite"), "--store", str(folder)) == 0
    assert exit_code("serve", "check", "--store", str(folder)) == 0
    assert "1 event on" in capsys.readouterr().out
