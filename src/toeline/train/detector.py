"""Trains the embedded Stage 1 detector from random weights on drawn scenes, measures it, and exports it as ONNX.

The network and its loss are libreyolo's (MIT): YOLOX's CSPDarknet and path aggregation with ordinary convolutions, and
YOLOv9's head (task-aligned assignment, CIoU and distribution focal loss). The loop is transformers' Trainer, since
libreyolo's own runs in bfloat16 only on CUDA, and bfloat16 makes the CPU fast enough: see
docs/decisions/0005-embedded-detector.md.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from toeline.errors import need
from toeline.train.detector_data import FILL, KINDS, Batcher, Sample, fill_pool, plain
from toeline.train.detector_score import Found, average_precision, best_thresholds
from toeline.train.object_sizes import object_sizes

EXTRA = "train-detector"
HELD_OUT = 1_000_003  # added to the seed: the data set of drawn scenes that is only measured on
NMS_IOU = 0.6  # two boxes of one type that overlap more are one object; slope drains stand side by side, never inside
VERSIONS = ("torch", "torchvision", "libreyolo", "transformers", "onnx")


@dataclass(frozen=True, kw_only=True)
class DetectorRun:
    """Settings of one training run, written beside the weights. `minutes` ends it early; `start` continues weights."""

    out: Path
    scenes: int = 3000
    held_out: int = 200
    seed: int = 1
    steps: int = 4000
    minutes: float | None = None
    start: Path | None = None
    resume: bool = False
    size: int = 384  # pixels: the narrowest tenth of slope drains, 16 wide at 640, still fills a stride-8 cell
    width: float = 0.25
    activation: str = "silu"
    batch: int = 16
    learning_rate: float = 1.5e-3
    warmup: int = 200
    augment: float = 1.0
    threads: int = 2
    workers: int = 2
    measure_every: int = 500


def build(width: float = 0.25, activation: str = "silu", kinds: int = len(KINDS)) -> Any:
    """The untrained network: (B, 3, S, S) to three maps (B, 4 * 16 + kinds, S/8.., S/8..), or decoded in eval mode."""
    need("torch", extra=EXTRA)
    need("libreyolo", extra=EXTRA)
    from libreyolo.models.yolo9.nn import DDetect
    from libreyolo.models.yolox.nn import YOLOPAFPN
    from torch import nn

    channels = tuple(int(c * width) for c in (256, 512, 1024))
    head = DDetect(kinds, channels, 16, (8, 16, 32), use_group=False)
    for tower in head.cv3:  # a prior of 1 in 100 instead of 1 in 20,000 saves the first thousand steps
        nn.init.constant_(tower[-1].bias, math.log(0.01 / 0.99))
    return nn.Sequential(YOLOPAFPN(0.33, width, act=activation), head)


def loss_of(head: Any, size: int) -> Callable[..., Any]:
    """The head's own loss as the Trainer calls it: raw maps and labels (B, M, 5) to a scalar."""

    def loss(maps: Sequence[Any], labels: Any, num_items_in_batch: Any = None) -> Any:
        rule = head._get_loss_fn(labels.device)
        rule.update_anchors([size, size])
        return rule([m.float() for m in maps], labels)["total_loss"]

    return loss


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
    from toeline.train.detector_keeper import Keeper

    keeper = Keeper(
        network,
        run.out,
        limit_s=(run.minutes or math.inf) * 60,
        every=run.measure_every,
        measure=lambda net: str(average_precision(*detect_all(net, held, run.size), len(KINDS))),
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


def load_weights(network: Any, path: Path) -> None:
    """Read weights that a run kept (`average.safetensors`) into a network of the same shape."""
    from safetensors.torch import load_file

    network.load_state_dict(load_file(path))


def detect_all(
    network: Any, samples: Sequence[Sample], size: int, batch: int = 20, device: str = "cpu"
) -> tuple[list[Found], list[Any]]:
    """Detections (score above 0.01, NMS per type, at most 100 a picture) and true boxes of whole pictures."""
    import torch

    from toeline.train.loss import half_precision_pays

    batched_nms = need("torchvision.ops", extra=EXTRA).batched_nms
    half = device == "cpu" and half_precision_pays(device)

    network.eval()
    found, truth = [], []
    for pixels, boxes in plain(samples, size, batch):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            decoded = network(pixels.to(device))[0].float().cpu()  # (B, 4 + kinds, anchors)
        for one in decoded.transpose(1, 2):
            rows, kinds = (one[:, 4:] > 0.01).nonzero(as_tuple=True)
            corners, scores = one[rows, :4].clamp(0, size), one[rows, 4 + kinds]
            kept = batched_nms(corners, scores, kinds, NMS_IOU)[:100]
            found.append(Found(corners[kept].numpy(), scores[kept].numpy(), kinds[kept].numpy()))
        truth.extend(boxes)
    return found, truth


def _record(run: DetectorRun, network: Any, held: Sequence[Sample], keeper: Any) -> Mapping[str, Any]:
    """The sidecar: what a run-time reader needs, and what the weights were trained on and score."""
    found, truth = detect_all(network, held, run.size)
    precision = average_precision(found, truth, len(KINDS))
    best = best_thresholds(found, truth, KINDS)
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
            "map_50": round(precision.map_50, 4),
            "ap_50": dict(zip(KINDS, (round(ap, 4) for ap in precision.at_50), strict=True)),
            "map_50_95": round(float(np.mean(precision.at_50_95)), 4),
            "at_threshold": {
                k: {"precision": round(t.precision, 3), "recall": round(t.recall, 3)} for k, t in best.items()
            },
            "versions": {name: version(name) for name in VERSIONS},
            "finished": time.strftime("%Y-%m-%d"),
        },
    }


def export(network: Any, run: DetectorRun, record: Mapping[str, Any]) -> Path:
    """Write model.onnx (the contract is in detect/embedded.py) and detector.json beside it."""
    return export_to(run.out, network, run.size, record)


def export_to(out: Path, network: Any, size: int, record: Mapping[str, Any]) -> Path:
    """The same, of any network of this family, into `out`."""
    import torch

    from toeline.train.detector_keeper import Whole

    network.eval()
    network[1].export = True
    path = out / "model.onnx"
    torch.onnx.export(
        Whole(network).eval(),
        (torch.zeros((1, size, size, 3), dtype=torch.uint8),),
        str(path),
        input_names=["photo"],
        output_names=["boxes", "scores"],
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,  # it would print on standard output, which is for results
    )
    (out / "detector.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
