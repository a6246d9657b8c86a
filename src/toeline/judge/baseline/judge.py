"""The judge: measures what a sheet's photograph shows in its boxes, and scores the answers. Reads no words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.calibration import normalized
from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.data.feature_maps import FeatureNetwork, feature_network
from toeline.errors import ModelError
from toeline.judge.baseline.features import columns
from toeline.judge.baseline.model import AGAIN, BaselineModel, as_answers, load_baseline

OTHER_TYPE = 0.01  # probability of all answers of other types together, when they are legal: the type is trusted
VIEW = PromptBudget(scene_tokens=0, crop_tokens=0)  # it looks at the photograph itself, so nothing is drawn for it


@dataclass(frozen=True)
class BaselineJudge:
    """A trained baseline as a judge; `file` is what the user called it, `sha256` of its bytes.

    Of photographs in `held` (names, with the SHA-256 of their files) that it was trained on, it says what it said in
    its cross-validation.
    """

    model: BaselineModel
    file: str = ""
    sha256: str = ""
    view: PromptBudget = VIEW
    held: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> BaselineJudge:
        """Read a file that `toeline baseline` wrote. Raises ModelError."""
        model, sha256 = load_baseline(file)
        judge = cls(model, str(file), sha256)
        judge.network()  # refused now, not at the first photograph
        return judge

    def network(self) -> FeatureNetwork | None:
        """The network whose features it was trained on, if any. Raises ModelError where this Toeline has another."""
        if not self.model.network:
            return None
        network = feature_network()
        if network.sha256 != self.model.network:
            raise ModelError(
                f"{self.file or 'this baseline'}: was trained on features of another network "
                f"({self.model.network[:12]}...) than this Toeline has ({network.sha256[:12]}...). {AGAIN}"
            )
        return network

    @property
    def info(self) -> Mapping[str, Any]:
        """Back end, file, its hash, and what it says of its training."""
        return {"back_end": "floor", "model": self.file, "sha256": self.sha256, **self.model.facts}

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """Log-probability of every answer, question by question. Raises ModelError for another taxonomy's questions."""
        scene, picture = sheet.scene, sheet.image
        if scene is None or picture is None:
            raise ModelError(f"{sheet.photo}: the baseline measures photographs, and this sheet holds none.")
        for question in sheet.questions:
            self._require_known(question, scene.instance(question.instance_id).type_name, sheet.photo)
        if (unseen := self.unseen(sheet, self.held.get(sheet.photo, ""))) is not None:
            return unseen
        asked = {question.instance_id: question for question in sheet.questions}
        instances = [instance for instance in scene.instances if instance.id in asked]
        rows = columns(scene, picture, self.model.kinds, self.network(), only=asked)
        found: dict[str, dict[str, float]] = {}
        for kind in {instance.type_name for instance in instances}:
            own = [n for n, instance in enumerate(instances) if instance.type_name == kind]
            for n, said in zip(own, self.model.log_probs(kind, rows[own]), strict=True):
                question = asked[instances[n].id]
                found[question.instance_id] = over(as_answers(said, self.model.answers(kind)), question.answers)
        return [found[question.instance_id] for question in sheet.questions]

    def unseen(self, sheet: QuestionSheet, photo_sha256: str) -> list[dict[str, float]] | None:
        """As `out_of_fold`, of a whole sheet."""
        kept = [said for q in sheet.questions if (said := self.out_of_fold(photo_sha256, q)) is not None]
        return kept or None

    def out_of_fold(self, photo_sha256: str, question: Question) -> dict[str, float] | None:
        """The score of an object that this baseline was trained on, by a model that had not seen its flight line.

        None for a photograph that it was not trained on. Raises ModelError where the boxes are others.
        """
        instances = self.model.out_of_fold.get(photo_sha256)
        if instances is None:
            return None
        if question.instance_id not in instances:
            raise ModelError(
                f"{self.file}: was trained on this photograph with other boxes. Use the label files it was trained on."
            )
        return over(instances[question.instance_id], question.answers)

    def _require_known(self, question: Question, kind: str, photo: str) -> None:
        strange = [name for name in question.answers if name not in self.model.classes]
        if strange or kind not in self.model.kinds:
            raise ModelError(
                f"{photo}: {self.file or 'this baseline'} was trained for other classes and does not know "
                f"{', '.join(strange) or kind}. Train one with `toeline baseline DATA --taxonomy FILE --out FILE`, or "
                f"give the taxonomy it was trained with ({', '.join(self.model.classes)})."
            )


def over(own: Mapping[str, float], answers: tuple[str, ...]) -> dict[str, float]:
    """Log-probabilities of the type's own answers, over `answers`, which may hold those of other types too.

    The type is taken as right: answers of other types share OTHER_TYPE equally, because the baseline measured nothing
    about them.

    >>> said = over({"rock toe": math.log(0.75), "rock toe damaged": math.log(0.25)}, ("rock toe", "vegetation"))
    >>> {name: round(math.exp(value), 4) for name, value in said.items()}
    {'rock toe': 0.99, 'vegetation': 0.01}
    """
    kept = {name: own[name] for name in answers if name in own}
    kept = normalized(kept) if kept else {}
    others = [name for name in answers if name not in own]
    share = math.log1p(-OTHER_TYPE) if others and kept else 0.0
    rest = math.log((OTHER_TYPE if kept else 1.0) / len(others)) if others else 0.0
    return {name: kept[name] + share if name in kept else rest for name in answers}
