"""Runs any object detector of transformers: a directory or a hub id. Knows tensors and pixels, not conditions.

The model's own image processor makes its input and reads its output; what is done here is to choose one that needs no
torchvision, never to let photographs of one batch touch each other, and to say early what does not fit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions, Label, labels_of
from toeline.detect.letterbox import batches
from toeline.detect.postprocess import detections
from toeline.errors import ModelError, SetupError, pip_install
from toeline.weights import check_weights, find_model, first_line, load_whole, pick_device, pickles_in, quiet


@dataclass(frozen=True)
class TransformersDetector:
    """A detector of a few types; the same photograph gives the same detections, alone or in any batch.

    `labels` says what the class ids mean, `limits` the least confidence of each type.
    """

    model: Any
    reader: Reader
    labels: Mapping[int, Label]
    limits: Mapping[str, float]
    where: str

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """What was found in each image, most confident first. Raises ModelError for numbers that are not finite."""
        found: dict[int, list[Detection]] = {}
        inputs = [self.reader.tensors(image.convert("RGB")) for image in images]
        for batch in batches([_shape(one) for one in inputs]):
            sizes = [images[n].size for n in batch]
            rows = self._rows([inputs[n] for n in batch], sizes)
            found.update(zip(batch, (self._detections(r, s) for r, s in zip(rows, sizes, strict=True)), strict=True))
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

    def _detections(self, rows: Mapping[str, Any], size_wh: tuple[int, int]) -> list[Detection]:
        return detections(
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
        raise SetupError(f"{folder}: {first_line(why)} Its backbone needs a library: {pip_install('timm')}") from None


# What a model's image processor is called that does not say so itself, by model_type.
PROCESSORS = {
    "conditional_detr": "ConditionalDetr",
    "d_fine": "RTDetr",
    "dab-detr": "ConditionalDetr",
    "deformable_detr": "DeformableDetr",
    "deimv2": "RTDetr",
    "detr": "Detr",
    "lw_detr": "DeformableDetr",
    "rf_detr": "RfDetr",
    "rt_detr": "RTDetr",
    "rt_detr_v2": "RTDetr",
    "yolos": "Yolos",
}
# Processors that exist for torchvision only, and one of Pillow with the same settings, padding and post-processing.
STAND_INS = {"RfDetr": "DeformableDetr"}
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, torch's names


@dataclass(frozen=True)
class Reader:
    """What makes a model's input and reads its output. `family` is "RTDetr" for RTDetrImageProcessor and so on.

    `told` is what the post-processing must be told beside the answer, so that it is the model's own.
    """

    processor: Any
    family: str
    told: Mapping[str, Any]

    def tensors(self, image: Image.Image) -> dict[str, Any]:
        """The input for one RGB photograph, (1, ...) each."""
        if self.family != "RfDetr" or not self.processor.do_resize:
            return dict(self.processor(images=[image], return_tensors="pt"))
        done = {"do_resize": False, "do_rescale": False, "input_data_format": "channels_first"}
        return dict(self.processor(images=[_point_sampled(image, self.processor)], **done, return_tensors="pt"))

    def rows(self, outputs: Any, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Boxes (N, 4) in pixels of photographs of these sizes (w, h), scores (N,) and labels (N,), as numpy arrays."""
        tall = [(high, wide) for wide, high in sizes]
        read = self.processor.post_process_object_detection
        found = read(outputs, threshold=0.0, target_sizes=tall, **self.told)
        return [{name: values.numpy() for name, values in one.items()} for one in found]


def _point_sampled(image: Image.Image, processor: Any) -> Any:
    """(3, H, W) float32 as RF-DETR was trained on: scaled to 0..1 first, then resized without antialiasing.

    The same as `RfDetrImageProcessor` of transformers 5, which needs torchvision. A resize that averages, as all other
    processors do, gives it pictures much smoother than it knows.
    """
    import torch
    from transformers.image_transforms import get_size_with_aspect_ratio

    scale = np.float32(processor.rescale_factor if processor.do_rescale else 1)
    pixels = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) * scale)
    size = dict(processor.size)
    if size.get("height") and size.get("width"):
        high_wide = (size["height"], size["width"])
    else:
        high_wide = get_size_with_aspect_ratio(image.size[::-1], size["shortest_edge"], size["longest_edge"])
    mode = RESAMPLING.get(int(processor.resample), "bilinear")
    aligned = {} if mode == "nearest" else {"align_corners": False}
    return torch.nn.functional.interpolate(pixels[None], size=high_wide, mode=mode, **aligned)[0].numpy()


def load_reader(folder: Path, config: Any) -> Reader:
    """The model's own image processor, always the Pillow one. Raises ModelError.

    torchvision's resizes and rounds differently, and the answer must not depend on whether it is installed. For the
    same reason AutoImageProcessor is not asked: it prefers torchvision, and older ones do not load without it.
    """
    import transformers

    try:
        with quiet():
            said, _ = transformers.ImageProcessingMixin.get_image_processor_dict(folder, local_files_only=True)
            family = _family(said, config)
            kind = getattr(transformers, f"{STAND_INS.get(family, family)}ImageProcessorPil", None)
            processor = kind.from_pretrained(folder, local_files_only=True) if kind else None
    except (OSError, ValueError, TypeError, KeyError, ImportError) as why:
        raise ModelError(
            f"{folder}: its image processor cannot be loaded ({first_line(why)}). Copy preprocessor_config.json of the "
            f"model into it."
        ) from None
    if not hasattr(processor, "post_process_object_detection"):
        raise ModelError(
            f"{folder}: its image processor, {family}ImageProcessor, is none that reads boxes out of a detector's "
            f"answer without torchvision. Copy preprocessor_config.json of the model into it, or use RT-DETR, D-FINE, "
            f"RF-DETR, LW-DETR or DETR."
        )
    return Reader(processor, family, _told(processor, family, config))


def _family(said: Mapping[str, Any], config: Any) -> str:
    """Whose image processor it is: "RTDetr" for RTDetrImageProcessor, its Fast and Pil kin, and what it once was."""
    name = str(said.get("image_processor_type") or said.get("feature_extractor_type") or "")
    for end in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(end)
    return name or PROCESSORS.get(config.model_type, "")


def _told(processor: Any, family: str, config: Any) -> dict[str, Any]:
    takes = inspect.signature(processor.post_process_object_detection).parameters
    told: dict[str, Any] = {}
    if "use_focal_loss" in takes and hasattr(config, "use_focal_loss"):
        told["use_focal_loss"] = config.use_focal_loss  # sigmoid or softmax
    if family == "RfDetr":
        told["top_k"] = config.num_queries  # it keeps as many rows as there are queries, its stand-in 100
    return told
