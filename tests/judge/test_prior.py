"""What a judge prefers unseen: a planted preference goes exactly, and nothing else does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.datasets import NAMES, make_photo, make_scene
from tests.support.leaning import BIAS, Leaning
from tests.support.tiny_judges import save_model

from toeline.core.calibration import Calibration, normalized
from toeline.core.finding import Finding
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError
from toeline.judge.decide import decide
from toeline.judge.prior import (
    CONTENT_FREE,
    Prior,
    PriorJudge,
    content_free,
    corrected,
    load_prior,
    mean_prior,
    prior_from,
    with_prior,
)
from toeline.prompts.build import ask
from toeline.prompts.relations import around
from toeline.prompts.templates import PROMPTS

TAXONOMY = Taxonomy.load()
ROWS = ("slope_drain 20 10 26 70", "toe_drain 0 70 100 80", "rock_toe 28 58 58 69", "slope_drain 60 12 66 68")
scores = st.lists(st.floats(-20, 0), min_size=9, max_size=9).map(lambda v: dict(zip(NAMES, v, strict=True)))


def sheet(answers: str = "type", prompt: str = "relations") -> QuestionSheet:
    scene = make_scene(*ROWS)
    relations = {t.id: around(scene, t.id) for t in scene.instances}
    return ask(scene, make_photo(scene.size_wh), relations, TAXONOMY, PromptBudget(prompt=prompt), answers=answers)


def close(one: Mapping[str, float], other: Mapping[str, float], within: float) -> bool:
    return one.keys() == other.keys() and all(abs(one[name] - other[name]) < within for name in one)


def judged(judge: Any, asked: QuestionSheet, **limits: Any) -> list[Finding]:
    kinds = {t.id: t for t in asked.scene.instances}
    return [
        Finding("p", q.instance_id, (t := kinds[q.instance_id]).type_name, t.box, 1.0, decide(s, TAXONOMY, **limits))
        for q, s in zip(asked.questions, judge.score(asked), strict=True)
    ]


@pytest.mark.parametrize("answers", ["type", "all"])
def test_a_planted_preference_is_removed_exactly(answers: Any) -> None:
    fair, leaning = Leaning(), Leaning(BIAS)
    asked = sheet(answers)
    made = with_prior(leaning, CONTENT_FREE, TAXONOMY, answers=answers)
    for plain, biased, now in zip(fair.score(asked), leaning.score(asked), made.score(asked), strict=True):
        assert not close(plain, biased, 0.1)
        assert math.fsum(map(math.exp, now.values())) == pytest.approx(1, abs=1e-9)
        if answers == "type":
            assert close(plain, now, 2e-6)  # a prior is written with six decimals
        for kind in TAXONOMY.types:
            own = [name for name in now if TAXONOMY.class_of(name).type == kind.name]
            if own:
                assert close(normalized({n: plain[n] for n in own}), normalized({n: now[n] for n in own}), 4e-6)
                together = [math.fsum(math.exp(said[n]) for n in own) for said in (biased, now)]
                assert together[0] == pytest.approx(together[1], abs=1e-9), "types keep what they had"


def test_without_a_preference_nothing_changes() -> None:
    asked, fair = sheet(), Leaning()
    made = with_prior(fair, CONTENT_FREE, TAXONOMY, answers="type")
    assert all(close(a, b, 2e-6) for a, b in zip(fair.score(asked), made.score(asked), strict=True))
    assert with_prior(fair, "off", TAXONOMY, answers="type") is fair


def test_the_mean_over_objects_removes_a_preference_too() -> None:
    asked = sheet()
    judges = Leaning(), Leaning(BIAS)
    means = [mean_prior(judged(one, asked), "split train", answers="type", owner={}) for one in judges]
    pairs = zip(judges, means, strict=True)
    now = [PriorJudge.of(one, prior, TAXONOMY, answers="type").score(asked) for one, prior in pairs]
    assert all(close(a, b, 1e-5) for a, b in zip(*now, strict=True))
    assert means[1].objects == {"slope_drain": 2, "toe_drain": 1, "rock_toe": 1}


@given(scores, scores)
def test_probabilities_sum_to_one_and_no_name_is_lost(said: dict[str, float], prior: dict[str, float]) -> None:
    now = corrected(said, prior, TAXONOMY)
    assert list(now) == list(said)
    assert math.fsum(map(math.exp, now.values())) == pytest.approx(1, abs=1e-9)
    level = dict.fromkeys(NAMES, -2.0)
    assert close(corrected(said, level, TAXONOMY), normalized(said), 1e-9)


def test_the_temperature_comes_after_the_prior() -> None:
    asked = sheet()
    made = with_prior(Leaning(BIAS), CONTENT_FREE, TAXONOMY, answers="type")
    warm = judged(made, asked, calibration=Calibration(2.0))
    for finding, scored in zip(warm, made.score(asked), strict=True):
        wanted = {name: math.exp(v) for name, v in normalized(scored, temperature=2.0).items()}
        assert dict(finding.verdict.probabilities) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("prompt", sorted(PROMPTS))
def test_a_gray_photograph_holds_one_object_and_no_relation(prompt: str) -> None:
    heard: list[QuestionSheet] = []

    class Hearing(Leaning):
        def score(self, asked: QuestionSheet) -> list[dict[str, float]]:
            heard.append(asked)
            return [dict.fromkeys(q.answers, -1.0) for q in asked.questions]

    found = content_free(Hearing(view=PromptBudget(prompt=prompt)), TAXONOMY, answers="type")
    assert found.objects == {"toe_drain": 3, "rock_toe": 3, "slope_drain": 3}  # vegetation is not asked about
    for asked in heard:
        (question,) = asked.questions
        pictures = [p for p in (asked.picture, question.crop) if p is not None]
        assert pictures
        assert all(set(p.tobytes()) == {128} for p in pictures)
        words = asked.text + question.text
        assert " of rock toe" not in words
        assert not any(phrase in words for phrase in ("next to", "above ", "left of"))


@pytest.mark.parametrize("back_end", ["floor", "fuse", "replay"])
def test_a_judge_that_reads_no_words_is_refused(back_end: str) -> None:
    with pytest.raises(ModelError, match="needs a language model"):
        with_prior(Leaning(info={"back_end": back_end}), CONTENT_FREE, TAXONOMY, answers="type")


def test_the_prior_of_another_judge_prompt_or_list_of_names_is_refused(tmp_path: Path) -> None:
    judge = Leaning(BIAS)
    prior = content_free(judge, TAXONOMY, answers="type")
    assert prior_from(prior.record()) == prior
    others = (
        (Leaning(info={"back_end": "fake", "weights": {"a": "34"}}), "type", "weights"),
        (replace(judge, view=PromptBudget(prompt="crop")), "type", "prompt"),
        (judge, "all", "--answers all"),
    )
    for other, answers, said in others:
        with pytest.raises(ModelError, match=said):
            with_prior(other, prior, TAXONOMY, answers=answers)  # type: ignore[arg-type]
    (tmp_path / "prior.json").write_text('{"version": 1}')
    with pytest.raises(ModelError, match="is no prior of this Toeline"):
        load_prior(tmp_path / "prior.json")


@pytest.mark.parametrize(
    ("change", "said"), [({"answers": "x"}, "must be type or all"), ({"objects": {"rock_toe": math.inf}}, "rock_toe")]
)
def test_a_prior_that_somebody_changed_is_refused(change: dict[str, Any], said: str) -> None:
    record = content_free(Leaning(BIAS), TAXONOMY, answers="type").record()
    with pytest.raises(ModelError, match=f"prior.json: is no prior of this Toeline .*{said}"):
        prior_from({**record, **change})


@pytest.mark.parametrize("scores", [{"slope drain": -1.0}, {"gate": -1.0, "gate ajar": -2.0}])
def test_a_prior_of_other_names_is_refused(scores: dict[str, float]) -> None:
    kind = "gate" if "gate" in scores else "slope_drain"
    prior = Prior("split train", "type", {kind: scores}, {kind: 1})
    with pytest.raises(ModelError, match="--taxonomy"):
        PriorJudge.of(Leaning(BIAS), prior, TAXONOMY, answers="type")


def test_a_type_without_a_prior_stays_as_it_was_scored() -> None:
    nothing = PriorJudge.of(Leaning(BIAS), Prior("split train", "type", {}, {}), TAXONOMY, answers="type")
    assert nothing.score(sheet()) == Leaning(BIAS).score(sheet())


def test_corrected_scores_do_not_depend_on_what_is_packed_together(tmp_path: Path) -> None:
    """A real, tiny language model: names of several tokens, one question at a time and all in one pass."""
    from toeline.judge.qwen_vl import QwenVLJudge

    model = QwenVLJudge.load(save_model(tmp_path / "model"), device="cpu", dtype="float32")
    made = with_prior(model, CONTENT_FREE, TAXONOMY, answers="type")
    asked = sheet()
    alone = [made.score(replace(asked, questions=(question,)))[0] for question in asked.questions]
    for together, single, scored in zip(made.score(asked), alone, model.score(asked), strict=True):
        assert close(together, single, 1e-4)
        assert not close(together, scored, 1e-3), "an untrained model prefers some names"
