"""Judges in 8 and 4 bits: what is converted, what comes back from the disk, and what is refused.

Needs the extra `quantize`; what needs no library stands first.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.datasets import exit_code, write_yolo
from tests.support.tiny_judges import CELLS, FAMILIES, make_sheet, save_model

from toeline.errors import ModelError, SetupError
from toeline.judge import quantize as q
from toeline.judge.low_bits import multiply_in_floats
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.plan.model_shape import Weights, find_model, load_bytes

SHEET = make_sheet(3)
SIZE = {"hidden": 64, "layers": 2, "mlp": 128}
BOTH = [
    pytest.param(to, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for to, name in q.LIBRARIES.items()
]
DRIFT = {"int8": 0.2, "int4": 2.0}  # of random weights eight times the usual size


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("whole") / "judge", scale=2.0, **SIZE)


def scores(where: Path) -> list[dict[str, float]]:
    return QwenVLJudge.load(where, device="cpu").score(SHEET)


def drift(one: list[dict[str, float]], two: list[dict[str, float]]) -> float:
    return max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True) for name in a)


def converted(where: Path, to: q.To, out: Path, *, smoothed: bool = False) -> tuple[Path, list[q.Counted]]:
    judge = q.load_for_quantizing(str(where), to=to, device="cpu", adapter=None)
    if smoothed:
        q.smooth(judge, lambda: [judge.score(SHEET)] and [None])
    judge.model.to(q.stored_dtype(where))
    counted = q.convert(judge.model, to)
    out.mkdir()
    q.save(judge, where, out, {"to": to})
    return out, counted


def test_smoothing_changes_no_score_in_whole_numbers(whole: Path) -> None:
    judge = QwenVLJudge.load(whole, device="cpu")
    with torch.no_grad():
        judge.model.model.language_model.layers[0].input_layernorm.weight[3] *= 64  # an outlier, as large models have
    before = judge.score(SHEET)
    weights = {name: p.clone() for name, p in judge.model.named_parameters()}
    assert q.smooth(judge, lambda: [judge.score(SHEET)] and [None]) == 4 * SIZE["layers"]
    assert drift(judge.score(SHEET), before) == 0  # factors are powers of two
    changed = {name for name, p in judge.model.named_parameters() if not p.equal(weights[name])}
    assert "model.language_model.layers.0.input_layernorm.weight" in changed
    assert not any("down_proj" in name or "o_proj" in name or "lm_head" in name for name in changed)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_smoothing_finds_the_norms_of_every_family(family: str, tmp_path: Path) -> None:
    where = save_model(tmp_path / "judge", family=family, scale=2.0, layers=2)
    judge, sheet = QwenVLJudge.load(where, device="cpu"), make_sheet(2, cell=CELLS[family])
    with torch.no_grad():
        judge.model.model.visual.blocks[1].norm2.weight[3] *= 64
    before, weights = judge.score(sheet), {name: p.clone() for name, p in judge.model.named_parameters()}
    assert q.smooth(judge, lambda: [judge.score(sheet)] and [None]) == 4 * 2
    assert drift(judge.score(sheet), before) == 0
    changed = {name for name, p in judge.model.named_parameters() if not p.equal(weights[name])}
    assert "model.visual.blocks.1.norm2.weight" in changed


@pytest.mark.parametrize("to", BOTH)
def test_qwen3_vl_is_quantized_and_loads(to: q.To, tmp_path: Path) -> None:
    where = save_model(tmp_path / "judge", family="qwen3_vl", scale=2.0, **SIZE)
    folder, rows = converted(where, to, tmp_path / to)
    sheet = make_sheet(3, cell=CELLS["qwen3_vl"])
    one, two = (QwenVLJudge.load(place, device="cpu").score(sheet) for place in (where, folder))
    assert 0 < drift(one, two) < DRIFT[to]
    assert sum(row.modules for row in rows if not row.why) == 2 * 7 + 2 * 4 + 3 * 2  # two deeper mergers


def test_only_linear_layers_beside_the_head_are_converted(whole: Path) -> None:
    model = QwenVLJudge.load(whole, device="cpu").model
    layers = {name: layer for name, layer in model.named_modules() if q.converts(name, layer)}
    rows = q.count(model, layers)
    assert sum(row.modules for row in rows if not row.why) == len(layers) == 2 * 7 + 2 * 4 + 2
    left = {row.kind: row.why for row in rows if row.why}
    assert set(left) == {"Embedding", "Linear", "Conv3d", "LayerNorm", "Qwen2VLRMSNorm"} or "lm_head" not in layers
    assert all(left.values())


def test_a_missing_library_says_what_mends_it(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "LIBRARIES", {"int8": "no_such_library", "int4": "no_such_library"})
    with pytest.raises(SetupError, match=r"pip install .*'torchao>="):
        q.load_for_quantizing(str(whole), to="int8", device="cpu", adapter=None)


def test_a_quantized_judge_is_no_input(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "LIBRARIES", {"int8": "json", "int4": "json"})
    folder = tmp_path / "quantized"
    folder.mkdir()
    config = json.loads((whole / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "torchao"}}))
    with pytest.raises(ModelError, match="quantized already"):
        q.load_for_quantizing(str(folder), to="int8", device="cpu", adapter=None)


@pytest.mark.parametrize("to", BOTH)
def test_a_converted_judge_comes_back_with_the_same_scores_each_time(whole: Path, to: q.To, tmp_path: Path) -> None:
    folder, _ = converted(whole, to, tmp_path / "new")
    first = scores(folder)
    assert first == scores(folder)
    assert 0 < drift(first, scores(whole)) < DRIFT[to]
    judge = QwenVLJudge.load(folder, device="cpu")
    assert judge.quantized == {"int8": "int8 (W8A8)", "int4": "NF4"}[to]
    assert judge.info["dtype"] == "float32"
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".jinja", ".txt", ".safetensors"}  # no pickle
    assert not [f for f in folder.glob("*.safetensors") if f.stat().st_size > 0.8 * _bytes(whole)]


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@pytest.mark.parametrize("to", BOTH)
def test_packed_scores_are_those_of_one_question_at_a_time(whole: Path, to: q.To, tmp_path: Path) -> None:
    folder, _ = converted(whole, to, tmp_path / "new")
    judge = QwenVLJudge.load(folder, device="cpu")
    alone = [judge.score(replace(SHEET, questions=(question,)))[0] for question in SHEET.questions]
    # NF4 changes weights alone; W8A8 rounds each token by itself, and float32 sums of other lengths round differently.
    assert drift(judge.score(SHEET), alone) < {"int4": 2e-5, "int8": 0.05}[to]


@pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")
def test_products_in_floats_are_those_of_torchao(whole: Path) -> None:
    judge = q.load_for_quantizing(str(whole), to="int8", device="cpu", adapter=None)
    q.convert(judge.model, "int8")
    layer: Any = judge.model.model.language_model.layers[0].mlp.up_proj
    inputs = torch.randn(2, 7, layer.in_features, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(multiply_in_floats(layer, inputs), layer(inputs), atol=1e-6)


@pytest.mark.parametrize("to", BOTH)
def test_planned_bytes_are_those_on_the_disk_to_one_per_cent(to: q.To, tmp_path: Path) -> None:
    from toeline.judge.load import EMBEDDED

    folder, _ = converted(EMBEDDED, to, tmp_path / "new")
    planned = sum(load_bytes(find_model("embedded", embedded=EMBEDDED).shape, Weights(to, to, rest="float16")).values())
    assert _bytes(folder) == pytest.approx(planned, rel=0.01)


@pytest.mark.parametrize("to", BOTH)
def test_a_disk_that_fills_leaves_the_folder_as_it_was(
    whole: Path, to: q.To, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data", {"valid": {"a_1.jpg": ["6 0.2 0.3 0.1 0.5"]}}, size_wh=(200, 100))
    save = q.save

    def fills(judge: Any, source: Path, out: Path, record: Any) -> int:
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device", str(out / "model.safetensors"))

    monkeypatch.setattr(q, "save", fills)
    words = ("quantize", str(whole), "--to", to, "--data", "data", "--out", "out")
    assert exit_code(*words) == 2
    assert "Make room" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").iterdir()} <= {"run.json", ".lock"}
    monkeypatch.setattr(q, "save", save)
    assert exit_code(*words) == 4  # one object proves nothing
    assert (tmp_path / "out" / "candidate" / "quantization.json").is_file()
    assert not (tmp_path / "out" / "model").exists()
    assert exit_code(*words, "--allow-unproven") in (0, 3)  # by what random weights say of it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["baseline:b.safetensors", "--to", "int8"], "no language model"),
        (["embedded", "--to", "int4", "--smooth", "3"], "--smooth helps int8"),
        (["learned", "--to", "int4"], "Name the judge in it"),
        (["embedded", "--to", "int2"], "int2"),
    ],
)
def test_wrong_use_is_told(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / "model.json").write_text("{}")
    assert exit_code("quantize", *words, "--data", "data", "--out", "out") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
