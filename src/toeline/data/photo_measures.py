"""A photograph as rows of numbers by which it is compared with others. Knows pixels; no types, no conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.data.feature_maps import FeatureNetwork, feature_network
from toeline.data.images import read_photo

SHARP_PX = 512  # longer side at which sharpness is measured, so that photographs of any size compare; never enlarged
FEATURES, PICTURE = "features", "picture"

Row = NDArray[np.float64]
Measures = Mapping[str, Row]


def measures_in(photo: Path) -> Measures:
    """As `measures_of`, of a file and with the network of the package. Raises ModelError and PhotoError."""
    return measures_of(read_photo(photo), feature_network())


def measures_of(image: Image.Image, network: FeatureNetwork) -> Measures:
    """What is measured of a photograph, upright and RGB, at the size at which the network sees it.

    FEATURES: mean and standard deviation of each channel of each map. PICTURE: the logarithm of the sharpness, mean and
    standard deviation of gray (0 to 1). The photograph's own size counts only by the detail that it has. Raises
    ModelError.
    """
    scaled = network.scaled(image)
    pooled = [half for found in network.maps(image) for half in (found.mean((1, 2)), found.std((1, 2)))]
    gray = scaled.convert("L")
    light = np.asarray(gray, np.float64) / 255
    picture = np.array((math.log1p(sharpness(gray)), light.mean(), light.std()))
    return {FEATURES: np.concatenate(pooled).astype(np.float64), PICTURE: picture}


def sharpness(gray: Image.Image, values: NDArray[np.uint8] | None = None) -> float:
    """Variance of the Laplacian with the photograph at most SHARP_PX long. `values` are those of `gray`, if at hand."""
    import cv2

    if max(gray.size) > SHARP_PX:
        gray, values = gray.copy(), None
        gray.thumbnail((SHARP_PX, SHARP_PX), Image.Resampling.BOX)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(np.asarray(gray) if values is None else values, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)
