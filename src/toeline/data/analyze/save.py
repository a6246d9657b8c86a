"""Writes an analysis: analysis.json, report.md, report.html, problems.jsonl, run.json, each in one step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from toeline.core.interval import Interval
from toeline.core.lines import DECIMALS, join_lines
from toeline.data.analyze.analysis import Analysis
from toeline.data.analyze.checks import CHECKS
from toeline.data.analyze.flag import Flag
from toeline.data.analyze.page import Report, render_html, render_markdown
from toeline.data.yolo import YoloSet
from toeline.errors import OutputError
from toeline.report.folder import RUN, write_whole

SCHEMA = 1  # of analysis.json; grows when a name goes or changes its meaning
FILES = ("analysis.json", "report.md", "report.html", "problems.jsonl", "leaks.csv", RUN)
FOLDERS = ("gallery",)
OWN = frozenset({*FILES, *FOLDERS})


def require_apart(out: Path, opened: YoloSet) -> None:
    """Raise OutputError when `out` lies among the photographs: its pictures would be taken for data the next time."""
    folders = {entry.photo.parent.resolve() for entries in opened.splits.values() for entry in entries}
    if inside := next((f for f in folders if out.resolve().is_relative_to(f)), None):
        raise OutputError(f"{out}: lies in {inside}, among the photographs of the data set. Choose another --out.")


def save(path: Path, report: Report, more: Mapping[str, Any]) -> None:
    """All files. `more` are sections of analysis.json that labels alone do not give. Raises OSError."""
    said = {**record(report.found), **{name: plain(value) for name, value in more.items()}}
    text = json.dumps(said, ensure_ascii=False, allow_nan=False, indent=1)
    write_whole(path / "analysis.json", text + "\n")
    write_whole(path / "problems.jsonl", join_lines(flag_record(f) for f in report.found.flags))
    write_whole(path / "report.md", render_markdown(report))
    write_whole(path / "report.html", render_html(report))
    write_whole(path / RUN, json.dumps(report.run, ensure_ascii=False, indent=2) + "\n")


def record(found: Analysis) -> dict[str, Any]:
    """analysis.json as docs/analysis.md defines it, without what needs pixels."""
    named = ("counts", "boxes", "relations", "together", "proof", "advice")
    return {
        "schema": SCHEMA,
        "target": found.target,
        "findings": plain(found.findings),
        **{name: plain(getattr(found, name)) for name in named},
        "labels": {"checks": checks_record(found.flags)},
    }


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


def plain(value: Any) -> Any:
    """Records as JSON: dataclasses by their field names, intervals by low and high, numbers to six digits."""
    if isinstance(value, Interval):
        return {"low": round(value.low, DECIMALS), "high": round(value.high, DECIMALS)}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
