"""Runs of `toeline inspect` into the store: their facts, photographs and findings, in one transaction."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.finding import Finding, Problem
from toeline.core.provenance import models_fingerprint, taxonomy_hash
from toeline.core.reading import file_hash
from toeline.core.records import finding_record
from toeline.core.run_folder import FINDINGS
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut
from toeline.errors import ModelError, OutputError
from toeline.pipelines.promoted import Promoted, promoted_from, promoted_of
from toeline.pipelines.saved_run import SavedRun, read_saved
from toeline.serve.names import MOST_NAME, typed
from toeline.serve.store import Row, Store, dumps, now

COLUMNS = (
    "inspection",
    "photo",
    "object",
    "type",
    "class",
    "condition",
    "probability",
    "probabilities",
    "confidence",
    "severity",
    "severity_rank",
    "action",
    "immediate",
    "review",
    "review_reason",
    "x1",
    "y1",
    "x2",
    "y2",
    "latitude",
    "longitude",
    "accuracy_m",
    "same",
    "urgent",
    "doubt",
    "disagree",
    "alike",
    "now_class",
    "now_condition",
)


@dataclass
class Imported:
    """What an import came to. `already` says that the same run was in the store before."""

    inspection: int
    name: str
    photographs: int
    findings: int
    already: bool = False
    problems: list[Problem] = field(default_factory=list)


def import_run(store: Store, saved: SavedRun, *, name: str = "") -> Imported:
    """Take a `finished` run into the store, all or nothing; the same run again only finds photographs that were away.

    Raises OutputError, SetupError and ToelineError.
    """
    given = str(saved.record.get("title") or "") or saved.folder.resolve().name
    named = typed(name, "--name") if name else cut(given, MOST_NAME)
    digest, there = run_hash(saved), saved.photographs()
    away = f"it cannot be shown until it is found: {find_command(store.folder)}"
    if known := store.row("SELECT * FROM inspections WHERE run_sha256 = ?", digest):
        photos, findings = (
            int(store.value(f"SELECT COUNT(*) FROM {table} WHERE inspection = ?", known["id"]))
            for table in ("photos", "findings")
        )
        problems = saved.lost(_found_again(store, known["id"], saved, there), away)
        _remember(store, saved)
        return Imported(known["id"], known["name"], photos, findings, already=True, problems=problems)
    found = saved.findings()
    with store.write() as db:
        _keep_taxonomy(db, store.folder, saved.taxonomy)
        inspection = _inspection(db, saved, named, digest)
        ids = {str(r["photo"]): _photo(db, inspection, r, there.get(str(r["photo"]))) for r in saved.progress}
        number = 0
        for photo, its in found.items():
            number += len(its)
            _findings(db, inspection, ids[photo], its, saved.taxonomy)
        db.execute("PRAGMA analysis_limit = 1000")
        db.execute("ANALYZE")  # else SQLite looks up those of a photograph by an index that all of them share
    _remember(store, saved)
    return Imported(inspection, named, len(ids), number, problems=saved.lost(there, away))


def _remember(store: Store, saved: SavedRun) -> None:
    """After a kill, the same import again does it."""
    with suppress(ModelError):  # what it was promoted with is then not known; nothing else depends on it
        remember_promoted(store, saved.record)


def finished(folder: Path) -> SavedRun:
    """A run that is finished, and whole. Raises OutputError."""
    saved = read_saved(folder, of=("inspect", "evaluate"))
    saved.require_whole("import")
    return saved


def _found_again(store: Store, inspection: int, saved: SavedRun, there: Mapping[str, Path]) -> dict[str, Path]:
    """Where the photographs of a run are, by their names in it; those that were away at the import are noted."""
    rows = {row["name"]: row for row in store.rows("SELECT * FROM photos WHERE inspection = ?", inspection)}
    places = {name: path for name, row in rows.items() if (path := path_of(row)) is not None and path.is_file()}
    found = {
        stored: path
        for name, path in there.items()
        if (stored := as_stored(name)) in rows and stored not in places and is_same(path, rows[stored])
    }
    if found:
        with store.write() as db:
            for name, path in found.items():
                place_photo(db, rows[name]["id"], path)
    names = {as_stored(str(r["photo"])): str(r["photo"]) for r in saved.progress}
    return {names[stored]: path for stored, path in (places | found).items()}


def place_photo(db: sqlite3.Connection, number: int, path: Path) -> None:
    """Note where a photograph is."""
    db.execute("UPDATE photos SET path = ?, bytes = ? WHERE id = ?", (_hex(path), path.stat().st_size, number))


def find_command(store: Path | str) -> str:
    """What somebody types whose photographs were moved."""
    return f"toeline serve find-photos DIR --store {store}"


def gone(store: Path | str) -> str:
    """What is said of a photograph that is not the file that was inspected, and what to do."""
    return f"is not there any more, or is another file now. Bring it back, or say where it is: {find_command(store)}"


def store_taxonomy(store: Store, taxonomy: Taxonomy | None = None) -> Taxonomy:
    """The taxonomy of a store: that of its first run, which all others must share. Raises OutputError."""
    if taxonomy is None:
        source = store.meta("taxonomy")
        return _read_taxonomy(store, source) if source else Taxonomy.load()
    if store.meta("taxonomy_sha256") != taxonomy_hash(taxonomy):
        with store.write() as db:
            _keep_taxonomy(db, store.folder, taxonomy)
    return taxonomy


def _keep_taxonomy(db: sqlite3.Connection, folder: Path, taxonomy: Taxonomy) -> None:
    """Within a transaction: the taxonomy of a store that has none yet. Raises OutputError where it has another."""
    kept = db.execute("SELECT value FROM meta WHERE name = 'taxonomy_sha256'").fetchone()
    if kept is None:
        text = Path(taxonomy.source).read_text(encoding="utf-8") if Path(taxonomy.source).is_file() else ""
        facts = [("taxonomy", text), ("taxonomy_sha256", taxonomy_hash(taxonomy))]
        db.executemany("INSERT INTO meta VALUES (?, ?)", facts)
    elif kept["value"] != taxonomy_hash(taxonomy):
        raise OutputError(f"{folder}: holds findings of another taxonomy. Use a store of its own for this run.")


def _read_taxonomy(store: Store, text: str) -> Taxonomy:
    """The words of the file as it was when the first run was imported."""
    file = store.folder / "taxonomy.toml"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return Taxonomy.load(file)


def run_hash(saved: SavedRun) -> str:
    """Equal for one and the same run: what was asked, and what is in it."""
    facts = {k: saved.record.get(k) for k in ("settings", "models", "data_sha256", "started", "command")}
    found = file_hash(saved.folder / FINDINGS)
    return hashlib.sha256(json.dumps([facts, found], sort_keys=True, default=str).encode()).hexdigest()


def _inspection(db: sqlite3.Connection, saved: SavedRun, name: str, digest: str) -> int:
    row = {
        "name": name,
        "folder": str(saved.folder.absolute()),
        "run": json.dumps(saved.record, ensure_ascii=False),
        "run_sha256": digest,
        "model": models_fingerprint(saved.record),
        "taxonomy_sha256": taxonomy_hash(saved.taxonomy),
        "finished": str(saved.record["finished"]),
        "imported": now(),
    }
    return insert(db, "inspections", row)


def _photo(db: sqlite3.Connection, inspection: int, record: Mapping[str, Any], path: Path | None) -> int:
    size = path.stat().st_size if path else 0
    wide, high = (int(v) for v in record["size"])
    row = {
        "inspection": inspection,
        "name": as_stored(str(record["photo"])),
        "path": _hex(path) if path else "",
        "bytes": size,
        "sha256": str(record.get("sha256", "")),
        "width": wide,
        "height": high,
        "record": json.dumps(record),
    }
    return insert(db, "photos", row)


def _hex(path: Path) -> str:
    return str(path).encode("utf-8", "surrogateescape").hex()


def path_of(photo: Row) -> Path | None:
    """Where the photograph lies; kept in hex, since a name need not be UTF-8. None where it was not found."""
    return Path(bytes.fromhex(photo["path"]).decode("utf-8", "surrogateescape")) if photo["path"] else None


def is_same(path: Path, photo: Row, hash_of: Callable[[Path], str] = file_hash) -> bool:
    """Whether a file is the photograph that was inspected: by its SHA-256, or its size where a run kept none.

    False for a file that cannot be read.
    """
    try:
        if photo["sha256"]:
            return hash_of(path) == str(photo["sha256"])
        return path.stat().st_size == int(photo["bytes"]) > 0
    except OSError:
        return False


def as_stored(name: str) -> str:
    """A name as JSON and SQLite can hold it: bytes that are no UTF-8 become the sign for an unknown character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _findings(
    db: sqlite3.Connection, inspection: int, photo: int, findings: Sequence[Finding], taxonomy: Taxonomy
) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    for finding in findings:
        made = db.execute(
            f"INSERT INTO findings ({', '.join(COLUMNS)}) VALUES ({marks})",
            list(_values(inspection, photo, finding, taxonomy)),
        )
        record = finding_record(finding) | {"photo": as_stored(finding.photo)}
        db.execute("INSERT INTO records VALUES (?, ?)", (made.lastrowid, json.dumps(record, ensure_ascii=False)))


def _values(inspection: int, photo: int, f: Finding, taxonomy: Taxonomy) -> Iterator[Any]:
    v, at = f.verdict, f.geo_position
    yield from (
        inspection,
        photo,
        as_stored(f.instance_id),
        f.type_name,
        v.class_name,
        v.condition,
        round(v.probability, 6),
    )
    yield dumps({name: round(p, 6) for name, p in v.probabilities.items()})
    yield from (
        round(f.score, 6),
        f.grade.severity,
        f.grade.rank,
        f.grade.action,
        f.grade.immediate,
        bool(v.review),
        v.review,
    )
    yield from (round(c, 2) for c in f.box.xyxy)
    yield from (at.latitude, at.longitude, at.error_m) if at else (None, None, None)
    yield f"{inspection}:{at.group}" if at and at.group else ""
    yield from (urgency(f), doubt(f), disagreement(f), likeness(f, taxonomy))
    yield from (v.class_name, v.condition)


def urgency(f: Finding) -> float:
    """Smaller is more urgent: what cannot wait, then by severity, then the more probable."""
    return -(1000.0 * bool(f.grade.immediate) + 10.0 * f.grade.rank + f.verdict.probability)


def doubt(f: Finding) -> float:
    """Smaller is less sure: the distance between the two best answers, and 2 for what was not asked at all."""
    if not f.verdict.asked:
        return 2.0 - (1.0 - f.score)
    second = f.verdict.second
    return f.verdict.probability - (second[1] if second else 0.0)


def disagreement(f: Finding) -> float:
    """Smaller is more in dispute: detector against judge, other photographs of it, other types seen there."""
    named = bool(f.detector_class) and f.detector_class != f.verdict.class_name
    disputed = bool(f.geo_position and f.geo_position.disputed)
    others = max((g.score for g in f.detector_others), default=0.0)
    return doubt(f) - 10.0 * named - 5.0 * disputed - 2.0 * others


def likeness(f: Finding, taxonomy: Taxonomy) -> float:
    """Near numbers for objects that look alike on a grid: by answer, then by form (width to height), then by size."""
    place = taxonomy.answers().index(f.verdict.class_name) if f.verdict.class_name in taxonomy.answers() else -1
    form = f.box.width / max(f.box.width + f.box.height, 1e-9)
    return 1000.0 * (place + 1) + 100.0 * round(10 * form) / 10 + min(f.box.area, 4e8) / 4e8


def promoted_in(store: Store, inspection: Row) -> Promoted | None:
    """What the model of an inspection was promoted with, as it was remembered; else as it is found now."""
    kept = store.meta(_promoted(inspection["model"]))
    return promoted_from(json.loads(kept)) if kept else promoted_of(json.loads(inspection["run"]))


def remember_promoted(store: Store, run: Mapping[str, Any], named: Path | None = None) -> bool:
    """Keep what the model of a run was promoted with, for its folder may be gone when there are enough decisions.

    Whether it is known. Raises ModelError for a `named` folder that cannot be read.
    """
    found = promoted_of(run, named)
    if found is not None:
        store.set_meta(_promoted(models_fingerprint(run)), dumps(found.record()))
    return found is not None


def _promoted(model: str) -> str:
    return f"promoted {model}"


def insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """One row; the names of table and columns are ours. Returns its id."""
    marks = ", ".join("?" * len(row))
    made = db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    return int(made.lastrowid or 0)
