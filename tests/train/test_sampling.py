"""What rare classes get, in which order photographs come, and what a photograph looks like from turn to turn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.support.datasets import make_photo, make_scene

from toeline.core.ground_truth import GroundTruth
from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.train.datasets import Joined
from toeline.train.samples import Labeled, Plain, Stream, scaled
from toeline.train.sampling import class_weights, order_of

TAXONOMY = Taxonomy.load()
# class ids 0 to 7 of the real data set: what is asked about, without vegetation
COUNTS = dict(zip(TAXONOMY.answers(), (52, 78, 76, 153, 366, 257, 97, 148), strict=False))
VIEW = PromptBudget(scene_tokens=12, crop_tokens=6)


def test_weights_are_one_on_average_and_larger_for_what_is_rare() -> None:
    weights = class_weights(COUNTS, TAXONOMY)
    assert sum(weights[name] * n for name, n in COUNTS.items()) / sum(COUNTS.values()) == pytest.approx(1)
    assert sorted(weights, key=weights.__getitem__) == sorted(COUNTS, key=COUNTS.__getitem__, reverse=True)
    assert weights["Toe drain"] / weights["rock toe damaged"] == pytest.approx((366 / 52) ** 0.5)
    assert "vegetation" not in class_weights({**COUNTS, "vegetation": 0}, TAXONOMY)
    assert class_weights({}, TAXONOMY) == {}


def test_every_photograph_comes_once_an_epoch_in_an_order_of_the_seed() -> None:
    classes = [["rock toe"]] * 10
    turns = order_of(classes, epochs=3, seed=1)
    assert [sorted(i for i, _ in turns[e * 10 : e * 10 + 10]) for e in range(3)] == [list(range(10))] * 3
    assert all(number == at // 10 for at, (_, number) in enumerate(turns))
    assert turns == order_of(classes, epochs=3, seed=1) != order_of(classes, epochs=3, seed=2)
    assert [i for i, _ in turns[:10]] != [i for i, _ in turns[10:20]]


def test_oversampling_draws_photographs_of_rare_classes_more_often() -> None:
    classes = [["Toe drain"]] + [["rock toe damaged"]] * 9
    weights = class_weights({"Toe drain": 1, "rock toe damaged": 9}, TAXONOMY)
    turns = order_of(classes, epochs=400, seed=0, weights=weights)
    seen = Counter(i for i, _ in turns)
    assert len(turns) == 4000
    assert seen[0] / np.mean([seen[i] for i in range(1, 10)]) == pytest.approx(3, rel=0.2)
    assert [n for i, n in turns if i == 0] == list(range(seen[0])), "each time in another light"


def labeled(seed: int = 0) -> Labeled:
    scene = make_scene("slope_drain 40 10 60 150", "toe_drain 0 150 200 180", size_wh=(200, 200))
    names = ("slope drain blocked", "Toe drain")
    ground_truths = {
        t.id: GroundTruth(t.id, name, t.type_name, TAXONOMY.class_of(name).condition)
        for t, name in zip(scene.instances, names, strict=True)
    }
    return Labeled(make_photo((200, 200), seed), scene, ground_truths)


def test_a_turn_depends_on_photograph_and_number_alone() -> None:
    photos = [labeled(0), labeled(1)]
    one = Stream(photos, [(0, 0), (1, 0), (0, 1), (0, 2)], TAXONOMY, VIEW, seed=3)
    other = Stream(photos, [(0, 1), (1, 0)], TAXONOMY, VIEW, seed=3)
    picture = lambda stream, i: stream[i].sheet.picture.tobytes()  # noqa: E731
    assert picture(one, 2) == picture(other, 0) != picture(one, 0)
    assert picture(one, 1) == picture(other, 1)
    assert one.distinct() == [0, 1, 2, 3]
    kept = Stream(photos, one.turns, TAXONOMY, VIEW, seed=3, variants=2)
    assert kept.distinct() == [0, 1, 2]
    assert picture(kept, 3) == picture(kept, 0)
    assert Plain(photos, TAXONOMY, VIEW)[1].sheet.picture is not None


def test_augmentation_shows_crops_from_nearer_and_farther_and_never_changes_what_is_true() -> None:
    views = [scaled(VIEW, np.random.default_rng(i)) for i in range(30)]
    assert min(v.margin for v in views) < 0.9 * VIEW.margin < 1.1 * VIEW.margin < max(v.margin for v in views)
    assert {(v.crop_tokens, v.scene_tokens, v.prompt, v.cell) for v in views} == {(6, 12, "relations", 28)}
    stream = Stream([labeled()], [(0, n) for n in range(12)], TAXONOMY, VIEW, seed=0)
    said = {
        tuple(q.answers[a] for q, a in zip(r.sheet.questions, r.answers, strict=True))
        for r in map(stream.__getitem__, range(12))
    }
    assert said == {("slope drain blocked", "Toe drain")}


def test_several_sources_are_one_sequence() -> None:
    first, second = [labeled(0)], [labeled(1), labeled(2)]
    joined = Joined((first, second))
    assert len(joined) == 3
    assert [joined[i] for i in range(3)] == [*first, *second] == list(joined)
    with pytest.raises(IndexError):
        joined[3]
    assert Path(joined[0].scene.image).name == "memory.png"
