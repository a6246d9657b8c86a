"""Exports of annotation tools with something odd anywhere in them: read, or refused in words, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from toeline.data.answers import read_answers
from toeline.errors import LabelError

ODD: tuple[Any, ...] = (
    None,
    "",
    "x",
    -1,
    0,
    1e300,
    float("nan"),
    True,
    [],
    [[]],
    {},
    {"a": 1},
    "9" * 400,
    "\ud800",
    10**400,
)
REGION = {
    "id": "0a1b2c3d-1-0",
    "type": "rectanglelabels",
    "original_width": 320,
    "original_height": 240,
    "image_rotation": 0,
    "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 10, "rectanglelabels": ["vegetation"]},
}
POLYGON = {**REGION, "id": "b", "value": {"points": [[1, 2], [3, 4], [5, 9]], "polygonlabels": ["vegetation"]}}
CHOICE = {"id": "b", "type": "choices", "value": {"choices": ["cannot judge"]}}
ANNOTATION = {
    "id": 1,
    "completed_by": {"id": 3},
    "updated_at": "x",
    "lead_time": 2.0,
    "result": [REGION, POLYGON, CHOICE],
}
TASK = {
    "id": 7,
    "data": {"image": "a.jpg", "toeline": "0a1b2c3d-photo1-0"},
    "annotations": [ANNOTATION, {**ANNOTATION, "completed_by": 4, "was_cancelled": True}],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def put(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    changed = deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return changed


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_anything_anywhere_in_a_task_is_read_or_refused(tmp_path: Path, odd: int) -> None:
    for path in places([TASK]):
        (tmp_path / "a.json").write_text(json.dumps(put([TASK], path, ODD[odd])), encoding="utf-8")
        try:
            found = read_answers(tmp_path / "a.json")
        except LabelError:
            continue
        told = [text for pair in (*found.faults, *found.notes) for text in pair]
        told += [r.fault for p in found.photos for r in p.regions]
        assert max(map(len, told), default=0) < 1000
        assert all(r.fault or r.box for p in found.photos for r in p.regions)


IMAGE = """<annotations><meta><task><updated>x</updated></task></meta>
<image id="0" name="a.jpg" width="320" height="240">
<tag label="whole photograph"><attribute name="photo">0a1b2c3d-photo1-0</attribute></tag>
<box label="vegetation" xtl="1" ytl="2" xbr="3" ybr="4" rotation="10"><attribute name="id">b</attribute></box>
<polygon label="vegetation" points="1,2;3,4;5,9"/><ellipse label="vegetation" cx="1" cy="2" rx="3" ry="4"/>
<mask label="vegetation" rle="1" left="1" top="2" width="3" height="4"/></image></annotations>"""


def test_anything_anywhere_in_cvat_is_read_or_refused(tmp_path: Path) -> None:
    chance = random.Random(5)
    for _ in range(400):
        root = ElementTree.fromstring(IMAGE)
        element = chance.choice(list(root.iter()))
        odd = chance.choice(["", "x", "nan", "inf", "-1e300", "1e400", "9" * 400, "1,2", ";", "１２", "true"])
        if element.attrib and chance.random() < 0.8:
            element.set(chance.choice(list(element.attrib)), odd)
        elif chance.random() < 0.5:
            element.text = odd
        else:
            element.tag = chance.choice(["image", "box", "attribute", "points", "annotations"])
        (tmp_path / "a.xml").write_bytes(ElementTree.tostring(root))
        try:
            found = read_answers(tmp_path / "a.xml")
        except LabelError:
            continue
        assert all(r.fault or r.box for p in found.photos for r in p.regions)
