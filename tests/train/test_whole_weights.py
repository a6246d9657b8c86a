"""What a whole model's checkpoint gives back when a run goes on: every weight, or a refusal; never some of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.tiny_judges import FAMILIES, make_model, make_tokenizer
from tests.support.training import settings, train, write_data, write_judge

from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError
from toeline.train import callbacks as loop
from toeline.train import embedded_judge as embedded
from toeline.train.adapter import load_weights
from toeline.train.embedded_judge import JudgeRun

Weights = dict[str, torch.Tensor]
TINY: dict[str, Any] = {"width": 64, "vision_depth": 1, "language_depth": 1, "workers": 1, "threads": 1}


def other_names(weights: Weights) -> Weights:
    """As a trainer that wraps the model calls them: they fit nowhere."""
    return {f"wrapped.module.{name}": weight for name, weight in weights.items()}


def one_too_many(weights: Weights) -> Weights:
    """A layer more than config.json counts."""
    return weights | {k.replace("layers.1.", "layers.2."): w + 0 for k, w in weights.items() if "layers.1." in k}


def one_lacks(weights: Weights) -> Weights:
    return dict(list(weights.items())[1:])


def another_size(weights: Weights) -> Weights:
    return {name: weight[..., :-1].contiguous() for name, weight in weights.items()}


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: Any) -> str:
    return str(request.param)


def test_every_weight_comes_back_under_its_name(family: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    saved, other = (make_model(tokenizer, family=family, seed=seed) for seed in (1, 2))
    for model in (saved, other):
        model.token_head = torch.nn.Linear(32, 5)
    saved.save_pretrained(tmp_path)
    load_weights(other, tmp_path)
    assert all(weight.equal(other.state_dict()[name]) for name, weight in saved.state_dict().items())


@pytest.mark.parametrize("change", [other_names, one_too_many, one_lacks, another_size])
def test_names_that_fit_nowhere_are_refused(family: str, change: Callable[[Weights], Weights], tmp_path: Path) -> None:
    saved, other = (make_model(make_tokenizer(), family=family, seed=seed) for seed in (1, 2))
    saved.save_pretrained(tmp_path)
    rewrite(tmp_path, change)
    before = {name: weight.clone() for name, weight in other.state_dict().items()}
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_weights(other, tmp_path)
    assert all(weight.equal(other.state_dict()[name]) for name, weight in before.items())


class Killed(Exception):
    """Stands for a kill: nothing in the package catches it."""


def test_a_run_of_all_weights_goes_on_from_those_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly those; and it does not go on from a checkpoint whose names fit nowhere."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)
    data, run = write_data(tmp_path / "data"), settings(write_judge(tmp_path / "judge"), full=True, epochs=1)
    seen: list[Weights] = []

    def look(self: Any, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if state.global_step == 1:
            seen.append({name: weight.detach().clone() for name, weight in model.state_dict().items()})
            raise Killed

    for moment, resume in (("on_substep_end", False), ("on_train_begin", True)):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Watch, moment, look)
            with pytest.raises(Killed):
                train(run, data, tmp_path / "out", resume=resume)
    assert all(weight.equal(seen[1][name]) for name, weight in seen[0].items())
    rewrite(tmp_path / "out" / "checkpoints" / "checkpoint-1", other_names)
    with pytest.raises(ModelError, match=r"checkpoint-1: the weight files lack \d+ of the model's tensors"):
        train(run, data, tmp_path / "out", resume=True)


def test_the_embedded_judge_does_not_start_from_names_that_fit_nowhere(tmp_path: Path) -> None:
    judge = embedded._start(JudgeRun(out=tmp_path, **TINY), Taxonomy.load()).judge
    judge.model.save_pretrained(tmp_path / "kept")
    judge.tokenizer.save_pretrained(tmp_path / "kept")
    again = JudgeRun(out=tmp_path, start=tmp_path / "kept", seed=9, **TINY)
    other = embedded._start(again, Taxonomy.load()).judge
    assert all(w.equal(other.model.state_dict()[name]) for name, w in judge.model.state_dict().items())
    rewrite(tmp_path / "kept", other_names)
    with pytest.raises(ModelError, match="the weight files lack"):
        embedded._start(again, Taxonomy.load())


def test_the_config_of_a_checkpoint_may_not_leave_layers_out(tmp_path: Path) -> None:
    """Half a model would be loaded without a word."""
    from toeline.judge.qwen_vl import QwenVLJudge

    folder = write_judge(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 1, "layer_types": ["full_attention"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"width are \[1, 2, .*of the weights \[2, 2, "):
        QwenVLJudge.load(folder, device="cpu")
