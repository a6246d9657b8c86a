"""Photographs in object stores, `s3://bucket/flight7`: listed, and copied into a run's folder, through fsspec.

What is listed is laid out as a tree of empty files, so that one search (data/images.py) has one set of rules for
folders and stores. Credentials come from where the stores' own libraries look for them, never from an address.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.provenance import as_typed
from toeline.core.reading import is_there
from toeline.core.records import to_line
from toeline.core.run_folder import FULL, RUN
from toeline.core.words import shown
from toeline.data.images import RESULTS, SUFFIXES, Photo, unread_kind
from toeline.errors import PhotoError, SetupError, install_line, need

FETCHED, STATES = "fetched", "states"  # in a run's folder: copies, and beside them what the store said of each
LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "memory": "fsspec"}
# What stores say of an object that is another one when it is written again.
VERSION = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "updated", "mtime", "created")


@dataclass(frozen=True)
class StoredPhoto:
    """An object: its address, the file system and the key by which that knows it, its bytes, and its `state`.

    A state is other when the object was written again.
    """

    url: str
    store: Any
    key: str
    size: int | None
    state: str


def address(path: Path) -> str:
    """The address that was typed as a path, s3://bucket/flight7, or nothing for a path of this machine.

    >>> address(Path("s3://bucket/flight 7/")), address(Path("flight7"))
    ('s3://bucket/flight 7', '')
    """
    typed = as_typed(path)
    return typed if "://" in typed and not is_there(path) else ""


def require_plain(url: str) -> None:
    """Raise SetupError for an address that is not read, or holds what nobody should find in run.json.

    Nothing of it is repeated but its begin: it may be a secret.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in LIBRARIES:
        kinds = ", ".join(f"{kind}://" for kind in LIBRARIES if kind != "memory")
        raise SetupError(f"{scheme}://...: is not read. Copy the photographs to a folder, or name a store ({kinds}).")
    bucket, *folders = rest.rstrip("/").split("/")
    if {":", "@"} & {*bucket} or "?" in rest or "::" in rest:
        raise SetupError(
            f"{scheme}://...: credentials and options are not taken from an address, since run.json keeps it. Type "
            f"{scheme}://BUCKET/FOLDER, and give them in the environment or the configuration of {LIBRARIES[scheme]}."
        )
    if not _is_plain([bucket, *folders]):
        raise SetupError(f"{url}: is no address of a bucket or a folder in one. Type {scheme}://BUCKET/FOLDER.")


def _is_plain(names: Sequence[str]) -> bool:
    """Whether the parts of a key are names of folders, none of which leads elsewhere."""
    return all(name not in ("", ".", "..") and "\0" not in name and "\\" not in name for name in names)


def stored_in(url: str, problems: list[Problem]) -> Iterator[StoredPhoto]:
    """Every object below an address, or the one that it names; those that cannot have a file's name are problems.

    Raises SetupError when the library is missing or the store does not list it, PhotoError when nothing is there.
    """
    scheme = url.partition("://")[0]
    store, root = _opened(url, scheme)
    try:
        store.invalidate_cache()
        found = store.find(root, detail=True)
        known = found if isinstance(found, dict) else {}  # adlfs gives a list of a single object
        infos = {key: known.get(key) or store.info(key) for key in found}
    except Exception as why:  # each store's library raises its own kinds
        said = f"{url}: cannot be listed ({_said(why)}). Check the address, and the credentials in the environment."
        raise SetupError(said) from None
    if not infos:
        raise PhotoError(f"{url}: there is nothing of this name. Check the address.")
    for key, info in infos.items():
        within = f"{scheme}://{key.lstrip('/')}"
        if info.get("type", "file") != "file" or key.endswith("/"):  # what consoles put where they show a folder
            continue
        if not _is_plain(key.lstrip("/").split("/")):
            problems.append(Problem("", within, "its key is no path of a file, so it was left out. Rename it."))
            continue
        said = json.dumps([info.get("size"), *(str(info.get(name, "")) for name in VERSION)])
        yield StoredPhoto(within, store, key, info.get("size"), hashlib.sha256(said.encode()).hexdigest()[:16])


def _opened(url: str, scheme: str) -> tuple[Any, str]:
    """The file system of an address, and its key there. Raises SetupError."""
    core = need("fsspec.core", extra="cloud")
    try:
        store, root = core.url_to_fs(url)
    except ImportError as why:
        lacks, cause = LIBRARIES[scheme], why.__cause__
        if not (isinstance(cause, ModuleNotFoundError) and cause.name == lacks):
            raise  # installed, and one of its own imports is missing
        raise SetupError(f"{url}: {lacks} is not installed. Run: {install_line('cloud')}") from None
    except Exception as why:
        raise SetupError(f"{url}: cannot be opened ({_said(why)}). Check the credentials in the environment.") from None
    return store, str(root).rstrip("/")


def _said(why: Exception) -> str:
    return shown(next(iter(str(why).splitlines()), "") or type(why).__name__)[:200]


def lay_out(stored: Iterable[StoredPhoto], named: Sequence[str], tree: Path) -> Iterator[Problem]:
    """Make an empty file below `tree` for every picture, and for what tells results of Toeline; problems of others.

    Objects that are `named` themselves are taken whatever they are called.
    """
    for one in stored:
        name = one.url.rpartition("/")[2]
        suffix = Path(name).suffix.lower()
        if suffix in SUFFIXES or unread_kind(suffix) or name in (RUN, *RESULTS) or one.url in named:
            file = place_in(tree, one.url)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            except OSError as why:
                if why.errno in FULL:
                    raise
                yield Problem("", one.url, f"no file can have this name ({why.strerror}), so it was left out.")


def place_in(top: Path, url: str) -> Path:
    """Where an address lies below a folder: s3/bucket/flight7."""
    scheme, _, rest = url.partition("://")
    return Path(top, scheme, *rest.split("/"))


def places_in(out: Path, typed: Sequence[Path]) -> list[Path]:
    """What was typed for the run in `out`, with the copies in place of addresses."""
    return [place_in(out / FETCHED, url) if (url := address(path)) else path for path in typed]


def as_addresses(text: str, tree: Path) -> str:
    """A message with addresses in place of the paths below a tree."""
    return re.sub(rf"{re.escape(str(tree))}/([a-z0-9]+)/", r"\1://", text)


def states_in(out: Path) -> dict[str, str]:
    """The states of the objects whose copies lie in a run's folder, by their addresses."""
    found: dict[str, str] = {}
    for file in sorted((out / FETCHED).glob(f"{STATES}*.jsonl")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):  # of a kill
                row = json.loads(line)
                found[str(row["url"])] = str(row["state"])
    return found


def is_fetched(photo: Photo, stored: StoredPhoto, states: Mapping[str, str]) -> bool:
    """Whether the copy is there and the object has not been written again since."""
    if states.get(stored.url) != stored.state or not photo.path.is_file():
        return False
    return stored.size is None or photo.path.stat().st_size == stored.size


def fetch(photo: Photo, stored: StoredPhoto) -> None:
    """Copy an object to where its photograph is to lie, in one step. Raises PhotoError, and OSError of a full disk."""
    short = hashlib.sha256(stored.url.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    half = photo.path.with_name(f".{short}.part")  # RunFolder removes those of a kill
    try:
        half.parent.mkdir(parents=True, exist_ok=True)
        stored.store.get_file(stored.key, str(half))
        came = half.stat().st_size
        if stored.size is not None and came != stored.size:
            raise PhotoError(f"{stored.url}: {came:,} of its {stored.size:,} bytes came.")
        half.replace(photo.path)
    except PhotoError:
        raise
    except Exception as why:  # each store's library raises its own kinds
        if isinstance(why, OSError) and why.errno in FULL:
            raise
        raise PhotoError(f"{stored.url}: cannot be fetched ({_said(why)}).") from None
    finally:
        half.unlink(missing_ok=True)


def note_state(out: Path, stored: StoredPhoto, number: int) -> None:
    """Write down that an object was fetched, by part `number` of a run, or 0."""
    with (out / FETCHED / f"{STATES}{number}.jsonl").open("ab") as file:
        file.write(to_line({"url": stored.url, "state": stored.state}).encode("utf-8"))
