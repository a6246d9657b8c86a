"""Findings as flat rows, for tables on pages and for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toeline.core.finding import Finding
from toeline.core.taxonomy import Taxonomy

COLUMNS = (
    "photo", "id", "type", "class", "condition", "probability", "second_class", "second_probability", "review",
    "review_reason", "detector_confidence", "detector_class", "detector_others", "x1", "y1", "x2", "y2", "relations",
    "marked", "severity", "severity_rank", "action", "immediate", "immediate_reason",
    "latitude", "longitude", "position", "error_m", "group", "same_as",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a cell that starts so is run by Excel and LibreOffice


def marked_name(photo: str) -> str:
    """Where a photograph's marked picture lies in the output folder, always inside `marked/`, one per photograph.

    >>> marked_name("berm 1/a.jpg"), marked_name("berm 1/a.png"), marked_name("../a.jpg")
    ('marked/berm 1/a.jpg', 'marked/berm 1/a.png.jpg', 'marked/a.jpg')
    """
    parts = [p.replace(":", "_") for p in photo.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    name = "/".join(parts)
    return f"marked/{name}" if name.endswith(".jpg") else f"marked/{name}.jpg"


def relation_words(finding: Finding, names: Mapping[str, str]) -> str:
    """What stands around a finding, in words, one clause per neighbor; `names` says how each id is called."""
    by_neighbor: dict[str, list[str]] = {}
    for r in finding.relations:
        by_neighbor.setdefault(r.other, []).append(r.name.replace("_", " "))
    return "; ".join(f"{' and '.join(words)} {names.get(other, other)}" for other, words in by_neighbor.items())


def others_words(finding: Finding, taxonomy: Taxonomy) -> str:
    """What else the detector saw on the same place, in words: "toe drain 0.41; slope drain damaged 0.30"."""
    return "; ".join(f"{g.class_name or taxonomy.spoken(g.kind)} {g.score:.2f}" for g in finding.detector_others)


def names_in(findings: Sequence[Finding], taxonomy: Taxonomy) -> dict[str, str]:
    """How the things of one photograph are called: the type, and the id that the picture shows."""
    return {f.thing_id: f"{taxonomy.spoken(f.kind)} {f.thing_id}" for f in findings}


def by_photo(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings under their photograph, in the order in which both came."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.photo, []).append(finding)
    return groups


def rows(findings: Iterable[Finding], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """One flat row per finding, with the keys of COLUMNS; boxes in pixels, probabilities 0 to 1."""
    out: list[dict[str, Any]] = []
    for group in by_photo(findings).values():
        names = names_in(group, taxonomy)
        out.extend(_row(f, names, taxonomy) for f in group)
    return out


def _row(f: Finding, names: dict[str, str], taxonomy: Taxonomy) -> dict[str, Any]:
    second = f.verdict.second or ("", "")
    values = (
        f.photo, f.thing_id, f.kind, f.verdict.class_name, f.verdict.condition, round(f.verdict.probability, 4),
        second[0], round(second[1], 4) if isinstance(second[1], float) else "", "yes" if f.verdict.review else "",
        f.verdict.review, round(f.score, 4), f.detector_class, others_words(f, taxonomy),
        *(round(v, 1) for v in f.box.xyxy), relation_words(f, names), marked_name(f.photo), *_grade(f), *_spot(f),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _grade(f: Finding) -> tuple[Any, ...]:
    """Empty cells where nothing grades it."""
    grade = f.grade
    if not grade.severity:
        return ("",) * 5
    return grade.severity, grade.rank, grade.action, "yes" if grade.immediate else "", grade.immediate


def _spot(f: Finding) -> tuple[Any, ...]:
    """Empty cells where nothing is known; the spreadsheet's own formats, so no degree signs."""
    s = f.spot
    if s is None:
        return ("",) * 6
    error = "" if s.error_m is None else round(s.error_m, 1)
    return round(s.latitude, 7), round(s.longitude, 7), s.kind, error, s.group, " ".join(s.same_as or ())


def safe_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote in front; numbers stay numbers.

    >>> safe_cell("=1+1"), safe_cell(-3), safe_cell("toe drain")
    ("'=1+1", -3, 'toe drain')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def to_csv(records: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> bytes:
    """A CSV file that Excel opens by a double click: UTF-8 with its mark, CRLF, one header line."""
    return csv_head(columns) + csv_lines(records, columns)


def csv_head(columns: Sequence[str] = COLUMNS) -> bytes:
    """How the file begins; `csv_lines` of any number of records, in any number of pieces, follow."""
    return _written(columns, lambda writer: writer.writeheader()).encode("utf-8-sig")


def csv_lines(records: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> bytes:
    """The lines of some records."""
    safe = ({k: safe_cell(v) for k, v in record.items()} for record in records)
    return _written(columns, lambda writer: writer.writerows(safe)).encode("utf-8")


def _written(columns: Sequence[str], write: Callable[[csv.DictWriter[str]], object]) -> str:
    buffer = io.StringIO(newline="")
    write(csv.DictWriter(buffer, columns))
    return buffer.getvalue()
