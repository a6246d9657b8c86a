"""Runs a `.pt` of ultralytics, behind the extra `[yolo]`."""

from __future__ import annotations

from pathlib import Path

from toeline.core.taxonomy import Taxonomy
from toeline.detect.choose import Detector, DetectorOptions
from toeline.errors import ModelError


def load(path: Path, taxonomy: Taxonomy, options: DetectorOptions) -> Detector:
    """Open the file. Raises ModelError."""
    raise ModelError(f"{path}: Export the model to ONNX first, with detector.json beside it.")
