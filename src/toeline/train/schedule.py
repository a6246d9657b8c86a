"""How many steps there are, where epochs end, and the settings that transformers' Trainer is given."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toeline.train.lora import LoraRun

WARMUP = 0.05  # share of the steps


def arguments_of(run: LoraRun, out: Path, photographs: int) -> Any:
    """transformers' settings: one photograph at a time, AdamW, warm-up and cosine, a line of log for each step."""
    from transformers import TrainingArguments

    from toeline.judge.load import pick_device, pick_dtype

    device = pick_device(run.device)
    dtype = str(pick_dtype(run.dtype, device)).removeprefix("torch.")
    world = int(os.environ.get("WORLD_SIZE", 1))
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(out.with_name("tensorboard")))
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=run.accumulate,
        num_train_epochs=1,  # the data set holds all epochs, one after the other
        learning_rate=run.lr,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(WARMUP * steps_in(photographs, run.accumulate, world))),
        optim="adamw_torch",
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=run.all_weights and dtype == "bfloat16",
        fp16=dtype == "float16" and device == "cuda",
        use_cpu=device == "cpu",
        ddp_backend="gloo" if device == "cpu" and world > 1 else None,
        ddp_find_unused_parameters=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",  # Watch asks for checkpoints
        save_total_limit=2,
        dataloader_num_workers=(2 if device == "cuda" else 0) if run.workers is None else run.workers,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to=["tensorboard"] if find_spec("tensorboard") else [],
        disable_tqdm=True,
        seed=run.seed,
    )


def steps_in(photographs: int, accumulate: int, world: int = 1) -> int:
    """Steps of the optimizer for so many photographs on so many processes.

    >>> steps_in(10, 4), steps_in(10, 4, 2)
    (3, 2)
    """
    return math.ceil(math.ceil(photographs / world) / accumulate)


def ends_of(photographs: int, epochs: int, accumulate: int, world: int = 1) -> dict[int, int]:
    """The step at which each epoch ends.

    >>> ends_of(10, 2, 4)
    {3: 1, 5: 2}
    """
    total = steps_in(photographs * epochs, accumulate, world)
    return {min(total, steps_in(photographs * e, accumulate, world)): e for e in range(1, epochs + 1)}
