"""What people decided, in `toeline revisit --store` and in GET /inspections/{id}/changes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, decide, items
from tests.support.visits import at, pose, said, shot, write_visit

from toeline.serve.imports import finished, import_run
from toeline.serve.store import Store

SHOTS = [shot(f"a{n}.jpg", pose(40 * n)) for n in range(2)]


@pytest.fixture
def visits(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two runs with a drain each that is as it was, and a stone; and a store with both."""
    runs = [
        write_visit(
            tmp_path / name,
            SHOTS,
            [said("a0.jpg", 1, "slope drain", at(0), p=0.9), said("a1.jpg", 1, "rock toe", at(40), p=0.9)],
            title=name,
        )
        for name in ("may", "november")
    ]
    store = Store.open(tmp_path / "store")
    for run in runs:
        import_run(store, finished(run))
    store.close()
    return runs[0], runs[1], tmp_path / "store"


def drains(web: Any) -> dict[int, int]:
    """Id of the drain by its inspection."""
    return {item["inspection"]: item["id"] for item in items(web) if item["type"] == "slope_drain"}


def test_decisions_stand_in_the_place_of_answers(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, after, store = visits
    with client(store) as web:
        assert decide(web, drains(web)[2], "change", **{"class": "slope drain blocked"}).status_code == 200
        stone = next(item for item in items(web) if item["inspection"] == 2 and item["type"] == "rock_toe")
        assert decide(web, stone["id"], "reject").status_code == 200
        found = web.get(f"{BASE}/inspections/2/changes", params={"since": 1}).json()
        page = web.get(f"{BASE}/inspections/2/changes.html", params={"since": 1})
        assert page.headers["content-type"].startswith("text/html")
        assert "no picture" not in page.text
        assert "worse" in page.text
    rows = [(c["change"], c.get("after_by", "").split(",")[0]) for c in found["changes"]]
    assert rows == [("worse", "local"), ("gone", "")]
    out = tmp_path / "out"
    assert exit_code("revisit", str(before), str(after), "--out", str(out), "--store", str(store)) == 0
    with (out / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["change"] for row in table] == ["worse", "gone"]
    assert table[0]["after_by"].startswith("local, 2")
    assert (table[0]["before_by"], table[0]["after_probability"]) == ("model", "1.0")


def test_undone_decisions_and_corrected_boxes(visits: tuple[Path, Path, Path]) -> None:
    with client(visits[2]) as web:
        drain = drains(web)[2]
        assert decide(web, drain, "change", **{"class": "slope drain blocked"}).status_code == 200
        assert web.post(f"{BASE}/undo", json={"key": "undo-0001"}).status_code == 200
        assert decide(web, drain, "box", 2, box=[180, 130, 225, 170]).status_code == 200
        found = web.get(f"{BASE}/inspections/2/changes", params={"since": 1}).json()
    assert {c["change"] for c in found["changes"]} == {"same"}
    assert {c["after_by"] for c in found["changes"]} == {"model"}


def test_added_objects_are_in_it(visits: tuple[Path, Path, Path]) -> None:
    with client(visits[2]) as web:
        photo = next(item["photo_id"] for item in items(web) if item["inspection"] == 2)
        form = {"action": "add", "photo": photo, "class": "Toe drain- Blocked", "box": [200, 100, 260, 160]}
        assert web.post(f"{BASE}/decisions", json={**form, "key": "add-00001"}).status_code == 200
        found = web.get(f"{BASE}/inspections/2/changes", params={"since": 1}).json()
    assert next((c["change"], c["type"]) for c in found["changes"]) == ("new", "toe_drain")


def test_an_inspection_that_is_not_there(visits: tuple[Path, Path, Path]) -> None:
    with client(visits[2]) as web:
        answer = web.get(f"{BASE}/inspections/2/changes", params={"since": 77})
        assert (answer.status_code, answer.json()["code"]) == (404, "missing")
        assert web.get(f"{BASE}/inspections/2/changes").status_code == 422


def test_a_store_that_knows_neither_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_visit(tmp_path / "may", SHOTS, [])
    Store.open(tmp_path / "store").close()
    words = ("revisit", str(run), str(run), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"))
    assert exit_code(*words) == 2
    assert "toeline serve import" in " ".join(capsys.readouterr().err.split())
