"""The two classes that torch and transformers want derived: the weights averaged while training, and what is exported.

Imported late, by train/detector.py only: torch and transformers load here.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback

from toeline.train.detector_data import scaled

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
