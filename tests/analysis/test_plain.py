"""Which way a photograph goes changes nothing of what is read and found."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.datasets import write_yolo
from tests.support.surveys import WORDS

from toeline.analysis import analyze as reading
from toeline.analysis.analyze import How, Read, read_all
from toeline.analysis.checks import survey_quickly
from toeline.analysis.table import PlainRow, survey
from toeline.data.yolo import open_yolo

coarse = st.integers(1, 19).map(lambda n: n / 20)
boxes = st.builds(
    lambda c, x, y, w, h: f"{c} {x} {y} {min(w, 2 * x, 2 - 2 * x)} {min(h, 2 * y, 2 - 2 * y)}",
    st.integers(0, 9),
    coarse,
    coarse,
    *[st.sampled_from([0.02, 0.04, 0.1, 0.2, 0.3, 0.5, 0.8, 0.98, 1])] * 2,
)
odd = st.sampled_from(["8 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9", "5 0.5 0.5 0.1", "5 1.5 0.5 0.1 0.1", "", "5 .95 .5 .2 .1"])


def said(read: Read) -> list[Any]:
    table = read.collector.table()
    columns = (table.split, table.group, table.size_wh, table.photo, table.kind, table.cls, table.line, table.boxes)
    names = (table.splits, table.groups, table.photos, table.label_files)
    return [*names, read.flags, *(np.asarray(c).tolist() for c in columns)]


@settings(max_examples=60)
@given(st.lists(st.lists(st.one_of(boxes, boxes, odd), max_size=4), min_size=1, max_size=5))
def test_both_ways_read_and_find_the_same(photos: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        write_yolo(Path(folder), {"train": {f"L{i % 2}_{i}.jpg": rows for i, rows in enumerate(photos)}})
        opened = open_yolo(Path(folder), WORDS)
        quick = said(read_all(opened, WORDS, How()))
        patch.setattr(reading, "survey_quickly", survey)
        assert quick == said(read_all(opened, WORDS, How()))


def test_photographs_with_nothing_odd_go_the_quick_way(tmp_path: Path) -> None:
    good = ["5 0.5 0.5 0.1 0.8", "0 0.5 0.9 0.9 0.1"]
    rows = {
        "L_1.jpg": good,
        "L_2.jpg": [],
        "L_3.jpg": [*good, "5 0.5 0.5 0.1 0.7"],
        "L_4.jpg": ["5 0.5 0.5 0.8 0.1"],
        "L_5.jpg": ["0 0.5 0.5 0.1 0.8"],
        "L_6.jpg": ["8 0.5 0.5 0.99 0.99"],
        "L_7.jpg": ["8 0.5 0.5 0.04 0.5"],
        "L_8.jpg": ["8 0.1 0.1 0.9 0.1 0.9 0.9"],
    }
    write_yolo(tmp_path, {"train": rows})
    (tmp_path / "train/images/L_9.jpg").write_bytes(b"")
    (tmp_path / "train/labels/L_9.txt").write_text("\n".join(good))
    found = list(survey_quickly(open_yolo(tmp_path, WORDS), WORDS))
    assert [row.name[-7:] for row in found if isinstance(row, PlainRow)] == ["L_1.jpg"]
    assert len(found) == 8
