"""Training rows show what inspection shows, and their targets are read back from the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import make_photo, make_scene

from toeline.core.ground_truth import GroundTruth
from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.build import ask
from toeline.prompts.crop import framed
from toeline.prompts.relations import around
from toeline.train.samples import STATES, Labeled, augmented, row, state_map, token_classes

TAXONOMY = Taxonomy.load()
VIEW = PromptBudget(scene_tokens=12, crop_tokens=16)
SCENE = make_scene(
    "slope_drain 40 10 60 150", "toe_drain 0 150 200 180", "vegetation 100 20 150 80", size_wh=(200, 200)
)
CLASSES = ("slope drain blocked", "Toe drain", "vegetation")


def labeled(states: np.ndarray | None = None) -> Labeled:
    ground_truths = {
        t.id: GroundTruth(t.id, name, t.type_name, TAXONOMY.class_of(name).condition)
        for t, name in zip(SCENE.instances, CLASSES, strict=True)
    }
    return Labeled(make_photo(SCENE.size_wh), SCENE, ground_truths, states)


def test_the_sheet_trained_on_is_the_sheet_asked():
    shown = ask(SCENE, labeled().image, {t.id: around(SCENE, t.id) for t in SCENE.instances}, TAXONOMY, VIEW)
    trained = row(labeled(), TAXONOMY, VIEW).sheet
    assert trained.text == shown.text
    assert [q.text for q in trained.questions] == [q.text for q in shown.questions]
    assert [q.crop.tobytes() for q in trained.questions] == [q.crop.tobytes() for q in shown.questions]


@pytest.mark.parametrize("answers", ["type", "all"])
def test_the_right_answers_read_back(answers):
    made = row(labeled(), TAXONOMY, VIEW, answers=answers)
    said = {q.instance_id: q.answers[a] for q, a in zip(made.sheet.questions, made.answers, strict=True)}
    expected = {t.id: name for t, name in zip(SCENE.instances, CLASSES, strict=True)}
    assert said == {k: v for k, v in expected.items() if k in said}
    assert len(said) == (3 if answers == "all" else 2)


def test_two_masks_become_one_map():
    objects = np.array([[0, 1, 2, 2]], np.uint8)
    states = np.array([[3, 1, 1, 3]], np.uint8)
    toe, slope = (next(i for i, t in enumerate(TAXONOMY.types) if t.name == k) for k in ("toe_drain", "slope_drain"))
    expected = [[0, 1 + STATES * slope, 1 + STATES * toe, 1 + STATES * toe + 2]]
    assert state_map(objects, states, ["slope_drain", "toe_drain"], TAXONOMY).tolist() == expected


def test_token_targets_lie_where_the_mask_lies():
    """The lower half of the slope drain is covered: so are the tokens of the lower half of its crop."""
    states = np.zeros((200, 200), np.uint8)
    sound = 1 + STATES * [t.name for t in TAXONOMY.types].index("slope_drain")
    states[10:80, 40:60], states[80:150, 40:60] = sound, sound + 1
    made = row(labeled(states), TAXONOMY, VIEW)
    tokens = made.tokens[0]
    cols, rows = made.sheet.questions[0].crop.size[0] // 28, made.sheet.questions[0].crop.size[1] // 28
    assert tokens.shape == (rows, cols, token_classes(TAXONOMY))
    assert np.allclose(tokens.sum(-1), 1)
    middle = tokens[:, cols // 2]
    assert middle[1, sound] > 0.2
    assert middle[1, sound + 1] == 0
    assert middle[-2, sound + 1] > 0.2
    assert middle[-2, sound] == 0


def test_a_mirrored_photograph_mirrors_boxes_masks_and_words():
    states = np.tile(np.arange(200, dtype=np.uint8) % 13, (200, 1))
    seen = {}
    for seed in range(8):
        other = augmented(labeled(states), np.random.default_rng(seed), jitter=0.0)
        assert other.ground_truths == labeled().ground_truths
        mirrored = other.scene.instances[0].box.x1 != SCENE.instances[0].box.x1
        if mirrored:
            assert other.scene.instances[0].box == SCENE.instances[0].box.mirrored(200)
            assert (other.states == states[:, ::-1]).all()
        else:
            assert other.scene.instances[0].box == SCENE.instances[0].box
        seen[mirrored] = [q.text for q in row(other, TAXONOMY, VIEW).sheet.questions]
    assert set(seen) == {True, False}
    left = "right of vegetation" if "right of vegetation" in seen[True][0] else "left of vegetation"
    assert left.replace("right", "left") in seen[False][0]
    assert [t.count("above") + t.count("below") for t in seen[True]] == [
        t.count("above") + t.count("below") for t in seen[False]
    ]


def test_jittered_boxes_stay_in_the_frame_and_near():
    for seed in range(20):
        for instance, before in zip(
            augmented(labeled(), np.random.default_rng(seed)).scene.instances, SCENE.instances, strict=True
        ):
            box = instance.box
            assert 0 <= box.x1 <= box.x2 <= 200
            assert 0 <= box.y1 <= box.y2 <= 200
            assert max(box.iou(before.box), box.iou(before.box.mirrored(200))) > 0.3


def test_a_photograph_without_masks_has_no_token_targets():
    assert row(labeled(), TAXONOMY, VIEW).tokens == ()


def test_the_window_of_a_crop_and_of_its_mask_are_one():
    scene = replace(SCENE, instances=SCENE.instances[:1])
    seen, (cols, rows) = framed(scene.instances[0].box, (200, 200), VIEW)
    crop = row(labeled(), TAXONOMY, VIEW).sheet.questions[0].crop
    assert crop.size == (28 * cols, 28 * rows)
    again = labeled().image.resize(crop.size, Image.Resampling.BICUBIC, box=seen.xyxy)
    assert again.tobytes() == crop.tobytes()
