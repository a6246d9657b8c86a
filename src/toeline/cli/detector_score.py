"""A detector on a split of labelled photographs: every box for average precision, and what inspection would show."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toeline.core.result import Problem
from toeline.core.scene import Thing
from toeline.core.sighting import Sighting
from toeline.core.taxonomy import Taxonomy
from toeline.data.boxed import BoxedPhoto, BoxedSplit
from toeline.errors import PhotoError
from toeline.evaluate.boxes import Seen, confusion, seen, threshold_figures
from toeline.evaluate.figure import Figure, figure_record
from toeline.evaluate.precision import Precisions, precisions

if TYPE_CHECKING:
    from toeline.detect.choose import Detector, DetectorOptions

EVERY_BOX = 0.001  # average precision wants the whole curve, not only what passes the thresholds
Step = Callable[[Sequence[Problem]], None]


@dataclass(frozen=True)
class Measured:
    """What a detector found on the photographs of a split that could be read, one row for each.

    `every` is with a threshold of EVERY_BOX; `used` is at the thresholds in use, settled as inspection does.
    """

    name: str
    kinds: tuple[str, ...]
    photos: tuple[BoxedPhoto, ...]
    every: tuple[tuple[Thing, ...], ...]
    used: tuple[tuple[Thing, ...], ...]
    problems: tuple[Problem, ...]
    seconds: float
    by_flight: bool = False

    @property
    def groups(self) -> list[str]:
        """What the bootstrap draws whole: photographs, or flight lines."""
        return [p.group if self.by_flight else p.name for p in self.photos]

    @cached_property
    def precision(self) -> Precisions:
        return precisions(self.every, [p.things for p in self.photos], self.kinds, self.groups)

    @cached_property
    def seen(self) -> tuple[Seen, ...]:
        return tuple(seen(found, photo.things) for found, photo in zip(self.used, self.photos, strict=True))

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """Average precision, then recall and precision at the thresholds in use."""
        return (*self.precision.figures(), *threshold_figures(self.seen, self.kinds, self.groups))

    def figure(self, key: str) -> Figure:
        """The figure of that key. Raises KeyError."""
        return {f.key: f for f in self.figures}[key]

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        return {
            "detector": self.name,
            "photographs": len(self.photos),
            "objects": sum(len(p.things) for p in self.photos),
            "figures": [figure_record(f) for f in self.figures],
            "confusion": {
                "rows": [*self.kinds, "nothing there"],
                "columns": [*self.kinds, "missed"],
                "counts": confusion(self.seen, self.kinds).tolist(),
            },
            "seconds_per_photograph": round(self.seconds / max(1, len(self.photos)), 4),
        }


def measure(
    name: str,
    split: BoxedSplit,
    taxonomy: Taxonomy,
    options: DetectorOptions,
    *,
    step: Step,
    by_flight: bool = False,
) -> Measured:
    """Let a detector look at every photograph of a split. Raises ModelError, SetupError and TaxonomyError.

    A photograph that cannot be read is a problem and is left out.
    """
    from toeline.data.images import read_photo
    from toeline.detect.choose import load_detector
    from toeline.detect.settle import find_settled

    using = load_detector(name, taxonomy=taxonomy, options=options)
    seeing = load_detector(name, taxonomy=taxonomy, options=replace(options, thresholds={}, general=EVERY_BOX))
    kept: list[BoxedPhoto] = []
    every, used, problems, spent = [], [], [], 0.0
    for photo in split.photos:
        said: list[Problem] = []
        try:
            image = read_photo(photo.path)
        except PhotoError as why:
            said.append(Problem(photo.name, str(photo.path), str(why).removeprefix(f"{photo.path}: ")))
        else:
            began = time.perf_counter()
            used.append(tuple(s.thing for s in find_settled(using, [image])[0]))
            spent += time.perf_counter() - began
            every.append(tuple(s.thing for s in _every(seeing, image)))
            kept.append(photo)
        problems += said
        step(said)
    kinds = tuple(t.name for t in taxonomy.types)
    return Measured(name, kinds, tuple(kept), tuple(every), tuple(used), tuple(problems), spent, by_flight)


def _every(detector: Detector, image: Any) -> Sequence[Sighting]:
    """Raw, as average precision is measured; but one object in two conditions is found once, not twice."""
    from toeline.detect.settle import settle

    found = detector.find([image])[0]
    return settle(found, other=2.0) if any(s.class_name for s in found) else found
