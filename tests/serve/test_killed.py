"""The server killed while people decide: as a page's queue does, what got no answer is sent again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, copied, drawn, key

from toeline.serve.store import Store

ROOT = Path(__file__).parents[2]
START_S = 60.0  # on a loaded machine


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`toeline serve` in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "toeline", "serve", "--store", str(store), "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as server:
        until = time.monotonic() + START_S
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/readyz")
                break
            except httpx.TransportError:
                assert server.poll() is None, "the server did not start"
                assert time.monotonic() < until, "the server did not start in time"
                time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.kill()


@dataclass
class Queue:
    """Somebody who decides findings that are theirs alone, one after another, for as long as the server lives."""

    findings: list[int]
    versions: dict[int, int] = field(default_factory=dict)
    waiting: dict[str, Any] | None = None
    acknowledged: dict[str, int] = field(default_factory=dict)

    def form(self, number: int) -> dict[str, Any]:
        finding = self.findings[number % len(self.findings)]
        action = ("confirm", "reject", "unsure")[number % 3]
        return {"finding": finding, "version": self.versions.get(finding, 0), "action": action, "key": key()}

    def work(self, address: str, most: int = 10**6) -> None:
        """Until the server is gone; what it did not answer stays in the queue."""
        with httpx.Client(base_url=address, timeout=30) as web:
            for _ in range(most):
                form = self.waiting = self.waiting or self.form(len(self.acknowledged))
                try:
                    said = web.post(f"{BASE}/decisions", json=form)
                except httpx.TransportError:
                    return
                assert said.status_code == 200, said.text
                self.acknowledged[form["key"]] = said.json()["event"]
                self.versions[form["finding"]] = said.json()["version"]
                self.waiting = None


@pytest.mark.slow
def test_the_server_killed_five_times_loses_nothing_and_keeps_nothing_twice(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    queues = [Queue(list(range(first, first + 3))) for first in (1, 4, 7, 10)]
    for start in range(5):
        with served(folder) as (address, server):
            threads = [threading.Thread(target=queue.work, args=(address,)) for queue in queues]
            for thread in threads:
                thread.start()
            wanted = sum(len(queue.acknowledged) for queue in queues) + 20 + 7 * start
            while sum(len(queue.acknowledged) for queue in queues) < wanted:
                time.sleep(0.001)
                assert any(thread.is_alive() for thread in threads)
            server.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
    unanswered = sum(queue.waiting is not None for queue in queues)
    with served(folder) as (address, _):
        for queue in queues:
            queue.work(address, 1)
    acknowledged = {key: event for queue in queues for key, event in queue.acknowledged.items()}
    store = Store.open(folder)
    kept = store.rows("SELECT id, key FROM events")
    store.close()
    assert unanswered
    assert len(acknowledged) >= 170
    assert {row["key"]: row["id"] for row in kept} == acknowledged
    assert len(kept) == len(acknowledged)
    assert exit_code("serve", "check", "--store", str(folder)) == 0


# What kills itself in the middle of one request: argv is the folder, the place, and where in it.
IMPORT = """
import os, signal, sys
from pathlib import Path
from toeline.serve import imports
from toeline.serve.run import import_into
from toeline.serve.store import Store
folder, where = Path(sys.argv[1]), sys.argv[2]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def at(what, number):
    real, calls = getattr(imports, what), []
    def counted(*given):
        calls.append(1)
        return die() if len(calls) == number else real(*given)
    setattr(imports, what, counted)
if where == "opened": at("run_hash", 1)
if where == "findings": at("_findings", 2)
if where == "kept": at("remember_promoted", 1)
if where == "commit":
    real = imports._findings
    def many(db, *given):
        db.set_trace_callback(lambda sql: die() if sql == "COMMIT" else None)
        real(db, *given)
    imports._findings = many
import_into(folder / "run", folder / "store", "")
"""
SIGN = """
import os, signal, sys
from pathlib import Path
from fastapi.testclient import TestClient
from toeline.serve import signing
from toeline.serve.api import make_app
from toeline.serve.store import Store
store, where, form = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
real = signing.insert
def insert(db, *given):
    if where == "event": die()
    if where == "commit": db.set_trace_callback(lambda sql: die() if sql == "COMMIT" else None)
    return real(db, *given)
signing.insert = insert
with TestClient(make_app(store)) as web:
    if where == "kept": Store.note_head = die
    web.post("/api/v1/signoffs", content=form, headers={"content-type": "application/json"})
"""


def killed(script: str, *given: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script, *given], env=env, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


def counts(folder: Path, *tables: str) -> list[int]:
    with closing(Store.open(folder)) as store:
        return [int(store.value(f"SELECT COUNT(*) FROM {table}")) for table in tables]


@pytest.mark.slow
@pytest.mark.parametrize(("where", "there"), [("opened", 0), ("findings", 0), ("commit", 0), ("kept", 1)])
def test_an_import_that_was_killed_is_all_or_nothing_and_is_completed_by_the_same_command(
    where: str, there: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(drawn() / "run", tmp_path / "run")
    killed(IMPORT, str(tmp_path), where)
    store = tmp_path / "store"
    assert counts(store, "inspections", "photos", "findings", "records") == [there, 4 * there, 12 * there, 12 * there]
    assert bool(counts(store, "meta WHERE name = 'taxonomy_sha256'")[0]) == bool(there)
    assert exit_code("serve", "check", "--store", str(store)) == 0
    assert exit_code("serve", "import", str(tmp_path / "run"), "--store", str(store)) == 0
    assert counts(store, "inspections", "photos", "findings", "records") == [1, 4, 12, 12]
    assert exit_code("serve", "check", "--store", str(store)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("where", "there"), [("event", 0), ("commit", 0), ("kept", 1)])
def test_a_sign_off_that_was_killed_is_all_or_nothing_and_sent_again_is_signed_once(
    where: str, there: int, tmp_path: Path
) -> None:
    store, form = copied(tmp_path), {"inspection": 1, "name": "Ann Smith", "key": key()}
    killed(SIGN, str(store), where, json.dumps(form))
    assert counts(store, "signoffs", "events") == [there, there]
    assert exit_code("serve", "check", "--store", str(store)) == 0
    with client(store) as web:
        for _ in range(2):
            answer = web.post(f"{BASE}/signoffs", json=form)
            assert (answer.status_code, answer.json()["id"]) == (201, 1)
        assert web.post(f"{BASE}/signoffs", json={**form, "note": "other"}).status_code == 422
    assert counts(store, "signoffs", "events") == [1, 1]
    assert exit_code("serve", "check", "--store", str(store)) == 0
