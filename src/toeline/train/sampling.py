"""What rare classes get in training, from factorized counts: how rare the type is, times how rare the condition in it.

Knows counts and names; knows no photograph and no model.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.train.config import LoraRun

# Powers of the inverse frequency: 0 counts objects alike, 1 counts types (conditions) alike. Half way, because the
# headline counts objects alike and a class of 50 objects weighted fully is learned by heart (Cui et al. 2019,
# arXiv 1901.05555, find the same with "effective numbers").
TYPE_POWER = 0.5
CONDITION_POWER = 0.5


def class_weights(
    counts: Mapping[str, int],
    taxonomy: Taxonomy,
    *,
    type_power: float = TYPE_POWER,
    condition_power: float = CONDITION_POWER,
) -> dict[str, float]:
    """How much an object of each class counts, 1 on average over all objects.

    >>> weights = class_weights({"rock toe": 1, "rock toe damaged": 4}, Taxonomy.load())
    >>> round(weights["rock toe"] / weights["rock toe damaged"], 3)
    2.0
    """
    there = {name: n for name, n in counts.items() if n}
    of_type: Counter[str] = Counter()
    for name, n in there.items():
        of_type[taxonomy.class_of(name).type] += n
    rarity = {}
    for name, n in there.items():
        whole = of_type[taxonomy.class_of(name).type]
        rarity[name] = whole**-type_power * (n / whole) ** -condition_power
    mean = sum(rarity[name] * n for name, n in there.items()) / max(1, sum(there.values()))
    return {name: r / mean for name, r in rarity.items()}


Turn = tuple[int, int]  # photograph, and the how-manieth picture of it this is


def order_of(
    classes: Sequence[Sequence[str]], *, epochs: int, seed: int, weights: Mapping[str, float] | None = None
) -> list[Turn]:
    """Which photograph comes when, epoch after epoch; the same seed gives the same order on any machine.

    Each photograph once an epoch, shuffled; with `weights`, as many draws as photographs, each with a chance as large
    as the mean weight of its objects.
    """
    rng, n = np.random.default_rng((seed, 7)), len(classes)
    chances = None
    if weights is not None:
        means = np.array([np.mean([weights.get(c, 1.0) for c in names]) if names else 1.0 for names in classes])
        chances = means / means.sum()
    seen: Counter[int] = Counter()
    turns = []
    for _ in range(epochs):
        drawn = rng.permutation(n) if chances is None else rng.choice(n, size=n, p=chances)
        for i in drawn.tolist():
            turns.append((i, seen[i]))
            seen[i] += 1
    return turns


WARMUP = 0.05  # share of the steps


def arguments_of(run: LoraRun, out: Path, photographs: int, **recipe: Any) -> Any:
    """transformers' settings: one photograph at a time, AdamW, warm-up and cosine, a line of log for each step.

    `recipe` names another schedule, decay or optimizer settings.
    """
    from transformers import TrainingArguments

    from toeline.judge.checkpoint import pick_dtype
    from toeline.weights import pick_device

    device = pick_device(run.device)
    dtype = str(pick_dtype(run.dtype, device)).removeprefix("torch.")
    world = int(os.environ.get("WORLD_SIZE", 1))
    warmup = max(1, round(WARMUP * steps_in(photographs, run.accumulate, world)))
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=run.accumulate,
        num_train_epochs=1,  # the data set holds all epochs, one after the other
        learning_rate=run.lr,
        optim="adamw_torch",
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
        **{"lr_scheduler_type": "cosine", "warmup_steps": warmup, "weight_decay": 0.01, **recipe},
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
