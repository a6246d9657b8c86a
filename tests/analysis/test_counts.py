"""Counts, boxes, co-occurrence and weights against plain Python and against the libraries that count the same."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.surveys import WORDS, make_row, make_table, rows

from toeline.analysis.analyze import count_findings
from toeline.analysis.counts import co_occurrence, count, heat, measure_boxes, spread, thirds
from toeline.analysis.power import advise, prove
from toeline.analysis.table import SurveyRow

LABELS = [c.name for c in WORDS.classes]


@settings(max_examples=40, deadline=None)
@given(rows())
def test_counts_are_those_of_plain_python(made: list[SurveyRow]) -> None:
    counts = count(make_table(made))
    ground_truths = [(row, t) for row in made for t in row.ground_truths.values()]
    assert {c.name: c.n for c in counts.by_class if c.n} == Counter(t.class_name for _, t in ground_truths)
    assert {c.name: c.n for c in counts.by_type if c.n} == Counter(t.type_name for _, t in ground_truths)
    assert {c.name: c.n for c in counts.by_condition if c.n} == Counter(t.condition for _, t in ground_truths)
    for c in counts.by_class:
        assert c.photos == sum(any(t.class_name == c.name for t in row.ground_truths.values()) for row in made)
        for split, n in c.by_split.items():
            assert n == sum(t.class_name == c.name for row, t in ground_truths if row.split == split)
    for split, part in counts.by_split.items():
        mine = [row for row in made if row.split == split]
        assert (part.photos, part.objects) == (len(mine), sum(len(row.instances) for row in mine))
        assert part.groups == len({row.flight_line for row in mine})
        assert part.empty == sum(not row.instances for row in mine)
        there = {t.class_name for row, t in ground_truths if row.split == split}
        assert set(counts.lacking[split]) == set(LABELS) - there


def test_impossible_cells_are_told_from_empty_ones() -> None:
    counts = count(make_table([make_row("a.jpg", "vegetation: 0 0 9 9", "rock toe damaged: 0 0 9 9")]))
    assert counts.matrix["vegetation"] == {"normal": 1, "blocked": None, "damaged": None}
    assert counts.matrix["rock_toe"] == {"normal": 0, "blocked": None, "damaged": 1}
    assert counts.imbalance == 1
    assert not any("times as frequent" in said.text for said in count_findings(counts))


def test_a_data_set_without_objects_can_be_counted() -> None:
    table = make_table([make_row("a.jpg")])
    counts = count(table)
    assert (counts.objects, counts.imbalance, counts.most) == (0, None, "")
    assert measure_boxes(table).by_type[0].area.n == 0
    assert all(v is None for row in co_occurrence(table).lift for v in row)
    assert advise(table, counts, prove(table, 0.9)).classes[0].weight is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_a_spread_is_that_of_the_standard_library(values: list[float]) -> None:
    found = spread(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert found.sd == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    assert [found.q1, found.median, found.q3] == pytest.approx(quartiles, rel=1e-9, abs=1e-6)
    assert (found.min, found.max) == (min(values), max(values))


@settings(max_examples=30, deadline=None)
@given(rows())
def test_a_heat_map_says_how_many_boxes_cover_the_middle_of_a_cell(made: list[SurveyRow]) -> None:
    shares, cells = make_table(made).shares, 7
    expected = np.zeros((cells, cells))
    for x1, y1, x2, y2 in shares.tolist():
        for row in range(cells):
            for column in range(cells):
                x, y = (column + 0.5) / cells, (row + 0.5) / cells
                expected[row, column] += x1 <= x < x2 and y1 <= y < y2
    assert np.allclose(heat(shares, cells=cells) * max(len(shares), 1), expected)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_every_center_lies_in_one_third(centers: list[float]) -> None:
    found = thirds(np.array(centers, dtype=np.float64))
    assert found.top == sum(c < 1 / 3 for c in centers)
    assert found.bottom == sum(c >= 2 / 3 for c in centers)
    assert found.top + found.middle + found.bottom == len(centers)


def test_small_objects_are_measured_after_the_resize() -> None:
    row = make_row("a.jpg", "slope drain: 10 10 14 90", "vegetation: 0 0 10 10", size_wh=(320, 200))
    by_name = {b.name: b.small for b in measure_boxes(make_table([row])).by_class}
    assert by_name["slope drain"].short_px.median == 8  # 4 pixels of 320, twice as large at 640
    assert (by_name["slope drain"].small, by_name["slope drain"].thin) == (0, 0)
    assert (by_name["vegetation"].small, by_name["vegetation"].n) == (1, 1)


@settings(max_examples=30, deadline=None)
@given(rows(photos=5))
def test_lift_is_the_ratio_of_shares(made: list[SurveyRow]) -> None:
    found = co_occurrence(make_table(made))
    held = [{t.class_name for t in row.ground_truths.values()} for row in made]
    for i, a in enumerate(LABELS):
        for j, b in enumerate(LABELS):
            n, n_a, n_b = (sum(s <= h for h in held) for s in ({a, b}, {a}, {b}))
            assert found.together[i][j] == n
            assert found.lift[i][j] == (pytest.approx(n * len(made) / (n_a * n_b)) if n_a and n_b else None)


@settings(max_examples=30, deadline=None)
@given(rows(photos=6, splits=("train",)))
def test_class_weights_are_those_of_scikit_learn(made: list[SurveyRow]) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    table = make_table(made)
    found = {c.name: c for c in advise(table, count(table), prove(table, 0.9)).classes if c.n}
    ground_truths = [t for row in made for t in row.ground_truths.values()]
    if not ground_truths:
        assert found == {}
        return
    names, kinds = [t.class_name for t in ground_truths], [t.type_name for t in ground_truths]
    expected = dict(
        zip(np.unique(names), compute_class_weight("balanced", classes=np.unique(names), y=names), strict=True)
    )
    by_kind = dict(
        zip(np.unique(kinds), compute_class_weight("balanced", classes=np.unique(kinds), y=kinds), strict=True)
    )
    for name, c in found.items():
        kind = WORDS.class_of(name).type
        inside = [n for n, k in zip(names, kinds, strict=True) if k == kind]
        within = compute_class_weight("balanced", classes=np.unique(inside), y=inside)[
            list(np.unique(inside)).index(name)
        ]
        assert c.weight == pytest.approx(expected[name])
        assert c.type_weight == pytest.approx(by_kind[kind])
        assert c.factorized == pytest.approx(by_kind[kind] * within)
    assert math.fsum(c.n * (c.factorized or 0) for c in found.values()) == pytest.approx(len(ground_truths))
