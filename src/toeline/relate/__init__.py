"""Where things lie to one another in a photograph. Boxes and types only; no pixels, no wording, no models."""

from toeline.relate.geometry import gap, mirrored
from toeline.relate.relate import around, nearest, relate
from toeline.relate.rules import NAMES

__all__ = ["NAMES", "around", "gap", "mirrored", "nearest", "relate"]
