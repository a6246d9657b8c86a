"""Prior correction: what a judge prefers whatever it is shown is taken off its scores.

A language model that was not trained for these classes prefers names that are short, frequent or listed last, and that
preference is mistaken for skill where it falls on the most common class. Two estimates of it:

`content-free`, after contextual calibration (Zhao et al., "Calibrate Before Use", ICML 2021, arXiv 2102.09690): the
same prompt is asked about an input without content. Of our prompts the content is the pixels, the place and what
stands around; the words of the task, the type and the list of names are not. So the judge is shown a uniformly gray
photograph that holds one object of the type and no other, in SHAPES in turn, with no relation; the mean log-probability
over the shapes is the prior. One made-up input has a preference of its own, which is why several are averaged (Fei et
al., "Mitigating Label Biases for In-context Learning", ACL 2023, arXiv 2305.19148). Taking the relations of the object
itself along, on gray, would take what they tell away as well. A prompt that measures pixels tells those of gray.

`split`, after batch calibration (Zhou et al., ICLR 2024, arXiv 2309.17249): the mean log-probability over all objects
of photographs whose conditions nobody looks at. They take the mean of probabilities; the mean of logarithms is what an
amount that is added to a class's score drops out of exactly. It holds what the objects truly are as well, so where one
class is common and well recognized, it takes that away too.

Both are per type of the object asked about, and act among the names of one type: how much each type has together stays
as it was scored, because the prompt says the type and no prior may talk a judge out of it. With the names of one type
as answers (--answers type) that is: subtract, then normalize. A calibration's temperature comes after it, and was
fitted after it: calibrations of other priors are refused. No ground truth comes here: a judge scores sheets.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from toeline.core.box import Box
from toeline.core.calibration import SMALLEST, normalized
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.reading import file_hash, is_file, numbers, read_json, whole, word
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut
from toeline.errors import ModelError
from toeline.judge.judge import fingerprint
from toeline.prompts.build import Answers, ask, legal

if TYPE_CHECKING:
    from toeline.core.finding import Finding
    from toeline.judge.judge import Judge

Scores = Mapping[str, float]  # answer -> log-probability
OFF, CONTENT_FREE, SPLIT = "off", "content-free", "split"
SIDE, GRAY = 640, (128, 128, 128)  # pixels, as the photographs that judges are trained on; the middle of 8 bits
SHAPES = ((240, 240, 400, 400), (80, 300, 560, 340), (300, 80, 340, 560))  # a square, and drains that lie and stand
DECIMALS = 6  # of a prior: what is written is what is subtracted
VERSION = 1
MOST = 10**9  # objects that a mean is of
UNASKED = {"floor", "fuse", "replay"}  # back ends that are not asked in words, so that no name can be preferred
NOT_ASKED = (
    "--prior needs a language model that scores the class names. Baselines and replays read no words, an ensemble was "
    "fitted to uncorrected scores, and a written answer has no score: name a language model with --judge, such as "
    "embedded, or leave --prior out."
)
ADVICE = "Name the prior.json that toeline evaluate --prior wrote."


@dataclass(frozen=True)
class Prior:
    """What a judge prefers: type of the object asked about -> answer -> mean log-probability.

    `source` is content-free, or "split " and its name; `objects` are how many each type's mean is of; `answers` is what
    was asked, type or all. `fitted_for` is whose preference it is: judge, hashes of its weights, prompt. A type that is
    not there has no prior: its answers stay as they are scored.
    """

    source: str
    answers: Answers
    by_type: Mapping[str, Scores]
    objects: Mapping[str, int]
    fitted_for: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """What a calibration remembers it by: content-free follows from judge and prompt, a mean from its numbers."""
        said = json.dumps([self.answers, self.by_type], sort_keys=True)
        return self.source if self.source == CONTENT_FREE else hashlib.sha256(said.encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """As prior.json holds it, and run.json beside the judge."""
        return {
            "version": VERSION,
            "source": self.source,
            "answers": self.answers,
            "log_probabilities": {kind: dict(scores) for kind, scores in self.by_type.items()},
            "objects": dict(self.objects),
            "fitted_for": dict(self.fitted_for),
        }


def prior_from(record: Mapping[str, Any], called: str = "prior.json") -> Prior:
    """The prior of a record. Raises ModelError, with the name of its file, for another version or no record."""
    try:
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}")
        by_type = {kind: numbers(scores, kind) for kind, scores in record["log_probabilities"].items()}
        answers: Answers = "all" if record["answers"] == "all" else "type"
        if record["answers"] != answers:
            raise ValueError(f"answers is {cut(repr(record['answers']))}, and must be type or all")
        objects = {kind: whole(n, f"objects of {kind}", low=0, high=MOST) for kind, n in record["objects"].items()}
        return Prior(word(record["source"], "source"), answers, by_type, objects, dict(record["fitted_for"]))
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        what = f"{cut(str(why))} is missing" if isinstance(why, KeyError) else cut(str(why), 200)
        raise ModelError(f"{called}: is no prior of this Toeline ({what}). {ADVICE}") from None


def load_prior(file: Path) -> Prior:
    """Read a prior.json. Raises ModelError, which names the file."""
    return prior_from(read_json(file, ModelError, advice=ADVICE), str(file))


def corrected(scores: Scores, prior: Scores, taxonomy: Taxonomy) -> dict[str, float]:
    """One question's log-probabilities less the prior, among the names of each type; they sum to 1 again.

    Raises KeyError for an answer that the prior does not know.

    >>> said = corrected(
    ...     {"rock toe": math.log(0.9), "rock toe damaged": math.log(0.1)},
    ...     {"rock toe": math.log(0.9), "rock toe damaged": math.log(0.1)}, Taxonomy.load())
    >>> {name: round(math.exp(value), 3) for name, value in said.items()}
    {'rock toe': 0.5, 'rock toe damaged': 0.5}
    """
    from scipy.special import logsumexp

    scored, found = normalized(scores), dict[str, float]()
    of_type: dict[str, list[str]] = {}
    for name in scored:
        of_type.setdefault(taxonomy.class_of(name).type, []).append(name)
    for names in of_type.values():
        together = float(logsumexp([scored[name] for name in names]))
        moved = normalized({name: scored[name] - prior[name] for name in names})
        found |= {name: together + value for name, value in moved.items()}
    return {name: found[name] for name in scores}


@dataclass(frozen=True)
class PriorJudge:
    """A judge whose scores are corrected. Its `info` says by what, so that a run cannot mix two. Build with `of`."""

    judge: Judge
    prior: Prior
    taxonomy: Taxonomy

    @classmethod
    def of(cls, judge: Judge, prior: Prior, taxonomy: Taxonomy, *, answers: Answers) -> PriorJudge:
        """Raises ModelError for a judge that is not asked in words, and for another's prior, of another prompt too."""
        require_asked(judge)
        owner = owner_of(judge)
        others = [what for what, now in owner.items() if prior.fitted_for.get(what, now) != now]
        if prior.answers != answers:
            others.append(f"--answers {answers}")
        if any(set(scores) != names_of(kind, taxonomy, answers) for kind, scores in prior.by_type.items()):
            others.append("--taxonomy")
        if others:
            raise ModelError(
                f"the prior is of another {' and '.join(others)}: it says nothing about what this judge prefers. Make "
                f"it again with toeline evaluate --prior, or leave --prior out."
            )
        return cls(judge, prior, taxonomy)

    @property
    def view(self) -> PromptBudget:
        """That of the judge."""
        return self.judge.view

    @property
    def info(self) -> Mapping[str, Any]:
        """The judge's own, and the prior."""
        return {**self.judge.info, "prior": {**self.prior.record(), "mark": self.prior.mark}}

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """The corrected log-probabilities, question by question."""
        said = self.judge.score(sheet)
        return [self._one(sheet, q.instance_id, scores) for q, scores in zip(sheet.questions, said, strict=True)]

    def _one(self, sheet: QuestionSheet, instance_id: str, scores: Scores) -> dict[str, float]:
        assert sheet.scene is not None, "sheets of questions about conditions hold their scene"
        prior = self.prior.by_type.get(sheet.scene.instance(instance_id).type_name)
        return dict(scores) if prior is None else corrected(scores, prior, self.taxonomy)


def with_prior(judge: Judge, prior: Prior | str | Path, taxonomy: Taxonomy, *, answers: Answers) -> Judge:
    """The judge as `--prior` asks for it: as it is, or corrected by a prior, content-free or of a file.

    Raises ModelError for a file that is none, and as PriorJudge.of does.
    """
    if prior == OFF:
        return judge
    if isinstance(prior, str) and prior == CONTENT_FREE:
        prior = content_free(judge, taxonomy, answers=answers)
    found = prior if isinstance(prior, Prior) else load_prior(Path(prior))
    return PriorJudge.of(judge, found, taxonomy, answers=answers)


def is_split(typed: str) -> bool:
    """Whether `--prior` names a split to take the mean over: split, or split:NAME."""
    return typed.partition(":")[0] == SPLIT


def prior_hash(typed: str) -> dict[str, str]:
    """For the settings of a run, the hash of the file that `--prior` names; empty where it names none."""
    named = typed not in (OFF, CONTENT_FREE) and not is_split(typed) and is_file(Path(typed))
    return {"prior_sha256": file_hash(Path(typed))} if named else {}


def require_asked(judge: Judge) -> None:
    """Raise ModelError for a judge that no words are put to: a prior is a preference among names."""
    if judge.info.get("back_end") in UNASKED or judge.info.get("decide") == "generate":
        raise ModelError(NOT_ASKED)


def names_of(kind: str, taxonomy: Taxonomy, answers: Answers) -> set[str]:
    """The answers to a question about an object of a type; empty for a type that the taxonomy does not have."""
    if kind not in {t.name for t in taxonomy.types}:
        return set()
    return set(legal(Instance("", kind, Box(0, 0, 1, 1)), taxonomy, answers))


def owner_of(judge: Judge) -> dict[str, Any]:
    """Whose preference a prior is: weights and prompt."""
    return {"weights": fingerprint(judge.info), "prompt": judge.view.prompt}


def content_free(judge: Judge, taxonomy: Taxonomy, *, answers: Answers) -> Prior:
    """The prior of a judge on gray photographs: depends on the judge, its prompt and the taxonomy, on no data.

    Raises ModelError for a judge that is not asked in words.
    """
    require_asked(judge)
    said: dict[str, list[Scores]] = {}
    for kind, sheet in _gray_sheets(judge.view, taxonomy, answers):
        said.setdefault(kind, []).append(normalized(judge.score(sheet)[0]))
    return _prior(CONTENT_FREE, answers, said, owner_of(judge))


def _gray_sheets(view: PromptBudget, taxonomy: Taxonomy, answers: Answers) -> Iterator[tuple[str, QuestionSheet]]:
    """For each type that leaves a choice, a sheet with one object of it for each of SHAPES."""
    gray = Image.new("RGB", (SIDE, SIDE), GRAY)
    for kind in (t.name for t in taxonomy.types):
        for corners in SHAPES:
            instance = Instance("1", kind, Box(*map(float, corners)))
            if len(legal(instance, taxonomy, answers)) > 1:
                scene = Scene(Path(CONTENT_FREE), gray.size, (instance,))
                yield kind, ask(scene, gray, {}, taxonomy, view, answers=answers)


def mean_prior(findings: Iterable[Finding], source: str, *, answers: Answers, owner: Mapping[str, Any]) -> Prior:
    """The prior of findings that were not corrected, on photographs whose conditions are not looked at.

    Probabilities are written with six decimals, so one of 0 counts as SMALLEST: a single sure answer of a million to
    one does not outweigh ten others.
    """
    said: dict[str, list[Scores]] = {}
    for verdict, kind in ((f.verdict, f.type_name) for f in findings):
        if verdict.asked and verdict.readable:
            logs = {name: math.log(max(p, SMALLEST)) for name, p in verdict.probabilities.items()}
            said.setdefault(kind, []).append(logs)
    return _prior(source, answers, said, owner)


def _prior(source: str, answers: Answers, said: Mapping[str, Sequence[Scores]], owner: Mapping[str, Any]) -> Prior:
    means = {
        kind: {name: round(math.fsum(one[name] for one in ones) / len(ones), DECIMALS) for name in ones[0]}
        for kind, ones in said.items()
    }
    return Prior(source, answers, means, {kind: len(ones) for kind, ones in said.items()}, owner)
