"""Findings as Parquet: typed columns, nested probabilities and relations. Needs pyarrow, the extra `parquet`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from toeline._version import __version__
from toeline.core.finding import Finding
from toeline.core.run_folder import written
from toeline.errors import need
from toeline.report.tables import Chapter

PARQUET, EXTRA = "findings.parquet", "parquet"
ROWS = 100_000  # of a row group, at least
CORNERS = ("x1", "y1", "x2", "y2")
TEXTS, SHARES = ("string", "double")
# Column -> its type, in pyarrow's words; [..] is a list, {..} a struct.
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("photo", "id", "type", "class", "condition"), TEXTS),
    "photo_width": "int32",
    "photo_height": "int32",
    "probability": SHARES,
    "probabilities": [{"class": TEXTS, "probability": SHARES}],
    "asked": "bool",
    "review": "bool",
    "review_reason": TEXTS,
    "detector_confidence": SHARES,
    "detector_class": TEXTS,
    "detector_others": [{"type": TEXTS, "class": TEXTS, "confidence": SHARES}],
    **dict.fromkeys(CORNERS, SHARES),
    "polygon": [[SHARES]],
    "relations": [{"name": TEXTS, "other": TEXTS, "distance": SHARES}],
    "severity": TEXTS,
    "severity_rank": "int32",
    "action": TEXTS,
    "immediate": "bool",
    "immediate_reason": TEXTS,
    "latitude": SHARES,
    "longitude": SHARES,
    "position": TEXTS,
    "error_m": SHARES,
    "group": TEXTS,
    "same_as_photo": TEXTS,
    "same_as_id": TEXTS,
}


def require_parquet() -> None:
    """Raise SetupError where pyarrow is not installed."""
    need("pyarrow", extra=EXTRA)


def parquet_rows(chapter: Chapter) -> Any:
    """A row for each finding of a chapter, as a table of pyarrow; what is not known is null. Raises SetupError."""
    sizes = {p["photo"]: p["size"] for p in chapter.photos}
    found = [_row(f, *sizes[f.photo]) for f in chapter.findings]
    return need("pyarrow", extra=EXTRA).Table.from_pylist(found, schema=_schema())


@contextmanager
def parquet_file(file: Path) -> Iterator[Callable[[Any], None]]:
    """Write `file`, which is there when the block ends: the function to call with the rows of each chapter.

    A row group holds ROWS rows or more, so that readers skip what they do not ask for. Raises SetupError.
    """
    pa, pq = need("pyarrow", extra=EXTRA), need("pyarrow.parquet", extra=EXTRA)
    waiting: list[Any] = []

    def write() -> None:
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
            waiting.clear()

    def add(table: Any) -> None:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= ROWS:
            write()

    with written(file) as stream, pq.ParquetWriter(stream, _schema()) as writer:
        yield add
        write()


@cache
def _schema() -> Any:
    pa = need("pyarrow", extra=EXTRA)
    return pa.schema([(name, _type(pa, kind)) for name, kind in COLUMNS.items()], metadata={"toeline": __version__})


def _type(pa: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        return pa.list_(_type(pa, kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _type(pa, one)) for name, one in kind.items()])
    return pa.type_for_alias(kind)


def _row(f: Finding, wide: int, high: int) -> dict[str, Any]:
    verdict, grade, at = f.verdict, f.grade, f.geo_position
    graded = bool(grade.severity)
    same = at.same_as if at and at.same_as else (None, None)
    return {
        "photo": f.photo,
        "id": f.instance_id,
        "type": f.type_name,
        "class": verdict.class_name or None,
        "condition": verdict.condition or None,
        "photo_width": wide or None,
        "photo_height": high or None,
        "probability": verdict.probability,
        "probabilities": [{"class": name, "probability": p} for name, p in verdict.probabilities.items()],
        "asked": verdict.asked,
        "review": bool(verdict.review),
        "review_reason": verdict.review or None,
        "detector_confidence": f.score,
        "detector_class": f.detector_class or None,
        "detector_others": [
            {"type": o.type_name, "class": o.class_name or None, "confidence": o.score} for o in f.detector_others
        ],
        **dict(zip(CORNERS, f.box.xyxy, strict=True)),
        "polygon": [list(corner) for corner in f.polygon],
        "relations": [{"name": r.name, "other": r.other, "distance": r.distance} for r in f.relations],
        "severity": grade.severity or None,
        "severity_rank": grade.rank if graded else None,
        "action": grade.action or None,
        "immediate": bool(grade.immediate) if graded else None,
        "immediate_reason": grade.immediate or None,
        "latitude": at.latitude if at else None,
        "longitude": at.longitude if at else None,
        "position": at.kind if at else None,
        "error_m": at.error_m if at else None,
        "group": (at.group or None) if at else None,
        "same_as_photo": same[0],
        "same_as_id": same[1],
    }
