"""Records to and from JSON lines. A torn last line (its writer was killed) is dropped, any other is a fault."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Finding, Problem, Verdict, kinds_of
from toeline.core.geo import geo_position_from, geo_position_record
from toeline.core.reading import number, numbers, word
from toeline.core.scene import Alternative, Relation
from toeline.core.severity import UNGRADED, Grade
from toeline.core.words import cut
from toeline.errors import OutputError

DECIMALS = 6  # of probabilities and distances; a hundredth of a pixel is enough for boxes


ENCODED = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def to_line(record: Mapping[str, Any]) -> str:
    """One record as one line, with its line end. Raises ValueError for NaN, which is no JSON.

    >>> to_line({"photo": "a b.jpg", "findings": 2})
    '{"photo": "a b.jpg", "findings": 2}\\n'
    """
    line = ENCODED(record) + "\n"
    # A file's name that is no UTF-8 holds lone surrogates: these, and only these, become \udc.. escapes of JSON.
    return line if line.isascii() else line.encode("utf-8", "backslashreplace").decode("utf-8")


def each_bytes(path: Path) -> Iterator[bytes]:
    """Every whole line of a file as it is, with its line end; an absent file has none."""
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n") and line.strip())


def _parse(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)  # thousands of lines of ours: without the limits that core/reading.py has for others
    except (ValueError, RecursionError) as why:
        raise OutputError(
            f"{path.name}, line {number}: not a JSON record ({cut(str(why))}). Remove the line, or use another output "
            f"folder."
        ) from None
    if not isinstance(record, dict):
        raise OutputError(f"{path.name}, line {number}: a record was expected, not {line[:40]!r}. Remove the line.")
    return record


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a file; an absent file has none. Raises OutputError."""
    return [record for _, record in each_line(path)]


def each_line(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """As read_lines, one line at a time: its bytes with the line end, and the record. The file is never in memory."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and line.strip():  # without a line end it was never finished, even if it parses
                text = line.decode("utf-8", errors="replace").removeprefix("\ufeff")  # quicker than utf-8-sig
                yield line, _parse(text, path, number)


def join_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """The text of a whole JSON-lines file."""
    return "".join(to_line(record) for record in records)


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as findings.jsonl holds it: boxes in pixels, probabilities 0 to 1, distances in image diagonals."""
    verdict, second = finding.verdict, finding.verdict.second
    return {
        "photo": finding.photo,
        "id": finding.instance_id,
        "type": finding.type_name,
        "box": [round(v, 2) for v in finding.box.xyxy],
        "detector_confidence": round(finding.score, DECIMALS),
        "detector_class": finding.detector_class,
        "detector_others": [
            {"type": g.type_name, "class": g.class_name, "confidence": round(g.score, DECIMALS)}
            for g in finding.detector_others
        ],
        "class": verdict.class_name,
        "condition": verdict.condition,
        "probability": round(verdict.probability, DECIMALS),
        "probabilities": {name: round(p, DECIMALS) for name, p in verdict.probabilities.items()},
        **({"uncalibrated": _rounded(verdict.uncalibrated)} if verdict.uncalibrated else {}),
        "second": {"class": second[0], "probability": round(second[1], DECIMALS)} if second else None,
        "asked": verdict.asked,
        "review": bool(verdict.review),
        "review_reason": verdict.review,
        "relations": [
            {"name": r.name, "other": r.other, "distance": round(r.distance, DECIMALS)} for r in finding.relations
        ],
        "polygon": [[round(x, 2), round(y, 2)] for x, y in finding.polygon],
        **_grade_record(finding.grade),
        **(geo_position_record(finding.geo_position) if finding.geo_position else {}),
    }


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Fine enough to be calibrated anew: a temperature under 1 makes much of small differences."""
    return {name: round(p, 9) for name, p in probabilities.items()}


def _grade_record(grade: Grade) -> dict[str, Any]:
    """Nothing where the taxonomy grades nothing."""
    if not grade.severity:
        return {}
    return {
        "severity": grade.severity,
        "severity_rank": grade.rank,
        "action": grade.action,
        "immediate": bool(grade.immediate),
        "immediate_reason": grade.immediate,
        **({"withheld_reason": grade.withheld} if grade.withheld else {}),
    }


def finding_from(record: Mapping[str, Any]) -> Finding:
    """The finding of one line of findings.jsonl. Raises OutputError for a line that lacks something."""
    try:
        polygon = tuple((number(x, "polygon"), number(y, "polygon")) for x, y in record.get("polygon", ()))
        if polygon:
            Box.around(polygon)  # raises for corners that are nowhere
        return Finding(
            photo=word(record["photo"], "photo"),
            instance_id=word(record["id"], "id"),
            type_name=word(record["type"], "type"),
            box=Box(*(number(value, "box") for value in record["box"])),
            score=_share(record, "detector_confidence"),
            verdict=_verdict_from(record),
            relations=tuple(
                Relation(
                    record["id"],
                    word(r["name"], "relation"),
                    word(r["other"], "other"),
                    number(r["distance"], "distance", low=0),
                )
                for r in record["relations"]
            ),
            polygon=polygon,
            detector_class=word(
                record.get("detector_class", ""), "detector_class"
            ),  # runs of earlier versions have neither
            detector_others=tuple(
                Alternative(word(g["type"], "type"), _share(g, "confidence"), word(g["class"], "class"))
                for g in record.get("detector_others", ())
            ),
            grade=_grade_from(record),
            geo_position=geo_position_from(record),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        name = cut(f"{record.get('photo', '?')} {record.get('id', '?')}")
        what = f"{why} is missing" if isinstance(why, KeyError) else cut(str(why), 200)
        raise OutputError(
            f"finding {name}: {what}. Its line in findings.jsonl is of the wrong form: inspect the photographs again."
        ) from None


def _share(record: Mapping[str, Any], name: str) -> float:
    """A probability or a confidence."""
    return number(record[name], name, low=0, high=1)


def _grade_from(record: Mapping[str, Any]) -> Grade:
    if "severity" not in record:
        return UNGRADED
    severity, action, reason = (word(record[name], name) for name in ("severity", "action", "immediate_reason"))
    rank = int(number(record["severity_rank"], "severity_rank", low=0, high=1000))
    return Grade(severity, rank, action, reason, word(record.get("withheld_reason", ""), "withheld_reason"))


def _verdict_from(record: Mapping[str, Any]) -> Verdict:
    return Verdict(
        class_name=word(record["class"], "class"),
        condition=word(record["condition"], "condition"),
        probability=_share(record, "probability"),
        probabilities=numbers(record["probabilities"], "probabilities", low=0, high=1),
        asked=bool(record["asked"]),
        review=word(record["review_reason"], "review_reason"),
        uncalibrated=numbers(record.get("uncalibrated", {}), "uncalibrated", low=0, high=1),
    )


def problem_record(problem: Problem) -> dict[str, Any]:
    """A problem as errors.jsonl holds it; `note` stands there only where it is one."""
    record = asdict(problem)
    return record if problem.note else {k: v for k, v in record.items() if k != "note"}


def problem_from(record: Mapping[str, Any]) -> Problem:
    """The problem of one line of errors.jsonl."""
    said = {name: record.get(name) for name in ("photo", "file", "what", "todo", "line")}
    return Problem(**said, note=bool(record.get("note")))  # type: ignore[arg-type]


def counted(problems: Iterable[Problem]) -> dict[str, Any]:
    """Problems and notes as run.json holds them: how many, and in words."""
    told = kinds_of(problems)
    number = {note: sum(kind.count for kind in told if kind.note == note) for note in (False, True)}
    return {"counts": {"problems": number[False], "notes": number[True]}, "told": [asdict(kind) for kind in told]}


def told_record(problems: Iterable[Problem]) -> dict[str, Any]:
    """Problems, and what was left out or assumed, as the records of data sets hold them."""
    told = [(p.note, {"file": p.file, "line": p.line, "what": p.what}) for p in problems]
    return {name: [row for is_note, row in told if is_note == note] for name, note in TOLD.items()}


def told_from(record: Mapping[str, Any]) -> list[Problem]:
    """The problems and notes of such a record."""
    return [
        Problem("", row["file"], row["what"], line=row["line"], note=note)
        for name, note in TOLD.items()
        for row in record.get(name, ())
    ]


TOLD = {"problems": False, "left_out": True}
