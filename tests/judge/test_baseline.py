"""The floor as a judge: its file, its scores, and what it refuses."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.colored import write_colored

from toeline.core.question import Question, QuestionSheet
from toeline.core.reading import file_hash
from toeline.core.taxonomy import Taxonomy
from toeline.data.feature_maps import feature_network
from toeline.data.images import read_photo
from toeline.data.yolo import open_yolo, read_entry
from toeline.errors import ModelError
from toeline.judge.baseline.judge import OTHER_TYPE, BaselineJudge
from toeline.judge.baseline.model import KEY, BaselineModel, Forest, TypeModel, load_baseline, save_baseline
from toeline.judge.load import load_judge
from toeline.prompts.build import ask
from toeline.train import baseline as floor_fit
from toeline.train.baseline import TrainedBaseline, train_baseline
from toeline.train.config import BaselineRun

TAXONOMY = Taxonomy.load()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colored(tmp_path_factory.mktemp("colored"))


@pytest.fixture(scope="module")
def trained(data: Path) -> TrainedBaseline:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor_fit, "TREES", 4)
        patch.setattr(floor_fit, "LEAF", 1)
        return train_baseline(BaselineRun(data=data), TAXONOMY)


@pytest.fixture
def file(trained: TrainedBaseline, tmp_path: Path) -> Path:
    save_baseline(trained.model, tmp_path / "floor.safetensors")
    return tmp_path / "floor.safetensors"


def sheet_of(data: Path, answers: str = "type", at: int = 0) -> tuple[QuestionSheet, dict[str, str], str]:
    """A photograph's sheet, its true classes by id, and the photograph's hash."""
    found = open_yolo(data, TAXONOMY)
    entry = found.splits["train"][at]
    labeled = read_entry(entry, TAXONOMY, found.names)
    judge = BaselineJudge(BaselineModel((), {}, (), {}))
    kind = "all" if answers == "all" else "type"
    sheet = ask(labeled.scene, read_photo(entry.photo), {}, TAXONOMY, judge.view, answers=kind)  # type: ignore[arg-type]
    return sheet, {t.instance_id: t.class_name for t in labeled.ground_truths}, file_hash(entry.photo)


def test_a_floor_answers_like_any_judge(file: Path, data: Path) -> None:
    judge = load_judge(f"floor:{file}")
    sheet, ground_truths, _ = sheet_of(data)
    for question, scores in zip(sheet.questions, judge.score(sheet), strict=True):
        assert tuple(scores) == question.answers
        assert sum(map(math.exp, scores.values())) == pytest.approx(1)
        assert max(scores, key=scores.__getitem__) == ground_truths[question.instance_id]


def test_the_type_is_trusted_when_all_answers_are_legal(file: Path, data: Path) -> None:
    judge = load_judge(f"floor:{file}")
    narrow, wide = sheet_of(data)[0], sheet_of(data, "all")[0]
    by_id = {q.instance_id: s for q, s in zip(narrow.questions, judge.score(narrow), strict=True)}
    assert len(wide.questions) == 3
    for question, scores in zip(wide.questions, judge.score(wide), strict=True):
        assert tuple(scores) == TAXONOMY.answers()
        assert sum(map(math.exp, scores.values())) == pytest.approx(1)
        for name, own in by_id.get(question.instance_id, {}).items():
            assert math.exp(scores[name]) == pytest.approx((1 - OTHER_TYPE) * math.exp(own))


def test_a_file_gives_the_same_scores_and_bytes(
    trained: TrainedBaseline, file: Path, data: Path, tmp_path: Path
) -> None:
    sheet = sheet_of(data)[0]
    assert load_judge(f"floor:{file}").score(sheet) == BaselineJudge(trained.model).score(sheet)
    save_baseline(load_baseline(file)[0], tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_info_says_what_it_was_trained_on(file: Path) -> None:
    info = load_judge(f"floor:{file}").info
    assert (info["back_end"], info["split"], info["photographs"], info["flight_lines"]) == ("floor", "train", 16, 4)
    assert len(info["sha256"]) == len(info["data_sha256"]) == 64
    json.dumps(dict(info))


def test_scores_of_its_own_photographs_are_kept_out_of_fold(file: Path, data: Path, trained: TrainedBaseline) -> None:
    judge = BaselineJudge.load(file)
    sheet, _, sha256 = sheet_of(data)
    for question, seen in zip(sheet.questions, judge.score(sheet), strict=True):
        kept = judge.out_of_fold(sha256, question)
        assert kept is not None
        assert kept.keys() == seen.keys()
        assert kept != pytest.approx(seen)
    assert judge.out_of_fold("0" * 64, sheet.questions[0]) is None
    with pytest.raises(ModelError, match="with other boxes"):
        judge.out_of_fold(sha256, replace(sheet.questions[0], instance_id="99"))


def test_another_taxonomy_is_refused(file: Path, data: Path) -> None:
    sheet = sheet_of(data)[0]
    strange = Question(sheet.questions[0].instance_id, "", None, ("pipe", "pipe cracked"))
    with pytest.raises(ModelError, match=r"does not know pipe, pipe cracked\. Train one"):
        load_judge(f"floor:{file}").score(replace(sheet, questions=(strange,)))


def test_a_sheet_without_a_photograph_is_refused(file: Path, data: Path) -> None:
    with pytest.raises(ModelError, match="holds none"):
        load_judge(f"floor:{file}").score(replace(sheet_of(data)[0], image=None))


def test_an_adapter_is_refused(file: Path) -> None:
    with pytest.raises(ModelError, match="Leave --adapter out"):
        load_judge(f"floor:{file}", adapter=Path("lora"))


def rewritten(file: Path, change: dict[str, object]) -> bytes:
    """The file with entries of its header replaced."""
    from safetensors.numpy import load, save

    raw = file.read_bytes()
    head = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"][KEY])
    return bytes(save(load(raw), metadata={KEY: json.dumps({**head, **change})}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 0}, "measures of version 0"),
        ({"names": ["a"]}, "weights for 1 measures"),
        ({"kinds": ["pipe"]}, r"other measures than this Toeline takes\. Train it again"),
        ({"classes": {"x": "slope_drain"}}, "has other answers than classes"),
        ({"temperature": 0}, "temperature is 0"),
        ({"answers": 3}, "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(file: Path, change: dict[str, object], said: str) -> None:
    file.write_bytes(rewritten(file, change))
    with pytest.raises(ModelError, match=said):
        load_judge(f"floor:{file}")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BaselineModel]:
    """A small data set, and a baseline of it that reads pretrained features."""
    data = write_colored(tmp_path_factory.mktemp("small"), lines=2, per_line=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor_fit, "TREES", 4)
        patch.setattr(floor_fit, "LEAF", 1)
        return data, train_baseline(BaselineRun(data=data, features="pretrained"), TAXONOMY).model


def test_pretrained_features_are_read_as_they_were_trained(
    pretrained: tuple[Path, BaselineModel], tmp_path: Path
) -> None:
    data, model = pretrained
    save_baseline(model, tmp_path / "first")
    judge = load_judge(f"baseline:{tmp_path / 'first'}")
    sheet, ground_truths, _ = sheet_of(data)
    said = judge.score(sheet)
    assert said == BaselineJudge(model).score(sheet)
    assert said != BaselineJudge(replace(model, by_type=without_wide(model))).score(sheet)
    for question, scores in zip(sheet.questions, said, strict=True):
        assert max(scores, key=scores.__getitem__) == ground_truths[question.instance_id]
    assert judge.info["features"] == "pretrained"
    assert "onnxruntime" in judge.info["versions"]
    save_baseline(load_baseline(tmp_path / "first")[0], tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


def without_wide(model: BaselineModel) -> dict[str, TypeModel]:
    return {kind: replace(part, wide=None) for kind, part in model.by_type.items()}


def test_features_of_another_network_are_refused(pretrained: tuple[Path, BaselineModel], tmp_path: Path) -> None:
    data, model = pretrained
    other = replace(model, network="0" * 64)
    save_baseline(other, tmp_path / "other")
    with pytest.raises(ModelError, match=r"features of another network \(000000000000\.\.\.\).*Train it again"):
        load_judge(f"baseline:{tmp_path / 'other'}")
    with pytest.raises(ModelError, match="another network"):
        BaselineJudge(other).score(sheet_of(data)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": 3}, "is damaged"),
        ({"network": ""}, "is damaged"),
        ({"version": 3}, "is damaged"),  # it would have models of drawn scenes
        ({"names": ["a"]}, "weights for 1 measures"),
        ({"version": 4}, "measures of version 4"),
    ],
)
def test_a_file_with_pretrained_features_that_does_not_fit_is_refused(
    pretrained: tuple[Path, BaselineModel], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    save_baseline(pretrained[1], tmp_path / "x")
    (tmp_path / "x").write_bytes(rewritten(tmp_path / "x", change))
    with pytest.raises(ModelError, match=said):
        load_judge(f"baseline:{tmp_path / 'x'}")


def test_a_file_of_measures_that_says_it_has_more_is_refused(file: Path) -> None:
    file.write_bytes(rewritten(file, {"version": 2, "network": feature_network().sha256}))
    with pytest.raises(ModelError, match="is damaged"):
        load_judge(f"baseline:{file}")


def test_weights_for_fewer_features_are_refused(pretrained: tuple[Path, BaselineModel], tmp_path: Path) -> None:
    model = pretrained[1]
    cut = {kind: replace(part, wide=part.linear) for kind, part in model.by_type.items()}
    save_baseline(replace(model, by_type=cut), tmp_path / "x")
    with pytest.raises(ModelError, match=r"weights for 1147 columns"):
        load_judge(f"baseline:{tmp_path / 'x'}")


def test_files_of_measures_alone_keep_their_form(file: Path) -> None:
    raw = file.read_bytes()
    head = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"][KEY])
    assert head["version"] == 1
    assert "network" not in head


@pytest.mark.parametrize("content", [b"", b"no floor", pickle.dumps({"a": 1}), b"\xff" * 64])
def test_a_file_that_is_no_floor_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelError, match=r"is no baseline file\. Train it again"):
        load_judge(f"floor:{tmp_path / 'x'}")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_judge(f"floor:{tmp_path / 'gone'}")


def forest(**change: object) -> Forest:
    """One tree: measure 0 at most 0.5 is the first answer, above it the second."""
    tables: dict[str, object] = {
        "roots": np.array([0], np.int32),
        "feature": np.array([0, 0, 0], np.int32),
        "threshold": np.array([0.5, 0, 0]),
        "left": np.array([1, 1, 2], np.int32),
        "right": np.array([2, 1, 2], np.int32),
        "share": np.array([[0.5, 0.5], [1, 0], [0, 1]], np.float32),
    }
    return Forest(**{**tables, **change})  # type: ignore[arg-type]


def test_a_forest_goes_down_to_its_leaves() -> None:
    rows = np.array([[0.5], [0.6]], np.float32)
    assert forest().probabilities(rows).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "change",
    [
        {"left": np.array([0, 1, 2], np.int32), "roots": np.array([3], np.int32)},
        {"left": np.array([9, 1, 2], np.int32)},
        {"right": np.array([0, 1, 2], np.int32)},
        {"left": np.array([-1, 1, 2], np.int32)},
        {"feature": np.array([-1, 0, 0], np.int32)},
        {"threshold": np.array([0.5])},
        {"share": np.array([[0.5, 0.5], [np.nan, 0], [0, 1]], np.float32)},
    ],
)
def test_a_forest_that_leads_outside_or_round_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="forest"):
        forest(**change)
