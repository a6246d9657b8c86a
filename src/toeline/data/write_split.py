"""Writes a planned split as a YOLO data set, reads it again, and says what it came to in split.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toeline.data.balance import NEAR
from toeline.data.groups import grouping, on_several_sides
from toeline.data.label_lines import Problem
from toeline.data.split import Counted, Plan
from toeline.data.write_yolo import carry, data_yaml, require_apart, staged
from toeline.errors import OutputError

NOTE = "split.json"
SCHEMA = 1
Record = Mapping[str, Any]


def write_split(plan: Plan, out: Path, *, step: Callable[[Sequence[Problem]], None] = lambda _: None) -> Record:
    """Write the data set and return what split.json holds. Raises OutputError for a folder that holds something else.

    `step` is called for every photograph. A folder that holds the same split already is left as it is.
    """
    run = {**asdict(plan.run), "carry": plan.run.carry.value}
    settings = {"schema": SCHEMA, **run, "data_sha256": plan.data_sha256}
    require_apart(out, (c.place.entry.photo.parent for its in plan.groups.values() for c in its))
    with staged(out, NOTE, settings) as stage:
        if stage is None:
            return {**json.loads((out / NOTE).read_text(encoding="utf-8")), "already": True}
        carried: Counter[str] = Counter()
        for part in plan.run.parts:
            for counted in plan.photos(part):
                carried[_write_photo(counted, stage / part, plan)] += 1
                step([])
        names = plan.data.names
        (stage / "data.yaml").write_text(data_yaml(list(plan.run.parts), names), encoding="utf-8")
        record = {"settings": settings, **describe(plan), "proof": _proof(plan, stage), "carried": dict(carried)}
        (stage / NOTE).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**record, "already": False}


def _write_photo(counted: Counted, folder: Path, plan: Plan) -> str:
    """The photograph linked or copied; the labels always copied, so that mending one does not change the source."""
    place = counted.place
    how = carry(place.entry.photo, folder / "images" / place.name, plan.run.carry)
    if place.entry.labels is not None:
        label = folder / "labels" / place.label
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(place.entry.labels.read_bytes())
    return how


def _proof(plan: Plan, stage: Path) -> dict[str, Any]:
    """Computed from the files that were written. Raises OutputError when they are not what was planned."""
    written = {part: sorted(p for p in (stage / part / "images").rglob("*") if p.is_file()) for part in plan.run.parts}
    shared = on_several_sides(written, grouping(plan.run.by))
    counts = {part: len(photos) for part, photos in written.items()}
    if any(shared.values()) or counts != {part: len(plan.photos(part)) for part in plan.run.parts}:
        raise OutputError(f"{stage}: what was written is not what was planned. Delete it, and run the command again.")
    return {"read_from": "the files that were written", "photographs": counts, "on_several_sides": shared}


def describe(plan: Plan) -> dict[str, Any]:
    """Groups, sizes and class shares (0 to 1) of every part against the whole, and what could not be met."""
    everything = [c for its in plan.groups.values() for c in its]
    whole = _classes(everything)
    parts = {part: _part(plan, part, whole, len(everything)) for part in plan.run.parts}
    return {
        "photographs": len(everything),
        "objects": whole.total(),
        "groups": len(plan.groups),
        "met": plan.dealt.met,
        "proved_impossible": plan.dealt.proved,
        "parts": parts,
        "beyond": [
            {"part": part, **row, "why": _why(plan, row["id"])}
            for part, facts in parts.items()
            for row in facts["classes"]
            if abs(row["off"]) > NEAR + 1e-9
        ],
        "lacking": [
            {"part": part, "id": row["id"], "class": row["class"], "why": _why(plan, row["id"])}
            for part, facts in parts.items()
            for row in facts["classes"]
            if row["whole"] and not row["objects"]
        ],
        "problems": [{"file": str(p.file), "line": p.line, "what": p.what} for p in plan.problems],
    }


def _classes(photos: Sequence[Counted]) -> Counter[int]:
    return sum((Counter(c.classes) for c in photos), Counter[int]())


def _part(plan: Plan, part: str, whole: Counter[int], photographs: int) -> dict[str, Any]:
    its = plan.photos(part)
    classes = _classes(its)
    rows = []
    for i, name in sorted(plan.data.names.items()):
        share, of_whole = classes[i] / max(classes.total(), 1), whole[i] / max(whole.total(), 1)
        off = round(share - of_whole, 6)
        rows.append(
            {
                "id": i,
                "class": name,
                "objects": classes[i],
                "share": round(share, 6),
                "whole": round(of_whole, 6),
                "off": off,
            }
        )
    return {
        "asked": plan.run.parts[part],
        "share": round(len(its) / photographs, 6),
        "photographs": len(its),
        "objects": classes.total(),
        "groups": list(plan.groups_of[part]),
        "classes": rows,
    }


def _why(plan: Plan, class_id: int) -> str:
    """Where the objects of a class stand, which is what decides how evenly they can be dealt out."""
    held = {group: _classes(its)[class_id] for group, its in plan.groups.items()}
    total, most = sum(held.values()), max(held, key=lambda g: held[g])
    return (
        f"its {total} objects stand in {sum(n > 0 for n in held.values())} of {len(held)} groups, {held[most]} of them "
        f"({held[most] / max(total, 1):.0%}) in {most}"
    )
