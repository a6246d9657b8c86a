"""Counted relations against `relate` and `nearest`, one by one."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from tests.support.surveys import make_row, make_table, rows

from toeline.analysis.relations import measure_relations
from toeline.analysis.table import SurveyRow
from toeline.core.statistics import wilson
from toeline.prompts.relations import gap, nearest, relate


@settings(max_examples=30, deadline=None)
@given(rows(instances=8))
def test_counts_and_distances_are_those_of_relate(made: list[SurveyRow]) -> None:
    held, near_held = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    gaps, near_gaps = defaultdict[tuple[str, str], list[float]](list), defaultdict[tuple[str, str], list[float]](list)
    for row in made:
        scene, kinds = row.scene, {t.id: t.type_name for t in row.instances}
        said = defaultdict[tuple[str, str], list[str]](list)
        for r in relate(scene):
            said[r.subject, r.other].append(r.name)
        for a in row.instances:
            for b in (b for b in row.instances if b.id != a.id):
                gaps[a.type_name, b.type_name].append(gap(a.box, b.box, diagonal_px=scene.diagonal))
                held.update((a.type_name, b.type_name, name) for name in said[a.id, b.id])
            for kind in set(kinds.values()):
                if b2 := nearest(scene, a.id, kind):
                    near_gaps[a.type_name, kind].append(gap(a.box, b2.box, diagonal_px=scene.diagonal))
                    near_held.update((a.type_name, kind, name) for name in said[a.id, b2.id])
    found = {(p.subject, p.other): p for p in measure_relations(make_table(made)).pairs}
    assert set(found) == set(gaps)
    for key, p in found.items():
        assert {n: h.n for n, h in p.all.items() if h.n} == {n: c for (*k, n), c in held.items() if tuple(k) == key}
        assert {n: h.n for n, h in p.nearest.items() if h.n} == {
            n: c for (*k, n), c in near_held.items() if tuple(k) == key
        }
        for distance, values in ((p.distance, gaps[key]), (p.nearest_distance, near_gaps[key])):
            assert (distance.n, distance.touching) == (len(values), sum(v == 0 for v in values))
            assert (distance.mean, distance.max) == pytest.approx((sum(values) / len(values), max(values)))
            assert distance.median == pytest.approx(sorted(values)[(len(values) - 1) // 2], abs=0.0006)


def test_each_thing_is_paired_with_the_nearest_and_counterexamples_are_named() -> None:
    two_berms = make_row(
        "berms.jpg",
        "toe drain: 0 30 100 35",
        "slope drain: 40 5 45 31",
        "toe drain: 0 90 100 95",
        "slope drain: 60 50 65 91",
        "rock toe: 0 80 50 89",
    )
    short = make_row("short.jpg", "slope drain: 40 10 45 40", "toe drain: 0 80 100 90", "rock toe: 0 92 40 99")
    alone = make_row("alone.jpg", "slope drain: 40 10 45 40", "rock toe: 0 0 9 9")
    drains, stones = measure_relations(make_table([two_berms, short, alone])).named
    assert (drains.held.n, drains.held.of, drains.alone) == (2, 3, 1)
    assert drains.held.interval == wilson(2, 3)
    (wrong,) = drains.counterexamples
    assert (wrong.file, wrong.line, wrong.other_line, wrong.turned_round) == ("train/labels/short.txt", 1, 2, False)
    assert wrong.why == "the slope drain is above the nearest toe drain, 0.283 of the diagonal away"
    assert (stones.held.n, stones.held.of, stones.alone) == (1, 2, 1)
    assert [(c.line, c.other_line) for c in stones.counterexamples] == [(3, 2)]
    assert "below and next to" in stones.counterexamples[0].why


def test_a_slope_drain_that_leaves_the_picture_is_said_to() -> None:
    row = make_row("a.jpg", "toe drain: 0 10 100 20", "slope drain: 40 40 45 100")
    (wrong,) = measure_relations(make_table([row])).named[0].counterexamples
    assert "runs out of the picture at the bottom" in wrong.why
    assert not wrong.turned_round
