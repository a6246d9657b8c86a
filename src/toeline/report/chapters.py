"""A run read back from its folder, a few photographs at a time, in the order in which they were asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.finding import Finding
from toeline.core.lines import each_line, finding_from
from toeline.errors import OutputError
from toeline.report.folder import FINDINGS, PROGRESS


@dataclass(frozen=True)
class Chapter:
    """Some photographs of a run: their progress records, and their findings in the same order."""

    photos: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Totals:
    """What some photographs come to. `by_kind` counts (type, condition), `review_by_kind` findings to review.

    `immediate` cannot wait; `unsure` are to be reviewed although no work is asked for there.
    `seconds` were spent on them by all threads together.
    """

    photographs: int = 0
    failed: int = 0
    findings: int = 0
    review: int = 0
    immediate: int = 0
    unsure: int = 0
    seconds: float = 0.0
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    review_by_kind: Counter[str] = field(default_factory=Counter)
    by_severity: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, photos: Iterable[Mapping[str, Any]], findings: Sequence[Finding]) -> Totals:
        """Counted from progress records and findings."""
        seen = list(photos)
        review = [f.kind for f in findings if f.verdict.review]
        return cls(
            photographs=len(seen),
            failed=sum(bool(p["failed"]) for p in seen),
            findings=len(findings),
            review=len(review),
            immediate=sum(bool(f.grade.immediate) for f in findings),
            unsure=sum(bool(f.verdict.review) and not f.grade.rank for f in findings),
            seconds=sum(p.get("seconds", 0.0) for p in seen),
            by_kind=Counter((f.kind, f.verdict.condition) for f in findings),
            review_by_kind=Counter(review),
            by_severity=Counter(f.grade.severity for f in findings),
        )

    def __add__(self, other: Totals) -> Totals:
        """Both together.

        >>> (Totals(2, findings=3) + Totals(1, failed=1)).photographs
        3
        """
        return Totals(**{name: value + vars(other)[name] for name, value in vars(self).items()})

    def of_condition(self, name: str) -> int:
        """Findings of one condition, whatever their type."""
        return sum(n for (_, condition), n in self.by_kind.items() if condition == name)


def chapters(folder: Path, order: Sequence[str], size: int) -> Iterator[Chapter]:
    """All photographs that are done, `size` at a time: in the order given, then those that it does not name.

    The lines of a photograph lie together in findings.jsonl, and photographs there are in the order of progress.jsonl
    (report/folder.py), so only where each begins is kept in memory. Raises OutputError for a folder that was edited.
    """
    if not (folder / PROGRESS).exists():
        return
    places = _places(folder)
    names = [name for name in dict.fromkeys((*order, *places)) if name in places]
    with (folder / PROGRESS).open("rb") as progress, (folder / FINDINGS).open("rb") as findings:
        for start in range(0, len(names), size):
            photos, found = [], []
            for name in names[start : start + size]:
                in_progress, in_findings = places[name]
                progress.seek(in_progress)
                findings.seek(in_findings)
                photos.append(json.loads(progress.readline()))
                found += [_finding(findings.readline(), name, folder) for _ in range(photos[-1]["findings"])]
            yield Chapter(photos, found)


def _places(folder: Path) -> dict[str, tuple[int, int]]:
    """Where each photograph begins: bytes from the start of progress.jsonl and of findings.jsonl."""
    places: dict[str, tuple[int, int]] = {}
    in_progress = in_findings = 0
    with (folder / FINDINGS).open("rb") as findings:
        for line, record in each_line(folder / PROGRESS):
            places[record["photo"]] = in_progress, in_findings
            in_progress += len(line)
            in_findings += sum(len(findings.readline()) for _ in range(record["findings"]))
    return places


def _finding(line: bytes, photo: str, folder: Path) -> Finding:
    found = finding_from(json.loads(line or b"{}"))
    if found.photo != photo:
        raise OutputError(
            f"{folder / FINDINGS}: {photo} is not where progress.jsonl has it, so one of them was edited. Choose a new "
            f"folder with --out."
        )
    return found
