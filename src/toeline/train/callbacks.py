"""The Trainer that runs packed photographs, and the callback that measures, keeps the best, and stops.

Imported late, by train/finetune.py only: torch and transformers load here, and both want classes derived.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

from toeline.core.records import read_lines
from toeline.train.detector_data import scaled

SAVE_EVERY = 50  # steps between checkpoints inside an epoch; at an A30's speed about two minutes of work


class PackedTrainer(Trainer):  # type: ignore[misc]  # the documented way to give Trainer another loss
    """Sums the losses of all questions of an accumulated step, on all processes, and divides by their number."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.model_accepts_loss_kwargs = True  # the loss is not to be divided by the accumulated photographs once more

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The photographs of one step, and how many questions they have on all processes together."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        count = torch.tensor(sum(b["questions"] for b in batches), device=self.args.device)
        return batches, self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Forward and backward chunk by chunk; gradients are exchanged once, with the last."""
        chunks = inputs["chunks"]
        total = torch.zeros((), device=self.args.device)
        for left, chunk in zip(reversed(range(len(chunks))), chunks, strict=True):
            with self.accelerator.no_sync(model) if left else nullcontext():
                total += super().training_step(model, chunk, num_items_in_batch)
        return total

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This chunk's part of the step's loss; times the processes, because their gradients are averaged."""
        return model(**inputs).sum() / num_items_in_batch * self.args.world_size

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted."""
        return 0

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return SequentialSampler(self.train_dataset)  # the order is in the data set, the same after a kill


class Watch(TrainerCallback):  # type: ignore[misc]
    """Writes the log, validates where an epoch ends, keeps the best weights, asks for checkpoints, stops early.

    `ends` maps the step at which an epoch ends to the epoch. `measure` gives accuracy and loss on the validation split,
    or None without one; `keep` saves the weights; both run on every process, `keep` writes on the first only. `tell` is
    called with how many photographs are done after each, and with each line of the log.
    """

    def __init__(
        self,
        log: Log,
        ends: Mapping[int, int],
        *,
        measure: Callable[[], dict[str, float] | None],
        keep: Callable[[], None],
        patience: int,
        tell: Callable[[int, dict[str, Any] | None], None],
    ) -> None:
        self.log, self.ends, self.measure, self.keep = log, ends, measure, keep
        self.patience, self.tell = patience, tell
        self.began, self.before_s = time.monotonic(), 0.0
        self.history: list[dict[str, Any]] = []
        self.photographs = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = [line for line in self.log.lines() if line["step"] <= state.global_step]
        self.history = [line for line in lines if VALID in line]
        self.began, self.before_s = time.monotonic(), max((line["seconds"] for line in lines), default=0.0)
        self.photographs = state.global_step * args.gradient_accumulation_steps * args.world_size
        if not self.history:
            self._validate(state, 0)

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._count(args)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._count(args)
        if epoch := self.ends.get(state.global_step, 0):
            self._validate(state, epoch)
            control.should_save = True
            control.should_training_stop |= is_stuck(self.history, self.patience)
        elif state.global_step % SAVE_EVERY == 0:
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self._add(state, **{k: logs[k] for k in ("loss", "learning_rate", "grad_norm") if k in logs})

    def _count(self, args: Any) -> None:
        self.photographs += args.world_size
        self.tell(self.photographs, None)

    def _validate(self, state: Any, epoch: int) -> None:
        found = self.measure()
        better = epoch > 0 and (found is None or is_better(found, self.history))
        if better:
            self.keep()
        if found is not None or epoch:
            line = {"epoch": epoch, VALID: found or {}, **({"best": True} if better else {})}
            self.history.append(line)
            self._add(state, **line)

    def _add(self, state: Any, **what: Any) -> None:
        line = {"step": state.global_step, "seconds": round(self.before_s + time.monotonic() - self.began, 1), **what}
        if state.is_world_process_zero:
            self.log.add(**line)
        self.tell(self.photographs, line)


def checkpoint_of(folder: Path) -> str | None:
    """The newest checkpoint in a folder, or None."""
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


VALID = "valid"  # lines that have it are validations, the others are steps


@dataclass(frozen=True)
class Log:
    """The file of one run. A kill may leave half a line at its end, which is not read."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Everything so far, in order."""
        return read_lines(self.path)

    def validations(self) -> list[dict[str, Any]]:
        """The line of each epoch that was validated, the untrained model's first."""
        return [line for line in self.lines() if VALID in line]

    def steps(self) -> list[dict[str, Any]]:
        """The line of each step."""
        return [line for line in self.lines() if VALID not in line]

    def add(self, **what: Any) -> None:
        """Write one line; infinities as null, because JSON has none."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in what.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")

    def cut(self, step: int) -> None:
        """Forget what came after a step: a run that goes on from a checkpoint does it again."""
        kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.path)


def is_better(new: dict[str, Any], old: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a validation beats all earlier ones of trained weights: by accuracy, and where that is equal by loss.

    >>> worse, better = {"accuracy": 0.5, "loss": 1.0}, {"accuracy": 0.5, "loss": 0.9}
    >>> is_better(better, [{"epoch": 1, "valid": worse}]), is_better(worse, [{"epoch": 1, "valid": better}])
    (True, False)
    """
    before = [(line[VALID]["accuracy"], -line[VALID]["loss"]) for line in old if line["epoch"] > 0]
    return all((new["accuracy"], -new["loss"]) > rank for rank in before)


def best_epoch(lines: Sequence[Mapping[str, Any]]) -> int:
    """The epoch whose weights were kept; 0 when none was trained yet."""
    return max((line["epoch"] for line in lines if line.get("best")), default=0)


def is_stuck(lines: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better; never for a patience of 0.

    >>> lines = [{"epoch": 1, "best": True}, {"epoch": 2}, {"epoch": 3}]
    >>> is_stuck(lines, 2), is_stuck(lines, 3), is_stuck(lines, 0)
    (True, False, False)
    """
    last = max((line["epoch"] for line in lines), default=0)
    return patience > 0 and last - best_epoch(lines) >= patience


AVERAGE, BEST = "average.safetensors", "best.safetensors"


class InOrder(Trainer):  # type: ignore[misc]  # the documented way to give Trainer another order
    """Turns come as they are numbered: their order is in the data set, the same after a kill."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return SequentialSampler(self.train_dataset)


class DetectorWatch(TrainerCallback):  # type: ignore[misc]
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


class Keeper(TrainerCallback):  # type: ignore[misc]  # the library has no types here
    """Averages the weights after each step, saves and measures the average now and then, and stops at the time limit.

    Each measurement is a line of `log.jsonl`; `average.safetensors` and `clock.json` stand in each checkpoint, and the
    newest average also in `out`. `spent_s` counts over resumed runs.
    """

    def __init__(
        self, network: nn.Module, out: Path, *, limit_s: float, every: int, measure: Callable[[nn.Module], str]
    ) -> None:
        self.average = AveragedModel(network, multi_avg_fn=fade, use_buffers=True)
        self.out, self.limit_s, self.every, self.measure = out, limit_s, every, measure
        self.steps = 0
        self.before_s, self.began = 0.0, time.monotonic()

    def spent_s(self) -> float:
        return self.before_s + time.monotonic() - self.began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began, self.steps = time.monotonic(), state.global_step
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.global_step and checkpoint.exists():
            clock = json.loads((checkpoint / "clock.json").read_text(encoding="utf-8"))
            self.before_s = clock["spent_s"]
            self.average.module.load_state_dict(load_file(checkpoint / "average.safetensors"))
            self.average.n_averaged.fill_(clock["steps"])

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        self.average.update_parameters(model)
        self.steps = state.global_step
        if self.spent_s() > self.limit_s:
            control.should_training_stop = control.should_save = True
        if self.steps % self.every == 0:
            self._note(score=self.measure(self.average.module))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        self._note(**{k: logs[k] for k in ("loss", "learning_rate", "grad_norm") if k in logs})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        checkpoint.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.contiguous() for k, v in self.average.module.state_dict().items()}, checkpoint / "average.safetensors"
        )
        save_file(
            {k: v.contiguous() for k, v in self.average.module.state_dict().items()}, self.out / "average.safetensors"
        )
        clock = {"spent_s": self.spent_s(), "steps": self.steps}
        (checkpoint / "clock.json").write_text(json.dumps(clock), encoding="utf-8")

    def _note(self, **what: Any) -> None:
        line = {"step": self.steps, "seconds": round(self.spent_s()), **what}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(
                json.dumps({k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in line.items()})
                + "\n"
            )


class Whole(nn.Module):
    """What is exported: pixels as they come from a photograph, boxes and scores as they are read."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, S, S, 3) uint8 to boxes (A, 4) as x1, y1, x2, y2 in its pixels, and scores (A, kinds), 0 to 1."""
        decoded = self.network(scaled(photo))[0][0].transpose(0, 1)
        return decoded[:, :4], decoded[:, 4:]
