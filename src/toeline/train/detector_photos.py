"""Labelled photographs as training pictures for a detector, and in which order they are seen.

What a turn looks like depends on the seed and on its number alone, so that a resumed run goes on as if it had not
stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.scene import Thing
from toeline.data.boxed import BoxedPhoto
from toeline.data.images import read_photo
from toeline.train.detector_data import FILL, Floats, Sample, look, random_view, recolor, seen_boxes

KEEP_BYTES = 2_000_000_000  # of decoded pictures; further ones are decoded anew each time they are seen
SPARE = 1.6  # pictures are kept this much larger than the input, for the views that zoom in


@dataclass(frozen=True)
class Pictures(Sequence[Sample]):
    """Photographs, decoded when they are first seen, with objects as (kind index, polygon).

    `square` lays each into a square with gray margins, as inspection does; without it they keep their shape.
    """

    photos: Sequence[BoxedPhoto]
    kinds: Sequence[str]
    longer_px: int
    square: bool = True
    kept: dict[int, Sample] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.photos)

    @overload
    def __getitem__(self, n: int) -> Sample: ...
    @overload
    def __getitem__(self, n: slice) -> list[Sample]: ...
    def __getitem__(self, n: int | slice) -> Sample | list[Sample]:
        if isinstance(n, slice):
            return [self[i] for i in range(*n.indices(len(self)))]
        if n not in self.kept:
            sample = self._read(self.photos[n])
            if sum(s.pixels.nbytes for s in self.kept.values()) + sample.pixels.nbytes > KEEP_BYTES:
                return sample
            self.kept[n] = sample
        return self.kept[n]

    def _read(self, photo: BoxedPhoto) -> Sample:
        image = read_photo(photo.path)
        scale = min(1.0, self.longer_px / max(image.size))
        if scale < 1:
            image = image.resize((round(image.width * scale), round(image.height * scale)), reducing_gap=3.0)
        left = top = 0
        if self.square and image.width != image.height:
            side = max(image.size)
            left, top = (side - image.width) // 2, (side - image.height) // 2
            sheet = Image.new("RGB", (side, side), (FILL, FILL, FILL))
            sheet.paste(image, (left, top))
            image = sheet
        objects = [
            (self.kinds.index(t.kind), (np.asarray(outline(t)) * scale + (left, top)).astype(np.float32))
            for t in photo.things
        ]
        return Sample(np.asarray(image, np.uint8), objects)


def outline(thing: Thing) -> Sequence[tuple[float, float]]:
    """The polygon of a thing, or the corners of its box."""
    x1, y1, x2, y2 = thing.box.xyxy
    return thing.polygon or ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def order_of(photographs: int, *, epochs: int, batch: int, seed: int) -> NDArray[np.int64]:
    """The photograph of each turn: each epoch in another order, cut to whole batches.

    >>> len(order_of(10, epochs=3, batch=4, seed=0)), sorted(order_of(4, epochs=1, batch=4, seed=0).tolist())
    (24, [0, 1, 2, 3])
    """
    whole = photographs // batch * batch
    turns = [np.random.default_rng((seed, epoch)).permutation(photographs)[:whole] for epoch in range(epochs)]
    return np.concatenate(turns)


@dataclass(frozen=True)
class Views:
    """What each turn shows: another window and another light of its photograph, by chance, never upside down."""

    pictures: Pictures
    order: NDArray[np.int64]
    size: int
    seed: int
    strength: float

    def view(self, turn: int) -> tuple[Image.Image, Floats]:
        """A picture of `size` x `size` pixels, and its boxes as rows (kind, x1, y1, x2, y2) in its pixels."""
        sample = self.pictures[int(self.order[turn])]
        rng = np.random.default_rng((self.seed, turn, 1))
        high, wide = sample.pixels.shape[:2]
        view = random_view(rng, wide, high, self.strength)
        picture = look(Image.fromarray(sample.pixels), view, self.size)
        return recolor(picture, rng, self.strength), seen_boxes(sample.objects, view, self.size)
