"""The loop that trains any detector, by transformers' Trainer: what it is told, its callback, and averaged weights.

Loads torch and transformers.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from toeline.evaluate.average_precision import Threshold, average_precision, best_thresholds, precision_record
from toeline.train.callbacks import VALID, Log, checkpoint_of, is_stuck
from toeline.train.detector_backends import DetectorLearner
from toeline.train.detector_data import Sample, Views
from toeline.weights import no_bars

LOG, CHECKPOINTS = "log.jsonl", "checkpoints"
AVERAGE, BEST = "average.safetensors", "best.safetensors"
Tell = Callable[[int, int, Mapping[str, Any] | None], None]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """One training: who learns what, for how long, and where it is written. Seconds count over resumed runs.

    `rate` is the share of the `peak` learning rate, by the step and the seconds spent. `held` is what is measured on
    every `per_epoch` steps; after `patience` measurements without a better one training stops (0: never), and after
    `limit_s` seconds. `untrained` measures the weights before the first step too. Without `choose` the weights of the
    last step are kept, and only they are measured. `kept` is the share of the weights to begin with in those at the
    end (https://arxiv.org/abs/2109.01903). `tell` hears steps done, steps in all, and each line of the log.
    """

    learner: DetectorLearner
    views: Views
    held: Sequence[Sample]
    out: Path
    batch: int
    steps: int
    per_epoch: int
    peak: float
    rate: Callable[[int, float], float]
    patience: int = 0
    limit_s: float = math.inf
    untrained: bool = False
    choose: bool = True
    kept: float = 0.0
    tell: Tell = lambda done, total, line: None

    def train(self, *, resume: bool) -> Log:
        """Run the Trainer, from the last checkpoint when `resume`, and leave the best weights in the network."""
        log, begun = Log(self.out / LOG), copy.deepcopy(self.learner.network.state_dict())
        last = checkpoint_of(self.out / CHECKPOINTS) if resume else None
        log.cut(int(last.rpartition("-")[2]) if last else -1)
        if not (last and is_stuck(log.validations(), self.patience)):
            self._loop(log, last)
        load_weights(self.learner.network, self.out / BEST)
        if self.kept:
            pull(self.learner.network.state_dict(), begun, self.kept)
        return log

    def _loop(self, log: Log, last: str | None) -> None:
        watch = DetectorWatch(self, log, self._measure)
        trainer = SequentialTrainer(
            model=self.learner.network,
            args=self._arguments(),
            train_dataset=range(len(self.views.order)),
            data_collator=lambda turns: self.learner.batch([self.views.view(t) for t in turns]),
            compute_loss_func=self.learner.loss,
            optimizers=self._optimizer(watch.spent_s),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)  # standard output is for results
        with no_bars():
            trainer.train(resume_from_checkpoint=last)
        # accelerate leaves its autocast around the network's forward, and it would be exported with it
        trainer.accelerator.unwrap_model(self.learner.network, keep_fp32_wrapper=False)

    def _arguments(self) -> Any:
        return TrainingArguments(
            output_dir=str(self.out / CHECKPOINTS),
            max_steps=self.steps,
            per_device_train_batch_size=self.batch,
            bf16=self.learner.half,
            use_cpu=self.learner.device == "cpu",
            max_grad_norm=self.learner.most_norm,
            logging_steps=10,
            save_strategy="no",  # asked for by the callback, where it measures
            save_total_limit=2,
            seed=self.views.seed,
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
        )

    def _optimizer(self, spent_s: Callable[[], float]) -> tuple[Any, Any]:
        """AdamW that decays kernels only, and the learning rate over the steps."""
        weights = [p for p in self.learner.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.learner.decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.peak)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step, spent_s()))

    def _measure(self, network: Any) -> dict[str, Any]:
        return precision_record(average_precision(*self.learner.find(network, self.held), self.learner.kinds))

    def thresholds(self) -> Mapping[str, Threshold]:
        """Those of best F1 on what is measured on, by type."""
        return best_thresholds(*self.learner.find(self.learner.network, self.held), self.learner.kinds)


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
        ends = self.spent_s() > self.plan.limit_s or state.global_step == self.plan.steps
        if ends or state.global_step % self.plan.per_epoch == 0:
            if ends or self.plan.choose:
                self._validate(state, math.ceil(state.global_step / self.plan.per_epoch))
            control.should_save = True
            control.should_training_stop |= ends or is_stuck(self.history, self.plan.patience)

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


@torch.no_grad()
def pull(weights: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor], share: float) -> None:
    """Move weights by a share of the way towards others of the same names; counters stay.

    >>> weights = {"w": torch.tensor([1.0]), "n": torch.tensor(7)}
    >>> pull(weights, {"w": torch.tensor([3.0]), "n": torch.tensor(1)}, 0.25)
    >>> float(weights["w"]), int(weights["n"])
    (1.5, 7)
    """
    for name, old in weights.items():
        if old.is_floating_point():
            old.lerp_(others[name].to(old.device), share)


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
