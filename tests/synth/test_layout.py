"""Plans are sampled without painting, so their frequencies can be counted over many scenes."""

from functools import cache

import numpy as np
import pytest

from toeline.synth.layout import MOST_OBJECTS, rasterize, sample_plan
from toeline.synth.placement import CAN_SHOW, SHORTEST_FAULT
from toeline.synth.plan import CANVAS, CLASS_IDS, REAL_COUNTS, Bend, Channel, ScenePlan, area

SCENES = 300


@cache
def plans() -> tuple[ScenePlan, ...]:
    return tuple(sample_plan(seed) for seed in range(50_000, 50_000 + SCENES))


def counts() -> np.ndarray:
    found = np.zeros(len(REAL_COUNTS))
    for plan in plans():
        for item, labeled in zip(plan.items, plan.labeled, strict=True):
            found[CLASS_IDS[item.kind, item.condition]] += labeled
    return found


def test_every_scene_has_1_to_18_labeled_objects() -> None:
    per_scene = [sum(plan.labeled) for plan in plans()]
    assert min(per_scene) >= 1
    assert max(per_scene) <= MOST_OBJECTS
    assert np.mean(per_scene) == pytest.approx(5.1, rel=0.12)


def test_classes_are_as_frequent_as_in_the_real_set() -> None:
    found, real = counts(), np.array(REAL_COUNTS)
    shares = (found / found.sum()) / (real / real.sum())
    # 300 scenes hold about 55 of the rarest class, in clusters: a deviation of some 15 % is chance
    assert np.all(shares > 0.6)
    assert np.all(shares < 1.5)


@pytest.mark.parametrize("kind", ["toe_drain", "rock_toe", "slope_drain", "vegetation"])
def test_types_are_as_frequent_as_in_the_real_set(kind: str) -> None:
    ids = [number for (name, _), number in CLASS_IDS.items() if name == kind]
    share = counts()[ids].sum() / counts().sum()
    assert share == pytest.approx(np.array(REAL_COUNTS)[ids].sum() / sum(REAL_COUNTS), rel=0.2)


def test_about_half_of_the_boxes_touch_the_border() -> None:
    corners = [np.asarray(item.polygon) for plan in plans() for item in plan.items]
    assert 0.35 < np.mean([c.min() <= 1 or c.max() >= CANVAS - 1 for c in corners]) < 0.65


def test_polygons_lie_in_the_frame_and_have_an_area() -> None:
    for plan in plans():
        for item in plan.items:
            corners = np.asarray(item.polygon)
            assert len(corners) >= 3
            assert corners.min() >= 0
            assert corners.max() <= CANVAS
            assert area(item.polygon) > 0


def test_a_fault_is_long_enough_to_be_seen_and_lies_on_its_channel() -> None:
    channels = [item for plan in plans() for item in plan.items if isinstance(item, Channel)]
    for item in channels:
        long = len(item.middle)
        assert bool(item.faults) == (item.condition != "normal")
        assert not item.faults or long >= CAN_SHOW
        for fault in item.faults:
            assert item.first <= fault.start < fault.stop <= item.first + long
        if item.faults:
            assert sum(f.stop - f.start for f in item.faults) >= min(SHORTEST_FAULT, 0.25 * long) - len(item.faults)


def test_plants_hide_little_of_a_channel() -> None:
    for plan in plans()[:60]:
        green = np.zeros((CANVAS // 2, CANVAS // 2), bool)
        for item in plan.items:
            if item.kind == "vegetation":
                green |= rasterize(item.polygon)
        for item in plan.items:
            if isinstance(item, Channel):
                mask = rasterize(item.polygon)
                assert (mask & green).sum() <= 0.2 * mask.sum() + 4


def test_plans_repeat_and_differ() -> None:
    assert [i.polygon for i in sample_plan(7).items] == [i.polygon for i in sample_plan(7).items]
    assert [i.polygon for i in sample_plan(7).items] != [i.polygon for i in sample_plan(8).items]


def test_across_undoes_column() -> None:
    bend = Bend(0.1, 40.0, 0.05, -0.03, ((2.0, 300.0, 1.0),))
    x = bend.column(np.array([123], np.float32), np.array([456], np.float32))[0]
    assert bend.across(float(x), 456.0) == pytest.approx(123.0, abs=0.01)
