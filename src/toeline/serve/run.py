"""What `toeline serve` and its subcommands do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.words import some
from toeline.errors import OutputError, SetupError, need
from toeline.pipelines.progress import Summary, escape, out, saying
from toeline.pipelines.settings import InspectRun, ServeOptions
from toeline.serve.store import FILE, Store

if TYPE_CHECKING:
    from toeline.serve.accounts import Accounts

NEEDED = ("fastapi", "uvicorn", "argon2", "itsdangerous", "python_multipart", "prometheus_client")
SHIPPED = "shipped"
SWITCH_S = 0.001  # that a thread waits for one that computes, such as that of the model; Python's own 5 ms add up
GRACE_S = 10  # that requests have to end when the server is told to; the job has jobs.STOP_S after them


def serve(run: ServeOptions) -> None:
    """Serve until it is stopped. Raises OutputError and SetupError before it begins."""
    if run.store is None:
        raise SetupError("name the store: toeline serve --store DIR")
    for module in NEEDED:
        need(module, extra="serve")
    require_accounts(run)
    import uvicorn

    from toeline.serve.api import make_app
    from toeline.serve.jobs import Model

    with saying("Opening the store"):
        photos = InspectRun(
            photos=(), model=None if run.model in (None, SHIPPED) else Path(str(run.model)), device=run.device
        )
        model = Model(photos) if run.model else None
        app = make_app(run.store, model=model, photos=_roots(run), host=run.host, secure=run.behind_proxy)
    shown = f"[{run.host}]" if ":" in run.host else run.host
    out.print(f"Open [bold]http://{shown}:{run.port}[/] in a browser; Ctrl+C stops it.")
    if model is None:
        out.print("[dim]Without --model nothing can be inspected here; findings come in by toeline serve import.[/]")
    sys.setswitchinterval(SWITCH_S)
    uvicorn.run(
        app, host=run.host, port=run.port, log_level="warning", server_header=False, proxy_headers=run.behind_proxy,
        forwarded_allow_ips="127.0.0.1", timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip


def require_accounts(run: ServeOptions) -> None:
    """Raise SetupError when others can reach the server and nobody has an account."""
    from toeline.serve.accounts import LOOPBACK

    assert run.store is not None
    if run.host in LOOPBACK and not run.behind_proxy:
        return
    store = Store.open(run.store)
    try:
        there = store.value("SELECT 1 FROM users WHERE role = 'engineer'")
    finally:
        store.close()
    if not there:
        why = "behind a proxy" if run.behind_proxy else f"on {run.host}"
        raise SetupError(
            f"{why}, others can reach the server, and the store has no engineer. Make an account first: "
            f"toeline serve user add NAME --role engineer --store {run.store}"
        )


def _roots(run: ServeOptions) -> list[Path]:
    for folder in run.photos:
        if not folder.is_dir():
            raise SetupError(f"{folder}: is no folder. Name one that holds photographs with --photos.")
    return list(run.photos)


def import_into(run: Path, store_dir: Path, name: str) -> Summary:
    """Take a run of `toeline inspect` into the store."""
    from toeline.serve.imports import import_run

    store = Store.open(store_dir)
    try:
        with saying("Importing"):
            done = import_run(store, run, name=name)
    finally:
        store.close()
    what = "was in the store already" if done.already else f"imported as inspection {done.inspection}"
    said = f"{some(done.findings, 'finding')} on {some(done.photographs, 'photograph')}"
    record = {
        "inspection": done.inspection,
        "name": done.name,
        "photographs": done.photographs,
        "findings": done.findings,
    }
    lines = [f"[bold]{escape(done.name)}[/] {what}: {said}"]
    return Summary(
        lines, {"store": str(store_dir)}, {**record, "already": done.already}, done.problems, "the lines above"
    )


def check_store(store_dir: Path) -> Summary:
    """Whether all events of a store are there and unchanged."""
    from toeline.core.finding import Problem
    from toeline.serve.decisions import check
    from toeline.serve.imports import store_taxonomy

    store = Store.open(store_dir, make=False)
    try:
        with saying("Reading all events"):
            found = check(store, store_taxonomy(store))
    finally:
        store.close()
    problems = [Problem.in_file(store_dir / FILE, fault) for fault in found.faults]
    said = "the chain is whole" if not problems else "[bold red]the chain is broken[/]"
    lines = [f"{some(found.events, 'event')} on {some(found.findings, 'finding')}: {said}"]
    record: dict[str, Any] = {
        "events": found.events,
        "findings": found.findings,
        "head": found.head,
        "faults": found.faults,
    }
    return Summary(lines, {"store": str(store_dir), "last hash": found.head}, record, problems, str(store_dir))


def backup_store(store_dir: Path, target: Path) -> None:
    """Copy the database while the service goes on. Uploads and runs are files: copy them as files."""
    store = Store.open(store_dir, make=False)
    try:
        store.backup(target)
    finally:
        store.close()
    out.print(f"Backup in {escape(str(target))}; to restore it, put it in its store as {FILE} while nothing serves it.")


def accounts(store_dir: Path) -> tuple[Store, Accounts]:
    """The accounts of a store; close the store after use."""
    for module in ("argon2", "itsdangerous"):
        need(module, extra="serve")
    from toeline.serve.accounts import Accounts

    store = Store.open(store_dir)
    return store, Accounts(store)


def restore_store(backup: Path, store_dir: Path) -> None:
    """Put a backup in the place of the database, which is kept beside it. Raises OutputError while it is served."""
    import shutil
    import sqlite3
    from contextlib import closing

    if not backup.is_file():
        raise OutputError(f"{backup}: there is no such file. Name what `toeline serve backup` wrote.")
    with closing(sqlite3.connect(f"file:{backup}?mode=ro", uri=True)) as db:
        try:
            whole = db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            whole = whole and bool(db.execute("SELECT value FROM meta WHERE name = 'store'").fetchone())
        except sqlite3.DatabaseError:
            whole = False
    if not whole:
        raise OutputError(f"{backup}: is no whole store. Name another backup; nothing was changed.")
    store = Store(store_dir)
    store_dir.mkdir(parents=True, exist_ok=True)
    with store.serving():
        target = store_dir / FILE
        before = target.with_suffix(".before")
        for end in ("-wal", "-shm", ""):  # not opened for it: what is to be replaced may be broken
            kept, now = before.with_name(before.name + end), target.with_name(FILE + end)
            kept.unlink(missing_ok=True)
            if now.exists():
                now.replace(kept)
        part = target.with_name(f".{FILE}.part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        shutil.copyfile(backup, part)
        part.replace(target)
    Store.open(store_dir).close()
    out.print(f"Restored into {escape(str(store_dir))}.")
