"""Draws embankment scenes with truth: photographs, labels and masks."""

from toeline.synth.plan import CLASS_NAMES
from toeline.synth.scene import Drawing, DrawnObject, draw
from toeline.synth.write import scene_seed, write_dataset

__all__ = ["CLASS_NAMES", "Drawing", "DrawnObject", "draw", "scene_seed", "write_dataset"]
