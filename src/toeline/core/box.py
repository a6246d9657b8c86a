"""Axis-aligned boxes in pixels of the photograph as it is seen (after EXIF rotation)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FAR = 1e9  # pixels; squares of larger numbers would lose the digits that count


@dataclass(frozen=True)
class Box:
    """Corners in pixels, `x1 <= x2`, `y1 <= y2`, y grows downward; edges are real numbers, not pixel indices.

    Raises ValueError for a coordinate that is not finite or beyond FAR, and for corners in the wrong order.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if -FAR <= self.x1 <= self.x2 <= FAR and -FAR <= self.y1 <= self.y2 <= FAR:
            return
        if not all(abs(value) <= FAR for value in self.xyxy):
            raise ValueError(f"box has a coordinate that is not a number of pixels: {self.xyxy}")
        raise ValueError(f"box corners are in the wrong order: {self.xyxy}")

    @classmethod
    def from_yolo(cls, cx: float, cy: float, w: float, h: float, *, size_wh: tuple[int, int]) -> Box:
        """Center and size as shares of the image (YOLO text files) to corners in pixels.

        >>> Box.from_yolo(0.5, 0.5, 0.2, 0.4, size_wh=(100, 50))
        Box(x1=40.0, y1=15.0, x2=60.0, y2=35.0)
        """
        wide, high = size_wh
        return cls((cx - w / 2) * wide, (cy - h / 2) * high, (cx + w / 2) * wide, (cy + h / 2) * high)

    @classmethod
    def around(cls, points: Iterable[tuple[float, float]]) -> Box:
        """The smallest box that holds all `points` (pixels).

        >>> Box.around([(3, 1), (0, 5), (2, 2)])
        Box(x1=0, y1=1, x2=3, y2=5)
        """
        xs, ys = zip(*points, strict=True)
        return cls(min(xs), min(ys), max(xs), max(ys))

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Pixels squared."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """From the upper left, clockwise."""
        return (self.x1, self.y1), (self.x2, self.y1), (self.x2, self.y2), (self.x1, self.y2)

    def intersection(self, other: Box) -> float:
        """Area that both boxes cover, in pixels squared; 0 when they only touch."""
        wide = min(self.x2, other.x2) - max(self.x1, other.x1)
        high = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(wide, 0.0) * max(high, 0.0)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1; 0 for two boxes of no area.

        >>> Box(0, 0, 2, 2).iou(Box(1, 0, 3, 2))
        0.3333333333333333
        """
        shared = self.intersection(other)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def clipped(self, size_wh: tuple[int, int]) -> Box:
        """The part inside an image of `size_wh` pixels; a box wholly outside collapses onto the border."""
        wide, high = size_wh
        if self.x1 >= 0 and self.y1 >= 0 and self.x2 <= wide and self.y2 <= high:
            return self  # nearly all of a million
        return Box(
            min(max(self.x1, 0.0), wide),
            min(max(self.y1, 0.0), high),
            min(max(self.x2, 0.0), wide),
            min(max(self.y2, 0.0), high),
        )

    def mirrored(self, width: float) -> Box:
        """Left and right exchanged in an image `width` pixels wide."""
        return Box(width - self.x2, self.y1, width - self.x1, self.y2)

    def scaled(self, factor: float) -> Box:
        """Every coordinate times `factor`, as when the whole photograph is resized."""
        return Box(self.x1 * factor, self.y1 * factor, self.x2 * factor, self.y2 * factor)
