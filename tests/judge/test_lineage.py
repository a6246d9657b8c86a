"""Which weights an adapter belongs to, by its record and its shapes, through all that can be done to a judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.support.adapters import saved, trained
from tests.support.tiny_judges import save_model

from toeline.core.question import PromptBudget
from toeline.errors import ModelError
from toeline.judge.checkpoint import read_config, write_view
from toeline.judge.lineage import (
    LINEAGE,
    MERGE,
    TRIM,
    add_steps,
    merged,
    require_base,
    require_fits,
    steps_of,
    trainings,
)
from toeline.judge.merge import merge
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.judge.trim import trim
from toeline.weights import hashes

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("judge"))


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter as finetune leaves it: what it was trained on stands beside, and its base in it."""
    folder = saved(trained(), tmp_path / "tuned" / "adapter")
    write_view(folder, PromptBudget(), base=hashes(base))
    record = {"command": "finetune", "settings": {"split": "train", "data": "d"}, "photographs_sha256": ["aa"]}
    (folder.parent / "run.json").write_text(json.dumps(record))
    return folder


def other_weights(base: Path, folder: Path) -> Path:
    """A judge of the same shape."""
    shutil.copytree(base, folder)
    tensors = {name: tensor * 2 for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_adapter_of_other_weights_is_refused_everywhere(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = other_weights(base, tmp_path / "other")
    QwenVLJudge.load(base, device="cpu", adapter=adapter)
    (tmp_path / "out").mkdir()
    says = r"was trained on other weights \(model.safetensors, SHA-256 .*Name the base model"
    with pytest.raises(ModelError, match=says):
        QwenVLJudge.load(other, device="cpu", adapter=adapter)
    with pytest.raises(ModelError, match=says):
        merge(other, adapter, tmp_path / "out")
    with pytest.raises(ModelError, match=says):
        require_fits(other, adapter)
    assert not list((tmp_path / "out").iterdir())


def test_an_adapter_without_a_record_is_refused_by_its_shapes_before_weights_are_read(
    base: Path, tmp_path: Path
) -> None:
    silent = saved(trained(), tmp_path / "silent")
    wide = tmp_path / "wide"
    save_model(wide, hidden=64)
    (wide / "model.safetensors").unlink()
    require_fits(base, silent)
    with pytest.raises(ModelError, match="does not fit this model"):
        require_fits(wide, silent)


def test_it_still_fits_what_was_trimmed_and_no_longer_what_has_it_already(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    for name in ("cut", "whole"):
        (tmp_path / name).mkdir()
    trim(base, tmp_path / "cut", ["slope drain"], least=64, room=lambda _: None)
    require_base(tmp_path / "cut", adapter)
    merge(tmp_path / "cut", adapter, tmp_path / "whole")
    assert [step["step"] for step in steps_of(tmp_path / "whole")] == [TRIM, MERGE]
    with pytest.raises(ModelError, match="other weights"):
        require_base(tmp_path / "whole", adapter)
    (found,) = trainings(tmp_path / "whole")
    assert found[1]["photographs_sha256"] == ["aa"]
    assert "quantization_config" not in read_config(tmp_path / "whole")


def test_an_adapter_that_was_added_while_quantizing_fits_no_more(base: Path, adapter: Path, tmp_path: Path) -> None:
    made = other_weights(base, tmp_path / "made")
    add_steps(base, made, {"step": "quantize", "to": "int4"})
    require_base(made, adapter)
    add_steps(base, made, merged(adapter), {"step": "quantize", "to": "int4"})
    with pytest.raises(ModelError, match="other weights"):
        require_base(made, adapter)
    (made / LINEAGE).write_text('{"steps": [1]}')
    with pytest.raises(ModelError, match="does not say what"):
        steps_of(made)
