"""A photograph as the maps of a network that was trained on ImageNet. Knows pixels; no types, no conditions.

The network is in the package, `models/features/` (its README says where it is from and what it may be used for);
`benchmarks/feature_network.py` makes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.errors import ModelError
from toeline.weights import first_line, open_session

Map = NDArray[np.float32]

EMBEDDED = Path(__file__).parent.parent / "models" / "features" / "features.onnx"
LONGEST_PX = 640  # every photograph is scaled to this: the network sees a drain of any photograph at one size
MULTIPLE = 16  # of both sides: the largest stride, so that a photograph and its mirror image lie on the same grid
MAPS = {"stride_8": (8, 40), "stride_16_early": (16, 80), "stride_16_late": (16, 112)}  # stride in pixels, channels
AGAIN = "Install toeline again, or make it with benchmarks/feature_network.py."


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """An opened network; `sha256` is of its file. The same photograph gives the same maps on the same machine."""

    session: Any
    sha256: str
    last: dict[bool, tuple[str, tuple[Map, ...]]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, file: Path = EMBEDDED, *, threads: int = 1) -> FeatureNetwork:
        """Open a network. Raises ModelError for a missing or corrupt file, or a network with other maps."""
        if not file.is_file():
            raise ModelError(f"{file}: the feature network is missing. {AGAIN}")
        session = open_session(file, threads)
        found = {output.name: output.shape[1] for output in session.get_outputs() if len(output.shape) == 4}
        if found != {name: channels for name, (_, channels) in MAPS.items()}:
            raise ModelError(f"{file}: gives {found}, and not the maps of the feature network. {AGAIN}")
        return cls(session, hashlib.sha256(file.read_bytes()).hexdigest())

    def maps(self, photo: NDArray[np.uint8], *, mirrored: bool = False) -> tuple[Map, ...]:
        """(H, W, 3) RGB to the maps of MAPS, each (channels, h / stride, w / stride) float32 for the scaled photograph.

        Those of the last photograph are kept, since detector and judge both ask for them. (h, w) is `scaled_hw`. Values
        are what a linear layer gives: of both signs, mostly within 30. With `mirrored` the maps are those of the
        photograph's mirror image, not turned back. Raises ModelError.
        """
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
            raise ModelError(f"a photograph is (H, W, 3) uint8, and not {photo.shape} {photo.dtype}")
        high, wide = scaled_hw(photo.shape[:2])
        scaled = np.asarray(Image.fromarray(photo).resize((wide, high), Image.Resampling.BICUBIC))
        pixels = np.ascontiguousarray(scaled[:, ::-1] if mirrored else scaled)
        key = hashlib.sha256(pixels.tobytes() + bytes(str(pixels.shape), "ascii")).hexdigest()
        if (kept := self.last.get(mirrored)) and kept[0] == key:
            return kept[1]
        try:
            found = self.session.run(list(MAPS), {"photo": pixels[None]})
        except Exception as why:  # onnxruntime has no common base for its own errors
            raise ModelError(f"the feature network cannot be run ({first_line(why)[:200]}). {AGAIN}") from None
        maps = tuple(one[0] for one in found)
        self.last[mirrored] = (key, maps)
        return maps


@cache
def feature_network() -> FeatureNetwork:
    """The network of the package, with one thread, opened once. Raises ModelError."""
    return FeatureNetwork.load()


def scaled_hw(shape_hw: tuple[int, ...]) -> tuple[int, int]:
    """Height and width at which a photograph of `shape_hw` is looked at: the longer is LONGEST_PX.

    >>> scaled_hw((312, 312)), scaled_hw((3000, 4000)), scaled_hw((9, 4000))
    ((640, 640), (480, 640), (16, 640))
    """
    scale = LONGEST_PX / max(shape_hw)
    high, wide = (max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in shape_hw)
    return high, wide
