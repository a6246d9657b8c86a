"""The page of jobs: uploads, folders, progress while it runs, what fails, and what is refused before it is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import serious
from tests.support.datasets import write_photo
from tests.support.serving_pages import get, serving, tiles, until
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.errors import ModelError
from toeline.pipelines.settings import InspectRun
from toeline.serve.api import Limits, make_app
from toeline.serve.jobs import Model

Visit = Callable[..., Any]
SIZE = (60, 60)


class Gate:
    """A judge that waits at each photograph until it is let through."""

    def __init__(self) -> None:
        self.open, self.judge = threading.Semaphore(0), FakeJudge()
        score = self.judge.score

        def waiting(sheet: Any) -> Any:
            self.open.acquire(timeout=60)
            return score(sheet)

        self.judge.score = waiting  # type: ignore[method-assign]

    def let(self, photographs: int = 1) -> None:
        self.open.release(photographs)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    stand_in(monkeypatch, made.judge)
    return made


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    for at in range(4):
        write_photo(tmp_path / "flights" / "one" / f"DJI_{at:04d}.jpg", SIZE, seed=at)
    return tmp_path / "flights"


@pytest.fixture
def working(chromium: Any, gate: Gate, tmp_path: Path, flights: Path) -> Iterator[str]:
    """A server with a model, over an empty store."""
    limits = Limits(uploads=4, upload_bytes=1_000_000)
    app = make_app(tmp_path / "store", model=Model(InspectRun(photos=())), photos=[flights], limits=limits)
    with serving(app) as address:
        yield address
        gate.let(100)  # so that it can end


def badge(page: Any, job: int, word: str) -> None:
    page.wait_for_selector(f'[data-job="{job}"] .badge >> text={word}')


def test_uploads_are_sent_followed_and_reviewed(working: str, gate: Gate, visit: Visit, tmp_path: Path) -> None:
    page = visit(working, "/jobs")
    assert "No job yet" in (page.text_content("#jobs-page") or "")
    photos = [write_photo(tmp_path / f"{n}.jpg", SIZE, seed=n) for n in range(3)]
    (tmp_path / "notes.txt").write_text("wind from the west")
    page.set_input_files("[name=files]", [*photos, tmp_path / "notes.txt"])
    told = page.text_content("#chosen") or ""
    assert "3 photographs" in told
    assert "notes.txt" in told
    page.fill("[name=name]", "flight <b>7</b>")
    page.dblclick("#job .main")  # one job, however often it is pressed
    badge(page, 1, "running")
    assert page.text_content("#chosen") == ""
    bar = 'document.querySelector("[data-job] progress").'
    page.focus("text=Cancel")
    gate.let()
    until(page, f"{bar}value === 1 && {bar}max === 3")
    assert page.evaluate("document.activeElement.textContent") == "Cancel"  # progress takes the focus from nobody
    gate.let(2)
    badge(page, 1, "done")
    assert "flight <b>7</b>: ✓ done" in (page.text_content("#jobs-page [role=status]") or "")
    assert len(get(page, "/jobs")["items"]) == 1
    page.click("text=Review the findings")
    page.wait_for_selector("html[data-ready]")
    assert len(tiles(page)) == 9


def test_a_folder_is_inspected_and_cancelled_while_others_wait(working: str, gate: Gate, visit: Visit) -> None:
    page = visit(working, "/jobs")
    for at in range(8):  # more than a browser has connections
        page.fill("[name=name]", f"job {at + 1}")
        page.fill("[name=folder]", "one")
        page.click("#job .main")
        page.wait_for_selector(f'[data-job="{at + 1}"]')
    badge(page, 1, "running")
    page.click('[data-job="8"] >> text=Cancel')
    until(page, "fetch('/healthz').then((r) => r.ok)")
    gate.let()
    page.click('[data-job="1"] >> text=Cancel')
    gate.let(3)
    badge(page, 1, "cancelled")
    badge(page, 8, "cancelled")  # told with the next look, when the first one ended
    badge(page, 2, "running")
    assert get(page, "/findings?state=all")["total"] == 0
    assert serious(page) == []


def test_a_job_that_fails_says_why(working: str, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ModelError("judge.onnx: is cut off after 12 bytes. Copy it again.")

    page = visit(working, "/jobs")
    monkeypatch.setattr("toeline.serve.jobs.inspect_into", broken)
    page.fill("[name=name]", "seven")
    page.fill("[name=folder]", "one")
    page.click("#job .main")
    badge(page, 1, "failed")
    assert page.text_content("[data-job] .note") == "judge.onnx: is cut off after 12 bytes. Copy it again."
    assert not page.is_visible("[data-job] >> text=Cancel")


def test_what_the_server_would_refuse_is_said_before_it_is_sent(working: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(working, "/jobs")
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.fill("[name=name]", "seven")

    def start(told: str) -> None:
        page.click("#job .main")
        page.wait_for_selector(f"#job [role=alert]:visible >> text={told}")

    start("Choose photographs")
    photos = [write_photo(tmp_path / f"{n}.jpg", (20, 20), seed=n) for n in range(5)]
    page.set_input_files("[name=files]", photos)
    assert "5 photographs, and 4 can be sent at a time" in (page.text_content("#chosen") or "")
    start("4 can be sent at a time")
    page.set_input_files("[name=files]", photos[:1])
    page.fill("[name=folder]", "one")
    start("not both")
    assert sent == []
    page.set_input_files("[name=files]", [])
    page.fill("[name=folder]", "../..")
    start("is not among the photographs of this server")


def test_without_a_model_the_page_says_what_to_do(local: str, visit: Visit) -> None:
    page = visit(local, "/jobs")
    assert "--model shipped" in (page.text_content("main") or "")
    assert page.query_selector("#job") is None
