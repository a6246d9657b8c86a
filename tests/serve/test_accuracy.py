"""The running accuracy of a store, by the API and by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, copied, decide, items, key

from toeline.evaluate.metric import ClusterBootstrap, ratio
from toeline.evaluate.reviewed import GIVEN_TYPE
from toeline.pipelines.promoted import Promoted
from toeline.serve.imports import _promoted, promoted_in, remember_promoted
from toeline.serve.store import Store, dumps


@pytest.fixture
def web(tmp_path: Path) -> Iterator[TestClient]:
    with client(copied(tmp_path)) as made:
        yield made


def said(web: TestClient, **query: Any) -> dict[str, Any]:
    answer = web.get(f"{BASE}/accuracy", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counted(group: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {f["key"]: (f["count"], f["n"]) for f in group["figures"]}


def groups(web: TestClient) -> dict[str, dict[str, Any]]:
    return {group["name"]: group for group in said(web)["models"][0]["groups"]}


def another(name: str) -> str:
    """Another class of the same type."""
    return name.removesuffix(" damaged") if name.endswith("damaged") else f"{name.removesuffix(' blocked')} damaged"


def test_nothing_decided_says_nothing(web: TestClient) -> None:
    model = said(web)["models"][0]
    assert (model["groups"], model["quoted"], model["decisions"]) == ([], None, {"decided": 0})


def test_what_was_decided_is_counted_and_undone_decisions_are_not(web: TestClient) -> None:
    drains, toes = items(web, type="slope_drain", sort="photo"), items(web, type="rock_toe", sort="photo")
    for one in drains[:3]:
        decide(web, one["id"])
    decide(web, drains[3]["id"], "change", **{"class": another(drains[3]["class"])})
    decide(web, toes[0]["id"], "reject")
    decide(web, toes[1]["id"], "unsure")
    decide(web, toes[2]["id"], "skip")
    decide(web, toes[3]["id"])
    web.post(f"{BASE}/undo", json={"key": key()})
    decide(web, None, "add", photo=1, box=[5, 5, 60, 60], **{"class": "Toe drain- Blocked"})  # type: ignore[arg-type]
    group = groups(web)["seen"]
    assert group["decided"] == 6  # not the one that nobody could judge
    figures = counted(group)
    assert (figures["accuracy"], figures[GIVEN_TYPE]) == ((3, 4), (3, 4))
    assert (figures["objects"], figures["found"], figures["both_stages"]) == ((4, 5), (4, 5), (3, 5))
    assert said(web)["models"][0]["decisions"] == {
        "decided": 7, "add": 1, "change": 1, "confirm": 3, "reject": 1, "unsure": 1,
    }  # fmt: skip
    assert "tends to confirm" in group["caution"]
    assert "no random sample" in group["caution"]


def test_a_page_that_is_loaded_again_is_as_before_until_something_is_decided(web: TestClient) -> None:
    first, second = items(web)[:2]
    decide(web, first["id"])
    assert said(web) == said(web)
    decide(web, second["id"])
    assert groups(web)["seen"]["decided"] == 2


def test_photographs_and_inspections_count_when_nothing_is_left_open(web: TestClient) -> None:
    one = items(web, sort="photo")
    for item in one[:4]:  # three on the first photograph, one on the second
        decide(web, item["id"])
    made = groups(web)
    assert made["whole_photographs"]["decided"] == 3
    assert "whole_inspections" not in made
    for item in one[4:]:
        decide(web, item["id"], "change", **{"class": "rock toe damaged"})
    made = groups(web)
    assert made["whole_inspections"]["decided"] == 12
    assert "whole_photographs" not in made


def test_the_blind_sample_is_the_first_answer_of_somebody_who_saw_none(tmp_path: Path) -> None:
    from toeline.serve.accounts import Accounts

    folder = copied(tmp_path)
    store = Store.open(folder)
    for name in ("bob", "eve"):
        Accounts(store).add(name, "reviewer", "a long password")
    store.close()
    with client(folder) as web:
        for item in items(web):
            decide(web, item["id"])
        web.post(f"{BASE}/blind", params={"share": 1.0, "seed": 1})
        blind, decisions = web.app.state.blind, {i["id"]: i for i in items(web, state="decided")}  # type: ignore[attr-defined]
        from toeline.serve.decisions import Decision

        wanted = [i for i in decisions.values() if i["type"] == "rock_toe"]
        for n, item in enumerate(wanted):
            name = item["class"] if n else another(item["class"])
            blind.answer("bob", Decision(action="change", key=key(), finding=item["id"], class_name=name))
            blind.answer("eve", Decision(action="reject", key=key(), finding=item["id"]))
        made = groups(web)
    assert counted(made["seen"])["accuracy"] == (12, 12)
    assert counted(made["blind"])["accuracy"] == (3, 4)
    assert counted(made["blind"])["objects"] == (4, 4)  # eve was second


def remembered(store: Store, right: int, n: int) -> None:
    """The model of the store was promoted with `right` of `n`."""
    was = ratio(GIVEN_TYPE, "", [1] * right + [0] * (n - right), [1] * n, ClusterBootstrap.of(list(map(str, range(n)))))
    model = store.value("SELECT model FROM inspections")
    store.set_meta(_promoted(model), dumps(Promoted("old", "valid", {GIVEN_TYPE: was}).record()))


def test_drift_target_and_risk_are_told(web: TestClient) -> None:
    store: Store = web.app.state.store  # type: ignore[attr-defined]
    remembered(store, 95, 100)
    run = json.loads(store.value("SELECT run FROM inspections"))
    run["models"]["review"]["risk"] = 0.1
    with store.write() as db:
        db.execute("UPDATE inspections SET run = ?", [json.dumps(run)])
    for item in items(web):
        decide(web, item["id"], *(["change"] if item["type"] != "vegetation" else []), **(
            {"class": another(item["class"])} if item["type"] != "vegetation" else {}
        ))  # fmt: skip
    model = said(web)["models"][0]
    assert model["target"] == pytest.approx(0.95 * 0.95)
    assert [(d["group"], d["answer"]) for d in model["drift"]] == [("seen", "worse")]
    assert model["proof"][0]["more"] is None
    assert "missed" in model["proof"][0]["words"]
    assert model["risk"]["promised"] == pytest.approx(0.1)
    assert model["risk"]["verdict"] == "missed"
    assert [row["drift"]["answer"] for row in model["over_time"]] == ["worse"]
    assert said(web, target=0.2)["models"][0]["target"] == 0.2
    assert web.get(f"{BASE}/accuracy", params={"target": 1.5}).status_code == 422


def test_models_are_never_mixed(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    store = Store.open(folder)
    with store.write() as db:
        row = dict(db.execute("SELECT * FROM inspections").fetchone())
        row |= {"id": 2, "run_sha256": "other", "model": "another model", "name": "flight8"}
        db.execute(f"INSERT INTO inspections ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
        db.execute("UPDATE findings SET inspection = 2 WHERE photo > 2")
        db.execute("UPDATE photos SET inspection = 2 WHERE id > 2")
    store.close()
    with client(folder) as web:
        for item in items(web):
            decide(web, item["id"])
        found = said(web)
    assert "counted by itself" in found["words"]
    assert [(m["model"] == "another model", m["groups"][0]["decided"]) for m in found["models"]] == [
        (True, 6),
        (False, 6),
    ]
    assert [row["name"] for row in found["models"][0]["over_time"]] == ["flight8"]


def test_the_command_says_it_and_ends_with_1_when_drift_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(tmp_path)
    assert exit_code("serve", "accuracy", "--store", str(folder)) == 0
    assert "Nothing is decided yet" in capsys.readouterr().out
    with client(folder) as web:
        remembered(web.app.state.store, 99, 100)  # type: ignore[attr-defined]
        for item in items(web):
            decide(web, item["id"], "change", **{"class": "Toe drain"})
    assert exit_code("serve", "accuracy", "--store", str(folder), "--json") == 0  # no type is right: nothing to compare
    record = json.loads(capsys.readouterr().out)
    assert record["models"][0]["groups"][0]["name"] == "seen"
    with client(folder) as web:
        for item in items(web, state="decided"):
            name = item["class"] if item["type"] == "vegetation" else another(item["class"])
            decide(web, item["id"], "change", version=item["version"], **{"class": name})
    assert exit_code("serve", "accuracy", "--store", str(folder), "--target", "0.85") == 1
    told = capsys.readouterr().out
    assert "Drift is shown, to the worse" in told
    assert "tends to confirm" in " ".join(told.split())
    assert exit_code("serve", "accuracy", "--store", str(tmp_path / "none")) == 2


def test_a_model_folder_speaks_for_its_own_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path)
    store = Store.open(folder)
    inspection = store.row("SELECT * FROM inspections")
    assert inspection is not None
    run = json.loads(inspection["run"])
    weights = run["settings"]["weights"]
    was = ratio("accuracy", "", [1, 1, 0], [1, 1, 1], ClusterBootstrap.of(["a", "b", "c"]))
    from toeline.evaluate.metric import metric_record

    model = {
        "version": 1, "files": {**weights}, "trained_on": {},
        "scores": {"split": "valid", "judge": metric_record(was), "out_of_fold": {}},
    }  # fmt: skip
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text(json.dumps(model))
    if weights:  # of the package: then the store knew it when the run was imported
        assert remember_promoted(store, run, tmp_path / "model")
        found = promoted_in(store, inspection)
        assert found is not None
        assert (found.folder, found.figures[GIVEN_TYPE].n) == ("model", 3)
    model["files"] = {"detector/model.onnx": "0" * 64}
    (tmp_path / "model/model.json").write_text(json.dumps(model))
    assert not remember_promoted(store, run, tmp_path / "model")
    store.close()
    assert exit_code("serve", "accuracy", "--store", str(folder), "--model", str(tmp_path / "model")) == 2
    assert "holds the weights of no inspection" in capsys.readouterr().err
