"""`toeline learn` with detectors that are not trained (the embedded one, copied), so that nothing here takes minutes.

That detectors are trained without choosing on the validation split is in tests/train/test_detector_fit.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.colored import write_colored
from tests.support.datasets import exit_code

from toeline.core.calibration import load_calibration
from toeline.core.run_folder import read_run
from toeline.errors import ModelError, SetupError
from toeline.judge.load import load_judge
from toeline.pipelines import learn
from toeline.pipelines.model_folder import MODEL, ModelFolder, with_model
from toeline.pipelines.settings import EvaluateRun, InspectRun
from toeline.train import baseline
from toeline.train.config import LearnRun

EMBEDDED = Path(learn.__file__).parent.parent / "models" / "detector"
RUN = LearnRun(epochs=1, judge_epochs=0, folds=2, mix_drawn=1, jobs=1)


def dataset(root: Path) -> Path:
    """Four flight lines to train on, two to measure on; colors say what is blocked."""
    write_colored(root, lines=4, per_line=2)
    return write_colored(root, lines=2, per_line=1, split="valid", first=4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of its own, for whoever changes it."""
    return dataset(tmp_path / "data")


def stand_in(patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What detectors were asked to train on, in their order; each is a copy of the embedded one."""
    asked: list[dict[str, Any]] = []

    def fit(run: Any, data: Any, out: Path, *, choose: bool = True, **_: Any) -> None:
        lines = {s.flight_line for s in data.train.scenes}
        asked.append({"lines": lines, "held": {s.flight_line for s in data.valid.scenes}, "choose": choose})
        for name in learn.DETECTOR_FILES:
            shutil.copy(EMBEDDED / name, out / name)

    patch.setattr(learn, "fit_detector", fit)
    patch.setattr(baseline, "TREES", 10)
    return asked


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """See stand_in."""
    return stand_in(monkeypatch)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[dict[str, Any]]]:
    """A data set, the model of it, and what its detectors were trained on; for whoever changes neither."""
    root = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patch:
        asked = stand_in(patch)
        learn.learn_into(RUN, dataset(root / "data"), root / "model")
    return root / "data", root / "model", asked


def files(folder: Path) -> dict[str, bytes]:
    """The model's own files."""
    return {name: (folder / name).read_bytes() for name in (*ModelFolder.load(folder).files, MODEL)}


def test_no_part_says_out_of_fold_what_it_was_trained_on(learned: Any) -> None:
    whole, first, second = learned[2]
    assert not first["lines"] & first["held"]
    assert not second["lines"] & second["held"]
    assert first["held"] | second["held"] == first["lines"] | second["lines"] == whole["lines"]
    assert not whole["lines"] & whole["held"], "that of all is measured on the validation split"
    assert not any(t["choose"] for t in learned[2]), "and no split chooses an epoch"
    card, embedded = (json.loads((d / "detector.json").read_text()) for d in (learned[1] / "detector", EMBEDDED))
    assert card["thresholds"].keys() == embedded["thresholds"].keys()
    assert card["thresholds"] != embedded["thresholds"], "they are those of the folds' detections"


def test_labels_of_the_validation_split_change_no_file_of_the_model(learned: Any, data: Path, tmp_path: Path) -> None:
    for file in (data / "valid" / "labels").glob("*.txt"):
        rows = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(f"{(int(r[0]) + 1) % 9} 0.5 0.5 0.25 0.25\n" for r in rows))
    learn.learn_into(RUN, data, tmp_path / "two")
    one, two = (files(folder) for folder in (learned[1], tmp_path / "two"))
    assert one.pop(MODEL) != two.pop(MODEL), "what it scores is another"
    assert one == two


def test_killed_in_any_step_it_goes_on_to_the_same_folder(
    learned: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [step.name for step in learn.Learning.of(RUN, data, tmp_path).steps]
    assert steps == ["drawn", "baseline", "detector", "detector-1", "detector-2", "look", "joined", "domain"]
    for name in ("baseline", "detector", "second_look", "joined"):
        with monkeypatch.context() as patch:
            patch.setattr(learn.Learning, name, killed_in(getattr(learn.Learning, name)))
            with pytest.raises(KeyboardInterrupt):
                learn.learn_into(RUN, data, tmp_path / "killed")
    learn.learn_into(RUN, data, tmp_path / "killed")
    assert files(tmp_path / "killed") == files(learned[1])


def killed_in(act: Callable[..., Any]) -> Callable[..., Any]:
    """A step that is killed when its work is done, before that is written down."""

    def killed(*args: Any) -> Any:
        act(*args)
        raise KeyboardInterrupt

    return killed


def test_other_settings_or_labels_are_another_model(learned: Any, tmp_path: Path) -> None:
    data, model = (shutil.copytree(folder, tmp_path / folder.name) for folder in learned[:2])
    record = read_run(model)
    record["settings"]["data"] = str(data)  # moved, and otherwise the same
    (model / "run.json").write_text(json.dumps(record))
    assert exit_code("learn", str(data), "--out", str(model), "--folds", "3") == 2
    (next((data / "train" / "labels").glob("*.txt"))).write_text("3 0.5 0.5 0.5 0.5\n")
    again = ("--folds", "2", "--epochs", "1", "--judge-epochs", "0")
    assert exit_code("learn", str(data), "--out", str(model), *again) == 2


def test_without_a_validation_split_flight_lines_are_cut_off(data: Path, tmp_path: Path, trained: list[Any]) -> None:
    shutil.rmtree(data / "valid")
    result = learn.learn_into(RUN, data, tmp_path / "model")
    assert result.after.done.split.name == "valid"
    assert len({line for t in trained for line in t["lines"]}) == 3, "of four flight lines one is measured on"
    note = next(p for p in result.problems if "were cut off" in p.what)
    assert note.note
    assert "flight line" in note.what


def test_inspection_takes_the_folder_and_refuses_what_was_exchanged(learned: Any, tmp_path: Path) -> None:
    data, out = learned[0], shutil.copytree(learned[1], tmp_path / "model")
    photos, found = str(data / "valid" / "images"), tmp_path / "found"
    assert exit_code("inspect", photos, "--model", str(out), "--out", str(found)) == 0
    settings = read_run(found)["settings"]
    assert settings["detector"] == str(out / "detector")
    assert settings["judge"] == f"baseline:{out / 'baseline.safetensors'}"
    assert exit_code("evaluate", str(data), "--split", "valid", "--model", str(out), "--out", str(tmp_path / "e")) == 0
    assert exit_code("inspect", photos, "--model", str(out), "--judge", "embedded:x", "--out", str(tmp_path / "b")) == 2
    (out / "detector" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="is another file than toeline learn wrote"):
        ModelFolder.load(out)
    (out / "detector" / "model.onnx").unlink()
    with pytest.raises(ModelError, match="is missing"):
        ModelFolder.load(out)


@pytest.mark.parametrize("said", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "files": ["a"]}', '{"version": 1}'])
def test_what_is_no_model_folder_is_named(tmp_path: Path, said: str) -> None:
    (tmp_path / MODEL).write_text(said)
    with pytest.raises(ModelError, match="Name a folder that toeline learn wrote"):
        ModelFolder.load(tmp_path)


def test_a_model_folder_names_nothing_outside_itself(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "secret").write_text("x")
    record = {"version": 1, "files": {"../secret": "0"}, "trained_on": {}, "scores": {}}
    (tmp_path / "m" / MODEL).write_text(json.dumps(record))
    with pytest.raises(ModelError, match="is missing"):
        ModelFolder.load(tmp_path / "m")


@pytest.mark.parametrize("more", [{"detector": "a.onnx"}, {"judge": "b"}, {"adapter": Path("c")}])
def test_a_model_and_a_part_contradict_each_other(more: dict[str, Any]) -> None:
    with pytest.raises(SetupError, match="holds all parts"):
        with_model(InspectRun(photos=(Path("p"),), model=Path("m"), **more))
    with pytest.raises(SetupError, match="holds all parts"):
        with_model(EvaluateRun(data=Path("d"), split="valid", model=Path("m"), **more))


def test_the_calibration_is_for_the_judge_that_was_kept(learned: Any) -> None:
    folder = ModelFolder.load(learned[1])
    made = load_calibration(folder.calibration)
    assert made.fitted_on["split"] == "train, out of fold"
    assert made.risk == 0.1
    info = load_judge(folder.judge).info
    assert made.fitted_for["fingerprint"] == {"sha256": info["sha256"]}


def test_a_budget_buys_the_detector_first() -> None:
    assert learn.affordable(LearnRun(budget=150), 168, 0.25) == {"detector": 24, "judge": 2}
    assert learn.affordable(LearnRun(budget=90), 168, 0.25) == {"detector": 24, "judge": 0}
    assert learn.affordable(LearnRun(budget=90, jobs=2), 168, 0.25) == {"detector": 24, "judge": 2}
    assert learn.affordable(LearnRun(budget=20), 168, 0.25) == {"detector": 6, "judge": 0}
    assert learn.affordable(LearnRun(budget=20, mix_drawn=0), 168, 0.25) == {"detector": 8, "judge": 0}
    assert learn.affordable(LearnRun(budget=1000, judge_epochs=9), 168, 0.25) == {"detector": 24, "judge": 9}
    with pytest.raises(SetupError, match="needs 17 minutes for 6 epochs"):
        learn.affordable(LearnRun(budget=5), 168, 0.25)


def test_a_budget_is_planned_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = iter([0.01, 100.0])
    monkeypatch.setattr(learn.Learning, "pace", lambda self: next(paces))
    planned: list[dict[str, Any]] = []  # what the steps are carried out with; their work has no part in it

    def killed(steps: Sequence[Any], folder: Path, *, jobs: int) -> None:
        planned.append({**read_run(folder.parent)["epochs"], "run": [s.name for s in steps].count("judge")})
        raise KeyboardInterrupt

    monkeypatch.setattr(learn, "carry_out", killed)
    run = LearnRun(epochs=8, judge_epochs=0, folds=2, mix_drawn=0, budget=10)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            learn.learn_into(run, data, tmp_path / "model")
    assert planned == [{"detector": 8, "judge": 0, "run": 0}] * 2


@pytest.mark.parametrize(
    "wrong", [{"folds": 1}, {"epochs": 0}, {"judge_epochs": -1}, {"budget": 0}, {"risk": 100}, {"jobs": -1}]
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SetupError):
        LearnRun(**wrong)
