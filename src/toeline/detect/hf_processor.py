"""The image processor of a transformers detector: found by name, always Pillow's. Knows tensors, not names or types."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toeline.errors import ModelError
from toeline.weights import first_line, quiet

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
