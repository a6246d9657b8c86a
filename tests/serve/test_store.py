from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, copied, decide, items

from toeline.errors import OutputError, SetupError
from toeline.serve import store as store_file
from toeline.serve.decisions import Decision, Decisions, Refused, check
from toeline.serve.imports import store_taxonomy
from toeline.serve.run import listening, restore_store
from toeline.serve.store import FILE, Store

WRITER = """
import sys
from pathlib import Path
from toeline.serve.decisions import Decision, Decisions
from toeline.serve.imports import store_taxonomy
from toeline.serve.store import Store
store = Store.open(Path(sys.argv[1]))
taker = Decisions(store, store_taxonomy(store))
version = {row["id"]: row["version"] for row in store.rows("SELECT id, version FROM findings")}
for number in range(10_000):
    finding = 1 + number % len(version)
    key = f"{sys.argv[2]}-{number:08d}"
    done = taker.decide("ann", Decision(action="confirm", key=key, finding=finding, version=version[finding]))
    version[finding] = done.version
    print(done.event, flush=True)
"""


@pytest.mark.slow
def test_killed_five_times_under_writing_load_no_acknowledged_decision_is_lost(tmp_path: Path) -> None:
    folder, acknowledged = copied(tmp_path), set[int]()
    for start in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), f"start-{start}"], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged |= {int(writer.stdout.readline()) for _ in range(10 + 7 * start)}
            writer.send_signal(signal.SIGKILL)
            acknowledged |= {int(line) for line in writer.stdout if line.endswith("\n")}
    store = Store.open(folder)
    kept = {row["id"] for row in store.rows("SELECT id FROM events")}
    assert len(acknowledged) >= 120
    assert acknowledged <= kept
    assert check(store, store_taxonomy(store)).faults == []
    store.close()


def test_of_a_full_disk_it_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        store, first = web.app.state.store, items(web)[0]
        assert decide(web, first["id"]).status_code == 200
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        codes, left = [], items(web)
        for at in range(400):  # until what is free inside the file is used up
            said = decide(web, left[at % len(left)]["id"], "skip")
            codes.append(said.status_code)
            if said.status_code != 200:
                break
        assert codes[-1] == 507
        assert said.json()["code"] == "full"
        assert "make room" in said.json()["detail"]
        assert len(web.get(f"{BASE}/events", params={"limit": 1000}).json()["items"]) == len(codes)
        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert decide(web, left[0]["id"]).status_code == 200
        assert check(store, web.app.state.taxonomy).faults == []


def test_events_cannot_be_changed_or_deleted(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        decide(web, items(web)[0]["id"])
        store = web.app.state.store
        for sql in ("UPDATE events SET user = 'eve'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.write() as db:
                db.execute(sql)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE events SET user = 'eve' WHERE id = 2", "event 2"),
        ("DELETE FROM events WHERE id = 2", "event 2: is missing"),
        (
            "UPDATE findings SET now_class = 'vegetation' WHERE now_action = 'confirm' AND type = 'rock_toe'",
            "stands beside",
        ),
    ],
)
def test_a_change_behind_the_back_is_found(tmp_path: Path, tamper: str, said: str) -> None:
    folder = copied(tmp_path)
    with client(folder) as web:
        for one in items(web, type="rock_toe")[:3]:
            decide(web, one["id"])
    with sqlite3.connect(folder / FILE) as db:
        db.execute("DROP TRIGGER events_stay")
        db.execute("DROP TRIGGER events_last")
        db.execute(tamper)
    store = Store.open(folder)
    faults = check(store, store_taxonomy(store)).faults
    store.close()
    assert any(said in fault for fault in faults)


def test_of_many_writers_at_once_one_wins_each_finding(tmp_path: Path) -> None:
    store = Store.open(copied(tmp_path))
    taker = Decisions(store, store_taxonomy(store))
    findings = [row["id"] for row in store.rows("SELECT id FROM findings ORDER BY id")]
    won: list[tuple[str, int]] = []

    def review(user: str) -> None:
        for finding in findings:
            with suppress(Refused):
                taker.decide(user, Decision(action="reject", key=f"{user}-{finding:08d}", finding=finding))
                won.append((user, finding))

    threads = [threading.Thread(target=review, args=(f"user{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(finding for _, finding in won) == findings
    assert check(store, store_taxonomy(store)).faults == []
    store.close()


def test_a_store_of_a_newer_version_is_refused_and_an_older_one_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path)
    steps = (*store_file.UPGRADES, lambda db: db.execute("CREATE TABLE later (x INTEGER)"))
    monkeypatch.setattr(store_file, "UPGRADES", steps)
    upgraded = Store.open(folder)
    assert upgraded.schema == len(steps)
    assert upgraded.value("SELECT COUNT(*) FROM findings") == 12
    upgraded.close()
    monkeypatch.undo()
    with pytest.raises(OutputError, match="newer Toeline"):
        Store.open(folder)


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path)

    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE later (x INTEGER)")
        db.execute("INSERT INTO nowhere VALUES (1)")

    monkeypatch.setattr(store_file, "UPGRADES", (*store_file.UPGRADES, broken))
    with pytest.raises(OutputError, match="cannot be opened"):
        Store.open(folder)
    monkeypatch.undo()
    store = Store.open(folder)
    assert (store.schema, store.value("SELECT COUNT(*) FROM sqlite_master WHERE name = 'later'")) == (1, 0)
    store.close()


def test_a_backup_is_whole_and_is_never_written_over(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        decide(web, items(web)[0]["id"])
        web.app.state.store.backup(tmp_path / "copy.sqlite")
        with pytest.raises(OutputError, match="is there already"):
            web.app.state.store.backup(tmp_path / "copy.sqlite")
    (tmp_path / "restored").mkdir()
    (tmp_path / "copy.sqlite").replace(tmp_path / "restored" / FILE)
    store = Store.open(tmp_path / "restored")
    assert store.value("SELECT COUNT(*) FROM events") == 1
    assert check(store, store_taxonomy(store)).faults == []
    store.close()


def test_a_backup_is_restored_over_a_store_that_is_broken(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    with client(folder) as web:
        decide(web, items(web)[0]["id"])
        web.app.state.store.backup(tmp_path / "copy.sqlite")
        decide(web, items(web)[0]["id"])
    (folder / FILE).write_bytes(b"broken" * 1000)
    restore_store(tmp_path / "copy.sqlite", folder)
    store = Store.open(folder)
    assert store.value("SELECT COUNT(*) FROM events") == 1
    assert check(store, store_taxonomy(store)).faults == []
    store.close()
    assert (folder / "store.before").read_bytes().startswith(b"broken")
    with pytest.raises(OutputError, match="no whole store"):
        restore_store(folder / "store.before", folder)


def test_what_the_store_and_a_backup_hold_is_nobody_elses(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new")
    store.backup(tmp_path / "copy.sqlite")
    store.close()
    places = (tmp_path / "new", tmp_path / "new" / FILE, tmp_path / "copy.sqlite")
    assert [oct(place.stat().st_mode & 0o077) for place in places] == ["0o0"] * 3


def test_a_backup_taken_while_people_decide_is_whole(tmp_path: Path) -> None:
    store = Store.open(copied(tmp_path))
    taker, stop, done = Decisions(store, store_taxonomy(store)), threading.Event(), []

    def review() -> None:
        while not stop.is_set():
            number = len(done)
            decision = Decision(action="skip", key=f"key-{number:08d}", finding=1 + number % 12)
            done.append(taker.decide("ann", decision).event)

    writer = threading.Thread(target=review)
    writer.start()
    try:
        for number in range(5):
            while len(done) < 10 * (number + 1):
                time.sleep(0.001)
            acknowledged = done[-1]
            store.backup(tmp_path / f"{number}.sqlite")
            restore_store(tmp_path / f"{number}.sqlite", tmp_path / f"store {number}")
            copy = Store.open(tmp_path / f"store {number}")
            assert copy.value("SELECT MAX(id) FROM events") >= acknowledged
            assert check(copy, store_taxonomy(copy)).faults == []
            copy.close()
    finally:
        stop.set()
        writer.join()
        store.close()


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        Store.open(tmp_path / "full")
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(OutputError, match="cannot be opened"):
        Store.open(tmp_path)
    with pytest.raises(OutputError, match="no store is there"):
        Store.open(tmp_path / "none", make=False)


@pytest.mark.parametrize("code", [None, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY])
def test_a_store_that_this_user_cannot_write_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def refuses(self: Store) -> None:
        why = sqlite3.OperationalError("unable to open database file")
        why.sqlite_errorcode = code or 0
        raise why if code else PermissionError(13, "Permission denied")

    folder = copied(tmp_path)
    monkeypatch.setattr(Store, "_upgrade", refuses)
    with pytest.raises(OutputError, match=r"Run the command as the user who owns the folder") as told:
        Store.open(folder)
    assert "Restore" not in str(told.value)  # which would put an old state in the place of a whole store


def test_a_store_is_served_by_one_process(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    with client(folder), pytest.raises(OutputError, match="a server runs on this store"), Store(folder).serving():
        pass
    with Store(folder).serving():  # it stops, and the next may begin
        pass


@pytest.mark.parametrize("taken", ["store", "port"])
def test_what_another_server_has_is_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: str
) -> None:
    folder, other = copied(tmp_path), socket.create_server(("127.0.0.1", 0))
    port = str(other.getsockname()[1])
    if taken == "store":
        other.close()
    with other, Store(folder).serving() if taken == "store" else nullcontext():
        assert exit_code("serve", "--store", str(folder), "--port", port) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().split("Error: ")) == 2
    assert ("choose another --port" if taken == "port" else "a server runs on") in " ".join(said.err.split())
    assert "Open" not in said.out  # nobody is led to the other one


def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    with pytest.raises(SetupError, match="names an address of this machine"):
        listening("203.0.113.9", 8765)


def test_a_store_that_is_only_asked_for_is_not_made(tmp_path: Path) -> None:
    for more in (["list"], ["remove", "ann"], ["token", "ann"]):
        assert exit_code("serve", "user", *more, "--store", str(tmp_path / "new")) == 2
    assert not (tmp_path / "new").exists()


def test_a_backup_makes_its_folder(tmp_path: Path) -> None:
    assert exit_code("serve", "backup", str(tmp_path / "a" / "b" / "c.sqlite"), "--store", str(copied(tmp_path))) == 0
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["c.sqlite", "c.sqlite.head.json"]
