"""What happens between the steps of a detector's training: weights are averaged, measured, kept, and it stops early.

Imported late, by train/detector_fit.py only: torch and transformers load here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

from toeline.train.detector_keeper import fade
from toeline.train.log import VALID, Log, is_stuck

AVERAGE, BEST = "average.safetensors", "best.safetensors"


class InOrder(Trainer):  # type: ignore[misc]  # the documented way to give Trainer another order
    """Turns come as they are numbered: their order is in the data set, the same after a kill."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return SequentialSampler(self.train_dataset)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Averages the weights after each step; at each epoch's end measures the average, keeps the best, and may stop.

    `per_epoch` is steps; `measure` gives what the log says of a network, with `map_50`, by which the best is chosen.
    `tell` hears how many steps are done after each, and each line of the log.
    """

    def __init__(
        self,
        network: nn.Module,
        out: Path,
        log: Log,
        *,
        per_epoch: int,
        patience: int,
        measure: Callable[[nn.Module], dict[str, Any]],
        tell: Callable[[int, dict[str, Any] | None], None],
        untrained: bool,
    ) -> None:
        self.average = AveragedModel(network, multi_avg_fn=fade, use_buffers=True)
        self.out, self.log, self.per_epoch, self.patience = out, log, per_epoch, patience
        self.measure, self.tell, self.untrained = measure, tell, untrained
        self.began, self.before_s = time.monotonic(), 0.0
        self.history: list[dict[str, Any]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = [line for line in self.log.lines() if line["step"] <= state.global_step]
        self.history = [line for line in lines if VALID in line]
        self.began, self.before_s = time.monotonic(), max((line["seconds"] for line in lines), default=0.0)
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.global_step:
            _load(self.average.module, checkpoint / AVERAGE)
            self.average.n_averaged.fill_(state.global_step)
        elif self.untrained:
            self._validate(state, 0)

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        self.average.update_parameters(model)
        self.tell(state.global_step, None)
        if state.global_step % self.per_epoch == 0:
            self._validate(state, state.global_step // self.per_epoch)
            control.should_save = True
            control.should_training_stop |= is_stuck(self.history, self.patience)

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
            _save(self.average.module, self.out / BEST)
        line = {"epoch": epoch, VALID: found, **({"best": True} if better else {})}
        self.history.append(line)
        self._add(state, **line)

    def _add(self, state: Any, **what: Any) -> None:
        line = {"step": state.global_step, "seconds": round(self.before_s + time.monotonic() - self.began, 1), **what}
        self.log.add(**line)
        self.tell(state.global_step, line)


def _save(network: nn.Module, file: Path) -> None:
    """In one step, so that a kill leaves the old file or the new one; weights that share memory are saved once each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    save_file({k: v.detach().clone().contiguous() for k, v in network.state_dict().items()}, part)
    part.replace(file)


def _load(network: nn.Module, file: Path) -> None:
    network.load_state_dict(load_file(file))


def load_best(network: nn.Module, out: Path) -> None:
    """The weights of the best epoch."""
    _load(network, out / BEST)
