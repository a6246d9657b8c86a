"""Writes an analysis: analysis.json, report.md, report.html, problems.jsonl, run.json, each in one step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from toeline.analysis.analyze import Analysis
from toeline.analysis.checks import CHECKS
from toeline.analysis.duplicates import Kind, Leaks, to_csv
from toeline.analysis.image_quality import Images
from toeline.analysis.table import Flag, Weight
from toeline.core.records import DECIMALS, join_lines
from toeline.core.run_folder import RUN, write_whole
from toeline.core.statistics import Interval
from toeline.report.document import ScorecardPage, Section, render_html, render_markdown

SCHEMA = 1  # of analysis.json; grows when a name goes or changes its meaning
FILES = ("analysis.json", "report.md", "report.html", "problems.jsonl", "leaks.csv", RUN)
FOLDERS = ("gallery",)
OWN = frozenset({*FILES, *FOLDERS})


def save(path: Path, report: Report) -> None:
    """All files. Raises OSError."""
    if report.found.leaks:
        write_whole(path / "leaks.csv", to_csv(report.found.leaks))
    text = json.dumps(record(report.found), ensure_ascii=False, allow_nan=False, indent=1)
    write_whole(path / "analysis.json", text + "\n")
    write_whole(path / "problems.jsonl", join_lines(flag_record(f) for f in report.found.flags))
    write_whole(path / "report.md", render_markdown(report.page))
    write_whole(path / "report.html", render_html(report.page))
    write_whole(path / RUN, json.dumps(report.run, ensure_ascii=False, indent=2) + "\n")


def record(found: Analysis) -> dict[str, Any]:
    """analysis.json as docs/analysis.md defines it."""
    named = ("counts", "boxes", "relations", "together", "proof", "advice")
    return {
        "schema": SCHEMA,
        "target": found.target,
        "findings": plain(found.findings),
        **{name: plain(getattr(found, name)) for name in named},
        "labels": {"checks": checks_record(found.flags)},
        "images": images_record(found.images) if found.images else None,
        "leaks": leaks_record(found.leaks) if found.leaks else None,
    }


def images_record(images: Images) -> dict[str, Any]:
    """Both conclusions in words, then every number."""
    return {"verdict": images.verdict, "stretching": images.stretching, **plain(images)}


def leaks_record(leaks: Leaks) -> dict[str, Any]:
    """The verdict, counts by kind, and the flight lines in several splits; the pairs are in leaks.csv."""
    counts = {
        k.value: {"across": leaks.count(k, crossing=True), "within": leaks.count(k, crossing=False)} for k in Kind
    }
    shared = {s.group: dict(s.photographs) for s in leaks.shared}
    known = {"with_time": leaks.with_time, "with_place": leaks.with_pose}
    return {"verdict": leaks.verdict, "pairs": counts, "shared_flight_lines": shared, **known}


def checks_record(flags: Iterable[Flag]) -> list[dict[str, Any]]:
    """Every check with how often it was found, those that found nothing too."""
    found = [f.check for f in flags]
    return [
        {"check": c.name, "weight": c.weight.value, "found": found.count(c.name), "why": c.why} for c in CHECKS.values()
    ]


def flag_record(flag: Flag) -> dict[str, Any]:
    """A flag as problems.jsonl holds it: boxes as xyxy in pixels."""
    boxes = [[round(v, 2) for v in box.xyxy] for box in flag.boxes]
    return {**{k: v for k, v in asdict(flag).items() if k != "boxes"}, "weight": flag.weight.value, "boxes": boxes}


KEYS = {"majority_baseline": "floor"}  # fields that analysis.json calls by an older name


def plain(value: Any) -> Any:
    """Records as JSON: dataclasses by their field names, intervals by low and high, numbers to six digits."""
    if isinstance(value, Interval):
        return {"low": round(value.low, DECIMALS), "high": round(value.high, DECIMALS)}
    if is_dataclass(value) and not isinstance(value, type):
        return {KEYS.get(f.name, f.name): plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return round(value, DECIMALS) if isinstance(value, float) else value


@dataclass(frozen=True)
class Report:
    """What both forms of the report are made of. `gallery` is a link, or empty."""

    found: Analysis
    sections: Sequence[Section]
    run: Mapping[str, Any]
    title: str
    gallery: str = ""

    @property
    def page(self) -> ScorecardPage:
        """As a document."""
        return ScorecardPage(
            title=self.title,
            headline=" ".join(self.run["settings"]["data"].split()),
            sections=self.sections,
            run=self.run,
            tiles=_tiles(self.found),
            files=("report.md", "analysis.json", "problems.jsonl"),
            problems=self.found.problems,
            points=self.found.findings,
            links=[(self.gallery, "Gallery")] if self.gallery else [],
        )


def _tiles(found: Analysis) -> list[tuple[str, str]]:
    faults = sum(f.weight is Weight.FAULT for f in found.flags)
    return [
        (f"{found.counts.photos:,}", "photographs"),
        (f"{found.counts.objects:,}", "objects"),
        (f"{len(found.table.splits)}", "splits" if len(found.table.splits) != 1 else "split"),
        (f"{len(found.table.groups):,}", "flight lines"),
        (f"{faults:,}", "faults" if faults != 1 else "fault"),
        (f"{len(found.flags) - faults:,}", "to look at"),
    ]
