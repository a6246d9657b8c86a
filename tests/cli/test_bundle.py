"""`toeline bundle`: parts that belong together become one folder, and what was changed in it since is refused.

Weights are a few numbers: nothing here loads a language model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.support.datasets import exit_code, write_photo
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.errors import ModelError, OutputError, SetupError, ToelineError
from toeline.judge.judge import fingerprint
from toeline.judge.lineage import add_steps
from toeline.judge.load import PACKAGE
from toeline.pipelines import bundle
from toeline.pipelines.bundle import bundle_into
from toeline.pipelines.model_folder import MODEL, ModelFolder, with_model, write_model
from toeline.pipelines.settings import BundleRun, EvaluateRun, InspectRun
from toeline.weights import hashes

CONFIG = {
    "model_type": "qwen2_vl",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 4},
}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
BASELINE = {name: PACKAGE / f"{name}.{end}" for name, end in (("baseline", "safetensors"), ("calibration", "json"))}
WHOLE = BundleRun(**BASELINE, domain=PACKAGE / "domain.safetensors", thresholds=("rock_toe=0.4",))
ANSWERS = {"promoted": "new is promoted.", "refused": "new is refused.", "not provable with this n": "not provable."}


def judge_in(folder: Path, *, seed: int = 0, quantized: bool = False) -> Path:
    """What a language model's folder looks like from outside."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(seed).random(8, dtype=np.float32)
    save_file({"model.norm.weight": numbers}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | ({"quantization_config": NF4} if quantized else {})))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def print_of(judge: Path) -> dict[str, Any]:
    return {"weights": hashes(judge), "adapter": {}}


def gated(folder: Path, judge: Path, answer: str, old: Path | None = None) -> Path:
    """What `toeline gate` leaves of a judge that it held against an old one."""
    folder.mkdir(exist_ok=True)
    against = print_of(old) if old else {}
    gate = {"answer": answer, "sentence": ANSWERS[answer]}
    new = {"judge": "new", "fingerprint": print_of(judge), "gate": gate}
    judges = [{"judge": "old", "fingerprint": against, "gate": None}, new]
    (folder / "gate.json").write_text(json.dumps({"version": 1, "answer": answer, "judges": judges}))
    (folder / "run.json").write_text(json.dumps({"command": "quantize", "settings": {"split": "valid"}}))
    return folder


def evaluated(folder: Path, judge: Path) -> Path:
    """What `toeline evaluate` leaves of a judge."""
    folder.mkdir()
    models = {"judge": {"back_end": "qwen_vl", **print_of(judge)}}
    run = {"command": "evaluate", "settings": {"split": "test"}, "models": models}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "scorecard.json").write_text(json.dumps({"headline": "9 of 10 are right."}))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A judge in 4 bits, as `toeline quantize` leaves one whose gate is not there."""
    return judge_in(tmp_path / "int4" / "candidate", quantized=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with a baseline, its calibration and domain, and the embedded detector."""
    domain = PACKAGE / "domain.safetensors"
    return bundle_into(
        BundleRun(**BASELINE, domain=domain, thresholds=("rock_toe=0.4",)), tmp_path / "model"
    ).folder.path


def test_parts_become_a_folder_that_inspection_and_evaluation_take(model: Path, capsys: Any) -> None:
    run = with_model(InspectRun(photos=(Path("p"),), model=model))
    assert run.detector == str(model / "detector")
    assert (run.judge, run.adapter) == (f"baseline:{model / 'baseline.safetensors'}", None)
    assert (run.calibration, run.domain) == (model / "calibration.json", str(model / "domain.safetensors"))
    assert run.thresholds == ("rock_toe=0.4",)
    assert with_model(EvaluateRun(data=Path("d"), split="valid", model=model)).judge == run.judge
    assert exit_code("bundle", "--check", str(model)) == 0
    assert "The model is whole: 6 files" in capsys.readouterr().out
    moved = model.rename(model.with_name("moved"))
    assert ModelFolder.load(moved).detector == str(moved / "detector")
    assert "moved" not in (moved / MODEL).read_text()


def test_a_language_model_with_its_adapter_prompt_and_scorecards(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("toeline.judge.lineage.require_fits", lambda *_: None)  # tested below
    judge, adapter = judge_in(tmp_path / "judge"), tmp_path / "tuned" / "adapter"
    (judge / "original").mkdir()
    (judge / "original" / "tokenizer.json").write_text("{}")
    adapter.mkdir(parents=True)
    save_file({"a": np.ones(2, np.float32)}, adapter / "adapter_model.safetensors")
    (adapter / "toeline.json").write_text(json.dumps({"view": {"cell": 28}, "base": hashes(judge)}))
    settings = {"split": "train", "data": "d"}
    record = {"command": "finetune", "settings": settings, "photographs_sha256": ["aa", "bb"]}
    (adapter.parent / "run.json").write_text(json.dumps(record))
    run = BundleRun(judge=str(judge), adapter=adapter, prompt="minimal")
    folder = bundle_into(run, tmp_path / "model").folder
    assert (folder.judge, folder.adapter) == (str(tmp_path / "model" / "judge"), tmp_path / "model" / "adapter")
    assert (folder.calibration, folder.domain, folder.taxonomy) == (None, "off", None)
    said = json.loads((tmp_path / "model" / "adapter" / "toeline.json").read_text())
    assert (said["view"]["prompt"], said["base"]) == ("minimal", hashes(judge))
    assert "minimal" not in (adapter / "toeline.json").read_text()
    assert "judge/original/tokenizer.json" in folder.files
    assert folder.trained_on["photographs_sha256"] == ["aa", "bb"]
    alone = bundle_into(
        BundleRun(judge=str(judge), scorecards=(evaluated(tmp_path / "e", judge),)), tmp_path / "alone"
    ).folder
    assert dict(alone.scores) == {"1-evaluate-test.json": "9 of 10 are right."}
    assert "scorecards/1-evaluate-test.json" in alone.files


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda m: (m / "detector" / "model.onnx").write_bytes(b"x"),
            "model.onnx: is another file than toeline bundle",
        ),
        (lambda m: (m / "calibration.json").unlink(), "calibration.json is missing"),
        (lambda m: (m / "detector" / "more.onnx").write_bytes(b"x"), "more.onnx: is no file that toeline bundle"),
        (lambda m: (m / "detector" / "deep").mkdir() or (m / "detector/deep/a.json").write_text("{}"), "deep/a.json"),
        (lambda m: (m / "detector" / "l").symlink_to(m.parent), "detector/l: is no file"),
        (lambda m: (m / MODEL).write_text('{"version": 3}'), "version"),
    ],
)
def test_a_folder_whose_files_were_changed_is_refused(change: Callable[[Path], Any], says: str, model: Path) -> None:
    change(model)
    with pytest.raises(ModelError, match=says):
        with_model(InspectRun(photos=(Path("p"),), model=model))
    assert exit_code("bundle", "--check", str(model)) == 2


def test_what_nothing_reads_may_lie_in_it(model: Path) -> None:
    for name in ("detector/.DS_Store", "detector/NOTES.md", "notes.txt"):
        (model / name).write_text("x")
    assert ModelFolder.load(model).files


def test_a_folder_of_the_first_version_is_read(model: Path) -> None:
    record = json.loads((model / MODEL).read_text())
    old = {"version": 1, **{name: record[name] for name in ("files", "trained_on", "scores")}}
    (model / MODEL).write_text(json.dumps(old))
    folder = ModelFolder.load(model)
    assert (folder.made_by, folder.thresholds, folder.unproven) == ("toeline learn", (), "")
    assert ModelFolder.load(PACKAGE).files.keys() >= {"detector/model.onnx"}


def test_a_judge_that_learn_kept_beside_a_better_baseline_does_not_answer(model: Path) -> None:
    judge_in(model / "judge")
    write_model(model, ["detector", "judge", *(file.name for file in BASELINE.values())], {}, {})
    assert ModelFolder.load(model).judge == f"baseline:{model / 'baseline.safetensors'}"
    assert exit_code("bundle", "--check", str(model)) == 0


@pytest.mark.parametrize("answer", ["", "refused", "not provable with this n"])
def test_quantized_weights_without_a_passed_gate_are_refused_until_that_is_typed(
    answer: str, small: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    why = ANSWERS[answer] if answer else "no gate has held it"
    if answer:
        gated(small.parent, small, answer)
    with pytest.raises(ModelError, match=rf"quantized \(NF4\) and not proven.*{why}.*--allow-unproven"):
        bundle_into(BundleRun(judge=str(small)), tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert exit_code("bundle", "--judge", str(small), "--out", str(tmp_path / "model"), "--allow-unproven") == 0
    assert why in json.loads((tmp_path / "model" / MODEL).read_text())["unproven"]
    stand_in(monkeypatch, FakeJudge())
    write_photo(tmp_path / "photos" / "a.jpg")
    capsys.readouterr()
    words = ("inspect", str(tmp_path / "photos"), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"))
    assert exit_code(*words) == 0
    assert why in capsys.readouterr().err.splitlines()[0]
    for name in ("report.html", "errors.jsonl", "run.json"):
        assert why in (tmp_path / "out" / name).read_text(), name


def test_what_a_gate_promoted_goes_in_with_its_scorecard(small: Path, tmp_path: Path) -> None:
    gated(small.parent, small, "promoted")
    folder = bundle_into(BundleRun(judge=str(small)), tmp_path / "model").folder
    assert folder.unproven == ""
    assert dict(folder.scores) == {"1-quantize-valid.json": ANSWERS["promoted"]}
    copied = shutil.copytree(small, tmp_path / "elsewhere")
    note = {"answer": "promoted", "sentence": "It is.", "weights": print_of(small)}
    (copied / "PROMOTED").write_text(json.dumps(note))
    assert bundle_into(BundleRun(judge=str(copied)), tmp_path / "second").folder.unproven == ""
    both = BundleRun(judge=str(small), scorecards=(gated(tmp_path / "worse", small, "refused"),))
    with pytest.raises(ModelError, match="new is refused"):
        bundle_into(both, tmp_path / "third")


def test_a_gate_of_other_weights_proves_nothing(small: Path, tmp_path: Path) -> None:
    other = judge_in(tmp_path / "other", seed=1, quantized=True)
    gated(small.parent, other, "promoted")
    with pytest.raises(ModelError, match="no gate has held it"):
        bundle_into(BundleRun(judge=str(small)), tmp_path / "model")
    for folder in (small.parent, evaluated(tmp_path / "e", other)):
        with pytest.raises(ModelError, match="speaks of other weights"):
            bundle_into(BundleRun(judge=str(small), scorecards=(folder,)), tmp_path / "model")
    (small / "PROMOTED").write_text(json.dumps({"answer": "promoted", "weights": print_of(other)}))
    with pytest.raises(ModelError, match="no gate has held it"):
        bundle_into(BundleRun(judge=str(small)), tmp_path / "model")


def test_a_gate_against_anything_else_than_what_it_was_made_of_proves_nothing(small: Path, tmp_path: Path) -> None:
    old, other = judge_in(tmp_path / "old", seed=1), judge_in(tmp_path / "other", seed=2)
    add_steps(old, small, {"step": "quantize", "to": "int4"})
    for wrong in (small, other):
        gated(small.parent, small, "promoted", wrong)
        with pytest.raises(ModelError, match="no gate has held it"):
            bundle_into(BundleRun(judge=str(small)), tmp_path / "model")
    gated(small.parent, small, "promoted", old)
    assert bundle_into(BundleRun(judge=str(small)), tmp_path / "model").folder.unproven == ""


def test_a_calibration_of_another_judge_or_prompt_is_refused(tmp_path: Path) -> None:
    judge = judge_in(tmp_path / "judge")
    made = json.loads(BASELINE["calibration"].read_text())
    file = tmp_path / "calibration.json"
    with pytest.raises(ModelError, match="fitted for other weights"):
        bundle_into(BundleRun(judge=str(judge), calibration=BASELINE["calibration"]), tmp_path / "model")
    prompt = with_view_prompt(judge)
    made["fitted_for"] = {"judge": "j", "fingerprint": fingerprint(print_of(judge)), "prompt": prompt}
    file.write_text(json.dumps(made))
    assert bundle_into(BundleRun(judge=str(judge), calibration=file), tmp_path / "model").folder.calibration
    with pytest.raises(ModelError, match="the prompt"):
        bundle_into(BundleRun(judge=str(judge), calibration=file, prompt="minimal"), tmp_path / "other")


def with_view_prompt(judge: Path) -> str:
    return bundle.on_disk(bundle.BundleParts("embedded", judge)).view.prompt


def test_an_ensemble_is_for_its_own_two(tmp_path: Path) -> None:
    judge, file = judge_in(tmp_path / "judge"), tmp_path / "e.json"
    baseline = {"sha256": json.loads((PACKAGE / MODEL).read_text())["files"]["baseline.safetensors"]}
    record = {"judges": ["a", "b"], "weight": 0.4, "temperatures": [1.0, 1.2], "facts": {}}
    file.write_text(json.dumps({**record, "fingerprints": [print_of(judge), baseline]}))
    run = BundleRun(judge=str(judge), baseline=BASELINE["baseline"], ensemble=file)
    folder = bundle_into(run, tmp_path / "model").folder
    assert folder.judge.startswith(f"ensemble:{tmp_path / 'model' / 'ensemble.json'},{tmp_path / 'model' / 'judge'},")
    file.write_text(json.dumps({**record, "fingerprints": [baseline, print_of(judge)]}))
    with pytest.raises(ModelError, match="was fitted for other weights"):
        bundle_into(run, tmp_path / "other")


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({}, "needs something that answers"),
        ({"judge": "judge", "baseline": BASELINE["baseline"]}, "--ensemble is missing"),
        ({"judge": "judge", "ensemble": Path("e")}, "--ensemble says how two judges are joined"),
        ({"baseline": BASELINE["baseline"], "adapter": Path("a")}, "for a language model"),
        ({"baseline": BASELINE["baseline"], "thresholds": ("x=0.5",)}, "x"),
        ({"baseline": BASELINE["baseline"], "detector": "nowhere.onnx"}, "no such detector"),
        ({"judge": "judge", "prompt": "no such"}, "no prompt 'no such'"),
        ({"judge": "baseline:x"}, "cannot be bundled"),
        ({"judge": "nowhere"}, "nowhere"),
    ],
)
def test_parts_that_make_no_model_are_told_before_anything_is_written(
    run: dict[str, Any], says: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    judge_in(tmp_path / "judge")
    with pytest.raises(ToelineError, match=says):
        bundle_into(BundleRun(**run), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_disk_that_fills_leaves_the_model_as_it_was(model: Path, monkeypatch: Any) -> None:
    before = {f: f.read_bytes() for f in model.rglob("*") if f.is_file()}
    copy = shutil.copyfile

    def fills(source: Path, to: Path) -> Any:
        if to.name == "domain.safetensors":
            raise OSError(28, "No space left on device", str(to))
        return copy(source, to)

    monkeypatch.setattr("shutil.copyfile", fills)
    with pytest.raises(OutputError, match="Make room"):
        bundle_into(WHOLE, model)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match=r"0\.00 GB are free"):
        bundle_into(WHOLE, model)
    assert {f: f.read_bytes() for f in model.rglob("*") if f.is_file()} == before
    with pytest.raises(OutputError, match="other settings"):
        bundle_into(BundleRun(**BASELINE), model)
    ModelFolder.load(model)


def test_a_model_folder_is_no_judge_and_out_or_check_must_be_named(model: Path, capsys: Any) -> None:
    with pytest.raises(SetupError, match="Name it with --model"):
        with_model(InspectRun(photos=(Path("p"),), judge=str(model)))
    assert exit_code("bundle") == exit_code("bundle", "--out", "a", "--check", "b") == 2
    assert "--check DIR to check one" in capsys.readouterr().err
