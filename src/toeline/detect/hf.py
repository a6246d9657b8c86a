"""Runs any object detector of transformers: a directory or a hub id. Knows tensors and pixels, not conditions.

The model's own image processor makes its input and reads its output; what is done here is to choose one that needs no
torchvision, never to let photographs of one batch touch each other, and to say early what does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from toeline.core.sighting import Sighting
from toeline.core.taxonomy import Taxonomy
from toeline.detect.batches import batches
from toeline.detect.hf_processor import Reader, load_reader
from toeline.detect.labels import Label, labels_of
from toeline.detect.options import DetectorOptions
from toeline.detect.sightings import sightings
from toeline.errors import ModelError, SetupError
from toeline.weights import check_weights, find_model, first_line, load_whole, pick_device, pickles_in, quiet


@dataclass(frozen=True)
class TransformersDetector:
    """A detector of a few types; the same photograph gives the same sightings, alone or in any batch.

    `labels` says what the class ids mean, `limits` the least confidence of each type.
    """

    model: Any
    reader: Reader
    labels: Mapping[int, Label]
    limits: Mapping[str, float]
    where: str

    def find(self, images: Sequence[Image.Image]) -> list[list[Sighting]]:
        """What was found in each image, most confident first. Raises ModelError for numbers that are not finite."""
        found: dict[int, list[Sighting]] = {}
        inputs = [self.reader.tensors(image.convert("RGB")) for image in images]
        for batch in batches([_shape(one) for one in inputs]):
            sizes = [images[n].size for n in batch]
            rows = self._rows([inputs[n] for n in batch], sizes)
            found.update(zip(batch, (self._sightings(r, s) for r, s in zip(rows, sizes, strict=True)), strict=True))
        return [found[n] for n in range(len(images))]

    def _rows(self, inputs: Sequence[Mapping[str, Any]], sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Boxes (N, 4) in pixels, scores (N,) and labels (N,) of each photograph, as numpy arrays."""
        import torch

        device = next(self.model.parameters()).device
        with torch.inference_mode():
            said = self.model(**{name: torch.cat([one[name] for one in inputs]).to(device) for name in inputs[0]})
        said.logits, said.pred_boxes = said.logits.float().cpu(), said.pred_boxes.float().cpu()
        if not (said.logits.isfinite().all() and said.pred_boxes.isfinite().all()):
            raise ModelError(
                f"{self.where}: the detector gives numbers that are not finite, so its weights are damaged. "
                f"Copy or download it again."
            )
        return self.reader.rows(said, sizes)

    def _sightings(self, rows: Mapping[str, Any], size_wh: tuple[int, int]) -> list[Sighting]:
        return sightings(
            rows["boxes"], rows["scores"], rows["labels"], labels=self.labels, limits=self.limits, size_wh=size_wh
        )


def _shape(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """The shapes of all tensors of one photograph."""
    return tuple((name, *one[name].shape) for name in sorted(one))


def load(where: str, taxonomy: Taxonomy, options: DetectorOptions) -> TransformersDetector:
    """A model directory or hub id. Weights are safetensors, unless `options.trust` allows pickles.

    Raises ModelError for what cannot be loaded, TaxonomyError for classes that the taxonomy does not hold, SetupError.
    """
    device = pick_device(options.device)
    check = partial(_labels, where=where, taxonomy=taxonomy)
    folder = find_model(where, check=check, pickles=options.trust)
    labels = check(folder)
    if not (options.trust and pickles_in(folder)):
        check_weights(folder)
    model = _model(folder, safe=not options.trust)
    reader = load_reader(folder, model.config)
    return TransformersDetector(
        model.to(device).eval(),
        reader,
        labels,
        {label.kind: options.threshold(label.kind) for label in labels.values()},
        where,
    )


def _labels(folder: Path, *, where: str, taxonomy: Taxonomy) -> Mapping[int, Label]:
    """What the classes of a model mean, from its config.json alone. Raises ModelError, TaxonomyError."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING as FAMILIES

    if not (folder / "config.json").is_file():
        raise ModelError(f"{where} is not a detector of transformers: it has no config.json.")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as why:
        raise ModelError(
            f"{where}: config.json cannot be read ({first_line(why)}). Download the model again."
        ) from None
    if type(config) not in FAMILIES:
        raise ModelError(
            f"{where}: config.json says model_type {config.model_type!r}, which is no object detector of this "
            f"transformers. Choose one such as RT-DETR, D-FINE, RF-DETR, LW-DETR or DETR."
        )
    return labels_of(dict(config.id2label), taxonomy, where=where)


def _model(folder: Path, *, safe: bool) -> Any:
    """The network in float32, every weight from the files. Raises ModelError, SetupError."""
    import torch
    from transformers import AutoModelForObjectDetection

    try:
        return load_whole(
            AutoModelForObjectDetection,
            folder,
            "detector",
            dtype=torch.float32,
            use_safetensors=True if safe else None,
        )
    except ImportError as why:
        raise SetupError(f"{folder}: {first_line(why)} Its backbone needs a library: pip install timm") from None
