"""The quick way through a data set: photographs with plain labels that no check has anything to say about.

All others go the long way, through survey.py and checks.py, which name every fault by file and line. Which way a
photograph goes changes nothing of what is read, by test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.data.analyze.checks import CLOSE, LEAST_SIDE_PX, LIES, LONG, WHOLE
from toeline.data.analyze.flag import Flag
from toeline.data.analyze.survey import PlainRow, Row, below, row_of
from toeline.data.class_names import Meanings, meanings
from toeline.data.images import photo_size
from toeline.data.plain_labels import PlainLabels, apart, read_plain
from toeline.data.yolo import Entry, YoloSet, flight_line
from toeline.errors import PhotoError


def survey_quickly(
    opened: YoloSet,
    taxonomy: Taxonomy,
    *,
    group_of: Callable[[Path], str] = flight_line,
    unread: Callable[[Flag], None] = lambda _: None,
) -> Iterator[Row | PlainRow]:
    """As survey.survey, photographs with plain labels as such."""
    meaning = meanings(opened.names, taxonomy)
    for split, entries in opened.splits.items():
        for entry in entries:
            plain = _plain_row(below(opened.root, entry.photo), split, entry, meaning, group_of)
            row = plain or row_of(entry, split, opened, taxonomy, meaning, group_of=group_of, unread=unread)
            if row:
                yield row


def _plain_row(
    name: str, split: str, entry: Entry, meaning: Meanings, group_of: Callable[[Path], str]
) -> PlainRow | None:
    if entry.labels is None:
        return None
    try:
        size = photo_size(entry.photo)
    except PhotoError:
        return None
    labels = read_plain(entry.labels, size, meaning.kinds)
    if labels is None or not nothing_odd(labels, meaning, size):
        return None
    return PlainRow(name, split, entry, size, group_of(entry.photo), labels)


def nothing_odd(labels: PlainLabels, meaning: Meanings, size_wh: tuple[int, int]) -> bool:
    """Whether no check of checks.py would say anything of these boxes; when in doubt False."""
    x1, y1, x2, y2 = labels.boxes.T
    wide, high = x2 - x1, y2 - y1
    lies = [LIES.get(meaning.kinds[i], "") for i in labels.class_ids]
    tall, flat = (np.array([lie == way for lie in lies]) for way in ("tall", "wide"))
    odd = (
        min(wide.min(), high.min()) < LEAST_SIDE_PX
        or (wide * high).max() >= WHOLE * (size_wh[0] * size_wh[1])
        or (tall & (wide >= LONG * high)).any()
        or (flat & (high >= LONG * wide)).any()
    )
    return not odd and apart(labels.boxes, CLOSE)
