"""What a detector is, and which ones there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from toeline.core.sighting import Sighting
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError

EMBEDDED = Path(__file__).parent.parent / "models" / "detector" / "model.onnx"


class Detector(Protocol):
    """Stage 1, whatever stands behind it."""

    def find(self, images: Sequence[Image.Image]) -> list[list[Sighting]]:
        """For each image what was found in it, in its pixels, most confident first. An empty list is a valid answer."""


def _onnx(weights: Path, taxonomy: Taxonomy) -> Detector:
    from toeline.detect.embedded import OnnxDetector  # onnxruntime loads here

    return OnnxDetector.load(weights, taxonomy)


DETECTORS: dict[str, Callable[[Taxonomy], Detector]] = {"embedded": lambda taxonomy: _onnx(EMBEDDED, taxonomy)}


def load_detector(name: str, *, taxonomy: Taxonomy) -> Detector:
    """The detector of that name, or of that file: `model.onnx` with `detector.json` beside it, or the folder of both.

    Raises ModelError for a file that is none, and TaxonomyError when the model finds a type that the taxonomy does not
    have.
    """
    if name in DETECTORS:
        return DETECTORS[name](taxonomy)
    path = Path(name)
    weights = path / "model.onnx" if path.is_dir() else path
    if not weights.is_file():
        known = ", ".join(sorted(DETECTORS))
        raise ModelError(
            f"{weights}: there is no such detector. Give {known}, an .onnx file, or the folder that holds one."
        )
    if weights.suffix.lower() != ".onnx":
        raise ModelError(
            f"{weights}: a detector is an .onnx file with detector.json beside it. Export the model to ONNX first."
        )
    return _onnx(weights, taxonomy)
