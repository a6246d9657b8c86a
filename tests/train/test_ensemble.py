"""Fitting a fusion: out-of-fold scores where a floor was trained on the photographs, its own elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.support.colored import write_colored

from toeline.cli import main
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo, read_entry
from toeline.errors import LabelError
from toeline.judge.baseline.model import load_baseline, save_baseline
from toeline.judge.ensemble import EnsembleJudge
from toeline.judge.load import load_judge
from toeline.train import baseline as floor_fit
from toeline.train.baseline import train_baseline
from toeline.train.config import BaselineRun
from toeline.train.ensemble import ask_both, ensemble_out_of_fold

TAXONOMY = Taxonomy.load()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and valid photographs, a floor of train, and a judge that gives each answer the same."""
    root = write_colored(tmp_path_factory.mktemp("colored"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floor_fit, "TREES", 3)
        save_baseline(train_baseline(BaselineRun(data=root), TAXONOMY).model, root / "floor")
    write_colored(root, split="valid", lines=2, per_line=3)
    for photo in (root / "valid" / "images").iterdir():  # other bytes, or these would be photographs of train
        photo.write_bytes(photo.read_bytes() + b" ")
    found, even = open_yolo(root, TAXONOMY), {}
    for entry in (e for entries in found.splits.values() for e in entries):
        instances = read_entry(entry, TAXONOMY, found.names).scene.instances
        even[entry.photo.name] = {t.id: dict.fromkeys(TAXONOMY.answers(t.type_name), 0.0) for t in instances}
    (root / "even.json").write_text(json.dumps(even))
    return root


def joined(data: Path) -> EnsembleJudge:
    judge = load_judge(f"fuse:replay:{data / 'even.json'},floor:{data / 'floor'}")
    assert isinstance(judge, EnsembleJudge)
    return judge


def test_a_floor_answers_for_its_own_photographs_out_of_fold(data: Path) -> None:
    answers = ask_both(data, "train", joined(data), TAXONOMY)
    assert answers.kept == (0, len(answers.asked))
    assert {x.type_name for x in answers.asked} == {"slope_drain", "rock_toe"}
    kept = [
        s
        for instances in load_baseline(data / "floor")[0].out_of_fold.values()
        for s in instances.values()
        if len(s) > 1
    ]
    assert [dict(x.b) for x in answers.asked] == [pytest.approx(dict(s), abs=1e-5) for s in kept]


def test_a_floor_answers_for_other_photographs_itself(data: Path) -> None:
    answers = ask_both(data, "valid", joined(data), TAXONOMY)
    assert answers.kept == (0, 0)
    assert len(answers.asked) > 0


def test_the_fusion_is_fitted_on_other_flight_lines(data: Path) -> None:
    asked = ask_both(data, "train", joined(data), TAXONOMY).asked
    said = ensemble_out_of_fold(asked)
    assert said is not None
    assert all(sum(map(math.exp, s.values())) == pytest.approx(1) for s in said)
    assert ensemble_out_of_fold(asked[:2]) is None


def test_a_split_that_is_not_there_is_refused(data: Path) -> None:
    with pytest.raises(LabelError, match=r"no split 'night'\. Choose one of: train, valid"):
        ask_both(data, "night", joined(data), TAXONOMY)


def test_the_command_writes_a_fusion_that_loads(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, parts = tmp_path / "fuse.json", (f"replay:{data / 'even.json'}", f"floor:{data / 'floor'}")
    asked = ["--judge", parts[0], "--judge", parts[1], "--split", "valid"]
    with pytest.raises(SystemExit) as done:
        main(["fuse", str(data), *asked, "--out", str(file), "--json"])
    assert done.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["weight"] > 0.5
    assert said["split"] == "valid"
    assert set(said["figures"]) == {*parts, "fused, fitted on other flight lines"}
    assert load_judge(f"fuse:{file}").info["weight"] == said["weight"]


def test_one_judge_is_too_few(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["fuse", str(data), "--judge", "embedded", "--out", str(tmp_path / "x.json")])
    assert done.value.code == 2
    assert "name two judges" in capsys.readouterr().err
