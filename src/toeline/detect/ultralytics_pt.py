"""Runs a `.pt` of ultralytics by the library itself, behind the extra `[yolo]`.

The library is imported in functions only, and told to stay offline: what it does otherwise (send events, install what a
file asks for, fetch weights of a missing name) has no place in an inspection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.box import Box
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import DetectorOptions, Label, labels_of
from toeline.detect.letterbox import MOST_AT_ONCE, batches, fit_into
from toeline.detect.postprocess import detections
from toeline.detect.ultralytics_onnx import OWN_THRESHOLD, TASKS
from toeline.detect.yolo_decode import Polygon, outline
from toeline.errors import ModelError, need, pip_install
from toeline.weights import first_line, pick_device

OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
WHAT_TRUST_MEANS = (
    "A .pt is a program as much as it is weights: who made it decides what runs when it is read. If you made it, or "
    "trust who did, add --trust. Or export it where it was trained (yolo export model={name} format=onnx): an .onnx "
    "runs nothing, needs neither trust nor ultralytics, and finds the same."
)


@dataclass(frozen=True)
class UltralyticsDetector:
    """A model of ultralytics; the same photograph gives the same detections, alone or among others.

    `limits` is the least confidence of each type.
    """

    model: Any
    labels: Mapping[int, Label]
    limits: Mapping[str, float]
    device: str

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """What was found in each image, most confident first.

        Photographs of one batch have one size: ultralytics pads those of different sizes to a common one, and then
        the answer on one would depend on its neighbors.
        """
        found: list[list[Detection]] = [[] for _ in images]
        most = 1 if self.device == "cpu" else MOST_AT_ONCE  # on a CPU more at once are no faster
        for some in batches([image.size for image in images], most=most):
            for n, result in zip(some, self._predict([images[n] for n in some]), strict=True):
                found[n] = self._read(result, images[n].size)
        return found

    def _predict(self, images: Sequence[Image.Image]) -> list[Any]:
        """Its own results. Arrays of blue, green, red go in: a picture would be turned by its EXIF data once more."""
        arrays = [np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1]) for image in images]
        said: list[Any] = self.model.predict(
            arrays,
            conf=min(self.limits.values()),
            batch=len(arrays),
            device=self.device,
            verbose=False,
            save=False,
        )
        return said

    def _read(self, result: Any, size_wh: tuple[int, int]) -> list[Detection]:
        outlines: list[Polygon] = []
        if result.obb is not None:
            given = result.obb
            outlines = [tuple(map(tuple, four)) for four in _numbers(given.xyxyxyxy).astype(float).tolist()]
            hulls = [Box.around(four).xyxy for four in outlines]
            boxes = np.asarray(hulls, np.float64).reshape(-1, 4)
        else:
            given, boxes = result.boxes, _numbers(result.boxes.xyxy)
        if result.masks is not None:
            outlines = [_outline(mask, size_wh) for mask in _numbers(result.masks.data).astype(np.uint8)]
        return detections(
            boxes,
            _numbers(given.conf),
            _numbers(given.cls).astype(np.int64),
            labels=self.labels,
            limits=self.limits,
            size_wh=size_wh,
            outlines=outlines,
        )


def _numbers(tensor: Any) -> NDArray[Any]:
    values: NDArray[Any] = tensor.cpu().numpy()
    return values


def _outline(mask: NDArray[np.uint8], size_wh: tuple[int, int]) -> Polygon:
    """The outline of a mask (H, W) of the network's input, whose margins follow from its size."""
    fit, _ = fit_into(size_wh, (mask.shape[0], mask.shape[1]))
    return outline(mask, fit, size_wh)


def load(path: Path, taxonomy: Taxonomy, options: DetectorOptions) -> UltralyticsDetector:
    """Open a `.pt`. Raises SetupError without ultralytics, ModelError for a file that it cannot or must not read, and
    TaxonomyError for class names that do not fit."""
    ultralytics = _library()
    model = _open(ultralytics, path, trust=options.trust)
    if model.task not in TASKS:
        raise ModelError(f"{path}: is made for {model.task!r}. Stage 1 takes models for {', '.join(TASKS)}.")
    labels = labels_of(dict(model.names), taxonomy, where=str(path))
    limits = {label.kind: options.threshold(label.kind, OWN_THRESHOLD) for label in labels.values()}
    return UltralyticsDetector(model, labels, limits, pick_device(options.device))


def _library() -> ModuleType:
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    return need("ultralytics", extra="yolo")


def _open(ultralytics: ModuleType, path: Path, *, trust: bool) -> Any:
    """The model, read without trust in the file unless `trust`. Raises ModelError."""
    try:
        with _reading(path, trust=trust):
            return ultralytics.YOLO(str(path.resolve()))
    except ModelError:
        raise
    except Exception as why:  # whatever an unpickler meets in a file that it does not know
        told = " ".join(first_line(why).split())[:300]
        if trust or not _refused(why, path):
            raise ModelError(
                f"{path}: ultralytics cannot read this file as a model ({told}). Copy or download it again."
            ) from None
        raise ModelError(
            f"{path}: names code that is not known to be harmless, and was not read ({told}). "
            f"{WHAT_TRUST_MEANS.format(name=path.name)}"
        ) from None


def _refused(why: Exception, path: Path) -> bool:
    """Whether the restricted unpickler met something that it does not allow, and not a damaged file."""
    of_code = isinstance(why, UnpicklingError | ModuleNotFoundError) or isinstance(why.__cause__, UnpicklingError)
    return of_code and is_zipfile(path)  # what torch saves is a zip archive


@contextmanager
def _reading(path: Path, *, trust: bool) -> Iterator[None]:
    """While it is open, a file that is not trusted is read by torch's restricted unpickler alone.

    ultralytics has such a reading (ULTRALYTICS_SAFE_LOAD), which builds only layers that it and torch are known to
    have. Raises ModelError where this version has none.
    """
    if trust:
        yield
        return
    import torch
    from ultralytics.nn import tasks

    if not hasattr(tasks, "SAFE_LOAD") or not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise ModelError(
            f"{path}: this ultralytics cannot read a .pt without running what is in it; a newer one can "
            f"({pip_install('--upgrade', 'ultralytics')}). {WHAT_TRUST_MEANS.format(name=path.name)}"
        )
    before, tasks.SAFE_LOAD = tasks.SAFE_LOAD, True
    try:
        yield
    finally:
        tasks.SAFE_LOAD = before
