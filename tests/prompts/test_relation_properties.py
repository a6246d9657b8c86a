"""What must hold of relations whatever the boxes are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.support.relations import scenes, triples

from toeline.core.scene import Scene
from toeline.prompts.relations import END_REACH, NAMES, NEXT_TO, around, gap, mirrored, nearest, relate

MIRROR = {"left_of": "right_of", "right_of": "left_of"}
CONVERSE = {"above": "below", "below": "above", "left_of": "right_of", "right_of": "left_of"}
# A busy machine must not fail a test: no clock decides here.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
factors = st.sampled_from([2, 3, 7, 10, 0.5, 0.25, 16])


def scaled(scene: Scene, factor: float) -> Scene:
    wide, high = (round(side * factor) for side in scene.size_wh)
    return replace(
        scene, size_wh=(wide, high), instances=tuple(replace(t, box=t.box.scaled(factor)) for t in scene.instances)
    )


@unhurried
@given(scenes())
def test_a_mirror_swaps_left_and_right_and_keeps_all_else(scene):
    expected = {(s, MIRROR.get(name, name), o) for s, name, o in triples(relate(scene))}
    assert triples(relate(mirrored(scene))) == expected


@unhurried
@given(scenes())
def test_a_mirror_keeps_every_distance_and_two_mirrors_keep_the_scene(scene):
    there = {(r.subject, r.other): r.distance for r in relate(scene)}
    assert {(r.subject, r.other): r.distance for r in relate(mirrored(scene))} == there
    assert mirrored(mirrored(scene)) == scene


@unhurried
@given(scenes(), factors)
def test_scale_changes_nothing(scene, factor):
    assume(all(side * factor == round(side * factor) for side in scene.size_wh))
    for s in relate(scene):  # at a threshold itself the last bit of a division may decide
        assume(min(abs(s.distance - NEXT_TO), abs(s.distance - END_REACH)) > 1e-9)
    before, after = relate(scene), relate(scaled(scene, factor))
    assert [(r.subject, r.name, r.other) for r in after] == [(r.subject, r.name, r.other) for r in before]
    assert [r.distance for r in after] == pytest.approx([r.distance for r in before])


@unhurried
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_things_changes_only_the_order_of_relations(scene, dice):
    instances = list(scene.instances)
    dice.shuffle(instances)
    shuffled = replace(scene, instances=tuple(instances))
    assert set(relate(shuffled)) == set(relate(scene))
    for instance in instances:
        assert around(shuffled, instance.id) == around(scene, instance.id)


@unhurried
@given(scenes())
def test_directions_are_converse_and_exclusive(scene):
    held = triples(relate(scene), *CONVERSE)
    assert held == {(o, CONVERSE[name], s) for s, name, o in held}
    assert len({(s, o) for s, _, o in held}) == len(held), "two directions between one pair"


@unhurried
@given(scenes())
def test_inside_and_covers_imply_overlaps_and_inside_excludes_a_direction(scene):
    held = triples(relate(scene))
    for s, name, o in held:
        if name in ("inside", "covers"):
            assert (s, "overlaps", o) in held
        if name == "inside":
            assert (o, "inside", s) not in held
            assert not {(s, d, o) for d in CONVERSE} & held


@unhurried
@given(scenes())
def test_overlaps_and_next_to_are_symmetric_and_exclude_each_other(scene):
    held = triples(relate(scene), "overlaps", "next_to")
    assert held == {(o, name, s) for s, name, o in held}
    assert len({(s, o) for s, _, o in held}) == len(held)


@unhurried
@given(scenes())
def test_distance_is_symmetric_and_zero_only_for_boxes_that_touch(scene):
    for a in scene.instances:
        for b in scene.instances:
            there = gap(a.box, b.box, diagonal_px=scene.diagonal)
            touch = max(a.box.x1, b.box.x1) <= min(a.box.x2, b.box.x2)
            touch = touch and max(a.box.y1, b.box.y1) <= min(a.box.y2, b.box.y2)
            assert there == gap(b.box, a.box, diagonal_px=scene.diagonal) >= 0
            assert (there == 0) == touch


@unhurried
@given(scenes())
def test_every_two_things_stand_in_some_relation(scene):
    pairs = {(r.subject, r.other) for r in relate(scene)}
    assert pairs == {(a.id, b.id) for a in scene.instances for b in scene.instances if a is not b}


@unhurried
@given(scenes())
def test_relations_come_in_the_order_of_subject_other_and_rule(scene):
    place = {instance.id: n for n, instance in enumerate(scene.instances)}
    keys = [(place[r.subject], place[r.other], NAMES.index(r.name)) for r in relate(scene)]
    assert keys == sorted(set(keys))


@unhurried
@given(scenes(most=8), st.integers(0, 9))
def test_around_lists_the_nearest_and_one_of_each_type(scene, limit):
    everything = set(relate(scene))
    for instance in scene.instances:
        listed = around(scene, instance.id, limit=limit)
        neighbors = list(dict.fromkeys(r.other for r in listed))
        others = [t for t in scene.instances if t is not instance]
        assert set(listed) <= everything
        assert len(neighbors) == min(limit, len(others))
        assert all(1 <= sum(r.other == n for r in listed) <= 2 for n in neighbors)
        order = [(r.distance, r.other) for r in listed]
        assert order == sorted(order)
        if len({t.type_name for t in others}) <= limit:
            assert {nearest(scene, instance.id, t.type_name).id for t in others} <= set(neighbors)


@unhurried
@given(scenes())
def test_types_outside_the_default_taxonomy_are_judged_by_geometry_alone(scene):
    pipes = replace(scene, instances=tuple(replace(t, type_name="pipe") for t in scene.instances))
    assert triples(relate(scene)) <= triples(relate(pipes))
    assert triples(relate(scene), *(set(NAMES) - {"covers", "at_lower_end_of"})) == triples(
        relate(pipes), *(set(NAMES) - {"covers", "at_lower_end_of"})
    )


@unhurried
@given(scenes())
def test_distances_are_shares_of_the_diagonal(scene):
    assert all(0 <= r.distance <= 1 and math.isfinite(r.distance) for r in relate(scene))
