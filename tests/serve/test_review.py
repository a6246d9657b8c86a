from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, copied, decide, drawn, items, key, make_run, make_store

from toeline.serve.decisions import check
from toeline.serve.imports import store_taxonomy
from toeline.serve.store import Store


@pytest.fixture
def web(tmp_path: Path):
    with client(copied(tmp_path)) as made:
        yield made


def chain(web: TestClient) -> list[str]:
    state = web.app.state
    return check(state.store, state.taxonomy).faults


def test_findings_are_listed_filtered_and_paged(web: TestClient) -> None:
    first = web.get(f"{BASE}/findings", params={"per_page": 5}).json()
    assert (first["total"], len(first["items"]), first["page"]) == (12, 5, 1)
    one = first["items"][0]
    assert {"id", "photo_id", "photo", "type", "class", "probabilities", "box", "version", "decision"} <= set(one)
    assert one["version"] == 0
    assert one["decision"] is None
    assert {i["type"] for i in items(web, type="rock_toe")} == {"rock_toe"}
    assert len(items(web, photo=one["photo_id"])) == 3
    assert len(items(web, q="DJI_0002")) == 3
    assert items(web, q="100%_") == []
    assert items(web, type="no such type") == []
    seen = [
        i["id"]
        for page in (1, 2, 3)
        for i in web.get(f"{BASE}/findings", params={"page": page, "per_page": 5}).json()["items"]
    ]
    assert len(set(seen)) == 12


@pytest.mark.parametrize("sort", ["urgent", "least_sure", "disagree", "alike", "photo"])
def test_every_order_lists_all(web: TestClient, sort: str) -> None:
    assert len({i["id"] for i in items(web, sort=sort)}) == 12


def test_the_least_sure_come_first(web: TestClient) -> None:
    assert items(web, sort="least_sure")[-1]["type"] == "vegetation"  # was not asked at all


def test_a_confirmation_is_an_event_and_leaves_the_queue(web: TestClient) -> None:
    one = items(web)[0]
    done = decide(web, one["id"])
    assert done.status_code == 200
    assert done.json() == {"event": 1, "finding": one["id"], "version": 1}
    assert one["id"] not in {i["id"] for i in items(web)}
    decided = items(web, state="decided")[0]
    assert decided["decision"]["action"] == "confirm"
    assert decided["decision"]["class"] == one["class"]
    assert decided["decision"]["user"] == "local"
    assert decided["decision"]["seconds"] == 1.5
    event = web.get(f"{BASE}/events", params={"finding": one["id"]}).json()["items"][0]
    assert event["to"] == one["class"]
    assert event["model"]
    assert len(event["hash"]) == 64
    assert chain(web) == []


def test_a_change_may_be_of_another_type_and_keeps_what_the_model_said(web: TestClient) -> None:
    one = items(web, type="rock_toe")[0]
    assert decide(web, one["id"], "change", **{"class": "vegetation"}).status_code == 200
    now = items(web, state="decided")[0]
    assert now["class"] == one["class"]
    assert now["decision"]["class"] == "vegetation"
    assert [i["id"] for i in items(web, state="decided", **{"class": "vegetation"})] == [one["id"]]


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ({"action": "change", "class": "nonsense"}, "class"),
        ({"action": "change"}, "class"),
        ({"action": "box"}, "box"),
        ({"action": "box", "box": [5, 5, 5, 9]}, "box"),
        ({"action": "box", "box": [9000, 9000, 9100, 9100]}, "box"),
        ({"action": "box", "box": [1, 2, 3]}, "box"),
        ({"action": "explode"}, "action"),
        ({"action": "confirm", "seconds": -1}, "seconds"),
        ({"action": "confirm", "key": "short"}, "key"),
        ({"action": "confirm", "colour": "red"}, "colour"),
    ],
)
def test_a_decision_that_says_nothing_useful_is_refused_with_its_place(web: TestClient, form: dict, where: str) -> None:
    one = items(web)[0]
    said = web.post(f"{BASE}/decisions", json={"finding": one["id"], "version": 0, "key": key(), **form})
    assert said.status_code == 422
    assert said.json()["code"] == "invalid"
    assert where in said.json()["where"]
    assert web.get(f"{BASE}/events").json()["items"] == []


def test_a_finding_that_is_not_there_is_said(web: TestClient) -> None:
    assert decide(web, 999).status_code == 404
    assert web.get(f"{BASE}/findings/999").json()["code"] == "missing"


def test_the_second_of_two_reviewers_is_told_who_was_first(web: TestClient) -> None:
    one = items(web)[0]
    assert decide(web, one["id"], "change", **{"class": "slope drain"}).status_code == 200
    late = decide(web, one["id"], "reject")
    said = late.json()
    assert late.status_code == 409
    assert said["code"] == "stale"
    assert said["first"]["user"] == "local"
    assert said["first"]["class"] == "slope drain"
    assert said["item"]["version"] == 1
    assert said["item"]["decision"]["class"] == "slope drain"
    assert decide(web, one["id"], "reject", version=1).status_code == 200


def test_the_same_request_again_is_one_event(web: TestClient) -> None:
    form = {"finding": items(web)[0]["id"], "version": 0, "action": "confirm", "key": key()}
    first, again = (web.post(f"{BASE}/decisions", json=form).json() for _ in range(2))
    assert again == {**first, "again": True}
    assert len(web.get(f"{BASE}/events").json()["items"]) == 1
    other = web.post(f"{BASE}/decisions", json={**form, "action": "reject"})
    assert other.status_code == 422
    assert "another decision" in other.json()["detail"]


def test_undo_is_an_event_and_brings_back_what_was(web: TestClient) -> None:
    a, b = items(web)[:2]
    decide(web, a["id"])
    decide(web, b["id"], "reject")
    undone = web.post(f"{BASE}/undo", json={"key": key()}).json()
    assert undone["finding"] == b["id"]
    assert undone["undone"] == 2
    assert undone["item"]["decision"] is None
    assert undone["version"] == 2
    assert web.post(f"{BASE}/undo", json={"key": key()}).json()["finding"] == a["id"]
    assert web.post(f"{BASE}/undo", json={"key": key()}).status_code == 404
    listed = web.get(f"{BASE}/events").json()["items"]
    assert [e["action"] for e in listed] == ["confirm", "reject", "undo", "undo"]
    assert listed[0]["undone"]
    assert len(items(web)) == 12
    assert chain(web) == []


def test_undo_of_a_change_brings_back_the_decision_before(web: TestClient) -> None:
    one = items(web, type="slope_drain")[0]
    decide(web, one["id"])
    decide(web, one["id"], "change", version=1, **{"class": "slope drain"})
    back = web.post(f"{BASE}/undo", json={"key": key()}).json()["item"]
    assert back["decision"]["action"] == "confirm"
    assert back["decision"]["class"] == one["class"]


def test_a_repeated_undo_is_one_undo(web: TestClient) -> None:
    for one in items(web)[:2]:
        decide(web, one["id"])
    again = {"key": key()}
    first, second = (web.post(f"{BASE}/undo", json=again).json() for _ in range(2))
    assert first["event"] == second["event"]
    assert second["again"]


def test_skipped_ones_stay_open_and_come_last(web: TestClient) -> None:
    one = items(web)[0]
    assert decide(web, one["id"], "skip").json()["version"] == 0
    listed = items(web)
    assert listed[-1]["id"] == one["id"]
    assert len(listed) == 12
    assert web.get(f"{BASE}/progress").json()["skipped"] == 1
    assert decide(web, one["id"]).status_code == 200


def test_a_mended_box_stays_when_the_class_is_decided(web: TestClient) -> None:
    one = items(web)[0]
    assert decide(web, one["id"], "box", box=[10, 10, 9000, 60]).json()["version"] == 1
    now = next(i for i in items(web) if i["id"] == one["id"])
    assert now["decision"]["action"] == "box"
    assert now["decision"]["box"] == [10, 10, 320, 60]
    decide(web, one["id"], version=1)
    assert items(web, state="decided")[0]["decision"]["box"] == [10, 10, 320, 60]


def test_an_added_object_is_decided_and_undo_takes_it_away(web: TestClient) -> None:
    photo = items(web)[0]["photo_id"]
    form = {"action": "add", "photo": photo, "class": "Toe drain- Blocked", "box": [5, 5, 80, 60], "key": key()}
    made = web.post(f"{BASE}/decisions", json=form).json()
    added = web.get(f"{BASE}/findings/{made['finding']}").json()["item"]
    assert added["added"]
    assert added["type"] == "toe_drain"
    assert added["decision"]["action"] == "add"
    assert len(web.get(f"{BASE}/photos/{photo}").json()["items"]) == 4
    web.post(f"{BASE}/undo", json={"key": key()})
    assert web.get(f"{BASE}/findings/{made['finding']}").status_code == 404
    assert chain(web) == []
    again = web.post(f"{BASE}/decisions", json={**form, "key": key()}).json()
    assert again["finding"] != made["finding"]


def test_a_batch_takes_each_by_itself(web: TestClient) -> None:
    a, b, c = (i["id"] for i in items(web)[:3])
    decide(web, b)
    forms = [{"finding": f, "version": 0, "action": "confirm", "key": key()} for f in (a, b, c)]
    results = web.post(f"{BASE}/decisions/batch", json={"items": forms}).json()["results"]
    assert [r["status"] for r in results] == [200, 409, 200]
    assert results[1]["fault"]["first"]["user"] == "local"


def test_a_finding_has_its_surroundings(web: TestClient) -> None:
    one = items(web, type="slope_drain")[0]
    said = web.get(f"{BASE}/findings/{one['id']}").json()
    assert len(said["neighbours"]) == 2
    assert said["photo"]["width"] == 320
    assert said["photo"]["there"]
    assert said["relations"]
    assert {r["other_id"] for r in said["relations"]} <= {n["id"] for n in said["neighbours"]}


def test_pictures_are_jpeg_and_can_be_kept(web: TestClient) -> None:
    one = items(web)[0]
    crop = web.get(f"{BASE}/findings/{one['id']}/crop", params={"size": 64})
    assert crop.status_code == 200
    assert crop.content[:2] == b"\xff\xd8"
    assert "max-age" in crop.headers["cache-control"]
    again = web.get(
        f"{BASE}/findings/{one['id']}/crop", params={"size": 64}, headers={"if-none-match": crop.headers["etag"]}
    )
    assert again.status_code == 304
    decide(web, one["id"], "box", box=[1, 1, 50, 50])
    assert web.get(f"{BASE}/findings/{one['id']}/crop", params={"size": 64}).headers["etag"] != crop.headers["etag"]
    whole = web.get(f"{BASE}/photos/{one['photo_id']}/image", params={"width": 100})
    assert whole.headers["content-type"] == "image/jpeg"


def test_a_photograph_that_is_another_file_now_is_not_shown(tmp_path: Path) -> None:
    with client(make_store(tmp_path, 2)) as web:
        one = items(web, q="DJI_0001")[0]
        (tmp_path / "photos" / "DJI_0001.jpg").write_bytes((tmp_path / "photos" / "DJI_0000.jpg").read_bytes())
        gone = web.get(f"{BASE}/findings/{one['id']}/crop")
    assert gone.status_code == 410
    assert "another file" in gone.json()["detail"]


def test_progress_counts(web: TestClient) -> None:
    for one, action in zip(items(web)[:3], ("confirm", "reject", "unsure"), strict=True):
        decide(web, one["id"], action)
    said = web.get(f"{BASE}/progress").json()
    assert (said["total"], said["decided"], said["open"]) == (12, 3, 9)
    assert said["by_action"] == {"confirm": 1, "reject": 1, "unsure": 1}
    assert said["by_user"] == [{"user": "local", "decisions": 3, "seconds": 4.5}]
    assert said["last_event"] == 3


def test_exports_hold_what_was_decided(web: TestClient) -> None:
    one = items(web, type="slope_drain")[0]
    decide(web, one["id"], "change", **{"class": "slope drain"})
    table = web.get(f"{BASE}/findings.csv").content.decode("utf-8-sig").splitlines()
    assert len(table) == 2
    assert ",change,slope drain,normal,local," in table[1]
    coco = web.get(f"{BASE}/findings.coco.json").json()
    assert len(coco["annotations"]) == 1
    assert coco["annotations"][0]["category_id"] == 5
    assert web.get(f"{BASE}/findings.yolo.zip").content[:2] == b"PK"
    assert web.get(f"{BASE}/findings.geojson").json()["features"] == []


def test_the_server_says_that_it_lives(web: TestClient) -> None:
    assert web.get("/healthz").json() == {"ok": True}
    assert web.get("/readyz").status_code == 200
    assert web.get("/version").json()["schema"] == 1
    decide(web, items(web)[0]["id"])
    said = web.get("/metrics").text
    assert 'toeline_decisions_total{action="confirm"} 1.0' in said
    assert "/api/v1/findings" in said


def test_head_is_get_without_its_body(web: TestClient) -> None:
    for path in ("/", "/review", "/healthz", f"{BASE}/findings", f"{BASE}/findings.csv", f"{BASE}/nothing"):
        got, head = web.get(path), web.head(path)
        assert (head.status_code, head.headers.get("content-type")) == (
            got.status_code,
            got.headers.get("content-type"),
        )
        assert head.content == b""
    assert web.head(f"{BASE}/decisions").status_code == 405


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/x-www-form-urlencoded", b'{"finding": 1}', "Content-Type: application/json"),
        ("text/plain", b"x", "Content-Type: application/json"),
        ("application/json", b"\xff\xfe{", "JSON in UTF-8"),
        ("application/json", b"[]", "body"),
    ],
)
def test_a_body_that_is_no_json_is_told_what_to_send(web: TestClient, kind: str, body: bytes, said: str) -> None:
    answer = web.post(f"{BASE}/decisions", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 422)
    assert said in answer.json()["detail"]
    assert answer.json()["code"] == "invalid"


def test_a_part_of_a_run_is_not_imported(tmp_path: Path) -> None:
    from toeline.errors import OutputError
    from toeline.serve.imports import finished, import_run

    run = Path(shutil.copytree(drawn() / "run", tmp_path / "run"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"settings": record["settings"] | {"part": "1/3"}}))
    store = Store.open(tmp_path / "new")
    with pytest.raises(OutputError, match=r"is part 1/3 of a run.* `toeline join`, then import what that wrote"):
        import_run(store, finished(run))
    assert store.value("SELECT COUNT(*) FROM inspections") == 0
    store.close()


def test_importing_the_same_run_again_changes_nothing(tmp_path: Path) -> None:
    from toeline.serve.imports import finished, import_run

    store = Store.open(copied(tmp_path))
    assert import_run(store, finished(drawn(4) / "run")).already
    assert store.value("SELECT COUNT(*) FROM findings") == 12
    assert store_taxonomy(store).answers()
    store.close()


def test_photographs_that_were_away_are_found_by_importing_again(tmp_path: Path) -> None:
    from toeline.serve.imports import finished, import_run

    run, store = make_run(tmp_path, photos=2), Store.open(tmp_path / "store")
    (tmp_path / "photos").rename(tmp_path / "away")
    assert len(import_run(store, finished(run)).problems) == 2
    assert len(import_run(store, finished(run)).problems) == 2  # said again, as long as they are away
    (tmp_path / "away").rename(tmp_path / "photos")
    assert import_run(store, finished(run)).problems == []
    store.close()
    with client(tmp_path / "store") as web:
        assert web.get(f"{BASE}/photos/1/image").status_code == 200
        assert len(items(web)) == 6


def test_no_store_is_made_for_what_is_no_run(tmp_path: Path) -> None:
    assert exit_code("serve", "import", str(tmp_path), "--store", str(tmp_path / "store")) == 2
    assert not (tmp_path / "store").exists()
