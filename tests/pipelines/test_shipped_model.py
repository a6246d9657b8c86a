"""What answers where nothing is named: the model folder in the package, or the parts of a package without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.stand_ins import FakeJudge
from tests.support.taxonomies import OWN, load

from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError, SetupError
from toeline.judge import load as judges
from toeline.judge.ensemble import EnsembleJudge, EnsembleWeights, save_ensemble
from toeline.pipelines.model_folder import (
    calibration_file,
    judge_for,
    language_model_saw,
    seen_by_package,
    with_model,
    write_model,
)
from toeline.pipelines.settings import EvaluateRun, InspectRun

RUN = InspectRun(photos=(Path("p"),))
EVALUATION = EvaluateRun(data=Path("d"), split="valid")
BOTH = ("baseline.safetensors", "ensemble.json", "calibration.json", "judge/model.safetensors")
ALONE = ("baseline.safetensors", "calibration.json")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A package of these files, as far as names go: nothing is loaded."""
    folder = tmp_path / "models"
    monkeypatch.chdir(tmp_path)

    def made(*parts: str) -> Path:
        for part in ("judge/model.safetensors", *parts):
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (folder / part).write_text(part)
        if parts:
            write_model(folder, parts, {"photographs_sha256": ["aa", "bb"]}, {})
        for name, place in (("PACKAGE", ""), ("EMBEDDED", "judge"), ("BASELINE", ALONE[0]), ("ENSEMBLE", BOTH[1])):
            monkeypatch.setattr(judges, name, folder / place)
        return folder

    return made


@pytest.mark.parametrize(
    ("parts", "judge"), [((), "embedded"), (ALONE, "baseline:embedded"), (BOTH, "ensemble:embedded")]
)
def test_the_judge_of_the_package_answers_with_its_calibration(package: Any, parts: Any, judge: str) -> None:
    folder = package(*parts)
    for run in (RUN, EVALUATION):
        assert with_model(run).judge == judge
        assert with_model(run).detector == "embedded"
    assert calibration_file(None, judge) == (folder / "calibration.json" if parts else None)
    assert calibration_file(Path("mine"), judge) == Path("mine")


@pytest.mark.parametrize("named", ["embedded", "mine", "baseline:mine", "ensemble:embedded,baseline:mine"])
def test_a_judge_that_is_named_has_no_calibration_of_the_package(package: Any, named: str) -> None:
    package(*BOTH)
    Path("mine").touch()
    assert with_model(replace(RUN, judge=named)).judge == named
    assert calibration_file(None, named) is None


def test_a_detector_that_is_named_leaves_the_judge_and_its_calibration(package: Any) -> None:
    package(*BOTH)
    Path("mine.onnx").touch()
    assert with_model(replace(RUN, detector="mine.onnx")).judge == "ensemble:embedded"


@pytest.mark.parametrize(
    "run",
    [
        replace(RUN, adapter=Path("a")),
        replace(EVALUATION, adapter=Path("a")),
        replace(EVALUATION, prompt="minimal"),
        replace(EVALUATION, decide="generate"),
        replace(EVALUATION, relations="none"),
    ],
)
def test_what_only_words_can_do_is_asked_of_the_language_model_alone(package: Any, run: Any) -> None:
    package(*BOTH)
    assert with_model(run).judge == "embedded"


def test_other_classes_than_those_of_training_are_too(package: Any, tmp_path: Path) -> None:
    package(*BOTH)
    assert judge_for(load(tmp_path, OWN)) == "embedded"
    assert judge_for(replace(Taxonomy.load(), name="the same classes by another name")) == "ensemble:embedded"


def test_a_damaged_package_is_said_and_its_parts_can_be_named(package: Any) -> None:
    (package(*BOTH) / "calibration.json").write_text("another")
    with pytest.raises(ModelError, match="is another file"):
        with_model(RUN)
    assert with_model(replace(RUN, judge="embedded")).judge == "embedded"


def test_a_model_folder_and_a_judge_contradict_each_other_also_where_it_is_the_embedded_one() -> None:
    with pytest.raises(SetupError, match="holds all parts"):
        with_model(replace(RUN, model=Path("m"), judge="embedded"))


def test_the_files_that_an_answer_depends_on_are_known_by_the_judges_name(package: Any) -> None:
    folder = package(*BOTH)
    weights = folder / "judge" / "model.safetensors"
    assert judges.packaged_files("embedded") == [weights]
    assert judges.packaged_files("ensemble:embedded") == [folder / BOTH[1], folder / BOTH[0], weights]
    assert judges.packaged_files("ensemble:embedded,baseline:embedded") == [weights, folder / BOTH[0]]
    assert judges.packaged_files("baseline:mine") == []


def test_the_ensemble_of_the_package_is_for_its_own_weights(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(*BOTH)
    parts = [FakeJudge(info={"back_end": "fake", "weights": {"w": name}}) for name in "ab"]
    names = ("embedded", "baseline:embedded")
    save_ensemble(folder / "ensemble.json", EnsembleJudge((parts[0], parts[1]), names, EnsembleWeights(0.3)), {})
    monkeypatch.setitem(judges.JUDGES, "embedded", lambda *_: parts[0])
    monkeypatch.setitem(judges.JUDGES, "baseline", lambda *_: parts[1])
    made = judges.load_judge("ensemble:embedded")
    assert (made.info["weight"], list(made.info["parts"])) == (0.3, list(names))
    assert str(folder) not in str(made.info)
    parts[1].info = {"back_end": "fake", "weights": {"w": "c"}}
    with pytest.raises(ModelError, match="fitted for other weights"):
        judges.load_judge("ensemble:embedded")


def test_what_the_package_was_trained_on_is_known(package: Any) -> None:
    package(*BOTH)
    assert seen_by_package(["bb", "cc"]) == 1
    assert language_model_saw("ensemble:embedded")["photographs_sha256"] == ["aa", "bb"]
    assert language_model_saw("baseline:embedded") == {}
    package(*ALONE)
    assert language_model_saw("embedded") == {}, "the language model beside it has seen drawn scenes only"


def test_a_package_of_single_parts_was_trained_on_no_photograph(package: Any) -> None:
    package()
    assert (seen_by_package(["aa"]), language_model_saw("embedded")) == (0, {})
