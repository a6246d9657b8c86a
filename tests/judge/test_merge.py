"""An adapter in the weights: what peft itself makes of it, rounded once; refused where it belongs to another judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.support.adapters import saved, trained
from tests.support.datasets import exit_code
from tests.support.tiny_judges import WORDS, make_model, make_tokenizer, save_model

from toeline.core.question import PromptBudget
from toeline.errors import ModelError, OutputError
from toeline.judge.adapter import with_adapter
from toeline.judge.checkpoint import write_view
from toeline.judge.merge import merge
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.judge.trim import trim
from toeline.judge.vocabulary import cut_otherwise
from toeline.pipelines.settings import MergeRun
from toeline.pipelines.trim import merge_into
from toeline.weights import quiet

TOKENIZER = make_tokenizer()
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_model(tmp_path_factory.mktemp("judge"))
    write_view(folder, PromptBudget(scene_tokens=12, crop_tokens=6))
    return folder


def merged(folder: Path, adapter: Path, out: Path, **more: Any) -> Path:
    out.mkdir()
    merge(folder, adapter, out, **more)
    return out


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("qwen2_vl", {}),
        ("qwen2_5_vl", {}),
        ("qwen3_vl", {}),
        ("qwen3_vl", {"target_modules": "all-linear"}),
        ("qwen2_vl", {"use_dora": True}),
        ("qwen2_vl", {"bias": "lora_only"}),
        ("qwen2_vl", {"modules_to_save": ["merger"]}),
        ("qwen2_vl", {"use_rslora": True, "target_modules": "all-linear"}),
    ],
    ids=str,
)
def test_weights_are_those_that_peft_makes(family: str, more: dict[str, Any], tmp_path: Path) -> None:
    save_model(tmp_path / "base", family=family)
    adapter = saved(trained(family, **more), tmp_path / "adapter")
    out = merged(tmp_path / "base", adapter, tmp_path / "out")
    with quiet():
        by_peft = with_adapter(make_model(TOKENIZER, family=family), adapter).merge_and_unload().state_dict()
        ours = QwenVLJudge.load(out, device="cpu").model.state_dict()
    assert by_peft.keys() == ours.keys()
    for name, weight in by_peft.items():
        assert torch.allclose(weight, ours[name], rtol=1e-5, atol=1e-5), name
    files = [load_file(folder / "model.safetensors") for folder in (tmp_path / "base", out)]
    assert [(k, w.dtype) for k, w in sorted(files[0].items())] == [(k, w.dtype) for k, w in sorted(files[1].items())]


def test_half_precision_is_rounded_once_and_said(base: Path, tmp_path: Path) -> None:
    adapter = saved(trained(), tmp_path / "adapter")
    exact = load_file(merged(base, adapter, tmp_path / "exact") / "model.safetensors")
    out = merged(base, adapter, tmp_path / "half", dtype="bfloat16")
    half = load_file(out / "model.safetensors")
    assert all(torch.equal(weight.to(torch.bfloat16), half[name]) for name, weight in exact.items())
    config = json.loads((out / "config.json").read_text())
    assert {config["dtype"], config["text_config"]["dtype"], config["vision_config"]["dtype"]} == {"bfloat16"}


def test_large_weights_are_written_in_several_files(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = saved(trained(), tmp_path / "adapter")
    whole = load_file(merged(base, adapter, tmp_path / "whole") / "model.safetensors")
    monkeypatch.setattr("toeline.weights.SHARD", 20_000)
    out = merged(base, adapter, tmp_path / "parts")
    files = sorted(out.glob("*.safetensors"))
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert index["metadata"]["total_size"] == sum(weight.nbytes for weight in whole.values())
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(out / file)[name], whole[name])
    assert index["weight_map"].keys() == whole.keys()
    assert torch.equal(QwenVLJudge.load(out, device="cpu").model.lm_head.weight, whole["model.embed_tokens.weight"])


def test_the_command_compares_scores_and_says_the_largest_change(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = trained(target_modules=["q_proj"])
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.mul_(0.01)
    adapter, out = saved(wrapped, tmp_path / "adapter"), tmp_path / "out"
    words = (
        "merge",
        str(base),
        "--adapter",
        str(adapter),
        "--out",
        str(out),
        "--check",
        "1",
        "--device",
        "cpu",
        "--json",
    )
    assert exit_code(*words, "--dtype", "float32") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["check"]["largest_change"] < 1e-3
    assert (said["check"]["photographs"], said["check"]["questions"]) == (1, 1)
    assert json.loads((out / "run.json").read_text())["check"] == said["check"]
    assert exit_code(*words, "--dtype", "float32") == 0  # the same again
    capsys.readouterr()
    assert exit_code(*words) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_a_judge_that_answers_otherwise_is_not_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("toeline.pipelines.trim", fromlist=["x"]).MOST_CHANGED, "merge", -1.0)
    run = MergeRun(judge=str(base), adapter=saved(trained(), tmp_path / "adapter"), check=1, device="cpu")
    with pytest.raises(ModelError, match="Nothing was written"):
        merge_into(run, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} <= {"run.json", ".lock"}


def test_adapters_of_other_judges_and_quantized_ones_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = saved(trained(), tmp_path / "adapter")
    save_model(tmp_path / "wide", hidden=64)
    with pytest.raises(ModelError, match="does not fit this model"):
        merge_into(MergeRun(judge=str(tmp_path / "wide"), adapter=adapter), tmp_path / "a")
    with pytest.raises(ModelError, match="is not an adapter"):
        merge_into(MergeRun(judge=str(base), adapter=tmp_path / "none"), tmp_path / "b")
    ends = saved(trained(target_modules=["embed_tokens", "lm_head", "q_proj"]), tmp_path / "ends")
    with pytest.raises(ModelError, match="which are one here"):
        merge_into(MergeRun(judge=str(base), adapter=ends), tmp_path / "c")
    packed = shutil.copytree(base, tmp_path / "packed")
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "torchao"}}))
    with pytest.raises(ModelError, match="quantized already"):
        merge_into(MergeRun(judge=str(packed), adapter=adapter), tmp_path / "d")
    with pytest.raises(ModelError, match="cannot be merged"):
        merge_into(MergeRun(judge="baseline:x", adapter=adapter), tmp_path / "e")


def test_a_disk_that_is_full_leaves_the_folder_as_it_was(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = MergeRun(judge=str(base), adapter=saved(trained(r=1), tmp_path / "adapter"), check=1, device="cpu")
    monkeypatch.setattr("toeline.pipelines.trim._compared", lambda *_: {})  # takes longer than all else here
    out = merge_into(run, tmp_path / "out").out
    before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}

    def full(*_: Any, **__: Any) -> None:
        from safetensors import SafetensorError

        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match=r"No space left on device.*Make room"):
        merge_into(run, out)
    assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == before


def test_a_trimmed_judge_stays_one_when_an_adapter_is_added(base: Path, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    trim(base, tmp_path / "cut", ["slope drain"], least=64, room=lambda _: None)
    out = merged(tmp_path / "cut", saved(trained(), tmp_path / "adapter"), tmp_path / "out")
    judge = QwenVLJudge.load(out, device="cpu")
    lost = [word for word in WORDS.split() if cut_otherwise(word, judge.tokenizer, judge.original)]
    assert lost
    judge.read(["slope drain"])
    with pytest.raises(ModelError, match=f"cannot read '{lost[0]}'"):
        judge.read(["slope drain", lost[0]])
