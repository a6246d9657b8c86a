"""A store with drawn photographs and findings, and the service over it, without a model."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from tests.support.datasets import write_photo
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.pipelines.inspect import Output, inspect_into
from toeline.pipelines.settings import InspectRun
from toeline.serve.api import make_app
from toeline.serve.imports import finished, import_run
from toeline.serve.store import Store

BASE = "/api/v1"
SIZE = (320, 240)
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Accounts that are made or checked in the block hash in no time; every service hashes once as it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toeline.serve.accounts.PasswordHasher", lambda: CHEAP)
        yield


def make_run(folder: Path, photos: int = 4, size_wh: tuple[int, int] = SIZE) -> Path:
    """A finished run over drawn photographs, three findings on each: slope drain, rock toe, vegetation."""
    for at in range(photos):
        write_photo(folder / "photos" / f"DJI_{at:04d}.jpg", size_wh, seed=at)
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, FakeJudge())
        inspect_into(InspectRun(photos=(folder / "photos",)), Output(out=folder / "run", command="inspect"))
    return folder / "run"


def make_store(folder: Path, photos: int = 4, size_wh: tuple[int, int] = SIZE) -> Path:
    """The folder of a store with such a run in it."""
    run = make_run(folder, photos, size_wh)
    store = Store.open(folder / "store")
    import_run(store, finished(run), name="flight7")
    store.close()
    return folder / "store"


@cache
def drawn(photos: int = 4) -> Path:
    """A folder with `store`, `run` and `photos`, made once; tests work on a copy of its store."""
    folder = Path(tempfile.mkdtemp(prefix="toeline-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_store(folder, photos)
    return folder


def copied(folder: Path, photos: int = 4) -> Path:
    """A store of its own for one test; its photographs are those of all."""
    target: Path = shutil.copytree(drawn(photos) / "store", folder / "store")
    return target


@contextmanager
def client(store: Path, **more: Any) -> Iterator[TestClient]:
    """The service, as a browser speaks to it."""
    with TestClient(make_app(store, **more), raise_server_exceptions=True) as web:
        yield web


_KEYS = iter(range(10**9))


def key() -> str:
    """A key that was not used before."""
    return f"key-{next(_KEYS):08d}"


def decide(web: TestClient, finding: int, action: str = "confirm", version: int = 0, **more: Any) -> Any:
    """POST /decisions."""
    form = {"finding": finding, "version": version, "action": action, "seconds": 1.5, "key": key(), **more}
    return web.post(f"{BASE}/decisions", json=form)


def items(web: TestClient, **query: Any) -> list[dict[str, Any]]:
    """GET /findings."""
    found = web.get(f"{BASE}/findings", params={"per_page": 500, **query})
    assert found.status_code == 200, found.text
    listed: list[dict[str, Any]] = json.loads(found.content)["items"]
    return listed
