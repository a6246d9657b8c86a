"""What a judge is shown: every word is kept, and nothing in it depends on the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.datasets import NAMES, make_photo, make_scene, write_yolo

from toeline.core.box import Box
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo, read_entry
from toeline.prompts.build import ask
from toeline.prompts.relations import RULES, around
from toeline.prompts.templates import PHRASES, PROMPTS, place

TAXONOMY = Taxonomy.load()
ROWS = (
    "slope_drain 20 10 26 70",
    "slope_drain 60 12 66 68",
    "toe_drain 0 70 100 80",
    "rock_toe 28 58 58 69",
    "vegetation 70 20 90 50",
)


def sheet_of(scene, photo=None, answers="type", **view) -> QuestionSheet:
    relations = {t.id: around(scene, t.id) for t in scene.instances}
    return ask(scene, photo or make_photo(scene.size_wh), relations, TAXONOMY, PromptBudget(**view), answers=answers)


def rendered(sheet: QuestionSheet) -> str:
    return "\n---\n".join([sheet.text, *(q.text for q in sheet.questions)]) + "\n"


@pytest.mark.parametrize("prompt", sorted(PROMPTS))
def test_every_word_is_kept(prompt, golden):
    said = rendered(sheet_of(make_scene(*ROWS), prompt=prompt))
    assert said == golden(f"prompt/{prompt}.txt", said)


@pytest.mark.parametrize("answers", ["type", "all"])
def test_shuffled_truth_changes_no_byte_of_any_prompt(tmp_path, answers):
    """The labels of one data set, with every condition drawn anew within its type, ask for the very same sheets."""
    rng = np.random.default_rng(0)
    kinds = [TAXONOMY.class_of(n).type for n in NAMES]
    places = [f"{x:.2f} {y:.2f} 0.1 0.2" for x, y in rng.uniform(0.2, 0.8, (60, 2))]
    asked = []
    for _ in range(3):
        ids = iter([int(rng.choice([i for i, k in enumerate(kinds) if k == kinds[n % 9]])) for n in range(60)])
        photos = {f"p{p}.png": [f"{next(ids)} {places[6 * p + i]}" for i in range(6)] for p in range(10)}
        root = write_yolo(tmp_path / f"set{len(asked)}", {"train": photos}, size_wh=(90, 80))
        entries = open_yolo(root, TAXONOMY).splits["train"]
        ground_truths = [t.class_name for e in entries for t in read_entry(e, TAXONOMY).ground_truths]
        asked.append((ground_truths, [as_bytes(entry, answers) for entry in entries]))
    assert asked[0][0] != asked[1][0] != asked[2][0], "the shuffle must have changed the truth"
    assert asked[0][1] == asked[1][1] == asked[2][1]


def as_bytes(entry, answers) -> bytes:
    scene = read_entry(entry, TAXONOMY).scene
    photo = make_photo(scene.size_wh, seed=int(entry.photo.stem[1:]))
    sheet = sheet_of(scene, photo, answers)
    shown = [p.tobytes() for p in (sheet.picture, *(q.crop for q in sheet.questions)) if p is not None]
    return b"".join([rendered(sheet).encode(), repr([q.answers for q in sheet.questions]).encode(), *shown])


def test_a_type_with_one_answer_is_not_asked():
    sheet = sheet_of(make_scene(*ROWS))
    assert [q.instance_id for q in sheet.questions] == ["1", "2", "3", "4"]
    assert sheet_of(make_scene("vegetation 1 1 50 50")).picture is None


def test_all_answers_are_asked_of_everything():
    sheet = sheet_of(make_scene(*ROWS), answers="all")
    assert len(sheet.questions) == 5
    assert {q.answers for q in sheet.questions} == {NAMES}


def test_pictures_come_in_whole_cells_within_their_budget():
    sheet = sheet_of(make_scene(*ROWS), scene_tokens=30, crop_tokens=20)
    for picture, budget in [(sheet.picture, 30), *((q.crop, 20) for q in sheet.questions)]:
        cols, rows = (side / 28 for side in picture.size)
        assert cols == int(cols)
        assert rows == int(rows)
        assert cols * rows <= budget


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the picture is"):
        sheet_of(make_scene(*ROWS), make_photo((50, 50)))


def test_every_relation_has_a_phrase():
    assert set(PHRASES) == set(RULES)


def test_places_are_whole_numbers_from_0_to_999():
    assert place(Box(0, 0, 640, 480), (640, 480)) == "(0,0),(999,999)"
    assert Path("memory.png") == make_scene(*ROWS).image


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_a_prompt_says_whether_it_tells_relations(name):
    """Taking the relations away changes the words if, and only if, the prompt says that it tells them."""
    scene, photo = make_scene(*ROWS), make_photo((100, 100))
    without = ask(scene, photo, {}, TAXONOMY, PromptBudget(prompt=name))
    assert PROMPTS[name].tells_relations == (rendered(without) != rendered(sheet_of(scene, photo, prompt=name)))


def test_a_hundred_objects_are_listed_and_all_are_asked():
    rows = [f"toe_drain {n % 40} {n % 37} {n % 40 + 9} {n % 37 + 5}" for n in range(120)]
    sheet = sheet_of(make_scene(*rows), prompt="relations")
    assert len(sheet.questions) == 120
    assert "\n100. toe drain" in sheet.text
    assert "101." not in sheet.text
    assert sheet.questions[-1].text.startswith("Object 120, enlarged: toe drain at")
