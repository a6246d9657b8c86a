"""The store: one SQLite file in WAL mode, many readers, one writer at a time. Nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from toeline.core.run_folder import alone, write_whole
from toeline.errors import OutputError, ToelineError

FILE, HEAD = "store.sqlite", "head.json"
BUSY_S = 10.0
DENIED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)  # the store itself may be whole
WRITABLE = "Run the command as the user who owns the folder, on a disk that can be written."
NOTED = 50  # events between two notes of the last one, in HEAD and in the log
Row = sqlite3.Row
log = logging.getLogger("toeline.serve")


class StoreFull(ToelineError):
    """The disk of the store is full: nothing of the request was kept."""


class StoreBusy(ToelineError):
    """Another process writes into the store for too long: nothing of the request was kept."""


def now() -> str:
    """The time in UTC, as events and records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _schema() -> str:
    return files("toeline.serve").joinpath("schema.sql").read_text(encoding="utf-8")


def _first(db: sqlite3.Connection) -> None:
    """Version 1. Not executescript, which would end the transaction that makes it all or nothing."""
    part = ""
    for line in _schema().splitlines(keepends=True):
        part += "" if line.startswith("--") else line
        if sqlite3.complete_statement(part):
            db.execute(part)
            part = ""
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("store", secrets.token_hex(16)), ("created", now())])
    db.execute("INSERT INTO meta VALUES ('secret', ?)", [secrets.token_hex(32)])


# Step n brings a store from version n to n + 1; a step that was published is never changed, a new one is added.
UPGRADES: Sequence[Callable[[sqlite3.Connection], None]] = (_first,)


class Store:
    """A folder with the database, uploaded photographs and the runs of jobs. Open it with `Store.open`.

    Reading takes a connection of each thread; writing takes the one connection that writes, under a lock. A write is
    on the disk when `write` ends (synchronous=FULL).
    """

    def __init__(self, folder: Path) -> None:
        """Opens nothing yet: see `open`."""
        self.folder = folder
        self._local = threading.local()
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._all: list[sqlite3.Connection] = []
        self._noted = 0

    @classmethod
    def open(cls, folder: Path, *, make: bool = True) -> Store:
        """The store in `folder`, made or upgraded if need be. Raises OutputError for what is none."""
        file = folder / FILE
        if not file.is_file() and not make:
            raise OutputError(f"{folder}: no store is there. Make one: toeline serve import RUN --store {folder}")
        if not file.is_file() and folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
            raise OutputError(f"{folder}: the folder is not empty and no store is in it. Choose another --store.")
        store = cls(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # uploads too are nobody else's on this machine
            store._upgrade()
        except (sqlite3.DatabaseError, OSError) as why:
            store.close()
            denied = isinstance(why, OSError) or getattr(why, "sqlite_errorcode", 0) & 0xFF in DENIED
            hint = WRITABLE if denied else "Restore a backup (docs/serve.md)."
            raise OutputError(f"{file}: cannot be opened as a store ({why}). {hint}") from None
        return store

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        db.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "cache_size=-8192",
        ):
            db.execute(f"PRAGMA {pragma}")
        with self._lock:
            self._all.append(db)
        return db

    def _upgrade(self) -> None:
        with self.write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(UPGRADES):
                raise OutputError(
                    f"{self.folder / FILE}: was written by a newer Toeline (schema {version}, this one knows "
                    f"{len(UPGRADES)}). Upgrade Toeline; nothing was changed."
                )
            for number in range(version, len(UPGRADES)):
                UPGRADES[number](db)
                db.execute(f"PRAGMA user_version = {number + 1}")
        with suppress(OSError):
            (self.folder / FILE).chmod(0o600)

    @property
    def reader(self) -> sqlite3.Connection:
        """The connection of this thread, for reading."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
            db.execute("PRAGMA query_only=ON")
        return db

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query."""
        return self.reader.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row of a query, or None."""
        found: Row | None = self.reader.execute(sql, values).fetchone()
        return found

    def value(self, sql: str, *values: Any) -> Any:
        """The first value of the first row, or None."""
        row = self.row(sql, *values)
        return None if row is None else row[0]

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block is kept, or nothing. Raises StoreFull and StoreBusy."""
        with self._lock:
            if self._writer is None:
                self._writer = self._connect()
            db = self._writer
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException as why:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if told := _told(self.folder, why):
                    raise told from why
                raise
            with suppress(sqlite3.Error):  # it is kept; what cannot be noted now is noted after the next
                if (head := head_of(db))["event"] >= self._noted + NOTED:
                    self._note(head)

    def note_head(self) -> dict[str, Any]:
        """Write down the last event and its hash, beside the store and in the log; what was written."""
        with self._lock:
            return self._note(head_of(self.reader))

    def _note(self, head: dict[str, Any]) -> dict[str, Any]:
        self._noted = head["event"]
        log.info("store %s: event %d, hash %s", head["store"], head["event"], head["hash"])
        with suppress(OSError):  # a full disk: the decision itself is kept
            write_whole(self.folder / HEAD, json.dumps({**head, "time": now()}) + "\n")
        return head

    def meta(self, name: str) -> str:
        """A fact about the store: store (its id), created, secret, taxonomy."""
        return str(self.value("SELECT value FROM meta WHERE name = ?", name) or "")

    def set_meta(self, name: str, value: str) -> None:
        """Write a fact."""
        with self.write() as db:
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )

    @property
    def schema(self) -> int:
        """Version of the schema."""
        return int(self.value("PRAGMA user_version"))

    def backup(self, target: Path) -> dict[str, Any]:
        """A whole copy of the database, taken while it is served; its last event. Raises OutputError."""
        if target.exists():
            raise OutputError(f"{target}: is there already. Choose another file for the backup.")
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)  # from its first byte on: it holds hashes of passwords
            with closing(sqlite3.connect(part)) as copy:
                self.reader.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
                copy.row_factory = sqlite3.Row
                head = head_of(copy)
            os.link(part, target)  # refuses what has come there since
            return head
        except (sqlite3.DatabaseError, OSError) as why:
            raise OutputError(
                f"{target}: the backup could not be written ({why}). Make room, or choose another disk."
            ) from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While this process alone runs jobs of the store. Raises OutputError when another one does."""
        told = f"{self.folder}: a server runs on this store, and one store has one. Stop it first."
        with alone(self.folder, self.folder / ".serve.lock", told=told):
            yield

    def close(self) -> None:
        """Close all connections; the store is not used any more."""
        with self._lock:
            for db in self._all:
                with suppress(sqlite3.Error):
                    db.close()
            self._all.clear()
            self._writer = None
            self._local = threading.local()


def _told(folder: Path, why: BaseException) -> ToelineError | None:
    """What the disk refused, in words; None for anything else."""
    code = getattr(why, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest says more of it
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreFull(
            f"{folder}: the disk is full or broken ({why}). Nothing of this was kept: make room, then send it again."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{folder}: another process writes there. Nothing of this was kept: send it again.")
    return None


def head_of(db: sqlite3.Connection) -> dict[str, Any]:
    """The last event of a store and its hash: kept elsewhere, it shows that events were cut off at the end."""
    row = db.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    store = db.execute("SELECT value FROM meta WHERE name = 'store'").fetchone()
    return {"store": store["value"], "event": row["id"] if row else 0, "hash": row["hash"] if row else ""}


def dumps(value: Any) -> str:
    """JSON with one form for equal values, as hashes need it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
