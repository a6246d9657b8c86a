"""A fine-tuning from end to end on a tiny model: the same after a kill, the best kept, loaded by stock libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.support.training import PHOTOS, VALID, settings, train, write_data, write_judge

from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_dataset
from toeline.errors import LabelError, ModelError, SetupError
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.train import callbacks as loop
from toeline.train import finetune as finetune_file
from toeline.train.adapter import advice, is_out_of_memory, load_judge, merge
from toeline.train.callbacks import Log
from toeline.train.config import LoraRun
from toeline.train.datasets import SheetPool, read_labeled_split
from toeline.train.finetune import read_training_data
from toeline.train.samples import Plain
from toeline.weights import quiet

TAXONOMY = Taxonomy.load()


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: Any) -> Path:
    return write_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: Any) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any, judge_folder: Path, data: Path) -> Any:
    """A run without an interruption, with dropout and augmentation."""
    return train(settings(judge_folder), data, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: Any, judge_folder: Path, data: Path) -> Any:
    """An epoch without dropout, as it is run by default: what every other way to run it must come to."""
    return train(settings(judge_folder, dropout=0.0, epochs=1), data, tmp_path_factory.mktemp("plain"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "adapter_model.safetensors"))


def test_the_log_has_every_step_and_every_epoch(whole: Any) -> None:
    assert [(line["step"], line["epoch"]) for line in whole.log.validations()] == [(0, 0), (2, 1), (4, 2)]
    assert [line["step"] for line in whole.log.steps()] == [1, 2, 3, 4]
    assert all(0 <= line["valid"]["accuracy"] <= 1 and line["valid"]["n"] == 3 for line in whole.log.validations())
    assert all({"loss", "learning_rate", "grad_norm", "seconds"} <= line.keys() for line in whole.log.steps())
    assert not (whole.log.path.parent / "tensorboard").exists() or list(whole.log.path.parent.glob("tensorboard/*"))


def test_the_facts_name_what_the_result_depends_on(whole: Any) -> None:
    facts = json.loads(json.dumps(whole.facts))
    assert len(facts["judge"]["weights"]["model.safetensors"]) == 64
    assert facts["judge"]["dtype"] == "float32"
    assert facts["judge"]["view"]["crop_tokens"] == 6
    assert facts["data"]["train"] | {"sha256": ""} == {
        "split": "train", "photographs": 4, "nothing_asked": 1, "sha256": "",
    }  # fmt: skip
    assert facts["class_counts"]["slope drain"] == 2
    assert 0 < facts["trained_parameters"] < facts["parameters"]


@pytest.mark.parametrize("step", [1, 3])
def test_a_killed_run_goes_on_to_the_same_weights(
    step: int, whole: Any, judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)

    def kill(stage: str, done: int, total: int, line: Any) -> None:
        if line is None and done == 2 * step + 1:  # in the middle of the next step
            raise Killed

    run = settings(judge_folder)
    with pytest.raises(Killed):
        train(run, data, tmp_path, tell=kill)
    again = train(run, data, tmp_path, resume=True)
    one, two = ([line["loss"] for line in r.log.steps()] for r in (whole, again))
    assert one == pytest.approx(two, abs=1e-5)
    one, two = ([line["valid"]["loss"] for line in r.log.validations()] for r in (whole, again))
    assert one == pytest.approx(two, abs=1e-5)
    for name, weight in weights(whole.folder).items():
        assert torch.allclose(weight, weights(again.folder)[name], atol=1e-6), name


def test_a_finished_run_is_not_trained_again(whole: Any, judge_folder: Path, data: Path) -> None:
    before = whole.log.path.read_text()
    train(settings(judge_folder), data, whole.log.path.parent, resume=True)
    assert whole.log.path.read_text() == before


def test_the_adapter_loads_in_plain_peft_and_scores_the_same(whole: Any, judge_folder: Path, data: Path) -> None:
    import peft
    from transformers import AutoModelForImageTextToText

    judge = QwenVLJudge.load(judge_folder, device="cpu", adapter=whole.folder)
    assert (judge.view.scene_tokens, judge.view.crop_tokens) == (12, 6)
    sheet = Plain(read_labeled_split(open_dataset(data, TAXONOMY), "valid", TAXONOMY), TAXONOMY, judge.view)[0].sheet
    stock = AutoModelForImageTextToText.from_pretrained(judge_folder, dtype=torch.float32, attn_implementation="sdpa")
    with quiet():  # peft 0.21 asks for a name that transformers 5.23 calls deprecated
        wrapped = peft.PeftModel.from_pretrained(stock, whole.folder)
    plain = QwenVLJudge(wrapped.get_base_model().eval(), judge.tokenizer, judge.processor, judge.view)
    untrained = QwenVLJudge.load(judge_folder, device="cpu").score(sheet)
    for mine, theirs, before in zip(judge.score(sheet), plain.score(sheet), untrained, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
        assert mine != pytest.approx(before, abs=1e-3)
    config = json.loads((whole.folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (16, 32, 0.1)
    assert set(config["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_what_validation_said_is_what_the_adapter_says(whole: Any, judge_folder: Path, data: Path) -> None:
    judge = QwenVLJudge.load(judge_folder, device="cpu", adapter=whole.folder)
    plain = Plain(read_labeled_split(open_dataset(data, TAXONOMY), "valid", TAXONOMY), TAXONOMY, judge.view)
    losses = [
        -scores[q.answers[true]]
        for i in range(len(plain))
        for scores, q, true in zip(judge.score(plain[i].sheet), plain[i].sheet.questions, plain[i].answers, strict=True)
    ]
    best = [line for line in whole.log.validations() if line.get("best")][-1]
    assert float(np.mean(losses)) == pytest.approx(best["valid"]["loss"], abs=1e-4)


def test_a_merged_model_needs_no_adapter(whole: Any, judge_folder: Path, data: Path, tmp_path: Path) -> None:
    merged = merge(settings(judge_folder), whole.folder, tmp_path / "merged")
    judges = [
        QwenVLJudge.load(judge_folder, device="cpu", adapter=whole.folder),
        QwenVLJudge.load(merged, device="cpu"),
    ]
    assert judges[0].view == judges[1].view
    sheet = Plain(read_labeled_split(open_dataset(data, TAXONOMY), "valid", TAXONOMY), TAXONOMY, judges[0].view)[
        0
    ].sheet
    for one, two in zip(*(j.score(sheet) for j in judges), strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_cached_features_train_without_a_vision_tower(
    plain: Any, judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variant is seen in both epochs, so the run equals one that looks at the same pictures anew."""
    seen: list[Any] = []
    prepare = finetune_file.prepare
    monkeypatch.setattr(finetune_file, "prepare", lambda run, judge: seen.append(judge.model) or prepare(run, judge))
    run = settings(judge_folder, cache_features=tmp_path / "kept", variants=1, dropout=0.0, epochs=1)
    cached = train(run, data, tmp_path / "cached")
    assert sum(w.numel() for w in seen[0].model.visual.parameters()) == 0
    files = sorted((tmp_path / "kept").rglob("*.safetensors"))
    assert len(files) == 4 + 2  # photographs of train that leave a choice, and of valid
    for name, weight in weights(plain.folder).items():
        assert torch.allclose(weight, weights(cached.folder)[name], atol=1e-6), name
    monkeypatch.setattr(finetune_file, "look", None)  # a second run finds everything there
    for file in files:
        file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="image features are gone or damaged"):
        train(run, data, tmp_path / "third")


def test_qwen3_vl_is_fine_tuned_with_and_without_kept_features(data: Path, tmp_path: Path) -> None:
    """Its deeper features are kept beside the others, and the tower is left out with all its mergers."""
    judge = write_judge(tmp_path / "judge", family="qwen3_vl")
    plain = train(settings(judge, dropout=0.0, epochs=1), data, tmp_path / "plain")
    run = settings(judge, cache_features=tmp_path / "kept", variants=1, dropout=0.0, epochs=1)
    cached = train(run, data, tmp_path / "cached")
    assert {load_file(file)["features"].shape[1] for file in (tmp_path / "kept").rglob("*.safetensors")} == {3 * 32}
    for name, weight in weights(plain.folder).items():
        assert torch.allclose(weight, weights(cached.folder)[name], atol=1e-6), name
    assert QwenVLJudge.load(judge, device="cpu", adapter=cached.folder).view.cell == 32


def test_all_weights_can_be_trained_from_their_own_or_from_random_ones(
    judge_folder: Path, data: Path, tmp_path: Path
) -> None:
    full = train(settings(judge_folder, full=True, epochs=1), data, tmp_path / "full")
    scratch = train(settings(judge_folder, from_scratch=True, epochs=1), data, tmp_path / "scratch")
    models = [load_file(f / "model.safetensors") for f in (judge_folder, full.folder, scratch.folder)]
    changed = [float(np.mean([float((m[n] - models[0][n]).abs().max()) > 0 for n in models[0]])) for m in models[1:]]
    assert changed[0] > 0.9
    moved = [
        float((m["model.embed_tokens.weight"] - models[0]["model.embed_tokens.weight"]).norm()) for m in models[1:]
    ]
    assert moved[1] > 20 * moved[0]
    assert QwenVLJudge.load(full.folder, device="cpu").view.crop_tokens == 6
    assert full.log.validations()[0]["valid"] != scratch.log.validations()[0]["valid"]


def test_training_stops_when_nothing_gets_better(
    judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([0.5, 0.6, 0.6, 0.6, 0.9])
    monkeypatch.setattr(finetune_file._Finetuning, "_measure", lambda *_: {"accuracy": next(said), "loss": 1.0, "n": 3})
    done = train(settings(judge_folder, epochs=6, patience=2), data, tmp_path)
    assert [(line["epoch"], line.get("best", False)) for line in done.log.validations()] == [
        (0, False), (1, True), (2, False), (3, False),
    ]  # fmt: skip
    kept = weights(done.folder)
    last = weights(sorted((tmp_path / "checkpoints").glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)[-1])
    assert any(not torch.equal(kept[n], last[n]) for n in kept), "the first epoch was kept, not the last"
    before = done.log.path.read_text()
    train(settings(judge_folder, epochs=6, patience=2), data, tmp_path, resume=True)
    assert done.log.path.read_text() == before


def test_without_a_validation_split_the_last_epoch_is_kept(judge_folder: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", train=PHOTOS)
    run = settings(judge_folder)
    training_data = read_training_data(run, data)
    assert [p.what for p in training_data.problems] == [f"{data}: has no split 'valid'. Choose one of: train."]
    done = train(run, data, tmp_path / "out")
    assert [(line["epoch"], line["best"]) for line in done.log.validations()] == [(1, True), (2, True)]
    assert weights(done.folder)


def test_what_cannot_be_used_is_told_and_the_rest_is_trained_on(judge_folder: Path, tmp_path: Path) -> None:
    data = write_data(
        tmp_path / "data", train={**PHOTOS, "f.jpg": ["5 0.5 0.5"], "g.jpg": ["6 0.5 0.5 0.1 0.5"]}, valid=VALID
    )
    broken = data / "train" / "images" / "g.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    training_data = read_training_data(settings(judge_folder), data)
    assert len(training_data.train) == 4
    told = {Path(p.file).name: p for p in training_data.problems}
    assert set(told) == {"f.txt", "f.jpg", "g.jpg"}  # of f.jpg nothing is known: it is no photograph without objects
    assert told["f.txt"].line == 1
    with pytest.raises(LabelError, match="has no split 'test'"):
        read_training_data(settings(judge_folder, split="test"), data)
    nothing = write_data(tmp_path / "nothing", train={"e.jpg": PHOTOS["e.jpg"]})
    with pytest.raises(LabelError, match="there is nothing to learn"):
        read_training_data(settings(judge_folder), nothing)


def test_running_out_of_memory_says_what_to_change(
    judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore of it")

    monkeypatch.setattr(finetune_file, "load_judge", full)
    with pytest.raises(SetupError) as told:
        train(settings(judge_folder, checkpointing="off"), data, tmp_path)
    assert "Tried to allocate 2.00 GiB" in str(told.value)
    assert all(o in str(told.value) for o in ("--checkpointing on", "--cache-features", "--max-tokens", "--qlora"))
    assert "more of it" not in str(told.value)


def test_memory_runs_out_in_several_languages() -> None:
    said = ("CUDA out of memory", "MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory")
    assert all(is_out_of_memory(RuntimeError(s)) for s in said)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("a shape is wrong"))
    whole = LoraRun(full=True, checkpointing="on", max_tokens=1024)
    assert "LoRA instead of --full" in advice(whole, "x")
    assert not any(o in advice(whole, "x") for o in ("--checkpointing", "--cache-features", "--qlora", "--max-tokens"))


def test_another_error_stays_what_it_is(judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(finetune_file, "load_judge", broken)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        train(settings(judge_folder), data, tmp_path)


def test_drawn_scenes_can_be_mixed_in(
    judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = read_labeled_split(
        open_dataset(data, TAXONOMY), "valid", TAXONOMY
    )  # in place of two scenes that would be drawn
    monkeypatch.setattr(SheetPool, "drawn", lambda *_, **__: two)
    done = train(settings(judge_folder, mix_drawn=2, epochs=1), data, tmp_path)
    assert [line["step"] for line in done.log.steps()] == [1, 2, 3]  # 4 photographs and 2 scenes, two a step


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "--epochs must be above 0"),
        ({"dropout": 1.0}, "--dropout is a share"),
        ({"full": True, "qlora": True}, "--qlora freezes"),
        ({"from_scratch": True, "cache_features": Path("x")}, "--cache-features keeps"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, Any], said: str, judge_folder: Path) -> None:
    with pytest.raises(SetupError, match=said):
        settings(judge_folder, **wrong)


def test_splitting_photographs_and_preparing_them_elsewhere_change_nothing(
    plain: Any, judge_folder: Path, data: Path, tmp_path: Path
) -> None:
    """Long photographs in chunks, and rows made by another process: the same weights."""
    other = train(settings(judge_folder, dropout=0.0, epochs=1, max_tokens=250, workers=1), data, tmp_path / "other")
    for name, weight in weights(plain.folder).items():
        assert torch.allclose(weight, weights(other.folder)[name], atol=1e-6), name


def test_frozen_weights_in_4_bits_are_trained_on(judge_folder: Path, data: Path, tmp_path: Path) -> None:
    """bitsandbytes is in no default install and in no test install; where it is, NF4 works on a CPU too."""
    pytest.importorskip("bitsandbytes")
    done = train(settings(judge_folder, qlora=True, epochs=1), data, tmp_path)
    assert all("lora_" in name and "visual" not in name for name in weights(done.folder))
    assert done.log.validations()[0]["valid"]["loss"] != done.log.validations()[1]["valid"]["loss"]
    merged = merge(settings(judge_folder, qlora=True), done.folder, tmp_path / "merged")
    assert load_file(merged / "model.safetensors")["model.embed_tokens.weight"].dtype == torch.float32


def test_a_missing_library_is_named_with_its_extra(judge_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SetupError, match=r"pip install .*'bitsandbytes>="):
        load_judge(settings(judge_folder, qlora=True))


WORKER = """
import sys
from pathlib import Path

import accelerate, peft
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from transformers import AutoModelForImageTextToText, Trainer
from transformers.models.qwen2_vl import modeling_qwen2_vl

from tests.support.training import settings, train

def work(judge, data, out):
    train(settings(judge, accumulate=1, dropout=0.0, epochs=1), data, out)

two = {"min_nodes": 1, "max_nodes": 1, "nproc_per_node": 2, "run_id": "two", "max_restarts": 0}
alone = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
elastic_launch(LaunchConfig(**two, **alone, start_method="fork"), work)(*map(Path, sys.argv[1:]))
"""


def test_two_processes_see_every_photograph_and_average_their_gradients(
    plain: Any, judge_folder: Path, data: Path, tmp_path: Path
) -> None:
    """Two processes with a photograph each make the steps of one process with two: to the same weights.

    They are started as by `torchrun --standalone`, forked of one process that has imported what both need.
    """
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    subprocess.run(
        [sys.executable, str(script), str(judge_folder), str(data), str(tmp_path / "two")],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    two = Log(tmp_path / "two" / "log.jsonl")
    losses = [[line["loss"] for line in log.steps()] for log in (plain.log, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert [line["valid"]["n"] for line in two.validations()] == [3, 3]
    for name, weight in weights(plain.folder).items():
        assert torch.allclose(weight, weights(tmp_path / "two" / "adapter")[name], atol=1e-6), name


def test_a_killed_run_of_all_weights_goes_on_to_the_same_ones(
    judge_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of the dense loss too: it is in the checkpoints, and the losses of the log hang on it."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)
    run = settings(judge_folder, full=True, dense=1.0)
    whole = train(run, data, tmp_path / "whole")

    def kill(stage: str, done: int, total: int, line: Any) -> None:
        if line is None and done == 3:  # in the middle of the second step
            raise Killed

    with pytest.raises(Killed):
        train(run, data, tmp_path / "killed", tell=kill)
    again = train(run, data, tmp_path / "killed", resume=True)
    one, two = ([line["loss"] for line in r.log.steps()] for r in (whole, again))
    assert one == pytest.approx(two, abs=1e-5)
    one, two = (load_file(r.folder / "model.safetensors") for r in (whole, again))
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-6), name


def test_a_dense_loss_teaches_all_weights_and_leaves_no_head_behind(
    judge_folder: Path, data: Path, tmp_path: Path
) -> None:
    """What is saved is a stock model; the weights are others than without."""
    from safetensors.torch import load_file

    run = settings(judge_folder, full=True, dense=1.0)
    whole = train(run, data, tmp_path / "whole")
    weights = load_file(whole.folder / "model.safetensors")
    plain = load_file(train(settings(judge_folder, full=True), data, tmp_path / "plain").folder / "model.safetensors")
    assert weights.keys() == plain.keys()
    assert any(not torch.equal(weights[name], plain[name]) for name in weights if "visual" in name)


def test_dense_targets_are_those_of_the_layouts_own_crops(judge_folder: Path, data: Path) -> None:
    """However a photograph is split, each chunk has targets for each of its crops' tokens, and none for the scene."""
    from toeline.train.adapter import load_judge
    from toeline.train.finetune import stream_of
    from toeline.train.loss import Packer, _features

    run = settings(judge_folder, full=True, dense=1.0)
    judge = load_judge(run)
    row = stream_of(run, read_training_data(run, data), data)[0]
    for most in (4096, 1):
        parts = list(Packer(judge, dense=True, max_tokens=most).chunks(row))
        assert len(parts) == (1 if most > 1 else len(row.answers))
        for part in parts:
            features = _features(judge.model, part, part["batch"])
            assert part["crops"] == [False] + [True] * len(part["answers"])
            assert len(part["tokens"]) == sum(len(f) for f in features[1:])
            assert torch.allclose(part["tokens"].sum(1), torch.ones(len(part["tokens"])))
