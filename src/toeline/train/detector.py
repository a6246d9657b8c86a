"""Trains detectors: the embedded one from scratch on drawn scenes, and any on a labeled data set of photographs.

There is one loop, by transformers' Trainer. Weights are averaged over steps and measured after each epoch (COCO
average precision, on the validation split or on scenes held out), the best are kept, and training stops when nothing
better comes. The same settings with `resume` go on from the last checkpoint to the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import LabeledSplit, read_split
from toeline.data.yolo import open_dataset
from toeline.errors import LabelError, SetupError, need
from toeline.evaluate.average_precision import Threshold
from toeline.train.callbacks import VALID, Log, best_epoch
from toeline.train.config import DRAWN, DRAWN_TIMES, MIXED_IN, SCRATCH, DetectorFit, DetectorRun
from toeline.train.detector_backends import DetectorLearner, OwnLearner, hub_learner, own_learner
from toeline.train.detector_data import KINDS, SPARE, Pictures, Sample, Views, fill_pool, object_sizes, order_of
from toeline.train.detector_loop import Tell, TrainingPlan, load_weights
from toeline.train.detector_model import EXTRA, build

WARM_UP = 0.05  # share of the steps
LIBRARIES = ("torch", "transformers", "accelerate", "libreyolo", "onnx", "onnxscript", "pycocotools", "torchvision")


@dataclass(frozen=True)
class DetectorTrainingData:
    """What is trained and measured on; `kinds` are the types of the taxonomy, in its order."""

    taxonomy: Taxonomy
    kinds: tuple[str, ...]
    train: LabeledSplit
    valid: LabeledSplit


@dataclass(frozen=True)
class Fitted:
    """What a training came to: the facts for run.json, and its log."""

    facts: Mapping[str, Any]
    log: Log


def read_detector_training_data(run: DetectorFit, data: Path) -> DetectorTrainingData:
    """Both splits, nine classes folded to types. Raises LabelError, TaxonomyError."""
    taxonomy = Taxonomy.load(run.taxonomy)
    dataset = open_dataset(data, taxonomy, classes=run.classes)
    if run.valid not in dataset.splits:
        raise LabelError(
            f"{data}: has no split {run.valid!r}, which says when to stop. Cut one off (toeline split), or name "
            f"another with --valid. There are: {', '.join(sorted(dataset.splits))}."
        )
    train, valid = (read_split(dataset, name, taxonomy, conditions=False) for name in (run.split, run.valid))
    if not train.objects or not valid.objects:
        raise LabelError(f"{data}: there is no object in {run.split} or in {run.valid}, so nothing can be learned.")
    known = {*train.problems} & {*valid.problems}  # of the data set as a whole
    valid = replace(valid, problems=tuple(p for p in valid.problems if p not in known))
    return DetectorTrainingData(taxonomy, tuple(t.name for t in taxonomy.types), train, valid)


def fit_detector(
    run: DetectorFit,
    training_data: DetectorTrainingData,
    out: Path,
    *,
    resume: bool,
    tell: Tell,
    choose: bool = True,
    pool: Path | None = None,
) -> Fitted:
    """Train, keep the best epoch, write the detector into `out`. Raises ToelineError.

    Its thresholds are those of best F1 on the validation split. Without `choose` the last epoch is kept, and not the
    best on that split. `tell` hears steps done, steps in all, and each line of the log. Drawn scenes are kept in the
    folder `pool`, by default in `out`.
    """
    torch = need("torch", extra=EXTRA)
    need("accelerate", extra=EXTRA)
    need("pycocotools", extra=EXTRA)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    try:
        plan = _plan_of_fit(run, training_data, out, tell, pool)
        if not choose:
            plan = replace(plan, choose=False, patience=0, untrained=False)
        log = plan.train(resume=resume)
        facts = _facts(run, training_data, plan.learner, log)
        plan.learner.write(out, {"thresholds": _rounded(plan.thresholds()), "training": facts})
        return Fitted(facts, log)
    except (RuntimeError, MemoryError) as why:
        from toeline.train.adapter import is_out_of_memory

        if not is_out_of_memory(why):
            raise
        raise SetupError(
            f"there was not enough memory to train: {str(why).splitlines()[0]}. Lower --batch (now {run.batch}) "
            f"or --size."
        ) from None


def _plan_of_fit(
    run: DetectorFit, training_data: DetectorTrainingData, out: Path, tell: Tell, pool: Path | None = None
) -> TrainingPlan:
    from toeline.weights import pick_device

    photos, kinds, device = training_data.train.scenes, training_data.kinds, pick_device(run.device)
    learner: DetectorLearner
    if run.hub:
        learner = hub_learner(run, kinds, device)
        square = not dict(learner.reader.processor.size).get("height")  # else it stretches what is not square
    else:
        learner = own_learner(run, kinds, lambda size: Pictures(photos, kinds, round(size * SPARE)), device)
        square = True
    train, held = (
        Pictures(split.scenes, kinds, round(learner.size * SPARE), square)
        for split in (training_data.train, training_data.valid)
    )
    batch = min(run.batch, len(photos))
    pictures = with_drawn(train, run, kinds, pool or out / DRAWN)
    pool_n = len(pictures) - len(photos)
    order = order_of(len(photos), epochs=run.epochs, batch=batch, seed=run.seed, drawn=run.mix_drawn, pool=pool_n)
    steps = len(order) // batch
    warm = max(1, round(WARM_UP * steps))
    return TrainingPlan(
        learner=learner,
        views=Views(pictures, order, learner.size, run.seed, run.augment),
        held=held,
        out=out,
        batch=batch,
        steps=steps,
        per_epoch=steps // run.epochs,
        peak=run.peak,
        rate=lambda step, _: rate(step, steps, warm=warm, flat=warm),
        patience=run.patience,
        kept=run.keep,
        untrained=run.begin != SCRATCH and not run.hub,
        tell=tell,
    )


def with_drawn(photos: Sequence[Sample], run: DetectorFit, kinds: Sequence[str], folder: Path) -> Sequence[Sample]:
    """The photographs, and drawn scenes after them where `run` mixes them in. Raises SetupError for other types."""
    if not run.mix_drawn:
        return photos
    if set(KINDS) - {*kinds}:
        raise SetupError(
            f"--mix-drawn: drawn scenes show {', '.join(KINDS)}, and the taxonomy {run.taxonomy} has not all of them. "
            f"Leave --mix-drawn out."
        )
    concat = need("torch.utils.data", extra=EXTRA).ConcatDataset
    scenes = DRAWN_TIMES * run.mix_drawn
    numbers = [kinds.index(kind) for kind in KINDS]
    drawn = [
        Sample(s.pixels, [(numbers[k], polygon) for k, polygon in s.objects])
        for s in fill_pool(folder, scenes=scenes, seed=run.seed + MIXED_IN).read()
    ]
    return cast("Sequence[Sample]", concat([photos, drawn]))


PROBED = 2  # batches, the first of which is not counted


def seconds_a_photograph(run: DetectorFit, training_data: DetectorTrainingData) -> float:
    """How long this machine takes to train on a photograph: measured on a batch. Raises ToelineError."""
    torch = need("torch", extra=EXTRA)
    if run.threads:
        torch.set_num_threads(run.threads)
    plan = _plan_of_fit(replace(run, mix_drawn=0), training_data, Path(), lambda done, total, line: None)
    network, loss = plan.learner.network.train(), plan.learner.loss
    assert loss is not None, "only the embedded network is trained by whoever asks"
    began = 0.0
    for turn in range(PROBED):
        began = time.perf_counter()
        batch = plan.learner.batch([plan.views.view(turn * plan.batch + i) for i in range(plan.batch)])
        batch = {name: part.to(plan.learner.device) for name, part in batch.items()}
        loss(network.to(plan.learner.device)(batch["input"]), batch["labels"]).backward()
    return (time.perf_counter() - began) / plan.batch


def _rounded(thresholds: Mapping[str, Threshold]) -> dict[str, float]:
    return {kind: round(t.score, 3) for kind, t in thresholds.items()}


def _facts(run: DetectorFit, training_data: DetectorTrainingData, learner: DetectorLearner, log: Log) -> dict[str, Any]:
    best = best_epoch(log.validations())
    kept = next(line for line in log.validations() if line["epoch"] == best)
    settings = {k: v for k, v in run.record().items() if k not in ("begin", "model", "taxonomy")}
    settings["batch"] = min(run.batch, len(training_data.train.scenes))
    named = {"begin": run.begin, "model": run.model}  # how a folder was called here says nothing later
    return {
        "begun_with": {k: Path(v).name if v else v for k, v in named.items()},
        "settings": {**settings, "size": learner.size, "lr": run.peak},
        "parameters": sum(p.numel() for p in learner.network.parameters()),
        "epoch": best,
        "epochs": max(line["epoch"] for line in log.validations()),
        "valid": kept[VALID],
        "seconds": max(line["seconds"] for line in log.lines()),
        "data": {part.name: _data_record(part) for part in (training_data.train, training_data.valid)},
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES if find_spec(name)}


def rate(step: int, steps: int, *, warm: int, flat: int = 0, spent: float = 0.0) -> float:
    """Share of the peak rate: it rises over `warm` steps, and falls along half a cosine to 2 %.

    The fall begins at the step `flat`; `spent` is the share of the time limit that is used up, when that is further.

    >>> [round(rate(step, 1000, warm=50, flat=50), 2) for step in (0, 49, 50, 525, 1000)]
    [0.02, 1.0, 1.0, 0.51, 0.02]
    """
    done = max(0.0, (step - flat) / max(1, steps - flat), spent)
    return min(1.0, (step + 1) / warm) * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, done))))


def _data_record(split: LabeledSplit) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for photo in split.scenes:
        for instance in photo.instances:
            counts[instance.type_name] = counts.get(instance.type_name, 0) + 1
    return {
        "photographs": len(split.photos),
        "objects": split.objects,
        "types": dict(sorted(counts.items())),
        "sha256": split.sha256(),
    }


HELD_OUT = 1_000_003  # added to the seed: the data set of drawn scenes that is only measured on


def train_detector(run: DetectorRun) -> Path:
    """Draw the scenes, train from scratch on them, measure, export. Returns the ONNX file.

    Raises SetupError when the extra is missing.
    """
    torch = need("torch", extra=EXTRA)
    need("transformers", extra=EXTRA)
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    plan = _plan_of_run(run)
    torch.set_num_threads(run.threads)  # after the imports, which may set it
    log = plan.train(resume=run.resume)
    thresholds = plan.thresholds()
    card = {
        "thresholds": _rounded(thresholds),
        "objects": object_sizes(
            (tuple(np.ptp(polygon, axis=0) / max(s.pixels.shape[:2])) for s in plan.held for _, polygon in s.objects),
            frame_px=max(plan.held[0].pixels.shape[:2]),
        ),
        "training": _scratch_facts(run, plan, log, thresholds),
    }
    plan.learner.write(run.out, card)
    return run.out / "model.onnx"


def _plan_of_run(run: DetectorRun) -> TrainingPlan:
    from toeline.weights import pick_device

    train, held = _scenes(run)
    network = build(run.width, run.activation)
    if run.start:
        load_weights(network, run.start)
    batch = min(run.batch, len(train))
    epochs = math.ceil(run.steps / (len(train) // batch))
    order = order_of(len(train), epochs=epochs, batch=batch, seed=run.seed)
    return TrainingPlan(
        learner=OwnLearner(network, run.size, KINDS, pick_device("auto")),
        views=Views(train, order[: run.steps * batch], run.size, run.seed, run.augment),
        held=held,
        out=run.out,
        batch=batch,
        steps=run.steps,
        per_epoch=run.measure_every,
        peak=run.learning_rate,
        rate=lambda step, spent_s: learning_rate(step, run, spent_s),
        limit_s=(run.minutes or math.inf) * 60,
        untrained=run.start is not None,
    )


def _scenes(run: DetectorRun) -> tuple[list[Sample], list[Sample]]:
    train = fill_pool(run.out / "train", scenes=run.scenes, seed=run.seed, workers=run.workers)
    held = fill_pool(run.out / "held-out", scenes=run.held_out, seed=run.seed + HELD_OUT, workers=run.workers)
    return train.read()[: run.scenes], held.read()[: run.held_out]


def learning_rate(step: int, run: DetectorRun, spent_s: float) -> float:
    """Share of the peak rate: linear warm-up, and half a cosine down to 2 % at the last step or the last minute."""
    spent = spent_s / (60 * run.minutes) if run.minutes else 0.0
    return rate(step, run.steps, warm=max(1, run.warmup), spent=spent)


def _scratch_facts(
    run: DetectorRun, plan: TrainingPlan, log: Log, thresholds: Mapping[str, Threshold]
) -> dict[str, Any]:
    """What the weights were trained on, and what they score on scenes held out."""
    steps, best = log.validations()[-1]["step"], best_epoch(log.validations())
    return {
        "settings": {k: v for k, v in asdict(run).items() if not isinstance(v, Path)},
        "steps": steps,
        "images_seen": steps * plan.batch,
        "seconds": round(max(line["seconds"] for line in log.lines())),
        "held_out": {"seed": run.seed + HELD_OUT, "scenes": len(plan.held)},
        **next(line[VALID] for line in log.validations() if line["epoch"] == best),
        "at_threshold": {
            kind: {"precision": round(t.precision, 3), "recall": round(t.recall, 3)} for kind, t in thresholds.items()
        },
        "versions": _versions(),
        "finished": time.strftime("%Y-%m-%d"),
    }
