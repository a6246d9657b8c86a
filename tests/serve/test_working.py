from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.datasets import make_photo, write_photo
from tests.support.serving import BASE, client, copied, decide, items, key
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.pipelines.settings import InspectRun
from toeline.serve.api import Limits
from toeline.serve.blind import cohens_kappa
from toeline.serve.jobs import FINISHED, Model

LONG_S = 120


def until(web: TestClient, job: int, *states: str) -> dict[str, Any]:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        said: dict[str, Any] = web.get(f"{BASE}/jobs/{job}").json()
        if said["state"] in (states or FINISHED):
            return said
        time.sleep(0.1)
    raise AssertionError(said)


def jpeg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    make_photo((60, 60), seed).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    for at in range(3):
        write_photo(tmp_path / "flights" / "one" / f"DJI_{at:04d}.jpg", (60, 60), seed=at)
    return tmp_path / "flights"


def served(tmp_path: Path, **more: Any) -> Any:
    return client(tmp_path / "store", model=Model(InspectRun(photos=())), **more)


def test_a_folder_is_inspected_and_its_findings_are_there(
    tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, FakeJudge())
    with served(tmp_path, photos=[flights]) as web:
        started = web.post(f"{BASE}/jobs", data={"name": "seven", "folder": "one"})
        assert started.status_code == 202
        done = until(web, started.json()["id"])
        assert (done["state"], done["done"], done["findings"]) == ("done", 3, 9), done
        assert len(items(web, inspection=done["inspection"])) == 9
        stream = web.get(f"{BASE}/jobs/1/events")
        assert stream.text.startswith("event: job\ndata: ")
        assert json.loads(stream.text.split("data: ")[1])["state"] == "done"


def test_uploads_are_inspected_and_one_photograph_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, FakeJudge())
    with served(tmp_path) as web:
        sent = [("files", (f"{n}.jpg", jpeg(n), "image/jpeg")) for n in range(2)]
        assert until(web, web.post(f"{BASE}/jobs", files=sent).json()["id"])["findings"] == 6
        for kind, media in (
            ("json", "application/json"),
            ("geojson", "application/geo+json"),
            ("marked", "image/jpeg"),
        ):
            said = web.post(f"{BASE}/inspect", params={"format": kind}, files={"file": ("a.jpg", jpeg(), "image/jpeg")})
            assert said.status_code == 200, said.text
            assert said.headers["content-type"] == media
        now = web.post(f"{BASE}/inspect", files={"file": ("a.jpg", jpeg(), "image/jpeg")}).json()
        assert [f["type"] for f in now["findings"]] == ["slope_drain", "rock_toe", "vegetation"]
        assert len(items(web)) == 6


def test_a_job_goes_on_after_a_stop_with_what_was_done(
    tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = FakeJudge(seconds=0.4)
    stand_in(monkeypatch, judge)
    with served(tmp_path, photos=[flights]) as web:
        web.post(f"{BASE}/jobs", data={"name": "seven", "folder": "one"})
        end = time.monotonic() + LONG_S
        while not judge.asked and time.monotonic() < end:
            time.sleep(0.05)
    asked = list(judge.asked)
    assert 0 < len(asked) < 3
    with served(tmp_path, photos=[flights]) as web:
        assert until(web, 1)["findings"] == 9
    assert sorted(judge.asked) == ["DJI_0000.jpg", "DJI_0001.jpg", "DJI_0002.jpg"]  # none was asked about twice


def test_a_full_queue_is_told_and_a_job_can_be_cancelled(
    tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, FakeJudge(seconds=0.5))
    with served(tmp_path, photos=[flights], limits=Limits(waiting=1)) as web:
        form = {"name": "seven", "folder": "one"}
        first = web.post(f"{BASE}/jobs", data=form).json()["id"]
        until(web, first, "running", "done")
        second = web.post(f"{BASE}/jobs", data=form)
        third = web.post(f"{BASE}/jobs", data=form)
        assert (second.status_code, third.status_code) == (202, 429)
        assert third.headers["retry-after"]
        assert web.delete(f"{BASE}/jobs/{second.json()['id']}").json()["state"] == "cancelled"
        web.delete(f"{BASE}/jobs/{first}")
        assert until(web, first)["state"] == "cancelled"
        assert items(web) == []


def test_without_a_model_the_review_goes_on(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        assert web.post(f"{BASE}/jobs", data={"name": "x", "folder": "one"}).json()["code"] == "no_model"
        said = web.post(f"{BASE}/inspect", files={"file": ("a.jpg", jpeg(), "image/jpeg")})
        assert said.status_code == 503
        assert len(items(web)) == 12


def test_a_sign_off_is_frozen_and_a_later_decision_reopens_it(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        a, b = items(web)[:2]
        decide(web, a["id"])
        signed = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "Ann Smith"})
        assert signed.status_code == 201
        assert (signed.json()["valid"], signed.json()["open"]) == (True, 11)
        page = web.get(signed.json()["report"]).content
        assert web.get(f"{BASE}/inspections").json()["items"][0]["signed"]
        late = decide(web, b["id"]).json()["event"]
        (now,) = web.get(f"{BASE}/signoffs").json()["items"]
        assert (now["valid"], now["reopened_by"]) == (False, late)
        assert not web.get(f"{BASE}/inspections").json()["items"][0]["signed"]
        assert web.get(now["report"]).content == page
        assert b"Ann Smith" in page


def test_the_second_review_hides_the_answer_and_changes_nothing(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        for one in items(web):
            decide(web, one["id"])
        assert web.post(f"{BASE}/blind", params={"share": 0.5, "seed": 1}).json() == {"sampled": 6, "total": 12}
        blind, listing = web.app.state.blind, web.app.state.listing
        assert web.get(f"{BASE}/blind").json()["total"] == 0  # who decided them does not answer them again
        queue = blind.queue("bob", listing, 1, 60)["items"]
        assert len(queue) == 6
        assert not [i for i in queue if i["class"] or i["decision"] or i["probabilities"] or i["review_reason"]]
        from toeline.serve.decisions import Decision

        truth = {i["id"]: i["class"] for i in items(web, state="all")}
        for at, one in enumerate(queue):
            name = truth[one["id"]] if at else "Toe drain"
            blind.answer("bob", Decision(action="change", key=key(), finding=one["id"], class_name=name))
        said = web.get(f"{BASE}/agreement").json()
        assert (said["pairs"], said["agreed"], len(said["disagreements"])) == (6, 5, 1)
        assert said["low"] <= said["kappa"] <= said["high"]
        assert blind.queue("bob", listing, 1, 60)["total"] == 0
        assert {i["id"]: i["decision"]["class"] for i in items(web, state="decided")} == truth


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    first = list("aabbccabcabc") * 3
    second = list("aabbcaabcabb") * 3
    found = cohens_kappa(list(zip(first, second, strict=True)), [str(n) for n in range(len(first))])
    assert found is not None
    assert found[0] == pytest.approx(cohen_kappa_score(first, second))
    assert cohens_kappa([("a", "a"), ("a", "a")], ["x", "y"]) is None
