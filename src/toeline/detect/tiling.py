"""Large photographs: a detector looks at overlapping tiles and at the whole, and what it sees is put together.

Knows windows and pixels. How large the tiles are is decided in scale.py, what is one object in join.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from PIL import Image

from toeline.core.box import Box
from toeline.core.scene import Detection
from toeline.detect.detector import UNKNOWN, Known, limits_of
from toeline.detect.tile_merge import TileView, join, loose_ends
from toeline.errors import SetupError

if TYPE_CHECKING:
    from toeline.detect.detector import Detector


BATCH = 8  # views that are cut at a time: 50 MB at 640 pixels, with their feature maps


def tiled(detector: Detector, words: str) -> Detector:
    """The detector as `--tile` wants it: itself for "off", else in tiles. Raises SetupError for any other word."""
    tiling = Tiling.read(words)
    return detector if tiling.off else TiledDetector(detector, tiling)


@dataclass(frozen=True)
class TiledDetector:
    """Any detector, for photographs of any size. What fits into one view goes to it unchanged, in one call."""

    detector: Detector
    tiling: Tiling
    batch: int = BATCH

    @property
    def limits(self) -> Mapping[str, float]:
        """Those of the detector."""
        return limits_of(self.detector)

    def find(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """As the detector's own `find`; things of a photograph in tiles are renumbered, most confident first.

        At any time one batch of views is held beside the photographs, each no larger than the detector needs.
        """
        looks = [Looks(self.detector, image, self.batch) for image in images]
        plans = [self._side(look) for look in looks]
        small = [image for image, side in zip(images, plans, strict=True) if not side]
        plain = iter(self.detector.find(small) if small else [])
        return [self._in_tiles(look, side) if side else next(plain) for look, side in zip(looks, plans, strict=True)]

    def plan(self, image: Image.Image) -> int:
        """Side of the tiles in pixels of the photograph; 0 for one that is looked at as a whole."""
        return self._side(Looks(self.detector, image, self.batch))

    def _side(self, look: Looks) -> int:
        image = look.image
        known = known_of(self.detector)
        if self.tiling.side:
            return self.tiling.side if max(image.size) > self.tiling.side else 0
        if fits_whole(image.size, known):
            return 0
        return best_side(look, image.size, known)

    def _in_tiles(self, look: Looks, side: int) -> list[Detection]:
        image = look.image
        wide, high = image.size
        tiles = grid(image.size, side, self.tiling.overlap_px(side))
        found = look([*tiles, (0, 0, wide, high)])
        looks = [TileView(Box(*map(float, w)), tuple(seen)) for w, seen in zip(tiles, found, strict=False)]
        again = around(loose_ends(looks, image.size), image.size, side)
        more = [TileView(Box(*map(float, w)), tuple(s)) for w, s in zip(again, look(again), strict=True)]
        joined = join(looks, found[-1], image.size, overlap=self.tiling.overlap_px(side), more=more)
        return [replace(s, instance=replace(s.instance, id=str(n))) for n, s in enumerate(joined, start=1)]


@dataclass(frozen=True)
class Looks:
    """What a detector sees in windows of one photograph, in pixels of that. The same window is looked at once."""

    detector: Detector
    image: Image.Image
    batch: int
    seen: dict[Window, list[Detection]] = field(default_factory=dict)

    def __call__(self, windows: Sequence[Window]) -> list[list[Detection]]:
        most = known_of(self.detector).shown_px
        new = [window for window in dict.fromkeys(windows) if window not in self.seen]
        for some in (new[n : n + self.batch] for n in range(0, len(new), self.batch)):
            shown = [cut(self.image, window, most) for window in some]
            for window, view, found in zip(some, shown, self.detector.find(shown), strict=True):
                self.seen[window] = [placed(s, window, view.size) for s in found]
        return [self.seen[window] for window in windows]


def cut(image: Image.Image, window: Window, most_px: int) -> Image.Image:
    """A window of an RGB photograph, scaled down with smoothing to at most `most_px` on its longer side.

    Only the window is read and only the result is held: Pillow resizes from the photograph's own memory.
    """
    x1, y1, x2, y2 = window
    scale = most_px / max(x2 - x1, y2 - y1)
    if scale >= 1:
        return image.crop(window)
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    return image.resize(size, Image.Resampling.BICUBIC, box=window, reducing_gap=3.0)


def placed(detection: Detection, window: Window, shown_wh: tuple[int, int]) -> Detection:
    """A detection in a view of `shown_wh` pixels, in pixels of the photograph that the view is a window of.

    >>> from toeline.core.scene import Instance
    >>> placed(Detection(Instance("1", "rock_toe", Box(0, 0, 5, 10))), (100, 200, 120, 220), (10, 10)).instance.box
    Box(x1=100.0, y1=200.0, x2=110.0, y2=220.0)
    """
    x, y, x2, y2 = window
    across, down = (x2 - x) / shown_wh[0], (y2 - y) / shown_wh[1]
    box = detection.instance.box
    moved = Box(x + box.x1 * across, y + box.y1 * down, x + box.x2 * across, y + box.y2 * down)
    polygon = tuple((x + px * across, y + py * down) for px, py in detection.instance.polygon)
    return replace(detection, instance=replace(detection.instance, box=moved, polygon=polygon))


Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the photograph
Looking = Callable[[Sequence[Window]], list[list[Detection]]]  # windows -> what is seen in each, in the same pixels

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
FEW = 3  # detections, under which nothing is said about sizes


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
    return [math.sqrt(s.instance.box.area) / side for found in seen for s in found]
