"""The server killed while people decide: as a page's queue does, what got no answer is sent again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, copied, key

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
