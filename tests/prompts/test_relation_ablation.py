"""What experiments tell of relations: false ones are false, lent ones are another's."""

from __future__ import annotations

from hypothesis import given as cases
from tests.support.datasets import make_scene
from tests.support.relations import scenes

from toeline.prompts.relation_ablation import OPPOSITES, RELATIONS, falsified, given, removed, shuffled
from toeline.prompts.relations import NAMES, around, relate


def test_every_name_has_an_opposite() -> None:
    assert set(OPPOSITES) == set(NAMES)


@cases(scenes())
def test_what_is_given_is_what_inspection_gives(scene) -> None:
    assert given(scene) == {t.id: around(scene, t.id) for t in scene.instances}


@cases(scenes())
def test_what_is_falsified_does_not_hold(scene) -> None:
    hold = {(r.subject, r.name, r.other) for r in relate(scene)}
    for told in falsified(scene).values():
        assert not [r for r in told if (r.subject, r.name, r.other) in hold]


@cases(scenes())
def test_every_experiment_tells_something_of_every_thing_and_nothing_of_itself(scene) -> None:
    for tell in RELATIONS.values():
        told = tell(scene)
        assert set(told) == {t.id for t in scene.instances}
        assert all(r.subject == i != r.other for i, relations in told.items() for r in relations)


def test_what_is_lent_comes_from_another() -> None:
    scene = make_scene(
        "slope_drain 20 0 26 60", "toe_drain 0 60 99 70", "rock_toe 30 50 60 58", "vegetation 80 5 95 20"
    )
    lent, own = shuffled(scene), given(scene)
    assert lent == shuffled(scene)
    assert sorted(r.distance for told in lent.values() for r in told) == sorted(
        r.distance for told in own.values() for r in told
    )
    assert all([r.name for r in lent[i]] != [r.name for r in own[i]] or lent[i] != own[i] for i in own)


def test_nothing_is_nothing() -> None:
    scene = make_scene("slope_drain 20 0 26 60", "toe_drain 0 60 99 70")
    assert removed(scene) == {"1": (), "2": ()}
