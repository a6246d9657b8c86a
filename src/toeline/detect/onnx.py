"""Runs a detector that `toeline train-embedded detector` exported, with onnxruntime. Knows pixels, not conditions.

The contract of such a model: `photo` (1, S, S, 3) uint8 RGB in; `boxes` (A, 4) as x1, y1, x2, y2 in its pixels and
`scores` (A, kinds) from 0 to 1 out. `detector.json` beside it says S, the types, their thresholds and the gray of the
margins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.prefetch import ahead, cores
from toeline.core.reading import number, read_json, whole
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.core.threads import taken
from toeline.detect.detector import DEFAULT, MOST_SIDE, RESCORE, UNKNOWN, DetectorOptions, Known, Label
from toeline.detect.letterbox import Fit
from toeline.detect.postprocess import detections, keep_best
from toeline.detect.rescore import Rescorer
from toeline.detect.views import LEAST, MOST_VIEWS, WHOLE, Candidates, Rows, View, fused
from toeline.errors import ModelError, TaxonomyError
from toeline.weights import first_line, open_session

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DetectorCard:
    """What `detector.json` must say. `kinds` are type names of the taxonomy, in the order of the model's scores."""

    input_px: int
    fill: int
    kinds: tuple[str, ...]
    thresholds: tuple[float, ...]
    nms_iou: float
    known: Known = UNKNOWN
    views: tuple[View, ...] = WHOLE

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy) -> DetectorCard:
        """Read a sidecar. Raises ModelError for a bad file, TaxonomyError for a type that the taxonomy lacks."""
        advice = "It stands beside the model and is written by toeline train-embedded detector."
        raw = read_json(path, ModelError, advice=advice)
        try:
            names, limits = [str(name) for name in raw["kinds"]], raw["thresholds"]
            if not names:
                raise ValueError("it has no kinds")
            card = cls(
                whole(raw["input_px"], "input_px", low=16, high=MOST_SIDE),
                whole(raw["fill"], "fill", low=0, high=255),
                (),
                tuple(number(limits[n], f"the threshold of {n}", low=0, high=1) for n in names),
                number(raw["nms_iou"], "nms_iou", low=0, high=1),
                Known.read(raw),
                tuple(View.read(said) for said in raw.get("views", [{}])[:MOST_VIEWS]) or WHOLE,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as why:
            raise ModelError(
                f"{path}: cannot be read as the description of a detector ({type(why).__name__}: {why}). {advice}"
            ) from None
        return replace(card, kinds=_named(names, taxonomy, path))


def _named(names: list[str], taxonomy: Taxonomy, path: Path) -> tuple[str, ...]:
    try:
        return tuple(taxonomy.type_of(name).name for name in names)
    except TaxonomyError as why:
        raise TaxonomyError(
            f"{path}: this detector finds types that the taxonomy {taxonomy.name!r} does not have: {why} "
            f"Use a detector for that taxonomy, or give boxes with --boxes."
        ) from None


@dataclass(frozen=True)
class OnnxDetector:
    """A detector of a few types; the same photograph gives the same things in the same order."""

    session: Any
    card: DetectorCard
    rescorer: Rescorer | None = None

    @property
    def known(self) -> Known:
        """What it knows of the photographs that it was trained on."""
        return self.card.known

    @property
    def limits(self) -> Mapping[str, float]:
        """The thresholds in use; of columns of one type the lowest."""
        pairs = zip(self.card.kinds, self.card.thresholds, strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    @classmethod
    def load(
        cls,
        weights: Path,
        taxonomy: Taxonomy,
        *,
        threads: int = 1,
        options: DetectorOptions = DEFAULT,
    ) -> OnnxDetector:
        """Open `weights` and `detector.json` beside it. One thread takes about 20 ms.

        Raises ModelError for a missing or corrupt file or another contract, TaxonomyError.
        """
        if not weights.is_file():
            raise ModelError(
                f"{weights}: the detector's weights are missing. Install toeline again, or train them: "
                f"toeline train-embedded detector"
            )
        card = DetectorCard.load(weights.with_name("detector.json"), taxonomy)
        limits = tuple(options.threshold(kind, own) for kind, own in zip(card.kinds, card.thresholds, strict=True))
        card = replace(card, thresholds=limits)
        session = open_session(weights, threads)
        shapes = {one.name: list(one.shape) for one in (*session.get_inputs(), *session.get_outputs())}
        if shapes.get("photo") != [1, card.input_px, card.input_px, 3] or not {"boxes", "scores"} <= shapes.keys():
            raise ModelError(
                f"{weights}: a detector takes `photo` [1, {card.input_px}, {card.input_px}, 3] and gives `boxes` "
                f"and `scores`; this model has {shapes}. Export it with toeline train-embedded detector."
            )
        again = weights.with_name(RESCORE)
        return cls(session, card, Rescorer.load(again, card.kinds, len(card.views)) if again.is_file() else None)

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """What was found in each image, most confident first. The model takes one, so several have a thread each."""
        threads = min(taken() or cores(), len(images))
        return list(ahead(self._find, images, workers=threads if threads > 1 else 0, most=threads))

    def _find(self, image: Image.Image) -> list[Detection]:
        if self.rescorer is None and self.card.views == WHOLE:
            (rows,) = self._looks(image, np.asarray(self.card.thresholds, np.float32))
        else:
            found = self.candidates(image)
            best = self.rescorer(image, found) if self.rescorer else found
            kept = best.scores >= np.asarray(self.card.thresholds, np.float32)[best.kinds]
            rows = Rows(best.boxes[kept], best.scores[kept], best.kinds[kept])
        return detections(
            *rows,
            labels=dict(enumerate(map(Label, self.card.kinds))),
            limits=dict.fromkeys(self.card.kinds, 0.0),  # the thresholds are by column: two may be of one type
            size_wh=image.size,
        )

    def viewed(self, views: tuple[View, ...]) -> OnnxDetector:
        """The same network with other views, and without a second look, which belongs to its own."""
        return replace(self, card=replace(self.card, views=views), rescorer=None)

    def candidates(self, image: Image.Image) -> Candidates:
        """What all views find, joined; before confidences are looked at again, and without thresholds."""
        least = np.full(len(self.card.kinds), LEAST, np.float32)
        return fused(list(self._looks(image, least)))

    def _looks(self, image: Image.Image, least: Floats) -> Iterator[Rows]:
        """What each view shows that is not under the `least` of its type, most confident first."""
        side, fill = self.card.input_px, self.card.fill
        laid = {scale: View(scale).laid(image, side, fill) for scale in {view.scale for view in self.card.views}}
        for view in self.card.views:
            square, fit = laid[view.scale]
            yield self._seen(view, view.turned(square), fit, least)

    def _seen(self, view: View, square: NDArray[np.uint8], fit: Fit, least: Floats) -> Rows:
        card = self.card
        boxes, scores = self._run(square[None])
        rows, kinds = np.nonzero(scores >= least)
        best = keep_best(boxes[rows], scores[rows, kinds], kinds, iou=card.nms_iou)
        rows, kinds = rows[best], kinds[best]
        return Rows(view.undone(boxes[rows], fit, card.input_px), scores[rows, kinds], kinds)

    def _run(self, photo: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Boxes (A, 4) and scores (A, kinds) of one photograph. Raises ModelError for what is none of both."""
        try:
            boxes, scores = self.session.run(["boxes", "scores"], {"photo": photo})
        except Exception as why:  # onnxruntime has no common base for its own errors
            raise ModelError(f"the detector cannot be run ({first_line(why)[:200]}). {AGAIN}") from None
        if (
            np.ndim(boxes) != 2
            or np.shape(boxes) != (len(scores), 4)
            or np.shape(scores)[1:] != (len(self.card.kinds),)
        ):
            what = f"boxes of {np.shape(boxes)} and scores of {np.shape(scores)} for {len(self.card.kinds)} kinds"
            raise ModelError(f"the detector gives {what}, which do not belong together. {AGAIN}")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ModelError(f"the detector gives numbers that are not finite, so its weights are damaged. {AGAIN}")
        return boxes, scores


AGAIN = "Export it again with toeline train-embedded detector."
