"""Scenes, verdicts and errors: what they refuse and what they answer."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from tests.support.datasets import make_scene

from toeline.core.finding import Finding, Verdict
from toeline.core.question import Question, QuestionSheet
from toeline.core.scene import Instance, Scene
from toeline.errors import (
    LabelError,
    ModelError,
    OutputError,
    PhotoError,
    SetupError,
    TaxonomyError,
    ToelineError,
    need,
)


def test_two_things_of_one_id_are_refused() -> None:
    (instance,) = make_scene("rock_toe 0 0 1 1").instances
    with pytest.raises(ValueError, match=r"a\.jpg: more than one instance is called 1"):
        Scene(Path("a.jpg"), (10, 10), (instance, instance))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_photograph_has_a_size(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg"):
        Scene(Path("a.jpg"), size)


def test_a_scene_knows_its_things_and_its_diagonal() -> None:
    scene = make_scene("rock_toe 0 0 1 1", "vegetation 2 2 3 3", size_wh=(300, 400))
    assert scene.diagonal == 500
    assert scene.instance("2").type_name == "vegetation"
    with pytest.raises(KeyError, match="3"):
        scene.instance("3")


@pytest.mark.parametrize("record", [Instance, Scene, Question, QuestionSheet])
def test_what_a_model_is_shown_has_no_room_for_a_condition(record: type) -> None:
    names = {field.name for field in dataclasses.fields(record)}
    assert not names & {"condition", "truth", "truths", "class_name", "label"}


@pytest.mark.parametrize(
    ("probabilities", "second"),
    [
        ({"a": 0.5, "b": 0.2, "c": 0.3}, ("c", 0.3)),
        ({"a": 1.0}, None),
        ({"a": 0.4, "b": 0.6}, ("b", 0.6)),
        ({"a": 0.5, "b": 0.25, "c": 0.25}, ("b", 0.25)),
    ],
)
def test_the_runner_up(probabilities: dict[str, float], second: tuple[str, float] | None) -> None:
    assert Verdict("a", "normal", probabilities["a"], probabilities).second == second


def test_records_are_frozen() -> None:
    scene = make_scene("rock_toe 0 0 1 1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        scene.instances[0].type_name = "vegetation"  # type: ignore[misc]
    assert hash(scene) == hash(make_scene("rock_toe 0 0 1 1"))


def test_a_finding_says_where_it_was_found() -> None:
    instance = make_scene("rock_toe 0 0 1 1").instances[0]
    finding = Finding(
        "line 1/a.jpg", instance.id, instance.type_name, instance.box, 0.9, Verdict("rock toe", "normal", 1.0, {})
    )
    assert (finding.photo, finding.relations, finding.polygon) == ("line 1/a.jpg", (), ())


@pytest.mark.parametrize("error", [SetupError, TaxonomyError, LabelError, PhotoError, ModelError, OutputError])
def test_a_users_fault_is_a_toeline_error(error: type[Exception]) -> None:
    assert issubclass(error, ToelineError)


def test_a_missing_extra_names_its_install_line() -> None:
    with pytest.raises(SetupError, match=r"-m pip install 'accelerate>=1\.12' 'peft>="):
        need("toeline_no_such_library.part", extra="train")


def test_a_broken_extra_is_not_disguised_as_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toeline_broken.py").write_text("import toeline_gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="toeline_gone"):
        need("toeline_broken", extra="train")
    assert "toeline_broken" not in sys.modules
