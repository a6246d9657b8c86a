"""Large photographs: a detector looks at overlapping tiles and at the whole, and what it sees is put together.

Knows windows and pixels. How large the tiles are is decided in scale.py, what is one object in join.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image

from toeline.core.box import Box
from toeline.core.sighting import Sighting
from toeline.detect.join import Look, join, loose_ends
from toeline.detect.scale import Tiling, Window, around, best_side, fits_whole, grid, known_of

if TYPE_CHECKING:
    from toeline.detect.choose import Detector

BATCH = 16  # views that are cut at a time: 20 MB at 640 pixels


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

    def find(self, images: Sequence[Image.Image]) -> list[list[Sighting]]:
        """As the detector's own `find`; things of a photograph in tiles are renumbered, most confident first.

        At any time one batch of views is held beside the photographs, each no larger than the detector needs.
        """
        plans = [self.plan(image) for image in images]
        small = [image for image, side in zip(images, plans, strict=True) if not side]
        plain = iter(self.detector.find(small) if small else [])
        return [self._in_tiles(image, side) if side else next(plain) for image, side in zip(images, plans, strict=True)]

    def plan(self, image: Image.Image) -> int:
        """Side of the tiles in pixels of the photograph; 0 for one that is looked at as a whole."""
        known = known_of(self.detector)
        if self.tiling.side:
            return self.tiling.side if max(image.size) > self.tiling.side else 0
        if fits_whole(image.size, known):
            return 0
        return best_side(lambda windows: self._look(image, windows), image.size, known)

    def _in_tiles(self, image: Image.Image, side: int) -> list[Sighting]:
        wide, high = image.size
        tiles = grid(image.size, side, self.tiling.overlap_px(side))
        found = self._look(image, [*tiles, (0, 0, wide, high)])
        looks = [Look(Box(*map(float, w)), tuple(seen)) for w, seen in zip(tiles, found, strict=False)]
        again = around(loose_ends(looks, image.size), image.size, side)
        more = [Look(Box(*map(float, w)), tuple(s)) for w, s in zip(again, self._look(image, again), strict=True)]
        joined = join(looks, found[-1], image.size, overlap=self.tiling.overlap_px(side), more=more)
        return [replace(s, thing=replace(s.thing, id=str(n))) for n, s in enumerate(joined, start=1)]

    def _look(self, image: Image.Image, windows: Sequence[Window]) -> list[list[Sighting]]:
        """What is seen in each window, in pixels of the photograph."""
        return [
            [placed(s, window, shown.size) for s in seen]
            for some in (windows[n : n + self.batch] for n in range(0, len(windows), self.batch))
            for window, shown, seen in self._views(image, some)
        ]

    def _views(
        self, image: Image.Image, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, Image.Image, list[Sighting]]]:
        most = known_of(self.detector).shown_px
        shown = [cut(image, window, most) for window in windows]
        return zip(windows, shown, self.detector.find(shown), strict=True)


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


def placed(sighting: Sighting, window: Window, shown_wh: tuple[int, int]) -> Sighting:
    """A sighting in a view of `shown_wh` pixels, in pixels of the photograph that the view is a window of.

    >>> from toeline.core.scene import Thing
    >>> placed(Sighting(Thing("1", "rock_toe", Box(0, 0, 5, 10))), (100, 200, 120, 220), (10, 10)).thing.box
    Box(x1=100.0, y1=200.0, x2=110.0, y2=220.0)
    """
    x, y, x2, y2 = window
    across, down = (x2 - x) / shown_wh[0], (y2 - y) / shown_wh[1]
    box = sighting.thing.box
    moved = Box(x + box.x1 * across, y + box.y1 * down, x + box.x2 * across, y + box.y2 * down)
    polygon = tuple((x + px * across, y + py * down) for px, py in sighting.thing.polygon)
    return replace(sighting, thing=replace(sighting.thing, box=moved, polygon=polygon))
