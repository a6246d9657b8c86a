"""The service in a thread of this process, for browsers, over a store with drawn photographs and no model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from tests.support.serving import cheap_passwords, make_store

from toeline.serve.accounts import Accounts
from toeline.serve.api import make_app
from toeline.serve.store import Store

PHOTOS = 15  # three findings each
PASSWORD = "correct horse battery"


def reviewed_store(folder: Path, photos: int = PHOTOS) -> Path:
    """A store with accounts: ann may sign, bob decides, vic looks."""
    store = make_store(folder, photos=photos, size_wh=(640, 480))
    opened = Store.open(store)
    accounts = Accounts(opened)
    for name, role in {"ann": "engineer", "bob": "reviewer", "vic": "viewer"}.items():
        accounts.add(name, role, PASSWORD)
    opened.close()
    return store


@contextmanager
def served(store: Path, **more: Any) -> Iterator[str]:
    """The address of a server over the store, until the block is left."""
    with cheap_passwords():
        app = make_app(store, **more)
    with serving(app) as address:
        yield address


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of a server of the application, until the block is left."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def press(page: Any, *keys: str) -> None:
    """Keys, one after the other."""
    for key in keys:
        page.keyboard.press(key)


def saved(page: Any) -> None:
    """Wait until nothing is unsaved."""
    page.wait_for_selector('#saved[data-count="0"]', state="attached")


def get(page: Any, path: str) -> Any:
    """What the API says to the user of a page."""
    answer = page.context.request.get("/".join(page.url.split("/")[:3]) + f"/api/v1{path}")
    assert answer.ok, answer.text()
    return answer.json()


def until(page: Any, script: str) -> None:
    """Wait until the script says yes. Playwright's own way needs `eval`, which the pages forbid."""
    end = time.monotonic() + 60
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def sign_in(page: Any, name: str, password: str = PASSWORD) -> None:
    """By keys alone, as soon as the page has put the cursor into its form."""
    page.wait_for_selector("input[name=user]:focus")
    page.keyboard.type(name)
    press(page, "Tab")
    page.keyboard.type(password)
    press(page, "Enter")
    page.wait_for_selector("html[data-ready]")


def tiles(page: Any) -> list[int]:
    """Ids of the findings in the grid, in their order."""
    return [int(tile.get_attribute("data-id")) for tile in page.query_selector_all("[role=option]")]


def decided(page: Any) -> int:
    count: int = get(page, "/progress")["decided"]
    return count
