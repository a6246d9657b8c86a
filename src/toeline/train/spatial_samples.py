"""Training rows that ask where things lie: marked pictures, yes or no, and which mark each image token lies in.

Questions and pictures are those that evaluation asks (prompts/spatial_questions.py), on other scenes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.box import Box
from toeline.core.question import PromptBudget
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.spatial_questions import NO, YES, Probe, ask_where, probes, quiz
from toeline.train.datasets import SheetPool
from toeline.train.samples import MARKED, Labeled, TrainingRow, token_classes

SHOWS_TYPE = ("at_lower_end_of",)  # means nothing in a picture that stands on its head


def where_row(
    labeled: Labeled, taxonomy: Taxonomy, view: PromptBudget, rng: np.random.Generator, *, most: int
) -> TrainingRow:
    """At most `most` questions about one photograph, yes and no alike.

    Half of the photographs are turned upside down: then no pair of types tells which lies above.
    """
    if turned := bool(rng.random() < 0.5):
        labeled = upside_down(labeled)
    asked = _drawn([p for p in probes(labeled.scene) if not (turned and p.template in SHOWS_TYPE)], rng, most)
    return _row(labeled.scene, labeled.image, asked, taxonomy, view)


def quiz_rows(pool: SheetPool, view: PromptBudget, *, most_per_template: int) -> list[TrainingRow]:
    """A balanced quiz over a pool's photographs, for measuring; photographs without a question are left out."""
    labeled = [pool[i] for i in range(len(pool))]
    asked = quiz((one.scene for one in labeled), most_per_template=most_per_template)
    by_photo = {str(one.scene.image): one for one in labeled}
    return [_row(by_photo[p].scene, by_photo[p].image, found, pool.taxonomy, view) for p, found in asked.items()]


def upside_down(labeled: Labeled) -> Labeled:
    """Top and bottom exchanged: a picture that no drone takes, and in which no type has its usual place."""
    high = labeled.scene.size_wh[1]
    instances = tuple(
        replace(t, box=Box(t.box.x1, high - t.box.y2, t.box.x2, high - t.box.y1), polygon=())
        for t in labeled.scene.instances
    )
    image = labeled.image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return Labeled(image, replace(labeled.scene, instances=instances), labeled.ground_truths)


def _drawn(found: Sequence[Probe], rng: np.random.Generator, most: int) -> list[Probe]:
    """First a template, then an answer, then a question, each with equal chances: frequent pairs do not crowd it."""
    groups: dict[str, dict[bool, list[Probe]]] = defaultdict(lambda: defaultdict(list))
    for probe in found:
        groups[probe.template][probe.holds].append(probe)
    chosen = []
    for _ in range(most if groups else 0):
        answers = groups[sorted(groups)[rng.integers(len(groups))]]
        kept = answers[sorted(answers)[rng.integers(len(answers))]]
        chosen.append(kept[rng.integers(len(kept))])
    return list(dict.fromkeys(chosen))


def _row(
    scene: Scene, image: Image.Image, asked: Sequence[Probe], taxonomy: Taxonomy, view: PromptBudget
) -> TrainingRow:
    sheet = ask_where(scene, image, [(p.template, p.marked) for p in asked], taxonomy, view)
    answers = tuple((YES, NO).index(YES if p.holds else NO) for p in asked)
    tokens = tuple(
        mark_tokens(
            [scene.instance(i).box for i in p.marked], scene.size_wh, (picture.size[1], picture.size[0]), taxonomy, view
        )
        for p, q in zip(asked, sheet.questions, strict=True)
        if (picture := q.crop) is not None
    )
    return TrainingRow(sheet, answers, tuple(p.template for p in asked), tokens)


def mark_tokens(
    boxes: Sequence[Box], size_wh: tuple[int, int], shown_hw: tuple[int, int], taxonomy: Taxonomy, view: PromptBudget
) -> NDArray[np.float32]:
    """How much of each token lies in each marked box, as shares that sum to 1: (rows, cols, classes).

    The marks' classes are the last MARKED ones. A token in no box is nothing; tokens in several are shared out.
    """
    rows, cols = (side // view.cell for side in shown_hw)
    x, y = np.linspace(0, size_wh[0], cols + 1), np.linspace(0, size_wh[1], rows + 1)
    shares = np.zeros((rows, cols, token_classes(taxonomy)), np.float32)
    for n, box in enumerate(boxes, start=-MARKED):
        across = np.clip(np.minimum(x[1:], box.x2) - np.maximum(x[:-1], box.x1), 0, None) / (x[1] - x[0])
        down = np.clip(np.minimum(y[1:], box.y2) - np.maximum(y[:-1], box.y1), 0, None) / (y[1] - y[0])
        # thin boxes cover little of a token, and are all that is to be seen in it
        shares[..., n] = np.sqrt(np.outer(down, across))
    shares[..., 0] = np.clip(1 - shares.sum(axis=-1), 0, None)
    whole: NDArray[np.float32] = shares / shares.sum(axis=-1, keepdims=True)
    return whole
