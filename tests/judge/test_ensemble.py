"""Two judges as one: the arithmetic, the fit, how they are named, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.stand_ins import FakeJudge
from tests.support.tiny_judges import make_sheet

from toeline.core.calibration import fit_temperature, normalized
from toeline.core.question import PromptBudget
from toeline.errors import ModelError
from toeline.judge.ensemble import (
    EnsembleJudge,
    EnsembleWeights,
    combined,
    fit_weights,
    save_ensemble,
)
from toeline.judge.load import load_judge
from toeline.judge.replay import ReplayJudge

SLOPE = ("slope drain", "slope drain blocked", "slope drain damaged")
SHEET = make_sheet(2, answers=[SLOPE])


def logs(*shares: float) -> dict[str, float]:
    return {name: math.log(p) if p else -math.inf for name, p in zip(SLOPE, shares, strict=False)}


def shares(scores: Mapping[str, float]) -> list[float]:
    return [math.exp(value) for value in scores.values()]


def test_equal_judges_are_left_as_they_are() -> None:
    assert shares(combined(logs(0.7, 0.2, 0.1), logs(0.7, 0.2, 0.1), EnsembleWeights(0.3))) == pytest.approx(
        [0.7, 0.2, 0.1]
    )


@pytest.mark.parametrize(("weight", "expected"), [(0.0, [0.9, 0.1]), (0.5, [0.75, 0.25]), (1.0, [0.5, 0.5])])
def test_the_weight_is_that_of_the_second(weight: float, expected: list[float]) -> None:
    assert shares(combined(logs(0.9, 0.1), logs(0.5, 0.5), EnsembleWeights(weight))) == pytest.approx(expected)


def test_a_temperature_divides_log_probabilities() -> None:
    assert shares(normalized(logs(0.8, 0.2), temperature=0.5)) == pytest.approx([0.64 / 0.68, 0.04 / 0.68])


def test_an_impossible_answer_leaves_the_other_judge_its_say() -> None:
    said = combined(logs(1.0, 0.0), logs(0.5, 0.5), EnsembleWeights(1.0))
    assert shares(said) == pytest.approx([0.5, 0.5])
    assert all(map(math.isfinite, combined(logs(1.0, 0.0), logs(0.0, 1.0), EnsembleWeights()).values()))


def test_judges_of_other_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="other answers: slope drain damaged"):
        combined(logs(0.5, 0.5), logs(0.5, 0.3, 0.2), EnsembleWeights())


@pytest.mark.parametrize("given", [(1.5, (1.0, 1.0)), (-0.1, (1.0, 1.0)), (0.5, (0.0, 1.0)), (0.5, (1.0, math.inf))])
def test_a_mix_is_checked(given: tuple[float, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="mix nothing"):
        EnsembleWeights(*given)


def drawn(n: int, sharpness: float, seed: int) -> tuple[list[dict[str, float]], list[str]]:
    """Questions whose right answers are drawn from the probabilities, which are then made `sharpness` times as sure."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([1, 1, 1], n)
    right = [SLOPE[rng.choice(3, p=p)] for p in true]
    return [normalized(logs(*p), temperature=1 / sharpness) for p in true], right


def test_the_temperature_of_a_judge_that_is_too_sure_is_found() -> None:
    said, right = drawn(1500, 2.5, seed=0)
    assert fit_temperature([list(s.values()) for s in said], [SLOPE.index(name) for name in right]) == pytest.approx(
        2.5, rel=0.15
    )


def test_all_weight_goes_to_the_judge_that_knows() -> None:
    said, right = drawn(400, 1.0, seed=1)
    guess = [logs(*p) for p in np.random.default_rng(2).dirichlet([1, 1, 1], 400)]
    assert fit_weights(guess, said, right).weight > 0.9
    assert fit_weights(said, guess, right).weight < 0.1


def saved(file: Path, *scores: float) -> str:
    """A judge's name that replays these scores for the two things of SHEET."""
    file.write_text(json.dumps({"photo.jpg": {f"t{i}": logs(*scores) for i in range(2)}}))
    return f"replay:{file}"


def test_two_judges_are_named_by_a_comma(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a.json", 0.8, 0.1, 0.1), saved(tmp_path / "b.json", 0.1, 0.8, 0.1)
    judge = load_judge(f"fuse:{a},{b}")
    said = judge.score(SHEET)
    assert [shares(s)[0] for s in said] == pytest.approx([shares(s)[1] for s in said])
    assert isinstance(judge, EnsembleJudge)
    first, second = judge.score_parts(SHEET)
    assert [combined(x, y, judge.mix) for x, y in zip(first, second, strict=True)] == said
    assert judge.info["weight"] == 0.5
    assert set(judge.info["parts"]) == {a, b}
    json.dumps(dict(judge.info))


def test_a_fitted_fusion_is_loaded_and_lends_its_weight_to_others(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a.json", 0.8, 0.1, 0.1), saved(tmp_path / "b.json", 0.1, 0.8, 0.1)
    judge = load_judge(f"fuse:{a},{b}")
    assert isinstance(judge, EnsembleJudge)
    save_ensemble(tmp_path / "mix.json", replace(judge, mix=EnsembleWeights(1.0, (1.0, 0.5))), {"split": "valid"})
    again = load_judge(f"fuse:{tmp_path / 'mix.json'}")
    assert [shares(s) for s in again.score(SHEET)] == [pytest.approx([1 / 66, 64 / 66, 1 / 66])] * 2
    assert again.info["split"] == "valid"
    turned = load_judge(f"fuse:{tmp_path / 'mix.json'},{b},{a}")
    assert shares(turned.score(SHEET)[0])[0] == pytest.approx(64 / 66)


@dataclass(frozen=True)
class Weighed:
    """A judge with weights, as far as a fusion asks."""

    sha256: str
    view: PromptBudget = field(default_factory=PromptBudget)

    @property
    def info(self) -> dict[str, Any]:
        return {"back_end": "fake", "sha256": self.sha256}

    def score(self, sheet: object) -> list[dict[str, float]]:
        return [logs(0.5, 0.3, 0.2)]


def test_a_fusion_of_other_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mix.json"
    save_ensemble(file, EnsembleJudge((Weighed("one"), ReplayJudge({})), ("one", "two")), {})
    assert (
        EnsembleJudge.load(str(file), lambda name: Weighed("one") if name == "one" else ReplayJudge({})).mix
        == EnsembleWeights()
    )
    with pytest.raises(ModelError, match="fitted for other weights than one has now"):
        EnsembleJudge.load(str(file), lambda name: Weighed("changed") if name == "one" else ReplayJudge({}))


def test_the_view_is_that_of_the_judge_that_looks() -> None:
    view = PromptBudget(scene_tokens=100)
    assert EnsembleJudge((ReplayJudge({}), FakeJudge(view=view)), ("a", "b")).view == view
    assert EnsembleJudge((FakeJudge(view=view), ReplayJudge({})), ("a", "b")).view == view
    assert EnsembleJudge((ReplayJudge({}), ReplayJudge({})), ("a", "b")).view == PromptBudget()
    with pytest.raises(ModelError, match=r"a and b want to be shown different pictures.*replay:FILE"):
        EnsembleJudge((FakeJudge(view=view), FakeJudge()), ("a", "b"))


@pytest.mark.parametrize("said", ["embedded", "a,b,c", "a,", "fuse:x,embedded"])
def test_what_names_no_two_judges_is_refused(said: str) -> None:
    with pytest.raises(ModelError, match="name two judges"):
        load_judge(f"fuse:{said}")


@pytest.mark.parametrize(
    "content",
    ["nope", "{}", '{"judges": ["a"], "weight": 1, "temperatures": [1, 1], "fingerprints": [{}], "facts": {}}'],
)
def test_a_file_that_is_no_fusion_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ModelError, match=r"x\.json"):
        load_judge(f"fuse:{tmp_path / 'x.json'}")
