"""Training rows of where things lie: the answer is the geometry's, the token targets lie where the marks are."""

from __future__ import annotations

import numpy as np
from tests.support.datasets import make_photo, make_scene

from toeline.core.box import Box
from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.spatial_questions import probes
from toeline.train.samples import MARKED, Labeled, token_classes
from toeline.train.spatial_samples import mark_tokens, upside_down, where_row

TAXONOMY = Taxonomy.load()
VIEW = PromptBudget(marked_tokens=16)
SCENE = make_scene(
    "slope_drain 20 10 26 70", "slope_drain 80 40 86 90", "toe_drain 0 70 100 80", "rock_toe 30 58 58 69"
)
LABELED = Labeled(make_photo(SCENE.size_wh), SCENE, {})


def test_answers_are_those_of_the_boxes() -> None:
    for seed in range(6):
        made = where_row(LABELED, TAXONOMY, VIEW, np.random.default_rng(seed), most=4)
        assert 1 <= len(made.answers) <= 4
        assert set(made.answers) <= {0, 1}
        assert len(made.tokens) == len(made.sheet.questions) == len(made.kinds)


def test_both_answers_come_up() -> None:
    rows = [where_row(LABELED, TAXONOMY, VIEW, np.random.default_rng(seed), most=4) for seed in range(20)]
    share = np.mean([a for r in rows for a in r.answers])
    assert 0.3 < share < 0.7


def test_upside_down_turns_above_and_keeps_left() -> None:
    plain = {(p.template, p.marked): p.holds for p in probes(SCENE) if p.template != "at_lower_end_of"}
    turned = {(p.template, p.marked): p.holds for p in probes(upside_down(LABELED).scene)}
    for (template, marked), holds in plain.items():
        assert turned[template, marked] is (not holds if template == "above" else holds)


def test_token_targets_lie_where_the_marks_are() -> None:
    tokens = mark_tokens([Box(0, 0, 25, 25), Box(50, 50, 100, 100)], (100, 100), (112, 112), TAXONOMY, VIEW)
    assert tokens.shape == (4, 4, token_classes(TAXONOMY))
    assert np.allclose(tokens.sum(axis=-1), 1)
    first, second, third = (tokens[..., n] for n in range(-MARKED, 0))
    assert first.argmax() == 0
    assert first.sum() == 1
    assert second[2:, 2:].min() == 1
    assert second.sum() == 4
    assert third.sum() == 0
