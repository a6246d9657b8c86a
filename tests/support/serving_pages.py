"""The service in a thread of this process, for browsers, over a store with drawn photographs and no model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from tests.support.serving import make_store

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
    config = uvicorn.Config(make_app(store, **more), host="127.0.0.1", port=0, log_level="warning", ws="none")
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
