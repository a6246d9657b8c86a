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
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback

from toeline.core.records import read_lines
from toeline.judge.adapter import check_loaded
from toeline.train.adapter import load_weights
from toeline.weights import no_bars

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

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """A whole model by `load_weights`: the Trainer's own way goes by the names in the file, and loads nothing."""
        if isinstance(self.model, PreTrainedModel):
            load_weights(self.model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            check_loaded(self.model, Path(resume_from_checkpoint))


def learn(model: Any, args: Any, rows: Any, packer: Any, watch: Watch, *, resume: bool, tokenizer: Any = None) -> None:
    """The one training loop of every judge: `rows`, a map-style data set in the order of training, through `packer`.

    With `resume` it continues from the last checkpoint in `args.output_dir`, to the same weights as without the
    interruption; the log forgets what came after that checkpoint. A `tokenizer` is saved in each checkpoint.
    """
    last = checkpoint_of(Path(args.output_dir)) if resume else None
    if args.process_index == 0:
        watch.log.cut(int(last.rpartition("-")[2]) if last else -1)
    args.distributed_state.wait_for_everyone()
    if last and is_stuck(watch.log.validations(), watch.patience):
        return
    trainer = PackedTrainer(
        model=model, args=args, train_dataset=rows, data_collator=packer, callbacks=[watch], processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)  # standard output is for results
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(watch.log.path.with_name("tensorboard"))
    with no_bars():
        trainer.train(resume_from_checkpoint=last)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Writes the log, validates where an epoch ends, keeps the best weights, asks for checkpoints, stops early.

    The Trainer's own EarlyStoppingCallback and load_best_model_at_end are not used: they rank by one number where this
    ranks by accuracy and then loss, a run that they stopped trains on when it is resumed, and the Trainer's evaluation
    loop draws from torch's generator, which would change every dropout after it.

    `ends` maps the step at which an epoch ends to the epoch. `measure` gives accuracy and loss on the validation split,
    or None without one; `keep` saves the weights; both run on every process, `keep` writes on the first only. `tell` is
    called with how many photographs are done after each, and with each line of the log. Without `keep` no epoch is the
    best, and the weights are those of the last step.
    """

    def __init__(
        self,
        log: Log,
        ends: Mapping[int, int],
        *,
        measure: Callable[[], dict[str, Any] | None],
        keep: Callable[[], None] | None,
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
        best = {}
        if self.keep and epoch > 0 and (found is None or is_better(found, self.history)):
            self.keep()
            best = {"best": True}
        if found is not None or epoch:
            line = {"epoch": epoch, VALID: found or {}, **best}
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
        """Forget what came after a step: a run that continues from a checkpoint does it again."""
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
