"""The weights in the package are those of `weights.json`: to replace one is a deliberate act that says why.

The rule is docs/decisions/0009-weights.md. Git keeps every version of a file for ever, so each retraining that is
committed makes every clone larger by the whole model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import toeline

ROOT = Path(__file__).parent.parent.parent
MODELS = Path(toeline.__file__).parent / "models"
KEPT: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "weights.json").read_text(encoding="utf-8"))
WEIGHTS = {".safetensors", ".onnx", ".data", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".npz", ".gguf"}
BYTES_EACH = {"float16": 2, "float32": 4, "float64": 8}
BESIDE_WEIGHTS = 1.1  # names, shapes and the graph take up to a tenth of the weights
NOT_HALF = {"detector", "domain", "baseline", "rescore"}  # the first until its next training; the others are tables
SAFETENSORS = {"F16": "float16", "F32": "float32"}


def test_every_model_has_one_file_of_weights_and_it_is_the_listed_one() -> None:
    there = sorted(f.relative_to(MODELS).as_posix() for f in MODELS.rglob("*") if f.suffix in WEIGHTS)
    assert there == sorted(kept["file"] for kept in KEPT.values())


@pytest.mark.parametrize("name", sorted(KEPT))
def test_weights_are_replaced_on_purpose(name: str) -> None:
    kept = KEPT[name]
    content = (MODELS / kept["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == kept["sha256"], (
        f"the weights of the {name} are others than those of tests/models/weights.json. If they are meant to replace "
        f"them, read docs/decisions/0009-weights.md, and write down there what was measured and why."
    )
    assert kept["why"]
    assert (ROOT / kept["measured"]).is_file()


@pytest.mark.parametrize("name", sorted(KEPT))
def test_weights_take_no_more_than_their_precision_needs(name: str) -> None:
    kept = KEPT[name]
    size = (MODELS / kept["file"]).stat().st_size
    assert size <= BESIDE_WEIGHTS * BYTES_EACH[kept["dtype"]] * kept["parameters"]


def test_weights_are_stored_in_half_precision() -> None:
    assert {name for name, kept in KEPT.items() if kept["dtype"] != "float16"} <= NOT_HALF


def test_the_judge_is_stored_as_listed() -> None:
    from safetensors import safe_open

    kept = KEPT["judge"]
    with safe_open(MODELS / kept["file"], "numpy") as file:
        tensors = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - it is no dict
        assert {SAFETENSORS[t.get_dtype()] for t in tensors} == {kept["dtype"]}
        sizes = [file.get_tensor(name).size for name in file.keys()]  # noqa: SIM118
    assert sum(sizes) == kept["parameters"]
