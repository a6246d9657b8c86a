"""Labeled photographs to training rows: the sheet that would be asked, the true answers, what covers each image token.

The sheet is made by the same `relate` and `ask` that inspection uses, from boxes and types alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image, ImageDraw

from toeline.core.box import Box
from toeline.core.ground_truth import GroundTruth
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.build import Answers, ask
from toeline.prompts.crop import framed
from toeline.prompts.relations import around
from toeline.train.sampling import Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray


STATES = 3  # of the truth masks: sound, covered, missing or displaced
DEFECT_WEIGHT = (
    3.0  # a crack covers few pixels of a token; counted thrice it is not lost in the sound surface around it
)
SUB = 8  # truth-mask samples per token side
MARKED = 3  # marks on a picture (prompts/spatial_questions.py); a token within a marked box has a class of its own


@dataclass(frozen=True, eq=False)
class Labeled:
    """One photograph with all that training may know of it. `states` is (H, W) uint8, see `token_classes`, or None."""

    image: Image.Image
    scene: Scene
    ground_truths: Mapping[str, GroundTruth]
    states: NDArray[np.uint8] | None = None


class Photos(Protocol):
    """Labeled photographs by number; how they are read, or drawn, is their own affair."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Labeled: ...


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """A sheet; per question the index of the true answer and the type; per crop (rows, cols, classes) token targets."""

    sheet: QuestionSheet
    answers: tuple[int, ...]
    kinds: tuple[str, ...]
    tokens: tuple[NDArray[np.float32], ...]


def token_classes(taxonomy: Taxonomy) -> int:
    """How many classes a token can have: nothing, each type in each of the truth masks' three states, each mark."""
    return 1 + STATES * len(taxonomy.types) + MARKED


def state_map(
    object_mask: NDArray[np.uint8], state_mask: NDArray[np.uint8], kinds: Sequence[str], taxonomy: Taxonomy
) -> NDArray[np.uint8]:
    """The renderer's two masks as one map of token classes. `kinds[i]` is the type of the object numbered i + 1."""
    order = {t.name: n for n, t in enumerate(taxonomy.types)}
    first = np.zeros(256, np.uint8)
    first[1 : 1 + len(kinds)] = [1 + STATES * order[k] for k in kinds]
    seen = (object_mask > 0) & (state_mask > 0)
    return np.where(seen, first[object_mask] + np.maximum(state_mask, 1) - 1, 0).astype(np.uint8)


def labeled_states(scene: Scene, ground_truths: Mapping[str, GroundTruth], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """A map of token classes from people's labels: each object's whole outline has the state of its condition.

    Conditions take the masks' states in the taxonomy's order (normal is sound, blocked is covered, damaged is
    displaced), which is coarser than a renderer's masks: nobody labeled which stone is missing. Small objects lie on
    large ones; a thing without a polygon is its box.
    """
    kinds = {t.name: n for n, t in enumerate(taxonomy.types)}
    conditions = {c.name: min(n, STATES - 1) for n, c in enumerate(taxonomy.conditions)}
    canvas = Image.new("L", scene.size_wh, 0)
    pen = ImageDraw.Draw(canvas)
    for instance in sorted(scene.instances, key=lambda t: -t.box.area):
        x1, y1, x2, y2 = instance.box.xyxy
        outline = instance.polygon or ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
        pen.polygon(
            outline, fill=1 + STATES * kinds[instance.type_name] + conditions[ground_truths[instance.id].condition]
        )
    return np.asarray(canvas, np.uint8)


def row(
    labeled: Labeled,
    taxonomy: Taxonomy,
    view: PromptBudget,
    *,
    answers: Answers = "type",
    only: Sequence[str] | None = None,
) -> TrainingRow:
    """The sheet of one photograph and what it should be answered. `only` keeps the questions of these things."""
    scene = labeled.scene
    relations = {t.id: around(scene, t.id) for t in scene.instances}
    sheet = ask(scene, labeled.image, relations, taxonomy, view, answers=answers)
    if only is not None:
        sheet = replace(sheet, questions=tuple(q for q in sheet.questions if q.instance_id in only))
    right = tuple(q.answers.index(labeled.ground_truths[q.instance_id].class_name) for q in sheet.questions)
    tokens: tuple[NDArray[np.float32], ...] = ()
    if labeled.states is not None:
        tokens = tuple(_crop_tokens(labeled, q.instance_id, taxonomy, view) for q in sheet.questions if q.crop)
    kinds = tuple(scene.instance(q.instance_id).type_name for q in sheet.questions)
    return TrainingRow(sheet, right, kinds, tokens)


def _crop_tokens(labeled: Labeled, instance_id: str, taxonomy: Taxonomy, view: PromptBudget) -> NDArray[np.float32]:
    """What covers each token of a crop, as shares that sum to 1: (rows, cols, classes)."""
    assert labeled.states is not None
    seen, (cols, rows) = framed(labeled.scene.instance(instance_id).box, labeled.scene.size_wh, view)
    mask = Image.fromarray(labeled.states).resize((cols * SUB, rows * SUB), Image.Resampling.NEAREST, box=seen.xyxy)
    cells = np.asarray(mask).reshape(rows, SUB, cols, SUB).transpose(0, 2, 1, 3).reshape(rows * cols, SUB * SUB)
    n = token_classes(taxonomy)
    flat = np.bincount((cells + n * np.arange(rows * cols)[:, None]).ravel(), minlength=rows * cols * n)
    shares = flat.reshape(rows, cols, n).astype(np.float32)
    defect = np.array([0 < c < n - MARKED and (c - 1) % STATES > 0 for c in range(n)])
    shares[..., defect] *= DEFECT_WEIGHT
    whole: NDArray[np.float32] = shares / shares.sum(axis=-1, keepdims=True)
    return whole


def augmented(labeled: Labeled, rng: np.random.Generator, *, jitter: float = 0.05) -> Labeled:
    """A photograph that could have been taken as well: mirrored left-right (never up-down), other light, less sharp.

    Boxes lie as a detector would draw them: each edge is moved by about `jitter` of the side.
    """
    image, scene, states = labeled.image, labeled.scene, labeled.states
    instances = tuple(replace(t, box=_jittered(t.box, scene.size_wh, rng, jitter), polygon=()) for t in scene.instances)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        instances = tuple(replace(t, box=t.box.mirrored(scene.size_wh[0])) for t in instances)
        states = None if states is None else np.ascontiguousarray(states[:, ::-1])
    image = _relit(image, rng)
    if rng.random() < 0.3:  # coarser photographs: the real ones are 312 pixels wide
        share = rng.uniform(0.45, 0.9)
        small = image.resize(
            (max(1, int(image.width * share)), max(1, int(image.height * share))), Image.Resampling.BILINEAR
        )
        image = small.resize(image.size, Image.Resampling.BICUBIC)
    return Labeled(image, replace(scene, instances=instances), labeled.ground_truths, states)


def _relit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gain, gamma and a slight tint: one lookup table per channel."""
    gain, gamma = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.25)
    tint = rng.uniform(0.94, 1.06, size=3)
    ramp = np.linspace(0, 1, 256)[None] ** gamma * gain * tint[:, None]
    return image.point(np.clip(np.rint(255 * ramp), 0, 255).astype(int).ravel().tolist())


def _jittered(box: Box, size_wh: tuple[int, int], rng: np.random.Generator, jitter: float) -> Box:
    dx = rng.normal(0, jitter, 2) * min(box.width, 0.15 * size_wh[0])
    dy = rng.normal(0, jitter, 2) * min(box.height, 0.15 * size_wh[1])
    x1, x2 = sorted((box.x1 + dx[0], box.x2 + dx[1]))
    y1, y2 = sorted((box.y1 + dy[0], box.y2 + dy[1]))
    return Box(x1, y1, x2, y2).clipped(size_wh)


MARGINS, DETAILS = (0.7, 1.4), (0.8, 1.25)  # how much more or less context, and detail, a crop shows


@dataclass(frozen=True)
class Stream:
    """A torch map-style data set: turn `i` depends on the seed, its photograph and its number alone.

    So a run that continues after a kill sees what it would have seen. With `variants`, pictures repeat after so many.
    """

    photos: Photos
    turns: Sequence[Turn]
    taxonomy: Taxonomy
    view: PromptBudget
    seed: int
    variants: int | None = None

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, i: int) -> TrainingRow:
        photo, number = self.turns[i]
        rng = np.random.default_rng((self.seed, photo, number % self.variants if self.variants else number))
        view = scaled(self.view, rng)
        return row(augmented(self.photos[photo], rng), self.taxonomy, view)

    def distinct(self) -> list[int]:
        """Turns that between them show every picture once: those whose features have to be known."""
        first: dict[Turn, int] = {}
        for i, (photo, number) in enumerate(self.turns):
            first.setdefault((photo, number % self.variants if self.variants else number), i)
        return list(first.values())


@dataclass(frozen=True)
class Plain:
    """The same without augmentation, in order: what validation asks is what inspection asks."""

    photos: Photos
    taxonomy: Taxonomy
    view: PromptBudget

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, i: int) -> TrainingRow:
        return row(self.photos[i], self.taxonomy, self.view)


def scaled(view: PromptBudget, rng: np.random.Generator) -> PromptBudget:
    """The same view from a little nearer or farther: crops differ in scale, and what is true of them does not."""
    margin, detail = view.margin * rng.uniform(*MARGINS), view.detail_px * rng.uniform(*DETAILS)
    return replace(view, margin=margin, detail_px=round(detail))
