"""Questions of where things lie: marks in the picture, no coordinate or relation in the words."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from tests.support.datasets import make_photo, make_scene

from toeline.core.box import Box
from toeline.core.question import PromptBudget
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.spatial_questions import ASK, MARKS, NO, TEMPLATES, YES, ask_where, marked_picture
from toeline.prompts.templates import PHRASES

SCENE = make_scene("slope_drain 20 10 26 70", "slope_drain 80 10 86 60", "toe_drain 0 70 100 80", size_wh=(100, 100))
ASKED = [("above", ("1", "3")), ("nearer", ("1", "2", "3"))]
VIEW = PromptBudget(scene_tokens=4, marked_tokens=16)


def test_every_template_has_words_and_no_more() -> None:
    assert set(ASK) == set(TEMPLATES)


def test_the_sheet_word_for_word(golden) -> None:
    sheet = ask_where(SCENE, make_photo((100, 100)), ASKED, Taxonomy.load(), VIEW)
    said = "\n---\n".join([sheet.text, *(q.text for q in sheet.questions)]) + "\n"
    assert said == golden("prompt/where.txt", said)
    assert all(q.answers == (YES, NO) for q in sheet.questions)


def test_no_number_and_no_relation_but_the_one_that_is_asked() -> None:
    sheet = ask_where(SCENE, make_photo((100, 100)), ASKED, Taxonomy.load(), VIEW)
    assert sheet.picture is None
    assert sheet.scene is None
    for (template, _), question in zip(ASKED, sheet.questions, strict=True):
        assert not re.search(r"\d", question.text)
        told = question.text.replace(ASK[template], "")
        assert not [phrase for phrase in PHRASES.values() if phrase in told]


def test_marks_follow_the_boxes() -> None:
    photo = make_photo((100, 100))
    boxes = [Box(10, 10, 30, 30), Box(60, 60, 90, 90)]
    seen = np.asarray(marked_picture(photo, boxes, VIEW)).astype(int)
    assert seen.shape == (112, 112, 3)
    red, blue = (np.argwhere((abs(seen - rgb(mark.ink)).sum(axis=2)) < 3) for mark in MARKS[:2])
    assert red.max() < 45 < 60 < blue.min()
    moved = np.asarray(marked_picture(photo, [boxes[1], boxes[0]], VIEW)).astype(int)
    assert (np.argwhere((abs(moved - rgb(MARKS[0].ink)).sum(axis=2)) < 3)).min() > 60


def test_the_same_words_wherever_the_objects_are() -> None:
    moved = replace(SCENE, instances=tuple(replace(t, box=t.box.mirrored(100)) for t in SCENE.instances))
    texts = [
        [q.text for q in ask_where(s, make_photo((100, 100)), ASKED, Taxonomy.load(), VIEW).questions]
        for s in (SCENE, moved)
    ]
    assert texts[0] == texts[1]


def rgb(ink: str) -> np.ndarray:
    return np.array([int(ink[i : i + 2], 16) for i in (1, 3, 5)])
