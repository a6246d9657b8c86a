"""Fits how two judges are joined, on photographs that neither was trained on, or whose scores were kept out of fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from toeline.core.finding import Problem, Step
from toeline.core.question import QuestionSheet
from toeline.core.reading import file_hash
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import look_at_each
from toeline.data.images import read_photo
from toeline.data.split import folds_of, in_turn
from toeline.data.yolo import LabeledScene, open_yolo
from toeline.errors import LabelError
from toeline.judge.baseline.judge import BaselineJudge
from toeline.judge.ensemble import EnsembleJudge, EnsembleWeights, combined, fit_weights
from toeline.judge.judge import Judge
from toeline.prompts.build import ask
from toeline.prompts.relations import around

Scores = Mapping[str, float]


class AnsweredCase(NamedTuple):
    """One object that both judges were asked about: its true class, and the log-probabilities of each."""

    photo: str
    flight_line: str
    instance_id: str
    type_name: str
    right: str
    a: Scores
    b: Scores


@dataclass(frozen=True)
class JudgeAnswers:
    """All that was asked; how many objects' scores were kept out of fold, for each of the two; what was wrong."""

    asked: tuple[AnsweredCase, ...]
    kept: tuple[int, int]
    problems: tuple[Problem, ...]


def ask_both(
    data: Path,
    split: str,
    judge: EnsembleJudge,
    taxonomy: Taxonomy,
    *,
    classes: Path | None = None,
    step: Step = lambda _: None,
) -> JudgeAnswers:
    """What both judges say of every object of a split that has more than one answer. Raises LabelError for no object.

    A floor says of photographs it was trained on what it said in its cross-validation, before it had seen them.
    """
    found = open_yolo(data, taxonomy, classes=classes)
    asked: list[AnsweredCase] = []
    kept = [0, 0]
    problems = look_at_each(found, split, taxonomy, lambda one: _ask_one(one, judge, taxonomy, asked, kept), step)
    if not asked:
        raise LabelError(f"{data}: {split} has no labeled object with a choice of answers. Name another --split.")
    return JudgeAnswers(tuple(asked), (kept[0], kept[1]), tuple(problems))


def ask_scenes(
    scenes: Iterable[LabeledScene], judge: EnsembleJudge, taxonomy: Taxonomy, *, step: Step = lambda _: None
) -> list[AnsweredCase]:
    """As `ask_both`, of photographs that were read before. Raises PhotoError for one that has gone since."""
    asked: list[AnsweredCase] = []
    for labeled in scenes:
        _ask_one(labeled, judge, taxonomy, asked, [0, 0])
        step(())
    return asked


def _ask_one(
    labeled: LabeledScene, judge: EnsembleJudge, taxonomy: Taxonomy, asked: list[AnsweredCase], kept: list[int]
) -> None:
    photo = labeled.path
    scene = replace(labeled.scene, image=Path(photo.name))  # as findings call it, so that replays find it
    relations = {instance.id: around(scene, instance.id) for instance in scene.instances}
    sheet = ask(scene, read_photo(photo), relations, taxonomy, judge.view)
    if not sheet.questions or not labeled.ground_truths:
        return
    ground_truths = {ground_truth.instance_id: ground_truth for ground_truth in labeled.ground_truths}
    both = [_unseen(part, sheet, file_hash(photo)) for part in judge.parts]
    for i, (_, out_of_fold) in enumerate(both):
        kept[i] += len(sheet.questions) * out_of_fold
    for question, a, b in zip(sheet.questions, both[0][0], both[1][0], strict=True):
        true, instance = ground_truths[question.instance_id], question.instance_id
        asked.append(AnsweredCase(photo.name, scene.flight_line, instance, true.type_name, true.class_name, a, b))


def _unseen(part: Judge, sheet: QuestionSheet, sha256: str) -> tuple[Sequence[Scores], bool]:
    """The scores of a sheet by a judge that had not seen it, and whether they were kept from its cross-validation."""
    if isinstance(part, BaselineJudge) and (kept := part.unseen(sheet, sha256)):
        return kept, True
    return part.score(sheet), False


def fit_on(asked: Sequence[AnsweredCase]) -> EnsembleWeights:
    """The mix of least log loss on these objects."""
    return fit_weights([x.a for x in asked], [x.b for x in asked], [x.right for x in asked])


def ensemble_out_of_fold(asked: Sequence[AnsweredCase], *, folds: int = 5) -> list[dict[str, float]] | None:
    """What the fusion says of each object with the mix fitted on other flight lines; of other photographs where all are
    of one line; None for a single photograph."""
    fold = folds_of([x.flight_line for x in asked], folds, alone=[x.photo for x in asked])
    if len(set(fold)) < 2:
        return None
    said: list[dict[str, float]] = [{}] * len(asked)
    for seen, unseen in in_turn(fold):
        mix = fit_on([asked[i] for i in seen])
        for i in unseen:
            said[i] = combined(asked[i].a, asked[i].b, mix)
    return said
