"""What a detector is, and which ones there are."""

from __future__ import annotations

from pathlib import Path

from toeline.core.taxonomy import Taxonomy
from toeline.core.words import meant
from toeline.detect import ultralytics_onnx as onnx
from toeline.detect import ultralytics_pt as pt
from toeline.detect.detector import DEFAULT, RESCORE, Detector, DetectorOptions
from toeline.errors import ModelError, SetupError
from toeline.weights import is_hub_id

EMBEDDED = Path(__file__).parent.parent / "models" / "detector" / "model.onnx"
CARD, CONFIG = "detector.json", "config.json"
FILES = (".pt", ".onnx")
WAYS = (
    "Give 'embedded'; a .pt of ultralytics; an .onnx, exported by ultralytics or by toeline; a directory of a "
    "transformers detector (config.json and *.safetensors) or its hub id, owner/name"
)


def load_detector(name: str, *, taxonomy: Taxonomy, options: DetectorOptions = DEFAULT) -> Detector:
    """The detector of that name, file, directory or hub id; what a name can be is written in `WAYS`.

    Raises ModelError for a file that is none, SetupError for a library that is missing, and TaxonomyError when the
    model, or a threshold, names a type that the taxonomy does not have.
    """
    options = options.settled(taxonomy)
    found = _load(name, taxonomy, options)
    if options.head is not None and not isinstance(found, onnx.YoloDetector):
        raise SetupError(f"--head is for an .onnx without a detector.json; {name} says itself what it ends with.")
    return found


def _load(name: str, taxonomy: Taxonomy, options: DetectorOptions) -> Detector:
    require_detector(name)
    path = _path(name)
    if path.is_dir() and (path / EMBEDDED.name).is_file():
        path /= EMBEDDED.name
    if path.is_file() or path == EMBEDDED:
        return _of_file(path, taxonomy, options)
    return _transformers(str(path) if path.is_dir() else name, taxonomy, options)


def require_detector(name: str) -> None:
    """Raise ModelError for what is no detector, as far as its name and its place tell: nothing is loaded."""
    path = _path(name)
    kind = path.suffix.lower()
    if path.is_dir():
        if not any((path / file).is_file() for file in (EMBEDDED.name, CONFIG)):
            raise ModelError(f"{path}: this directory holds neither {EMBEDDED.name} nor {CONFIG}. {WAYS}.")
    elif path.is_file():
        if kind not in FILES:
            raise ModelError(f"{path}: a file of this kind is no detector. {WAYS}.")
    elif path != EMBEDDED and (kind in FILES or not is_hub_id(name)):
        raise ModelError(f"{path}: there is no such detector.{meant(name, ['embedded'])} {WAYS}.")


def _path(name: str) -> Path:
    return EMBEDDED if name == "embedded" else Path(name).expanduser()


def _of_file(path: Path, taxonomy: Taxonomy, options: DetectorOptions) -> Detector:
    if path.suffix.lower() == ".pt":
        return pt.load(path, taxonomy, options)
    if path == EMBEDDED or path.with_name(CARD).is_file():
        from toeline.detect.onnx import OnnxDetector  # onnxruntime loads here

        return OnnxDetector.load(path, taxonomy, options=options)

    return onnx.load(path, taxonomy, options)


def _transformers(where: str, taxonomy: Taxonomy, options: DetectorOptions) -> Detector:
    from toeline.detect.transformers import load  # torch and transformers load here

    return load(where, taxonomy, options)


def weight_files(name: str) -> list[Path]:
    """The files that decide what a detector finds, those that are on this machine; none for a hub id.

    >>> [file.name for file in weight_files("embedded")]
    ['model.onnx', 'detector.json', 'rescore.safetensors']
    """
    path = _path(name)
    if path.is_dir() and not (path / EMBEDDED.name).is_file():
        files = [path / CONFIG, path / "preprocessor_config.json", *sorted(path.glob("*.safetensors"))]
    else:
        weights = path / EMBEDDED.name if path.is_dir() else path
        beside = (CARD, RESCORE) if weights.suffix.lower() == ".onnx" else ()
        files = [weights, *map(weights.with_name, beside)]
    return [file for file in files if file.is_file()]
