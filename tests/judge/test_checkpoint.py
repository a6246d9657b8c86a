"""Everything that can be wrong with a model directory, one case a row; and what a good one reports."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.tiny_judges import make_sheet, save_model

from toeline.core.question import PromptBudget
from toeline.errors import ModelError, SetupError
from toeline.judge import load as choose
from toeline.judge.attention import BRANCHES
from toeline.judge.checkpoint import pick_dtype, write_view
from toeline.judge.load import load_judge
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.weights import HUB_TIMEOUT_S, pick_device

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


def edit(**changes: Any) -> Harm:
    """Change entries of config.json."""

    def harm(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return harm


def drop_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("q_proj.weight")))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickles_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")


def adapter_only(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def wider_mlp(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] += 8
    (folder / "config.json").write_text(json.dumps(config))


def without(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def holding(name: str, content: bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Harm:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1000])


BAD: dict[str, tuple[Harm, str]] = {
    "no config": (without("config.json"), "is not a model directory: it has no config.json"),
    "an adapter": (adapter_only, "This is an adapter: pass it with --adapter"),
    "config is no JSON": (holding("config.json", b"{nope"), "config.json: cannot be read as JSON"),
    "config is a list": (holding("config.json", b"[]"), "config.json holds no JSON object"),
    "another kind of model": (edit(model_type="llama"), "model_type is 'llama', and the judge runs qwen2_vl"),
    "experts": (edit(model_type="qwen3_vl_moe"), "qwen3_vl_moe cannot be used: it is a mixture of experts"),
    "recurrent": (edit(model_type="qwen3_5"), "qwen3_5 cannot be used: some of its layers read tokens one after"),
    "thoughts": (
        holding("chat_template.jinja", b"{{- '<|im_start|>assistant\\n<think>\\n' }}"),
        "writes down its thoughts before it answers",
    ),
    "thoughts in JSON": (
        holding("chat_template.json", b'{"chat_template": "<|im_start|>assistant\\\\n<think>\\\\n"}'),
        "writes down its thoughts before it answers",
    ),
    "sliding window": (edit(use_sliding_window=True, text_config=None), "sliding-window attention cannot be packed"),
    "cut short": (cut("model.safetensors"), "model.safetensors is corrupt or cut short"),
    "no bytes": (holding("model.safetensors", b""), "model.safetensors is corrupt or cut short"),
    "junk": (holding("model.safetensors", b"junk" * 99), "model.safetensors is corrupt or cut short"),
    "no weights": (without("model.safetensors"), "holds no *.safetensors"),
    "pickles": (pickles_only, "has its weights in pytorch_model.bin only: a pickle, which can run any program"),
    "a tensor is missing": (
        drop_tensor,
        "the weight files lack 1 of the model's tensors, the first model.language_model",
    ),
    "weights of another shape": (wider_mlp, "transformers cannot load this model"),
    "no tokenizer": (without("tokenizer.json"), "has no tokenizer.json"),
    "a broken tokenizer": (holding("tokenizer.json", b"{"), "the tokenizer cannot be used"),
    "tokenizer of another model": (
        edit(image_token_id=9),
        "config.json: image_token_id is 9, and <|image_pad|> of",
    ),
    "processor of another model": (
        holding("preprocessor_config.json", b'{"patch_size": 16, "image_mean": [0.5, 0.5, 0.5]}'),
        "preprocessor_config.json: patch_size is 16, and this model's is 14: of another model",
    ),
    "view is no JSON": (holding("toeline.json", b"view"), "toeline.json: cannot be read as JSON"),
    "view of an unknown field": (holding("toeline.json", b'{"view": {"zoom": 2}}'), "view has a wrong zoom"),
    "view of a wrong type": (holding("toeline.json", b'{"view": {"cell": "28"}}'), "view has a wrong cell"),
    "view of another model": (holding("toeline.json", b'{"view": {"cell": 32}}'), "cell is 32, but this model's is 28"),
}


@pytest.mark.parametrize(("harm", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_directory_is_refused(good: Path, tmp_path: Path, harm: Harm, said: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    harm(folder)
    with pytest.raises(ModelError, match=re.escape(said)) as refused:
        load_judge(str(folder), device="cpu")
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/such/folder", "there is no such judge"),
        ("nowhere", "there is no such judge"),
        ("owner/name-of-no-model", "not in the hub's cache, and the hub did not give it"),
        ("replay:missing.jsonl", "missing.jsonl: cannot be read (No such file"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=re.escape(said)):
        load_judge(name, device="cpu")


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[float] = []

    def silent(self: object, repo_id: str, *, timeout: float) -> None:
        asked.append(timeout)
        raise TimeoutError("nothing came back")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", silent)
    with pytest.raises(ModelError, match="TimeoutError: nothing came back"):
        load_judge("owner/model", device="cpu")
    assert asked == [HUB_TIMEOUT_S]
    assert HUB_TIMEOUT_S <= 30


def test_a_hub_model_comes_from_the_cache_when_the_hub_is_silent(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def cached(repo_id: str, *, revision: str | None, local_files_only: bool, allow_patterns: list[str]) -> str:
        assert (repo_id, revision, local_files_only) == ("owner/model", None, True)
        assert not {"*.bin", "*.pt", "*.py"} & set(allow_patterns)
        return str(good)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert load_judge("owner/model", device="cpu").info["model"] == "owner/model"


def test_a_file_is_no_directory(good: Path) -> None:
    with pytest.raises(ModelError, match=r"is a file\. Name the directory"):
        load_judge(str(good / "model.safetensors"), device="cpu")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: folder.rmdir(), "is not an adapter"),
        (lambda folder: None, "it has no adapter_config.json"),
        (holding("adapter_config.json", b"{}"), "holds no *.safetensors"),
        (holding("adapter_config.json", b"{"), "cannot be read as JSON"),
    ],
    ids=["absent", "empty", "no weights", "no JSON"],
)
def test_a_bad_adapter_is_refused(good: Path, tmp_path: Path, harm: Harm, said: str) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    harm(adapter)
    with pytest.raises(ModelError, match=re.escape(said)):
        load_judge(str(good), device="cpu", adapter=adapter)


def test_replayed_scores_take_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="an adapter would do nothing"):
        load_judge("replay:x.jsonl", adapter=tmp_path)


def test_an_installation_without_the_embedded_judge_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "EMBEDDED", tmp_path)
    with pytest.raises(ModelError, match="the embedded judge is missing from this installation"):
        load_judge("embedded")


def test_the_embedded_judge_is_a_directory_like_any_other(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "EMBEDDED", good)
    assert load_judge("embedded", device="cpu").info["model_type"] == "qwen2_vl"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    for name in ("cuda", "mps"):
        with pytest.raises(SetupError, match=f"finds no {name} device on this machine"):
            pick_device(name)
    with pytest.raises(SetupError, match="unknown device 'tpu'"):
        pick_device("tpu")


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_dtype("auto", "cpu") is torch.float32
    assert pick_dtype("bfloat16", "cpu") is torch.bfloat16
    for fine, wanted in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda fine=fine: fine)
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_, fine=fine: fine)
        assert pick_dtype("auto", "cuda") is wanted
        assert pick_dtype("auto", "mps") is wanted
    with pytest.raises(SetupError, match="unknown dtype 'int8'"):
        pick_dtype("int8", "cpu")


def test_a_view_travels_with_the_weights(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(good, folder)
    assert QwenVLJudge.load(folder, device="cpu").view == PromptBudget()
    view = replace(PromptBudget(), scene_tokens=100, margin=0.25, prompt="crop")
    write_view(folder, view)
    assert QwenVLJudge.load(folder, device="cpu").view == view


def test_what_a_result_depends_on_is_reported(good: Path) -> None:
    info = QwenVLJudge.load(good, device="cpu").info
    assert json.loads(json.dumps(info)) == info
    assert (info["back_end"], info["dtype"], info["device"], info["attention"]) == (
        "qwen_vl",
        "float32",
        "cpu",
        BRANCHES,
    )
    assert set(info["versions"]) == {"torch", "transformers", "pillow", "numpy"}
    assert len(info["weights"]["model.safetensors"]) == 64


def test_half_precision_answers_alike(good: Path) -> None:
    sheet = make_sheet(2)
    whole, half = (QwenVLJudge.load(good, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half.info["dtype"] == "bfloat16"
    assert half.score(sheet)[0] == pytest.approx(whole.score(sheet)[0], abs=0.3)
    assert half.score(sheet) != whole.score(sheet)
