"""Photographs in the order in which training sees them, each time in another light, as rows to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from toeline.core.question import View
from toeline.core.taxonomy import Taxonomy
from toeline.train.balance import Turn
from toeline.train.rows import Photos, Row, augmented, row

MARGINS, DETAILS = (0.7, 1.4), (0.8, 1.25)  # how much more or less context, and detail, a crop shows


@dataclass(frozen=True)
class Stream:
    """A torch map-style data set: turn `i` depends on the seed, its photograph and its number alone.

    So a run that goes on after a kill sees what it would have seen. With `variants`, pictures repeat after so many.
    """

    photos: Photos
    turns: Sequence[Turn]
    taxonomy: Taxonomy
    view: View
    seed: int
    variants: int | None = None

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, i: int) -> Row:
        photo, number = self.turns[i]
        rng = np.random.default_rng((self.seed, photo, number % self.variants if self.variants else number))
        view = scaled(self.view, rng)
        return row(augmented(self.photos[photo], rng), self.taxonomy, view)

    def distinct(self) -> list[int]:
        """Turns that between them show every picture once: those whose features have to be known."""
        first: dict[Turn, int] = {}
        for i, (photo, number) in enumerate(self.turns):
            first.setdefault((photo, number % self.variants if self.variants else number), i)
        return list(first.values())


@dataclass(frozen=True)
class Plain:
    """The same without augmentation, in order: what validation asks is what inspection asks."""

    photos: Photos
    taxonomy: Taxonomy
    view: View

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, i: int) -> Row:
        return row(self.photos[i], self.taxonomy, self.view)


def scaled(view: View, rng: np.random.Generator) -> View:
    """The same view from a little nearer or farther: crops differ in scale, and what is true of them does not."""
    margin, detail = view.margin * rng.uniform(*MARGINS), view.detail_px * rng.uniform(*DETAILS)
    return replace(view, margin=margin, detail_px=round(detail))
