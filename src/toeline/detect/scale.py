"""How large tiles must be so that objects have the sizes that a detector was trained on. Arithmetic on windows only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from toeline.core.sighting import Sighting
from toeline.errors import SetupError

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the photograph
Looking = Callable[[Sequence[Window]], list[list[Sighting]]]  # windows -> what is seen in each, in the same pixels

OVERLAP = 0.25  # share of a tile's side: an object up to a quarter of the tile is seen whole by one of them
SPARE = 1.5  # a photograph up to so many times the trained frame is never tiled, nor for a gain of less than that
LEAST_PX = 64  # of a tile's side
ROUNDS, PROBES = 8, 32  # of measuring, and windows looked at in each
CLOSE = 0.9  # a wished side of more than this share of the present one is no reason to look again
AGREES = (
    0.6  # of the present side, wished by tiles half as large: less, and what was seen on the larger ones was no object
)
FINER = 0.75  # of the side that was found: a little too fine costs views, a little too coarse costs objects
HUGE = 16  # frames along a photograph, from which half of its side may be as much too far as the whole
FEW = 3  # sightings, under which nothing is said about sizes
# Median size of the objects of real embankment photographs, as `Known.median`: for detectors that do not know theirs.
TYPICAL = 0.18  # benchmarks/object_sizes.py on the train split of the lagoon dykes


class Known(NamedTuple):
    """What a detector knows of the pictures that it was trained on.

    `input_px` is the side of the model's input, `frame_px` that of the photographs it was trained on, in their own
    pixels. `median` is the median size of their objects: the root of the box's area as a share of the frame's side.
    """

    input_px: int = 640
    frame_px: int = 640
    median: float = TYPICAL

    @classmethod
    def read(cls, card: Mapping[str, Any]) -> Known:
        """From `detector.json`; what its `objects` does not say is as for a detector that knows nothing.

        Raises KeyError, TypeError and ValueError for a card that is none.
        """
        side, said = int(card["input_px"]), card.get("objects", {})
        known = cls(side, int(said.get("frame_px", side)), float(said.get("size", {}).get("50", TYPICAL)))
        if min(known) <= 0 or known.median > 1:
            raise ValueError(f"its objects are {said}")
        return known

    @property
    def shown_px(self) -> int:
        """The most pixels on a side that a view is worth."""
        return max(self.input_px, self.frame_px)


UNKNOWN = Known()


def known_of(detector: object) -> Known:
    """What a detector says in `known`; one that says nothing of frames is taken for one trained at its `input_px`."""
    known = getattr(detector, "known", None)
    if isinstance(known, Known):
        return known
    side = getattr(detector, "input_px", None)
    return Known(side, side) if isinstance(side, int) and side > 0 else UNKNOWN


@dataclass(frozen=True)
class Tiling:
    """What the user asked for: `off`, or tiles of `side` pixels (0: auto) that share `overlap` pixels (None: OVERLAP).

    >>> Tiling.read("auto"), Tiling.read("1024,128").overlap_px(1024), Tiling.read("800").overlap_px(800)
    (Tiling(off=False, side=0, overlap=None), 128, 200)
    """

    off: bool = False
    side: int = 0
    overlap: int | None = None

    @classmethod
    def read(cls, words: str) -> Tiling:
        """`auto`, `off`, `SIZE` or `SIZE,OVERLAP` in pixels. Raises SetupError for anything else."""
        if words in ("auto", "off"):
            return cls(off=words == "off")
        try:
            side, *more = (int(part) for part in words.split(","))
            (overlap,) = more or (None,)
        except ValueError:
            raise SetupError(f"--tile {words}: give auto, off, or a size in pixels, as 1024 or 1024,256.") from None
        if side < LEAST_PX or not 0 <= (overlap or 0) <= side // 2:
            raise SetupError(
                f"--tile {words}: a tile has at least {LEAST_PX} pixels, and tiles share at most half of their side."
            )
        return cls(side=side, overlap=overlap)

    def overlap_px(self, side: int) -> int:
        """Pixels that neighboring tiles of `side` pixels share at least."""
        return round(OVERLAP * side) if self.overlap is None else self.overlap


def grid(size_wh: tuple[int, int], side: int, overlap: int) -> list[Window]:
    """Tiles of `side` pixels, evenly spread, that cover a photograph and share at least `overlap` pixels; row by row.

    >>> grid((100, 40), 60, 10)
    [(0, 0, 60, 40), (40, 0, 100, 40)]
    """
    (xs, wide), (ys, high) = (_starts(length, side, overlap) for length in size_wh)
    return [(x, y, x + wide, y + high) for y in ys for x in xs]


def around(points: Iterable[tuple[float, float]], size_wh: tuple[int, int], side: int) -> list[Window]:
    """Windows of `side` pixels about points, moved into the photograph; points close to one another share one.

    >>> around([(50, 50), (52, 51), (990, 50)], (1000, 300), 200)
    [(0, 0, 200, 200), (800, 0, 1000, 200)]
    """
    (wide, high), step = size_wh, max(1, side // 8)
    corners = {
        tuple(
            min(max(round((at - side / 2) / step) * step, 0), max(length - side, 0))
            for at, length in zip(point, size_wh, strict=True)
        )
        for point in points
    }
    return [(x, y, min(x + side, wide), min(y + side, high)) for x, y in sorted(corners)]


def _starts(length: int, side: int, overlap: int) -> tuple[list[int], int]:
    """Where tiles begin along an axis, and how long they are there."""
    if length <= side:
        return [0], length
    steps = max(1, math.ceil((length - side) / max(1, side - overlap)))
    return [round((length - side) * i / steps) for i in range(steps + 1)], side


def fits_whole(size_wh: tuple[int, int], known: Known) -> bool:
    """Whether a photograph is so little larger than those trained on that tiles are out of the question."""
    return max(size_wh) <= SPARE * known.shown_px


def best_side(look: Looking, size_wh: tuple[int, int], known: Known) -> int:
    """Side of the tiles in which the objects of this photograph have the trained size; 0 when the whole is best.

    `look` says what is seen in some windows, in pixels of the photograph. The first look is at the whole: the median
    size of what is found there says how large a tile should be. Objects that were too small to be found make that side
    too large, so the next look is at some tiles of it, and so on until the wish stays what it was, and tiles of half
    the side agree. A look that finds nearly nothing is followed by one at tiles of half the side. Tiles never get
    smaller than the trained frame: finer than its own pixels a photograph holds nothing.
    """
    whole, finest = max(size_wh), min(known.shown_px, max(size_wh))
    if not _gains(look, size_wh, finest):
        return 0
    side = whole
    for _ in range(ROUNDS):
        wish = _wish(look, size_wh, side, known)
        if side == finest:
            break
        if wish > CLOSE * side:  # as it should be; but do finer tiles say so too?
            wish = _wish(look, size_wh, side // 2, known)
            if wish > AGREES * side:
                break
        side = max(finest, round(wish))
    return 0 if whole <= SPARE * side else max(finest, round(FINER * side))


def _gains(look: Looking, size_wh: tuple[int, int], finest: int) -> bool:
    """Whether tiles of half the side find many more objects than the whole shows, and not its own objects in pieces.

    Without this, a photograph with few objects would be zoomed into until a detector sees things in bare ground. In a
    very large one half the side may still be much too far, so it is halved again.
    """
    side = max(size_wh)
    while True:
        once, halves = (_count(look, size_wh, one) for one in (side, side // 2))
        if halves > 2 * once + FEW or not once + halves:
            return True
        if side < HUGE * finest:
            return False
        side //= 2


def _count(look: Looking, size_wh: tuple[int, int], side: int) -> int:
    return sum(len(found) for found in look(grid(size_wh, side, 0)))


def _wish(look: Looking, size_wh: tuple[int, int], side: int, known: Known) -> float:
    """The side at which what is seen in tiles of `side` would have the trained size; half of it if there is little."""
    sizes = _sizes(look, size_wh, side)
    return side * median(sizes) / known.median if len(sizes) >= FEW else side / 2


def _sizes(look: Looking, size_wh: tuple[int, int], side: int) -> list[float]:
    """Sizes of what is seen in up to PROBES windows of `side`, as shares of it."""
    windows = grid(size_wh, side, 0)
    some = [windows[(2 * i + 1) * len(windows) // (2 * PROBES)] for i in range(PROBES)]
    seen = look(windows if len(windows) <= PROBES else some)
    return [math.sqrt(s.thing.box.area) / side for found in seen for s in found]
