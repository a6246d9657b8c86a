"""The two kinds of detector that can be trained: the embedded one's network, and any of transformers.

Both show the loop of train/detector.py the same things, so that there is one loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toeline.detect.letterbox import GRAY
from toeline.errors import ModelError, need
from toeline.evaluate.average_precision import Found
from toeline.train.config import EMBEDDED, SCRATCH, DetectorFit
from toeline.train.detector_data import Floats, Sample, plain, scaled, whole_views
from toeline.train.detector_model import EXTRA, NMS_IOU, build, detect_all, export, loss_of

NORMS_ON = 64  # training photographs on which batch norms are measured
SIZE = 384  # pixels, of a network from scratch: as the embedded one
AT_ONCE = 8  # photographs of one forward pass while measuring
LEAST_SCORE, MOST_BOXES = 0.01, 100  # of what is measured, as detect_all has it


class DetectorLearner(Protocol):
    """A network, how it is fed, what it is trained to, what it finds, and how it is written."""

    @property
    def network(self) -> Any:
        """What the Trainer trains."""

    @property
    def size(self) -> int:
        """Side of its pictures, in pixels."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Type names, in the order of its scores."""

    @property
    def device(self) -> str:
        """cpu, cuda or mps."""

    @property
    def loss(self) -> Callable[..., Any] | None:
        """How the Trainer computes the loss; None when the network returns it itself."""

    @property
    def decay(self) -> float:
        """AdamW's weight decay of its kernels."""

    @property
    def most_norm(self) -> float:
        """What the norm of the gradients is cut to."""

    @property
    def half(self) -> bool:
        """Whether it is trained in bfloat16."""

    def batch(self, seen: Sequence[tuple[Any, Floats]]) -> dict[str, Any]:
        """Pictures (size x size) with boxes (kind, x1, y1, x2, y2) in their pixels, as the network takes them."""

    def find(self, network: Any, pictures: Sequence[Sample]) -> tuple[list[Found], list[Floats]]:
        """What `network`, one of the same shape, finds in whole pictures, and what is there; in the same pixels."""

    def write(self, out: Path, card: dict[str, Any]) -> None:
        """Write the network so that `--detector out` takes it. `card` has thresholds and how it was trained."""


@dataclass(frozen=True)
class OwnLearner:
    """The embedded detector's network, by libreyolo."""

    network: Any
    size: int
    kinds: tuple[str, ...]
    device: str
    decay = 0.05
    most_norm = 10.0

    @property
    def half(self) -> bool:
        from toeline.train.loss import half_precision_pays

        return half_precision_pays(self.device)

    @property
    def loss(self) -> Callable[..., Any]:
        return loss_of(self.network[1], self.size)

    def batch(self, seen: Sequence[tuple[Any, Floats]]) -> dict[str, Any]:
        """{"input": (B, 3, S, S), "labels": (B, M, 5) shares of the side}; unused rows of labels are zeros."""
        import torch

        labels = np.zeros((len(seen), max(1, *(len(boxes) for _, boxes in seen)), 5), np.float32)
        for i, (_, boxes) in enumerate(seen):
            labels[i, : len(boxes)] = boxes / (1, self.size, self.size, self.size, self.size)
        pixels = np.stack([np.asarray(picture) for picture, _ in seen])
        return {"input": scaled(torch.from_numpy(pixels)), "labels": torch.from_numpy(labels)}

    def find(self, network: Any, pictures: Sequence[Sample]) -> tuple[list[Found], list[Floats]]:
        return detect_all(network, pictures, self.size, device=self.device)

    def write(self, out: Path, card: dict[str, Any]) -> None:
        about = {
            "format": 1, "input_px": self.size, "fill": GRAY, "kinds": list(self.kinds),
            "thresholds": card["thresholds"], "nms_iou": NMS_IOU, **card,
        }  # fmt: skip
        export(self.network.cpu(), out, self.size, about)


@dataclass(frozen=True)
class HubLearner:
    """A detector of transformers with its own image processor (detect/transformers.py), never torchvision's."""

    network: Any
    reader: Any
    size: int
    kinds: tuple[str, ...]
    device: str
    loss = None
    decay = 1e-4
    most_norm = 0.1
    half = False  # transformers' matching losses are not written for half precision

    def batch(self, seen: Sequence[tuple[Any, Floats]]) -> dict[str, Any]:
        """Pixels as the processor makes them; labels as all of transformers' detectors take them: shares, by center."""
        import torch

        inputs = self._pixels([picture for picture, _ in seen])
        labels = []
        for _, rows in seen:
            corners = torch.from_numpy(rows[:, 1:] / np.float32(self.size))
            low, high = corners[:, :2], corners[:, 2:]
            labels.append(
                {
                    "class_labels": torch.from_numpy(rows[:, 0].astype(np.int64)),
                    "boxes": torch.cat([(low + high) / 2, high - low], dim=1),
                }
            )
        return {**inputs, "labels": labels}

    def _pixels(self, pictures: Sequence[Any]) -> dict[str, Any]:
        import torch

        made = [self.reader.tensors(picture) for picture in pictures]
        return {name: torch.cat([one[name] for one in made]) for name in made[0]}

    def find(self, network: Any, pictures: Sequence[Sample]) -> tuple[list[Found], list[Floats]]:
        import torch

        network.eval()
        found: list[Found] = []
        ground_truth: list[Floats] = []
        for start in range(0, len(pictures), AT_ONCE):
            images, boxes = whole_views(pictures[start : start + AT_ONCE], self.size)
            inputs = {name: part.to(self.device) for name, part in self._pixels(images).items()}
            with torch.inference_mode():
                said = network(**inputs)
            said.logits, said.pred_boxes = said.logits.float().cpu(), said.pred_boxes.float().cpu()
            rows = self.reader.rows(said, [(self.size, self.size)] * len(images))
            found += [_best(one, self.size) for one in rows]
            ground_truth += boxes
        return found, ground_truth

    def write(self, out: Path, card: dict[str, Any]) -> None:
        from toeline.weights import quiet

        with quiet():
            self.network.cpu().save_pretrained(out)
            self.reader.processor.save_pretrained(out)
        (out / "detector-training.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _best(rows: dict[str, Any], size: int) -> Found:
    order = np.argsort(-rows["scores"], kind="stable")[:MOST_BOXES]
    order = order[rows["scores"][order] > LEAST_SCORE]
    boxes = np.clip(rows["boxes"][order], 0, size).astype(np.float32)
    return Found(boxes, rows["scores"][order].astype(np.float32), rows["labels"][order].astype(np.int64))


def own_learner(
    run: DetectorFit, kinds: tuple[str, ...], photos: Callable[[int], Sequence[Sample]], device: str
) -> OwnLearner:
    """The embedded detector's network from `run.begin`. `photos` gives training pictures for an input size."""
    from toeline.train.detector_model import network_of, read_start

    need("libreyolo", extra=EXTRA)
    need("onnxscript", extra=EXTRA)  # wanted at the very end, by the export
    if run.begin == SCRATCH:
        return OwnLearner(build(kinds=len(kinds)), run.size or SIZE, kinds, device)
    folder = Path(__file__).parent.parent / "models" / "detector" if run.begin == EMBEDDED else Path(run.begin)
    if not folder.exists():
        raise ModelError(
            f"{folder}: there is no such folder. --from takes embedded, scratch, or an earlier run's folder."
        )
    start = read_start(folder)
    size = run.size or start.size
    pictures = photos(size)
    some = [pictures[i] for i in range(0, len(pictures), max(1, len(pictures) // NORMS_ON))][:NORMS_ON]
    network = network_of(start, kinds, (pixels for pixels, _ in plain(some, size, AT_ONCE)))
    return OwnLearner(network, size, kinds, device)


def hub_learner(run: DetectorFit, kinds: tuple[str, ...], device: str) -> HubLearner:
    """A detector of transformers with a head for these types. Raises ModelError, SetupError."""
    from functools import partial

    from toeline.detect.transformers import load_reader
    from toeline.weights import check_weights, find_model

    assert run.hub is not None
    folder = find_model(run.hub, check=partial(_is_detector, where=run.hub))
    check_weights(folder)
    network = _network(folder, kinds, scratch=run.begin == SCRATCH)
    reader = load_reader(folder, network.config)
    size = run.size or _side(reader.processor)
    if run.size:
        reader.processor.size = _same_kind(reader.processor.size, run.size)
    return HubLearner(network, reader, size, kinds, device)


def _network(folder: Path, kinds: Sequence[str], *, scratch: bool) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForObjectDetection

    from toeline.weights import first_line, quiet

    names = {"id2label": dict(enumerate(kinds)), "label2id": {kind: i for i, kind in enumerate(kinds)}}
    try:
        with quiet():
            if scratch:
                config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **names)
                return AutoModelForObjectDetection.from_config(config)
            return AutoModelForObjectDetection.from_pretrained(
                folder, dtype=torch.float32, ignore_mismatched_sizes=True, use_safetensors=True,
                local_files_only=True, trust_remote_code=False, **names,
            )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as why:
        raise ModelError(f"{folder}: cannot be trained ({first_line(why)}). Choose another --model.") from None


def _is_detector(folder: Path, *, where: str) -> None:
    """Raises ModelError for what is no object detector of transformers."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING as FAMILIES

    from toeline.weights import first_line

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as why:
        raise ModelError(f"{where}: config.json cannot be read ({first_line(why)}).") from None
    if type(config) not in FAMILIES:
        raise ModelError(f"{where}: is no object detector of transformers. Choose one such as RT-DETR or D-FINE.")


def _side(processor: Any) -> int:
    size = dict(processor.size)
    return int(size.get("height") or size.get("shortest_edge") or 640)


def _same_kind(size: Any, side: int) -> dict[str, int]:
    """A processor's size, in its own terms, for a square of `side` pixels."""
    if dict(size).get("height"):
        return {"height": side, "width": side}
    return {"shortest_edge": side, "longest_edge": max(side, int(dict(size).get("longest_edge") or side))}
