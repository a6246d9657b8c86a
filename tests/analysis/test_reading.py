"""Blocks and processes change nothing of what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.datasets import write_yolo
from tests.support.surveys import WORDS

from toeline.analysis import analyze as reading
from toeline.analysis.analyze import Crew, How, Read, read_all
from toeline.data.yolo import YoloSet, open_yolo


@pytest.fixture
def opened(tmp_path: Path) -> YoloSet:
    rows = ["5 0.5 0.5 0.1 0.8", "77 0 0 0 0", "8 0.2 0.2 0.1 0.1"]
    train = {f"L{i % 3}_{i}.jpg": rows[: i % 4] for i in range(9)}
    write_yolo(tmp_path, {"train": train, "valid": {"L1_90.jpg": rows, "L9_1.jpg": []}})
    (tmp_path / "train/images/L0_3.jpg").write_bytes(b"")
    return open_yolo(tmp_path, WORDS)


def said(read: Read) -> list[Any]:
    table = read.collector.table()
    columns = (table.split, table.group, table.size_wh, table.photo, table.kind, table.cls, table.line, table.boxes)
    names = (table.splits, table.groups, table.photos, table.label_files)
    return [*names, read.flags, read.seen, *(np.asarray(c).tolist() for c in columns)]


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_and_processes_change_nothing(opened: YoloSet, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    whole = said(read_all(opened, WORDS, How(pixels=True)))
    monkeypatch.setattr(reading, "PICTURES_AT_ONCE", 2)
    monkeypatch.setattr(reading, "LEAST_FOR_PROCESSES", 1)
    steps: list[object] = []
    with Crew(workers) as crew:
        parts = said(read_all(opened, WORDS, How(pixels=True), crew=crew, step=steps.append))
        assert crew.at_work == (workers > 1)
    assert parts == whole
    assert len(steps) == 11
    assert whole[1] == ("L0", "L1", "L2", "L9")
    assert len(whole[5]) == 10  # photographs that were seen: all but the one that is empty
