"""Runs an `.onnx` that ultralytics or YOLOv5 exported, with onnxruntime alone: neither they nor torch are loaded.

With or without built-in suppression of duplicates, for any size or one, for boxes, masks or oriented boxes, of any head
that detect/heads.py knows.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.box import Box
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import cut, some
from toeline.detect.detector import MOST_SIDE, DetectorOptions, Label, labels_of
from toeline.detect.heads import Head, HeadLayout, Output, decode, described, nonsense, possible, settled, told
from toeline.detect.letterbox import Fit, batches, fit_into, letterbox, planes, to_multiple
from toeline.detect.postprocess import detections
from toeline.detect.yolo_decode import DecodedRows, Polygon, corners, masks, outline
from toeline.errors import ModelError
from toeline.weights import first_line, open_session

Floats = NDArray[np.float32]
OWN_THRESHOLD = 0.25  # what ultralytics predicts with unless told otherwise
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class YoloDetector:
    """An exported network; the same photograph gives the same detections, alone or among others.

    `limits` is the least confidence of each type.
    """

    session: Any
    card: ExportCard
    labels: Mapping[int, Label]
    limits: Mapping[str, float]
    path: Path
    layout: HeadLayout | None = None  # None: whatever fits each output

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """What was found in each image, most confident first. Raises ModelError for an output of another form."""
        found: list[list[Detection]] = [[] for _ in images]
        # A graph for any number gets one: on a CPU more are no faster, and sums in another order could turn a tie over.
        shapes = [fit_into(image.size, self._most_hw, stride=self._stride)[1] for image in images]
        for together in batches(shapes, most=self.card.batch or 1):
            laid = [letterbox(images[n], self._most_hw, stride=self._stride) for n in together]
            said = self._run([pixels for pixels, _ in laid])
            for place, n in enumerate(together):
                found[n] = self._read([part[place] for part in said], laid[place][1], images[n].size, shapes[n])
        return found

    @property
    def _stride(self) -> int:
        """What the input's sides are cut to, 0 for an input of one size."""
        return self.card.stride if self.card.dynamic else 0

    @property
    def _most_hw(self) -> tuple[int, int]:
        """Height and width that a photograph is laid into."""
        return to_multiple(self.card.input_hw, self._stride) if self._stride else self.card.input_hw

    def _run(self, laid: Sequence[NDArray[np.uint8]]) -> list[Floats]:
        """The graph's outputs, (B, ...) each; a graph for a certain number of images gets black ones for the rest."""
        (wanted,) = self.session.get_inputs()
        size = self.card.batch or len(laid)  # at most MOST_BATCH
        feed = np.zeros((size, 3, *laid[0].shape[:2]), TYPES[wanted.type])
        for n, pixels in enumerate(laid):
            feed[n] = planes(pixels)
        try:
            said = self.session.run(None, {wanted.name: feed})
        except Exception as why:  # onnxruntime has no common base for its own errors
            raise ModelError(
                f"{self.path}: onnxruntime cannot run this export on an input of {feed.shape} "
                f"({first_line(why)[:200]}). {AGAIN}"
            ) from None
        return [np.asarray(part, np.float32) for part in said]

    def _read(
        self, said: Sequence[Floats], fit: Fit, size_wh: tuple[int, int], input_hw: tuple[int, int]
    ) -> list[Detection]:
        """The outputs for one photograph, without the batch's side, as detections."""
        rows = self._rows(said[0], input_hw)
        if self.card.task == "obb":
            boxes, outlines = turned(rows.boxes, rows.extra[:, 0], fit)
        elif self.card.task == "segment":
            drawn = masks(said[1], rows.extra, rows.boxes, input_hw)
            solid = np.array([one.any() for one in drawn], bool)  # a row without a mask is nothing, as ultralytics says
            rows, drawn = rows.only(solid), [one for one in drawn if one.any()]
            boxes, outlines = fit.undo(rows.boxes), [outline(one, fit, size_wh) for one in drawn]
        else:
            boxes, outlines = fit.undo(rows.boxes), []
        return detections(
            boxes, rows.scores, rows.ids, labels=self.labels, limits=self.limits, size_wh=size_wh, outlines=outlines
        )

    def _rows(self, said: Floats, input_hw: tuple[int, int]) -> DecodedRows:
        """The predictions of an output. Raises ModelError for one that its layout cannot have."""
        if not np.isfinite(said).all():
            raise ModelError(f"{self.path}: gives numbers that are not finite, so the file is damaged. {AGAIN}")
        out = self.card.output(input_hw)
        layout = self.layout or self.settle(said, input_hw)
        if layout not in possible(said.shape, out) or (why := nonsense(layout, said, out)):
            wrong = why if layout in possible(said.shape, out) else f"{said.shape} numbers for a photograph"
            raise ModelError(
                f"{self.path}: gives {wrong}, which the head {layout} does not. Name another one with --head, or "
                f"export the model again."
            )
        return decode(layout, said, out, min(self.limits.values()))

    def settle(self, said: Floats, input_hw: tuple[int, int]) -> HeadLayout:
        """The one layout of an output that its metadata, shape and content allow. Raises ModelError for none or two."""
        out = self.card.output(input_hw)
        layouts = [one for one in possible(said.shape, out) if one.head in self.card.heads]
        left = settled(layouts, said, out)
        if len(left) == 1:
            return left[0]
        what = described(layouts, said, out) if said.ndim == 2 else f"{said.shape} numbers for a photograph"
        raise ModelError(
            f"{self.path}: it is not clear how to read what it gives, {what}. Name its head with --head: "
            f"{', '.join(Head)}; or export it again with its metadata: yolo export model=best.pt format=onnx"
        )

    def probed(self) -> YoloDetector:
        """With the layout settled on a picture that is always the same. Raises ModelError."""
        said = self._run([letterbox(PROBE, self._most_hw, stride=self._stride)[0]])
        input_hw = fit_into(PROBE.size, self._most_hw, stride=self._stride)[1]
        if said[0].ndim != 3 or not len(said[0]):
            what = f"{said[0].shape} numbers, where a detector gives (photographs, rows, columns)"
            raise ModelError(f"{self.path}: gives {what}. {AGAIN}")
        return replace(self, layout=self.settle(said[0][0], input_hw))


def turned(boxes: Floats, angles: Floats, fit: Fit) -> tuple[Floats, list[Polygon]]:
    """Oriented boxes (N, 4: center, width, height) of the input as the boxes around them, and as polygons.

    Both in pixels of the photograph. Sides are scaled before they are turned, as ultralytics does it.
    """
    there = np.concatenate(
        [
            (boxes[:, :2] - np.array([fit.left, fit.top])) / np.array([fit.across, fit.down]),
            boxes[:, 2:] / np.array([fit.across, fit.down]),
        ],
        1,
    )
    found = corners(there, angles)
    around = [Box.around(map(tuple, four)).xyxy for four in found.tolist()]
    polygons = [tuple(map(tuple, four)) for four in found.tolist()]
    return np.asarray(around, np.float32).reshape(-1, 4), polygons


def load(path: Path, taxonomy: Taxonomy, options: DetectorOptions) -> YoloDetector:
    """Open an export. Raises ModelError for a file that is none, TaxonomyError for names that do not fit."""
    session = open_session(path, threads=0)  # as many as there are cores: these networks are large
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in TYPES:
        shown = ", ".join(f"{one.name} {one.type}" for one in inputs)
        raise ModelError(
            f"{path}: has no detector.json beside it, and is no export of ultralytics either: that takes one image of "
            f"floats, this takes {shown}. Put its detector.json there, or give another model."
        )
    card = read_card(_metadata(session, path), inputs[0].shape, path, options.head)
    if card.task == "segment" and len(session.get_outputs()) < 2:
        raise ModelError(f"{path}: is made for segmentation and gives no mask prototypes. {AGAIN}")
    labels = labels_of(card.names, taxonomy, where=str(path))
    limits = {label.kind: options.threshold(label.kind, OWN_THRESHOLD) for label in labels.values()}
    return YoloDetector(session, card, labels, limits, path).probed()


def _metadata(session: Any, path: Path) -> dict[str, str]:
    """What the file says of itself. Raises ModelError."""
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError as why:  # onnxruntime checks no letters when it reads the file
        raise ModelError(f"{path}: its metadata is no UTF-8 text ({why.reason}). {AGAIN}") from None


# Gray noise with a light and a dark stripe: what a network says of it need not be right, only of its own form.
_NOISE = np.random.default_rng(20).integers(60, 190, (480, 640, 3), dtype=np.uint8)
_NOISE[:, 200:260], _NOISE[300:340] = 230, 20
PROBE = Image.fromarray(_NOISE)
TASKS = ("detect", "segment", "obb")
AGAIN = "Export it again with ultralytics: yolo export model=best.pt format=onnx"
COEFFICIENTS = 32  # channels that mix the mask prototypes, in every segmentation head of ultralytics


@dataclass(frozen=True)
class ExportCard:
    """What must be known to run an export.

    `input_hw` is the size of the input in pixels: exact when not `dynamic`, otherwise the most that a photograph is
    laid into. `stride` is what both sides must be a multiple of. `batch` is the number of images that the graph takes
    at once, 0 for any. `heads` are those that the metadata leave possible.
    """

    names: Mapping[int, str]
    task: str
    input_hw: tuple[int, int]
    stride: int
    dynamic: bool
    batch: int
    heads: frozenset[Head] = frozenset(Head)

    @property
    def extra(self) -> int:
        """Numbers of a prediction behind its box and scores: mask coefficients, or an angle."""
        return {"segment": COEFFICIENTS, "obb": 1}.get(self.task, 0)

    def output(self, input_hw: tuple[int, int]) -> Output:
        """What its output must be for an input of this height and width."""
        return Output(len(self.names), self.extra, input_hw, oriented=self.task == "obb")


def read_card(said: Mapping[str, str], shape: Sequence[Any], path: Path, head: str | None = None) -> ExportCard:
    """Read the metadata `said` of the model `path`, whose input has `shape` (B, 3, H, W), names for free sizes.

    `head` is the one that the user names. Raises ModelError when it is not an export of ultralytics, or no detector.
    """
    if len(shape) != 4 or shape[1] != 3:
        raise ModelError(
            f"{path}: its input has the shape {list(shape)}; a detector of photographs takes (batch, 3, height, width)."
        )
    names = _names(said, path)
    task = said.get("task", "detect")
    if task not in TASKS:
        raise ModelError(
            f"{path}: is made for {cut(task)!r} with the head {cut(said.get('head', 'unknown'))}. Toeline reads "
            f"exports for {', '.join(TASKS)}; give a detector."
        )
    built = _literal(said, "args", path) if "args" in said else {}
    built = built if isinstance(built, dict) else {}
    nms = bool(built.get("nms"))
    card = ExportCard(
        names=names,
        task=task,
        input_hw=_input_hw(said, shape, path),
        stride=_whole(said, "stride", path, 32),
        dynamic=not all(isinstance(side, int) for side in shape[2:]),
        batch=_batch(said, shape, path, looped=nms),
        heads=frozenset({Head(head)} if head else told(said, nms=nms)),
    )
    _require_size(card, path)
    return card


MOST_PIXELS = 1 << 26  # of all the photographs that a graph takes at once: 805 MB as floats


def _require_size(card: ExportCard, path: Path) -> None:
    """Raise ModelError for an input that would take more memory than any detector needs."""
    high, wide = to_multiple(card.input_hw, card.stride) if card.dynamic else card.input_hw
    if (count := max(card.batch, 1)) * high * wide > MOST_PIXELS:
        raise ModelError(
            f"{path}: takes {some(count, 'photograph')} of {wide} x {high} pixels at once, and the limit is "
            f"{MOST_PIXELS:,} pixels. Export it with another batch or imgsz."
        )


def _names(said: Mapping[str, str], path: Path) -> Mapping[int, str]:
    if "names" not in said:
        raise ModelError(
            f"{path}: says nothing of its classes: it has neither detector.json beside it nor the metadata (`names`, "
            f"`imgsz`, `stride`, `task`) of an export of ultralytics. {AGAIN}"
        )
    names = _literal(said, "names", path)
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or set(names) != set(range(len(names))):
        raise ModelError(f"{path}: its class names are {said['names'][:200]!r}, not one name for each id. {AGAIN}")
    if odd := [name for name in names.values() if not isinstance(name, str)]:
        raise ModelError(f"{path}: the name of a class is {cut(repr(odd[0]))}, which is no text. {AGAIN}")
    return {int(i): name for i, name in names.items()}


def _input_hw(said: Mapping[str, str], shape: Sequence[Any], path: Path) -> tuple[int, int]:
    """The sides of the graph's input where they are fixed, those of the metadata otherwise."""
    if isinstance(shape[2], int) and isinstance(shape[3], int):
        if not (0 < shape[2] <= MOST_SIDE and 0 < shape[3] <= MOST_SIDE):
            raise ModelError(f"{path}: takes pictures of {shape[3]} x {shape[2]} pixels, which is no size. {AGAIN}")
        return shape[2], shape[3]
    if "imgsz" not in said:
        raise ModelError(f"{path}: takes any size, and its metadata has no `imgsz` to say which is best. {AGAIN}")
    sides = _literal(said, "imgsz", path)
    pair = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(_is_side(s) for s in pair):
        raise ModelError(f"{path}: its `imgsz` is {cut(said['imgsz'])!r}, which is not a size in pixels. {AGAIN}")
    return pair[0], pair[1]


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_SIDE


MOST_BATCH = 1024  # photographs at once


def _batch(said: Mapping[str, str], shape: Sequence[Any], path: Path, *, looped: bool) -> int:
    """Images at once, 0 for any. Built-in suppression loops over as many as were there when the graph was made."""
    if isinstance(shape[0], int):
        if not 0 < shape[0] <= MOST_BATCH:
            raise ModelError(f"{path}: takes {shape[0]} photographs at once, which is no number of them. {AGAIN}")
        return shape[0]
    return _whole(said, "batch", path, 1) if looped else 0


def _whole(said: Mapping[str, str], key: str, path: Path, default: int) -> int:
    value = _literal(said, key, path) if key in said else default
    if not _is_side(value):
        raise ModelError(f"{path}: its `{key}` is {cut(said[key])!r}, not a whole number above zero. {AGAIN}")
    return value


def _require_once(tree: ast.Expression) -> None:
    """Raise ValueError for a key that stands twice, of which Python would keep the last."""
    for keys in (node.keys for node in ast.walk(tree) if isinstance(node, ast.Dict)):
        said = [key.value for key in keys if isinstance(key, ast.Constant)]
        if len(set(said)) < len(said):
            raise ValueError("a key stands there twice")


MOST_LETTERS = 1 << 20  # of one value of the metadata


def _literal(said: Mapping[str, str], key: str, path: Path) -> Any:
    """A value as Python would read it, without running anything. Raises ModelError."""
    try:
        if len(said[key]) > MOST_LETTERS:
            raise ValueError
        tree = ast.parse(said[key].strip(), mode="eval")
        _require_once(tree)
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ModelError(f"{path}: its metadata `{key}` cannot be read ({cut(said[key])!r}). {AGAIN}") from None
