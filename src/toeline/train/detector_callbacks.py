"""What the detector's training derives from torch and transformers: its Trainer, its callback, and what is exported.

Imported late, because torch and transformers load here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

from toeline.train.callbacks import VALID, Log, is_stuck
from toeline.train.detector_data import scaled

if TYPE_CHECKING:
    from toeline.train.detector import TrainingPlan

AVERAGE, BEST = "average.safetensors", "best.safetensors"


class SequentialTrainer(Trainer):  # type: ignore[misc]  # the documented way to give Trainer another order
    """Turns come as they are numbered: their order is in the data set, the same after a kill."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return SequentialSampler(self.train_dataset)


class DetectorWatch(TrainerCallback):  # type: ignore[misc]
    """Averages the weights after each step, measures the average, keeps the best, asks for checkpoints, may stop.

    It measures where an epoch ends, after the last step, and when the time limit of the plan is reached. `measure`
    gives what the log says of a network, with `map_50`, by which the best is chosen.
    """

    def __init__(self, plan: TrainingPlan, log: Log, measure: Callable[[nn.Module], dict[str, Any]]) -> None:
        learner = plan.learner
        self.average = AveragedModel(learner.network, torch.device(learner.device), multi_avg_fn=fade, use_buffers=True)
        self.plan, self.log, self.measure = plan, log, measure
        self.began, self.before_s = time.monotonic(), 0.0
        self.history: list[dict[str, Any]] = []

    def spent_s(self) -> float:
        """Seconds of training, over all resumed runs."""
        return self.before_s + time.monotonic() - self.began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = [line for line in self.log.lines() if line["step"] <= state.global_step]
        self.history = [line for line in lines if VALID in line]
        self.began, self.before_s = time.monotonic(), max((line["seconds"] for line in lines), default=0.0)
        if state.global_step:
            load_weights(self.average.module, Path(args.output_dir) / f"checkpoint-{state.global_step}" / AVERAGE)
            self.average.n_averaged.fill_(state.global_step)
        elif self.plan.untrained:
            self._validate(state, 0)

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        self.average.update_parameters(model)
        self.plan.tell(state.global_step, self.plan.steps, None)
        late = self.spent_s() > self.plan.limit_s
        if late or state.global_step % self.plan.per_epoch == 0 or state.global_step == self.plan.steps:
            self._validate(state, math.ceil(state.global_step / self.plan.per_epoch))
            control.should_save = True
            control.should_training_stop |= late or is_stuck(self.history, self.plan.patience)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        _save(self.average.module, Path(args.output_dir) / f"checkpoint-{state.global_step}" / AVERAGE)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self._add(state, **{k: logs[k] for k in ("loss", "learning_rate", "grad_norm") if k in logs})

    def _validate(self, state: Any, epoch: int) -> None:
        """Measure, and keep the weights when they are the best so far; those of epoch 0 are only measured."""
        found = self.measure(self.average.module)
        before = [line[VALID]["map_50"] for line in self.history if line["epoch"] > 0]
        better = epoch > 0 and all(found["map_50"] > other for other in before)
        if better:
            _save(self.average.module, self.plan.out / BEST)
        line = {"epoch": epoch, VALID: found, **({"best": True} if better else {})}
        self.history.append(line)
        self._add(state, **line)

    def _add(self, state: Any, **what: Any) -> None:
        line = {"step": state.global_step, "seconds": round(self.spent_s(), 1), **what}
        self.log.add(**line)
        self.plan.tell(state.global_step, self.plan.steps, line)


def _save(network: nn.Module, file: Path) -> None:
    """In one step, so that a kill leaves the old file or the new one; weights that share memory are saved once each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_file({k: v.detach().clone().contiguous() for k, v in network.state_dict().items()}, part)
    part.replace(file)


def load_weights(network: nn.Module, file: Path) -> None:
    """Weights that a run kept (`best.safetensors`) into a network of the same shape."""
    network.load_state_dict(load_file(file))


AVERAGE_DECAY = 0.9995  # of the moving average over steps; reached after about 5,000 steps


def fade(kept: Sequence[torch.Tensor], new: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
    """Moving average whose memory grows with the number of steps, so that the random start is forgotten soon."""
    count = float(steps)
    decay = min(AVERAGE_DECAY, (1 + count) / (10 + count))
    for old, fresh in zip(kept, new, strict=True):
        if old.is_floating_point():
            old.lerp_(fresh, 1 - decay)
        else:
            old.copy_(fresh)


class Whole(nn.Module):
    """What is exported: pixels as they come from a photograph, boxes and scores as they are read."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, S, S, 3) uint8 to boxes (A, 4) as x1, y1, x2, y2 in its pixels, and scores (A, kinds), 0 to 1."""
        decoded = self.network(scaled(photo))[0][0].transpose(0, 1)
        return decoded[:, :4], decoded[:, 4:]
