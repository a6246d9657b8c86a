"""Fine-tunes a detector on a labeled data set: the embedded one's network, or one of transformers.

The loop is transformers' Trainer. Weights are averaged over steps, measured on the validation split after each epoch
(COCO average precision), the best epoch's are kept, and training stops when nothing better comes. The same settings
with `resume` go on from the last checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import LabeledSplit, read_split
from toeline.data.yolo import open_dataset
from toeline.errors import LabelError, SetupError, need
from toeline.evaluate.average_precision import average_precision, best_thresholds, precision_record
from toeline.train.callbacks import VALID, Log, best_epoch, is_stuck
from toeline.train.config import SCRATCH, DetectorFit, DetectorRun
from toeline.train.detector_backends import DetectorLearner, hub_learner, own_learner, views_of
from toeline.train.detector_data import (
    FILL,
    KINDS,
    SPARE,
    Batcher,
    Pictures,
    Sample,
    Views,
    fill_pool,
    object_sizes,
    order_of,
)
from toeline.train.detector_model import (
    EXTRA,
    NMS_IOU,
    VERSIONS,
    build,
    detect_all,
    export,
    load_weights,
    loss_of,
)

LOG, CHECKPOINTS = "log.jsonl", "checkpoints"
WARM_UP = 0.05  # share of the steps
LIBRARIES = ("torch", "transformers", "accelerate", "libreyolo", "onnx", "onnxscript", "pycocotools")
Tell = Callable[[int, int, Mapping[str, Any] | None], None]


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
    dataset = open_dataset(data, taxonomy)
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
    run: DetectorFit, training_data: DetectorTrainingData, out: Path, *, resume: bool, tell: Tell
) -> Fitted:
    """Train, keep the best epoch, write the detector into `out`. Raises ToelineError.

    `tell` hears steps done, steps in all, and each line of the log.
    """
    torch = need("torch", extra=EXTRA)
    need("accelerate", extra=EXTRA)
    need("pycocotools", extra=EXTRA)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    try:
        return _Fit.of(run, training_data, out, tell).train(resume=resume)
    except (RuntimeError, MemoryError) as why:
        from toeline.train.adapter import is_out_of_memory

        if not is_out_of_memory(why):
            raise
        raise SetupError(
            f"there was not enough memory to train: {str(why).splitlines()[0]}. Lower --batch (now {run.batch}) "
            f"or --size."
        ) from None


@dataclass(frozen=True)
class _Fit:
    """What the parts of one training share."""

    run: DetectorFit
    training_data: DetectorTrainingData
    out: Path
    learner: DetectorLearner
    views: Views
    held: Pictures
    device: str
    tell: Tell

    @classmethod
    def of(cls, run: DetectorFit, training_data: DetectorTrainingData, out: Path, tell: Tell) -> _Fit:
        from toeline.weights import pick_device

        device = pick_device(run.device)
        run = replace(run, batch=min(run.batch, len(training_data.train.photos)))

        def pictures(split: LabeledSplit, size: int, square: bool) -> Pictures:
            return Pictures(split.scenes, training_data.kinds, round(size * SPARE), square)

        learner: DetectorLearner
        if run.hub:
            learner = hub_learner(run, training_data.kinds, device)
            square = not dict(learner.reader.processor.size).get("height")  # else it stretches what is not square
        else:
            learner, square = (
                own_learner(run, training_data.kinds, lambda s: pictures(training_data.train, s, True), device),
                True,
            )
        order = order_of(len(training_data.train.photos), epochs=run.epochs, batch=run.batch, seed=run.seed)
        views = views_of(learner, run, pictures(training_data.train, learner.size, square), order)
        return cls(
            run, training_data, out, learner, views, pictures(training_data.valid, learner.size, square), device, tell
        )

    @property
    def steps(self) -> int:
        return len(self.views.order) // self.run.batch

    def train(self, *, resume: bool) -> Fitted:
        from toeline.train.callbacks import load_best

        log = Log(self.out / LOG)
        self._loop(log, resume=resume)
        load_best(self.learner.network, self.out)
        facts = self._facts(log)
        self.learner.write(self.out, {"thresholds": self._thresholds(), "training": facts})
        return Fitted(facts, log)

    def _loop(self, log: Log, *, resume: bool) -> None:
        """Run the Trainer, from the last checkpoint when there is one to resume."""
        from transformers import PrinterCallback

        from toeline.train.callbacks import DetectorWatch, InOrder, checkpoint_of

        checkpoints = self.out / CHECKPOINTS
        last = checkpoint_of(checkpoints) if resume else None
        log.cut(int(last.rpartition("-")[2]) if last else -1)
        if last and is_stuck(log.validations(), self.run.patience):
            return
        watch = DetectorWatch(
            self.learner.network,
            self.out,
            log,
            per_epoch=self.steps // self.run.epochs,
            patience=self.run.patience,
            measure=self._measure,
            tell=lambda done, line: self.tell(done, self.steps, line),
            untrained=self.run.begin != SCRATCH and not self.run.hub,
        )
        trainer = InOrder(
            model=self.learner.network,
            args=self._arguments(checkpoints),
            train_dataset=range(len(self.views.order)),
            data_collator=lambda turns: self.learner.batch([self.views.view(t) for t in turns]),
            compute_loss_func=self.learner.loss,
            optimizers=self._optimizer(),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)  # standard output is for results
        trainer.train(resume_from_checkpoint=last)
        # accelerate leaves its autocast around the network's forward, and it would be exported with it
        trainer.accelerator.unwrap_model(self.learner.network, keep_fp32_wrapper=False)

    def _arguments(self, checkpoints: Path) -> Any:
        from transformers import TrainingArguments

        from toeline.train.loss import half_precision_pays

        own = self.run.hub is None  # transformers' matching losses are not written for half precision
        return TrainingArguments(
            output_dir=str(checkpoints),
            max_steps=self.steps,
            per_device_train_batch_size=self.run.batch,
            bf16=own and half_precision_pays(self.device),
            use_cpu=self.device == "cpu",
            max_grad_norm=10.0 if own else 0.1,
            logging_steps=10,
            save_strategy="no",  # asked for at the end of each epoch, by the Watch
            save_total_limit=2,
            seed=self.run.seed,
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
        )

    def _optimizer(self) -> tuple[Any, Any]:
        """AdamW that decays kernels only; the rate rises over WARM_UP of the steps and falls along half a cosine."""
        import torch

        weights = [p for p in self.learner.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": 0.05 if self.run.hub is None else 1e-4},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.run.peak)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, self.steps))

    def _measure(self, network: Any) -> dict[str, Any]:
        return precision_record(average_precision(*self.learner.find(network, self.held), self.training_data.kinds))

    def _thresholds(self) -> dict[str, float]:
        """Of best F1 on the validation split."""
        found, ground_truth = self.learner.find(self.learner.network, self.held)
        best = best_thresholds(found, ground_truth, self.training_data.kinds)
        return {kind: round(t.score, 3) for kind, t in best.items()}

    def _facts(self, log: Log) -> dict[str, Any]:
        best = best_epoch(log.validations())
        kept = next(line for line in log.validations() if line["epoch"] == best)
        settings = {k: v for k, v in self.run.record().items() if k not in ("begin", "model", "taxonomy")}
        named = {"begin": self.run.begin, "model": self.run.model}  # how a folder was called here says nothing later
        return {
            "begun_with": {k: Path(v).name if v else v for k, v in named.items()},
            "settings": {**settings, "size": self.learner.size, "lr": self.run.peak},
            "parameters": sum(p.numel() for p in self.learner.network.parameters()),
            "epoch": best,
            "epochs": max(line["epoch"] for line in log.validations()),
            "valid": kept[VALID],
            "seconds": max(line["seconds"] for line in log.lines()),
            "data": {part.name: _data_record(part) for part in (self.training_data.train, self.training_data.valid)},
            "versions": {name: version(name) for name in LIBRARIES if find_spec(name)},
        }


def rate(step: int, steps: int) -> float:
    """Share of the peak rate: linear warm-up, then half a cosine down to 2 %.

    >>> [round(rate(step, 1000), 2) for step in (0, 49, 50, 525, 1000)]
    [0.02, 1.0, 1.0, 0.51, 0.02]
    """
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


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
    """Draw the scenes, train, measure, export. Returns the ONNX file. Raises SetupError when the extra is missing."""
    torch = need("torch", extra=EXTRA)
    need("transformers", extra=EXTRA)
    torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    train, held = _scenes(run)
    network = build(run.width, run.activation)
    if run.start:
        load_weights(network, run.start)
    from toeline.train.callbacks import Keeper

    keeper = Keeper(
        network,
        run.out,
        limit_s=(run.minutes or math.inf) * 60,
        every=run.measure_every,
        measure=lambda net: str(average_precision(*detect_all(net, held, run.size), KINDS)),
    )
    torch.set_num_threads(run.threads)  # an import may have reset it
    keep_training(run, network, keeper, train)
    best = keeper.average.module.eval()
    return export(best, run, _record(run, best, held, keeper))


def _scenes(run: DetectorRun) -> tuple[list[Sample], list[Sample]]:
    train = fill_pool(run.out / "train", scenes=run.scenes, seed=run.seed, workers=run.workers)
    held = fill_pool(run.out / "held-out", scenes=run.held_out, seed=run.seed + HELD_OUT, workers=run.workers)
    return train.read()[: run.scenes], held.read()[: run.held_out]


def keep_training(run: DetectorRun, network: Any, keeper: Any, train: Sequence[Sample]) -> None:
    """Run the Trainer over random views of the scenes, from the last checkpoint when `run.resume`."""
    from transformers import Trainer

    rng = np.random.default_rng((run.seed, int(run.resume)))
    trainer = Trainer(
        model=network,
        args=_arguments(run),
        train_dataset=range(len(train)),
        data_collator=Batcher(train, run.size, rng, run.augment),
        compute_loss_func=loss_of(network[1], run.size),
        optimizers=_optimizer(run, network, keeper),
        callbacks=[keeper],
    )
    started = any((run.out / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=True if run.resume and started else None)


def _arguments(run: DetectorRun) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(run.out / "checkpoints"),
        max_steps=run.steps,
        per_device_train_batch_size=run.batch,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        max_grad_norm=10.0,
        logging_steps=100,
        save_steps=run.measure_every,
        save_total_limit=2,
        seed=run.seed,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        ignore_data_skip=True,  # after a resume: other views of the scenes instead of drawing the old ones again
        report_to=[],
        disable_tqdm=True,
    )


def _optimizer(run: DetectorRun, network: Any, keeper: Any) -> tuple[Any, Any]:
    """AdamW that decays kernels only, and the learning rate that follows the steps or the clock."""
    import torch

    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=run.learning_rate)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, run, keeper.spent_s())
    )


def learning_rate(step: int, run: DetectorRun, spent_s: float) -> float:
    """Share of the peak rate: linear warm-up, then half a cosine down to 2 % at the last step or the last minute."""
    done = max(step / run.steps, spent_s / (60 * run.minutes) if run.minutes else 0.0)
    return min(1.0, (step + 1) / run.warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * min(done, 1.0))))


def _record(run: DetectorRun, network: Any, held: Sequence[Sample], keeper: Any) -> Mapping[str, Any]:
    """The sidecar: what a run-time reader needs, and what the weights were trained on and score."""
    found, ground_truth = detect_all(network, held, run.size)
    best = best_thresholds(found, ground_truth, KINDS)
    return {
        "format": 1,
        "input_px": run.size,
        "fill": FILL,
        "kinds": list(KINDS),
        "thresholds": {kind: round(t.score, 3) for kind, t in best.items()},
        "nms_iou": NMS_IOU,
        "objects": object_sizes(
            (tuple(np.ptp(polygon, axis=0) / max(s.pixels.shape[:2])) for s in held for _, polygon in s.objects),
            frame_px=max(held[0].pixels.shape[:2]),
        ),
        "training": {
            "settings": {k: v for k, v in asdict(run).items() if not isinstance(v, Path)},
            "steps": keeper.steps,
            "images_seen": keeper.steps * run.batch,
            "seconds": round(keeper.spent_s()),
            "held_out": {"seed": run.seed + HELD_OUT, "scenes": len(held)},
            **precision_record(average_precision(found, ground_truth, KINDS)),
            "at_threshold": {
                k: {"precision": round(t.precision, 3), "recall": round(t.recall, 3)} for k, t in best.items()
            },
            "versions": {name: version(name) for name in VERSIONS},
            "finished": time.strftime("%Y-%m-%d"),
        },
    }
