"""What the photographs are as pictures: size and shape, sharpness and light, full frames or cut-outs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toeline.analysis.counts import Spread, spread
from toeline.analysis.duplicates import HashedPhoto
from toeline.analysis.photo_facts import PhotoFacts
from toeline.analysis.table import Flag, ObjectTable, Weight

BLURRED = 0.25  # of the data set's median sharpness: photographs of one camera and height are alike, this one is not
IN_THE_DARK = 0.5  # share of pixels in which nothing can be seen: the rest is less than half a photograph
BURNT_OUT = 0.25  # a sky is often burnt, the face is not: more than a quarter has likely lost some of it
SHAPE = 0.02  # by how much width over height may differ from the camera's; rounding to whole pixels is less
BORDER = 0.004  # share of the side; nearer than this a box touches the border (1 pixel of 312, 2 of 640)
FILLED = 0.8  # share of the frame in one box, from which a picture is more of an object than of a place
MOST_SIZES = 12
LOOK = "Look whether the objects can be judged; if not, leave the photograph out."
BLUR, DARK, BURNT, CUT, PLACE = IMAGE_CHECKS = (
    "blurred photograph",
    "dark photograph",
    "over-exposed photograph",
    "photograph of another shape than the camera's",
    "photograph with a position that cannot be used",
)


@dataclass(frozen=True)
class Images:
    """Spreads are over the `n` photographs whose pixels could be read; photos.py defines the measures.

    `sizes` are (width, height, photographs), the most frequent first, at most MOST_SIZES of `distinct`. `boxes_fill`:
    the boxes' areas as a share of the frame, overlaps counted twice. `filled`: photographs with one box of FILLED or
    more. `with_camera_size`: those whose EXIF says what the camera took; of these `as_taken` have that size,
    `scaled` the same shape, and `other_shape` another one: cut or stretched. `square`: photographs as wide as high.
    `touching`: how many of all `objects` reach the border.
    """

    n: int
    distinct: int
    sizes: tuple[tuple[int, int, int], ...]
    aspect: Spread
    sharpness: Spread
    brightness: Spread
    dark: Spread
    burnt: Spread
    stretch: Spread
    boxes_fill: Spread
    filled: int
    with_camera_size: int
    as_taken: int
    scaled: int
    other_shape: int
    square: int
    touching: int
    objects: int

    @property
    def verdict(self) -> str:
        """Full frames or cut-outs, in plain words, with what it rests on."""
        fill = (
            f"boxes fill {100 * (self.boxes_fill.median or 0):.0f} % of the median photograph, in {self.filled} of "
            f"{self.n} one box fills {FILLED:.0%} or more, and {self.touching} of {self.objects} objects reach the "
            f"border"
        )
        if self.with_camera_size:
            frames = self.as_taken + self.scaled
            known = f"{frames} of {self.with_camera_size}"
            return f"EXIF: {known} have the camera's shape, as full frames have, {self.as_taken} its very size; {fill}."
        frames_or_cuts = "cut-outs of objects" if self.filled > self.n / 2 else "pictures of a place, not of one object"
        return f"These are {frames_or_cuts}: {fill}. No EXIF says what the camera took, so cut borders cannot be seen."

    @property
    def stretching(self) -> str:
        """Whether pictures were stretched, and how sure that is. The figures are those of photos.stretch."""
        detail = (
            f"Detail across over down is {self.stretch.median or 0:.2f} in the median. Real photographs have 0.9 to "
            f"1.3 as they are, and 4:3 squeezed to a square adds 0.1 only, so pixels alone prove nothing."
        )
        if self.with_camera_size:
            n = f"{self.other_shape} of {self.with_camera_size}"
            return f"Certain, from EXIF: {n} have not the shape that the camera took: cut or stretched. {detail}"
        if self.square > self.n / 2:
            return (
                f"Likely: {self.square} of {self.n} are square, and cameras of drones take 4:3, 3:2 or 16:9, so these "
                f"were cut, padded or stretched; without EXIF it cannot be said which. {detail}"
            )
        return f"Not known: no EXIF says what shape the camera took. {detail}"


def measure_images(seen: Sequence[HashedPhoto], table: ObjectTable) -> Images:
    """Sums over all photographs that were looked at."""
    facts = [s.facts for s in seen]
    sizes = Counter(f.size_wh for f in facts)
    shapes = Counter(_shape(f) for f in facts)
    areas = (table.shares[:, 2:] - table.shares[:, :2]).prod(axis=1)
    return Images(
        n=len(facts),
        distinct=len(sizes),
        sizes=tuple((w, h, n) for (w, h), n in sizes.most_common(MOST_SIZES)),
        aspect=spread([f.size_wh[0] / f.size_wh[1] for f in facts]),
        sharpness=spread([f.sharpness for f in facts]),
        brightness=spread([f.brightness for f in facts]),
        dark=spread([f.dark for f in facts]),
        burnt=spread([f.burnt for f in facts]),
        stretch=spread([f.stretch for f in facts]),
        boxes_fill=spread(np.bincount(table.photo, weights=areas, minlength=table.n_photos)),
        filled=len(np.unique(table.photo[areas >= FILLED])),
        with_camera_size=len(facts) - shapes[""],
        as_taken=shapes["as taken"],
        scaled=shapes["scaled"],
        other_shape=shapes["other"],
        square=sum(f.size_wh[0] == f.size_wh[1] for f in facts),
        touching=int(((table.shares[:, :2] <= BORDER) | (table.shares[:, 2:] >= 1 - BORDER)).any(axis=1).sum()),
        objects=len(table.shares),
    )


def _shape(facts: PhotoFacts) -> str:
    """How the photograph compares with what the camera took, lying or upright; empty when that is not known."""
    if facts.camera.size_wh is None:
        return ""
    long, short = max(facts.size_wh), min(facts.size_wh)
    camera_long, camera_short = max(facts.camera.size_wh), min(facts.camera.size_wh)
    if (long, short) == (camera_long, camera_short):
        return "as taken"
    return "scaled" if abs(long / short * camera_short / camera_long - 1) <= SHAPE else "other"


def image_flags(seen: Sequence[HashedPhoto]) -> Iterator[Flag]:
    """Photographs that are odd as pictures: remarks, because what they show may still be seen."""
    usual = float(np.median([s.facts.sharpness for s in seen])) if seen else 0.0
    for s in seen:
        f = s.facts
        if f.sharpness < BLURRED * usual:
            yield _flag(s, BLUR, f"sharpness {f.sharpness:.0f}, the median is {usual:.0f}.")
        if f.dark > IN_THE_DARK:
            yield _flag(s, DARK, f"{f.dark:.0%} of the pixels are black.")
        if f.burnt > BURNT_OUT:
            yield _flag(s, BURNT, f"{f.burnt:.0%} of the pixels are white.")
        if _shape(f) == "other":
            sizes = " from ".join("{} x {}".format(*wh) for wh in (f.size_wh, f.camera.size_wh or (0, 0)))
            yield _flag(s, CUT, f"{sizes}: it was cut or stretched.")
        if f.camera.wrong_place:
            todo = "It could not be compared with positions of other splits; take the camera's own file if it matters."
            yield _flag(s, PLACE, f"{f.camera.wrong_place}.", todo)


def _flag(seen: HashedPhoto, check: str, what: str, todo: str = LOOK) -> Flag:
    return Flag(check, Weight.REMARK, seen.name, seen.name, what, todo)
