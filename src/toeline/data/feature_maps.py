"""A photograph as the maps of a network that was trained on ImageNet. Knows pixels; no types, no conditions.

The network is in the package, `models/features/` (its README says where it is from and what it may be used for);
`benchmarks/feature_network.py` makes it.
"""

from __future__ import annotations

import hashlib
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.question import Picture
from toeline.errors import ModelError
from toeline.weights import first_line, open_session

Map = NDArray[np.float32]

EMBEDDED = Path(__file__).parent.parent / "models" / "features" / "features.onnx"
LONGEST_PX = 640  # every photograph is scaled to this: the network sees a drain of any photograph at one size
MULTIPLE = 16  # of both sides: the largest stride, so that a photograph and its mirror image lie on the same grid
MAPS = {"stride_8": (8, 40), "stride_16_early": (16, 80), "stride_16_late": (16, 112)}  # stride in pixels, channels
MOST_KEPT = 64  # photographs of which the maps are kept: 370 MB at most
AGAIN = "Install toeline again, or make it with benchmarks/feature_network.py."


class _Seen(NamedTuple):
    """A photograph at the size at which the network sees it; its maps, and those of its mirror image."""

    scaled: Image.Image
    maps: dict[bool, tuple[Map, ...]]


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """An opened network; `sha256` is of its file. The same photograph gives the same maps on the same machine.

    What it saw of the last MOST_KEPT photographs is kept as long as these are in memory, since detector, judge and
    domain all ask for it, each in a thread of its own: a photograph must not be painted on meanwhile.
    """

    session: Any
    sha256: str
    kept: dict[int, _Seen] = field(default_factory=dict, repr=False)

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

    def scaled(self, photo: Picture) -> Image.Image:
        """An RGB photograph at `scaled_hw`. Raises ModelError for what is none."""
        return self._seen(photo).scaled

    def maps(self, photo: Picture, *, mirrored: bool = False) -> tuple[Map, ...]:
        """The maps of MAPS of an RGB photograph, (channels, h / stride, w / stride) float32; `scaled_hw` is (h, w).

        Values are what a linear layer gives: of both signs, mostly within 30. With `mirrored` the maps are those of the
        photograph's mirror image, not turned back. Raises ModelError.
        """
        seen = self._seen(photo)
        if mirrored not in seen.maps:
            shown = seen.scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else seen.scaled
            try:
                found = self.session.run(list(MAPS), {"photo": np.asarray(shown)[None]})
            except Exception as why:  # onnxruntime has no common base for its own errors
                raise ModelError(f"the feature network cannot be run ({first_line(why)[:200]}). {AGAIN}") from None
            seen.maps[mirrored] = tuple(one[0] for one in found)
        return seen.maps[mirrored]

    def _seen(self, photo: Picture) -> _Seen:
        if (found := self.kept.get(id(photo))) is not None:
            return found
        seen = _Seen(_scaled(photo), {})
        with suppress(TypeError):  # what no weak reference can watch is not kept
            weakref.finalize(photo, self.kept.pop, id(photo), None).atexit = False
            self.kept[id(photo)] = seen
        for old in list(self.kept)[:-MOST_KEPT]:
            self.kept.pop(old, None)
        return seen


def _scaled(photo: Picture) -> Image.Image:
    whole = photo if isinstance(photo, Image.Image) else Image.frombytes("RGB", photo.size, photo.tobytes())
    if whole.mode != "RGB" or not min(whole.size):
        raise ModelError(
            f"a photograph is an RGB picture, and not {whole.mode} of {whole.width} x {whole.height} pixels"
        )
    high, wide = scaled_hw((whole.height, whole.width))
    return whole.resize((wide, high), Image.Resampling.BICUBIC)


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
