"""Scene, photograph and relations to one sheet of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from PIL import Image

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.core.scene import Instance, Relation, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.crop import cut, whole
from toeline.prompts.evidence import measure, spoken
from toeline.prompts.templates import PROMPTS, ShownInstance, around, place

MOST_LISTED = 100  # objects, as many as a detector gives: some 2,300 tokens, read again with each few questions
Answers = Literal["type", "all"]
Options = Mapping[str, tuple[str, ...]]  # the answers of each thing by its id; of others nothing is asked


def legal(instance: Instance, taxonomy: Taxonomy, answers: Answers | Options) -> tuple[str, ...]:
    """The answers a thing may get: those of its type, or all (so that Stage 2 can overrule a wrong type), or named."""
    if isinstance(answers, Mapping):
        return answers.get(instance.id, ())
    return taxonomy.answers() if answers == "all" else taxonomy.answers(instance.type_name)


def ask(
    scene: Scene,
    image: Image.Image,
    relations: Mapping[str, Sequence[Relation]],
    taxonomy: Taxonomy,
    view: PromptBudget,
    *,
    answers: Answers | Options = "type",
) -> QuestionSheet:
    """One sheet for one photograph: one question for each thing that has more than one legal answer.

    `image` is RGB and of `scene.size_wh`. `relations` holds, for each thing id, its relations to its neighbors, nearest
    first (see relate.around). The words for all list MOST_LISTED things at most. Raises ValueError for an image of
    another size, KeyError for an unknown prompt.
    """
    if image.size != scene.size_wh:
        raise ValueError(f"{scene.image}: the picture is {image.size}, the scene {scene.size_wh}")
    prompt = PROMPTS[view.prompt]
    shows_crops = prompt.shows_crops and view.crop_tokens > 0
    asked = [(t, legal(t, taxonomy, answers)) for t in scene.instances]
    names = {t.id: f"{taxonomy.spoken(t.type_name)} {n}" for n, t in enumerate(scene.instances, start=1)}
    seen = {
        t.id: ShownInstance(
            number=n,
            spoken=taxonomy.spoken(t.type_name),
            place=place(t.box, scene.size_wh),
            around=around(relations.get(t.id, ()), names),
            evidence=spoken(measure(image, t.box)) if prompt.measures and len(options) > 1 else "",
            meanings={name: meaning for name in options if (meaning := taxonomy.class_of(name).meaning)},
        )
        for n, (t, options) in enumerate(asked, start=1)
    }
    crops = {t.id: cut(image, t.box, view) for t, options in asked if shows_crops and len(options) > 1}
    questions = tuple(
        Question(t.id, prompt.question(seen[t.id], options), crops.get(t.id), options)
        for t, options in asked
        if len(options) > 1
    )
    shown = prompt.shows_photograph and view.scene_tokens > 0 and questions
    picture = whole(image, view) if shown else None
    return QuestionSheet(
        str(scene.image), picture, prompt.shared(list(seen.values())[:MOST_LISTED]), questions, scene, image
    )
