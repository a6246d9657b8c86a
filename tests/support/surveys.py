"""Rows and tables from words, for the tests of the analysis: no files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import strategies as st

from toeline.analysis.table import Collector, ObjectTable, SurveyRow
from toeline.core.box import Box
from toeline.core.ground_truth import GroundTruth
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import Entry

WORDS = Taxonomy.load()
ROOT = Path("set")


def make_row(
    name: str, *instances: str, split: str = "train", size_wh: tuple[int, int] = (100, 100), group: str = ""
) -> SurveyRow:
    """make_row("a.jpg", "rock toe damaged: 10 20 30 40") is a photograph with one thing; corners in pixels."""
    found, ground_truths = [], {}
    for number, instance in enumerate(instances, start=1):
        label, corners = instance.split(":")
        c = WORDS.class_of(label)
        found.append(Instance(str(number), c.type, Box(*map(float, corners.split()))))
        ground_truths[str(number)] = GroundTruth(str(number), c.name, c.type, c.condition)
    photo = ROOT / split / "images" / name
    entry = Entry(photo, ROOT / split / "labels" / f"{photo.stem}.txt", split)
    lines = {t.id: int(t.id) for t in found}
    return SurveyRow(
        f"{split}/images/{name}", split, entry, size_wh, group or photo.stem, tuple(found), ground_truths, lines
    )


def make_table(rows: Iterable[SurveyRow]) -> ObjectTable:
    collector = Collector(WORDS, ROOT)
    for row in rows:
        collector.add(row)
    return collector.table()


@st.composite
def rows(
    draw: st.DrawFn, *, photos: int = 4, instances: int = 12, splits: Sequence[str] = ("train", "valid")
) -> list[SurveyRow]:
    """A few photographs on a coarse grid, so that touching, equal and nested boxes are common."""
    made = []
    for number in range(draw(st.integers(1, photos))):
        size = draw(st.tuples(st.integers(8, 40), st.integers(8, 40)))
        boxes = draw(st.lists(_boxes(size), max_size=instances))
        labels = [draw(st.sampled_from([c.name for c in WORDS.classes])) for _ in boxes]
        texts = [f"{label}: {x1} {y1} {x2} {y2}" for label, (x1, y1, x2, y2) in zip(labels, boxes, strict=True)]
        split, group = draw(st.sampled_from(splits)), draw(st.sampled_from("AB"))
        made.append(make_row(f"p{number}.jpg", *texts, split=split, size_wh=size, group=group))
    return made


@st.composite
def _boxes(draw: st.DrawFn, size: tuple[int, int]) -> tuple[float, float, float, float]:
    quarters = [draw(st.tuples(st.integers(0, 4 * side - 1), st.integers(0, 2 * side))) for side in size]
    (x1, w), (y1, h) = quarters
    return x1 / 4, y1 / 4, min((x1 + w) / 4, size[0]), min((y1 + h) / 4, size[1])
