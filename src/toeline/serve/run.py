"""What `toeline serve` and its subcommands do."""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.reading import read_json
from toeline.core.run_folder import write_whole
from toeline.core.words import some
from toeline.errors import OutputError, SetupError, need
from toeline.pipelines.progress import Summary, escape, out, saying
from toeline.pipelines.settings import InspectRun, ServeOptions
from toeline.serve.store import FILE, HEAD, Store

if TYPE_CHECKING:
    from toeline.serve.accounts import Accounts

NEEDED = ("fastapi", "uvicorn", "argon2", "itsdangerous", "python_multipart", "prometheus_client")
SHIPPED = "shipped"
SWITCH_S = 0.001  # that a thread waits for one that computes, such as that of the model; Python's own 5 ms add up
BACKLOG = 2048  # connections that wait to be taken, as uvicorn has it
NO_PORT = {
    errno.EADDRINUSE: "another program has it: stop that, or choose another --port",
    errno.EACCES: "choose a --port above 1023, and let a proxy have this one",
}
GRACE_S = 10  # that requests have to end when the server is told to; the job has jobs.STOP_S after them


def serve(run: ServeOptions) -> None:
    """Serve until it is stopped. Raises OutputError and SetupError before it begins."""
    if run.store is None:
        raise SetupError("name the store: toeline serve --store DIR")
    for module in NEEDED:
        need(module, extra="serve")
    require_accounts(run)
    with closing(listening(run.host, run.port)) as place:
        _serve_at(place, run)


def _serve_at(place: socket.socket, run: ServeOptions) -> None:
    import uvicorn

    from toeline.serve.api import make_app
    from toeline.serve.jobs import Model

    assert run.store is not None
    with saying("Opening the store"):
        photos = InspectRun(
            photos=(), model=None if run.model in (None, SHIPPED) else Path(str(run.model)), device=run.device
        )
        model = Model(photos) if run.model else None
        app = make_app(run.store, model=model, photos=_roots(run), host=run.host, secure=run.behind_proxy)
    app.state.jobs.claim()  # here, where a refusal is one sentence; uvicorn would print a trace
    _log_heads()
    app.state.store.note_head()
    shown = f"[{run.host}]" if ":" in run.host else run.host
    out.print(f"Open [bold]http://{shown}:{run.port}[/] in a browser; Ctrl+C stops it.")
    if model is None:
        out.print("[dim]Without --model nothing can be inspected here; findings come in by toeline serve import.[/]")
    sys.setswitchinterval(SWITCH_S)
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, proxy_headers=run.behind_proxy,
        forwarded_allow_ips="127.0.0.1", timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has stopped in order by then
        uvicorn.Server(config).run(sockets=[place])


def listening(host: str, port: int) -> socket.socket:
    """Where it listens, taken before anybody is told to open it. Raises SetupError."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as undone:
            found = undone.enter_context(socket.socket(family, kind, number))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart the port rests for a minute
            found.bind(address)
            found.listen(BACKLOG)  # now: until then two may have the same port
            undone.pop_all()
    except OSError as why:
        what = NO_PORT.get(why.errno or 0, "--host names an address of this machine")
        raise SetupError(f"{host}, port {port}: cannot be listened at ({why.strerror or why}); {what}.") from None
    return found


def _log_heads() -> None:
    """The last events go to standard error too, where the journal of the system keeps them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    logging.getLogger("toeline.serve").addHandler(handler)
    logging.getLogger("toeline.serve").setLevel(logging.INFO)


def require_accounts(run: ServeOptions) -> None:
    """Raise SetupError when others can reach the server and nobody has an account."""
    from toeline.serve.accounts import LOOPBACK

    assert run.store is not None
    if run.host in LOOPBACK and not run.behind_proxy:
        return
    with closing(Store.open(run.store)) as store:
        there = store.value("SELECT 1 FROM users WHERE role = 'engineer'")
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
    from toeline.serve.imports import finished, import_run

    saved = finished(run)  # before a store is made for what is no run
    with closing(Store.open(store_dir)) as store, saying("Importing"):
        done = import_run(store, saved, name=name)
    known = f"was in the store already, as inspection {done.inspection}" + (", and keeps its name" if name else "")
    what = known if done.already else f"imported as inspection {done.inspection}"
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


def check_store(store_dir: Path, heads: Sequence[str] = ()) -> Summary:
    """Whether all events of a store are there and unchanged, those of `heads` among them: hashes, or files with one."""
    from toeline.core.finding import Problem
    from toeline.serve.decisions import check
    from toeline.serve.imports import store_taxonomy

    kept = [head_in(text) for text in heads]
    with closing(Store.open(store_dir, make=False)) as store, saying("Reading all events"):
        found = check(store, store_taxonomy(store), kept)
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


def head_in(text: str) -> str:
    """A hash as it was typed, or the one in a file that names the last event. Raises OutputError.

    Such files are head.json, what `toeline serve backup` wrote beside its copy, labels.json, and `check --json`.
    """
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    advice = "Give 64 hex digits, head.json, labels.json, or what toeline serve backup wrote beside its copy."
    record = read_json(Path(text), OutputError, advice=advice)
    named = record.get("last_event") or record if isinstance(record, dict) else {}
    found = named.get("hash") or named.get("head") if isinstance(named, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{64}", found):
        raise OutputError(f"{text}: names no last event. {advice}")
    return found


def backup_store(store_dir: Path, target: Path) -> None:
    """Copy the database while it is served. Uploads and runs are files: copy them as files."""
    with closing(Store.open(store_dir, make=False)) as store:
        head = store.backup(target)
        write_whole(target.with_name(f"{target.name}.head.json"), json.dumps(head) + "\n")
    out.print(
        f"Backup in {escape(str(target))}, with {some(head['event'], 'event')}; toeline serve restore puts it back."
    )
    out.print(f"Hash of the last one, to be kept elsewhere: {head['hash'] or 'none'}")


@contextmanager
def accounts(store_dir: Path, *, make: bool = False) -> Iterator[Accounts]:
    """The accounts of a store, which is made where there is none and `make` says so. Raises OutputError."""
    for module in ("argon2", "itsdangerous"):
        need(module, extra="serve")
    from toeline.serve.accounts import Accounts

    with closing(Store.open(store_dir, make=make)) as store:
        yield Accounts(store)


def restore_store(backup: Path, store_dir: Path) -> None:
    """Put a backup in the place of the database, which is kept beside it. Raises OutputError while it is served."""
    import shutil
    import sqlite3

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
    store, before = Store(store_dir), 0
    store_dir.mkdir(parents=True, exist_ok=True)
    with store.serving():
        target = store_dir / FILE
        with suppress(OutputError, sqlite3.DatabaseError):  # what is to be replaced may be broken
            before = _last_event(store_dir) if target.exists() else 0
        aside = target.with_suffix(".before")
        for end in ("-wal", "-shm", ""):
            kept, now = aside.with_name(aside.name + end), target.with_name(FILE + end)
            kept.unlink(missing_ok=True)
            if now.exists():
                now.replace(kept)
        part = target.with_name(f".{FILE}.part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        shutil.copyfile(backup, part)
        part.replace(target)
    with suppress(FileNotFoundError):
        (store_dir / HEAD).replace(store_dir / f"{HEAD}.before")  # it is of what was there
    event = _last_event(store_dir)
    out.print(f"Restored into {escape(str(store_dir))}.")
    if before > event:
        out.print(f"[yellow]Events {event + 1} to {before} of the store before are not in it; they are in {aside}.[/]")


def _last_event(store_dir: Path) -> int:
    """The number of the last event, which is noted, too."""
    with closing(Store.open(store_dir)) as store:
        return int(store.note_head()["event"])


def accuracy_of(store_dir: Path, target: float | None, model: Path | None) -> Summary:
    """The running accuracy of the models in a store. `model` is a folder that says what one was promoted with."""
    from toeline.core.finding import Problem
    from toeline.serve.accuracy import accuracies, accuracy_record, worse
    from toeline.serve.imports import store_taxonomy

    with closing(Store.open(store_dir, make=False)) as store, saying("Reading the decisions"):
        _remember(store, model)
        record = accuracy_record(accuracies(store, store_taxonomy(store)), store.note_head()["event"], target)
    problems = [Problem.in_file(store_dir / FILE, words) for words in worse(record)]
    return Summary(list(_accuracy_lines(record)), {"store": str(store_dir)}, record, problems, "the lines above")


def _remember(store: Store, model: Path | None) -> None:
    """Keep what a folder says for the models whose weights it holds. Raises ModelError where it holds none's."""
    from toeline.errors import ModelError
    from toeline.serve.imports import remember_promoted

    runs = [json.loads(row["run"]) for row in store.rows("SELECT run FROM inspections")] if model else []
    known = [remember_promoted(store, run, model) for run in runs]  # each is kept
    if model and not any(known):
        raise ModelError(f"{model}: holds the weights of no inspection in the store. Name the folder that inspected.")


def _accuracy_lines(record: dict[str, Any]) -> Iterator[Any]:
    """All of it for the terminal."""
    from toeline.evaluate.metric import metric_from
    from toeline.pipelines.evaluate import metric_table

    if not any(m["groups"] for m in record["models"]):
        yield "Nothing is decided yet: review some findings first."
    for m in (m for m in record["models"] if m["groups"]):
        counts = ", ".join(f"{n:,} {name}" for name, n in m["decisions"].items())
        yield f"\n[bold]Model {escape(m['model'])}[/]: {escape(counts)}"
        for group in m["groups"]:
            yield f"\n[bold]{escape(group['title'])}[/]\n{escape(group['words'])}\n[dim]{escape(group['caution'])}[/]"
            quoted = [metric_from(f) for f in group["figures"] if "/" not in f["key"]]
            yield metric_table(quoted if group["name"] != m["quoted"] else [metric_from(f) for f in group["figures"]])
        yield from map(escape, m["sentences"])
