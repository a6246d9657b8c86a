"""`POST /systemone`: options about the boxes of a photograph, by the packed judge."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.datasets import make_photo
from tests.support.serving import BASE, client
from tests.support.stand_ins import FakeDetector, FakeJudge, single_parts, stand_in
from tests.support.tiny_judges import save_model

from toeline.core.box import Box
from toeline.core.scene import Instance
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.pipelines.inspector import Inspector
from toeline.pipelines.settings import InspectRun
from toeline.serve.accounts import Accounts
from toeline.serve.api import Limits
from toeline.serve.jobs import Model
from toeline.serve.store import Store

DRAIN, TOE, PLANT = [10, 5, 30, 60], [0, 60, 90, 80], [50, 10, 70, 30]
BOXES = {
    "d1": {"type": "slope_drain", "box": DRAIN},
    "t1": {"type": "rock_toe", "box": TOE},
    "v1": {"type": "vegetation", "box": PLANT},
}


def url(size: tuple[int, int] = (96, 84), kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    make_photo(size, seed=3).save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def form(**questions: Any) -> dict[str, Any]:
    return {
        "model": "toeline",
        "state": {"photograph": url(), "boxes": BOXES},
        "questions": questions or {"d1": {"type": "choice", "instructions": "In which condition is it?"}},
    }


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    stand_in(monkeypatch, FakeJudge())
    with client(tmp_path / "store", model=Model(InspectRun(photos=()))) as running:
        yield running


def test_every_option_has_a_probability(web: TestClient) -> None:
    said = web.post(f"{BASE}/systemone", json=form(d1={"type": "choice"}, t1={"type": "choice", "instructions": "?"}))
    assert said.status_code == 200, said.text
    body = said.json()
    assert body["model"] == web.get("/version").json()["model"]
    assert body["usage"] == {"input_tokens": 0, "output_tokens": 0}
    drain = body["answers"]["d1"]
    assert (drain["type"], drain["choice"], drain["review"]) == ("choice", "slope drain blocked", "")
    assert drain["probabilities"] == pytest.approx(
        {"slope drain": 0.15, "slope drain blocked": 0.7, "slope drain damaged": 0.15}
    )
    assert drain["confidence"] == pytest.approx((3 * 0.7 - 1) / 2)
    assert list(body["answers"]) == ["d1", "t1"]
    assert web.get(f"{BASE}/inspections").json()["items"] == []


def test_options_may_be_any_classes(web: TestClient) -> None:
    options = {"vegetation": None, "rock toe": None, "slope drain damaged": None}
    said = web.post(f"{BASE}/systemone", json=form(v1={"criteria": options})).json()["answers"]["v1"]
    assert list(said["probabilities"]) == list(options)
    assert sum(said["probabilities"].values()) == pytest.approx(1)
    assert "detected as vegetation, judged as rock toe" in said["review"]


def test_answers_are_those_of_the_packed_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "judge")
    judge = QwenVLJudge.load(folder, device="cpu")
    single_parts(monkeypatch)
    monkeypatch.setattr("toeline.judge.load.load_judge", lambda *_, **__: judge)
    monkeypatch.setattr("toeline.detect.load.load_detector", lambda *_, **__: FakeDetector())
    monkeypatch.setattr("toeline.pipelines.domain.SHIPPED", None)
    boxes = [Instance(name, b["type"], Box(*b["box"])) for name, b in BOXES.items()]  # type: ignore[arg-type,misc]
    with client(tmp_path / "store", model=Model(InspectRun(photos=()))) as web:
        asked = form(d1={}, t1={"criteria": {"rock toe": None, "rock toe damaged": None, "vegetation": None}})
        body = web.post(f"{BASE}/systemone", json=asked).json()
        inspector = web.app.state.jobs.load(None, None, None)  # type: ignore[attr-defined]
    options = {"d1": ("slope drain", "slope drain blocked", "slope drain damaged")}
    alone = Inspector(
        detector=None, judge=judge, taxonomy=inspector.taxonomy, boxes=lambda *_: (boxes, ()), answers=options
    )
    found = {f.instance_id: f.verdict for f in alone.inspect(make_photo((96, 84), seed=3))}
    assert body["answers"]["d1"]["probabilities"] == pytest.approx(found["d1"].probabilities, abs=1e-5)
    assert math.fsum(body["answers"]["t1"]["probabilities"].values()) == pytest.approx(1)
    assert "vegetation" in body["answers"]["t1"]["asked"]
    assert body["usage"]["input_tokens"] > 100


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no box of that name": ({"questions": {"x": {}}}, 422, "x: is no name of a box"),
    "one class only": ({"questions": {"v1": {}}}, 422, "v1: vegetation has one class only"),
    "one option": ({"questions": {"d1": {"criteria": {"slope drain": None}}}}, 422, "at least 2"),
    "no such class": ({"questions": {"d1": {"criteria": {"a": None, "b": None}}}}, 422, "there is no class 'a'"),
    "a description": ({"questions": {"d1": {"criteria": {"slope drain": "good", "vegetation": None}}}}, 422, "None"),
    "another kind": ({"questions": {"d1": {"type": "noul"}}}, 422, "'choice'"),
    "no questions": ({"questions": {}}, 422, "at least 1"),
    "another model": ({"model": "jev-latest"}, 422, "this server has no 'jev-latest'"),
    "no such type": ({"state": {"photograph": url(), "boxes": {"d1": {"type": "car", "box": DRAIN}}}}, 422, "no type"),
    "no area": (
        {"state": {"photograph": url(), "boxes": {"d1": {"type": "rock_toe", "box": [9, 9, 9, 20]}}}},
        422,
        "the box has no area",
    ),
    "outside": (
        {"state": {"photograph": url(), "boxes": {"d1": {"type": "rock_toe", "box": [100, 0, 120, 9]}}}},
        422,
        "the box of d1 lies outside the photograph, which has 96 x 84 pixels",
    ),
    "no base64": ({"state": {"photograph": "data:image/png;base64,###", "boxes": BOXES}}, 422, "is no base64"),
    "no picture": ({"state": {"photograph": "data:image/png;base64,aGFsbG8=", "boxes": BOXES}}, 422, "no photograph"),
    "a web address": ({"state": {"photograph": "https://example.org/a.jpg", "boxes": BOXES}}, 422, "pattern"),
    "two names that differ in a blank": (
        {"state": {"photograph": url(), "boxes": {**BOXES, "d1 ": {"type": "rock_toe", "box": TOE}}}},
        422,
        "begins or ends with a blank",
    ),
    "a blank in a question's name": ({"questions": {" d1": {}}}, 422, "begins or ends with a blank"),
    "a truncated picture": ({"state": {"photograph": url(kind="JPEG")[:-400], "boxes": BOXES}}, 422, "photograph: "),
    "a misspelled name": ({"boxes": BOXES}, 422, "Extra inputs are not permitted"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_decided_is_said(name: str, web: TestClient) -> None:
    change, status, words = WRONG[name]
    said = web.post(f"{BASE}/systemone", json={**form(), **change})
    assert (said.status_code, said.json()["code"]) == (status, "invalid"), said.text
    assert words in said.json()["detail"]
    assert "quick" not in said.json()["detail"], "where the server keeps things is nobody's business"
    assert not list((web.app.state.store.folder / "quick").glob("*"))  # type: ignore[attr-defined]


def test_limits_and_a_server_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(tmp_path / "none") as web:
        assert web.post(f"{BASE}/systemone", json=form()).json()["code"] == "no_model"
    stand_in(monkeypatch, FakeJudge())
    limits = Limits(decision_bytes=30_000, pixels=5_000, json_bytes=100)
    with client(tmp_path / "store", model=Model(InspectRun(photos=())), limits=limits) as web:
        said = web.post(f"{BASE}/systemone", json=form())
        assert (said.status_code, "pixels" in said.text) == (413, "bytes" not in said.text)
        large = {**form(), "state": {"photograph": url((200, 200)), "boxes": BOXES}}
        assert web.post(f"{BASE}/systemone", json=large).status_code == 413


def test_it_needs_a_token_of_a_reviewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, FakeJudge())
    store = Store.open(tmp_path / "store")
    accounts, tokens = Accounts(store), dict[str, str]()
    for role in ("viewer", "reviewer"):
        accounts.add(role, role, "a long password")
        tokens[role] = accounts.new_token(role)
    store.close()
    with client(tmp_path / "store", model=Model(InspectRun(photos=())), host="0.0.0.0") as web:
        assert web.post(f"{BASE}/systemone", json=form()).status_code == 401
        for role, status in (("viewer", 401), ("reviewer", 200)):
            head = {"authorization": f"Bearer {tokens[role]}"}
            assert web.post(f"{BASE}/systemone", json=form(), headers=head).status_code == status
